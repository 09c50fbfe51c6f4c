"""Decides which URLs of images are passed on to the server, which fetches them."""

import ipaddress
import re
import socket
from collections.abc import Sequence
from typing import Final, Literal, cast

from roboflow_async._engine.jsonvalues import JSONObject, is_array, is_object
from roboflow_async.errors import ImageError

__all__ = ["AllowURLs", "check_image_url", "check_parameter", "is_url"]

AllowURLs = bool | Literal["public"]
"""Which URLs are passed on: all, none, or those without a private host."""

_LONGEST: Final = 8192  # characters

# Stricter than RFC 3986, so that all parsers find the same host: no user name, no backslash.
_PLAIN: Final = re.compile(
    r"https?://(?:(?P<name>[a-z0-9._-]+)|\[(?P<v6>[0-9a-f:.]+)\])(?::[0-9]{1,5})?(?:[/?#]|\Z)",
    re.IGNORECASE | re.ASCII,  # without ASCII, some letters of other scripts would match
)
_SEEMS_A_URL: Final = re.compile(r"[\s\x00-\x20]*https?:", re.IGNORECASE | re.ASCII)
# Names of private networks (RFC 6761, 6762, 8375, ICANN's .internal and older ones), of Kubernetes,
# of /etc/hosts, and of the metadata service of Google's cloud, which has a public name.
_PRIVATE_DOMAINS: Final = (
    *(".localhost", ".localdomain", ".localdomain4", ".localdomain6", ".local", ".internal"),
    *(".home.arpa", ".lan", ".intranet", ".corp", ".home", ".private", ".test", ".invalid"),
    *(".svc", ".default", ".metadata.goog"),
)
# Not public, whatever this Python's tables say: Oracle's metadata service (RFC 7335), relays of
# 6to4 (RFC 7526), and Azure's host service (168.63.129.16).
_PRIVATE_V4: Final = tuple(
    map(ipaddress.IPv4Network, ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32"))
)
# https://www.iana.org/assignments/ipv6-unicast-address-assignments: all assigned blocks, without
# those that embed IPv4 (2001::/32, 2002::/16) or are for protocols and documentation.
_PUBLIC_V6: Final = ipaddress.IPv6Network("2000::/3")
_PRIVATE_V6: Final = tuple(
    map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
)


def is_url(text: str) -> bool:
    """Whether a string is a URL to fetch, and not a path."""
    return re.match(r"https?://", text, re.IGNORECASE | re.ASCII) is not None


def check_image_url(url: str, allow_urls: AllowURLs) -> None:
    """Raise `ImageError` unless the URL may be passed on.

    Args:
        url: the URL that was given.
        allow_urls: "public" refuses addresses of private, local or reserved networks in all forms
            that the C library reads (decimal, octal, hexadecimal, IPv4 within IPv6), and names of
            such networks. Names are not resolved, so a name that points to a private address is
            passed on.
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
            "an image was given as a URL whose host is not public, and this client has "
            "allow_urls='public': give the image's bytes."
        )


# Other types that a server may load an image from: its own disk, and pickles, which can run code
# (`ImageType` of inference/core/utils/image_utils.py, in any case).
_ON_DISK: Final = "file"
_PICKLED: Final = frozenset({"numpy", "numpy_object", "pil", "multipart"})


def check_parameter(
    name: str, value: object, allow_urls: AllowURLs, *, allow_paths: bool, is_text: bool = False
) -> None:
    """Raise `ImageError` if the server might fetch or open something that this client refuses.

    What this client takes for a parameter is an image for the server if the Workflow says so. Then
    the server fetches a string that starts like a URL, also from a dict of any type
    (roboflow_workflows/core_steps/common/deserializers.py, 1.8.3). It also fetches `{"type":
    "url"}` anywhere that an image may be.

    Args:
        name: the parameter's name.
        value: the parameter as JSON, with images at any depth.
        allow_urls: which URLs are passed on.
        allow_paths: whether files on the server's disk may be named.
        is_text: whether plain strings are never images.

    Raises:
        ImageError: the parameter is refused.
    """
    if allow_urls is True and allow_paths:
        return
    to_look_at = [value]
    seen: set[int] = set()
    while to_look_at:
        item = to_look_at.pop()
        if isinstance(item, str):
            if not is_text and _SEEMS_A_URL.match(item):
                _check_fetched(name, item, allow_urls)
        elif id(item) in seen:
            continue  # it contains itself, which cannot be sent and is reported elsewhere
        elif is_object(item):
            seen.add(id(item))
            _check_declared(name, item, allow_urls, allow_paths=allow_paths)
            to_look_at.extend(item.values())
        elif is_array(item) or isinstance(item, tuple):
            items = cast("Sequence[object]", item)
            seen.add(id(items))
            to_look_at.extend(items)


def _check_declared(
    name: str, image: JSONObject, allow_urls: AllowURLs, *, allow_paths: bool
) -> None:
    kind, value = image.get("type"), image.get("value")
    if not isinstance(kind, str) or not isinstance(value, str):
        return
    kind = kind.strip().lower()
    if kind == "url":
        _check_fetched(name, value, allow_urls)
    elif kind in _PICKLED or (kind == _ON_DISK and not allow_paths):
        raise ImageError(
            f"{name} holds an image of the type {kind!r}, which this client does not pass on "
            "(it has allow_urls or allow_paths set): give the image's bytes as an image."
        )


def _check_fetched(name: str, url: str, allow_urls: AllowURLs) -> None:
    try:
        check_image_url(url, allow_urls)
    except ImageError as error:
        raise ImageError(
            f"{name} holds a URL, which the server fetches if that input is an image: "
            f"{error.message} If it is not an image, make it the default of that input in the "
            "Workflow."
        ) from None


def _is_public(url: str) -> bool:
    parts = _PLAIN.match(url)
    if parts is None:
        return False
    if parts["v6"] is not None:
        return _is_public_v6(parts["v6"])
    host = parts["name"].lower().rstrip(".")
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", host.rpartition(".")[2]):
        # If the last label is a number, browsers and C libraries read it as an address:
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
    # The last 64 bits of an ISATAP address hold an IPv4 address (RFC 5214).
    is_isatap = (int(v6) >> 32) & 0xFCFFFFFF == 0x00005EFE
    special = is_isatap or any(v6 in network for network in _PRIVATE_V6)
    return v6 in _PUBLIC_V6 and not special
