"""URLs given as images: which ones are passed on to the server, which fetches them."""

import ipaddress
import re
import socket
from typing import Final, Literal

from roboflow_async.errors import ImageError

__all__ = ["AllowURLs", "check_image_url"]

AllowURLs = bool | Literal["public"]
"""Whether URLs are passed on: all, none, or those whose host is not plainly a private one."""

# Stricter than RFC 3986, so that no two parsers read another host in it: no user, no backslash.
_PLAIN: Final = re.compile(
    r"https?://(?:(?P<name>[a-z0-9._-]+)|\[(?P<v6>[0-9a-f:.]+)\])(?::[0-9]{1,5})?(?:[/?#]|\Z)",
    re.IGNORECASE,
)
# Names that resolve in private networks alone: RFC 6761, 6762, 8375, and ICANN's .internal.
_PRIVATE_DOMAINS: Final = (
    ".localhost",
    ".localdomain",
    ".local",
    ".internal",
    ".home.arpa",
    ".lan",
    ".intranet",
)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


def check_image_url(url: str, allow_urls: AllowURLs) -> None:
    """Raise `ImageError` unless the URL may be passed on.

    Args:
        url: what was given.
        allow_urls: "public" refuses hosts that are addresses of private, local or reserved
            networks, in all the forms that the C library reads (decimal, octal, hexadecimal,
            IPv4 within IPv6), and names of such networks. Names are not resolved: one that points
            to a private address is passed on.
    """
    if not allow_urls:
        raise ImageError(
            "an image was given as a URL, and this client has allow_urls=False: "
            "give the image's bytes."
        )
    if not re.match(r"https?://", url, re.IGNORECASE):
        raise ImageError("an image was given as a URL that is neither http:// nor https://.")
    if len(url) > 8192 or not url.isprintable() or " " in url:
        raise ImageError("an image was given as a URL with spaces or control characters.")
    if allow_urls == "public" and not _is_public(url):
        raise ImageError(
            "an image was given as a URL whose host is not a public one, and this client has "
            "allow_urls='public': give the image's bytes."
        )


def _is_public(url: str) -> bool:
    parts = _PLAIN.match(url)
    if parts is None:
        return False
    if parts["v6"] is not None:
        return _is_public_v6(parts["v6"])
    host = parts["name"].lower().rstrip(".")
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", host.rpartition(".")[2]):
        # A number as the last label makes an address of it, as browsers and C libraries read it:
        # https://url.spec.whatwg.org/#ends-in-a-number-checker
        try:
            address = ipaddress.IPv4Address(socket.inet_aton(host))
        except OSError:
            return False
        return address.is_global and not address.is_multicast
    return "." in host and not host.endswith(_PRIVATE_DOMAINS)


def _is_public_v6(host: str) -> bool:
    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        return False
    embeds_v4 = address.ipv4_mapped or address.sixtofour or address.teredo or address in _NAT64
    return address.is_global and not address.is_multicast and not embeds_v4
