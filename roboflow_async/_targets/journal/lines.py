"""A journal of JSON lines: one for each input, whatever happens to the process.

A line is written as soon as its input is done, and never written again. So a run that was killed at
any moment can go on where it was.
"""

import io
import json
import os
from collections.abc import Collection, Iterator, KeysView, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final, Self

from roboflow_async._engine.jsonvalues import JSONObject, is_object, read_json_text
from roboflow_async._targets.journal.entries import Entry, Found, Seen
from roboflow_async._targets.journal.files import (
    lines_of,
    lock,
    open_unbuffered,
    read_small,
    sync,
    written_whole,
)
from roboflow_async._targets.journal.large_text import read_line
from roboflow_async._targets.journal.line_text import json_line, name_in, restored_line
from roboflow_async._targets.journal.runs import LARGEST_RUN, differences, run_path
from roboflow_async.errors import ConfigurationError, JournalError, plain_text

__all__ = ["LineJournal"]

_PIECE: Final = 64 * 1024  # bytes of a line that are read at once


class LineJournal:
    """JSON lines, each with its "image" (the input's name), and an "output" or an "error".

    It is used from one thread at a time. Where each line begins is kept in memory.

    Args:
        path: the path of the file.
        run: describes the run; a file of another run is refused.
        beside: other files that this run writes. If one is there before the run began, it is not
            ours, and is refused.

    Raises:
        ConfigurationError: the file belongs to another run, is in use, is not a journal, or cannot
            be used.
    """

    argument: ClassVar[str] = "journal="
    """What errors tell a user to change."""

    knows_names = True

    def __init__(self, path: Path, run: Mapping[str, Any], *, beside: Sequence[Path] = ()) -> None:
        self.path = path
        self._run_path = run_path(path)
        self._run = dict(run)
        self._beside = beside
        self._at: dict[str, int] = {}  # where the last line of each input begins
        self._with_content: dict[str, int] = {}
        self._failed: set[str] = set()
        self._is_doubled = False  # some inputs have a second line
        self._size = 0
        self._first_new = 0  # where the lines begin that are written since it was opened
        self._seen = Seen()
        self._file: io.FileIO | None = None

    @property
    def done(self) -> KeysView[str]:
        """The inputs that have a line, as `on_record` has them."""
        return self._at.keys()

    @property
    def failed(self) -> int:
        """How many of them failed."""
        return len(self._failed)

    def open(self) -> None:
        """Open the file, or make it. A last line that is not whole is taken out."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"{str(self.path.parent)!r:.200}, the folder of {self.argument}, cannot be made: "
                f"{error.strerror}. Give another {self.argument}."
            ) from None
        try:
            self._file = open_unbuffered(self.path)
            lock(self._file, self.path, self.argument)
            self._check_run(self._file)
            self._read(self._file)
        except OSError as error:
            self.close()
            raise ConfigurationError(
                f"{self.path} cannot be used: {error.strerror}. Nothing was sent. Mend that, or "
                f"give another {self.argument}."
            ) from None
        except BaseException:
            self.close()
            raise

    def close(self, *, tidy: bool = False) -> None:
        """Close the file; first take out the lines that were replaced, if that is asked for.

        Raises:
            OSError: the system could not write what it had taken.
        """
        file, self._file = self._file, None
        if file is None:
            return
        try:
            if tidy and self._is_doubled:
                with suppress(OSError, ConfigurationError):  # the next start does it
                    file = self._rewritten(file, ())
            # What the system had taken survives a kill; now it survives a loss of power, too.
            if file.writable() and self._size:
                sync(file)
        finally:
            file.close()

    def __enter__(self) -> Self:
        self.open()
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
        """Add a line. The operating system has it when this returns.

        Raises:
            OSError: it could not be written, and nothing of it is in the file.
            ValueError: it holds a number that JSON cannot write; nothing was written.
        """
        at = self._put(json_line(line))
        self._note(line["image"], at, failed="error" in line, content=None)

    def add(self, entries: Sequence[Entry]) -> list[OSError | None]:
        """Add several lines at once; for each, why it could not be written, or None."""
        try:
            at = self._put(b"".join([entry.line for entry in entries]))
        except OSError as error:
            if len(entries) == 1:
                return [error]
            return [self.add([entry])[0] for entry in entries]
        for entry in entries:
            self._note(entry.name, at, failed=entry.failed, content=entry.content)
            at += len(entry.line)
        return [None] * len(entries)

    def may_have(self, name: str, content: str | None) -> bool:
        """See `Journal.may_have`."""
        return name in self._at or content in self._with_content

    def find(self, name: str, content: str | None) -> list[Found]:
        """See `Journal.find`."""
        found: list[Found] = []
        at = self._at.get(name)
        same = None if content is None else self._with_content.get(content)
        try:
            if at is not None:
                own = self._line_at(at)
                if content is None or own.line.get("content") == content:
                    found.append(own)
            if same is not None and same != at:
                found.append(replace(self._line_at(same), is_own=False))
        except (OSError, ValueError, RecursionError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise JournalError(
                f"{self.path} cannot be read ({plain_text(reason)}): was it changed? Mend that, "
                f"and give the same {self.argument} again.",
                path=str(self.path),
            ) from None
        return found

    def count(self, content: str) -> int:
        """See `Journal.count`."""
        return self._seen.count(content)

    def claim(self, name: str, source: str) -> str | None:
        """See `Journal.claim`."""
        return self._seen.claim(name, source)

    def lines(self) -> Iterator[dict[str, Any]]:
        """All lines of the file."""
        # Not opened by its name, which may lead to another file by now.
        assert self._file is not None
        for line in lines_of(self._file):
            yield restored_line(read_line(line))

    def tidy(self) -> None:
        """Take out the lines that were replaced: then each input has one line.

        Raises:
            OSError: it could not be done, and the next start does it.
        """
        if self._is_doubled:
            self._rewrite()

    def _differences(self, old: JSONObject) -> list[str]:
        """What differs between the run that the file is of and this one."""
        return differences(old, self._run)

    def _merged(self, old: JSONObject) -> JSONObject:
        """What the lines of both runs are of."""
        del old
        return self._run

    def _is_ours(self, run: JSONObject) -> bool:
        """Whether an object describes such a run."""
        return run.keys() <= self._run.keys()

    def _take(self, line: JSONObject, image: str, at: int, *, failed: bool) -> None:
        """Note a line that was read."""
        self._note(image, at, failed=failed, content=line.get("content"))

    def _all_taken(self) -> None:
        """All lines were read."""
        self.tidy()

    def _note(self, image: str, at: int, *, failed: bool, content: object) -> None:
        if image in self._at:
            self._is_doubled = True
        self._at[image] = at
        (self._failed.add if failed else self._failed.discard)(image)
        if isinstance(content, str):
            self._with_content[content] = at

    def _put(self, data: bytes) -> int:
        """Append to the file; return where that begins."""
        assert self._file is not None
        left = memoryview(data)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError:
            with suppress(OSError):
                self._file.truncate(self._size)
            raise
        at = self._size
        self._size += len(data)
        return at

    def _line_at(self, at: int) -> Found:
        assert self._file is not None
        pieces: list[bytes] = []
        self._file.seek(at)
        while piece := self._file.read(_PIECE):
            end = piece.find(b"\n")
            pieces.append(piece if end < 0 else piece[:end])
            if end >= 0:
                break
        text = b"".join(pieces)
        line: JSONObject = restored_line(read_line(text))
        return Found(line, len(text), is_new=at >= self._first_new)

    def _check_run(self, file: io.FileIO) -> None:
        content = read_small(self._run_path, LARGEST_RUN)
        is_empty = not os.fstat(file.fileno()).st_size
        if content is None:
            if not is_empty:
                raise ConfigurationError(
                    f"{self.path} exists, but is not from such a run: give another "
                    f"{self.argument}, or remove it."
                )
            for path in self._beside:
                if path.exists() or path.is_symlink():
                    raise ConfigurationError(
                        f"{path} exists, and this run would write over it: give another "
                        f"{self.argument}, or remove it."
                    )
            self._note_run()
            return
        try:
            run: object = read_json_text(content)
        except (ValueError, RecursionError):
            run = None
        if not is_object(run):
            raise ConfigurationError(
                f"{self._run_path} is damaged, so it is not known what {self.path.name} holds: "
                f"remove both to start again, or give another {self.argument}."
            )
        different = self._differences(run)
        # A run of ours that came to nothing (its key was wrong, for example) binds nobody.
        if different and not (is_empty and self._is_ours(run)):
            raise ConfigurationError(
                f"{self.path} is from a different run: {'; '.join(different)}: give another "
                f"{self.argument}, or remove it and {self._run_path.name}."
            )
        if not is_empty:
            self._run = self._merged(run)
        if run != self._run:
            self._note_run()

    def _note_run(self) -> None:
        try:
            with written_whole(self._run_path) as fresh:
                fresh.write(json.dumps(self._run, indent=2).encode())
        except OSError as error:
            raise ConfigurationError(
                f"{self._run_path} cannot be written: {error.strerror}. Nothing was sent. Mend "
                f"that, or give another {self.argument}."
            ) from None

    def _read(self, file: io.FileIO) -> None:
        """Read the existing lines, and remove an incomplete last line."""
        good = 0
        for number, line in enumerate(lines_of(file), 1):
            try:
                if not line.endswith(b"\n"):
                    raise ValueError
                read = restored_line(read_line(line))
                image, failed = name_in(read)
            except (ValueError, RecursionError):
                if good + len(line) < os.fstat(file.fileno()).st_size:
                    raise ConfigurationError(
                        f"{self.path}, line {number}, is not of such a run: remove it, and "
                        f"its input is sent again, or give another {self.argument}."
                    ) from None
                break
            self._take(read, image, good, failed=failed)
            good += len(line)
        file.truncate(good)
        self._size = good
        self._all_taken()
        self._first_new = self._size

    def _rewrite(self, without: Collection[str] = ()) -> None:
        """Write the file anew without some inputs, and of the others with their last line alone."""
        assert self._file is not None
        self._file = self._rewritten(self._file, without)

    def _rewritten(self, file: io.FileIO, without: Collection[str]) -> io.FileIO:
        kept = {at for image, at in self._at.items() if image not in without}
        moved: dict[int, int] = {}
        # Beside the old one, then in its place: killed in between, one of them is whole.
        with written_whole(self.path) as fresh:
            at = size = 0
            for line in lines_of(file):
                if at in kept:
                    fresh.write(line)
                    moved[at] = size
                    size += len(line)
                at += len(line)
        new = open_unbuffered(self.path)
        try:
            lock(new, self.path, self.argument)
        except BaseException:
            new.close()
            raise
        file.close()
        _move(self._at, moved)
        _move(self._with_content, moved)
        self._failed.difference_update(without)
        self._size = size
        self._is_doubled = False
        return new


def _move(places: dict[str, int], moved: Mapping[int, int]) -> None:
    """Tell in place where lines begin now, since others look into `done`."""
    now = {name: moved[at] for name, at in places.items() if at in moved}
    places.clear()
    places.update(now)
