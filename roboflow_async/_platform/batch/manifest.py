"""Which input of a job has which name in its batch."""

from collections.abc import Iterable, Mapping
from typing import Final

import httpx

from roboflow_async._platform.staging.journal import Item
from roboflow_async._platform.staging.upload import Staged
from roboflow_async.errors import ImageError, RoboflowError

__all__ = ["Manifest"]

_INDEX: Final = 8  # digits at the beginning of a name of ours


class Manifest:
    """The inputs of a job, in their order.

    Args:
        items: the inputs.
        errors: the errors of those that were not sent, where they are known.
    """

    def __init__(
        self, items: list[Item], errors: Mapping[int, RoboflowError] | None = None
    ) -> None:
        self.items = items
        self._errors = errors or {}
        # Names of ours begin with the index, so that no table is needed.
        is_ours = all(
            item.name is None or _index_in(item.name) == index for index, item in enumerate(items)
        )
        names = enumerate(item.name for item in items)
        self._table = None if is_ours else {name: index for index, name in names if name}

    @classmethod
    def of_staged(cls, staged: Staged) -> "Manifest":
        """The inputs of an upload of this process."""
        return cls(staged.items, staged.errors)

    @classmethod
    def of_names(cls, names: Iterable[str]) -> "Manifest":
        """The inputs of a batch of which no more than the names are known."""
        return cls([Item(f"data:{name}", name) for name in sorted(names)])

    def __len__(self) -> int:
        return len(self.items)

    def index_of(self, name: str) -> int | None:
        """The index of the input with this name in the batch, or None."""
        if self._table is not None:
            return self._table.get(name)
        index = _index_in(name)
        if index is None or index >= len(self.items) or self.items[index].name != name:
            return None
        return index

    def input(self, index: int) -> object:
        """An input as it can be told without the object that was given: a path, URL or name."""
        item = self.items[index]
        kind, _, told = item.source.partition(":")
        if kind == "file":
            return told.rsplit(":", 2)[0]
        if kind == "url":
            return httpx.URL(told)
        return item.name

    def error(self, index: int) -> RoboflowError | None:
        """Why an input was not sent; None: it was."""
        known = self._errors.get(index)
        if known is None and self.items[index].name is None:
            known = ImageError(self.items[index].problem or "it could not be read.")
        return known


def _index_in(name: str) -> int | None:
    digits, _, rest = name.partition("-")
    is_index = len(digits) == _INDEX and digits.isascii() and digits.isdigit() and rest
    return int(digits) if is_index else None
