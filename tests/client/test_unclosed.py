"""What was used and never closed gives one warning, which says what to write instead."""

import asyncio
import gc
import subprocess
import sys
import warnings
from collections.abc import Awaitable, Callable
from itertools import repeat

import pytest
from conftest import KEY, MakeClient, picture
from support.loopback import Reply, Server, echo

from roboflow_async import ConfigurationError
from roboflow_async.testing import StandInServer

pytestmark = pytest.mark.each_transport

CLIENT = "a RoboflowClient for {url} was used and never closed: write `async with RoboflowClient("
STREAM = (
    "a stream of <Workflow ws/wf> was dropped before its end and never closed: write `async with "
    "target.stream(...) as results:`, or call `await results.aclose()`."
)

PROGRAM = """
import asyncio, sys
from roboflow_async import RoboflowClient

url, transport, case = sys.argv[1:]
client = RoboflowClient({key!r}, api_url=url, requests_per_second=None, transport=transport)
image = b"\\xff\\xd8\\xff\\xe0"
stream = None

async def run():
    try:
        await client.workflow("ws", "wf").run(image)
    except Exception as error:  # the stand-in sees no picture in it
        print(type(error).__name__)

async def leave_a_stream():
    global stream
    stream = client.workflow("ws", "wf").stream([image] * 500)
    await anext(stream)

async def close_both():
    async with client, client.workflow("ws", "wf").stream([image] * 500) as results:
        async for _ in results:
            break

if case == "never used":
    client.workflow("ws", "wf").stream([image])
elif case == "closed":
    asyncio.run(run())
    asyncio.run(close_both())
elif case == "client":
    asyncio.run(run())
    asyncio.run(run())
elif case == "stream":
    asyncio.run(leave_a_stream())
elif case == "loop":
    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave_a_stream())
    loop.close()
print("done")
"""


def said_at_the_end(url: str, transport: str, case: str, *options: str) -> str:
    """What a program writes to stderr that leaves something open until its end."""
    program = PROGRAM.format(key=KEY)
    command = [sys.executable, *options, "-c", program, url, transport, case]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.endswith("done\n")
    assert KEY not in done.stderr
    # In dev mode asyncio tells what is slow, as it is on a busy machine.
    lines = [line for line in done.stderr.splitlines() if not line.startswith("Executing <")]
    return "\n".join(lines)


@pytest.mark.parametrize("case", ["never used", "closed"])
def test_nothing_is_said_of_what_is_closed_or_was_never_used(
    roboflow_stand_in: StandInServer, case: str
) -> None:
    options = ("-X", "dev", "-W", "error")
    assert said_at_the_end(roboflow_stand_in.url, "httpx", case, *options) == ""


@pytest.mark.parametrize("case", ["client", "stream", "loop"])
def test_what_is_open_at_the_end_of_a_program_warns_once(
    roboflow_stand_in: StandInServer, transport: str, case: str
) -> None:
    """What is open at the end of a program warns once; it is no pending task that is destroyed."""
    url = roboflow_stand_in.url
    said = said_at_the_end(url, transport, case, "-X", "dev")
    assert said.count(CLIENT.format(url=url)) == 1
    assert said.count(STREAM) == (case != "client")
    assert "Task was destroyed" not in said
    assert "never awaited" not in said
    assert "Exception ignored" not in said
    assert "Traceback" not in said or case == "loop"  # in which no connection could be closed


Use = Callable[[MakeClient, str], Awaitable[None]]


async def drop_a_client(make_client: MakeClient, _: str) -> None:
    client = make_client()
    await client.workflow("ws", "wf").run(picture(0))
    del client


async def drop_a_client_in_use(make_client: MakeClient, _: str) -> None:
    workflow = make_client().workflow("ws", "wf")
    await workflow.run(picture(0))


async def drop_one_for_the_platform(make_client: MakeClient, url: str) -> None:
    client = make_client(platform_url=url)
    await client.workspace()
    await client.workflow("ws", "wf").run(picture(0))
    del client


async def drop_a_stream(make_client: MakeClient, _: str) -> None:
    async with make_client() as client:
        async for _result in client.workflow("ws", "wf").stream(repeat(picture(0))):
            break


async def drop_a_stream_after_its_client(make_client: MakeClient, _: str) -> None:
    async with make_client(max_concurrency=2) as client:
        stream = client.workflow("ws", "wf").stream(repeat(picture(0)))
        await anext(stream)
    del stream


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("use", "message"),
    [
        (drop_a_client, CLIENT),
        (drop_a_client_in_use, CLIENT),
        (drop_one_for_the_platform, CLIENT),
        (drop_a_stream, STREAM),
        (drop_a_stream_after_its_client, STREAM),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_what_is_dropped_while_the_program_runs_warns_once(
    server: Server, make_client: MakeClient, use: Use, message: str
) -> None:
    server.handler = lambda arrival: (
        Reply(body=b'{"workspace": "ws"}') if arrival.method == "GET" else echo(arrival)
    )
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        await use(make_client, server.url)
        gc.collect()
        await asyncio.sleep(0.05)
    assert [one.category for one in warned] == [ResourceWarning]
    assert str(warned[0].message).startswith(message.format(url=server.url))


@pytest.mark.anyio
async def test_a_client_whose_use_was_refused_is_no_leak(
    server: Server, make_client: MakeClient
) -> None:
    """A client that was closed before its first use, or with another, gives no warning."""
    client = make_client()
    await client.aclose()
    with pytest.raises(ConfigurationError):
        await client.workflow("ws", "wf").run(picture(0))
    del client
    gc.collect()
