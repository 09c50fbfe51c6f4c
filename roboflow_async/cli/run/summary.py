"""What `run` says at its end."""

import errno
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from roboflow_async import RoboflowError
from roboflow_async.cli.options import stderr
from roboflow_async.cli.run.file_names import on_record, readable
from roboflow_async.cli.run.formats import Destination
from roboflow_async.cli.run.job import Job
from roboflow_async.cli.run.journal import Journal
from roboflow_async.errors import plain_text

__all__ = [
    "tell",
    "tell_again",
    "tell_other_ways",
    "tell_pictures",
    "tell_skipped",
    "trouble_told",
]

_MANY: Final = 10_000  # images, from which on other ways to do them are worth a word
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def tell(summary: dict[str, Any]) -> None:
    """Say how many images succeeded, why others failed, and where everything is."""
    before = f" ({summary['done_before']} of them before)" if summary["done_before"] else ""
    what = "images and frames" if "frames" in summary else "images"
    _say(
        f"{summary['images']} {what}{before}: {summary['succeeded']} succeeded, "
        f"{summary['failed']} failed. {summary['attempts']} requests{_cost(summary)} in "
        f"{summary['seconds']:.1f} s, {summary['rejected']} rejected with 429."
    )
    if "frames" in summary:
        _tell_frames(summary["frames"])
    for reason, count in summary["reasons"].items():
        _say(f"  {count} x {reason}")
    kept = summary["output"] != "-"
    if summary["failed"] and kept and not summary.get("live"):
        temporary = summary["failed_temporarily"]
        tried = f"The same command tries {temporary} of them again (the reason may be gone); "
        _say(f"{tried if temporary else ''}--retry-failed tries all {summary['failed']}.")
    if kept:
        _say(f"Results: {summary['output']}")
    if summary["failures"]:
        _say(f"Failures, with the reason for each: {summary['failures']}")
    _tell_annotated(summary)
    if summary["too_many_failures"]:
        _say("Stopped early: --max-failures was reached.", style="red")
    if summary["interrupted"]:
        _say(f"Interrupted: {_goes_on(summary)}.")


def _goes_on(summary: dict[str, Any]) -> str:
    if summary.get("live"):
        return "what was sent is done"
    kept = summary["output"] != "-"
    return "the same command goes on from here" if kept else "the rest was not sent"


def _tell_annotated(summary: dict[str, Any]) -> None:
    for what, name in (("Pictures", "annotated"), ("Frames", "annotated_frames")):
        if name in summary:
            _say(f"{what} annotated: {summary[name]}.")
    for name in ("not_annotated", "frames_not_annotated"):
        for reason, count in summary.get(name, {}).items():
            _say(f"Not annotated: {count} ({reason}).")


def _tell_frames(frames: dict[str, int]) -> None:
    """What became of each frame of the videos that this start has read."""
    words = {
        "sent": "sent",
        "done_before": "done before",
        "sampled_out": "left out by --fps",
        "dropped": "dropped, as newer ones had come",
        "undecodable": "not decodable",
        "unsent": "read ahead and not sent",
    }
    parts = [f"{frames[name]} {word}" for name, word in words.items() if frames[name]]
    again = f" Connected again: {frames['reconnects']} times." if frames["reconnects"] else ""
    _say(f"{frames['decoded']} frames read: {', '.join(parts) or 'none sent'}.{again}")


def _cost(summary: dict[str, Any]) -> str:
    """What the requests cost, as the responses of the hosted API tell."""
    return f" for {summary['credits']:.6g} credits" if summary["credits"] else ""


def tell_again(journal: Journal) -> None:
    """Say which images are done again, and why."""
    words = {
        "changed": "changed since",
        "temporary": "failed for a reason that may be gone",
        "failed": "failed",
    }
    again = [
        f"{journal.again[reason]} {word}" for reason, word in words.items() if journal.again[reason]
    ]
    if again:
        _say(f"Done again: {', '.join(again)}.")


def tell_other_ways(images: int, rps: float, sources: str, workflow: str | None) -> None:
    """Say that Batch Processing exists, if there are many images; it sends nothing.

    Args:
        images: how many are to be done.
        rps: requests a second; 0: no limit.
        sources: as they were given.
        workflow: its name, or None.
    """
    if images <= _MANY:
        return
    takes = f", which take {images / rps / 3600:.1f} h at {rps:g} a second" if rps else ""
    which = workflow if workflow is not None else "WORKSPACE/ID"
    _say(
        f"{images:,} images{takes}. Batch Processing does many images later, without this machine: "
        f"roboflow-async plan {sources} --workflow {which} compares (it sends nothing)."
    )


def tell_skipped(told: str) -> None:
    """Say what was left out of the sources; "" for nothing."""
    if told:
        _say(told)


def tell_pictures(made: int, missing: int, folder: Path) -> None:
    """Say what became of the pictures of images that were done before."""
    if made:
        _say(f"Pictures saved of {made} images that were done before, without sending them again.")
    if missing:
        _say(
            f"{missing} images were done before and have no picture in {folder}. None is made now, "
            "because that would be billed again: give another --output to do all of them again."
        )


@contextmanager
def trouble_told(place: Destination, journal: Journal, job: Job) -> Generator[None]:
    """Say what could not be written, what is kept, and what to do.

    Raises:
        RoboflowError: it could not be written to a file. It says all of that in one line.
        OSError: it could not be written to stdout.
    """
    trouble, name = job.trouble, str(journal.path)
    try:
        yield
    except OSError as error:
        if trouble is None:
            trouble, name = error, str(place.path)
    if trouble is None:
        return
    done = len(journal.done)
    if place.is_stdout:
        written = done - job.unkept if place.name == "jsonl" else 0
        _say(
            f"{written} results were written, {done - written} more came and were not. Nothing is "
            "kept: with --output FILE, results are kept, and the same command goes on."
        )
        raise trouble
    if isinstance(trouble.filename, str):
        name = trouble.filename
    reason = plain_text(trouble.strerror or type(trouble).__name__)
    lost = f" {job.unkept} more came and could not be kept." if job.unkept else ""
    todo = "Make room" if trouble.errno in _FULL else "Mend that"
    raise RoboflowError(
        f"{name:.200} cannot be written: {reason}. {done} results are kept in {journal.path}."
        f"{lost} {todo}, and give the same command again: it goes on from there."
    )


def _say(text: str, style: str | None = None) -> None:
    stderr.print(plain_text(readable(on_record(text))), soft_wrap=True, markup=False, style=style)
