"""Who goes first."""

from typing import Final, Literal, get_args

from roboflow_async._engine.checks import shown
from roboflow_async.errors import ConfigurationError

__all__ = ["BULK_SHARE", "PRIORITIES", "Priority", "check_priority"]

Priority = Literal["interactive", "bulk"]
"""Who goes first: somebody waits for an interactive call, and nobody for each one in bulk."""

PRIORITIES: Final[tuple[Priority, ...]] = get_args(Priority)

# Of so many turns one is for bulk while both wait: bulk moves at a tenth of the pace at least, and
# at half load the 95th percentile of interactive calls waits for 4.0 paces, against 3.8 if bulk
# never moved, and 6.8 if it had every fourth turn (simulated: test_fair_queue.py).
BULK_SHARE: Final = 10


def check_priority(value: object) -> None:
    """Raise `ConfigurationError` unless `value` is a `Priority` or None."""
    if value is not None and value not in PRIORITIES:
        raise ConfigurationError(
            f"priority={shown(value)} does not do: give 'interactive' or 'bulk'."
        )
