"""A large response holds Python's lock for a moment at a time: no call looks at all of it."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pydantic_core
import pytest

from roboflow_async import ResponseError
from roboflow_async._engine.api import large_json
from roboflow_async._engine.api.responses import Response, parse_json, parse_workflow_outputs

MIB = 1 << 20


class Watched(bytearray):
    """Knows how many bytes were looked at in one call, at most."""

    most = 0

    def _range(self, start: int | None, end: int | None) -> None:
        start, end, _ = slice(start, end).indices(len(self))
        self.most = max(self.most, end - start)

    def count(self, item: Any, start: Any = None, end: Any = None) -> int:
        self._range(start, end)
        return super().count(item, start, end)

    def find(self, item: Any, start: Any = None, end: Any = None) -> int:
        self._range(start, end)
        return super().find(item, start, end)

    def __contains__(self, item: Any) -> bool:
        self._range(None, None)
        return super().__contains__(item)

    def isascii(self) -> bool:
        self._range(None, None)
        return super().isascii()

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            self._range(place.start, place.stop)
        return super().__getitem__(place)


@pytest.mark.parametrize(
    "content",
    [
        b'{"outputs":[{"a":"' + b"A" * 4 * MIB + b'"}]}',
        b'{"outputs":[{"a":["' + b'","'.join([b"A" * 90_000] * 50) + b'"]}]}',
        b'{"outputs":[{"a":[' + b"9" * 4000 + (b"," + b"9" * 4000) * 600 + b"]}]}",
        b'{"outputs":[{"a":[' + b"0.12345678901234567," * 200_000 + b"1]}]}",
        b'\xef\xbb\xbf{"outputs":[{"a":"' + b"A" * 9 * MIB + b'"}]}',
        b'{"outputs":[' + b" " * 4 * MIB + b'{"a":1}]}',
    ],
    ids=["a text", "texts", "long numbers", "numbers", "after a mark", "spaces"],
)
def test_no_call_looks_at_more_than_a_mebibyte(
    monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    parse, parsed = pydantic_core.from_json, [0]

    def watched_parse(text: bytes, **options: Any) -> Any:
        parsed.append(len(text))
        return parse(text, **options)

    monkeypatch.setattr(pydantic_core, "from_json", watched_parse)
    watched = Watched(content)
    assert (
        parse_workflow_outputs(Response(200, {}, watched))
        == json.loads(content.decode("utf-8-sig"))["outputs"]
    )
    assert max(watched.most, *parsed) <= MIB + 10


class Spaces:
    """The pattern of white space, which is C, too."""

    def __init__(self, pattern: re.Pattern[bytes]) -> None:
        self.pattern = pattern
        self.most = 0

    def match(self, content: Any, at: int, end: int = 1 << 60) -> Any:
        found = self.pattern.match(content, at, end)
        self.most = max(self.most, found.end() - at if found else 0)
        return found


@pytest.mark.parametrize("before", [b"", b"[", b"[1", b"[1,", b'{"a"', b'{"a":', b'{"a":1'])
@pytest.mark.parametrize("count", [4 * MIB, MIB - 1, MIB, MIB + 1])
def test_spaces_are_passed_over_step_by_step(
    monkeypatch: pytest.MonkeyPatch, before: bytes, count: int
) -> None:
    """A server may send nothing but spaces: 32 MiB took 50 ms."""
    after = {b"": b"1", b"[": b"]", b"[1": b"]", b"[1,": b"2]", b'{"a"': b":1}"}.get(before)
    after = after or (b"1}" if before.endswith(b":") else b"}")
    spaces = Spaces(large_json._SPACE)
    monkeypatch.setattr(large_json, "_SPACE", spaces)
    whole = before + b" \n\r\t" * (count // 4) + b" " * (count % 4) + after
    assert large_json.parse_in_pieces(whole) == json.loads(before + after)
    assert spaces.most <= MIB


@pytest.mark.parametrize("at", [0, 5, MIB - 7, MIB - 1, MIB, 3 * MIB - 2, 4 * MIB])
def test_a_word_is_found_wherever_it_begins(at: int) -> None:
    content = bytearray(4 * MIB + 20)
    assert not large_json.holds(content, b'"base64"')
    content[at : at + 8] = b'"base64"'
    assert large_json.holds(content, b'"base64"')


def names(count: int) -> Iterator[bytes]:
    return (b'"%040d":%d' % (number, number) for number in range(count))


def test_an_object_of_more_names_than_there_are_is_refused() -> None:
    """A dict of 700,000 names is made anew when one more comes, which took 30 ms."""
    content = b"{" + b",".join(names(360_000)) + b"}"
    with pytest.raises(ResponseError, match="an object of more than 349,525 names"):
        parse_json(Response(200, {}, content))
    content = b"{" + b",".join(names(200_000)) + b"}"
    assert len(parse_json(Response(200, {}, content))) == 200_000
