"""Text from outside reaches a terminal, a log or a page without what those would obey."""

import json
import logging
import sys
import unicodedata
from typing import Any

import pytest
from conftest import KEY, MakeClient, picture
from pydantic import BaseModel
from support.loopback import Reply, Server, outputs

from roboflow_async import (
    APIStatusError,
    ImageError,
    ResponseError,
    RetryPolicy,
    RoboflowError,
)
from roboflow_async.errors import plain_text
from roboflow_async.fastapi import error_answer

# The title, the clipboard and a link of a terminal; C1 in UTF-8; directions; ends of lines.
ATTACK = (
    "\x1b]0;title\x07\x1b]52;c;ZXZpbA==\x07\x1b]8;;http://evil\x1b\\link\x1b[2J\x9b31m\x90\x9c"
    "\u202egpj.exe\u2066\u200b\ufeff\u2028\u2029\x85\r\n\t\b\x7f\0 end"
)


def assert_plain(text: str | None) -> None:
    assert text is not None
    assert not [one for one in text if unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp")]


def test_every_control_character_of_unicode_is_taken_out() -> None:
    for number in range(sys.maxunicode + 1):
        character = chr(number)
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            assert plain_text(f"a{character}b") in ("ab", "a b"), hex(number)
        elif unicodedata.category(character)[0] in "LMNPS":
            assert plain_text(f"a{character}b") == f"a{character}b", hex(number)


def test_errors_hold_no_control_character() -> None:
    """No error holds a control character, whatever it is made of."""
    assert_plain(str(ImageError(f"there is no file {ATTACK}")))
    error = APIStatusError(ATTACK, status_code=400, request_id=ATTACK, body=ATTACK)
    for text in (str(error), error.message, *error.args, error.request_id, error.body):
        assert_plain(text)
    assert plain_text("Überzählig: 日本 👍") == "Überzählig: 日本 👍"


MESSAGE = json.dumps({"message": ATTACK}, ensure_ascii=False).encode()


class Count(BaseModel):
    count: int


@pytest.mark.anyio
@pytest.mark.parametrize(
    "reply",
    [
        Reply(400, MESSAGE),
        Reply(500, ATTACK.encode()),
        Reply(400, b"\x9b31m \xc2\x9b31m \x1b[31m"),
        Reply(401, MESSAGE),
        Reply(200, ATTACK.encode()),
        Reply(200, MESSAGE),
        Reply(200, outputs(count=ATTACK)),
        Reply(200, json.dumps({ATTACK: 1}).encode()),
    ],
)
async def test_a_servers_words_reach_no_terminal_raw(
    server: Server, make_client: MakeClient, caplog: pytest.LogCaptureFixture, reply: Reply
) -> None:
    """What a server says reaches no terminal raw."""
    caplog.set_level(logging.INFO, "roboflow_async")
    server.handler = lambda _: reply
    async with make_client(retry=RetryPolicy(max_attempts=1)) as client:
        with pytest.raises(RoboflowError) as raised:
            await client.workflow("ws", "wf", output_type=Count).run(picture(0))
    error: Any = raised.value
    for text in (str(error), error.message, error.body):
        assert_plain(text)
    error_answer(error)
    assert caplog.records
    for record in caplog.records:
        assert_plain(record.getMessage())


@pytest.mark.each_transport
@pytest.mark.anyio
async def test_the_id_of_a_request_is_plain(server: Server, make_client: MakeClient) -> None:
    server.handler = lambda _: Reply(400, b"no", {"X-Request-ID": "a\u0080\u009b2J\u00adb"})
    async with make_client() as client:
        with pytest.raises(APIStatusError) as raised:
            await client.workflow("ws", "wf").run(picture(0))
    assert_plain(raised.value.request_id)
    assert str(raised.value.request_id).startswith("a")


@pytest.mark.each_transport
@pytest.mark.anyio
async def test_a_key_that_something_invisible_divides_is_masked(
    server: Server, make_client: MakeClient
) -> None:
    """A key that something invisible divides is taken out, too."""
    divided = f"{KEY[:9]}\u200b{KEY[9:]}"
    for reply in (Reply(400, divided.encode()), Reply(200, divided.encode())):
        server.handler = lambda _, reply=reply: reply
        async with make_client() as client:
            with pytest.raises((APIStatusError, ResponseError)) as raised:
                await client.workflow("ws", "wf").run(picture(0))
        assert KEY not in raised.value.message + raised.value.body


@pytest.mark.anyio
async def test_names_and_versions_that_a_server_gives_are_plain(
    server: Server, make_client: MakeClient
) -> None:
    replies: dict[str, Any] = {
        "/info": {"name": ATTACK, "version": f"1.8.3{ATTACK}", "uuid": ATTACK},
        "/model/registry": {
            "models": [{"model_id": ATTACK, "task_type": ATTACK, "request_aliases": [ATTACK]}]
        },
        "/": {"workspace": ATTACK},
        "/ws/workflows": {"workflows": [{"name": ATTACK, "url": ATTACK, "status": ATTACK}]},
        "/ws/project/models": {"models": [{"id": ATTACK, "name": ATTACK}]},
        "/serverless/usage-check": {"workspace": ATTACK, "underCap": True},
    }
    server.handler = lambda arrival: Reply(
        body=json.dumps(replies[arrival.target.partition("?")[0]]).encode()
    )
    async with make_client(platform_url=server.url) as client:
        info = await client.server_info()
        model = (await client.list_models()).models[0]
        workflow = (await client.list_workflows("ws"))[0]
        trained = (await client.list_project_models("project", "ws"))[0]
        key = await client.preflight()
        texts = [info.name, info.version, info.uuid, model.model_id, model.task_type]
        texts += [*model.request_aliases, await client.workspace(), workflow.name]
        texts += [workflow.workflow_id, workflow.status or "", trained.model_id, trained.name or ""]
        texts += [key.workspace or ""]
    for text in texts:
        assert "end" in text
        assert_plain(text)
