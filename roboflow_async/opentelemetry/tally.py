"""What is counted of a client, in plain numbers: metrics read them when they are collected.

To add to a counter of OpenTelemetry takes some microseconds each time, to add to a number nearly
nothing.
"""

from collections.abc import Mapping
from typing import Final

from opentelemetry.util.types import AttributeValue

from roboflow_async._engine.pace.pacer import Pacer

__all__ = ["CALLS", "CREDITS", "REJECTED", "RETRIES", "Attributes", "Key", "Tally"]

Attributes = Mapping[str, AttributeValue]
Key = tuple[str | None, ...]
"""Values of a counter's attributes, in their order; None: without that one."""

# The attributes of each counter, besides the server's.
_ABOUT: Final = ("roboflow.target.kind", "roboflow.target", "roboflow.operation")
CALLS: Final = (*_ABOUT, "error.type")
CREDITS: Final = _ABOUT
RETRIES: Final = ("error.type",)
REJECTED: Final = ("http.response.status_code",)


class Tally:
    """Counts one client. Its event loop alone writes here; any thread may read.

    Args:
        server: the attributes of what it sends to.
        pacer: its pacer; None: it is gone.

    Attributes:
        calls: those that have ended.
        credits: what they cost.
        retries: attempts that will be repeated.
        rejected: responses with 429.
        waiting: calls that wait for a slot, a turn, a pause or their next attempt.
        in_flight: attempts sent that have not ended.
        outages: parts of the API that are away.
    """

    __slots__ = (
        "calls", "credits", "in_flight", "outages", "pacer", "rejected", "retries", "server",
        "waiting",
    )  # fmt: skip

    def __init__(self, server: Attributes, pacer: Pacer | None) -> None:
        self.server: Attributes = server
        self.pacer: Pacer | None = pacer
        self.calls: dict[Key, float] = {}
        self.credits: dict[Key, float] = {}
        self.retries: dict[Key, float] = {}
        # From the beginning on, or the first of them would be no rise that an alert sees.
        self.rejected: dict[Key, float] = {("429",): 0}
        self.waiting: int = 0
        self.in_flight: int = 0
        self.outages: int = 0

    def take_over(self, other: "Tally") -> None:
        """Add what a client that is gone has counted."""
        for mine, its in (
            (self.calls, other.calls),
            (self.credits, other.credits),
            (self.retries, other.retries),
            (self.rejected, other.rejected),
        ):
            for key, count in its.items():
                mine[key] = mine.get(key, 0) + count
