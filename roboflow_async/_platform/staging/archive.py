"""Writes the archives that images are uploaded in."""

import hashlib
import os
import tarfile
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import Final, cast

from roboflow_async._engine.images.formats import suffix_of

__all__ = ["Archive", "flat_name", "source_of"]

_SUFFIXES: Final = frozenset({".bmp", ".tif", ".tiff", ".jp2", ".avif", ".ppm", ".pgm"})
_DIGEST: Final = 8  # bytes; the index alone makes a name unique


def source_of(value: object) -> str | None:
    """What tells a file apart from another, or from itself after a change; None: not a file."""
    if not isinstance(value, (str, PathLike)) or (isinstance(value, str) and "://" in value):
        return None
    try:
        path = Path(value)  # pyright: ignore[reportUnknownArgumentType] - a PathLike of anything
        found = path.stat()
        return f"file:{os.path.abspath(path)}:{found.st_size}:{found.st_mtime_ns}"  # noqa: PTH100 - no links are followed
    except (OSError, ValueError, TypeError):
        return None


def flat_name(index: int, value: object, content: bytes) -> str:
    """The name of an image in its batch: no other one has it, and it says where it comes from.

    Roboflow's command line takes the last part of the path, so that of `a/1.jpg` and `b/1.jpg` one
    is lost.
    """
    digest = hashlib.blake2b(content, digest_size=_DIGEST).hexdigest()
    suffix = suffix_of(content[:64])
    if suffix is None and isinstance(value, (str, PathLike)):
        given = Path(cast("str | PathLike[str]", value)).suffix.lower()
        suffix = given if given in _SUFFIXES else None
    return f"{index:08}-{digest}{suffix or '.jpg'}"


class Archive:
    """An uncompressed tar archive that grows on disk, so that memory holds one image at a time.

    Args:
        path: its file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # No owner, no time and no mode of this machine is in it.
        self._tar = tarfile.open(path, "w:", format=tarfile.USTAR_FORMAT)  # noqa: SIM115 - closed below

    def add(self, name: str, content: bytes) -> None:
        """Add an image."""
        info = tarfile.TarInfo(name)
        info.size = len(content)
        self._tar.addfile(info, BytesIO(content))

    def close(self) -> int:
        """Write its end; return its bytes."""
        self._tar.close()
        return self.path.stat().st_size

    def discard(self) -> None:
        """Delete it."""
        self._tar.close()
        self.path.unlink(missing_ok=True)
