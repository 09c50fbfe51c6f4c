"""Whether the proxy in the environment is alive."""

import asyncio
import os
import re
from contextlib import suppress
from typing import Final

import httpx

from roboflow_async._engine.http.proxy_and_tls import resolve_proxy
from roboflow_async.cli.doctor.findings import Finding, fine, wrong
from roboflow_async.errors import ConfigurationError, plain_text

__all__ = ["check_proxy"]

_SECONDS: Final = 2.0  # to connect, and to see the start of a response
_LONGEST_HEAD: Final = 1024  # bytes
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3})")
_PORTS: Final = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}


async def check_proxy(api_url: str) -> Finding | None:
    """Whether the proxy for a URL responds; None: there is none. It takes two seconds at most.

    The proxy's login is neither sent nor shown: a proxy that asks for it is alive.
    """
    try:
        proxy = resolve_proxy(api_url, trust_env=True)
    except ConfigurationError:  # told when the client was made
        return None
    if proxy is None:
        return None
    url, variable = proxy.url, _variable(httpx.URL(api_url).scheme)
    port = url.port or _PORTS.get(url.scheme, 80)
    shown = f"{url.scheme}://{url.host}:{port}, from {variable}"
    advice = f"Correct {variable}, or list the API's host in NO_PROXY to go without a proxy."
    try:
        async with asyncio.timeout(_SECONDS):
            problem = await _problem(url, port, httpx.URL(api_url))
    except TimeoutError:
        problem = f"does not respond within {_SECONDS:g} s"
    except OSError as error:
        # asyncio's own text for a refused connection is longer, and no clearer.
        known = error.errno is not None and error.errno > 0
        reason = os.strerror(error.errno or 0) if known else str(error.strerror or error)
        problem = f"cannot be reached ({plain_text(reason)[:200]})"
    if problem:
        return wrong("proxy", f"{shown}: it {problem}.", advice)
    return fine("proxy", shown)


async def _problem(proxy: httpx.URL, port: int, target: httpx.URL) -> str:
    """What a proxy does wrong if it is asked for a way to the API, or ""."""
    reader, writer = await asyncio.open_connection(proxy.host, port)
    try:
        if proxy.scheme != "http":
            return ""  # that it accepts connections is all that can be seen in plain text
        writer.write(_question(target))
        await writer.drain()
        head = await reader.read(_LONGEST_HEAD)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    if not head:
        return "closes the connection"
    status = _STATUS.match(head)
    if status is None:
        return "does not respond like a proxy"
    # It may want a login, which the client sends later. What else it says to plain HTTP comes
    # from the API.
    if target.scheme == "https" and status[1] not in (b"200", b"407"):
        return f"does not connect to {target.host} (HTTP {status[1].decode()})"
    return ""


def _question(target: httpx.URL) -> bytes:
    port = target.port or (443 if target.scheme == "https" else 80)
    host = f"[{target.host}]" if ":" in target.host else target.host
    name = f"{host}:{port}".encode("ascii", "replace")
    if target.scheme == "https":
        return b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (name, name)
    return b"GET http://%b/info HTTP/1.1\r\nHost: %b\r\n\r\n" % (name, name)


def _variable(scheme: str) -> str:
    """The variable that names the proxy, in the order of `urllib.request.getproxies`."""
    for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper(), "all_proxy", "ALL_PROXY"):
        if os.environ.get(name):
            return name
    return "the system's settings"
