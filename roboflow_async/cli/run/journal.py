"""The results on disk: one line for each image, whatever happens to the process.

A line is written as soon as its image is done, and never written again. So a run that was killed at
any moment can go on where it was.
"""

import base64
import io
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from roboflow_async import ConfigurationError
from roboflow_async._engine.jsonvalues import is_object, read_json_text
from roboflow_async.cli.files import open_journal, read_small, written_whole
from roboflow_async.cli.run.file_names import on_record, readable
from roboflow_async.cli.run.run_file import LARGEST_RUN, differences, is_run, merged, run_path

__all__ = ["Journal", "json_line"]

_LONGEST_LINE: Final = 256 * 1024 * 1024  # bytes: the largest response, with each letter escaped
_FIELDS_OF_AN_ERROR: Final = ("type", "message")
_NO_ERROR: Final = {"type": "", "message": ""}
# Characters that JSON does not escape, but that control a terminal or end a line for some readers.
_ESCAPED: Final = re.compile(
    "[\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
# UTF-8 cannot hold them, and strict readers of JSON refuse a file that has one, also escaped.
_LONE_SURROGATES: Final = re.compile("[\ud800-\udfff]")


def json_line(line: dict[str, Any]) -> bytes:
    """A line of JSON in UTF-8 that is safe for readers and terminals.

    If the name of an image is not UTF-8, "image" is a readable form of it, and "image_bytes" has
    its bytes in base64.

    Raises:
        ValueError: it holds a number that is not finite, which JSON cannot write.
    """
    image = line.get("image")
    if isinstance(image, str) and _LONE_SURROGATES.search(image):
        encoded = base64.b64encode(_bytes_of(image)).decode()
        name = {"image": readable(image), "image_bytes": encoded}
        line = {**name, **{key: value for key, value in line.items() if key not in name}}
    text = json.dumps(line, ensure_ascii=False, allow_nan=False)
    if not text.isprintable():
        # These characters are only in strings, where the escape means the same.
        text = _LONE_SURROGATES.sub(lambda found: json.dumps(readable(found[0]))[1:-1], text)
        text = _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return text.encode() + b"\n"


def _bytes_of(name: str) -> bytes:
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # surrogates that stand for no byte
        return name.encode("utf-8", "surrogatepass")


class Journal:
    """JSON lines, each with its "image", and an "output" or an "error".

    Args:
        path: the path of the file.
        run: describes the run; a file of another run is refused.
        retry_failed: whether the images that failed are done again.
        again: says why the image of a line must be done again, or None. Its line is removed.
        known: the images of this run, as far as they are known; only these are done again now, and
            the others by `do_again`. None: all images in the file.
        beside: other files that this run writes. If one is there before the run began, it is not
            ours, and is refused.

    Attributes:
        done: the images that have a line, as `on_record` has them.
        failed: how many of them failed.
        again: how many images are done again, by the reason.
        redone: those of them that have got a second line, until `tidy` takes the first one out.

    Raises:
        ConfigurationError: the file belongs to another run, is in use, or is not a journal.
    """

    def __init__(
        self,
        path: Path,
        run: Mapping[str, Any],
        *,
        retry_failed: bool = False,
        again: Callable[[dict[str, Any]], str | None] = lambda _: None,
        known: Collection[str] | None = None,
        beside: Sequence[Path] = (),
    ) -> None:
        self.path = path
        self._run_path = run_path(path)
        self._run = dict(run)
        self._retry_failed = retry_failed
        self._is_again = again
        self._known = known
        self._beside = beside
        self.done: set[str] = set()
        self.failed = 0
        self.again: Counter[str] = Counter()
        # Images that are done again if stdin names them: why, and whether they failed.
        self._later: dict[str, tuple[str, bool]] = {}
        self._replaced: dict[str, bool] = {}  # those that are done again, and whether they failed
        self.redone: set[str] = set()
        self._size = 0
        self._file: io.FileIO | None = None

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"{str(self.path.parent)!r:.200}, the folder of --output, cannot be made: "
                f"{error.strerror}. Give another --output."
            ) from None
        self._file = _opened(self.path)
        try:
            _lock(self._file, self.path)
            self._check_run(self._file)
            self._read(self._file)
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
        """Add a line. The operating system has it when this returns.

        Raises:
            OSError: it could not be written, and nothing of it is in the file.
            ValueError: it holds a number that JSON cannot write; nothing was written.
        """
        assert self._file is not None
        left = memoryview(json_line(line))
        size = self._size + len(left)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError:
            with suppress(OSError):
                self._file.truncate(self._size)
            raise
        self._size = size
        image = line["image"]
        if image in self._replaced:
            self.failed -= self._replaced.pop(image)
            self.redone.add(image)
        self.done.add(image)
        self.failed += "error" in line

    def lines(self) -> Iterator[dict[str, Any]]:
        """All lines of the file."""
        # Not opened by its name, which may lead to another file by now.
        assert self._file is not None
        for line in _lines(self._file):
            yield _restored(read_json_text(line))

    def do_again(self, image: str) -> bool:
        """Whether an image that is done must be done again; its next line replaces the old one."""
        if image not in self._later:
            return False
        reason, self._replaced[image] = self._later.pop(image)
        self.again[reason] += 1
        return True

    def tidy(self) -> None:
        """Take out the lines that were replaced: then each image has one line.

        Raises:
            OSError: it could not be done, and the next start does it.
        """
        if self.redone:
            assert self._file is not None
            self._rewrite(self._file, set(), self.redone)

    def _why_again(self, line: dict[str, Any]) -> str | None:
        if self._retry_failed and "error" in line:
            return "failed"
        return self._is_again(line)

    def _check_run(self, file: io.FileIO) -> None:
        content = read_small(self._run_path, LARGEST_RUN)
        is_empty = not os.fstat(file.fileno()).st_size
        if content is None:
            if not is_empty:
                raise ConfigurationError(
                    f"{self.path} exists, but is not from such a run: give another "
                    "--output, or remove it."
                )
            for path in self._beside:
                if path.exists() or path.is_symlink():
                    raise ConfigurationError(
                        f"{path} exists, and this run would write over it: give another --output, "
                        "or remove it."
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
                "remove both to start again, or give another --output."
            )
        different = differences(run, self._run)
        # A run of ours that came to nothing (its key was wrong, for example) binds nobody.
        if different and not (is_empty and is_run(run)):
            raise ConfigurationError(
                f"{self.path} is from a different run: {'; '.join(different)}: give another "
                f"--output, or remove it and {self._run_path.name}."
            )
        if not is_empty:
            self._run = merged(run, self._run)
        if run != self._run:
            self._note_run()

    def _note_run(self) -> None:
        try:
            with written_whole(self._run_path) as fresh:
                fresh.write(json.dumps(self._run, indent=2).encode())
        except OSError as error:
            raise ConfigurationError(
                f"{self._run_path} cannot be written: {error.strerror}. Nothing was sent. Mend "
                "that, or give another --output."
            ) from None

    def _read(self, file: io.FileIO) -> None:
        """Read the existing lines; remove an incomplete last line, and those to be done again."""
        good = 0
        again: dict[str, tuple[str, bool]] = {}
        doubled: set[str] = set()
        for number, line in enumerate(_lines(file), 1):
            try:
                if not line.endswith(b"\n"):
                    raise ValueError
                read = _restored(read_json_text(line))
                image, error = _image_of(read)
            except (ValueError, RecursionError):
                if good + len(line) < os.fstat(file.fileno()).st_size:
                    raise ConfigurationError(
                        f"{self.path}, line {number}, is not of such a run: give another --output."
                    ) from None
                break
            if image in self.done:
                doubled.add(image)
                again.pop(image, None)
            self.done.add(image)
            self.failed += error
            if (reason := self._why_again(read)) is not None:
                again[image] = reason, error
            good += len(line)
        file.truncate(good)
        self._size = good
        if self._known is not None and again:
            known = {on_record(item) for item in self._known}
            self._later = {image: why for image, why in again.items() if image not in known}
        now = again.keys() - self._later.keys()
        if now or doubled:
            self._rewrite(file, now, doubled)
        self.again.update(again[image][0] for image in now)

    def _rewrite(self, file: io.FileIO, again: Collection[str], doubled: Collection[str]) -> None:
        """Write the file anew without some lines, and of those with two lines the last."""
        last: dict[str, int] = {}
        if doubled:
            for number, line in enumerate(_lines(file)):
                image, _ = _image_of(_restored(read_json_text(line)))
                if image in doubled:
                    last[image] = number
        self.done.clear()
        self.failed = 0
        # Beside the old one, then in its place: killed in between, one of them is whole.
        with written_whole(self.path) as fresh:
            for number, line in enumerate(_lines(file)):
                image, failed = _image_of(_restored(read_json_text(line)))
                if image not in again and last.get(image, number) == number:
                    fresh.write(line)
                    self.done.add(image)
                    self.failed += failed
        self._file = _opened(self.path)
        _lock(self._file, self.path)
        file.close()
        self._size = os.fstat(self._file.fileno()).st_size


def _opened(path: Path) -> io.FileIO:
    """The file without a buffer, which would not notice what is written beside it."""
    file = open_journal(path)
    assert isinstance(file, io.BufferedRandom)
    raw = file.detach()
    assert isinstance(raw, io.FileIO)
    return raw


def _lines(file: io.FileIO) -> Iterator[bytes]:
    """The lines of a file, from its beginning. Only one iterator at a time."""
    file.seek(0)
    reader = io.BufferedReader(file)
    try:
        while line := reader.readline(_LONGEST_LINE):
            yield line
    finally:
        reader.detach()


def _restored(line: Any) -> Any:
    """A line with the image's own name, which need not be UTF-8."""
    if not is_object(line) or not isinstance(line.get("image_bytes"), str):
        return line
    # binascii's error is a ValueError: it is not such a line
    name = base64.b64decode(line["image_bytes"], validate=True)
    image = name.decode("utf-8", "surrogateescape")
    return {
        key: image if key == "image" else value
        for key, value in line.items()
        if key != "image_bytes"
    }


def _image_of(line: Any) -> tuple[str, bool]:
    """The image of a line, and whether it failed."""
    image = line.get("image") if is_object(line) else None
    error = line.get("error", _NO_ERROR) if is_object(line) else None
    if not isinstance(image, str) or not is_object(error):
        raise ValueError("no result line")
    if any(not isinstance(error.get(name), str) for name in _FIELDS_OF_AN_ERROR):
        raise ValueError("no result line")
    return image, error is not _NO_ERROR


def _lock(file: io.FileIO, path: Path) -> None:
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
