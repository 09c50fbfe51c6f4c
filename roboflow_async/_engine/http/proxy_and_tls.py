"""The proxy and the TLS certificates for the API, from the environment."""

import ipaddress
import os
import socket
import ssl
import urllib.request
from urllib.parse import urlsplit

import httpx

from roboflow_async.errors import ConfigurationError

__all__ = ["make_ssl_context", "resolve_proxy"]


def make_ssl_context(api_url: str, *, trust_env: bool) -> ssl.SSLContext:
    """The TLS settings for an API. For plain HTTP they are not used.

    They are made once and early, because reading the certificates takes 20 ms (measured), too long
    between a turn and its request.
    """
    if not api_url.startswith("https:"):
        # httpx would make one for each connection pool, even if it is not needed.
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

    One client has one host, so the proxy is chosen once, and a wrong value is reported early.
    """
    if not trust_env:
        return None
    url = httpx.URL(api_url)
    proxies = urllib.request.getproxies()
    value = proxies.get(url.scheme) or proxies.get("all")
    if not value or _bypasses_proxies(api_url):
        return None
    if "://" not in value:
        value = f"http://{value}"
    try:
        proxy = httpx.Proxy(value)
        host, port = proxy.url.host, proxy.url.port  # parsed only here; bad ones raise
        if not host or (port is not None and not 1 <= port <= 65_535):
            raise ValueError  # httpx accepts any port number, and a missing host
        # To build a transport now shows early what would fail later (no socksio for SOCKS, a bad
        # port).
        httpx.AsyncHTTPTransport(
            verify=make_ssl_context("http:", trust_env=False), proxy=proxy
        )  # nothing is sent
    except (httpx.InvalidURL, ValueError, ImportError, UnicodeError):
        raise ConfigurationError(
            "the proxy in the environment (HTTP_PROXY, HTTPS_PROXY or ALL_PROXY) cannot be used: "
            "correct it, install 'httpx[socks]' for a SOCKS proxy, list the API's host in "
            "NO_PROXY, or give trust_env=False."
        ) from None
    return proxy


def _bypasses_proxies(api_url: str) -> bool:
    """Whether NO_PROXY lists the API, read like requests (and so inference_sdk) reads it.

    In addition to urllib's rules, it knows networks ("10.0.0.0/8") for IPv4 addresses, and names
    with a port ("api.example:8080"). (requests 2.34, `should_bypass_proxies`.)
    """
    parts = urlsplit(api_url)
    host = parts.hostname or ""
    listed = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    entries = [entry for entry in listed.replace(" ", "").split(",") if entry]
    if _ipv4(host) is not None:
        found = any(_holds_address(entry, host) for entry in entries)
    else:
        names = {host, f"{host}:{parts.port}" if parts.port else host}
        found = any(_holds_name(entry.lstrip("."), names) for entry in entries)
    if found:
        return True
    try:
        # It also reads the lists that Windows and macOS keep elsewhere.
        return bool(urllib.request.proxy_bypass(host))
    # Caught as in requests; raised by the code for macOS and Windows.
    except (TypeError, socket.gaierror):
        return False


def _holds_name(entry: str, names: set[str]) -> bool:
    return any(name == entry or name.endswith("." + entry) for name in names)


def _holds_address(entry: str, host: str) -> bool:
    network, slash, bits = entry.partition("/")
    address = _ipv4(network)
    if not slash or address is None or not bits.isdecimal() or not 1 <= int(bits) <= 32:
        return entry == host
    return _ipv4(host) in ipaddress.ip_network((address, int(bits)), strict=False)


def _ipv4(text: str) -> ipaddress.IPv4Address | None:
    """An address in any form that the operating system accepts ("10.1" is 10.0.0.1)."""
    try:
        return ipaddress.IPv4Address(socket.inet_aton(text))
    except OSError:
        return None
