"""`Workflow.batch` and `client.batch`: one result for each input, whatever happens on the way."""

import asyncio
import json
import os
import subprocess
import sys
import weakref
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pydantic
import pytest
from conftest import KEY, MakeClient, picture
from support.loopback import Arrival, Reply, Server, reset

from roboflow_async import (
    AuthenticationError,
    BadRequestError,
    BatchError,
    BatchJob,
    ClientClosedError,
    ConfigurationError,
    ImageError,
    NotFoundError,
    ResponseError,
    Result,
    RetryPolicy,
    RoboflowClient,
    UsageLimitError,
    Workflow,
)
from roboflow_async._platform import service
from roboflow_async._platform.batch import submission
from roboflow_async._platform.staging import registration, upload
from roboflow_async.testing import StandInPlatform, StandInServer, draw_scene

pytestmark = pytest.mark.anyio

FAST = RetryPolicy(base=0.001, max_wait=0.01)
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(service, "REQUESTS_PER_SECOND", 1000.0)
    monkeypatch.setattr(registration, "_SETTLED", 0.0)
    monkeypatch.setattr(registration, "_QUIET", 0.05)
    monkeypatch.setattr(registration, "_POLL", (0.01, 0.05))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def platform() -> Iterator[StandInPlatform]:
    with StandInPlatform(speed=10_000, url_lifetime=1e9, data_lifetime=1e9) as running:
        yield running


@pytest.fixture
async def client(platform: StandInPlatform, transport: Any) -> AsyncIterator[RoboflowClient]:
    async with RoboflowClient(
        KEY, platform_url=platform.url, retry=FAST, transport=transport
    ) as made:
        yield made


@pytest.fixture
def workflow(client: RoboflowClient) -> Workflow[dict[str, Any]]:
    return client.workflow("my-workspace", "shapes")


def scenes(count: int) -> list[bytes]:
    return [draw_scene(seed, width=96, height=96).jpeg for seed in range(count)]


async def taken(results: Any) -> list[Result[Any, Any]]:
    return [result async for result in results]


QUICK: Any = {"poll_interval": 0.02}


# What comes back


@pytest.mark.each_transport
async def test_a_batch_gives_what_a_stream_gives(
    workflow: Workflow[Any], roboflow_stand_in: StandInServer
) -> None:
    images = scenes(4)
    async with RoboflowClient(KEY, api_url=roboflow_stand_in.url) as client:
        now = client.workflow("my-workspace", "shapes")
        streamed = await taken(now.stream(images, ordered=True))
    batch = await taken(workflow.batch(images, **QUICK))
    assert [one.index for one in batch] == [0, 1, 2, 3]
    for one, other in zip(batch, streamed, strict=True):
        assert type(one) is type(other)
        assert one.input is other.input
        for result in (one, other):
            for found in result.output["predictions"]["predictions"]:
                found.pop("detection_id")
        assert one.output["predictions"] == other.output["predictions"]
        assert one.output.keys() <= other.output.keys()
        assert one.output["visualization"] is None


async def test_every_kind_of_input_has_its_result(
    workflow: Workflow[Any], tmp_path: Path, platform: StandInPlatform
) -> None:
    jpeg = scenes(1)[0]
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.jpg").write_bytes(jpeg + folder.encode())
    url = "https://images.example/a.jpg?token=secret"
    platform.web[url] = jpeg
    pixels = np.full((80, 80, 3), 255, np.uint8)
    inputs: list[Any] = [
        *(tmp_path / "a" / "same.jpg", str(tmp_path / "b" / "same.jpg")),
        *(jpeg, bytearray(jpeg), pixels, url),
        *(b"text", tmp_path / "none.jpg", "http://images.example/a.jpg", {"image": jpeg}, 3),
    ]
    results = await taken(workflow.batch(iter(inputs), **QUICK))
    assert [one.index for one in results] == list(range(11))
    assert [one.ok for one in results] == [True] * 6 + [False] * 5
    assert all(isinstance(one.error, ImageError) for one in results[6:])
    for one, given in zip(results, inputs, strict=True):
        assert one.input is given or np.array_equal(one.input, given)
    assert platform.meter.keys_sent_to_storage == 0


async def test_items_have_their_images_from_a_function(workflow: Workflow[Any]) -> None:
    rows = [{"id": number, "jpeg": jpeg} for number, jpeg in enumerate(scenes(3))]
    calls = 0

    async def image(row: Any) -> bytes:
        nonlocal calls
        calls += 1
        return row["jpeg"] if row["id"] != 1 else 1 / 0

    results = await taken(workflow.batch(rows, image=image, **QUICK))
    assert [one.input for one in results] == rows
    assert [one.ok for one in results] == [True, False, True]
    assert "ZeroDivisionError" in str(results[1].error)
    assert calls == 3


async def test_outputs_are_read_as_the_workflow_says(client: RoboflowClient) -> None:
    """A type of output, fields that are left out, and images that are made smaller."""

    class Count(pydantic.BaseModel):
        count: int

    image = draw_scene(1, width=400, height=300)
    typed = client.workflow("my-workspace", "shapes", output_type=Count)
    (result,) = await taken(typed.batch([image.jpeg], **QUICK))
    assert isinstance(result.output, Count)
    small = client.workflow("my-workspace", "shapes", max_side=200, excluded_fields=["count"])
    (result,) = await taken(small.batch([image.jpeg], **QUICK))
    assert "count" not in result.output
    found = result.output["predictions"]["predictions"]
    assert result.output["predictions"]["image"] == {"width": 400, "height": 300}
    assert max(box["x"] for box in found) > 200

    class Wrong(pydantic.BaseModel):
        nothing: int

    wrong = client.workflow("my-workspace", "shapes", output_type=Wrong)
    (result,) = await taken(wrong.batch([image.jpeg], **QUICK))
    assert isinstance(result.error, ResponseError)


async def test_what_the_job_cannot_do_is_an_error(
    platform: StandInPlatform, workflow: Workflow[Any]
) -> None:
    """An input that the job cannot do has an error with the reason; the others have results."""
    platform.fail("image_failed", times=1)
    results = await taken(workflow.batch(scenes(40), name="night", **QUICK))
    failed = [one for one in results if not one.ok]
    assert len(results) == 40
    assert len(failed) == 1
    assert isinstance(failed[0].error, BatchError)
    assert failed[0].error.job_id == "night"
    assert "told to let it fail" in str(failed[0].error)


async def test_a_failed_job_says_how_to_go_on(
    platform: StandInPlatform, client: RoboflowClient, workflow: Workflow[Any]
) -> None:
    images = scenes(3)
    platform.fail("stage_error", times=1)
    with pytest.raises(BatchError, match=r"Stage processing was told to fail.*restart\(\)") as told:
        await taken(workflow.batch(images, name="night", **QUICK))
    assert (told.value.job_id, told.value.state) == ("night", "failed")
    await client.batch.job("night").restart(machine="gpu", max_failure_rate=1.0)
    stored = dict(platform.meter.stored)
    assert all(one.ok for one in await taken(workflow.batch(images, name="night", **QUICK)))
    assert platform.meter.stored == stored
    status = await client.batch.job("night").status()
    assert status.overrides[0]["computeConfiguration"]["machineType"] == "gpu"


async def test_results_survive_a_failed_export(
    platform: StandInPlatform, client: RoboflowClient, workflow: Workflow[Any]
) -> None:
    """If the last stage fails, the outputs of the one before are there."""
    platform.knobs.export = 1e6
    job = await client.batch.submit(workflow, scenes(3), name="night", **QUICK)
    async with asyncio.timeout(20):
        while (await job.status()).stage != "export":  # noqa: ASYNC110 - another thread's
            await asyncio.sleep(0.01)
    platform.fail("stage_error")
    platform.advance(1e6)
    with pytest.raises(BatchError, match="export"):
        await job.wait(poll_interval=0.02)
    assert [one.ok for one in await taken(job.results())] == [True] * 3


async def test_no_inputs_and_bad_inputs_make_no_job(
    platform: StandInPlatform, client: RoboflowClient, workflow: Workflow[Any]
) -> None:
    """Without an input that can be sent there is no job."""
    assert await taken(workflow.batch([], **QUICK)) == []
    results = await taken(workflow.batch([b"no", b"image"], name="night", **QUICK))
    assert [one.input for one in results] == [b"no", b"image"]
    assert all(isinstance(one.error, ImageError) for one in results)
    with pytest.raises(ConfigurationError, match="images has no images"):
        await client.batch.submit(workflow, [])
    with pytest.raises(ImageError, match="not an image"):
        await client.batch.submit(workflow, [b"no"])
    assert await taken(client.batch.jobs()) == []


async def test_large_inputs_of_an_iterator_are_not_held(workflow: Workflow[Any]) -> None:
    """They are kept on disk until their results are given."""
    given: list[weakref.ref[Any]] = []
    most = 0

    def images() -> Iterator[Any]:
        nonlocal most
        for number in range(200):
            one = np.full((60, 60, 3), number, np.uint8)
            given.append(weakref.ref(one))
            most = max(most, sum(ref() is not None for ref in given))
            yield one

    async for result in workflow.batch(images(), **QUICK):
        assert (result.input == result.index).all()
    # Those of the first look are held (up to 32 go one by one, and more in archives), and each
    # thread holds its last one.
    assert most < 100


# Going on


@pytest.mark.skipif(os.name != "posix", reason="kills a process")
async def test_a_batch_that_is_killed_loses_nothing() -> None:
    """The program of benchmarks/ with fewer images: killed twice, and everything goes wrong."""
    command = [sys.executable, "benchmarks/batch.py", "--images", "300", "--archive", "20"]
    done = await asyncio.to_thread(
        subprocess.run,
        [*command, "--pace", "1000"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "NO" not in done.stdout
    assert "yes 300 results, each input once" in done.stdout


async def test_the_same_name_goes_on(
    platform: StandInPlatform, client: RoboflowClient, workflow: Workflow[Any]
) -> None:
    """Nothing is uploaded or submitted again; other images or another Workflow are refused."""
    images = scenes(5)
    first = await taken(workflow.batch(images, name="night", **QUICK))
    counts = dict(platform.meter.stored), len(await taken(client.batch.jobs()))
    again = await taken(workflow.batch(images, name="night", **QUICK))
    assert [one.output for one in again] == [one.output for one in first]
    assert (dict(platform.meter.stored), len(await taken(client.batch.jobs()))) == counts
    for other, told in (
        (images[:3], "was uploaded with 5 inputs, and now there are 3"),
        ([*images, picture(1)], "there are more"),
        ([picture(1), *images[1:]], "input 0 is not the one"),
    ):
        with pytest.raises(ConfigurationError, match=told):
            await client.batch.submit(workflow, other, name="night")
    with pytest.raises(BatchError, match="with another workflowId"):
        await client.batch.submit(
            client.workflow("my-workspace", "other"), images, name="night", **QUICK
        )
    assert (dict(platform.meter.stored), len(await taken(client.batch.jobs()))) == counts


async def test_a_name_of_somebody_else_is_refused(
    platform: StandInPlatform, client: RoboflowClient, workflow: Workflow[Any], tmp_path: Path
) -> None:
    """A job or a batch that another machine has made is not added to."""
    await client.batch.submit(workflow, scenes(2), name="night", **QUICK)
    stored = dict(platform.meter.stored)
    with pytest.raises(BatchError, match="a job 'night' already"):
        await client.batch.submit(workflow, scenes(3), name="night", folder=tmp_path / "other")
    platform.fail("payment_required", path="/jobs/half")
    with pytest.raises(UsageLimitError):
        await client.batch.submit(workflow, scenes(2), name="half", folder=tmp_path / "one")
    platform.knobs.faults.clear()
    platform.fail("plan_required")
    with pytest.raises(UsageLimitError, match="not part of this plan"):
        await client.batch.submit(workflow, scenes(2), name="half", folder=tmp_path / "one")
    with pytest.raises(BatchError, match="a batch 'half' already"):
        await client.batch.submit(workflow, scenes(2), name="half", folder=tmp_path / "two")
    assert sorted(platform.meter.stored.values()) == [1] * (len(stored) + 2)


async def test_one_process_uploads_a_batch_at_a_time(
    client: RoboflowClient, workflow: Workflow[Any]
) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def images() -> AsyncIterator[bytes]:
        started.set()
        await go_on.wait()
        yield scenes(1)[0]

    first = asyncio.create_task(client.batch.submit(workflow, images(), name="night", **QUICK))
    await started.wait()
    with pytest.raises(BatchError, match="another process works on the batch 'night'"):
        await client.batch.submit(workflow, scenes(1), name="night")
    go_on.set()
    assert (await first).id == "night"


async def test_a_batch_that_was_deleted_is_uploaded_anew(
    platform: StandInPlatform,
    client: RoboflowClient,
    workflow: Workflow[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The platform deletes inputs after some days; what the journal says counts no more then."""
    platform.fail("plan_required", times=1)
    with pytest.raises(UsageLimitError):
        await client.batch.submit(workflow, scenes(3), name="night", **QUICK)
    platform.advance(2e9)
    monkeypatch.setattr(upload, "_GONE_AFTER", -1.0)
    results = await taken(workflow.batch(scenes(3), name="night", **QUICK))
    assert [one.ok for one in results] == [True] * 3
    assert set(platform.meter.stored.values()) == {2}


async def test_what_could_not_be_registered_is_sent_again(
    platform: StandInPlatform, workflow: Workflow[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "_SHARD_IMAGES", 20)
    platform.fail("shard_failed", times=2)
    results = await taken(workflow.batch(iter(scenes(3) * 20), name="night", **QUICK))
    assert [one.ok for one in results] == [True] * 60
    assert platform.meter.puts[200] == 5


async def test_what_is_never_registered_is_an_error(
    platform: StandInPlatform, workflow: Workflow[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The inputs of one archive fail, and others go on; if it is all of them, there is no job."""
    monkeypatch.setattr(upload, "_SHARD_IMAGES", 20)
    monkeypatch.setattr(submission, "_ROUNDS", 1)
    platform.fail("shard_failed", times=1)
    results = await taken(workflow.batch(scenes(3) * 20, name="night", **QUICK))
    failed = [one for one in results if not one.ok]
    assert (len(results), len(failed)) == (60, 20)
    assert "could not register the archive" in str(failed[0].error)
    platform.fail("shard_failed")
    with pytest.raises(ResponseError, match="registered none of the 40 files"):
        await taken(workflow.batch(scenes(2) * 20, name="day", **QUICK))


async def test_references_that_cannot_be_fetched_are_errors(
    platform: StandInPlatform, workflow: Workflow[Any]
) -> None:
    urls = [f"https://images.example/{number}.jpg" for number in range(40)]
    platform.web.update(dict.fromkeys(urls[:37], scenes(1)[0]))
    results = await taken(workflow.batch(iter([*urls, *scenes(2)]), name="night", **QUICK))
    assert [one.ok for one in results] == [True] * 37 + [False] * 3 + [True] * 2
    assert "could not fetch it" in str(results[38].error)
    assert [one.input for one in results[:40]] == urls


async def test_files_and_references_go_on_together(
    platform: StandInPlatform, workflow: Workflow[Any]
) -> None:
    """If only the files of a group had arrived, only its references are sent again."""
    urls = [f"https://images.example/{number}.jpg" for number in range(3)]
    platform.web.update(dict.fromkeys(urls, scenes(1)[0]))
    inputs = [*scenes(3), *urls, *scenes(3)]
    platform.fail("payment_required", path="image-references", times=1)
    with pytest.raises(UsageLimitError):
        await taken(workflow.batch(inputs, name="night", **QUICK))
    results = await taken(workflow.batch(inputs, name="night", **QUICK))
    assert [one.ok for one in results] == [True] * 9
    assert sorted(platform.meter.stored.values()) == [1] * 9


async def test_videos_have_a_list_of_outputs(
    platform: StandInPlatform, client: RoboflowClient, workflow: Workflow[Any], tmp_path: Path
) -> None:
    """A video has an output for each frame; files go one by one, URLs by reference."""
    paths = [tmp_path / name / "clip.mp4" for name in "ab"]
    for path in paths:
        path.parent.mkdir()
        path.write_bytes(b"video")
    given = [*paths, tmp_path / "none.mp4", tmp_path / "image.jpg", "https://a.example/b.mp4"]
    results = await taken(workflow.batch(given, name="films", max_video_fps=2, **QUICK))
    assert [one.ok for one in results] == [True, True, False, False, False]
    assert [frame["frame"] for frame in results[0].output] == list(range(10))
    status = await client.batch.job("films").status()
    assert status.definition["type"] == "simple-video-processing-v1"
    assert status.definition["processingSpecification"]["maxVideoFPS"] == 2
    url = "https://a.example/stream"
    platform.web[url] = b"video"
    (result,) = await taken(workflow.batch([url], media="videos", **QUICK))
    assert len(result.output) == 10


# Jobs


async def test_a_job_can_be_followed(platform: StandInPlatform, client: RoboflowClient) -> None:
    workflow = client.workflow("my-workspace", "shapes", parameters={"confidence": 0.5})
    told: list[Any] = []
    job = await client.batch.submit(
        workflow,
        scenes(40),
        name="night",
        machine="gpu",
        workers_per_machine=2,
        max_parallel_tasks=3,
        max_failure_rate=0.5,
        processing_timeout=3600,
        keep_pictures=True,
        notifications_url="https://app.example/hook",
        on_progress=told.append,
        **QUICK,
    )
    assert isinstance(job, BatchJob)
    assert (told[-1].read, told[-1].arrived, told[-1].registered) == (40, 40, 40)
    assert job.latest is not None
    assert job.latest.definition == {
        "type": "simple-image-processing-v1",
        "jobInput": {"type": "staging-batch-input-v1", "batchId": "night"},
        "computeConfiguration": {
            "type": "compute-configuration-v2",
            "machineType": "gpu",
            "workersPerMachine": 2,
        },
        "maxParallelTasks": 3,
        "maxImageFailureRate": 0.5,
        "processingTimeoutSeconds": 3600,
        "notificationsURL": "https://app.example/hook",
        "processingSpecification": {
            "type": "workflows-processing-specification-v1",
            "workspace": "my-workspace",
            "workflowId": "shapes",
            "workflowParameters": {"confidence": 0.5},
            "imageInputName": "image",
            "persistImagesOutputs": True,
            "aggregationFormat": "jsonl",
        },
    }
    events = [event async for event in job.events(poll_interval=0.01)]
    assert [one.kind for one in events].count("end") == 1
    assert events[-1].kind == "end"
    assert events[-1].status.state == "succeeded"
    assert {one.stage for one in events if one.kind == "progress"} == {"processing", "export"}
    assert len({one.message for one in events if one.kind == "log"}) == len(
        [one for one in events if one.kind == "log"]
    )
    assert (await job.wait()).state == "succeeded"
    assert (await anext(job.logs())).text == "The job is queued."
    assert await taken(job.logs(severity="error")) == []
    assert [stage.name for stage in await job.stages()] == ["processing", "export"]
    listed = await taken(client.batch.jobs(search="nig"))
    assert [(one.id, one.latest.state) for one in listed] == [("night", "succeeded")]
    assert await taken(client.batch.jobs(search="other")) == []
    assert repr(listed[0]) == "<BatchJob 'night', succeeded>"


async def test_a_job_is_found_by_another_process(
    client: RoboflowClient, workflow: Workflow[Any], tmp_path: Path
) -> None:
    """The journal tells which path has which result; without it, the names in the batch do."""
    (tmp_path / "a.jpg").write_bytes(scenes(1)[0])
    images: list[Any] = [tmp_path / "a.jpg", b"no image", scenes(1)[0]]
    await client.batch.submit(workflow, images, name="night", **QUICK)
    results = await taken(client.batch.job("night").results())
    assert results[0].input == str(tmp_path / "a.jpg")
    assert isinstance(results[1].error, ImageError)
    assert "not an image" in str(results[1].error)
    assert results[2].ok
    elsewhere = await taken(client.batch.job("night", folder=tmp_path / "empty").results())
    assert [one.ok for one in elsewhere] == [True, True]
    assert all(isinstance(one.input, str) for one in elsewhere)


async def test_waiting_ends_in_time_and_with_a_failure(
    platform: StandInPlatform, client: RoboflowClient, workflow: Workflow[Any]
) -> None:
    job = await client.batch.submit(workflow, scenes(1), name="night", **QUICK)
    platform.speed = 0
    with pytest.raises(BatchError, match=r"has not ended within 0\.05 s \(it is") as told:
        await job.wait(timeout=0.05, poll_interval=0.01)
    assert told.value.state in ("queued", "running")
    await job.abort()
    with pytest.raises(BatchError, match="failed: Aborted"):
        await job.wait()
    with pytest.raises(BadRequestError):
        await job.abort()
    with pytest.raises(NotFoundError):
        await client.batch.job("nobodys").status()


async def test_a_webhook_wakes_those_who_wait(
    platform: StandInPlatform, client: RoboflowClient, workflow: Workflow[Any]
) -> None:
    job = await client.batch.submit(workflow, scenes(1), name="night", **QUICK)
    platform.speed = 0
    waiting = asyncio.create_task(job.wait(poll_interval=3600))
    await asyncio.sleep(0.1)
    platform.advance(1e6)
    assert (await job.status()).is_terminal  # what is due is done before a request is handled
    client.batch.wake("other")
    client.batch.wake("night")
    assert (await asyncio.wait_for(waiting, 10)).state == "succeeded"


async def test_a_short_outage_does_not_end_the_wait(
    platform: StandInPlatform, client: RoboflowClient, workflow: Workflow[Any]
) -> None:
    job = await client.batch.submit(workflow, scenes(1), name="night", **QUICK)
    platform.fail("unavailable", times=20, path="/jobs/night$")
    assert (await job.wait(poll_interval=0.01)).state == "succeeded"


@pytest.mark.each_transport
async def test_a_job_whose_response_was_lost_is_made_once(
    server: Server, make_client: MakeClient, tmp_path: Path
) -> None:
    made = False

    def handler(arrival: Arrival) -> Any:
        nonlocal made
        path = arrival.target.partition("?")[0]
        if path == "/":
            return Reply(200, b'{"workspace": "ws"}')
        if path.endswith("/jobs/night"):
            if arrival.method == "POST":
                made = True
                return reset
            if not made:
                return Reply(404, b"{}")
            return Reply(200, b'{"job": {"jobId": "night", "isTerminal": false}}')
        if path.endswith("/count"):
            return Reply(200, b'{"count": 1}')
        if path.endswith("/shards"):
            return Reply(200, b'{"shards": []}')
        return Reply(404 if path.endswith("/batches/night") else 200, b"{}")

    server.handler = handler
    async with make_client(platform_url=server.url) as client:
        workflow = client.workflow("ws", "wf")
        job = await client.batch.submit(workflow, scenes(1), name="night", folder=tmp_path)
    assert job.id == "night"
    posts = [one for one in server.arrivals if "/jobs/night" in one.target and one.method == "POST"]
    assert len(posts) == 1


async def test_a_restart_whose_response_was_lost_is_asked_once(
    server: Server, make_client: MakeClient
) -> None:
    is_terminal = True

    def handler(arrival: Arrival) -> Any:
        nonlocal is_terminal
        if arrival.method == "POST":
            is_terminal = False
            return reset
        if arrival.target == "/":
            return Reply(200, b'{"workspace": "ws"}')
        job = {"jobId": "night", "isTerminal": is_terminal, "error": is_terminal}
        return Reply(200, json.dumps({"job": job}).encode())

    server.handler = handler
    async with make_client(platform_url=server.url) as client:
        await client.batch.job("night").restart(machine="cpu")
    (post,) = [one for one in server.arrivals if one.method == "POST"]
    assert json.loads(post.body) == {
        "type": "parameters-override-v1",
        "computeConfiguration": {"type": "compute-configuration-v2", "machineType": "cpu"},
    }


async def test_old_journals_are_deleted(
    client: RoboflowClient, workflow: Workflow[Any], tmp_path: Path
) -> None:
    """Those of a month ago, in the folder of the user: the platform has nothing of them."""

    def files() -> list[Path]:
        return list(tmp_path.rglob("*.jsonl"))

    await client.batch.submit(workflow, scenes(1), name="one", **QUICK)
    (journal,) = await asyncio.to_thread(files)
    assert journal.stat().st_mode & 0o077 == 0
    os.utime(journal, (1e9, 1e9))
    await client.batch.submit(workflow, scenes(1), name="two", **QUICK)
    (left,) = await asyncio.to_thread(files)
    assert left.name == "two.upload.jsonl"


# Leaving early


@pytest.mark.each_transport
async def test_leaving_early_leaves_nothing_behind(
    platform: StandInPlatform, client: RoboflowClient, workflow: Workflow[Any], tmp_path: Path
) -> None:
    """After `break` no task and no temporary file is left, and the job is still there."""
    before = asyncio.all_tasks()
    async with workflow.batch(scenes(40), name="night", folder=tmp_path, **QUICK) as results:
        async for result in results:
            assert result.ok
            break
    assert asyncio.all_tasks() <= before
    left = await asyncio.to_thread(lambda: {path.suffix for path in tmp_path.iterdir()})
    assert left == {".jsonl", ".lock"}
    assert (await client.batch.job("night").status()).state == "succeeded"


@pytest.mark.each_transport
@pytest.mark.parametrize("moment", ["upload", "job"])
async def test_cancelling_leaves_nothing_behind(
    platform: StandInPlatform, workflow: Workflow[Any], tmp_path: Path, moment: str
) -> None:
    """Cancelled while it uploads, or while it waits for the job, it can go on later."""
    images = scenes(40)
    platform.fail("timeout", path="image-files" if moment == "upload" else "/stages")
    before = asyncio.all_tasks()
    results = workflow.batch(images, name="night", folder=tmp_path, **QUICK)
    running = asyncio.create_task(taken(results))
    part = "image-files" if moment == "upload" else "stages"
    async with asyncio.timeout(20):
        while not any(part in path for path in platform.meter.endpoints):  # noqa: ASYNC110 - another thread's
            await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await results.aclose()
    assert asyncio.all_tasks() <= before
    platform.knobs.faults.clear()
    again = await taken(workflow.batch(images, name="night", folder=tmp_path, **QUICK))
    assert [one.ok for one in again] == [True] * 40
    assert set(platform.meter.stored.values()) == {1}


@pytest.mark.each_transport
async def test_a_closed_client_submits_nothing(
    platform: StandInPlatform, client: RoboflowClient, workflow: Workflow[Any]
) -> None:
    await client.aclose()
    with pytest.raises(ClientClosedError):
        await client.batch.submit(workflow, scenes(1))
    with pytest.raises(ClientClosedError):
        await taken(workflow.batch(scenes(1)))
    assert not platform.meter.endpoints


# What is refused


WRONG: dict[str, Any] = {
    "name=": [{"name": one} for one in ("", "A", "a_b", "a" * 21, "a/b", 3)],
    "media=": [{"media": "sounds"}],
    "machine=": [{"machine": "tpu"}],
    "workers_per_machine=": [{"workers_per_machine": 0}, {"workers_per_machine": 1.5}],
    "max_parallel_tasks=": [{"max_parallel_tasks": 0}],
    "max_failure_rate=": [{"max_failure_rate": one} for one in (-0.1, 1.1, True, "1")],
    "processing_timeout=": [{"processing_timeout": 0}],
    "keep_pictures=": [{"keep_pictures": "no"}],
    "max_video_fps=": [{"max_video_fps": 0}],
    "notifications_url": [{"notifications_url": one} for one in ("x", "ftp://a", "https://", 3)],
    "folder=": [{"folder": ""}, {"folder": 3}],
    "poll_interval=": [{"poll_interval": 0}, {"poll_interval": "5"}],
    "did you mean 'machine'": [{"machin": "gpu"}],
    "no option 'zoom'": [{"zoom": 1}],
}


@pytest.mark.parametrize(
    ("told", "options"),
    [(told, options) for told, several in WRONG.items() for options in several],
    ids=str,
)
async def test_wrong_options_are_refused_before_anything_is_sent(
    server: Server, told: str, options: Any
) -> None:
    """By `submit` when it is awaited, by `batch` when it is called."""
    async with RoboflowClient(KEY, platform_url=server.url) as client:
        workflow = client.workflow("ws", "wf")
        with pytest.raises(ConfigurationError, match=told):
            await client.batch.submit(workflow, [b""], **options)
        with pytest.raises(ConfigurationError, match=told):
            workflow.batch([b""], **options)
    assert not server.arrivals


async def test_what_a_batch_cannot_do_is_refused(server: Server) -> None:
    async with RoboflowClient(KEY, platform_url=server.url) as client:
        for wrong, told in (
            (client.workflow(specification={"version": "1.0"}), "saved Workflows"),
            (client.workflow("ws", "wf", workflow_version_id="1"), "latest version"),
            (client.workflow("ws", "wf", disable_sinks=True), "disable_sinks"),
        ):
            with pytest.raises(ConfigurationError, match=told):
                wrong.batch([b""])
        workflow = client.workflow("ws", "wf")
        for other in (client.model("shapes/1"), "ws/wf", None):
            with pytest.raises(ConfigurationError, match="is not a Workflow"):
                await client.batch.submit(other, [b""])  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="on_progress="):
            await client.batch.submit(workflow, [b""], on_progress=3)  # type: ignore[arg-type]
        for images in (b"one image", "folder", {"image": b""}, 3):
            with pytest.raises(ConfigurationError, match="images is of type"):
                workflow.batch(images)  # type: ignore[call-overload]
        with pytest.raises(ConfigurationError, match="job_id="):
            client.batch.job("../x")
        with pytest.raises(ConfigurationError, match="search="):
            await taken(client.batch.jobs(search="x" * 161))
        with pytest.raises(ConfigurationError, match="severity="):
            await taken(client.batch.job("x").logs(severity="fatal"))  # type: ignore[arg-type]
    assert not server.arrivals


async def test_the_workspace_is_asked_at_the_platforms_pace(
    platform: StandInPlatform, transport: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at that of inferences; and with the key in the query if the header is not read."""
    monkeypatch.setattr(service, "REQUESTS_PER_SECOND", 20.0)
    platform.knobs.platform_key_places = ("query",)
    async with RoboflowClient(
        KEY, platform_url=platform.url, transport=transport, requests_per_second=None
    ) as client:
        began = asyncio.get_running_loop().time()
        for _ in range(10):
            assert await client.workspace() == "my-workspace"
        assert asyncio.get_running_loop().time() - began > 0.4
    assert platform.meter.key_places == {"header": 1, "query": 10}


async def test_a_key_without_a_scope_is_told_which_one(
    platform: StandInPlatform, client: RoboflowClient, workflow: Workflow[Any]
) -> None:
    platform.knobs.scopes = ("batch-processing:read",)
    with pytest.raises(AuthenticationError, match="batch-processing:trigger"):
        await client.batch.submit(workflow, scenes(1), name="night", **QUICK)
    platform.knobs.scopes = ()
    with pytest.raises(AuthenticationError, match="batch-processing:read"):
        await client.batch.job("night").status()


async def test_the_key_is_in_the_query_only_where_it_must_be(
    platform: StandInPlatform, client: RoboflowClient, workflow: Workflow[Any]
) -> None:
    """One 401 at Data Staging, and from then on the query there; the header everywhere else."""
    await taken(workflow.batch(scenes(2), **QUICK))
    staged = sum(number for path, number in platform.meter.endpoints.items() if "staging" in path)
    assert platform.meter.key_places["query"] == staged - 1
    assert platform.meter.key_places["none"] == 0


async def test_a_server_of_ones_own_gets_no_batch(server: Server) -> None:
    async with RoboflowClient(KEY, api_url="http://127.0.0.1:1") as client:
        with pytest.raises(ConfigurationError, match="give platform_url="):
            await client.batch.submit(client.workflow("ws", "wf"), scenes(1))
    async with RoboflowClient(api_url="http://127.0.0.1:1", platform_url=server.url) as client:
        with pytest.raises(ConfigurationError, match="ROBOFLOW_API_KEY"):
            await client.batch.submit(client.workflow("ws", "wf"), scenes(1))
    assert not server.arrivals


async def test_an_http_client_never_gets_the_key_in_a_url(
    platform: StandInPlatform,
) -> None:
    """httpx would log it; the error says which clients can do it."""
    async with (
        httpx.AsyncClient() as http,
        RoboflowClient(KEY, platform_url=platform.url, http_client=http) as client,
    ):
        with pytest.raises(ConfigurationError, match="make a client without one"):
            await client.batch.submit(client.workflow("my-workspace", "shapes"), scenes(1))
    assert platform.meter.key_places["query"] == 0


async def test_a_file_that_the_platform_refuses_is_an_error(
    platform: StandInPlatform, workflow: Workflow[Any]
) -> None:
    """One file alone fails; a later call does not send it again."""
    platform.knobs.max_image_bytes = 50_000
    images = [*scenes(2), scenes(1)[0] + bytes(60_000)]
    for _ in range(2):
        results = await taken(workflow.batch(images, name="night", **QUICK))
        assert [one.ok for one in results] == [True, True, False]
        assert "50000 bytes" in str(results[2].error)
    assert platform.meter.statuses[413] == 1
