"""`batch_webhook`: what the platform posts reaches the handler once, and nobody else's does."""

import asyncio
import hmac
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from support.serving import serving

from roboflow_async import ConfigurationError, RoboflowClient
from roboflow_async._platform import service
from roboflow_async.fastapi import BatchWebhook, RoboflowDep, batch_webhook, lifespan
from roboflow_async.testing import StandInPlatform, draw_scene
from roboflow_async.types import BatchJobNotification, BatchNotification, StagingNotification

pytestmark = pytest.mark.anyio

KEY = "rf_publishable_of_mine"
JOB = {
    "type": "roboflow-batch-job-notification-v1",
    "event_id": "e1",
    "job_id": "my-job",
    "job_state": "success",
    "delivery_attempt": 1,
}
UPLOAD = {
    "type": "roboflow-data-staging-notification-v1",
    "event_id": "e2",
    "ingest_id": None,
    "batch_id": "my-batch",
    "shard_id": "s1",
    "notification": {
        "type": "ingest-files-status-notification-v1",
        "success": False,
        "error_details": {"type": "shard-rejected", "reason": "not\x1b[2J a tar"},
        "ingested_files": ["1.jpg"],
        "failed_files": [{"type": "not-available", "file_name": "2.jpg", "reason": "gone"}],
        "content_truncated": False,
    },
    "delivery_attempt": 2,
}


class Receiver:
    """An app with the webhook, and what its handler got."""

    def __init__(self, **options: Any) -> None:
        self.got: list[BatchNotification] = []
        self.fails = 0
        self.came = asyncio.Event()
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        given: Any = {"publishable_key": KEY, **options}
        self.webhook: BatchWebhook = batch_webhook(self.handle, **given)
        app = FastAPI()
        app.include_router(self.webhook)
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://app.test"
        )

    async def handle(self, event: BatchNotification) -> None:
        self.got.append(event)
        self.came.set()
        await self.goes_on.wait()
        if self.fails:
            self.fails -= 1
            raise RuntimeError("the app's own")

    async def post(self, event: Any, key: str | None = KEY, **options: Any) -> int:
        headers = {} if key is None else {"Authorization": key}
        given = options or {"json": event}
        return (await self.client.post("/roboflow/batch", headers=headers, **given)).status_code


async def until(is_so: Callable[[], object]) -> None:
    while not is_so():  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.01)


async def test_events_are_typed_and_plain() -> None:
    app = Receiver()
    assert [await app.post(JOB), await app.post(UPLOAD)] == [204, 204]
    job, upload = app.got
    assert isinstance(job, BatchJobNotification)
    assert (job.job_id, job.succeeded, job.delivery_attempt) == ("my-job", True, 1)
    assert isinstance(upload, StagingNotification)
    told = upload.notification
    assert (upload.batch_id, upload.shard_id, told.success) == ("my-batch", "s1", False)
    assert told.error_details is not None
    assert "\x1b" not in str(told.error_details.reason)
    assert told.failed_files[0].file_name == "2.jpg"


@pytest.mark.parametrize("key", [None, "", "rf_publishable", KEY + "x", f"Bearer {KEY}", "ü"])
async def test_a_wrong_key_reads_nothing(key: str | None) -> None:
    app = Receiver()
    encoded = None if key is None else key.encode("latin-1")
    assert await app.post(JOB, encoded, content=b"{" * 10_000_000) == 401  # type: ignore[arg-type]
    assert app.got == []


async def test_the_key_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """By `hmac.compare_digest`, and on values of one length."""
    compared: list[tuple[bytes, bytes]] = []
    compare = hmac.compare_digest

    def watched(left: bytes, right: bytes) -> bool:
        compared.append((left, right))
        return compare(left, right)

    monkeypatch.setattr(hmac, "compare_digest", watched)
    app = Receiver()
    assert [await app.post(JOB, "x"), await app.post(JOB, "x" * 500)] == [401, 401]
    assert {len(value) for pair in compared for value in pair} == {32}
    assert len(compared) == 2


async def test_an_event_is_handed_over_once() -> None:
    app = Receiver()
    assert [await app.post({**JOB, "delivery_attempt": n}) for n in (1, 2, 3)] == [204] * 3
    assert len(app.got) == 1


async def test_a_second_delivery_waits_for_the_first() -> None:
    """Two at once: if the handler fails, neither says that all is well."""
    app = Receiver()
    app.fails = 1
    app.goes_on.clear()
    both = [asyncio.create_task(app.post(JOB)) for _ in range(2)]
    await app.came.wait()
    for _ in range(20):
        await asyncio.sleep(0)
    app.goes_on.set()
    assert [await one for one in both] == [500, 500]
    assert await app.post(JOB) == 204
    assert len(app.got) == 2


async def test_memory_of_events_is_bounded() -> None:
    app = Receiver(remember=3)
    for number in range(50):
        assert await app.post({**JOB, "event_id": f"e{number}"}) == 204
    assert len(app.webhook._delivered) == 3
    assert app.webhook._under_way == {}
    assert await app.post({**JOB, "event_id": "e49"}) == 204
    assert len(app.got) == 50


async def test_what_is_no_event_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    app = Receiver()
    assert await app.post(None, content=b"{") == 400
    assert await app.post(None, content=b"[" * 100_000) == 400
    assert await app.post(None, content=b" " * 2_000_000) == 413
    for body in ([], "x", {}, {"type": []}, {**JOB, "type": "a new one"}):
        assert await app.post(body) == 204
    for body in (
        {**JOB, "event_id": ""}, {**JOB, "event_id": "x" * 300}, {**JOB, "job_id": None},
        {**UPLOAD, "notification": {}}, {**UPLOAD, "notification": 7},
    ):  # fmt: skip
        assert await app.post(body) == 422
    assert app.got == []
    assert KEY not in caplog.text


async def test_a_plain_function_is_a_handler(caplog: pytest.LogCaptureFixture) -> None:
    got: list[BatchNotification] = []
    app = FastAPI()
    app.include_router(batch_webhook(got.append, publishable_key=f" {KEY}\n", path="/hook"))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://app.test"
    ) as client:
        done = await client.post("/hook", headers={"Authorization": KEY}, json=JOB)
    assert (done.status_code, len(got)) == (204, 1)
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    "wrong", [{"publishable_key": " "}, {"path": "x"}, {"remember": 0}, {"handler": "x"}]
)
async def test_wrong_arguments_are_told(wrong: dict[str, Any]) -> None:
    given: Any = {"publishable_key": KEY, "handler": None, **wrong}
    with pytest.raises(ConfigurationError, match=next(iter(wrong))) as told:
        batch_webhook(given.pop("handler"), **given)
    assert KEY not in str(told.value)


async def test_the_end_of_a_job_wakes_who_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes twice from the platform, and the app's client looks at once, not in an hour."""
    monkeypatch.setattr(service, "REQUESTS_PER_SECOND", 1000.0)
    got: list[BatchNotification] = []
    with StandInPlatform(speed=0, images_per_second=1.0) as platform:
        platform.fail("webhook_twice")
        app = FastAPI(lifespan=lifespan(api_key="any", platform_url=platform.url))
        hook = batch_webhook(got.append, publishable_key=platform.knobs.publishable_key)
        app.include_router(hook)
        found: list[RoboflowClient] = []

        @app.get("/client")
        async def tell(client: RoboflowDep) -> None:
            found.append(client)

        async with serving(app, lifespan="on") as url, httpx.AsyncClient() as http:
            await http.get(f"{url}/client")
            (client,) = found
            job = await client.batch.submit(
                client.workflow("my-workspace", "shapes"),
                [draw_scene(1).jpeg],
                name="my-job",
                notifications_url=f"{url}/roboflow/batch",
                folder=tmp_path,
            )
            waiting = asyncio.create_task(job.wait(poll_interval=3600))
            await until(lambda: client.batch._context._sleepers)
            platform.advance(600)
            platform.advance(600)
            async with asyncio.timeout(30):
                assert (await waiting).state == "succeeded"
                await until(lambda: len(platform.meter.notifications) == 2)
    assert [one.status_code for one in platform.meter.notifications] == [204, 204]
    (event,) = got
    assert isinstance(event, BatchJobNotification)
    assert (event.job_id, event.succeeded) == ("my-job", True)
