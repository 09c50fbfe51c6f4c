"""Reads a response's content: decompressed, and never more of it than allowed."""

import zlib
from collections.abc import Iterator
from typing import Final, cast

import httpx

from roboflow_async.errors import ResponseError

__all__ = ["read_content"]

_INFLATE_STEP: Final = 1 << 20  # bytes


async def read_content(response: httpx.Response, limit: int, request_id: str | None) -> bytes:
    """The body, decompressed, of at most `limit` bytes in memory at any moment."""

    def refusal(what: str) -> ResponseError:
        return ResponseError(
            f"the answer (HTTP {response.status_code}) {what}.",
            status_code=response.status_code,
            request_id=request_id,
        )

    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise refusal("is compressed in a way that was not asked for")
    inflate = None
    if encoding not in ("", "identity"):
        inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # 32: gzip or zlib, by its header
    pieces: list[bytes] = []
    size = 0
    # The stream itself: httpx's iterators around it cost more than reading a small answer.
    async for raw in cast("httpx.AsyncByteStream", response.stream):
        try:
            for piece in (raw,) if inflate is None else _inflated(inflate, raw):
                size += len(piece)
                if size > limit:
                    raise refusal(
                        f"is larger than max_response_bytes={limit}: leave image outputs out "
                        "(excluded_fields=), or allow more"
                    )
                pieces.append(piece)
        except zlib.error:
            raise refusal(f"is not the {encoding} that it says") from None
    if inflate is not None and not inflate.eof:
        raise refusal(f"is {encoding} that is cut off")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _inflated(inflate: "zlib._Decompress", raw: bytes) -> Iterator[bytes]:  # pyright: ignore[reportPrivateUsage]
    """What `raw` unfolds into, in pieces: 64 KB of gzip may hold 64 MB."""
    while raw:
        yield inflate.decompress(raw, _INFLATE_STEP)
        raw = inflate.unconsumed_tail
