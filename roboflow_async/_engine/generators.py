"""Async generators that are not written with `yield`."""

from collections.abc import AsyncGenerator, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

__all__ = ["ClosableGenerator"]

Item = TypeVar("Item")


class ClosableGenerator(AsyncGenerator[Item, None]):
    """What an async generator has besides `__anext__` and `aclose`, made of these two.

    Subclasses have both. Any task may close it, and it serves as `async with ... as items:`.
    """

    def __aiter__(self) -> Self:
        return self

    def asend(self, value: None) -> Coroutine[Any, Any, Item]:  # noqa: ARG002 - of the interface
        """The next item; the value is ignored, since nothing takes one.

        Args:
            value: is ignored.
        """
        return self.__anext__()

    async def athrow(
        self,
        typ: type[BaseException] | BaseException,
        val: object = None,
        tb: TracebackType | None = None,
    ) -> Item:
        """Close it and raise the exception.

        Args:
            typ: the exception, or its class.
            val: the exception, if `typ` is its class.
            tb: its traceback.
        """
        await self.aclose()
        if isinstance(typ, BaseException):
            raise typ.with_traceback(tb)
        raise (val if isinstance(val, BaseException) else typ()).with_traceback(tb)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()
