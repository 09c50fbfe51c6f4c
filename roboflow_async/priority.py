"""Who goes first."""

from typing import Final, Literal, get_args

__all__ = ["PRIORITIES", "Priority"]

Priority = Literal["interactive", "bulk"]
"""Who goes first: somebody waits for an interactive call, and nobody for each one in bulk."""

PRIORITIES: Final[tuple[Priority, ...]] = get_args(Priority)
