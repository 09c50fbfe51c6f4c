"""Writes the heads of requests. Pure."""

import base64
import re
from typing import Final

import httpx

from roboflow_async._engine.http.bodies import RawHeaders

__all__ = ["RequestHeads", "proxy_login"]

# RFC 9110, sections 5.5 and 5.6.2. Anything else could be read as another header, or as another
# request.
_NAME: Final = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE: Final = re.compile(
    rb"[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?|"
)
_TARGET: Final = re.compile(rb"[\x21-\x7e]+")
# What says where a request ends, what follows it, and whom it is for: not for a single request's
# headers to say, since some of those come from a server (those of a signed URL).
_NOT_ITS_OWN: Final = frozenset(
    (b"host", b"transfer-encoding", b"connection", b"upgrade", b"expect")
)
_MOST_STARTS: Final = 256  # normally there are only a few paths


class RequestHeads:
    """Writes the heads of all requests of one client, and refuses what is no header.

    Args:
        headers: the headers of every request.
        is_for_proxy: whether the requests go to a proxy, which is given whole URLs.
    """

    def __init__(self, headers: RawHeaders, *, is_for_proxy: bool = False) -> None:
        self._common = _lines(headers)
        self._is_for_proxy = is_for_proxy
        # By the identity of the URL, which is held here so that no other one can have it.
        self._starts: dict[tuple[str, int], tuple[httpx.URL, bytes]] = {}

    def head(self, method: str, url: httpx.URL, headers: RawHeaders) -> bytes:
        """The head of a request.

        Args:
            method: GET, POST or PUT.
            url: where to.
            headers: the headers of this request, besides those of all requests.

        Raises:
            httpx.LocalProtocolError: something in it is not valid. The error does not show it.
        """
        found = self._starts.get((method, id(url)))
        if found is None:
            found = self._start(method, url)
        names = [name.lower() for name, _ in headers]
        if not _NOT_ITS_OWN.isdisjoint(names) or names.count(b"content-length") > 1:
            raise httpx.LocalProtocolError("a header is not for one request to set")
        return b"%b%b\r\n" % (found[1], _lines(headers))

    @staticmethod
    def connect(target: str, headers: RawHeaders) -> bytes:
        """The head of a request to a proxy for a tunnel to `target`, a host and a port."""
        return b"CONNECT %b HTTP/1.1\r\n%b\r\n" % (target.encode("ascii"), _lines(headers))

    def _start(self, method: str, url: httpx.URL) -> tuple[httpx.URL, bytes]:
        target = url.raw_path
        if self._is_for_proxy:
            target = b"%b://%b%b" % (url.raw_scheme, url.netloc, target)
        if not _TARGET.fullmatch(target):
            raise httpx.LocalProtocolError("the path is not valid")
        if len(self._starts) >= _MOST_STARTS:
            self._starts.clear()
        start = b"%b %b HTTP/1.1\r\n%b" % (method.encode("ascii"), target, self._common)
        self._starts[method, id(url)] = found = (url, start)
        return found


def _lines(headers: RawHeaders) -> bytes:
    for name, value in headers:
        if not (_NAME.fullmatch(name) and _VALUE.fullmatch(value)):
            raise httpx.LocalProtocolError("a header is not valid")
    return b"".join([b"%b: %b\r\n" % header for header in headers])


def proxy_login(proxy: httpx.Proxy) -> list[tuple[bytes, bytes]]:
    """The headers for a proxy."""
    headers = list(proxy.headers.raw)
    if proxy.raw_auth is not None:
        login = base64.b64encode(b":".join(proxy.raw_auth))
        headers.append((b"Proxy-Authorization", b"Basic " + login))
    return headers
