"""While a large response is parsed, Python's garbage collector walks through new objects alone."""

import asyncio
import gc
import weakref
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import MakeClient, picture
from support.loopback import Reply, Server, outputs

from roboflow_async._engine.api import garbage
from roboflow_async._engine.api.garbage import full_collections_put_off

ALL = 2
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(gc.get_threshold()[ALL] == 0, reason="this Python collects step by step"),
]


@pytest.fixture(autouse=True)
def _unfrozen() -> Iterator[None]:
    """The suite freezes what it keeps for good; here all is as in a program that does not."""
    gc.unfreeze()
    yield
    gc.freeze()


@pytest.fixture
def collections() -> Iterator[Counter[int]]:
    """Collections so far, by their generation: 2 are those of all objects."""
    found = Counter[int]()

    def note(phase: str, info: dict[str, Any]) -> None:
        found[info["generation"]] += phase == "stop"

    gc.collect()
    gc.callbacks.append(note)
    yield found
    gc.callbacks.remove(note)


def make_garbage(containers: int) -> list[list[Any]]:
    return [[] for _ in range(containers)]


class Ring:
    """Holds itself, so that only the collector frees it."""

    def __init__(self) -> None:
        self.itself = self


def test_new_objects_start_full_collections_by_themselves(collections: Counter[int]) -> None:
    """Without it a full collection is run: what the tests below count is there."""
    make_garbage(400_000)
    assert collections[ALL] > 0


def test_full_collections_wait_until_the_block_ends(collections: Counter[int]) -> None:
    with full_collections_put_off():
        kept = make_garbage(400_000)
        assert collections[ALL] == 0
        assert collections[1] > 0
    kept += make_garbage(400_000)
    assert collections[ALL] > 0
    assert len(kept) == 800_000


def test_a_full_collection_by_hand_is_run_in_the_block(collections: Counter[int]) -> None:
    ring = weakref.ref(Ring())
    with full_collections_put_off():
        gc.collect()
    assert ring() is None
    assert collections[ALL] == 1


def test_garbage_is_freed_even_if_one_block_follows_another() -> None:
    """A stream of large responses parses one after the other, and nothing in between."""
    kept = [Ring()]
    make_garbage(100_000)  # it is among the old objects now
    ring = weakref.ref(kept.pop())
    for _ in range(100):
        with full_collections_put_off():
            make_garbage(100_000)
        if ring() is None:
            break
    assert ring() is None


@pytest.mark.parametrize("kind", ["disabled", "frozen"])
def test_a_program_with_its_own_rules_keeps_them(kind: str) -> None:
    """Objects that it has frozen stay so, and a collector that it has disabled does, too."""
    gc.disable() if kind == "disabled" else gc.freeze()
    try:
        frozen, callbacks = gc.get_freeze_count(), len(gc.callbacks)
        with full_collections_put_off():
            assert len(gc.callbacks) == callbacks
            make_garbage(100_000)
        assert gc.get_freeze_count() >= frozen - 1000  # some of them were freed
        assert gc.isenabled() == (kind == "frozen")
    finally:
        gc.enable()


def test_blocks_of_several_threads_end_by_themselves(collections: Counter[int]) -> None:
    """Several event loops may parse at once, each in a thread."""
    before = len(gc.callbacks)
    outer, inner = full_collections_put_off(), full_collections_put_off()
    outer.__enter__()
    inner.__enter__()
    outer.__exit__(None, None, None)
    kept = make_garbage(200_000)
    assert collections[ALL] == 0
    inner.__exit__(None, None, None)
    assert len(gc.callbacks) == before
    assert len(kept) == 200_000


async def test_no_full_collection_is_run_for_a_response(
    server: Server, make_client: MakeClient, collections: Counter[int]
) -> None:
    """150,000 lists in an output: the collector walked through all of them several times."""
    given = [[1.5, 2.5, 3.5]] * 150_000
    body = outputs(a=given)
    server.handler = lambda _: Reply(body=body)
    async with make_client() as client:
        gc.collect()
        collections.clear()
        garbage._count.put_off = 0
        found = await client.workflow("w", "f").run(picture(0))
        await asyncio.sleep(0)
    assert collections[ALL] == 0
    assert found["a"] == given
