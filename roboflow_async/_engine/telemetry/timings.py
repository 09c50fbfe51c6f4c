"""Where the time of one call went."""

from dataclasses import dataclass
from typing import Final

from roboflow_async._engine.telemetry.loose import loose

__all__ = ["Moments", "Timings", "timings_of"]


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

Moments = tuple[float, float | None, float | None, float, float, float]
"""When a call was submitted, was ready, and ended (the loop's clock; None: it was not, or has not).
Then the seconds that it was queued, that its failures took, and from its last turn until its
request went out.

Each call has some, and few programs ask for what follows from them.
"""


def timings_of(moments: Moments, latency: float, processing_time: float | None) -> Timings:
    """Where the time of a call went.

    Args:
        moments: the call's.
        latency: seconds that its last attempt took.
        processing_time: seconds that the server says it worked, or None.
    """
    submitted, ready, ended, queued, backoff, connect = moments
    ended = submitted if ended is None else ended
    total = ended - submitted
    load = (ended if ready is None else ready) - submitted
    # What a server says need not fit into the time that its response took.
    server = min(processing_time or 0.0, latency - connect)
    made = _Timings()
    made.load, made.queued, made.backoff = load, queued, backoff
    made.connect, made.server, made.total = connect, server, total
    made.transfer = max(total - load - queued - backoff - connect - server, 0.0)
    made.__class__ = Timings
    return made
