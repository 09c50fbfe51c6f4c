"""Public names show where they are imported from, not where they are written."""

from collections.abc import Callable, Mapping, Sequence
from types import UnionType
from typing import Any, TypeVar

__all__ = ["public_name", "public_name_in", "show_as_public"]

Named = TypeVar("Named")


def show_as_public(namespace: Mapping[str, Any]) -> None:
    """Let the public names of a module name it as theirs: in documentation, tracebacks and pickles.

    Args:
        namespace: the module's `globals()`; its `__all__` has the names.
    """
    names: Sequence[str] = namespace["__all__"]
    # What is imported late says itself where it is from: `public_name`, `public_name_in`.
    for value in (namespace[name] for name in names if name in namespace):
        # An alias of several types, and a constant, have no name to show. (From Python 3.14 on, an
        # alias has the attribute `__qualname__`, but none that can be set.)
        if not hasattr(value, "__qualname__") or isinstance(value, UnionType):
            continue
        # What we only give another name to, such as httpx's client, stays its owner's.
        if value.__module__.partition(".")[0] == "roboflow_async":
            value.__module__ = namespace["__name__"]


def public_name(value: Named) -> Named:
    """A decorator for what `roboflow_async` imports only when somebody asks for it."""
    value.__module__ = "roboflow_async"
    return value


def public_name_in(module: str) -> Callable[[Named], Named]:
    """A decorator for what another public module imports only when somebody asks for it.

    Args:
        module: the module's full name.
    """

    def decorate(value: Named) -> Named:
        value.__module__ = module
        return value

    return decorate
