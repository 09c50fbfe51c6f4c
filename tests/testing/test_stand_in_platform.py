"""The stand-in platform: it follows what is known of Roboflow's, and its time is a test's own."""

import asyncio
import csv
import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import KEY
from support.loopback import Arrival, Reply, Server

from roboflow_async import AuthenticationError, RetryPolicy, RoboflowClient
from roboflow_async.testing import PLATFORM_FAULTS, PlatformFault, StandInPlatform, draw_scene

pytestmark = pytest.mark.anyio

ONCE = RetryPolicy(max_attempts=1)
STAGING = "/data-staging/v1/external/my-workspace/batches"
BATCH = "/batch-processing/v1/external/my-workspace"
JOBS = f"{BATCH}/jobs"


class Caller:
    """Sends as Roboflow's own clients do, with the key in the query."""

    def __init__(self, platform: StandInPlatform, **query: str) -> None:
        self.platform = platform
        self._http = httpx.Client(base_url=platform.url, params={"api_key": KEY, **query})
        self._storage = httpx.Client()

    def get(self, path: str, **query: Any) -> Any:
        response = self._http.get(path, params={name: str(one) for name, one in query.items()})
        assert response.status_code == 200, response.text
        return response.json()

    def post(self, path: str, body: Any = None, status: int = 200, **query: str) -> Any:
        response = self._http.post(path, json=body, params=query)
        assert response.status_code == status, response.text
        with suppress(ValueError):
            return response.json()

    def refused(self, method: str, path: str, body: Any = None, **query: str) -> tuple[int, str]:
        response = self._http.request(method, path, json=body, params=query)
        assert response.status_code >= 400
        return response.status_code, response.text

    def upload_image(self, batch: str, name: str, content: bytes) -> httpx.Response:
        path = f"{STAGING}/{batch}/upload/image"
        return self._http.post(path, params={"fileName": name}, files={name: content})

    def details(self, path: str, **query: str) -> Any:
        return self.post(f"{STAGING}/{path}", **query)["signedURLDetails"]

    def put(self, details: Any, content: bytes, **headers: str) -> httpx.Response:
        signed = {**details["extensionHeaders"], **headers}
        return self._storage.put(details["uploadURL"], content=content, headers=signed)

    def upload_shard(self, batch: str, members: dict[str, bytes]) -> httpx.Response:
        return self.put(self.details(f"{batch}/bulk-upload/image-files"), tar(members))

    def download(self, url: str) -> httpx.Response:
        return self._storage.get(url)

    def close(self) -> None:
        self._http.close()
        self._storage.close()


@pytest.fixture
def caller(roboflow_stand_in_platform: StandInPlatform) -> Iterator[Caller]:
    made = Caller(roboflow_stand_in_platform)
    yield made
    made.close()


def tar(members: dict[str, bytes], mode: Any = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def definition(batch: str = "photos", **fields: Any) -> dict[str, Any]:
    work = {
        "type": "workflows-processing-specification-v1",
        "workspace": "my-workspace",
        "workflowId": "shapes",
        **fields.pop("work", {}),
    }
    return {
        "type": "simple-image-processing-v1",
        "jobInput": {"type": "staging-batch-input-v1", "batchId": batch},
        "computeConfiguration": {"type": "compute-configuration-v2", "machineType": "gpu"},
        "processingSpecification": work,
        **fields,
    }


def scenes(count: int) -> dict[str, bytes]:
    return {f"{seed}.jpg": draw_scene(seed).jpeg for seed in range(count)}


def unpacked(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        files = {one.name: opened.extractfile(one) for one in opened if one.isreg()}
        return {name: file.read() for name, file in files.items() if file is not None}


# The key


async def test_the_client_finds_the_workspace(
    roboflow_stand_in_platform: StandInPlatform,
) -> None:
    platform = roboflow_stand_in_platform
    platform.models["shapes"] = ["shapes/1", "shapes/2"]
    async with RoboflowClient(KEY, platform_url=platform.url, retry=ONCE) as client:
        assert await client.workspace() == "my-workspace"
        assert [one.workflow_id for one in await client.list_workflows()] == ["shapes"]
        models = await client.list_project_models("shapes")
        assert [one.model_id for one in models] == ["shapes/1", "shapes/2"]
        assert (await client.preflight()).under_cap
        platform.knobs.api_key = "another"
        with pytest.raises(AuthenticationError):
            await client.workspace()
    # The last one is asked for in the query, too, after a 401.
    assert platform.meter.key_places == {"header": 7, "query": 1}


def test_each_service_reads_the_key_where_it_is_known_to(caller: Caller) -> None:
    """Each service reads the key where it is known to do so, and nowhere else."""
    url, bearer = caller.platform.url, {"Authorization": f"Bearer {KEY}"}
    assert httpx.get(url + JOBS, headers=bearer).status_code == 200
    assert httpx.get(url + STAGING, headers=bearer).status_code == 401
    refused = httpx.get(url + "/list", headers=bearer)
    assert refused.status_code == 401
    assert refused.headers["content-type"].startswith("text/plain")
    added = {"api_key": KEY, "deployment_name": "my-gpu", "machine_type": "dev-gpu"}
    assert httpx.post(url + "/add", json=added).status_code == 200
    assert caller.get("/list")["deployments"][0]["status"] == "pending"
    assert httpx.get(f"{url}/another-workspace/workflows?api_key={KEY}").status_code == 404


def test_a_key_without_a_scope_is_told_which_it_needs(caller: Caller) -> None:
    caller.platform.knobs.scopes = ("batch-processing:read",)
    caller.upload_image("photos", "a.jpg", b"a")
    status, text = caller.refused("POST", f"{JOBS}/one", definition())
    assert (status, "batch-processing:trigger" in text) == (403, True)
    assert caller.get(JOBS) == {"jobs": [], "nextPageToken": None}


# Data Staging


def test_images_one_by_one_are_there_at_once(caller: Caller) -> None:
    for name in ("a.jpg", "b.jpg", "a.jpg"):
        assert caller.upload_image("photos", name, name.encode()).status_code == 200
    assert caller.get(f"{STAGING}/photos/count") == {"count": 2}
    batch = caller.get(f"{STAGING}/photos")["batch"]
    assert (batch["batchType"], batch["batchContentType"]) == ("simple-batch", "images")
    first = caller.get(f"{STAGING}/photos/list", pageSize=1)
    second = caller.get(f"{STAGING}/photos/list", nextPageToken=first["nextPageToken"])
    listed = first["filesMetadata"] + second["filesMetadata"]
    assert [one["fileName"] for one in listed] == ["a.jpg", "b.jpg"]
    assert [caller.download(one["downloadURL"]).content for one in listed] == [b"a.jpg", b"b.jpg"]
    assert caller.platform.meter.stored == {"photos/a.jpg": 2, "photos/b.jpg": 1}
    caller.platform.knobs.max_image_bytes = 3
    assert caller.upload_image("photos", "c.jpg", b"1234").status_code == 413


def test_a_shard_is_registered_after_a_while(caller: Caller) -> None:
    assert caller.upload_shard("many", scenes(3)).status_code == 200
    shard = caller.get(f"{STAGING}/many/shards")["shards"][0]
    assert (shard["statusType"], shard["shardObjectsCount"]) == ("info", 0)
    assert caller.get(f"{STAGING}/many/count") == {"count": 0}
    caller.platform.advance(20)
    shard = caller.get(f"{STAGING}/many/shards")["shards"][0]
    assert (shard["statusType"], shard["shardObjectsCount"]) == ("success", 3)
    listed = caller.get(f"{STAGING}/many/list")["filesMetadata"]
    assert {one["shardId"] for one in listed} == {shard["shardId"]}
    assert caller.download(listed[2]["downloadURL"]).content == scenes(3)["2.jpg"]


@pytest.mark.parametrize(
    ("archive", "reason"),
    [
        (b"no archive at all", "tar"),
        (tar({"a.jpg": b"a"}, "w:gz"), "uncompressed"),
        (tar({f"{number}.jpg": b"" for number in range(501)}), "501 images"),
    ],
    ids=["no archive", "compressed", "too many"],
)
def test_a_shard_that_breaks_the_rules_is_rejected(
    caller: Caller, archive: bytes, reason: str
) -> None:
    caller.put(caller.details("many/bulk-upload/image-files"), archive)
    caller.platform.advance(20)
    shard = caller.get(f"{STAGING}/many/shards")["shards"][0]
    assert (shard["statusType"], shard["shardObjectsCount"]) == ("error", 0)
    assert reason in shard["statusMetadata"]["reason"]


def test_members_of_one_name_are_one_file(caller: Caller) -> None:
    """Two members of a shard with one name are one file: so images get lost."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for content in (b"first", b"second"):
            info = tarfile.TarInfo("1.jpg")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    caller.put(caller.details("many/bulk-upload/image-files"), buffer.getvalue())
    caller.platform.advance(20)
    listed = caller.get(f"{STAGING}/many/list")["filesMetadata"]
    assert [caller.download(one["downloadURL"]).content for one in listed] == [b"second"]


def test_kinds_of_batches_do_not_mix(caller: Caller) -> None:
    caller.upload_image("photos", "a.jpg", b"a")
    assert caller.refused("POST", f"{STAGING}/photos/bulk-upload/image-files")[0] == 400
    caller.upload_shard("many", {"a.jpg": b"a"})
    assert caller.upload_image("many", "b.jpg", b"b").status_code == 400
    for name in ("Photos", "a" * 65, "a%20b"):
        assert caller.upload_image(name, "a.jpg", b"a").status_code == 400
    listed = caller.get(STAGING)["batches"]
    assert [(one["batchId"], one["batchType"]) for one in listed] == [
        ("many", "sharded-batch"),
        ("photos", "simple-batch"),
    ]
    caller.platform.advance(8 * 86_400)
    assert caller.get(STAGING)["batches"] == []
    assert caller.refused("GET", f"{STAGING}/photos/count")[0] == 404


def test_a_signed_url_takes_its_headers_and_no_key(caller: Caller) -> None:
    details = caller.details("clips/upload/video", fileName="a.mp4")
    assert httpx.put(details["uploadURL"], content=b"film").status_code == 403
    assert caller.put(details, b"film", Authorization=f"Bearer {KEY}").status_code == 400
    assert caller.platform.meter.keys_sent_to_storage == 1
    assert caller.put(details, b"film").status_code == 200
    assert caller.get(f"{STAGING}/clips")["batch"]["batchContentType"] == "videos"
    caller.platform.advance(3600)
    late = caller.put(details, b"film")
    assert (late.status_code, "ExpiredToken" in late.text) == (403, True)


def test_uploads_and_urls_fail_by_name(caller: Caller) -> None:
    platform = caller.platform
    for name, status in (("put_failed", 503), ("upload_url_expired", 403)):
        platform.fail(name, times=1)
        assert caller.upload_shard("many", {"a.jpg": b"a"}).status_code == status
    platform.fail("put_reset", times=1)
    with pytest.raises(httpx.TransportError):
        caller.upload_shard("many", {"a.jpg": bytes(2_000_000)})
    assert caller.upload_shard("many", {"a.jpg": b"a"}).status_code == 200
    platform.fail("shard_failed", times=1)
    platform.advance(20)
    assert caller.get(f"{STAGING}/many/shards")["shards"][0]["statusType"] == "error"
    assert len(caller.get(f"{STAGING}/many/shards")["shards"]) == 1
    caller.upload_image("photos", "a.jpg", b"a")
    platform.fail("download_url_expired", times=1)
    platform.fail("hostile_file_name", times=1)
    listed = caller.get(f"{STAGING}/photos/list")["filesMetadata"]
    assert listed[0]["fileName"] == "../../../outside/a.jpg"
    statuses = [caller.download(listed[0]["downloadURL"]).status_code for _ in range(2)]
    assert statuses == [403, 200]


def test_references_are_taken_from_the_stand_ins_web(caller: Caller) -> None:
    web = caller.platform.web
    web["https://images.example/a.jpg"] = b"a"
    path = f"{STAGING}/refs/bulk-upload/image-references"
    known = {"name": "a.jpg", "url": "https://images.example/a.jpg"}
    unknown = {"name": "b.jpg", "url": "https://images.example/b.jpg"}
    body = {"imageReferences": [known, unknown], "ingestId": "one"}
    first = caller.post(path, body, displayName="Refs")
    assert (first["ingestId"], first["duplicated"], len(first["shardIds"])) == ("one", False, 1)
    assert caller.post(path, body) == {**first, "duplicated": True}
    caller.platform.advance(20)
    assert caller.get(f"{STAGING}/refs/count") == {"count": 1}
    unsafe = {"imageReferences": [{"name": "c.jpg", "url": "http://images.example/c.jpg"}]}
    assert "unsafe-url-detected" in caller.refused("POST", path, unsafe)[1]
    lines = "\n".join(json.dumps(one) for one in (known, unknown))
    web["https://images.example/list.jsonl"] = lines.encode()
    listed = {"imageReferencesURL": "https://images.example/list.jsonl"}
    assert len(caller.post(path, listed)["shardIds"]) == 1
    videos = {"videoReferences": [known], "ingestId": "films"}
    answer = caller.post(f"{STAGING}/films/bulk-upload/video-references", videos)
    assert answer == {"ingestId": "films", "duplicated": False}


def test_a_query_fills_a_batch_later(caller: Caller) -> None:
    caller.platform.library.update({"cat-1": b"1", "cat-2": b"2", "dog-1": b"3"})
    caller.post(f"{STAGING}/cats/roboql-ingest", {"query": "cat"}, status=202)
    assert caller.get(f"{STAGING}/cats/count") == {"count": 0}
    assert caller.get(f"{STAGING}/cats/shards")["shards"] == []
    caller.platform.advance(20)
    assert caller.get(f"{STAGING}/cats/count") == {"count": 2}


# Batch Processing


def run_job(caller: Caller, job: str = "one", **fields: Any) -> Any:
    """The job when it has ended, or 300 s after its start."""
    caller.post(f"{JOBS}/{job}", definition(**fields), name=f"Job {job}")
    for _ in range(8):
        caller.platform.advance(60)
        found = caller.get(f"{JOBS}/{job}")["job"]
        if found["isTerminal"]:
            return found
    return found


def results_of(caller: Caller, job: str = "one") -> dict[str, bytes]:
    """The files in the archives of a job's results."""
    stages = caller.get(f"{JOBS}/{job}/stages")["stages"]
    (batch,) = [one["outputBatches"] for one in stages if one["outputBatches"]][-1]
    files: dict[str, bytes] = {}
    for part in caller.get(f"{STAGING}/{batch}/parts")["batchParts"]:
        listed = caller.get(f"{STAGING}/{batch}/list", partName=part["partName"])["filesMetadata"]
        for one in listed:
            for name, content in unpacked(caller.download(one["downloadURL"]).content).items():
                files[f"{part['partName']}/{one['fileName']}/{name}"] = content
    return files


def test_a_job_goes_from_stage_to_stage(caller: Caller) -> None:
    images = scenes(4)
    caller.upload_shard("photos", images)
    caller.platform.advance(20)
    caller.platform.knobs.images_per_second = 0.01  # 25 s for each image on a GPU
    caller.post(f"{JOBS}/one", definition(), name="My job")
    seen: list[Any] = []
    for _ in range(12):
        job = caller.get(f"{JOBS}/one")["job"]
        stages = caller.get(f"{JOBS}/one/stages")["stages"]
        seen.append((job["currentStage"], job["isTerminal"], [one["statusType"] for one in stages]))
        caller.platform.advance(60)
    assert seen[0] == (None, False, [])
    assert seen[3][:2] == ("processing", False)
    assert seen[3][2] == ["info"]
    assert seen[-1][:2] == ("export", True)
    assert all("success" in status for status in seen[-1][2])
    assert job["plannedStages"] == ["processing", "export"]
    assert (job["error"], job["name"], job["jobDefinition"]) == (False, "My job", definition())
    tasks = caller.get(f"{JOBS}/one/stages/{stages[0]['processingStageId']}/tasks")["tasks"]
    assert len(tasks) == stages[0]["tasksNumber"] == 1
    assert tasks[0]["progress"] == 1.0
    results = results_of(caller)
    (lines,) = results.values()
    records = {one["image"]: one for one in map(json.loads, lines.splitlines())}
    assert records.keys() == images.keys()
    for seed in range(4):
        assert records[f"{seed}.jpg"]["count"] == len(draw_scene(seed).boxes)
    assert not any(batch.startswith("one") for batch in stages[-1]["outputBatches"])


def test_progress_of_a_task_grows_with_time(caller: Caller) -> None:
    for number in range(10):
        caller.upload_image("photos", f"{number}.jpg", draw_scene(number).jpeg)
    caller.platform.knobs.images_per_second = 0.025  # 100 s
    caller.post(f"{JOBS}/one", definition())
    caller.platform.advance(180)
    caller.get(f"{JOBS}/one")
    stage = caller.get(f"{JOBS}/one/stages")["stages"][0]["processingStageId"]
    path = f"{JOBS}/one/stages/{stage}/tasks"
    seen: list[float] = []
    for _ in range(4):
        seen.append(caller.get(path)["tasks"][0]["progress"])
        caller.platform.advance(25)
    assert seen == pytest.approx([0, 0.25, 0.5, 0.75])


def test_a_csv_and_pictures_can_be_asked_for(caller: Caller) -> None:
    caller.upload_image("photos", "a.jpg", draw_scene(1).jpeg)
    work = {"aggregationFormat": "csv", "persistImagesOutputs": True}
    assert run_job(caller, work=work)["error"] is False
    results = results_of(caller)
    (table,) = [one for name, one in results.items() if name.endswith(".csv")]
    (row,) = csv.DictReader(io.StringIO(table.decode()))
    assert row["image"] == "a.jpg"
    assert json.loads(row["predictions"])["image"] == {"width": 640, "height": 480}
    assert row["visualization"] == "<deducted_image>"
    (picture,) = [one for name, one in results.items() if name.startswith("visualization/")]
    assert picture[:2] == b"\xff\xd8"


@pytest.mark.parametrize(("bad", "rate", "fails"), [(10, None, False), (11, None, True)])
def test_a_job_bears_some_images_that_fail(
    caller: Caller, bad: int, rate: float | None, *, fails: bool
) -> None:
    """Ten images of a shard may fail, if the job does not say otherwise."""
    members = {**scenes(1), **{f"bad-{number}.jpg": b"text" for number in range(bad)}}
    caller.upload_shard("photos", members)
    caller.platform.advance(20)
    job = run_job(caller)
    assert (job["isTerminal"], job["error"]) == (True, fails)
    errors = caller.get(f"{JOBS}/one/logs", severity="error")["logs"]
    assert sum("bad-" in line["payload"]["message"] for line in errors) == bad
    assert run_job(caller, "two", maxImageFailureRate=0.95)["error"] is False
    assert run_job(caller, "three", maxImageFailureRate=0)["error"] is True


def test_a_stage_with_an_error_ends_the_job(caller: Caller) -> None:
    """A stage with an error ends the job, which may be restarted with other parameters."""
    caller.upload_image("photos", "a.jpg", draw_scene(1).jpeg)
    caller.platform.fail("stage_error", times=1)
    job = run_job(caller)
    assert (job["error"], job["currentStage"]) == (True, "processing")
    override = {"type": "parameters-override-v1", "maxParallelTasks": 2}
    caller.post(f"{JOBS}/one/restart", override)
    caller.platform.advance(600)
    job = caller.get(f"{JOBS}/one")["job"]
    assert job["restartParametersOverride"] == [override]
    caller.platform.advance(60)
    job = caller.get(f"{JOBS}/one")["job"]
    assert (job["isTerminal"], job["error"]) == (True, False)
    assert caller.refused("POST", f"{JOBS}/one/restart")[0] == 400


def test_too_little_time_starves_a_job(caller: Caller) -> None:
    caller.upload_image("photos", "a.jpg", draw_scene(1).jpeg)
    caller.platform.knobs.images_per_second = 0.01
    job = run_job(caller, processingTimeoutSeconds=5)
    assert (job["isTerminal"], job["error"]) == (True, True)
    assert "time" in job["lastNotification"]


def test_an_aborted_job_ends_at_once(caller: Caller) -> None:
    caller.upload_image("photos", "a.jpg", draw_scene(1).jpeg)
    caller.post(f"{JOBS}/one", definition())
    caller.post(f"{JOBS}/one/abort")
    caller.platform.advance(1000)
    job = caller.get(f"{JOBS}/one")["job"]
    assert (job["isTerminal"], job["error"], job["currentStage"]) == (True, True, None)
    assert caller.refused("POST", f"{JOBS}/one/abort", {})[0] == 400


def test_jobs_that_break_the_rules_are_refused(caller: Caller) -> None:
    caller.upload_image("photos", "a.jpg", draw_scene(1).jpeg)
    for job in ("a" * 21, "A", "a_b"):
        assert caller.refused("POST", f"{JOBS}/{job}", definition())[0] == 400
    for fields in (
        {"type": "other"},
        {"maxImageFailureRate": 1.5},
        {"jobInput": None},
        {"processingSpecification": {}},
        {"computeConfiguration": {"machineType": "abacus"}},
    ):
        assert caller.refused("POST", f"{JOBS}/one", definition(**fields))[0] == 400
    assert caller.refused("POST", f"{JOBS}/one", definition("elsewhere"))[0] == 404
    caller.platform.fail("plan_required", times=1)
    assert caller.refused("POST", f"{JOBS}/one", definition())[0] == 402
    for _ in range(2):
        caller.post(f"{JOBS}/one", definition())
    assert caller.refused("POST", f"{JOBS}/one", definition(maxParallelTasks=1))[0] == 409
    assert len(caller.get(JOBS, search="one")["jobs"]) == 1
    assert caller.get(JOBS, search="two")["jobs"] == []
    assert caller.refused("GET", JOBS, pageSize="101")[0] == 400
    caller.post(f"{JOBS}/trt", {"type": "trt-compilation-v1", "modelId": "shapes/1"})
    caller.platform.advance(180)
    assert caller.get(f"{JOBS}/trt")["job"]["isTerminal"] is True


def test_a_hostile_archive_wants_to_leave_its_folder(caller: Caller) -> None:
    caller.upload_image("photos", "a.jpg", draw_scene(1).jpeg)
    caller.platform.fail("hostile_archive")
    assert run_job(caller)["error"] is False
    names = {name.partition(".tar.gz/")[2] for name in results_of(caller)}
    assert {"00000-results.jsonl", "../escaped-by-dots", "/escaped-by-root"} <= names


def test_an_asset_library_job_takes_a_key_once(caller: Caller) -> None:
    """The asset library takes an idempotency key, and has the job only later."""
    caller.platform.library.update(scenes(2))
    path = f"{BATCH}/asset-library/jobs"
    body = {"workflowId": "shapes", "idempotencyKey": "a" * 8, "machineType": "gpu", "query": ""}
    accepted = caller.post(path, body, status=202)
    assert caller.post(path, body, status=202) == accepted
    task_path = f"/my-workspace/asynctasks/{accepted['taskId']}"
    assert caller.get(task_path)["status"] == "created"
    assert caller.refused("GET", f"{JOBS}/{accepted['jobId']}")[0] == 404
    caller.platform.advance(30)
    task = caller.get(task_path)
    assert (task["status"], task["progress"]) == ("completed", {"current": 2, "total": 2})
    assert caller.get(f"{JOBS}/{accepted['jobId']}")["job"]["currentStage"] is None
    for bad in ({"idempotencyKey": "short"}, {"imageIds": []}, {"query": None}):
        assert caller.refused("POST", path, {**body, "idempotencyKey": "b" * 8, **bad})[0] == 400


# Notifications


async def test_notifications_carry_the_publishable_key(
    server: Server, roboflow_stand_in_platform: StandInPlatform
) -> None:
    platform = roboflow_stand_in_platform
    refusals = 1

    def taken(_: Arrival) -> Reply:
        nonlocal refusals
        refusals -= 1
        return Reply(500 if refusals >= 0 else 200)

    server.handler = taken
    config = json.dumps({"ingestId": "mine", "notificationsURL": f"{server.url}/hook"})
    members = {"a.jpg": draw_scene(1).jpeg, "notification_config.json": config.encode()}

    def all_of_it() -> str:
        caller = Caller(platform)
        caller.upload_shard("photos", members)
        platform.advance(20)
        assert caller.get(f"{STAGING}/photos/count") == {"count": 1}
        job = run_job(caller, notificationsURL=f"{server.url}/hook")
        key = caller.get("/my-workspace/api-keys/publishable")
        caller.close()
        assert job["isTerminal"]
        return next(iter(key.values()))

    key = await asyncio.to_thread(all_of_it)
    async with asyncio.timeout(10):
        while len(platform.meter.notifications) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert [one.status_code for one in platform.meter.notifications] == [500, 200, 200]
    assert {one.headers["authorization"] for one in server.arrivals} == {key}
    ingest, again, job = (one.json for one in server.arrivals)
    assert ingest["type"] == "roboflow-data-staging-notification-v1"
    assert (ingest["ingest_id"], ingest["batch_id"]) == ("mine", "photos")
    assert ingest["notification"] == {"type": "ingest-status-notification-v1", "success": True}
    assert again == {**ingest, "delivery_attempt": 2}
    assert (job["job_id"], job["job_state"], job["delivery_attempt"]) == ("one", "success", 1)
    assert job["event_id"] != ingest["event_id"]


# Dedicated Deployments: see also tests/platform/


def test_deployments_come_and_go_with_time(caller: Caller) -> None:
    added = {"deployment_name": "my-gpu", "machine_type": "dev-gpu", "duration": 1.0}
    made = caller.post("/add", added)
    assert (made["status"], made["duration"], made["num_replicas"]) == ("pending", 1.0, 0)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://{made['domain']}/healthz")
    caller.platform.advance(120)
    ready = caller.get("/get", deployment_name="my-gpu")
    assert ready == {**made, "status": "ready", "num_replicas": 1}
    assert httpx.get(f"http://{made['domain']}/healthz").status_code == 200
    name = {"deployment_name": "my-gpu"}
    assert caller.post("/pause", name)["status"] == "paused"
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://{made['domain']}/healthz")
    assert caller.post("/resume", name)["status"] == "pending"
    caller.platform.advance(120)
    assert caller.get("/get", **name)["status"] == "ready"
    assert httpx.get(f"http://{made['domain']}/healthz").status_code == 200
    caller.platform.advance(3600)
    assert caller.get("/list") == {"deployments": []}
    gone = caller.get("/list", show_deleted="true")["deployments"]
    assert [one["status"] for one in gone] == ["deleted"]
    logs = caller.get("/get_log", **name, max_entries=2)
    assert [one["payload"] for one in logs] == ["Now deleted", "Ready"]


def test_deployments_that_break_the_rules_are_refused(caller: Caller) -> None:
    added: dict[str, Any] = {"deployment_name": "my-gpu", "machine_type": "dev-gpu"}
    for fields in (
        {"deployment_name": "gpu"},
        {"deployment_name": "1-my-gpu"},
        {"deployment_name": "a" * 16},
        {"machine_type": "abacus"},
        {"duration": 7},
    ):
        status, text = caller.refused("POST", "/add", {**added, **fields})
        assert status == 400
        assert not text.startswith("{")  # plain text
    lasting = caller.post(
        "/add", {**added, "deployment_name": "lasting", "machine_type": "gpu-small", "duration": 8}
    )
    assert lasting["subdomain"].startswith("lasting-")
    caller.platform.advance(9 * 3600)
    assert caller.get("/get", deployment_name="lasting")["status"] == "ready"
    caller.platform.knobs.members = ["me@example.com"]
    assert "creator_email" in caller.refused("POST", "/add", added)[1]
    caller.post("/add", {**added, "creator_email": "me@example.com"})
    assert caller.refused("POST", "/add", {**added, "creator_email": "me@example.com"})[0] == 409
    assert caller.refused("GET", "/get", deployment_name="another")[0] == 404
    log = {"deployment_name": "my-gpu", "from_timestamp": "2026-01-01T00:00:00 01:00"}
    assert caller.refused("GET", "/get_log", **log)[0] == 400


# Faults


@pytest.mark.parametrize(
    ("name", "status"),
    [("too_many_requests", 429), ("internal_error", 500), ("payment_required", 402)],
)
def test_statuses_are_faults_by_name(caller: Caller, name: str, status: int) -> None:
    caller.platform.fail(name, times=1, path="/jobs$", retry_after="3")
    assert caller.get(STAGING)["batches"] == []
    assert caller.refused("GET", JOBS)[0] == status
    assert caller.get(JOBS)["jobs"] == []


def test_responses_break_on_the_wire(caller: Caller) -> None:
    for name in ("reset", "truncated"):
        caller.platform.fail(name, times=1)
        with pytest.raises(httpx.TransportError):
            caller.get(JOBS)
    caller.platform.fail("not_json", times=1)
    with pytest.raises(ValueError, match="Expecting value"):
        caller.get(JOBS)
    caller.platform.knobs.requests_per_second = 1
    assert caller.refused("GET", JOBS)[0] == 429
    with pytest.raises(ValueError, match="put_failed"):
        PlatformFault(name="earthquake")
    assert "hostile_archive" in PLATFORM_FAULTS


def test_time_passes_by_its_speed() -> None:
    with StandInPlatform(speed=1000) as platform:
        before = platform.now()
        caller = Caller(platform)
        caller.upload_shard("many", {"a.jpg": b"a"})
        while caller.get(f"{STAGING}/many/count") == {"count": 0}:
            pass
        caller.close()
        assert platform.now() - before >= 20
        platform.speed = 0
        assert platform.now() == platform.now()


def test_files_are_gone_when_it_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with StandInPlatform() as platform:
        caller = Caller(platform)
        caller.upload_image("photos", "a.jpg", b"a")
        caller.close()
        assert list(tmp_path.rglob("0*"))
    assert list(tmp_path.iterdir()) == []
