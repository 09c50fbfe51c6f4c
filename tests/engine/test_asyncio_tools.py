"""Binding to one event loop."""

import asyncio

import pytest

from roboflow_async import ConfigurationError
from roboflow_async._engine.asyncio_tools import BoundToLoop


async def check(bound: BoundToLoop) -> tuple[bool, bool]:
    """Whether the running loop is new to it, and whether it is its loop from then on."""
    return bound.check(), bound.is_current


def test_bound_to_loop_says_once_that_a_loop_is_new() -> None:
    bound = BoundToLoop("this thing", "make another")
    assert bound.loop is None
    for _ in range(2):  # the first loop has closed when the second begins
        with asyncio.Runner() as runner:
            assert runner.run(check(bound)) == (True, True)
            assert runner.run(check(bound)) == (False, True)
            assert bound.loop is runner.get_loop()


def test_bound_to_loop_raises_while_another_loop_is_open() -> None:
    async def is_current() -> bool:
        return bound.is_current

    bound = BoundToLoop("this thing", "make another")
    with asyncio.Runner() as first, asyncio.Runner() as second:
        first.run(check(bound))
        with pytest.raises(ConfigurationError) as caught:
            second.run(check(bound))
        assert str(caught.value) == "this thing is in use on another event loop: make another."
        assert not second.run(is_current())
        assert first.run(check(bound)) == (False, True)
