"""Lets frozen dataclasses be made in half the time.

A frozen dataclass sets each of its fields by a call, because it refuses to be set in any other way.
What is made for every call is made as one of a class that does not refuse, and becomes one of its
real class when it is whole.
"""

from typing import Any

__all__ = ["loose"]


def loose(kind: type) -> Any:
    """A class with the same fields, which are not set yet and may be.

    Args:
        kind: a frozen dataclass with slots. When all fields are set, make it the object's
            `__class__`.
    """
    more = {"__slots__": (), "__init__": object.__init__, "__setattr__": object.__setattr__}
    return type(kind.__name__, (kind,), more)
