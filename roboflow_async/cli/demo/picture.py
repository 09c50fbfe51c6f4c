"""The picture that `demo` writes, marked as its own, so that it replaces nothing else."""

import os
from pathlib import Path
from typing import Final

from roboflow_async import ConfigurationError
from roboflow_async.cli.files import read_small, written_whole

__all__ = ["check_output", "write_picture"]

_START: Final = b"\xff\xd8"  # of every JPEG
_TEXT: Final = b"drawn by roboflow-async demo"
# A JPEG's comment: its marker, its length (which counts itself), and the text.
_MARK: Final = b"\xff\xfe" + (len(_TEXT) + 2).to_bytes(2, "big") + _TEXT
_LARGEST: Final = 64 * 1024 * 1024  # bytes


def check_output(path: Path) -> None:
    """Raise `ConfigurationError` unless the picture can be written there, before any work is done.

    A file that is there already is replaced only if it is an earlier picture of the demo.
    """
    told = f"--output {str(path)!r:.200}"
    if path.is_dir():
        raise ConfigurationError(f"{told} is a folder: give the name of a file.")
    if not path.parent.is_dir():
        raise ConfigurationError(
            f"{told} cannot be written: there is no {str(path.parent)!r:.200}."
        )
    if not os.access(path.parent, os.W_OK):
        raise ConfigurationError(
            f"{told} cannot be written: {str(path.parent)!r:.200} does not let you write there."
        )
    there = read_small(path, _LARGEST)
    if there is not None and not there.startswith(_START + _MARK):
        raise ConfigurationError(
            f"{told} is there already, and is none of the demo's pictures: give another name."
        )


def write_picture(path: Path, jpeg: bytes) -> None:
    """Write a JPEG with the demo's mark; a `ConfigurationError` says why it cannot be."""
    try:
        with written_whole(path) as file:
            file.write(_START + _MARK + jpeg.removeprefix(_START))
    except OSError as error:
        raise ConfigurationError(
            f"--output {str(path)!r:.200} cannot be written: {error.strerror}."
        ) from None
