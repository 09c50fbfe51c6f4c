"""Which calls go first."""

from typing import Final, Literal, get_args

from roboflow_async._engine.checks import shown
from roboflow_async.errors import ConfigurationError

__all__ = ["BULK_SHARE", "PRIORITIES", "Priority", "check_priority"]

Priority = Literal["interactive", "bulk"]
"""Which calls go first: a person waits for an "interactive" call, but not for each "bulk" call."""

PRIORITIES: Final[tuple[Priority, ...]] = get_args(Priority)

# While both wait, one of this many turns is for bulk calls, so they get at least a tenth of the
# pace. At half load, the 95th percentile of interactive calls waits for 4.0 turns; it would be 3.8
# if bulk calls got none, and 6.8 if they got every fourth turn (simulated: test_fair_queue.py).
BULK_SHARE: Final = 10


def check_priority(value: object) -> None:
    """Raise `ConfigurationError` unless `value` is a `Priority` or None."""
    if value is not None and value not in PRIORITIES:
        raise ConfigurationError(
            f"priority={shown(value)} is not known: give 'interactive' or 'bulk'."
        )
