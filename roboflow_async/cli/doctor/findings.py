"""What the doctor's checks find, and how it is shown."""

from dataclasses import dataclass
from typing import Final

from roboflow_async.cli.options import FAILED, stderr

__all__ = ["LONGEST_NAME", "Finding", "fine", "show", "unknown", "wrong"]

LONGEST_NAME: Final = 60  # characters that are shown

_MARKS: Final = {True: ("ok  ", "green"), None: ("--  ", "yellow"), False: ("FAIL", "red")}


@dataclass(frozen=True)
class Finding:
    """One check: whether all is well, what was seen, and what to do if not.

    Attributes:
        name: what was checked.
        fine: whether all is well; None: it could not be found out.
        seen: what was seen.
        advice: what to do.
        code: the exit code, if it is not fine.
    """

    name: str
    fine: bool | None
    seen: str
    advice: str = ""
    code: int = FAILED


def fine(name: str, seen: str, advice: str = "") -> Finding:
    """All is well."""
    return Finding(name, fine=True, seen=seen, advice=advice)


def unknown(name: str, seen: str, advice: str = "") -> Finding:
    """It could not be found out, which need not mean anything bad."""
    return Finding(name, fine=None, seen=seen, advice=advice)


def wrong(name: str, seen: str, advice: str = "", code: int = FAILED) -> Finding:
    """Something is wrong."""
    return Finding(name, fine=False, seen=seen, advice=advice, code=code)


def show(finding: Finding) -> None:
    """Print a finding. Without colours, the marks say the same."""
    mark, style = _MARKS[finding.fine]
    stderr.print(mark, style=style, end=" ")
    stderr.print(f"{finding.name}: {finding.seen}", markup=False, soft_wrap=True)
    if finding.advice:
        stderr.print(f"     {finding.advice}", markup=False, soft_wrap=True)
