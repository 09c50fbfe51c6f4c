"""Headers that a user, or a hook, adds to requests. Pure."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, cast

from roboflow_async._engine.checks import shown
from roboflow_async.errors import ConfigurationError

__all__ = ["RawHeader", "checked_headers", "with_headers"]

RawHeader = tuple[bytes, bytes]

# RFC 9110, sections 5.5 and 5.6.2.
_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\t\x20-\x7e]{0,7998}[\x21-\x7e])?|")
# What carries the key, says what the body is and where it ends, or belongs to the connection.
_NOT_FOR_USERS: Final = frozenset(
    {
        "authorization", "proxy-authorization", "host", "content-length", "content-type",
        "content-encoding", "transfer-encoding", "accept", "accept-encoding", "user-agent",
        "connection", "proxy-connection", "keep-alive", "upgrade", "expect", "trailer",
        "te",  # codespell:ignore te
        "range", "http2-settings",
    }
)  # fmt: skip


def checked_headers(headers: object, what: str = "headers") -> tuple[RawHeader, ...]:
    """The headers as they are sent.

    Args:
        headers: names and values.
        what: what errors call them. They do not show values, which may be secrets.

    Raises:
        ConfigurationError: one of them is no header (it may hold a line end), is given twice, or is
            the client's to set.
    """
    # A dict is one: the check for a protocol takes longer than all the rest.
    if type(headers) is not dict and not isinstance(headers, Mapping):
        raise ConfigurationError(
            f"{what} of type {type(headers).__name__} is not valid: give a dict of names and "
            "values, such as {'X-Team': 'vision'}."
        )
    found: dict[str, RawHeader] = {}
    for name, value in cast("Mapping[Any, Any]", headers).items():
        if not isinstance(name, str) or not (key := _key(name)):
            raise ConfigurationError(
                f"{what}: {shown(name)} is not the name of a header: give letters, digits and '-'."
            )
        if key in _NOT_FOR_USERS:
            raise ConfigurationError(f"{what}: the client itself sets {name!r}: leave it out.")
        if not isinstance(value, str) or not _VALUE.fullmatch(value):
            raise ConfigurationError(
                f"{what}: the value of {name!r} cannot be sent: give at most 8,000 ASCII "
                "characters, without line ends and without spaces around them."
            )
        if key in found:
            raise ConfigurationError(
                f"{what}: {name!r} is given twice, in other letters: give one."
            )
        found[key] = (name.encode(), value.encode())
    return tuple(found.values())


@lru_cache(128)  # hooks send the same few names with each attempt
def _key(name: str) -> str:
    """A header's name in small letters; empty: it is not one."""
    return name.lower() if _NAME.fullmatch(name) else ""


def with_headers(headers: Iterable[RawHeader], more: Iterable[RawHeader]) -> tuple[RawHeader, ...]:
    """Headers with others added; one with the same name is replaced."""
    more = tuple(more)
    replaced = {name.lower() for name, _ in more}
    return (*(one for one in headers if one[0].lower() not in replaced), *more)
