"""Archives of results: whatever is in them, nothing is written outside, nor is too large."""

import asyncio
import gzip
import io
import json
import logging
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import KEY

from roboflow_async import (
    BatchError,
    ConfigurationError,
    ResponseError,
    RetryPolicy,
    RoboflowClient,
)
from roboflow_async._platform import service
from roboflow_async._platform.batch.manifest import Manifest
from roboflow_async._platform.batch.outputs import Records
from roboflow_async._platform.staging import registration, storage, unpacking
from roboflow_async._platform.staging.journal import Item
from roboflow_async._platform.staging.responses import ListedFile
from roboflow_async._platform.staging.unpacking import members, safe_name, save
from roboflow_async.testing import StandInPlatform, draw_scene

QUICK: Any = {"poll_interval": 0.02}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(service, "REQUESTS_PER_SECOND", 1000.0)
    monkeypatch.setattr(registration, "_POLL", (0.01, 0.05))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def platform() -> Iterator[StandInPlatform]:
    with StandInPlatform(speed=10_000, url_lifetime=1e9, data_lifetime=1e9) as running:
        yield running


def tar(*found: tuple[str, bytes] | tarfile.TarInfo, mode: str = "w:gz") -> io.BytesIO:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for member in found:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    buffer.seek(0)
    return buffer


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.each_transport
@pytest.mark.anyio
async def test_a_hostile_archive_writes_nothing_outside(
    platform: StandInPlatform, transport: Any, tmp_path: Path
) -> None:
    """Nor does a hostile name in a listing; what is honest in it is there, and whole."""
    platform.fail("hostile_archive")
    platform.fail("hostile_file_name", share=0.5)
    platform.fail("download_url_expired", times=2)
    folder = tmp_path / "deep" / "down"
    images = [draw_scene(seed, width=96, height=96).jpeg for seed in range(3)]
    async with RoboflowClient(
        KEY, platform_url=platform.url, retry=RetryPolicy(base=0.001), transport=transport
    ) as client:
        workflow = client.workflow("my-workspace", "shapes")
        job = await client.batch.submit(workflow, images, keep_pictures=True, **QUICK)
        assert [result.ok async for result in job.results()] == [True] * 3
        paths = [path async for path in job.download(folder)]

    def files() -> set[Path]:
        found = {path for path in tmp_path.rglob("*") if not path.is_dir()}
        return found - set((tmp_path / "state").rglob("*"))

    written = await asyncio.to_thread(files)
    assert written == set(paths)
    assert all(path.is_relative_to(folder) and not path.is_symlink() for path in paths)
    names = sorted(path.name for path in paths)
    assert [name for name in names if name.startswith("escaped")] == [
        *("escaped-by-backslash", "escaped-by-dots", "escaped-by-drive"),
        *("escaped-by-link", "escaped-by-root", "escaped-from-inside"),
    ]
    assert len([name for name in names if name.endswith(".jpg")]) == 3
    (results,) = [path for path in paths if path.name == "00000-results.jsonl"]
    assert len(results.read_text().splitlines()) == 3


def test_only_files_are_read_from_an_archive(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    archive = tar(
        ("a/../../b.txt", b"honest"),
        link("c", "/etc/passwd"),
        link("d", "b.txt", tarfile.LNKTYPE),
        link("pipe", "", tarfile.FIFOTYPE),
        link("device", "", tarfile.CHRTYPE),
        ("..", b"no name"),
    )
    assert [(name, content.read()) for name, content in members(archive, "it")] == [
        ("b.txt", b"honest")
    ]
    assert caplog.messages == ["left out of it: a link or device named 'c' and 4 more"]


def test_members_that_are_not_read_do_no_harm() -> None:
    archive = tar(*((f"{number}", bytes(100_000)) for number in range(5)), mode="w")
    assert [name for name, _ in members(archive, "it")] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_broken_archive_is_told_in_one_error(mode: str) -> None:
    """Cut off anywhere, or not an archive at all."""
    whole = tar(
        *((f"{number}", random.Random(1).randbytes(5000)) for number in range(3)), mode=mode
    )
    content = whole.getvalue()
    for end in (1, 100, 600, 3000, len(content) // 2):
        with pytest.raises(ResponseError, match="it is not an archive that can be read"):
            for _, member in members(io.BytesIO(content[:end]), "it"):
                member.read()
    with pytest.raises(ResponseError):
        list(members(io.BytesIO(b"\x1f\x8b no gzip"), "it"))
    with pytest.raises(ResponseError):
        list(members(io.BytesIO(b"x" * 2000), "it"))


def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many members, too many bytes, or a header that alone is too long."""
    monkeypatch.setattr(unpacking, "_MOST_MEMBERS", 10)
    monkeypatch.setattr(unpacking, "_MOST_BYTES", 1_000_000)
    monkeypatch.setattr(unpacking, "_LARGEST_READ", 100_000)
    with pytest.raises(ResponseError, match="more than 10 members"):
        list(members(tar(*((str(number), b"") for number in range(11))), "it"))
    with pytest.raises(ResponseError, match="more than 1000000 bytes"):
        for _, member in members(tar(("a", bytes(2_000_000))), "it"):
            while member.read(10_000):
                pass
    with pytest.raises(ResponseError, match="more than 1000000 bytes"):  # also if it is not read
        list(members(tar(("a", bytes(2_000_000)), ("b", b"")), "it"))
    long_name = tarfile.TarInfo("x" * 500_000)
    with pytest.raises(ResponseError, match="a header that is too long"):
        list(members(tar(long_name), "it"))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("a")
        info.pax_headers = {"comment": "x" * 500_000}
        archive.addfile(info)
    with pytest.raises(ResponseError, match="a header that is too long"):
        list(members(buffer, "it"))
    twice = gzip.compress(gzip.compress(bytes(5_000_000)))
    with pytest.raises(ResponseError):
        list(members(io.BytesIO(twice), "it"))


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("a.jpg", "a.jpg"),
        ("../a.jpg", "a.jpg"),
        ("..\\a.jpg", "a.jpg"),
        ("/a.jpg", "a.jpg"),
        ("C:a.jpg", "C_a.jpg"),
        ("a.jpg:stream", "a.jpg_stream"),
        ("a\x00b\x1b[0m.jpg", "ab[0m.jpg"),
        ("a\u202egpj.exe", "agpj.exe"),
        ("a. . ", "a"),
        ("a/", None),
        ("..", None),
        (".", None),
        ("", None),
        ("NUL.txt", None),
        ("com1", None),
        ("ü" * 300 + ".jpg", "ü" * 80 + "ü" * 18 + ".jpg"),
    ],
)
def test_names_are_safe_on_every_system(name: str, safe: str | None) -> None:
    assert safe_name(name) == safe


def test_a_file_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell():
                raise ResponseError("cut off")
            return super().read(size)

    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(ResponseError):
        save(Broken(bytes(2_000_000)), tmp_path, "a")
    with pytest.raises(ResponseError, match="more than 5 bytes"):
        save(io.BytesIO(b"123456"), tmp_path, "a", most=5)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]
    save(io.BytesIO(b"new"), tmp_path, "a")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"new"]
    with pytest.raises(ConfigurationError, match="cannot be written"):
        save(io.BytesIO(b""), tmp_path / "a", "b")


NAMES = [f"{number:08}-{'ab' * 8}.jpg" for number in range(4)]


def records_of(*files: tuple[str, io.BytesIO]) -> Records:
    records = Records(io.BytesIO(), Manifest([Item(f"data:{name}", name) for name in NAMES]))
    for name, content in files:
        records.take(content, ListedFile.model_validate({"fileName": name}))
    return records


def test_records_are_found_in_every_form() -> None:
    """A line of JSON, one value, or a list; in an archive or alone; by any field with the name."""
    lines = [
        json.dumps({"image": f"some/folder/{NAMES[0]}", "count": 1}),
        "not json",
        '{"count": NaN}',
        json.dumps({"image": "somebody else's.jpg", "count": 2}),
        json.dumps(["no record", 3]),
        "",
        json.dumps({"image": NAMES[0], "count": "once more"}),
    ]
    records = records_of(
        ("a.tar.gz", tar(("x/results.jsonl", "\n".join(lines).encode()), ("notes.txt", b"?"))),
        ("b.json", io.BytesIO(json.dumps({"source": NAMES[1], "count": 2}).encode())),
        ("c.json", io.BytesIO(json.dumps([{"count": 3, "image": NAMES[2]}]).encode())),
        ("d.tar", io.BytesIO(b"broken")),
    )
    assert [records.read(index) for index in range(3)] == [
        [{"count": 1}], [{"count": 2}], [{"count": 3}],
    ]  # fmt: skip
    assert not records.has(3)
    assert records.lacks
    assert "results.jsonl" in str(records.problem)


def test_frames_of_a_video_stay_in_order() -> None:
    frames = [{"video": NAMES[number % 2], "frame": number} for number in range(6)]
    text = "\n".join(json.dumps(frame) for frame in frames).encode()
    records = records_of(("a.jsonl", io.BytesIO(text)))
    assert [one["frame"] for one in records.read(0)] == [0, 2, 4]
    assert [one["frame"] for one in records.read(1)] == [1, 3, 5]


def test_csv_is_told_to_be_downloaded() -> None:
    records = records_of(("a.csv", io.BytesIO(b"image,count\n")))
    assert "download(folder)" in str(records.problem)
    assert not records.has_any


@pytest.mark.each_transport
@pytest.mark.anyio
async def test_results_that_were_deleted_are_told(
    platform: StandInPlatform, transport: Any
) -> None:
    """The platform deletes results after some days. Nothing is uploaded again for them."""
    images = [draw_scene(1, width=96, height=96).jpeg]
    async with RoboflowClient(KEY, platform_url=platform.url, transport=transport) as client:
        workflow = client.workflow("my-workspace", "shapes")
        job = await client.batch.submit(workflow, images, name="night", **QUICK)
        await job.wait()
        platform.advance(2e9)
        for results in (job.results(), workflow.batch(images, name="night", **QUICK)):
            with pytest.raises(BatchError, match="results of the job 'night' are not there"):
                _ = [result async for result in results]
        assert set(platform.meter.stored.values()) == {1}


@pytest.mark.anyio
async def test_a_file_of_results_has_limits(
    platform: StandInPlatform, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    images = [draw_scene(1, width=96, height=96).jpeg]
    async with RoboflowClient(KEY, platform_url=platform.url) as client:
        workflow = client.workflow("my-workspace", "shapes")
        job = await client.batch.submit(workflow, images, **QUICK)
        monkeypatch.setattr(storage, "_LARGEST", 100)
        with pytest.raises(ResponseError, match="more than 100 bytes"):
            _ = [result async for result in job.results()]
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(ConfigurationError, match="cannot be written to"):
            _ = [path async for path in job.download(tmp_path / "file")]
