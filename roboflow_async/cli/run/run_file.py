"""What a file of results is of (`results.jsonl.run.json`), and how another run differs."""

from collections.abc import Mapping
from contextlib import suppress
from itertools import islice
from os.path import relpath
from pathlib import Path
from typing import Any, Final

from roboflow_async import ConfigurationError
from roboflow_async._engine.jsonvalues import is_array, is_object, read_json_text
from roboflow_async._targets.journal.runs import LARGEST_RUN, run_path
from roboflow_async._targets.journal.runs import differences as told_differences
from roboflow_async.cli.files import read_small
from roboflow_async.cli.run.file_names import readable
from roboflow_async.errors import plain_text

__all__ = ["differences", "is_run", "made_beside", "merged", "picture_folders"]

# Kept for the next start; they do not tell runs apart.
_FOLDERS_OF_PICTURES: Final = ("saved_to", "drawn_to", "made")
_MOST_RUNS: Final = 1000  # that are looked at
# An earlier version did not write them; and without videos, nothing is said of those.
_NEW: Final = ("folders", "host", "video")


def picture_folders(journal: Path) -> tuple[list[str], list[str]]:
    """The folders of `--save-images` and of `--annotate` of earlier starts, which are no inputs."""
    run = _read(run_path(journal))
    return _texts(run, "saved_to"), _texts(run, "drawn_to")


def made_beside(journal: Path) -> list[str]:
    """The folders that runs made for their pictures, whose results lie beside a journal.

    A folder that was there before may hold images of the user's, and is not among them.
    """
    made: set[str] = set()
    with suppress(OSError):
        for path in islice(journal.parent.glob("*.run.json"), _MOST_RUNS):
            made.update(_texts(_read(path), "made"))
    return sorted(made)


def _read(path: Path) -> Any:
    # If that of this run cannot be used, the journal says so.
    with suppress(ConfigurationError, OSError, ValueError, RecursionError):
        return read_json_text(read_small(path, LARGEST_RUN) or b"{}")
    return None


def _texts(run: Any, name: str) -> list[str]:
    found: object = run.get(name) if is_object(run) else None
    return [one for one in found if isinstance(one, str)] if is_array(found) else []


def is_run(run: Mapping[str, Any]) -> bool:
    """Whether an object describes a run of this command."""
    return {"workflow", "spec", "model", "parameters"} <= run.keys()


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two runs, for a person: "parameters confidence was 0.4, is 0.5"."""
    alike = {name for name in _NEW if name not in old or name not in new}
    alike.update(_FOLDERS_OF_PICTURES)
    if _have_to_do(_texts(old, "folders"), _texts(new, "folders")):
        alike.add("folders")
    alike.add("folder")
    kept = [{name: run[name] for name in run if name not in alike} for run in (old, new)]
    return told_differences(*kept) + _spelled_otherwise(_names(old), _names(new))


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """What the lines of two runs are of that do not differ: with the folders of both."""
    both: dict[str, Any] = {
        name: sorted({*_texts(old, name), *_texts(new, name)})
        for name in ("folders", *_FOLDERS_OF_PICTURES)
    }
    both["folder"] = {**_names(new), **_names(old)}
    video = {"video": old["video"]} if "video" in old else {}
    return {**video, **new, **{name: folders for name, folders in both.items() if folders}}


def _names(run: Mapping[str, Any]) -> dict[str, str]:
    found: object = run.get("folder")
    return {path: str(name) for path, name in found.items()} if is_object(found) else {}


def _spelled_otherwise(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """The folders whose images would get other names, and so a second line each."""
    found: list[str] = []
    for path, name in new.items():
        for before, spelled in old.items():
            folder, was, now = path, spelled, name
            if Path(path).is_relative_to(before):
                was = str(Path(spelled, relpath(path, before)))
            elif Path(before).is_relative_to(path):
                folder, now = before, str(Path(name, relpath(before, path)))
            else:
                continue
            if was != now:
                found.append(plain_text(readable(f"folder {folder} was {was}, is {now}")))
    return found


def _have_to_do(before: list[str], now: list[str]) -> bool:
    """Whether some folders are the same, or one is within another."""
    if not before or not now:
        return True  # a list or stdin, whose names alone count
    return any(
        Path(one).is_relative_to(other) or Path(other).is_relative_to(one)
        for one in before
        for other in now
    )
