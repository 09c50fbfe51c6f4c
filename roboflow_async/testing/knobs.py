"""The settings ("knobs") of the stand-in API, and its named faults."""

import random
from dataclasses import dataclass, field
from typing import Final

__all__ = ["FAULTS", "Fault", "Knobs"]

STATUS_FAULTS: Final = {
    "bad_request": 400,
    "unauthorized": 401,
    "payment_required": 402,
    "forbidden": 403,
    "not_found": 404,
    "request_timeout": 408,
    "gone": 410,
    "payload_too_large": 413,
    "unprocessable": 422,
    "paused": 423,
    "too_many_requests": 429,
    "internal_error": 500,
    "not_implemented": 501,
    "bad_gateway": 502,
    "unavailable": 503,
    "gateway_timeout": 504,
    "insufficient_storage": 507,
}
WIRE_FAULTS: Final = frozenset({"timeout", "reset", "truncated", "not_json"})
FAULTS: Final = frozenset(STATUS_FAULTS) | WIRE_FAULTS
"""The names of all faults: HTTP statuses, and `timeout` (no response), `reset` (the connection is
reset), `truncated` (half a response) and `not_json` (a page of HTML with status 200)."""


@dataclass(kw_only=True)
class Fault:
    """Something that goes wrong with some requests.

    Args:
        name: one of `FAULTS`.
        share: the share of requests that have it, 0 to 1.
        times: the largest number of requests that have it; None: no limit.
        retry_after: the text of the response's `Retry-After`, if any.
    """

    name: str
    share: float = 1.0
    times: int | None = None
    retry_after: str | None = None

    def __post_init__(self) -> None:
        if self.name not in FAULTS:
            raise ValueError(
                f"name={self.name!r} is not known: give one of {', '.join(sorted(FAULTS))}"
            )
        if not 0 <= self.share <= 1:  # also for NaN
            raise ValueError(f"share={self.share!r} is out of range: give a number from 0 to 1")

    def strikes(self, chance: random.Random) -> bool:
        """Whether this request has the fault; counts it.

        Args:
            chance: gives numbers from 0 to 1.
        """
        if self.times == 0 or chance.random() >= self.share:
            return False
        if self.times is not None:
            self.times -= 1
        return True


@dataclass(kw_only=True)
class Knobs:
    """The settings of the stand-in. Every field may be changed while it runs.

    Args:
        requests_per_second: requests that are accepted in any rolling second; others get a 429.
            None: no limit.
        retry_after: the text of `Retry-After` in those 429s; None: no such header.
        latency: seconds from a request to its response.
        latency_jitter: seconds that are added at random, 0 to this many.
        cold_start: seconds that the first request takes, and others that come in during that time.
        api_key: the only accepted key; None: any key, or none.
        max_body_bytes: a larger request gets a 413.
        faults: faults that may happen; each request has at most one, the first that applies.
        seed: the seed for everything random.
    """

    requests_per_second: int | None = 20
    retry_after: str | None = None
    latency: float = 0.05
    latency_jitter: float = 0.0
    cold_start: float = 0.0
    api_key: str | None = None
    max_body_bytes: int = 28 * 1024 * 1024
    faults: list[Fault] = field(default_factory=list[Fault])
    seed: int = 0
