"""`--output` and `--format`: where results go, and in which form."""

import os
import shutil
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, Final

from roboflow_async import ConfigurationError
from roboflow_async.cli.run.annotations import write_coco, write_yolo
from roboflow_async.cli.run.drawing import load_supervision
from roboflow_async.cli.run.failures import failures_path, is_failures_file
from roboflow_async.cli.run.journal import Journal, json_line
from roboflow_async.cli.run.tables import check_parquet, write_table

__all__ = ["Destination", "chosen_format", "destination", "journal_path"]

_FORMATS: Final = ("jsonl", "csv", "parquet", "coco", "yolo")
_LISTED: Final = "jsonl, csv or parquet, or a dataset: coco or yolo"
_BY_SUFFIX: Final[Mapping[str, str]] = {
    "": "jsonl",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
}


def chosen_format(output: Path, given: str | None) -> str:
    """The format that was asked for, or that the suffix of the output tells.

    Raises:
        ConfigurationError: there is no such format, neither tells one, or it cannot be written.
    """
    name = given if given is not None else _BY_SUFFIX.get(output.suffix.lower())
    if name is None:
        ways = "--format coco is one JSON for all images. " if output.suffix == ".json" else ""
        raise ConfigurationError(
            f"--output {str(output)!r:.200}: the suffix {output.suffix!r:.20} tells no format. "
            f"{ways}Give .jsonl, .csv or .parquet, or --format with {_LISTED}."
        )
    if name not in _FORMATS:
        raise ConfigurationError(f"--format {name!r:.40}: give {_LISTED}.")
    if name == "parquet":
        check_parquet()
    if name in ("coco", "yolo"):
        load_supervision(f"--format {name}")
    is_folder = not _is_stdout(output) and output.name in ("", "..")
    if name == "yolo" and (_is_stdout(output) or is_folder):
        raise ConfigurationError(
            f"--output {str(output)!r:.200}: --format yolo writes a folder: name a new one."
        )
    if is_folder:
        raise ConfigurationError(
            f"--output {str(output)!r:.200} is a folder: name a file in it, such as results.jsonl."
        )
    return name


@dataclass(frozen=True)
class Destination:
    """Where results go.

    Attributes:
        name: the format.
        is_stdout: whether they go to stdout.
        journal: the file with a line for each image, from which the other formats are made. Of
            stdout it is kept no longer than the command runs.
        path: what is made of it: the journal itself, another file, or a folder.
    """

    name: str
    is_stdout: bool
    journal: Path
    path: Path

    def open(self, run: dict[str, Any], **options: Any) -> Journal:
        """The journal, to be entered; its options are those of `Journal`."""
        kind = _PrintedJournal if self.is_stdout and self.name == "jsonl" else Journal
        beside: list[Path] = []
        if not self.is_stdout:
            failures = failures_path(self.journal)
            if failures.is_symlink() or not is_failures_file(failures):
                beside.append(failures)
            if self.name not in ("jsonl", "yolo"):
                beside.append(self.path)
        return kind(self.journal, run, beside=beside, **options)

    def write(self, journal: Journal, *, is_model: bool, formulas: bool) -> None:
        """Make the other formats of the journal.

        Args:
            journal: whose lines they are.
            is_model: of a model, which gives a row for each prediction; else one for each image.
            formulas: see `write_table`.

        Raises:
            ConfigurationError: no output holds what the format is for.
        """
        if self.name in ("coco", "yolo"):
            write_dataset = write_coco if self.name == "coco" else write_yolo
            try:
                write_dataset(journal.lines, journal.done, self.path)
            except ConfigurationError as error:
                if self.is_stdout:
                    raise
                kept = "What was done is kept: the same --output sends nothing again."
                raise ConfigurationError(f"{error} {kept}") from None
        elif self.name != "jsonl":
            write_table(
                journal.lines(), self.path, self.name,
                formulas=formulas, for_each_prediction=is_model,
            )  # fmt: skip
        if self.is_stdout and self.name != "jsonl":
            with self.path.open("rb") as file, _stdout() as stdout:
                shutil.copyfileobj(file, stdout)


@contextmanager
def destination(output: Path, name: str) -> Generator[Destination]:
    """Where the results of a run go.

    Args:
        output: a file or folder, or "-": stdout.
        name: of the format.

    Raises:
        ConfigurationError: something else is there.
    """
    if _is_stdout(output):
        with TemporaryDirectory(prefix="roboflow-async-") as folder:
            yield Destination(name, True, Path(folder, "results.jsonl"), Path(folder, "results"))  # noqa: FBT003 - is_stdout
        return
    journal = journal_path(output, name)
    if name not in ("jsonl", "yolo") and output.is_dir():
        raise ConfigurationError(f"--output {str(output)!r:.200} is a folder: give another path.")
    is_new = not output.exists() or (output.is_dir() and not any(output.iterdir()))
    if name == "yolo" and not is_new and not journal.exists():
        # Labels have the names of images: those that people drew would be written over.
        raise ConfigurationError(
            f"{output} is there already, and not from such a run: give another --output."
        )
    yield Destination(name, False, journal, output)  # noqa: FBT003 - is_stdout


def journal_path(output: Path, name: str) -> Path:
    """The file with a line for each image."""
    return output if name == "jsonl" else output.with_name(output.name + ".jsonl")


class _PrintedJournal(Journal):
    """It gives each line to stdout, too."""

    _trouble: OSError | None = None

    def write(self, line: dict[str, Any]) -> None:
        super().write(line)
        if self._trouble is not None:
            raise self._trouble
        try:
            with _stdout() as stdout:
                stdout.write(json_line(line))
        except OSError as error:
            self._trouble = error
            raise


@contextmanager
def _stdout() -> Generator[BinaryIO]:
    try:
        yield sys.stdout.buffer
        sys.stdout.flush()
    except OSError as error:
        # Else Python would try again at its end, and tell of it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise BrokenPipeError(0, "stdout was closed by its reader") from None
        raise OSError(error.errno, error.strerror, "stdout") from None


def _is_stdout(output: Path) -> bool:
    return str(output) == "-"
