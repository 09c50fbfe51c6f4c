"""Bytes of a response, cut and joined anywhere: the same response, or an error."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from roboflow_async._engine.http.response_parser import ResponseParser

tokens = st.text("abcXYZ-_0!", min_size=1, max_size=12).map(lambda text: f"X-{text}".encode())
values = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=30).map(
    lambda text: text.encode("latin-1").strip()
)
headers = st.lists(st.tuples(tokens, values), max_size=6)
bodies = st.binary(max_size=300)
interims = st.lists(
    st.sampled_from(
        [
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n",
            b"HTTP/1.1 102 Processing\r\nContent-Length: 7\r\n\r\n",
        ]
    ),
    max_size=3,
)


@dataclass
class Sent:
    """A response, and the bytes that it is sent as."""

    wire: bytes
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    is_ended_by_close: bool
    keeps_alive: bool


@st.composite
def responses(draw: st.DrawFn) -> Sent:
    status = draw(st.sampled_from([200, 201, 299, 400, 404, 429, 500, 999, 204, 304]))
    version = draw(st.sampled_from([b"1.1", b"1.1", b"1.0"]))
    reason = draw(st.sampled_from([b" OK", b"", b" ", b" \xe9t\xe9"]))
    given_headers, body = draw(headers), draw(bodies)
    has_body = status not in (204, 304)
    framing = draw(st.sampled_from(["length", "chunks", "close"])) if has_body else "none"
    keeps_alive = version == b"1.1" and framing != "close"
    after = b""
    if framing == "length":
        given_headers = [*given_headers, (b"content-length", b"%d" % len(body))]
        after = body
    elif framing == "chunks":
        given_headers = [*given_headers, (b"Transfer-Encoding", b"chunked")]
        rest = body
        while rest:
            size = draw(st.integers(1, len(rest)))
            extension = draw(st.sampled_from([b"", b";a=b", b';a="b c"']))
            after += b"%x%b\r\n%b\r\n" % (size, extension, rest[:size])
            rest = rest[size:]
        after += b"0\r\n%b\r\n" % draw(st.sampled_from([b"", b"X-Trailer: late\r\n"]))
    elif framing == "close":
        after = body
    if draw(st.booleans()):
        given_headers = [*given_headers, (b"Connection", b"close")]
        keeps_alive = False
    lines = b"".join(b"%b: %b\r\n" % header for header in given_headers)
    head = b"HTTP/%b %d%b\r\n%b\r\n" % (version, status, reason, lines)
    wire = b"".join(draw(interims)) + head + after
    return Sent(
        wire, status, given_headers, body if has_body else b"", framing == "close", keeps_alive
    )


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(places) if a != b]


def read(parser: ResponseParser, parts: list[bytes], *, close: bool = True) -> Any:
    """What comes out, taken whenever something came."""
    parser.expect()
    body = b""
    for part in parts:
        parser.feed(part)
        if parser.pieces:
            body += parser.take()
        assert parser.size == 0
    if close:
        parser.finish()
    if not parser.is_whole:
        return None
    return parser.status_code, parser.headers, body


cuts = st.lists(st.integers(0, 2000), max_size=12)


@given(st.lists(responses(), min_size=1, max_size=3), st.data())
def test_responses_cut_anywhere_are_the_same(sent: list[Sent], data: st.DataObject) -> None:
    """One after the other over one connection, as long as it is kept."""
    parser = ResponseParser()
    for one in sent:
        found = read(parser, pieces(one.wire, data.draw(cuts)), close=one.is_ended_by_close)
        assert found == (one.status, one.headers, one.body)
        assert not parser.is_spoiled
        assert parser.keeps_alive == one.keeps_alive
        if not one.keeps_alive:
            break


@given(responses(), st.integers(0, 2000), cuts)
def test_a_response_that_is_cut_off_is_none(sent: Sent, end: int, places: list[int]) -> None:
    """But for a body that the end of the connection ends."""
    wire = sent.wire[: end % len(sent.wire)]
    parser = ResponseParser()
    found = read(parser, pieces(wire, places))
    if found is not None:
        assert sent.is_ended_by_close
        assert found[:2] == (sent.status, sent.headers)
        assert sent.body.startswith(found[2])


@given(
    responses(), st.binary(min_size=1, max_size=40) | responses().map(lambda one: one.wire), cuts
)
@example(
    Sent(b"HTTP/1.1 204 N\r\n\r\n", 204, [], b"", is_ended_by_close=False, keeps_alive=True),
    b"HTTP/1.1 200 OK\r\n",
    [],
)
def test_what_follows_a_response_spoils_its_connection(
    sent: Sent, more: bytes, places: list[int]
) -> None:
    if sent.is_ended_by_close or not more.strip(b"\r\n"):
        return  # (empty lines before a response are none)
    parser = ResponseParser()
    found = read(parser, pieces(sent.wire + more, places), close=False)
    assert found == (sent.status, sent.headers, sent.body)
    assert parser.is_spoiled


@given(responses(), st.data(), cuts, cuts)
def test_bytes_that_are_changed_are_read_alike_however_cut(
    sent: Sent, data: st.DataObject, one: list[int], other: list[int]
) -> None:
    wire = bytearray(sent.wire)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(wire) - 1))
        wire[place : place + data.draw(st.integers(0, 2))] = data.draw(
            st.sampled_from([b"", b"\r", b"\n", b"\r\n", b" ", b"\0", b":", b"0", b"9", b"\xff"])
        )
        if not wire:
            return
    first, second = ResponseParser(), ResponseParser()
    found = read(first, pieces(bytes(wire), one)), read(second, pieces(bytes(wire), other))
    assert found[0] == found[1]
    for parser in (first, second):
        if parser.is_spoiled and not parser.is_whole:
            assert read(parser, [sent.wire]) is None  # for ever


@given(st.binary(max_size=500), cuts)
def test_any_bytes_are_read_without_an_exception(wire: bytes, places: list[int]) -> None:
    parser = ResponseParser()
    read(parser, pieces(wire, places))
    parser.close()
    parser.feed(wire)
    assert parser.is_spoiled


@given(st.sampled_from([1, 7, 1000, 4096, 200_000]), st.data())
def test_heads_and_trailers_without_end_are_refused(size: int, data: st.DataObject) -> None:
    """Soon: httptools itself has no bound, and joins the pieces of a header."""
    begin, line = data.draw(
        st.sampled_from(
            [
                (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
                (b"HTTP/1.1 200 OK\r\nX-Long: ", b"abcdefgh"),
                (b"HTTP/1.1 200 OK\r\n", b"name"),
                (b"HTTP/1.1 200 ", b"reason"),
                (b"", b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n"),
                (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
                (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"abcdefgh"),
                (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=", b"abcdefgh"),
                (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
                (b"", b"\r\n"),
            ]
        )
    )
    parser = ResponseParser()
    parser.expect()
    wire = begin + line * (600_000 // len(line))
    fed = 0
    while fed < len(wire) and not parser.is_spoiled:
        step = max(size, 512) if fed else size
        parser.feed(wire[fed : fed + step])
        fed += step
    assert parser.is_spoiled
    assert not parser.is_whole
    assert fed <= 128 * 1024 + 200_000
