"""`stream(items, image=...)`: reads the items, and finds the image of each."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from inspect import isawaitable
from pathlib import PurePath
from reprlib import Repr
from typing import Any, Final, TypeVar, cast

import httpx

from roboflow_async._engine.checks import shown
from roboflow_async._engine.images.inputs import check_many
from roboflow_async.errors import ConfigurationError, ImageError

__all__ = ["ImageOf", "check_items", "image_of", "iterate", "worth_keeping"]

Item = TypeVar("Item")

ImageOf = Callable[[Any], Any | Awaitable[Any]]
"""Gives what is sent for an item, at once or when it is awaited."""

# `repr` alone may be megabytes long, or raise.
_repr: Final = Repr()
_repr.maxother = _repr.maxstring = 80
# A plain (not async) iterable blocks the event loop while it gives an item. After the first number
# of seconds of that, the loop gets the same time for other work, at most the second number.
_HELD_UP: Final = 0.001
_LONGEST_BREAK: Final = 0.05


def check_items(items: Any, image: object) -> None:
    """Raise `ConfigurationError` for what a stream cannot read, or not as it was meant.

    Args:
        items: what the stream was given.
        image: its `image=`; None: the items are the images.
    """
    if image is None:
        check_many(items)
        return
    if not callable(image):
        raise ConfigurationError(
            f"image={shown(image)} is not callable: give a function that takes an item and gives "
            "its image, such as image=lambda row: row.path."
        )
    one = isinstance(items, (str, bytes, bytearray, memoryview))
    if one or not isinstance(items, (Iterable, AsyncIterable)):
        kind = type(cast("object", items)).__name__
        raise ConfigurationError(
            f"the items are of type {kind}, which is not a list of them: give a list, a generator "
            "or an async generator."
        )


async def iterate(items: Iterable[Item] | AsyncIterable[Item]) -> AsyncGenerator[Item, None]:
    """Each item, whichever iterable it is. An async generator is closed at the end."""
    if not isinstance(items, AsyncIterable):
        held_up = 0.0
        began = time.perf_counter()
        for item in items:
            held_up += time.perf_counter() - began
            yield item
            if held_up > _HELD_UP:
                await asyncio.sleep(min(held_up, _LONGEST_BREAK))
                held_up = 0.0
            began = time.perf_counter()
        return
    try:
        async for item in items:
            yield item
    finally:
        if isinstance(items, AsyncGenerator):
            # So that a camera's `finally: release()` runs now, and not when the garbage collector
            # does.
            await items.aclose()


async def image_of(image: ImageOf, index: int, item: object) -> object:
    """What `image=` gives for an item.

    Raises:
        ImageError: it failed for this item, which is named. Nothing was sent, and the stream goes
            on: the next item may be a better one.
    """
    try:
        value = image(item)
        if isawaitable(value):
            value = await value
    except Exception as error:  # noqa: BLE001 - a user's function raises what it likes
        failure: BaseException = error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise  # the stream is closed
        failure = error  # of something that the function itself waited for
    else:
        return value
    try:
        raise ImageError(
            f"image= failed for item {index}, {_repr.repr(item)}: {type(failure).__name__}: "
            f"{failure!s:.300}"
        ) from failure
    finally:
        del failure  # its traceback holds this frame


def worth_keeping(image: object) -> object:
    """The image, for a notebook to show with its result, if it is small: a path. Else None."""
    return image if isinstance(image, (str, PurePath, httpx.URL)) else None
