"""Hands values to histograms some at a time, which takes half as long.

To record a value is long code of the SDK, which between two steps of a call is in no cache of the
processor; the second value in a row finds it there.
"""

from collections import deque
from typing import Final

from opentelemetry.context import Context
from opentelemetry.metrics import Histogram
from opentelemetry.util.types import Attributes

__all__ = ["Batched"]

_AT_ONCE: Final = 32  # the event loop stands still for less than half a millisecond


class Batched:
    """A histogram that gets its values when some are there, and before each collection.

    Args:
        histogram: the histogram.
    """

    __slots__ = ("_histogram", "_waiting")

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._waiting: deque[tuple[float, Attributes, Context]] = deque()

    def record(self, amount: float, attributes: Attributes, context: Context) -> None:
        """Record a value.

        Args:
            amount: the value.
            attributes: of it; they must not change.
            context: whose trace is an example of such a value.
        """
        waiting = self._waiting
        waiting.append((amount, attributes, context))
        if len(waiting) >= _AT_ONCE:
            self.pass_on()

    def pass_on(self) -> None:
        """Let the histogram have all values; in any thread, and in several at once."""
        waiting = self._waiting
        while waiting:
            try:
                amount, attributes, context = waiting.popleft()
            except IndexError:  # another thread had the last one
                return
            self._histogram.record(amount, attributes, context)
