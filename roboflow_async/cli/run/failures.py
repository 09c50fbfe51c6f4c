"""Failures of a run: how many there may be, why images failed, and the file that lists them."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from roboflow_async import ConfigurationError
from roboflow_async._engine.jsonvalues import JSONObject, is_object, read_json_text
from roboflow_async._targets.journal.outcomes import as_error, is_temporary
from roboflow_async.cli.files import written_whole
from roboflow_async.cli.run.file_names import readable
from roboflow_async.cli.run.journal import Journal, json_line

__all__ = [
    "FailureLimit",
    "Reasons",
    "as_error",
    "failures_path",
    "is_failures_file",
    "is_temporary",
    "write_failures",
]

_LONGEST_FAILURE: Final = 1024 * 1024  # bytes
_MOST_REASONS: Final = 3
_MOST_KINDS: Final = 1000  # of reasons that are counted
# What differs between failures for the same reason: numbers, and ids of requests.
_NUMBERS: Final = re.compile(r"[0-9a-f-]*[0-9][0-9a-f.-]*")


class FailureLimit:
    """`--max-failures`: a number, or a share of the finished images (of at least 20)."""

    def __init__(self, text: str | None) -> None:
        self._most = self._share = float("inf")
        if text is None:
            return
        try:
            number = float(text.removesuffix("%"))
        except ValueError:
            number = -1.0
        if not number >= 0:
            raise ConfigurationError(
                f"--max-failures {text!r:.40} is not valid: give a number, or one with %."
            )
        if text.endswith("%"):
            self._share = number / 100
        else:
            self._most = number

    def reached(self, failed: int, done: int) -> bool:
        """Whether there are too many failures."""
        return failed > self._most or (done >= 20 and failed > self._share * done)


class Reasons:
    """Counts why images failed.

    Args:
        lines: the results.

    Attributes:
        temporary: how many failed for a reason that may be gone at another time.
    """

    def __init__(self, lines: Iterable[JSONObject]) -> None:
        self.temporary = 0
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, str] = {}
        for line in lines:
            if "error" in line:
                self._count(line)

    def _count(self, line: JSONObject) -> None:
        self.temporary += is_temporary(line)
        message: str = line["error"]["message"]
        for name in (repr(line["image"]), repr(readable(line["image"]))):
            message = message.replace(name, "'...'")
        message = message.replace(line["image"], "...")
        reason = f"{line['error']['type']}: {message}"[:300]
        kind = _NUMBERS.sub("#", reason)
        if kind not in self._counts and len(self._counts) >= _MOST_KINDS:
            return
        self._counts[kind] += 1
        self._examples.setdefault(kind, reason)

    def most_frequent(self) -> dict[str, int]:
        """The three most frequent reasons, and how many images each has."""
        most = self._counts.most_common(_MOST_REASONS)
        return {self._examples[kind]: count for kind, count in most}


def failures_path(journal: Path) -> Path:
    """Where the failures of a journal go."""
    return journal.with_name(f"{journal.name.removesuffix('.jsonl')}.failures.jsonl")


def is_failures_file(path: Path) -> bool:
    """Whether a file was written by `write_failures`, as its first line tells."""
    if not path.is_file():  # opening a pipe would wait for its other end
        return False
    try:
        with path.open("rb") as file:
            line: object = read_json_text(file.readline(_LONGEST_FAILURE))
    except (OSError, ValueError, RecursionError):
        return False
    return is_object(line) and {"image", "type", "message"} <= line.keys()


def write_failures(journal: Journal) -> Path | None:
    """Write the failures to a separate file, always from the results, so that both agree."""
    path = failures_path(journal.path)
    if not journal.failed:
        path.unlink(missing_ok=True)
        return None
    with written_whole(path) as file:
        for line in journal.lines():
            if "error" in line:
                file.write(json_line({"image": line["image"], **line["error"]}))
    return path
