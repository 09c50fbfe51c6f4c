"""A client holds connections: a copy of it, or of what holds it, is refused with the way out."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from conftest import KEY, MakeClient, picture
from support.loopback import Server

from roboflow_async import RoboflowClient, endpoints

pytestmark = pytest.mark.anyio

COPIES: list[Callable[[Any], Any]] = [
    pickle.dumps,
    lambda thing: pickle.dumps(thing, protocol=0),
    lambda thing: pickle.dumps({"deeper": [thing]}),
    copy.copy,
    copy.deepcopy,
    lambda thing: copy.deepcopy([thing]),
]


@pytest.mark.parametrize("copied", COPIES, ids=range(len(COPIES)))
async def test_holders_of_a_client_are_not_copied(
    server: Server, make_client: MakeClient, copied: Callable[[Any], Any]
) -> None:
    """What holds a client is not copied, and the way out is named."""
    async with make_client() as client:
        workflow = client.workflow("w", "f")
        stream = workflow.stream([picture(0)])
        holders = [
            client,
            workflow,
            client.model("pets/3"),
            client.endpoint(endpoints.OCR_DOCTR),
            stream,
        ]
        for holder in holders:
            with pytest.raises(TypeError, match=f"{type(holder).__name__} .*make a Rob") as caught:
                copied(holder)
            assert KEY not in str(caught.value)
        # All of them work still, and what comes out of them is copied as ever.
        results = [result async for result in stream]
        assert copy.deepcopy(results)[0].output == results[0].output
        assert pickle.loads(pickle.dumps(client.stats)) == client.stats
    assert len(server.arrivals) == 1


def test_a_client_that_was_never_used_is_not_copied_either() -> None:
    with pytest.raises(TypeError, match="RoboflowClient cannot be pickled"):
        pickle.dumps(RoboflowClient(KEY))
