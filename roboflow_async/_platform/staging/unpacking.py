"""Reads archives that came over the network, whatever is in them."""

import gzip
import io
import logging
import os
import re
import tarfile
import tempfile
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from roboflow_async.errors import ConfigurationError, ResponseError, plain_text

__all__ = ["is_archive", "members", "safe_name", "save"]

_log: Final = logging.getLogger("roboflow_async.batch")

_MOST_MEMBERS: Final = 100_000  # of an archive; a job writes one for 500 inputs
_MOST_BYTES: Final = 64 * 1024**3  # of an archive, unpacked
_LARGEST_READ: Final = 16 * 1024 * 1024  # bytes at once; tarfile reads a whole header at once
_PIECE: Final = 1024 * 1024
_LONGEST_NAME: Final = 200  # bytes; file systems take 255, and a temporary name is longer
_GZIP: Final = b"\x1f\x8b"
# What a path, a drive or a stream of Windows needs; and what no file may be called there.
_UNSAFE: Final = re.compile(r'[<>:"|?*\x00-\x1f]')
_RESERVED: Final = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


def is_archive(name: str) -> bool:
    """Whether a file is an archive, by its name."""
    return name.lower().endswith((".tar", ".tar.gz", ".tgz"))


def safe_name(name: str) -> str | None:
    """The last part of a path, as the name of a file on every system; None: there is none."""
    last = re.split(r"[/\\]", name)[-1]
    last = _UNSAFE.sub("_", plain_text(last)).rstrip(" .")
    if not last or _RESERVED.fullmatch(last):
        return None
    encoded = last.encode("utf-8", "replace")
    if len(encoded) > _LONGEST_NAME:
        end = encoded[-40:].decode("utf-8", "ignore")
        last = encoded[: _LONGEST_NAME - 40].decode("utf-8", "ignore") + end
    return last


def members(file: IO[bytes], what: str) -> Generator[tuple[str, IO[bytes]]]:
    """The files in a tar archive: a safe name, and the content, to be read before the next.

    Links, devices and folders are left out, and so is what Python's own filter for data refuses.

    Args:
        file: the archive, compressed with gzip or not.
        what: what errors call it.

    Raises:
        ResponseError: it is no archive, is cut off, or has more in it than is allowed.
    """
    file.seek(0)
    is_compressed = file.read(2) == _GZIP
    file.seek(0)
    plain: Any = gzip.GzipFile(fileobj=file) if is_compressed else file
    with _told(what):
        # `tarfile` asks for no more of a file than the methods of this one.
        source: Any = _Bounded(plain, what)
        archive = tarfile.open(fileobj=source, mode="r:")  # noqa: SIM115 - it owns nothing
    number, left_out = 0, list[str]()
    while True:
        with _told(what):
            member = archive.next()
            name = _name_of(member) if member is not None else None
            content = archive.extractfile(member) if member is not None and name else None
        if member is None:
            break
        number += 1
        if number > _MOST_MEMBERS:
            raise _too_much(what, f"more than {_MOST_MEMBERS} members")
        # It remembers all that it has seen, and never looks at it.
        archive.members = []  # pyright: ignore[reportAttributeAccessIssue]
        if name is None or content is None:
            left_out.append(_shown(member))
            continue
        yield name, io.BufferedReader(_Content(content, what))
    if left_out:
        told = f"{left_out[0]} and {len(left_out) - 1} more" if left_out[1:] else left_out[0]
        _log.warning("left out of %s: %s", what, told)


@contextmanager
def _told(what: str) -> Generator[None]:
    """Make one error of all that `tarfile` and `gzip` say of a bad archive."""
    try:
        yield
    except (tarfile.TarError, EOFError, OSError, zlib.error, ValueError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of this machine's disk
        reason = plain_text(str(error))[:200]
        raise ResponseError(f"{what} is not an archive that can be read: {reason}.") from None


def _shown(member: tarfile.TarInfo) -> str:
    """A member for a log."""
    kind = "a file" if member.isreg() else "a folder" if member.isdir() else "a link or device"
    return f"{kind} named {plain_text(member.name)[:100]!r}"


def _name_of(member: tarfile.TarInfo) -> str | None:
    if not member.isreg():
        return None
    name = safe_name(member.name)
    if name is None:
        return None
    # Its checks are for names that are used as they are. With the last part alone nothing is left
    # for them to refuse; if a later Python knows more dangers, it does.
    check = getattr(tarfile, "data_filter", None)  # from Python 3.11.4 on
    if check is not None:
        try:
            check(member.replace(name=name, deep=False), tempfile.gettempdir())
        except tarfile.TarError:
            return None
    return name


def save(content: IO[bytes], folder: Path, name: str, most: int = _MOST_BYTES) -> Path:
    """Write a file: under a temporary name first, so that what has its name is whole.

    Args:
        content: what to write.
        folder: where to; made if there is none.
        name: a safe name. If there is such a file, it is replaced.
        most: the largest number of bytes.

    Raises:
        ConfigurationError: it cannot be written.
        ResponseError: it is larger.
    """
    path = folder / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".", suffix=".part", dir=folder)
    except OSError as error:
        raise _unwritable(folder, error) from None
    try:
        with os.fdopen(handle, "wb") as file:
            size = 0
            while piece := content.read(_PIECE):
                size += len(piece)
                if size > most:
                    raise _too_much(name, f"more than {most} bytes")
                try:
                    file.write(piece)
                except OSError as error:
                    raise _unwritable(folder, error) from None
        try:
            Path(temporary).replace(path)
        except OSError as error:
            raise _unwritable(path, error) from None
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def _unwritable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"{str(path)!r} cannot be written: {error.strerror}.")


def _too_much(what: str, how_much: str) -> ResponseError:
    return ResponseError(f"{what} has {how_much}, which is more than is unpacked.")


class _Content(io.RawIOBase):
    """The content of a member. What is wrong with it shows only when it is read."""

    def __init__(self, file: IO[bytes], what: str) -> None:
        self._file = file
        self._what = what

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override] # pyright: ignore[reportIncompatibleMethodOverride]
        with _told(self._what):
            piece = self._file.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)


class _Bounded:
    """What `tarfile` reads from. It refuses what an honest archive does not need."""

    def __init__(self, file: IO[bytes], what: str) -> None:
        self._file = file
        self._what = what

    def read(self, size: int = -1) -> bytes:
        # A header of its own format (PAX, or a long name) says how long it is.
        if not 0 <= size <= _LARGEST_READ:
            raise _too_much(self._what, "a header that is too long")
        if self._file.tell() + size > _MOST_BYTES:
            raise _too_much(self._what, f"more than {_MOST_BYTES} bytes")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == 0 and offset > _MOST_BYTES:
            raise _too_much(self._what, f"more than {_MOST_BYTES} bytes")
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()
