"""What a request costs, and what ran, by the headers of its response. Pure.

The rule of the Serverless API: a credit is 500 seconds of work, and each request counts for 0.1 s
at least. If some of the work was done on another machine, that time counts, and 0.1 s more.
https://docs.roboflow.com/deployment/roboflow-cloud/serverless-api/pricing
"""

from typing import Final

from roboflow_async.errors import plain_text

__all__ = ["LEAST_BILLED", "SECONDS_A_CREDIT", "credits_for", "model_ids_in"]

LEAST_BILLED: Final = 0.1  # seconds
SECONDS_A_CREDIT: Final = 500.0
_MOST_MODELS: Final = 100
_LONGEST_ID: Final = 200  # characters


def credits_for(processing_time: float | None, remote_time: float | None = None) -> float | None:
    """What a request costs in credits; None: the server says nothing about it.

    Args:
        processing_time: seconds that the server worked (`X-Processing-Time`).
        remote_time: seconds that others worked for it (`X-Remote-Processing-Time`).
    """
    if remote_time is not None:
        return (LEAST_BILLED + remote_time) / SECONDS_A_CREDIT
    if processing_time is None:
        return None
    return max(processing_time, LEAST_BILLED) / SECONDS_A_CREDIT


def model_ids_in(text: str) -> tuple[str, ...]:
    """The models that `X-Model-Id` names: each once, in its order."""
    names = (plain_text(name).strip()[:_LONGEST_ID] for name in text.split(",")[:_MOST_MODELS])
    return tuple(dict.fromkeys(name for name in names if name))
