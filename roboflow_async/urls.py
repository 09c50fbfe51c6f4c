"""URLs given as images: which ones are passed on to the server, which fetches them."""

import ipaddress
import re
import socket
from typing import Final, Literal

from roboflow_async.errors import ImageError

__all__ = ["AllowURLs", "check_image_url", "is_url"]

AllowURLs = bool | Literal["public"]
"""Whether URLs are passed on: all, none, or those whose host is not plainly a private one."""

_LONGEST: Final = 8192  # characters

# Stricter than RFC 3986, so that no two parsers read another host in it: no user, no backslash.
_PLAIN: Final = re.compile(
    r"https?://(?:(?P<name>[a-z0-9._-]+)|\[(?P<v6>[0-9a-f:.]+)\])(?::[0-9]{1,5})?(?:[/?#]|\Z)",
    re.IGNORECASE | re.ASCII,  # without ASCII, some letters of other scripts are taken for ours
)
# Names of private networks (RFC 6761, 6762, 8375, ICANN's .internal and what was used before it),
# of Kubernetes, of /etc/hosts, and of the metadata service that Google's cloud gives a public name.
_PRIVATE_DOMAINS: Final = (
    *(".localhost", ".localdomain", ".localdomain4", ".localdomain6", ".local", ".internal"),
    *(".home.arpa", ".lan", ".intranet", ".corp", ".home", ".private", ".test", ".invalid"),
    *(".svc", ".default", ".metadata.goog"),
)
# Not for everybody, whatever the tables of this Python say: Oracle's metadata service (RFC 7335),
# relays of 6to4 (RFC 7526), and Azure's host service (168.63.129.16).
_PRIVATE_V4: Final = tuple(
    map(ipaddress.IPv4Network, ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32"))
)
# https://www.iana.org/assignments/ipv6-unicast-address-assignments: all that is given out, without
# what embeds IPv4 (2001::/32, 2002::/16) or is for protocols and documentation.
_PUBLIC_V6: Final = ipaddress.IPv6Network("2000::/3")
_PRIVATE_V6: Final = tuple(
    map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
)


def is_url(text: str) -> bool:
    """Whether a string is meant as a URL that is fetched, and not as a path."""
    return re.match(r"https?://", text, re.IGNORECASE | re.ASCII) is not None


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
    if not is_url(url):
        raise ImageError("an image was given as a URL that is neither http:// nor https://.")
    if len(url) > _LONGEST:
        raise ImageError(
            f"an image was given as a URL of {len(url)} characters, which is too long: {_LONGEST} "
            "at most. Give the image's bytes, or Image.from_base64(...) for a data: URL."
        )
    if not url.isprintable() or " " in url:
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
            v4 = ipaddress.IPv4Address(socket.inet_aton(host))
        except OSError:
            return False
        special = v4.is_multicast or any(v4 in network for network in _PRIVATE_V4)
        return v4.is_global and not special
    return "." in host and not f".{host}".endswith(_PRIVATE_DOMAINS)


def _is_public_v6(host: str) -> bool:
    try:
        v6 = ipaddress.IPv6Address(host)
    except ValueError:
        return False
    # The last 64 bits of an ISATAP address hold one of IPv4 (RFC 5214).
    is_isatap = (int(v6) >> 32) & 0xFCFFFFFF == 0x00005EFE
    special = is_isatap or any(v6 in network for network in _PRIVATE_V6)
    return v6 in _PUBLIC_V6 and not special
