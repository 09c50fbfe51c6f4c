"""The results on disk: one line for each image, whatever happens to the process.

A line is written as soon as its image is done, and never written again. So a run that was killed at
any moment can go on where it was.
"""

import itertools
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

from roboflow_async import ConfigurationError
from roboflow_async._engine.jsonvalues import is_object, read_json_text
from roboflow_async.cli.files import open_journal, read_small, written_whole

__all__ = ["Journal", "json_line"]

_LONGEST_LINE: Final = 256 * 1024 * 1024  # bytes: the largest response, with each letter escaped
_LARGEST_RUN: Final = 4 * 1024 * 1024  # bytes; more than a command line can hold
_FIELDS_OF_AN_ERROR: Final = ("type", "message")
_NO_ERROR: Final = {"type": "", "message": ""}
# Characters that JSON does not escape, but that control a terminal or end a line for some readers;
# and lone surrogates, which UTF-8 cannot hold (file names may have them).
_ESCAPED: Final = re.compile(
    "[\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    "\ufff9-\ufffb]"
)


def json_line(line: dict[str, Any]) -> bytes:
    """A line of JSON in UTF-8 that is safe for readers and terminals.

    Raises:
        ValueError: it holds a number that is not finite, which JSON cannot write.
    """
    text = json.dumps(line, ensure_ascii=False, allow_nan=False)
    if not text.isprintable():
        # These characters are only in strings, where the escape means the same.
        text = _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return text.encode() + b"\n"


class Journal:
    """JSON lines, each with its "image", and an "output" or an "error".

    Args:
        path: the path of the file.
        run: describes the run; a file of another run is refused.
        retry_failed: whether to remove the lines of failures, so that those images are done again.

    Raises:
        ConfigurationError: the file belongs to another run, is in use, or is not a journal.
    """

    def __init__(self, path: Path, run: dict[str, Any], *, retry_failed: bool = False) -> None:
        self.path = path
        self._run_path = path.with_name(path.name + ".run.json")
        self._run = run
        self._retry_failed = retry_failed
        self.done: set[str] = set()
        self.failed = 0
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open_journal(self.path)
        try:
            _lock(self._file, self.path)
            self._check_run(self._file)
            self._repair(self._file)
            if self._retry_failed and self.failed:
                self._take_out_failures(self._file)
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, line: dict[str, Any]) -> None:
        """Add a line. The operating system has it when this returns."""
        assert self._file is not None
        self._file.write(json_line(line))
        self._file.flush()
        self.done.add(line["image"])
        self.failed += "error" in line

    def lines(self) -> Iterator[dict[str, Any]]:
        """All lines of the file."""
        # Not opened by its name, which may lead to another file by now.
        assert self._file is not None
        self._file.seek(0)
        while line := self._file.readline(_LONGEST_LINE):
            yield read_json_text(line)

    def _check_run(self, file: BinaryIO) -> None:
        content = read_small(self._run_path, _LARGEST_RUN)
        if content is None:
            if os.fstat(file.fileno()).st_size:
                raise ConfigurationError(
                    f"{self.path} exists, but is not from such a run: give another "
                    "--output, or remove it."
                )
            with written_whole(self._run_path) as fresh:
                fresh.write(json.dumps(self._run, indent=2).encode())
            return
        try:
            run: object = read_json_text(content)
        except (ValueError, RecursionError):
            run = None
        if not is_object(run):
            raise ConfigurationError(
                f"{self._run_path} is damaged, so it is not known what {self.path.name} holds: "
                "remove both to start again, or give another --output."
            )
        if run != self._run:
            raise ConfigurationError(
                f"{self.path} is from a different run (see {self._run_path.name}): give "
                "another --output, or remove both."
            )

    def _repair(self, file: BinaryIO) -> None:
        """Read the existing lines; an incomplete last line is removed."""
        file.seek(0)
        good = 0
        for number in itertools.count(1):
            line = file.readline(_LONGEST_LINE)
            if not line:
                break
            try:
                if not line.endswith(b"\n"):
                    raise ValueError
                image, error = _image_of(read_json_text(line))
            except (ValueError, RecursionError):
                if file.read(1):
                    raise ConfigurationError(
                        f"{self.path}, line {number}, is not of such a run: give another --output."
                    ) from None
                break
            good += len(line)
            self.done.add(image)
            self.failed += error
        file.truncate(good)
        file.seek(good)

    def _take_out_failures(self, file: BinaryIO) -> None:
        file.seek(0)
        done: set[str] = set()
        # Beside the old one, then in its place: killed in between, one of them is whole.
        with written_whole(self.path) as fresh:
            for line in file:
                image, failed = _image_of(read_json_text(line))
                if not failed:
                    fresh.write(line)
                    done.add(image)
        self._file = open_journal(self.path)
        _lock(self._file, self.path)
        file.close()
        self.failed = 0
        self.done = done


def _image_of(line: Any) -> tuple[str, bool]:
    """The image of a line, and whether it failed."""
    image = line.get("image") if is_object(line) else None
    error = line.get("error", _NO_ERROR) if is_object(line) else None
    if not isinstance(image, str) or not is_object(error):
        raise ValueError("no result line")
    if any(not isinstance(error.get(name), str) for name in _FIELDS_OF_AN_ERROR):
        raise ValueError("no result line")
    return image, error is not _NO_ERROR


def _lock(file: BinaryIO, path: Path) -> None:
    """Keep a second run out. The lock ends with the process, however that ends."""
    if os.name != "posix":
        return
    import fcntl  # noqa: PLC0415 - POSIX alone has it

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Another run may have replaced the file after this one was opened.
        taken = os.path.samestat(os.fstat(file.fileno()), path.lstat())
    except OSError:
        taken = False
    if not taken:
        raise ConfigurationError(
            f"{path} is being written by another run: wait for it, or give another --output."
        )
