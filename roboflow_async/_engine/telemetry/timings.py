"""Where the time of one call went."""

from dataclasses import dataclass
from typing import Final

from roboflow_async._engine.telemetry.loose import loose

__all__ = ["Timings", "new_timings"]


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time of one call went, in seconds. The parts add up to `total`.

    All are 0.0 for a result that no call was made for: one from a journal, or from a batch job.

    Attributes:
        load: reading and encoding the image, and what the server was asked before the call.
        queued: waits for a slot and for a turn, also in a pause that other calls had caused.
        backoff: attempts that failed, and the waits after them until the next attempt could queue:
            backoff, the pause after a 429, an outage.
        connect: from the last attempt's turn until its request went out: a new connection takes
            most of it.
        server: what the server says that it worked (`X-Processing-Time`); 0.0 if it does not say.
        transfer: the rest of the last attempt: sending, the way there and back, reading the output.
        total: from the call's begin to its end.
    """

    load: float = 0.0
    queued: float = 0.0
    backoff: float = 0.0
    connect: float = 0.0
    server: float = 0.0
    transfer: float = 0.0
    total: float = 0.0


_Timings: Final = loose(Timings)


def new_timings(
    load: float,
    queued: float,
    backoff: float,
    connect: float,
    server: float,
    transfer: float,
    total: float,
) -> Timings:
    """`Timings`; the arguments are its fields, in their order."""
    made = _Timings()
    made.load = load
    made.queued = queued
    made.backoff = backoff
    made.connect = connect
    made.server = server
    made.transfer = transfer
    made.total = total
    made.__class__ = Timings
    return made
