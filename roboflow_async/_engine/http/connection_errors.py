"""Turns the errors of HTTP libraries and the operating system into ours."""

import socket
import ssl
from collections.abc import Iterator
from typing import Final

from roboflow_async.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    ConfigurationError,
)

__all__ = ["connection_error", "is_connection_error", "proxy_asks_for_login"]

_UNKNOWN_HOST: Final = {
    # The second one is from glibc, and not in `socket` everywhere.
    getattr(socket, name)
    for name in ("EAI_NONAME", "EAI_NODATA")
    if hasattr(socket, name)
}


def is_connection_error(error: Exception, *, own: bool) -> bool:
    """Whether `connection_error` knows this error; any other is a bug in the code that raised it.

    Args:
        error: an error from a library or the operating system.
        own: whether it comes from our own connections, which pass the operating system's errors on.
    """
    return (own and isinstance(error, OSError)) or any(
        (kind.__module__ in ("httpx", "httpx2") and kind.__name__ == "HTTPError")
        or kind.__module__ in ("httpcore", "httpcore2")
        for kind in type(error).__mro__
    )


def connection_error(  # noqa: PLR0911 - a table
    error: Exception, host: str, *, own: bool, kept_alive: bool = False
) -> APIError | ConfigurationError:
    """Our error for theirs, with our own message: theirs may be empty, or hold a header's value.

    Args:
        error: an error from httpx, httpx2, httpcore or the operating system. The libraries use the
            same class names, so names tell the kinds apart.
        host: the API's.
        own: whether it comes from our own connections, whose only timeout is ours.
        kept_alive: whether the connection was used before, and no response has begun yet.
    """
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if kinds & {"LocalProtocolError", "UnsupportedProtocol"}:
        return ConfigurationError(
            "the request is not valid HTTP: check api_url and the http_client's own headers."
        )
    causes = list(_causes(error, own=own))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _untrusted(cause)
        if isinstance(cause, socket.gaierror) and cause.errno in _UNKNOWN_HOST:
            return APIConnectionError(
                f"no connection to the API: the host name {host:.100} is unknown, or that of "
                "the proxy. Check api_url, and the DNS of this machine.",
                fault="host_name",
            )
    if "ProxyError" in kinds:
        if _is_about_login(error):
            return proxy_asks_for_login()
        return APIConnectionError("no connection to the API through the proxy.")
    if "ConnectTimeout" in kinds and own:
        return APIConnectionError("no connection to the API: the operating system timed out.")
    if "TimeoutException" in kinds and not own:
        return APITimeoutError(f"the http_client timed out ({type(error).__name__}).")
    if kinds & {"ConnectError", "OSError"}:
        return APIConnectionError(f"no connection to the API: {_reason(causes)}.")
    return APIConnectionError(
        f"the connection was closed or reset before a whole response ({type(error).__name__}).",
        was_kept_alive=kept_alive,
    )


def proxy_asks_for_login() -> APIConnectionError:
    """The error for a 407 from a proxy."""
    return APIConnectionError(
        "no connection to the API through the proxy: it asks for a login (407). Give the right "
        "one in the proxy's URL (HTTPS_PROXY=http://user:password@host:port), or list the API's "
        "host in NO_PROXY.",
        fault="proxy_authentication",
    )


def _causes(error: BaseException, *, own: bool) -> Iterator[BaseException]:
    """The error and its causes."""
    one: BaseException | None = error
    while one is not None:
        yield one
        # httpcore's pool raises its errors again with `from None`, so that only the context is
        # left. Our own errors are raised in the caller's task, where the context may be an error of
        # the caller.
        one = one.__cause__ or (None if own else one.__context__)


def _untrusted(error: ssl.SSLCertVerificationError) -> APIConnectionError:
    return APIConnectionError(
        "no connection to the API: the certificate of its host is not trusted "
        f"(CERTIFICATE_VERIFY_FAILED: {error.verify_message.rstrip('.')}). If an authority of "
        "your own signed it, or a proxy that reads what passes, name that authority's certificate "
        "in SSL_CERT_FILE, or give http_client=httpx.AsyncClient(verify=...).",
        fault="certificate",
    )


def _is_about_login(error: Exception) -> bool:
    # "407 Proxy Authentication Required"; SOCKS: "Invalid username/password", "Requested
    # USERNAME/PASSWORD from proxy server, but got NO ACCEPTABLE METHODS".
    text = str(error)
    return text.startswith(("407", "Requested ")) or "password" in text.lower()


def _reason(causes: list[BaseException]) -> str:
    # Messages of the operating system and of TLS hold no part of the request.
    texts = (str(one).rstrip(".")[:300] for one in reversed(causes) if isinstance(one, OSError))
    return next(filter(None, texts), str(causes[0])[:300] or "refused")
