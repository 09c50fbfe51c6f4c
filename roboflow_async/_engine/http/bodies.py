"""A request's body on its way out."""

from collections.abc import AsyncIterator, Callable, Sequence

import httpx

__all__ = ["Body"]


class Body(httpx.AsyncByteStream):
    """A body in pieces, sent without being joined. Its sending tells when the request goes out.

    Args:
        pieces: of the body.
        on_sent: called when the first one is asked for, which is after connecting.

    Attributes:
        is_whole: whether all of it was sent.
    """

    def __init__(self, pieces: Sequence[bytes], on_sent: Callable[[], None]) -> None:
        self.pieces = pieces
        self.on_sent = on_sent
        self.is_whole = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.on_sent()
        for piece in self.pieces:
            yield piece
        self.is_whole = True
