"""The API key appears nowhere: every failure of the library, searched for a marked key."""

import asyncio
import gc
import json
import logging
import pickle
import sys
import traceback
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from conftest import picture
from pydantic import BaseModel
from support.event_loops import WatchedLoop
from support.loopback import Reply, Server, hang, outputs, raw, reset, truncate

from roboflow_async import Hook, Pacer, RetryPolicy, RoboflowClient, RoboflowError
from roboflow_async._platform import service
from roboflow_async._platform.staging import registration, storage

pytestmark = [pytest.mark.anyio, pytest.mark.each_transport]

KEY = "rf_MARKED+key/0123456789=="
FORMS = (KEY, quote(KEY, safe=""), quote(KEY))


READERS = ("responses", "bodies", "codec", "deployment_responses", "paging")


def assert_clean(text: str, where: str) -> None:
    for form in FORMS:
        assert form not in text, where


def search(error: BaseException, where: str) -> None:
    """Everything that can be seen of an error, and of the errors behind it."""
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        one = pending.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        pending += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            pending += one.exceptions
        assert_clean(str(one), where)
        assert_clean(repr(one), where)
        assert_clean(repr(one.__dict__), where)
        assert_clean(repr(one.args), where)
        assert_clean("".join(traceback.format_exception(one)), where)
        # What error trackers send home: the local variables of each of our frames. (Those that
        # read answers hold what the server said; that is the caller's own.)
        for frame, _ in traceback.walk_tb(one.__traceback__):
            file = Path(frame.f_code.co_filename)
            if "roboflow_async" in file.parts and file.stem not in READERS:
                for name, value in frame.f_locals.items():
                    assert_clean(repr(value), f"{where}: {frame.f_code.co_name}.{name}")
    if isinstance(error, RoboflowError):
        assert_clean(repr(pickle.loads(pickle.dumps(error)).__dict__), where)
        assert_clean(pickle.dumps(error, 0).decode("latin-1"), where)


class Hears(Hook):
    """Searches each event, with the headers that hooks may set, as it comes."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.heard = 0


def _search_event(self: Hears, event: object) -> None:
    self.heard += 1
    seen: list[object] = [event]
    for one in seen:  # grows as it is walked through
        assert_clean(repr(one), f"{self.where}: {type(event).__name__}")
        names = getattr(type(one), "__dataclass_fields__", {})
        seen += [getattr(one, name) for name in names]
    if isinstance(error := getattr(event, "error", None), BaseException):
        search(error, f"{self.where}: {type(event).__name__}")


for _name in dir(Hook):
    if _name.startswith("on_"):
        setattr(Hears, _name, _search_event)


class Count(BaseModel):
    count: int


ECHO = json.dumps({"message": f"unknown key {KEY}", "error": KEY, "detail": {KEY: KEY}}).encode()

REPLIES: dict[str, Any] = {
    **{str(code): Reply(code, ECHO) for code in (400, 401, 402, 403, 404, 413, 422, 423, 429, 500)},
    "request id": Reply(400, b"no", {"X-Request-ID": f"a {KEY}"}),
    "request id, 200": Reply(200, b"no", {"X-Request-ID": KEY}),
    "request id, large": Reply(200, bytes(60_000), {"X-Request-ID": KEY}),
    "plain text": Reply(401, f"key {KEY} / {quote(KEY, safe='')}".encode() * 200),
    "key at the cut": Reply(500, b"x" * 1990 + KEY.encode()),
    "redirect": Reply(307, b"", {"Location": f"https://elsewhere.example/?api_key={FORMS[1]}"}),
    "html": Reply(200, f"<html>{KEY}</html>".encode(), {"Content-Type": f"text/html; {KEY}"}),
    "other shape": Reply(200, ECHO),
    "other type": Reply(200, outputs(count=KEY)),
    "no output": Reply(200, b'{"outputs": []}'),
    "encoding": Reply(200, b"x", {"Content-Encoding": KEY}),
    "bad gzip": Reply(200, KEY.encode(), {"Content-Encoding": "gzip"}),
    "too large": Reply(200, KEY.encode() * 10_000),
    "reset": reset,
    "truncated": truncate,
    "hang": hang,
    "no http": raw(f"{KEY}\r\n\r\n".encode()),
    "bad header": raw(f"HTTP/1.1 200 OK\r\n{KEY} : \x01\r\n\r\n".encode()),
}


async def failures(
    server: Server, where: Any, transport: Any, hook: Hook
) -> AsyncIterator[tuple[str, BaseException]]:
    """Every way to fail that a user can meet."""
    policy = RetryPolicy(max_attempts=2, base=0.001, max_elapsed=0.3, max_outage=0.3)
    options: dict[str, Any] = {
        "api_url": server.url,
        "api_key_transport": where,
        "retry": policy,
        "timeout": 0.15,
        "max_response_bytes": 50_000,
        "requests_per_second": 1000,  # from which the pace falls with each 429
        "transport": transport,
        "hooks": [hook],
    }
    for name, reply in REPLIES.items():
        server.handler = lambda _, reply=reply: reply
        async with RoboflowClient(KEY, **options) as client:
            workflow = client.workflow("ws", "wf", output_type=Count, parameters={"a": 1})
            results: list[Any] = await asyncio.gather(
                workflow.run(picture(0)),
                workflow.warm_up(picture(0), requests=1),
                anext(workflow.stream([picture(0)])),
                client.run_workflow("ws", "wf", images={"image": picture(0)}),
                return_exceptions=True,
            )
            if name != "429":  # after which the next call waits for seconds
                # Where the API is known to be away by now, nothing is sent.
                results += await asyncio.gather(workflow.run(picture(0)), return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException):
                    yield name, result
                    continue
                assert_clean(repr(result) if not isinstance(result, list) else "", name)
                for error in [getattr(result, "error", None), *getattr(result, "errors", ())]:
                    if error is not None:
                        yield name, error
            for thing in (client, workflow, client.stats):
                assert_clean(repr(thing) + str(thing), name)

    server.handler = lambda _: hang
    async with RoboflowClient(
        KEY, **{**options, "limiter": Pacer(1), "queue_timeout": 0.01}
    ) as client:
        calls = [client.workflow("ws", "wf").run(picture(i)) for i in range(3)]
        for error in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(error, BaseException):
                yield "queue", error
    client = RoboflowClient(KEY, **options)
    for bad in (b"", b"text", "/no/such", None, "http://exa mple/"):
        try:
            await client.workflow("ws", "wf").run(bad)  # type: ignore[arg-type]
        except RoboflowError as error:
            yield "image", error
    task = asyncio.create_task(client.workflow("ws", "wf").run(picture(0)))
    await asyncio.sleep(0.05)
    await client.aclose()
    for error in await asyncio.gather(
        task, client.workflow("ws", "wf").run(picture(0)), return_exceptions=True
    ):
        assert isinstance(error, BaseException)
        yield "closed", error
    server.handler = lambda _: Reply(200, outputs(count=1))


MOCK = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200)))


def bad_constructions() -> list[Any]:
    return [
        {"api_key": f"{KEY}\r\nX-Evil: 1"},
        {"api_key": f" {KEY}"},
        {"api_key": f"{KEY}ключ"},
        {"api_key": f"{KEY}" * 100},
        {"api_key": [KEY]},
        {"api_key": KEY, "api_url": f"http://x/?api_key={KEY}"},
        {"api_key": KEY, "api_url": f"http://user:{KEY}@x/"},
        {"api_key": KEY, "api_url": f"ftp://{KEY}"},
        {"api_key": KEY, "api_url": f"http://x:{KEY}"},
        {"api_key": KEY, "timeout": -1},
        {"api_key": KEY, "api_key_transport": "query", "http_client": MOCK},
    ]  # fmt: skip


class LibrariesDebug(WatchedLoop):
    """Debug mode as aiohttp asks for it, without asyncio's stacks of where each future was made.

    They are lines of source, are in no log of what is closed, and take half of the time.
    """

    def get_debug(self) -> bool:
        return sys._getframe(1).f_globals["__name__"].startswith("aiohttp.")


@pytest.fixture
def anyio_backend(transport: str) -> tuple[str, dict[str, Any]]:
    # aiohttp, and asyncio itself, log only in debug mode; httpx logs always.
    return "asyncio", {"debug": transport != "httpx", "loop_factory": LibrariesDebug}


@pytest.mark.parametrize("where", ["header", "body", "query"])
async def test_the_key_is_in_no_error_log_warning_or_pickle(
    server: Server, where: str, transport: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in list(logging.root.manager.loggerDict):
        logging.getLogger(name).setLevel(logging.DEBUG)
    count, hook = 0, Hears(where)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        async for name, error in failures(server, where, transport, hook):
            search(error, f"{where}: {name}")
            count += 1
        for arguments in bad_constructions():
            with pytest.raises(RoboflowError) as raised:
                RoboflowClient(**arguments)
            # The frames of the constructor hold what was passed in; nobody can help that.
            assert_clean(str(raised.value) + repr(raised.value.__dict__), str(list(arguments)))
            count += 1
        gc.collect()
    assert count > 90
    assert hook.heard > 500
    for warning in caught:
        assert_clean(str(warning.message), "warning")
    assert len(caplog.records) > 200
    for record in caplog.records:
        assert_clean(record.getMessage(), f"log of {record.name}")
        assert_clean(repr(record.args), f"log of {record.name}")
        assert record.name != "roboflow_async.hooks", record.getMessage()  # none was found above
        assert_clean(repr(vars(record)), f"log of {record.name}")
    # The search itself works: the key did go out.
    sent = server.arrivals[0]
    carried = sent.target + sent.headers.get("authorization", "") + sent.body.decode()
    assert any(form in carried for form in FORMS)


async def test_a_key_of_a_few_letters_does_not_garble_messages(server: Server) -> None:
    server.handler = lambda _: Reply(400, b'{"message": "an image is bad"}')
    async with RoboflowClient("a", api_url=server.url) as client:
        with pytest.raises(RoboflowError, match="an image is bad"):
            await client.workflow("ws", "wf").run(picture(0))


async def test_the_key_is_in_no_error_about_deployments(
    server: Server,
    transport: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the key is sent in the query, and where a client for a deployment is not made."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(service, "REQUESTS_PER_SECOND", 1000.0)
    options: dict[str, Any] = {"platform_url": server.url, "transport": transport, "timeout": 0.15}
    policy = RetryPolicy(max_attempts=2, base=0.001, max_elapsed=0.3, max_outage=0.3)
    errors: list[BaseException] = []
    for reply in REPLIES.values():
        is_first = True

        def handler(_: Any, reply: Any = reply) -> Any:
            nonlocal is_first
            refused, is_first = is_first, False
            return Reply(401, ECHO) if refused else reply

        server.handler = handler
        async with RoboflowClient(KEY, retry=policy, **options) as client:
            for call in (client.deployments.list(), client.deployments.delete("my-gpu")):
                try:
                    await call
                except Exception as error:  # noqa: BLE001 - all are searched
                    errors.append(error)
    found = {"deployment_name": "my-gpu", "status": "ready", "domain": "my-gpu.roboflow.cloud"}
    server.handler = lambda _: Reply(200, json.dumps(found).encode())
    async with RoboflowClient(KEY, retry=policy, **options) as client:
        deployment = await client.deployments.get("my-gpu")
        for bad in bad_constructions():
            bad.pop("api_url", None)
            with pytest.raises(RoboflowError) as raised:
                deployment.client(**(bad if len(bad) > 1 else {"timeout": -1}))
            errors.append(raised.value)
        assert_clean(repr(client.deployments) + repr(deployment), "repr")
    assert len(errors) > 20
    for error in errors:
        search(error, type(error).__name__)
    for record in caplog.records:
        assert_clean(record.getMessage() + repr(record.args), record.name)


async def test_the_key_is_in_no_error_about_a_batch(
    server: Server,
    transport: Any,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nor in what is kept on disk; and neither is a signed URL."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(service, "REQUESTS_PER_SECOND", 1000.0)
    monkeypatch.setattr(storage, "_LEAST_TIME", 0.2)
    monkeypatch.setattr(registration, "_SETTLED", 0.0)
    policy = RetryPolicy(max_attempts=2, base=0.001, max_elapsed=0.3, max_outage=0)
    signed = f"{server.url}/put?X-Signature=SIGNED"
    details = {"signedURLDetails": {"uploadURL": signed, "extensionHeaders": {}}}
    errors: list[BaseException] = []
    names = ("401", "403", "500", "plain text", "other shape", "redirect", "reset", "hang")
    failing = [(part, REPLIES[name]) for part in ("jobs", "image-files") for name in names]
    # The storage never gets the key.
    failing += [("put", reply) for reply in (Reply(403, b"<Error/>"), reset, truncate, hang)]
    for number, (part, reply) in enumerate(failing):

        def handler(arrival: Any, part: str = part, reply: Any = reply) -> Any:
            path = arrival.target.partition("?")[0]
            if part in path:
                return reply
            if path == "/":
                return Reply(200, b'{"workspace": "ws"}')
            if path.endswith(("/count", "/shards")):
                return Reply(200, b'{"count": 33, "shards": []}')
            if "image-files" in path:
                return Reply(200, json.dumps(details).encode())
            return Reply(404, ECHO)

        server.handler = handler
        async with RoboflowClient(
            KEY, platform_url=server.url, transport=transport, retry=policy, timeout=0.15
        ) as client:
            workflow, images = client.workflow("ws", "wf"), [picture(1)] * 33
            folder = tmp_path / str(number)
            try:
                await client.batch.submit(workflow, images, name="night", folder=folder)
            except Exception as error:  # noqa: BLE001 - all are searched
                errors.append(error)
            assert_clean(repr(client.batch) + repr(client.batch.job("night")), "repr")
    assert len(errors) == len(failing)
    for error in errors:
        search(error, type(error).__name__)
        assert "SIGNED" not in str(error)
    for record in caplog.records:
        assert_clean(record.getMessage() + repr(record.args), record.name)
    for path in tmp_path.rglob("*.jsonl"):  # noqa: ASYNC240
        assert_clean(path.read_text(), str(path))
