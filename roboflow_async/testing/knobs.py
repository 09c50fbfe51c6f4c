"""How the stand-in API behaves: its knobs, and the faults it knows by name."""

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
"""The names of all faults: HTTP statuses, and `timeout` (never answers), `reset` (the connection
is reset), `truncated` (half a response) and `not_json` (a page of HTML with status 200)."""


@dataclass(kw_only=True)
class Fault:
    """Something that goes wrong with some requests.

    Args:
        name: one of `FAULTS`.
        share: the share of requests that it strikes, 0 to 1.
        times: how often it strikes at most; None: without end.
        retry_after: the text of the response's `Retry-After`, if any.
    """

    name: str
    share: float = 1.0
    times: int | None = None
    retry_after: str | None = None

    def __post_init__(self) -> None:
        if self.name not in FAULTS:
            raise ValueError(f"no fault is called {self.name!r}: {', '.join(sorted(FAULTS))}")

    def strikes(self, chance: random.Random) -> bool:
        """Whether it strikes now; counts that."""
        if self.times == 0 or chance.random() >= self.share:
            return False
        if self.times is not None:
            self.times -= 1
        return True


@dataclass(kw_only=True)
class Knobs:
    """How the stand-in behaves; every field may be changed while it runs.

    Args:
        requests_per_second: requests that are let through in any rolling second; the others
            get a 429. None: all.
        retry_after: the text of the `Retry-After` of those 429s; None: they have none.
        latency: seconds from a request to its response.
        latency_jitter: seconds that are added at random, 0 to this many.
        cold_start: seconds that the first request, and those that come in meanwhile, take.
        api_key: the only key that is let in; None: any, also none.
        max_body_bytes: a larger request gets a 413.
        faults: what goes wrong; the first that strikes is taken.
        seed: of all that happens at random.
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
