"""The results on disk: one line for each image, whatever happens to the process.

A line is written at once when its image is done, and is never written again: a run that was
killed, at any moment, goes on where it was.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from roboflow_async import ConfigurationError
from roboflow_async.jsontypes import is_object

__all__ = ["Journal"]


class Journal:
    """JSON lines, each with its "image", and an "output" or an "error".

    Args:
        path: of the file.
        run: what the lines are of; a file of another run is refused.
        retry_failed: take out the lines of failures, so that those are done again.

    Raises:
        ConfigurationError: the file is of another run, in use, or not such a file.
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
        self._file = self.path.open("ab+")
        try:
            _lock(self._file, self.path)
            self._check_run()
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
        """Add a line; it is with the operating system when this returns."""
        assert self._file is not None
        self._file.write(json.dumps(line, ensure_ascii=False, allow_nan=False).encode() + b"\n")
        self._file.flush()
        self.done.add(line["image"])
        self.failed += "error" in line

    def lines(self) -> Iterator[dict[str, Any]]:
        """All lines, from the file."""
        with self.path.open("rb") as file:
            for line in file:
                yield json.loads(line)

    def _check_run(self) -> None:
        if not self._run_path.exists():
            if self.path.stat().st_size:
                raise ConfigurationError(
                    f"{self.path} is there already, and not from such a run: give another "
                    "--output, or remove it."
                )
            self._run_path.write_text(json.dumps(self._run, indent=2))
            return
        if json.loads(self._run_path.read_text()) != self._run:
            raise ConfigurationError(
                f"{self.path} is from a run of something else (see {self._run_path.name}): give "
                "another --output, or remove both."
            )

    def _repair(self, file: BinaryIO) -> None:
        """Read what is there; a last line that was cut off is taken out."""
        file.seek(0)
        good = 0
        for number, line in enumerate(file, 1):
            try:
                if not line.endswith(b"\n"):
                    raise ValueError
                image, error = _image_of(json.loads(line))
            except ValueError:
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
        kept = [line for line in file if not _image_of(json.loads(line))[1]]
        # Beside the old one, then in its place: killed in between, one of them is whole.
        fresh = self.path.with_name(self.path.name + ".new")
        fresh.write_bytes(b"".join(kept))
        fresh.replace(self.path)
        self._file = self.path.open("ab+")
        _lock(self._file, self.path)
        file.close()
        self.failed = 0
        self.done = {json.loads(line)["image"] for line in kept}


def _image_of(line: Any) -> tuple[str, bool]:
    """The image of a line, and whether it failed."""
    image = line.get("image") if is_object(line) else None
    if not isinstance(image, str):
        raise ValueError("no result line")  # noqa: TRY004 - as json has it for a line that is none
    return image, "error" in line


def _lock(file: BinaryIO, path: Path) -> None:
    """Keep a second run out; the lock goes with the process, however that ends."""
    if os.name != "posix":
        return
    import fcntl  # noqa: PLC0415 - POSIX alone has it

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise ConfigurationError(f"{path} is being written by another run.") from None
