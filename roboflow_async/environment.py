"""What the environment says of the way to the API: proxies and certificates."""

import ssl
import urllib.request

import httpx

from roboflow_async.errors import ConfigurationError

__all__ = ["make_ssl_context", "resolve_proxy"]


def make_ssl_context(api_url: str, *, trust_env: bool) -> ssl.SSLContext:
    """The TLS settings for an API; for plain HTTP, settings that are not used.

    Made once and early: reading the certificates takes 20 ms (measured), too long for the
    moment between a turn and its request.
    """
    if not api_url.startswith("https:"):
        # httpx would make one for each connection pool, whether it is needed or not.
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        return httpx.create_ssl_context(trust_env=trust_env)
    except (OSError, ssl.SSLError):
        raise ConfigurationError(
            "the TLS certificates cannot be read: correct SSL_CERT_FILE or SSL_CERT_DIR, "
            "or give trust_env=False."
        ) from None


def resolve_proxy(api_url: str, *, trust_env: bool) -> httpx.Proxy | None:
    """The proxy that the environment names for an API (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY).

    One client talks to one host, so this is settled once, and a wrong value is told at once.
    """
    if not trust_env:
        return None
    url = httpx.URL(api_url)
    proxies = urllib.request.getproxies()
    value = proxies.get(url.scheme) or proxies.get("all")
    if not value or urllib.request.proxy_bypass(url.host):
        return None
    if "://" not in value:
        value = f"http://{value}"
    try:
        proxy = httpx.Proxy(value)
        # Building a transport now finds what is missing later (socksio for SOCKS, a bad port).
        httpx.AsyncHTTPTransport(
            verify=make_ssl_context("http:", trust_env=False), proxy=proxy
        )  # it sends nothing
    except (httpx.InvalidURL, ValueError, ImportError, UnicodeError):
        raise ConfigurationError(
            "the proxy in the environment (HTTP_PROXY, HTTPS_PROXY or ALL_PROXY) cannot be used: "
            "correct it, install 'httpx[socks]' for a SOCKS proxy, list the API's host in "
            "NO_PROXY, or give trust_env=False."
        ) from None
    return proxy
