"""Uploads to Data Staging: whole, once, with unique names, and on from where they were."""

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import JPEG, KEY, picture
from support.loopback import Arrival, Reply, Server, hang

from roboflow_async import (
    APIError,
    APITimeoutError,
    ConfigurationError,
    PayloadTooLargeError,
    ResponseError,
    RetryPolicy,
    UsageLimitError,
)
from roboflow_async._engine.images.loader import ImageLoader
from roboflow_async._engine.runtime import Engine
from roboflow_async._engine.settings import Settings
from roboflow_async._platform import service
from roboflow_async._platform.service import PlatformService, service_settings
from roboflow_async._platform.staging import registration, storage, upload
from roboflow_async._platform.staging.calls import StagingCalls
from roboflow_async._platform.staging.journal import UploadJournal
from roboflow_async._platform.staging.reading import InputReader
from roboflow_async._platform.staging.registration import Registration
from roboflow_async._platform.staging.sending import Sender
from roboflow_async._platform.staging.storage import CloudStorage, FilePieces, SignedURL
from roboflow_async._platform.staging.upload import Staged, Uploader
from roboflow_async.testing import StandInPlatform, draw_scene

pytestmark = [pytest.mark.anyio, pytest.mark.each_transport]

POLICY = RetryPolicy(base=0.001, max_wait=0.01)
LIST = "/data-staging/v1/external/my-workspace/batches/photos/list"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "REQUESTS_PER_SECOND", 1000.0)
    monkeypatch.setattr(registration, "_SETTLED", 0.0)
    monkeypatch.setattr(registration, "_POLL", (0.01, 0.05))


@pytest.fixture
def platform() -> Iterator[StandInPlatform]:
    with StandInPlatform(speed=1000, url_lifetime=1e9, data_lifetime=1e9) as running:
        yield running


class Parts:
    """What an upload is made of."""

    def __init__(self, url: str, folder: Path, transport: Any, policy: RetryPolicy) -> None:
        settings = Settings.resolve({"api_key": KEY, "retry": policy, "transport": transport})
        self.folder, self.policy = folder, policy
        self.service = PlatformService(service_settings(settings, url), "query")
        self.calls = StagingCalls(self.service, "my-workspace", "photos")
        self.storage = CloudStorage(settings)
        self.engine = Engine(settings)

    async def upload(self, images: Any, **options: Any) -> Staged:
        loader, registration = self.engine.runtime().loader, Registration(self.calls)
        sender = Sender(self.calls, self.storage, registration, self.policy)
        journal = UploadJournal(self.folder, self.calls.batch_id)
        try:
            reader = InputReader(loader)
            return await Uploader(journal, reader, sender, registration, **options).upload(images)
        finally:
            journal.close()

    async def aclose(self) -> None:
        for one in (self.service, self.storage, self.engine):
            await one.aclose()


@asynccontextmanager
async def parts_of(
    url: str, folder: Path, transport: Any = "httpx", policy: RetryPolicy = POLICY
) -> AsyncIterator[Parts]:
    parts = Parts(url, folder, transport, policy)
    try:
        yield parts
    finally:
        await parts.aclose()


@pytest.fixture
async def parts(platform: StandInPlatform, tmp_path: Path, transport: Any) -> AsyncIterator[Parts]:
    async with parts_of(platform.url, tmp_path / "journal", transport) as made:
        yield made


def contents(platform: StandInPlatform) -> dict[str, bytes]:
    """What the batch holds, by name."""
    query = {"api_key": KEY, "pageSize": "1000"}
    with httpx.Client() as http:
        page = http.get(platform.url + LIST, params=query).json()
        return {
            one["fileName"]: http.get(one["downloadURL"]).content for one in page["filesMetadata"]
        }


async def test_a_few_images_are_uploaded_one_by_one(
    platform: StandInPlatform, parts: Parts
) -> None:
    images = [picture(number) for number in range(32)]
    done = await parts.upload(images)
    await Registration(parts.calls).wait(32, seconds=20)
    assert await asyncio.to_thread(contents, platform) == {
        done.names[number]: images[number] for number in range(32)
    }
    assert platform.meter.endpoints["POST " + LIST.replace("list", "upload/image")] == 0
    assert sum(platform.meter.puts.values()) == 0
    assert set(platform.meter.stored.values()) == {1}


async def test_many_images_are_uploaded_in_archives(
    platform: StandInPlatform, parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many images go in archives; equal names of files in different folders lose nothing."""
    monkeypatch.setattr(upload, "_SHARD_IMAGES", 20)
    paths: list[Path] = []
    for number in range(70):
        path = tmp_path / f"folder-{number}" / "same.jpg"
        path.parent.mkdir()
        path.write_bytes(picture(number))
        paths.append(path)
    seen: list[int] = []
    done = await parts.upload(iter(paths))
    await Registration(parts.calls).wait(70, 20, seen.append)
    assert seen[-1] == 70
    assert await asyncio.to_thread(contents, platform) == {
        done.names[number]: picture(number) for number in range(70)
    }
    assert platform.meter.puts == {200: 4}
    assert platform.meter.keys_sent_to_storage == 0
    assert set(platform.meter.stored.values()) == {1}
    left = {one.suffix for one in parts.folder.iterdir()}
    assert left == {".lock", ".jsonl"}  # no archive


async def test_failures_are_tried_again_with_a_fresh_url(
    platform: StandInPlatform, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "_SHARD_IMAGES", 5)
    for name in ("put_failed", "upload_url_expired", "put_reset"):
        platform.fail(name, times=2)
    images = [picture(number) for number in range(40)]
    await parts.upload(images)
    await Registration(parts.calls).wait(40, seconds=20)
    assert platform.meter.puts[503] == 2
    assert platform.meter.puts[403] == 2
    assert platform.meter.puts[200] == 8
    assert len(platform.meter.stored) == 40
    assert set(platform.meter.stored.values()) == {1}


async def test_an_archive_whose_response_was_lost_is_not_sent_again(
    platform: StandInPlatform, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload that arrived although its connection was lost is found in the batch."""
    send, lost = CloudStorage.send, 1

    async def lossy(self: CloudStorage, path: Path, size: int, to: SignedURL) -> None:
        nonlocal lost
        await send(self, path, size, to)
        if lost:
            lost -= 1
            raise APITimeoutError("no response")

    monkeypatch.setattr(CloudStorage, "send", lossy)
    await parts.upload([picture(number) for number in range(40)])
    assert platform.meter.puts == {200: 1}


async def test_an_upload_goes_on_where_it_was(
    platform: StandInPlatform, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "_SHARD_IMAGES", 10)
    images = [picture(number) for number in range(45)]
    platform.fail("payment_required", path="image-files")
    with pytest.raises(UsageLimitError):
        await parts.upload(images)
    platform.knobs.faults[:] = []
    first = await parts.upload(images)
    puts = dict(platform.meter.puts)
    second = await parts.upload(images)
    assert platform.meter.puts == puts == {200: 5}
    assert second.names == first.names
    assert len(first.names) == 45
    with pytest.raises(ConfigurationError, match="input 3 is not the one"):
        await parts.upload([*images[:3], picture(99), *images[4:]])


async def test_files_that_have_arrived_are_not_read_again(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "_SHARD_IMAGES", 10)
    paths = [tmp_path / f"{number}.jpg" for number in range(40)]
    for number, path in enumerate(paths):
        path.write_bytes(picture(number))
    first = await parts.upload(paths)
    loads = 0
    load = ImageLoader.load_file

    async def counted(*args: Any, **options: Any) -> Any:
        nonlocal loads
        loads += 1
        return await load(*args, **options)

    monkeypatch.setattr(ImageLoader, "load_file", counted)
    assert (await parts.upload(paths)).names == first.names
    assert loads == 0


async def test_a_bad_image_stops_nothing(platform: StandInPlatform, parts: Parts) -> None:
    images: list[Any] = [picture(number) for number in range(40)]
    images[7], images[9], images[11] = b"text", "/no/such/file.jpg", "http://a.example/b.jpg"
    done = await parts.upload(images)
    assert sorted(done.errors) == [7, 9, 11]
    assert "https" in str(done.errors[11])
    assert len(done.names) == 37
    await Registration(parts.calls).wait(37, seconds=20)
    again = await parts.upload(images)
    assert sorted(again.errors) == [7, 9, 11]
    images[7] = JPEG
    repaired = await parts.upload(images)
    assert "another batch" in str(repaired.errors[7])
    assert platform.meter.puts == {200: 1}


async def test_an_archive_that_the_platform_cannot_read_is_told(
    platform: StandInPlatform, parts: Parts
) -> None:
    platform.fail("shard_failed")
    await parts.upload([picture(number) for number in range(40)])
    found = await Registration(parts.calls).wait(40, seconds=20)
    assert (found.count, len(found.failed), found.archives) == (0, 1, 1)
    platform.speed = 0
    platform.knobs.faults.clear()
    async with parts_of(platform.url, parts.folder) as other:
        other.calls = StagingCalls(other.service, "my-workspace", "slow")
        await other.upload([picture(number) for number in range(40)])
        with pytest.raises(APITimeoutError, match="'slow' was not registered within"):
            await Registration(other.calls).wait(40, seconds=0.2)


async def test_a_shard_is_a_plain_archive_of_the_right_size(
    server: Server, tmp_path: Path, transport: Any
) -> None:
    """What is sent is a plain tar archive, with the headers that were signed and no others."""
    details = {
        "uploadURL": f"{server.url}/bucket/a%2Fb?X-Signature=a%2Bb%3D",
        "extensionHeaders": {"x-range": "0,99"},
    }

    def handler(arrival: Arrival) -> Reply:
        if arrival.method == "PUT":
            return Reply(200, b"")
        return Reply(200, json.dumps({"signedURLDetails": details}).encode())

    server.handler = handler
    images = [picture(number) + bytes(number * 9000) for number in range(33)]
    async with parts_of(server.url, tmp_path, transport) as parts:
        await parts.upload(images)
    put = server.arrivals[-1]
    assert put.target == "/bucket/a%2Fb?X-Signature=a%2Bb%3D"
    assert put.headers["x-range"] == "0,99"
    assert not {"authorization", "content-type", "transfer-encoding"} & put.headers.keys()
    assert KEY not in str(put.headers)
    with tarfile.open(fileobj=io.BytesIO(put.body), mode="r:") as archive:
        members = [archive.extractfile(one) for one in archive.getmembers()]
    assert [one.read() for one in members if one is not None] == images


async def test_storage_is_asked_once_and_follows_nothing(server: Server, tmp_path: Path) -> None:
    """A redirect is not followed, and a hanging upload has a deadline."""
    path = tmp_path / "a.tar"
    path.write_bytes(bytes(600_000))
    assert b"".join(FilePieces(path, 600_000)) == bytes(600_000)
    made = CloudStorage(Settings.resolve({"api_key": KEY}))
    server.handler = lambda _: Reply(307, headers={"Location": "https://elsewhere.example/"})
    with pytest.raises(APIError, match="307"):
        await made.send(path, 600_000, SignedURL(f"{server.url}/put"))
    assert [one.method for one in server.arrivals] == ["PUT"]
    server.handler = lambda _: hang
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "_LEAST_TIME", 0.1)
        patch.setattr(storage, "_LEAST_SPEED", 1e9)
        with pytest.raises(APITimeoutError, match=r"more than 0\.1 s"):
            await made.send(path, 600_000, SignedURL(f"{server.url}/put"))
    await made.aclose()


@pytest.mark.parametrize(
    "details",
    [
        {},
        {"uploadURL": 3},
        {"uploadURL": "no url"},
        {"uploadURL": "https://a.example/", "extensionHeaders": {"a\r\nb": "c"}},
        {"uploadURL": "https://a.example/", "extensionHeaders": {"a": "b\r\nc: d"}},
    ],
)
async def test_odd_signed_urls_are_refused(server: Server, tmp_path: Path, details: Any) -> None:
    server.handler = lambda _: Reply(200, json.dumps({"signedURLDetails": details}).encode())
    async with parts_of(server.url, tmp_path) as parts:
        with pytest.raises(ResponseError, match="signed URL"):
            await parts.calls.shard_url()


async def test_a_limit_of_the_platform_is_kept(server: Server, tmp_path: Path) -> None:
    details = {"uploadURL": f"{server.url}/put", "maxFileSize": 1000}
    server.handler = lambda _: Reply(200, json.dumps({"signedURLDetails": details}).encode())
    async with parts_of(server.url, tmp_path) as parts:
        with pytest.raises(PayloadTooLargeError, match="more than the platform takes"):
            await parts.upload([picture(number) for number in range(40)])
    assert all(one.method == "POST" for one in server.arrivals)


async def test_a_page_that_repeats_itself_ends(server: Server, tmp_path: Path) -> None:
    page = {"filesMetadata": [{"fileName": "a"}], "nextPageToken": "again"}
    server.handler = lambda _: Reply(200, json.dumps(page).encode())
    async with parts_of(server.url, tmp_path) as parts:
        assert await parts.calls.names() == {"a"}
    assert len(server.arrivals) == 2


@pytest.mark.parametrize("content", [b"not json\n", b'{"batch": "other"}\n', b'{"arrived": 7}\n'])
async def test_a_journal_of_something_else_is_refused(
    platform: StandInPlatform, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "photos.upload.jsonl").write_bytes(content)
    async with parts_of(platform.url, tmp_path) as parts:
        with pytest.raises(ConfigurationError, match="is not the journal of an upload"):
            await parts.upload([JPEG])


def test_batches_have_ids_that_the_platform_takes() -> None:
    for bad in ("", "A", "a" * 65, "a/b", None):
        with pytest.raises(ConfigurationError, match="batch_id="):
            StagingCalls(None, "my-workspace", bad)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="workspace="):
        StagingCalls(None, "a/b", "photos")  # type: ignore[arg-type]


@pytest.mark.skipif(os.name != "posix", reason="kills a process")
async def test_an_upload_that_is_killed_loses_and_doubles_nothing(
    platform: StandInPlatform, tmp_path: Path
) -> None:
    """Killed twice with -9 while some uploads fail: each image arrives, and none of them twice."""
    platform.fail("put_failed", share=0.2)
    platform.fail("upload_url_expired", share=0.1)
    folder = tmp_path / "images"
    folder.mkdir()
    jpeg = draw_scene(1, width=64, height=64).jpeg
    for number in range(600):
        (folder / f"{number:04}.jpg").write_bytes(jpeg + b"%d" % number)
    program = Path(__file__).parents[1] / "support" / "upload_program.py"
    command = [sys.executable, str(program), platform.url, str(folder), str(tmp_path / "journal")]

    def run(kill_after: int | None) -> int:
        """Run it; kill it when the platform has taken so many archives."""
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            while process.poll() is None:
                if kill_after is not None and platform.meter.puts[200] >= kill_after:
                    process.send_signal(signal.SIGKILL)
                    break
                time.sleep(0.002)
            _, told = process.communicate(timeout=60)
        assert kill_after is not None or not told, told
        return process.returncode

    for kill_after in (3, 12):  # unless a busy machine looks too late
        assert await asyncio.to_thread(run, kill_after) in (-signal.SIGKILL, 0)
    assert await asyncio.to_thread(run, None) == 0
    assert len(platform.meter.stored) == 600
    assert set(platform.meter.stored.values()) == {1}
