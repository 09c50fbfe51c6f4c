"""Who goes first."""

from typing import Final, Literal, get_args

__all__ = ["BULK_SHARE", "PRIORITIES", "Priority"]

Priority = Literal["interactive", "bulk"]
"""Who goes first: somebody waits for an interactive call, and nobody for each one in bulk."""

PRIORITIES: Final[tuple[Priority, ...]] = get_args(Priority)

# Of so many turns one is for bulk while both wait: bulk moves at a tenth of the pace at least, and
# at half load the 95th percentile of interactive calls waits for 4.0 paces, against 3.8 if bulk
# never moved, and 6.8 if it had every fourth turn (simulated: test_admission.py).
BULK_SHARE: Final = 10
