"""The inputs of a job, kept until their results are given: large ones on disk."""

import os
import pickle
import weakref
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from pathlib import Path
from typing import IO, Any, Final, cast

import anyio.to_thread

from roboflow_async._engine.images.pillow import is_array, is_pillow
from roboflow_async._engine.images.video_frames import VideoFrame
from roboflow_async._platform.staging.export import temporary_file

__all__ = ["Inputs"]

_SMALL: Final = 4096  # bytes; what costs about as much as its place in a list


class Inputs:
    """Gives inputs for an upload, again and again, and each one by its index.

    A list is left as it is. Of an iterator, paths, URLs and other small objects are kept in memory;
    bytes, arrays and pictures in a temporary file, so that memory does not grow with them.

    Args:
        images: what the user gave.
        folder: where the temporary file is.
        are_items: whether they are items, whose images a function gives: any objects, which are
            kept as they are.
    """

    def __init__(
        self, images: Iterable[object] | AsyncIterable[object], folder: Path, *, are_items: bool
    ) -> None:
        self._images = images
        self._folder = folder
        self._are_items = are_items
        self._sequence = cast("Sequence[object]", images) if _is_list(images) else None
        self._kept: list[object] = []
        self._file: IO[bytes] | None = None
        self._end: weakref.finalize[..., Inputs] | None = None
        self._is_whole = False

    async def all(self) -> AsyncGenerator[object]:
        """Each input, in its order."""
        if self._sequence is not None:
            for value in self._sequence:
                yield value
            return
        if self._is_whole:
            for index in range(len(self._kept)):
                yield await self.get(index)
            return
        self._kept.clear()
        if isinstance(self._images, AsyncIterable):
            try:
                async for value in self._images:
                    await self._keep(value)
                    yield value
            finally:
                source: object = self._images
                if isinstance(source, AsyncGenerator):
                    await source.aclose()  # so that its own `finally` runs now
        else:
            for value in self._images:
                await self._keep(value)
                yield value
        self._is_whole = True

    async def get(self, index: int) -> Any:
        """The input with this index."""
        if self._sequence is not None:
            return self._sequence[index]
        kept = self._kept[index]
        if isinstance(kept, _OnDisk):
            return await anyio.to_thread.run_sync(self._load, kept.offset)
        return kept

    async def _keep(self, value: object) -> None:
        if self._are_items or not _is_large(value):
            self._kept.append(value)
        else:
            self._kept.append(_OnDisk(await anyio.to_thread.run_sync(self._store, value)))

    def _store(self, value: object) -> int:
        if self._file is None:
            with temporary_file(self._folder) as file:
                handle = os.dup(file.fileno())
            # Nobody has to close a job: it ends with its last reference.
            self._end = weakref.finalize(self, os.close, handle)
            self._file = open(handle, "w+b", closefd=False)  # noqa: SIM115
        offset = self._file.seek(0, 2)
        pickle.dump(value, self._file, protocol=5)
        return offset

    def _load(self, offset: int) -> object:
        assert self._file is not None
        self._file.seek(offset)
        return pickle.load(self._file)  # noqa: S301 - this process wrote it, into a file without a name

    def close(self) -> None:
        """Delete what is on disk."""
        if self._file is not None and self._end is not None:
            self._file.close()
            self._end()


class _OnDisk:
    __slots__ = ("offset",)

    def __init__(self, offset: int) -> None:
        self.offset = offset


def _is_list(images: object) -> bool:
    return isinstance(images, Sequence) and not isinstance(images, (str, bytes, bytearray))


def _is_large(value: object) -> bool:
    if isinstance(value, (bytes, bytearray)):
        return len(value) > _SMALL
    try:
        return isinstance(value, VideoFrame) or is_array(value) or is_pillow(value)
    except Exception:  # noqa: BLE001 - an object whose attributes cannot be looked at
        return False
