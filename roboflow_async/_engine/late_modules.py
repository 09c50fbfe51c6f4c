"""Modules that are imported on first use, and parts that are made then.

Importing this package brings what every program needs. The rest comes late: pydantic's models (some
100, in `types` and `endpoints`), journals, and what talks to the platform. A file that uses such a
module has

    if TYPE_CHECKING:
        from roboflow_async import types
    else:
        types = LateModule("roboflow_async.types")

and then writes `types.Task`: in code, which imports the module, and in annotations, in quotes. So
type checkers see the module itself, and `typing.get_type_hints` finds all names as it always does.
"""

from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from typing import Any, Generic, TypeVar

__all__ = ["LateModule", "LatePart", "late_names"]

Part = TypeVar("Part")


class LateModule:
    """Stands for a module, which is imported when one of its names is used.

    Args:
        name: the module's full name.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"<module {self._name!r}, imported on first use>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # somebody asks what kind of object this is
            raise AttributeError(name)
        value = getattr(import_module(self._name), name)
        setattr(self, name, value)  # from now on found without this method
        return value


class LatePart(Generic[Part]):
    """A part of an object that is made when it is used.

    Attributes:
        made: the part; None: it was not used yet.

    Args:
        make: makes it.
    """

    def __init__(self, make: Callable[[], Part]) -> None:
        self._make = make
        self.made: Part | None = None

    def __call__(self) -> Part:
        """The part; the first call makes it."""
        if self.made is None:
            self.made = self._make()
        return self.made


def late_names(
    namespace: dict[str, Any], homes: Mapping[str, str], modules: Collection[str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and `__dir__` of a package with names that are imported on first use.

    Args:
        namespace: the package's `globals()`.
        homes: the full name of the module of each such name.
        modules: modules of the package that an attribute of it imports.
    """
    package: str = namespace["__name__"]

    def get(name: str) -> Any:
        if name in homes:
            value = getattr(import_module(homes[name]), name)
        elif name in modules:
            value = import_module(f"{package}.{name}")
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        namespace[name] = value  # from now on found without this function
        return value

    return get, lambda: sorted({*namespace, *homes, *modules})
