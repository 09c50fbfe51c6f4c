"""Checks that a request's `Host` names this server, which another site's page cannot fake.

A browser lets a page send requests to its own host, and the page's owner decides which address that
name has. After the page is loaded, it may be 127.0.0.1 (DNS rebinding), and then the page can reach
every server there. But the `Host` header still has the page's name.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import Any, Final

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["CheckedHost", "is_loopback", "names_this_server"]

_HOST: Final = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253})(?::[0-9]{0,5})?")


def is_loopback(host: str) -> bool:
    """Whether it names only this machine: a loopback address, `localhost` or a name below it."""
    return _is_loopback(_plain(host))


def _is_loopback(name: str) -> bool:
    if (address := _address(name)) is not None:
        return address.is_loopback
    return name == "localhost" or name.endswith(".localhost")


def names_this_server(header: str, allowed: Iterable[str] = (), *, addresses: bool = False) -> bool:
    """Whether a `Host` header names this machine, or is one of the allowed names.

    Args:
        header: the header's value, with or without a port.
        allowed: more names and addresses, without a port.
        addresses: whether every IP address is allowed, for a server that other machines use. Only
            names can be abused.
    """
    found = _HOST.fullmatch(header.lower())
    if found is None:
        return False
    name = _plain(found[1])
    if _is_loopback(name) or (addresses and _address(name) is not None):
        return True
    return bool(name) and name in {_plain(one) for one in allowed}


def _plain(host: str) -> str:
    # A name may end with a dot (the DNS root), and an IPv6 address is in brackets.
    name = host.strip().lower()
    if name.startswith("[") and name.endswith("]"):
        return name[1:-1]
    return name.removesuffix(".")


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


class CheckedHost:
    """ASGI middleware that refuses requests with 421 if their `Host` does not name this server.

    Args:
        app: the app that it protects.
        allowed: names and addresses that are allowed besides loopback ones.
        addresses: whether every IP address is allowed.
    """

    def __init__(
        self, app: ASGIApp, allowed: Iterable[str] = (), *, addresses: bool = False
    ) -> None:
        self._app = app
        self._allowed = tuple(allowed)
        self._addresses = addresses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] in ("http", "websocket") and not self._is_meant(scope):
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008, "reason": ""})
            else:
                message = "This server does not serve this Host: use an address of this server."
                await JSONResponse({"message": message}, 421)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_meant(self, scope: Scope) -> bool:
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        hosts: list[Any] = [value for name, value in headers if name == b"host"]
        return len(hosts) == 1 and names_this_server(
            hosts[0].decode("latin-1"), self._allowed, addresses=self._addresses
        )
