"""Sends files to the signed URLs of a cloud's storage, and fetches them: without a key."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Final, Literal, overload

import httpx

from roboflow_async._engine.api.requests import PreparedRequest
from roboflow_async._engine.runtime import Engine
from roboflow_async._engine.settings import RetryPolicy, Settings
from roboflow_async.errors import (
    APITimeoutError,
    ClientClosedError,
    ConfigurationError,
    ResponseError,
)

__all__ = ["CloudStorage", "FilePieces", "SignedURL"]

_PIECE: Final = 256 * 1024  # bytes
_LEAST_TIME: Final = 60.0  # seconds for an upload
_LEAST_SPEED: Final = 100_000.0  # bytes a second; slower uploads are given up
_LONGEST: Final = 86_400.0
_LARGEST: Final = 64 * 1024**3  # bytes of a file that is fetched


@dataclass(frozen=True, slots=True)
class SignedURL:
    """Where a file may be sent to, for a while.

    Attributes:
        url: the URL. Whoever has it may write there.
        method: PUT, if the platform does not say otherwise.
        headers: the headers that it was signed with.
        max_bytes: the largest file; None: the platform did not say.
    """

    url: str
    method: Literal["PUT", "POST"] = "PUT"
    headers: tuple[tuple[bytes, bytes], ...] = ()
    max_bytes: int | None = None

    def __repr__(self) -> str:
        return "<signed URL>"


class FilePieces(Sequence[bytes]):
    """A file in pieces that are read when they are sent.

    They are read on the event loop: the file was written a moment ago, so that it takes less than a
    tenth of a millisecond.

    Args:
        path: the file.
        size: its bytes.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size

    def __len__(self) -> int:
        return (self._size + _PIECE - 1) // _PIECE

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[bytes]: ...

    def __getitem__(self, index: int | slice) -> bytes | Sequence[bytes]:
        if isinstance(index, slice):
            return [self[number] for number in range(len(self))[index]]
        if not 0 <= index < len(self):
            raise IndexError(index)
        with self._path.open("rb") as file:
            file.seek(index * _PIECE)
            return file.read(min(_PIECE, self._size - index * _PIECE))


class CloudStorage:
    """Sends files to signed URLs, and fetches them: no key, no redirect, and a deadline for each.

    Args:
        settings: the client's.
    """

    def __init__(self, settings: Settings) -> None:
        # The key is Roboflow's, and the storage is a cloud's. Nothing is tried twice here, because
        # another attempt needs another URL.
        self._settings = replace(
            settings,
            api_key=None,
            api_key_transport="header",
            requests_per_second=None,
            limiter=None,
            queue_timeout=None,
            max_waiting=None,
            adaptive_concurrency=False,
            timeout=_LONGEST,
            retry=RetryPolicy(max_attempts=1, max_elapsed=None),
        )
        self._engines: dict[str, Engine] = {}
        self._is_closed = False

    async def send(self, path: Path, size: int, to: SignedURL) -> None:
        """Send a file once.

        Args:
            path: the file.
            size: its bytes.
            to: where to.

        Raises:
            APIError: it did not arrive, or it is not known whether it did.
        """
        url = httpx.URL(to.url)
        request = PreparedRequest(
            url.raw_path.decode("ascii"),
            FilePieces(path, size),
            to.method,
            content_type=b"",  # only what was signed
            size=size,
            more_headers=to.headers,
        )
        seconds = max(_LEAST_TIME, size / _LEAST_SPEED)
        try:
            async with asyncio.timeout(seconds):
                await self._engine(url).call(request, lambda _: None, retry=False)
        except TimeoutError:
            raise APITimeoutError(
                f"an upload of {size} bytes took more than {seconds:g} s."
            ) from None

    async def fetch(self, url: str, into: IO[bytes]) -> None:
        """Fetch a file once. It is never in memory.

        Args:
            url: from where.
            into: where to; pieces are written on the event loop, as they are read for an upload.

        Raises:
            APIError: it did not come, or not whole.
            ConfigurationError: it cannot be written.
        """
        loop, size = asyncio.get_running_loop(), 0
        target = httpx.URL(url)

        def sink(piece: bytes) -> None:
            nonlocal size
            size += len(piece)
            if size > _LARGEST:
                raise ResponseError(f"a file of the job has more than {_LARGEST} bytes.")
            try:
                into.write(piece)
            except OSError as error:
                raise ConfigurationError(
                    f"a file of the job cannot be written: {error.strerror}."
                ) from None
            quiet.reschedule(loop.time() + _LEAST_TIME)

        request = PreparedRequest(target.raw_path.decode("ascii"), method="GET", sink=sink)
        try:
            async with asyncio.timeout(_LEAST_TIME) as quiet:
                await self._engine(target).call(request, lambda _: None, retry=False)
            into.flush()
        except TimeoutError:
            raise APITimeoutError(
                f"nothing came of a file for {_LEAST_TIME:g} s, after {size} bytes."
            ) from None

    def _engine(self, url: httpx.URL) -> Engine:
        if self._is_closed:
            raise ClientClosedError
        origin = f"{url.scheme}://{url.netloc.decode('ascii')}"
        if origin not in self._engines:
            self._engines[origin] = Engine(replace(self._settings, api_url=origin))
        return self._engines[origin]

    async def aclose(self) -> None:
        """Close every connection."""
        self._is_closed = True
        for engine in self._engines.values():
            await engine.aclose()
