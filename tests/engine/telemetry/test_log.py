"""The log: one line for each retry, pause, change of the pace and outage; attempts at DEBUG."""

import json
import logging
from typing import Any

import pytest
from conftest import KEY, MakeClient, picture
from support.loopback import Arrival, Reply, Server, echo, outputs, reset

from roboflow_async import Hook, RetryPolicy

pytestmark = pytest.mark.anyio

STANDARD = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime"})


def facts(record: logging.LogRecord) -> dict[str, Any]:
    """What `extra=` has added."""
    return {name: value for name, value in vars(record).items() if name not in STANDARD}


def ours(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    # asyncio in debug mode warns of slow steps on a busy machine.
    return [one for one in caplog.records if one.name.startswith("roboflow_async")]


def told(caplog: pytest.LogCaptureFixture, event: str) -> list[logging.LogRecord]:
    return [one for one in caplog.records if getattr(one, "event", "") == event]


async def test_each_retry_is_one_line(
    server: Server, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    def handler(arrival: Arrival) -> Any:
        return [Reply(503, b"secret words of a server"), reset, echo(arrival)][arrival.index]

    server.handler = handler
    with caplog.at_level(logging.INFO, "roboflow_async"):
        async with make_client(retry=RetryPolicy(max_attempts=4, base=0.005)) as client:
            await client.workflow("ws", "wf").run(picture(0))
    first, second = ours(caplog)
    assert {one.name for one in ours(caplog)} == {"roboflow_async"}
    assert {one.levelno for one in ours(caplog)} == {logging.INFO}
    text = first.getMessage()
    assert text.startswith("/ws/workflows/wf: attempt 1 of 4: HTTP 503; again in 0.00")
    assert "attempt 2 of 4: the connection was" in second.getMessage()
    assert "\n" not in text + second.getMessage()
    assert "secret words" not in text
    said = facts(first)
    assert 0 <= said.pop("delay") <= 0.005
    assert said == {
        "event": "retry_scheduled",
        "path": "/ws/workflows/wf",
        "attempt": 1,
        "max_attempts": 4,
        "reason": "503",
    }
    assert facts(second)["reason"] == "APIConnectionError"


async def test_attempts_are_told_at_debug(
    server: Server, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    server.handler = lambda arrival: Reply(500, b"no") if arrival.index == 0 else echo(arrival)
    with caplog.at_level(logging.DEBUG, "roboflow_async"):
        async with make_client(hooks=[Hook()], api_key_transport="query") as client:
            await client.workflow("ws", "wf").run(picture(0))
    first, second = told(caplog, "attempt_ended")
    assert {first.levelno, second.levelno} == {logging.DEBUG}
    assert first.getMessage().startswith("POST /ws/workflows/wf, attempt 1: HTTP 500 after ")
    assert second.getMessage().startswith("POST /ws/workflows/wf, attempt 2: HTTP 200 after ")
    said = facts(second)
    assert said.pop("duration") >= 0
    assert said.pop("call_id") == facts(first)["call_id"] > 0
    assert said == {
        "event": "attempt_ended",
        "method": "POST",
        "path": "/ws/workflows/wf",
        "attempt": 2,
        "status_code": 200,
        "error_type": None,
    }
    assert facts(first)["error_type"] == "500"


async def test_a_pause_and_the_pace_have_a_line_each(
    server: Server, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    slow = Reply(429, b"no", {"Retry-After": "0.05"})
    server.handler = lambda arrival: slow if arrival.index == 0 else echo(arrival)
    with caplog.at_level(logging.INFO, "roboflow_async"):
        async with make_client(requests_per_second=100, retry=RetryPolicy()) as client:
            await client.workflow("ws", "wf").run(picture(0))
            client._engine.pacer.restore()
            await client.workflow("ws", "wf").run(picture(1))
    pause, cut, retry, back = ours(caplog)
    assert pause.getMessage().startswith("a rate limit rejected a request (429): nothing is sent")
    assert facts(pause)["retry_after"] == 0.05
    assert cut.getMessage().startswith("the pace falls from 100 requests/s to ")
    assert facts(cut)["event"] == "pace_changed"
    assert facts(cut)["pace"] < facts(cut)["previous_pace"] == 100
    assert "when the pause of all sending is over" in retry.getMessage()
    assert back.getMessage() == "the pace is back at 100 requests/s"
    assert facts(back)["reason"] == "recovered"


async def test_an_outage_is_two_warnings_with_facts(
    server: Server, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    server.handler = lambda arrival: echo(arrival) if arrival.index >= 12 else Reply(503, b"no")
    async with make_client() as client:
        stream = client.workflow("w", "f").stream(map(picture, range(4)))
        assert [result.ok async for result in stream] == [True] * 4
    began, ended = ours(caplog)
    assert (began.name, began.levelno) == ("roboflow_async.circuit", logging.WARNING)
    assert facts(began)["event"] == "outage_began"
    assert facts(began)["path"] == facts(ended)["path"] == "/w/workflows/f"
    assert facts(ended)["attempts"] >= 1
    assert facts(ended)["duration"] > 0


async def test_every_line_can_be_written_as_json(
    server: Server, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    """And holds neither the key nor any of an image, however the calls end."""
    replies = [Reply(429, b"no"), Reply(503, KEY.encode()), reset, Reply(200, KEY.encode())]
    image = picture(0) + b"PIXELS" * 50

    def handler(arrival: Arrival) -> Any:
        index = arrival.index % 6
        return replies[index] if index < 4 else Reply(body=outputs(a=1))

    server.handler = handler
    with caplog.at_level(logging.DEBUG, "roboflow_async"):
        async with make_client(api_key_transport="query", hooks=[Hook()]) as client:
            stream = client.workflow("w", "f").stream([image] * 30)
            _ = [result async for result in stream]
    assert len(ours(caplog)) > 60
    for record in ours(caplog):
        text = json.dumps({"message": record.getMessage(), **facts(record)})
        assert KEY not in text
        assert "UElYRUxT" not in text  # PIXELS in base64
        assert "PIXELS" not in text
