"""The journal of `run`: which images of an earlier start are done again."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from roboflow_async._engine.jsonvalues import JSONObject
from roboflow_async._targets.journal.fingerprints import is_another
from roboflow_async._targets.journal.line_text import json_line
from roboflow_async._targets.journal.lines import LineJournal
from roboflow_async._targets.journal.outcomes import is_temporary
from roboflow_async.cli.run.file_names import as_path, is_address, on_record
from roboflow_async.cli.run.run_file import differences, is_run, merged
from roboflow_async.cli.run.video.naming import source_in

__all__ = ["Journal", "WhyAgain", "json_line"]


class WhyAgain:
    """Says why the input of an earlier result is done again without being asked for, or None.

    Args:
        check_content: whether to look at contents, too, if size and time are the same.
    """

    def __init__(self, *, check_content: bool) -> None:
        self._check_content = check_content
        self._of_frames: tuple[object, object, bool] = None, None, False

    def __call__(self, line: JSONObject) -> str | None:
        """Why the input of this line is done again."""
        name = line["image"]
        # An earlier version wrote no "file".
        if "file" in line and not is_address(name) and self._is_another(name, line["file"]):
            return "changed"
        return "temporary" if is_temporary(line) else None

    def _is_another(self, name: str, file: object) -> bool:
        source = source_in(name)
        if source == name:
            return is_another(as_path(name), file, content=self._check_content)
        # The lines of a clip's frames follow each other, and all are of one file.
        if self._of_frames[:2] != (source, file):
            changed = is_another(as_path(source), file, content=self._check_content)
            self._of_frames = source, file, changed
        return self._of_frames[2]


class Journal(LineJournal):
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
        again: how many images are done again, by the reason.
        redone: those of them that have got a second line, until `tidy` takes the first one out.

    Raises:
        ConfigurationError: the file belongs to another run, is in use, or is not a journal.
    """

    argument: ClassVar[str] = "--output"

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
        super().__init__(path, run, beside=beside)
        self._retry_failed = retry_failed
        self._is_again = again
        self._known = known
        self.again: Counter[str] = Counter()
        self._reasons: dict[str, str] = {}  # why images must be done again
        self._replaced: set[str] = set()  # those that are done again
        self._totals: dict[str, int] = {}  # how many frames of a clip there are to do
        self._frames: Counter[str] | None = None  # how many of each were done before
        self.redone: set[str] = set()

    def write(self, line: dict[str, Any]) -> None:
        """Add a line; see `LineJournal.write`."""
        super().write(line)
        image = line["image"]
        if image in self._replaced:
            self._replaced.discard(image)
            self.redone.add(image)

    def do_again(self, image: str) -> bool:
        """Whether an image that is done must be done again; its next line replaces the old one."""
        reason = self._reasons.pop(image, None)
        if reason is None:
            return False
        self._replaced.add(image)
        self.again[reason] += 1
        return True

    def is_whole(self, clip: str) -> bool:
        """Whether earlier starts have done each frame of a clip, whose last line says how many."""
        if self._frames is None:
            self._frames = Counter(map(source_in, self.done))
        is_again = any(source_in(image) == clip for image in self._reasons)
        return not is_again and self._totals.get(clip) == self._frames[clip]

    def _take(self, line: JSONObject, image: str, at: int, *, failed: bool) -> None:
        super()._take(line, image, at, failed=failed)
        if isinstance(total := line.get("frames"), int):
            self._totals[source_in(image)] = total
        self._reasons.pop(image, None)
        reason = "failed" if failed and self._retry_failed else self._is_again(line)
        if reason is not None:
            self._reasons[image] = reason

    def _all_taken(self) -> None:
        now = dict(self._reasons)
        if self._known is not None and now:
            known = {on_record(item) for item in self._known}
            # Of a clip that has changed, frames may be gone for good.
            now = {
                image: reason
                for image, reason in now.items()
                if image in known or source_in(image) in known
            }
        if now:
            self._rewrite(now)
        super()._all_taken()
        for image, reason in now.items():
            del self._reasons[image]
            self.again[reason] += 1

    def _differences(self, old: JSONObject) -> list[str]:
        return differences(old, self._run)

    def _merged(self, old: JSONObject) -> JSONObject:
        return merged(old, self._run)

    def _is_ours(self, run: JSONObject) -> bool:
        return is_run(run)
