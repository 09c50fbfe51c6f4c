"""`doctor`: finds what is wrong with the key, the host or the network, and what to do about it."""

import asyncio
import os
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, Final

import httpx
import typer

from roboflow_async import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    AuthenticationError,
    RetryPolicy,
    RoboflowClient,
    RoboflowError,
    UsageLimitError,
)
from roboflow_async._engine.api.regions import is_roboflow_host
from roboflow_async._engine.api.responses import Headers
from roboflow_async.cli.keys import APIKeyFile, read_key
from roboflow_async.cli.options import AUTHENTICATION, FAILED, APIKey, Host, connect, stderr
from roboflow_async.types.server import ServerInfo

__all__ = ["doctor"]

_WRONG_CLOCK: Final = 60.0  # seconds
_HEADER_SINCE: Final = (1, 5)  # the first version that reads the key from the header
_VERSION: Final = re.compile(r"v?([0-9]{1,6})\.([0-9]{1,6})")
_LONGEST_NAME: Final = 60  # characters that are shown
_LONGEST_DATE: Final = 60  # characters that are read
_SECONDS: Final = 5.0  # for all checks together
_LARGEST: Final = 1024 * 1024  # bytes of a response: a name and a version
# No retries, which would hide problems.
_ONCE: Final = RetryPolicy(max_attempts=1, max_elapsed=_SECONDS, max_outage=0)
_ADVICE: Final = {
    "network": "Is the host's name right, the server running, a firewall or proxy in the way?",
    "outage": "Is the host's name right, the server running, a firewall or proxy in the way?",
    "timeout": "The host accepts connections but does not respond: is it a Roboflow server?",
    "host_name": "The host's name is unknown: check --host and the network's DNS.",
    "certificate": "Set SSL_CERT_FILE to the certificates of your proxy or your own server.",
    "proxy_authentication": "Give the proxy's login in HTTPS_PROXY, or list the host in NO_PROXY.",
}


@dataclass
class Finding:
    """One check: whether all is well, what was seen, and what to do if not."""

    name: str
    fine: bool
    seen: str
    advice: str = ""
    code: int = FAILED


def _fine(name: str, seen: str) -> Finding:
    return Finding(name=name, fine=True, seen=seen)


def _wrong(name: str, seen: str, advice: str = "", code: int = FAILED) -> Finding:
    return Finding(name=name, fine=False, seen=seen, advice=advice, code=code)


def doctor(
    host: Host = None,
    api_key: APIKey = None,
    api_key_file: APIKeyFile = None,
    platform_url: Annotated[
        str | None, typer.Option(help="The platform API, which knows the key.", hidden=True)
    ] = None,
) -> None:
    """Check the key, the host, the network, the clock and the server's version."""
    more: dict[str, Any] = {"platform_url": platform_url} if platform_url is not None else {}
    source = "ROBOFLOW_API_KEY" if os.environ.get("ROBOFLOW_API_KEY") else None
    if api_key is not None or api_key_file is not None:
        source = "--api-key" if api_key_file is None else "--api-key-file"
    try:
        client = connect(
            read_key(api_key, api_key_file), host, timeout=_SECONDS,
            max_response_bytes=_LARGEST, retry=_ONCE, **more,
        )  # fmt: skip
    except RoboflowError as error:
        findings = [_wrong("settings", str(error))]
    else:
        findings = asyncio.run(_examine(client, source, platform_url is not None))
    for finding in findings:
        mark, style = ("ok  ", "green") if finding.fine else ("FAIL", "red")
        stderr.print(mark, style=style, end=" ")
        stderr.print(f"{finding.name}: {finding.seen}", markup=False, soft_wrap=True)
        if finding.advice:
            stderr.print(f"     {finding.advice}", markup=False, soft_wrap=True)
    bad = [finding.code for finding in findings if not finding.fine]
    if bad:
        raise typer.Exit(bad[0])
    stderr.print("All is well.")


async def _examine(client: RoboflowClient, source: str | None, platform: bool) -> list[Finding]:
    url = client.api_url
    given = f"given by {source}" if source else "none; this host needs none"
    findings = [_fine("host", url), _fine("key", given)]
    key_is_known = source is not None and (platform or is_roboflow_host(httpx.URL(url).host))
    async with client:
        # Both at once, each shown when it is done, so that a slow check does not delay the other.
        server = asyncio.create_task(_server(client))
        key = asyncio.create_task(_key(client)) if key_is_known else None
        asked: set[asyncio.Task[Any]] = {server} | ({key} if key is not None else set())
        await asyncio.wait(asked, timeout=_SECONDS)
        for task in asked:
            task.cancel()
        await asyncio.wait(asked)
        late = f"no complete response within {_SECONDS:g} s"
        if server.cancelled():
            findings.append(_wrong("reachable", late, _ADVICE["timeout"]))
        else:
            findings += server.result()
        if key is not None:
            findings.append(_wrong("key works", late) if key.cancelled() else key.result())
    return findings


async def _server(client: RoboflowClient) -> list[Finding]:
    """Check that the host can be reached, its clock, and its version."""
    began = time.monotonic()
    try:
        server = client._server  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - of this package
        info, headers = await server.info_with_headers()
    except (APIConnectionError, APITimeoutError) as error:
        fault = error.fault if isinstance(error, APIConnectionError) else "timeout"
        return [_wrong("reachable", error.message[:300], _ADVICE.get(fault, _ADVICE["network"]))]
    except APIError as error:
        return [
            _fine("reachable", _took(began)),
            _wrong("server", error.message[:300],
                "This host does not respond like an Inference Server: check --host.",
            ),
        ]  # fmt: skip
    return [_fine("reachable", _took(began)), _clock(headers), _version(info)]


def _took(began: float) -> str:
    return f"responds in {(time.monotonic() - began) * 1000:.0f} ms"


def _clock(headers: Headers) -> Finding:
    try:
        there = parsedate_to_datetime(headers["date"][:_LONGEST_DATE])
        off = (datetime.now(UTC) - there).total_seconds()
    except Exception:  # noqa: BLE001 - whatever a parser of such dates makes of an odd one
        return _fine("clock", "the server gives no time")
    if abs(off) > _WRONG_CLOCK:
        return _wrong("clock", f"{off:+.0f} s from the server's clock",
            "Set this machine's clock: certificates and signed URLs depend on it.",
        )  # fmt: skip
    return _fine("clock", "agrees with the server's clock")


def _version(info: ServerInfo) -> Finding:
    seen = f"{info.name[:_LONGEST_NAME]} {info.version[:_LONGEST_NAME]}"
    number = _VERSION.match(info.version)
    if number is not None and (int(number[1]), int(number[2])) < _HEADER_SINCE:
        advice = "It does not read the key from the header: give api_key_transport='body'."
        return _wrong("server", seen, advice)
    return _fine("server", seen)


async def _key(client: RoboflowClient) -> Finding:
    try:
        found: Any = await client.preflight()
    except AuthenticationError:
        advice = "Copy it again from the workspace's settings at app.roboflow.com, under API Keys."
        return _wrong("key works", "it is refused", advice, AUTHENTICATION)
    except UsageLimitError as error:
        return _wrong("key works", error.message, "See the workspace's usage and plan.")
    except RoboflowError as error:
        return _wrong("key works", str(error)[:300],
            "The platform API cannot be asked. Inference may work all the same.",
        )  # fmt: skip
    if not found.under_cap:
        advice = "See the workspace's usage and plan."
        return _wrong("key works", "the workspace is over its limit", advice)
    workspace = f"{found.workspace:.{_LONGEST_NAME}}"
    return _fine("key works", f"workspace {workspace}, below its limit")
