"""JSON of many megabytes: its size in memory is estimated first, and then it is parsed in pieces.

A call of a parser written in C or Rust holds Python's global lock until it returns, even in another
thread, and blocks the event loop. So no call here gets more than a piece.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import pydantic_core

from roboflow_async._engine.api.thrift import Thrift, TooMuchMemoryError, memory_allowed

__all__ = ["Weight", "holds", "parse_in_pieces"]

# Bytes that one call of the parser gets if there are few values in them. A mebibyte of escapes
# takes 4 ms, of numbers with thousands of digits 8 ms.
_LIGHT: Final = 1 << 20
_PIECE: Final = 64 * 1024  # bytes; 22,000 empty lists take 5 ms
_LOOKED_AT_AT_ONCE: Final = 1 << 20  # bytes; to count or to find something takes a millisecond
_DEEPEST: Final = 100  # nested containers larger than a piece; the parser itself allows 200
_LONGEST_WIDE_TEXT: Final = 8 << 20  # characters; each may take 4 bytes, which are copied at once
_LONGEST_SCALAR: Final = 16 * 1024  # characters of a number, which is never split

# When a dict grows, it is made anew at once: 8 ms for 175,000 names, which then has room for these.
_MOST_NAMES: Final = 349_525

_BYTES_OF_OBJECT: Final = 216  # in CPython, with up to five keys
_BYTES_OF_ARRAY: Final = 80
_BYTES_OF_VALUE: Final = 40  # its place in a list, and a number
_BYTES_OF_STRING: Final = 40  # beside its text
_BYTES_OF_KEY: Final = 150  # from the sixth key of an object on
_FEW: Final = 20_000  # arrays and objects, 4 MB at most
_NOT_WORTH_IT: Final = 6_500_000  # bytes; to keep them small takes three times as long
_SMALL: Final = 768 * 1024  # bytes of a response of which that much does not matter
_SMALLEST_CONTAINER: Final = 6  # bytes of each on average: `[1,2],`

# Possessive patterns: what cannot match fails at once, without backtracking.
_STRING: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_CONTAINER: Final = rb'[\[{](?:[^\[\]{}"]++|%b|%b)*+[\]}]'
_FLAT: Final = _CONTAINER % (_STRING, rb"(?!)")
_NESTED: Final = _CONTAINER % (_STRING, _CONTAINER % (_STRING, _CONTAINER % (_STRING, _FLAT)))
# Values that are small and not nested deeply, each with its comma. The parser decides whether they
# are JSON: if it accepts such a piece as a whole list, the piece ends between two items.
_ITEMS: Final = re.compile(
    rb'(?:\s*+(?:%b|[^\[\]{}",\s:]++|%b)\s*+,)++' % (_STRING, _NESTED), re.DOTALL
)
_MEMBERS: Final = re.compile(
    rb'(?:\s*+%b\s*+:\s*+(?:%b|[^\[\]{}",\s:]++|%b)\s*+,)++' % (_STRING, _STRING, _NESTED),
    re.DOTALL,
)
_SPACE: Final = re.compile(rb"[ \t\r\n]*+")
_SCALAR: Final = re.compile(rb'[^\[\]{}",\s:]++')
# Ends where a string can be split: not in an escape, nor between the halves of a surrogate pair.
_PART_OF_STRING: Final = re.compile(
    rb'(?:[^"\\]++|\\u[dD][89abAB]..\\u....|\\u(?![dD][89abAB])....|\\[^u])*+', re.DOTALL
)


class Weight:
    """An estimate of the memory that a JSON text will take, from its punctuation.

    Punctuation in strings counts, too: it can make the estimate too high, but never too low.

    Args:
        content: the text.
    """

    __slots__ = ("arrays", "colons", "commas", "objects", "quotes", "size", "text")

    def __init__(self, content: bytes | bytearray) -> None:
        def count(character: bytes) -> int:
            return sum(content.count(character, start, end) for start, end in _steps(content))

        self.size = len(content)
        self.arrays = count(b"[")
        self.objects = count(b"{")
        self.commas = count(b",")
        self.colons = count(b":")
        self.quotes = count(b'"')
        # If one character is beyond the first 65,536, each character of the string takes four
        # bytes.
        is_plain = _is_ascii(content) and not holds(content, b"\\u")
        self.text = self.size if is_plain else 4 * self.size

    @property
    def bytes_in_memory(self) -> int:
        """The most memory that the parsed JSON may take, in bytes."""
        keys = max(self.colons - 5 * self.objects, 0)
        strings = max(self.quotes // 2 - self.colons, 0)
        return (
            self.text
            + self.objects * _BYTES_OF_OBJECT
            + self.arrays * _BYTES_OF_ARRAY
            + self.commas * _BYTES_OF_VALUE
            + strings * _BYTES_OF_STRING
            + keys * _BYTES_OF_KEY
        )

    @property
    def is_light(self) -> bool:
        """Whether one call of the parser takes at most a few milliseconds."""
        return (
            self.size <= _LIGHT
            and self.arrays + self.objects + self.commas + self.quotes // 2 <= 100_000
        )

    def too_much(self, allowed: int) -> str:
        """What the text has too much of, for an error; or "".

        Args:
            allowed: bytes that a response may have; the other limits follow from it.
        """
        containers = self.arrays + self.objects
        if containers > _FEW and containers * _SMALLEST_CONTAINER > self.size:
            return f"{containers:,} arrays and objects that are almost empty"
        # The garbage collector walks through all of them at once, also as instances of their types,
        # and holds the lock during that: 40 ms for 200,000.
        most = max(allowed // 160, 50_000)
        if self.arrays > most or self.objects > most:
            return f"more than {most:,} arrays or objects"
        # Freeing 2,000,000 numbers or texts holds the lock for 40 ms.
        # A depth map of 1920 x 1080 fits.
        values = max(allowed // 16, 800_000)
        if self.commas > values:
            return f"more than {values:,} values"
        return ""

    @property
    def is_heavy(self) -> bool:
        """Whether it may take most of the allowed memory, or more."""
        most = memory_allowed(self.size) // 4 * 3
        if self.size < _SMALL:
            most = max(most, _NOT_WORTH_IT)
        return self.bytes_in_memory > most


def holds(content: bytes | bytearray, text: bytes) -> bool:
    """Whether the text is somewhere in the content."""
    if len(content) <= _LOOKED_AT_AT_ONCE:  # as nearly all responses are
        return text in content
    more = len(text) - 1
    return any(content.find(text, start, end + more) >= 0 for start, end in _steps(content))


def _is_ascii(content: bytes | bytearray) -> bool:
    return all(content[start:end].isascii() for start, end in _steps(content))


def _steps(content: bytes | bytearray) -> Iterator[tuple[int, int]]:
    """The ranges of bytes that are looked at, one after the other."""
    for start in range(0, len(content), _LOOKED_AT_AT_ONCE):
        yield start, start + _LOOKED_AT_AT_ONCE


def parse_in_pieces(
    content: bytes | bytearray, thrift: Thrift | None = None, start: int = 0
) -> Any:
    """Parse it like `pydantic_core.from_json`, but without holding the lock for long.

    Args:
        content: the text.
        thrift: keeps the parsed values small, and adds up their size.
        start: where the JSON begins.

    Raises:
        TooMuchMemoryError: the values take more memory than `thrift` allows.
        ValueError: it is not JSON.
    """
    parser = _Parser(content, thrift)
    value, at = parser.value(parser.skip_space(start), 0)
    if parser.skip_space(at) != len(content):
        raise ValueError(f"trailing characters after byte {at}")
    return value


def _parse(piece: bytes | bytearray) -> Any:
    return pydantic_core.from_json(piece, allow_inf_nan=False)


class _Parser:
    """Parses a text piece by piece. Positions are bytes from its beginning."""

    def __init__(self, content: bytes | bytearray, thrift: Thrift | None) -> None:
        self._content = content
        self._thrift = thrift

    def skip_space(self, at: int) -> int:
        while True:
            match = _SPACE.match(self._content, at, at + _LOOKED_AT_AT_ONCE)
            assert match is not None
            if match.end() < at + _LOOKED_AT_AT_ONCE:
                return match.end()
            at = match.end()

    def value(self, at: int, depth: int) -> tuple[Any, int]:
        """The value that begins at a position, and where it ends."""
        if depth > _DEEPEST:
            raise ValueError("recursion limit exceeded")
        value, end = self._value(at, depth)
        return (value if self._thrift is None else self._thrift.value_by_itself(value)), end

    def _value(self, at: int, depth: int) -> tuple[Any, int]:
        first = self._content[at : at + 1]
        if first == b'"':
            return self._string(at)
        if first == b"[":
            return self._array(at + 1, depth)
        if first == b"{":
            return self._object(at + 1, depth)
        match = _SCALAR.match(self._content, at, at + _LONGEST_SCALAR)
        if match is None:
            raise ValueError(f"expected value at byte {at}")
        return _parse(match[0]), match.end()

    def _array(self, at: int, depth: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        end = self.skip_space(at)
        if self._content[end : end + 1] == b"]":
            return items, end + 1
        while True:
            run = _ITEMS.match(self._content, at, at + _PIECE)
            if run is not None:
                piece = _parse(b"[" + self._content[at : run.end() - 1] + b"]")
                items += piece if self._thrift is None else self._thrift.items(piece)
                at = run.end()
            item, at = self.value(self.skip_space(at), depth + 1)
            items.append(item)
            at, is_last = self._next(at, b"]")
            if is_last:
                return items, at

    def _object(self, at: int, depth: int) -> tuple[dict[str, Any], int]:
        members: dict[str, Any] = {}
        end = self.skip_space(at)
        if self._content[end : end + 1] == b"}":
            return members, end + 1
        while True:
            run = _MEMBERS.match(self._content, at, at + _PIECE)
            if run is not None:
                piece = _parse(b"{" + self._content[at : run.end() - 1] + b"}")
                members |= piece if self._thrift is None else self._thrift.members(piece)
                at = run.end()
            at = self.skip_space(at)
            if self._content[at : at + 1] != b'"':
                raise ValueError(f"expected a key at byte {at}")
            if len(members) > _MOST_NAMES:
                raise TooMuchMemoryError(f"an object of more than {_MOST_NAMES:,} names")
            key, at = self._string(at)
            at = self.skip_space(at)
            if self._content[at : at + 1] != b":":
                raise ValueError(f"expected `:` at byte {at}")
            members[key], at = self.value(self.skip_space(at + 1), depth + 1)
            at, is_last = self._next(at, b"}")
            if is_last:
                return members, at

    def _next(self, at: int, closing: bytes) -> tuple[int, bool]:
        """The position after the comma or bracket behind a value, and whether it is a bracket."""
        at = self.skip_space(at)
        found = self._content[at : at + 1]
        if found not in (closing, b","):
            raise ValueError(f"expected `,` or `{closing.decode()}` at byte {at}")
        return at + 1, found == closing

    def _string(self, at: int) -> tuple[str, int]:
        parts: list[str] = []
        at += 1
        while True:
            end = min(at + _PIECE, len(self._content))
            while end < len(self._content) and self._content[end] & 0xC0 == 0x80:
                end -= 1  # not in the middle of a character
            part = _PART_OF_STRING.match(self._content, at, max(end, at))
            assert part is not None
            parts.append(_parse(b'"' + part[0] + b'"'))
            at = part.end()
            if self._content[at : at + 1] == b'"':
                self._refuse_wide_text(parts)
                return "".join(parts), at + 1
            if not part[0]:
                raise ValueError(f"invalid string at byte {at}")

    @staticmethod
    def _refuse_wide_text(parts: list[str]) -> None:
        """Putting it together would hold the lock for long: it cannot be done in pieces."""
        length = sum(map(len, parts))
        if length > _LONGEST_WIDE_TEXT and not all(part.isascii() for part in parts):
            raise TooMuchMemoryError(f"a text of {length:,} characters that are not all ASCII")
