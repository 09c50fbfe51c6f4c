"""What a request costs, by its response's headers. Pure.

The rule is Roboflow's own:
https://docs.roboflow.com/deployment/roboflow-cloud/serverless-api/pricing
"""

import re
from collections.abc import Mapping
from typing import Final

__all__ = [
    "BILLED_AT_LEAST",
    "SECONDS_FOR_A_CREDIT",
    "credits_of",
    "parse_working_time",
    "serverless_credits",
]

SECONDS_FOR_A_CREDIT: Final = 500.0
BILLED_AT_LEAST: Final = 0.1  # seconds, of each request
_LONGEST_WORK: Final = 86_400.0  # seconds; no server works on one request for longer than a day
# float() alone would also accept "1_0", "infinity" and digits of all scripts. And it refuses some
# characters that strip() removes, so it only gets what was matched.
_SECONDS: Final = re.compile(r"[ \t]*([0-9]{1,40}(?:\.[0-9]{0,20})?(?:e-[0-9]{1,3})?)[ \t]*")


def serverless_credits(processing_time: float) -> float:
    """What a request costs whose processing takes this many seconds."""
    return max(processing_time, BILLED_AT_LEAST) / SECONDS_FOR_A_CREDIT


def credits_of(headers: Mapping[str, str]) -> float | None:
    """The credits that the Serverless API bills for a request.

    Where other machines worked for a Workflow, its own machine costs a fixed 0.1 s, and theirs what
    they worked. None: the headers tell no times, as those of a server of your own.

    Args:
        headers: the response's, with names in lower case. A value that no server would send
            (negative, longer than a day, not a number) counts as not there.
    """
    remote = parse_working_time(headers.get("x-remote-processing-time"))
    if remote is not None:
        return (BILLED_AT_LEAST + remote) / SECONDS_FOR_A_CREDIT
    processing_time = parse_working_time(headers.get("x-processing-time"))
    return None if processing_time is None else serverless_credits(processing_time)


def parse_working_time(text: str | None) -> float | None:
    """The seconds in a header that tells how long a server worked, or None.

    It is Python's `str` of a float, which has an exponent when it is small: 5e-05. None if it is
    missing, not a number, below zero, or longer than a day.
    """
    if text is None:
        return None
    found = _SECONDS.fullmatch(text)
    seconds = float(found[1]) if found is not None else None
    return seconds if seconds is not None and seconds <= _LONGEST_WORK else None
