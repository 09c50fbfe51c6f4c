"""Images in object storage: read off the loop, within bounds, again, and only where allowed."""

import asyncio
import base64
import copy
import gzip
import pickle
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from conftest import FAST, KEY, MakeClient, picture
from support.loopback import Arrival, Reply, Server, Wire, drip, hang, reset

from roboflow_async import ConfigurationError, ImageError, RoboflowClient
from roboflow_async._engine.images.encoded import EncodedImage
from roboflow_async._engine.images.loader import ImageLoader

fsspec: Any = pytest.importorskip("fsspec", reason="needs fsspec")
s3fs: Any = pytest.importorskip("s3fs", reason="needs s3fs")
pytestmark = pytest.mark.anyio

SECRET = "bucketSECRET0123456789"
Answer = Callable[[Arrival], Reply | Wire]


def s3_error(status: int, code: str) -> Reply:
    body = f"<Error><Code>{code}</Code><Message>{code}!</Message></Error>".encode()
    return Reply(status, body, {"Content-Type": "application/xml"})


class Bucket:
    """A server with what S3 does for a GET: objects, ranges, and errors in XML."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.faults: list[Answer] = []
        self.gets: list[Arrival] = []

    def __call__(self, arrival: Arrival) -> Reply | Wire:
        self.gets.append(arrival)
        if self.faults:
            return self.faults.pop(0)(arrival)
        content = self.objects.get(unquote(arrival.target.partition("?")[0]))
        if content is None:
            return s3_error(404, "NoSuchKey")
        first, _, last = arrival.headers.get("range", "bytes=0-").partition("=")[2].partition("-")
        if not content:
            return Reply(
                416,
                b"<Error><Code>InvalidRange</Code>"
                b"<Message>The requested range is not satisfiable</Message></Error>",
            )
        piece = content[int(first) : int(last) + 1 if last else None]
        return Reply(206, piece, {"Content-Type": "image/jpeg", "ETag": '"1"'})


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


@pytest.fixture
async def s3(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """The URL of the storage; `s3://` leads to it."""
    async with Server(bucket) as running:
        options = {"key": "someone", "secret": SECRET, "endpoint_url": running.url}
        monkeypatch.setitem(fsspec.config.conf, "s3", options)
        s3fs.S3FileSystem.clear_instance_cache()
        yield running.url
        for one in [each for each in s3fs.S3FileSystem._cache.values() if each._s3 is not None]:
            await asyncio.to_thread(one.close_session, one.loop, one._s3)
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def memory() -> Iterator[Any]:
    """A file system without an event loop."""
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()


async def loaded(value: object, *, attempts: int = 3, within: float = 20, **allowed: Any) -> bytes:
    """The bytes that would be sent."""
    loader = ImageLoader(
        **{"allow_paths": True, "allow_urls": True, "max_bytes": 1_000_000} | allowed,
        timeout=within,
        retry_wait=lambda failures: 0.001 if failures < attempts else None,
    )
    encoded = await loader.load(value)
    assert isinstance(encoded, EncodedImage)
    return base64.b64decode(b"".join(map(bytes, encoded.chunks)))


async def test_a_stream_reads_from_a_bucket(
    make_client: MakeClient, server: Server, bucket: Bucket, s3: str
) -> None:
    bucket.objects = {f"/bucket/folder/{index}.jpg": picture(index) for index in range(20)}
    paths = [f"s3://bucket/folder/{index}.jpg" for index in range(20)]
    async with make_client() as client:
        workflow = client.workflow("w", "f")
        async with workflow.stream([*paths, "s3://bucket/none.jpg"], ordered=True) as results:
            *good, bad = [result async for result in results]
        output = await workflow.run("S3://bucket/folder/3.jpg")
        await workflow.run({"image": paths[4]})
    assert [result.input for result in good] == paths
    assert all(result.ok for result in good)
    assert output["hash"] == good[3].output["hash"]
    assert len({result.output["hash"] for result in good}) == 20
    assert isinstance(bad.error, ImageError)
    assert "s3://bucket/none.jpg" in str(bad.error)
    assert bad.attempts == 0
    # One request for each: the size is not asked for first.
    assert len(bucket.gets) == 23
    assert len(server.arrivals) == 22
    assert SECRET not in repr(good) + str(bad.error)


async def test_a_key_may_hold_what_a_chain_of_systems_has(bucket: Bucket, s3: str) -> None:
    """Two colons in a key are part of the key, and name no second file system."""
    bucket.objects = {"/bucket/a::file:///etc/x *.jpg": picture(1)}
    assert await loaded("s3://bucket/a::file:///etc/x *.jpg") == picture(1)


@pytest.mark.parametrize("kind", ["s3", "https", "memory", "gzip"])
async def test_no_more_is_read_than_allowed(
    kind: str, bucket: Bucket, s3: str, memory: Any
) -> None:
    content = picture(1) + bytes(5_000_000)
    bucket.objects = {"/bucket/large.jpg": content}
    memory.pipe("/large.jpg", content)
    memory.pipe("/large.gz", gzip.compress(content))
    given = {
        "s3": "s3://bucket/large.jpg",
        "https": fsspec.open(f"{s3}/bucket/large.jpg"),
        "memory": fsspec.open("memory://large.jpg"),
        "gzip": fsspec.open("memory://large.gz", compression="gzip"),
    }[kind]
    with pytest.raises(ImageError, match="larger than 1 MB"):
        await loaded(given)
    if kind == "s3":
        assert bucket.gets[0].headers["range"] == "bytes=0-1000000"


async def test_a_server_that_never_ends_is_left(bucket: Bucket, s3: str) -> None:
    """An endless body of a web server is read up to the limit, and no further."""
    head = b"HTTP/1.1 200 OK\r\n\r\n" + picture(1)
    bucket.faults = [lambda _: drip(head, bytes(100_000), every=0.001)]
    with pytest.raises(ImageError, match="larger than"):
        await loaded(fsspec.open(f"{s3}/endless.jpg"))


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(lambda _: s3_error(503, "ServiceUnavailable"), id="503"),
        pytest.param(lambda _: s3_error(500, "InternalError"), id="500"),
        pytest.param(lambda _: reset, id="reset"),
    ],
)
async def test_a_storage_that_fails_is_asked_again(
    fault: Answer, bucket: Bucket, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # botocore and s3fs have retries of their own, of a second and more.
    monkeypatch.setitem(
        fsspec.config.conf["s3"], "config_kwargs", {"retries": {"total_max_attempts": 1}}
    )
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    bucket.objects = {"/bucket/a.jpg": picture(1)}
    bucket.faults = [fault, fault]
    assert await loaded("s3://bucket/a.jpg") == picture(1)
    bucket.faults = [fault] * 20  # aiohttp repeats a request on its own whose connection is reset
    with pytest.raises(ImageError, match="storage has failed in 3 attempts"):
        await loaded("s3://bucket/a.jpg")


@pytest.mark.parametrize(
    ("status", "code"), [(403, "AccessDenied"), (403, "InvalidAccessKeyId"), (404, "NoSuchBucket")]
)
async def test_a_storage_that_refuses_is_asked_once(
    status: int, code: str, bucket: Bucket, s3: str
) -> None:
    bucket.faults = [lambda _: s3_error(status, code)] * 3
    with pytest.raises(ImageError, match=f"s3://bucket/a.jpg' cannot be read: .*{code}"):
        await loaded("s3://bucket/a.jpg")
    assert len(bucket.gets) == 1


async def test_missing_credentials_are_told_once(
    bucket: Bucket, s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whoever has no credentials is told so at once, and is not tried again."""
    monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": s3})
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ImageError, match=r"NoCredentialsError: Unable to locate credentials\.$"):
        await loaded("s3://bucket/a.jpg")
    assert not bucket.gets


async def test_an_empty_object_is_no_image(bucket: Bucket, s3: str) -> None:
    bucket.objects = {"/bucket/a.jpg": b""}
    with pytest.raises(ImageError, match=r"s3://bucket/a.jpg' is empty"):
        await loaded("s3://bucket/a.jpg")


async def test_a_storage_that_hangs_is_left_in_time(bucket: Bucket, s3: str, memory: Any) -> None:
    bucket.faults = [lambda _: hang] * 9
    with pytest.raises(ImageError, match=r"not read within 0.2 s .timeout=."):
        await loaded("s3://bucket/a.jpg", within=0.2, attempts=2)

    class Stuck:
        async_impl = False
        protocol = "stuck"

        def __init__(self) -> None:
            self.released = threading.Event()

        def cat_file(self, path: str, *, start: int, end: int) -> bytes:
            del path, start, end
            self.released.wait(20)
            return b""

    class File:
        path = "a.jpg"

        def __init__(self) -> None:
            self.fs = Stuck()

    file = File()
    with pytest.raises(ImageError, match=r"'a.jpg' cannot be read: it was not read within"):
        await loaded(file, within=0.05, attempts=2)
    file.fs.released.set()


async def test_the_loop_goes_on_while_a_file_is_read(memory: Any) -> None:
    """Other tasks run while a file system without an event loop is waited for."""
    memory.pipe("/a.jpg", picture(1))
    seen: list[int] = []

    class Slow(type(memory)):
        def cat_file(self, *arguments: Any, **options: Any) -> Any:
            seen.append(threading.get_ident())
            return memory.cat_file(*arguments, **options)

    file = fsspec.open("memory://a.jpg")
    file.fs = Slow()
    assert await loaded(file) == picture(1)
    assert seen
    assert seen[0] != threading.get_ident()


async def test_a_cancelled_read_is_cancelled_in_the_storage(bucket: Bucket, s3: str) -> None:
    """A read that is cancelled gives its connection back at once."""
    bucket.faults = [lambda _: hang]
    reading = asyncio.create_task(loaded("s3://bucket/a.jpg"))
    until = time.monotonic() + 20
    while not bucket.gets and time.monotonic() < until:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    bucket.objects = {"/bucket/b.jpg": picture(2)}
    assert await loaded("s3://bucket/b.jpg") == picture(2)


@pytest.mark.parametrize("refused", [{"allow_paths": False}, {"allow_urls": False}])
@pytest.mark.parametrize(
    "given", ["s3://bucket/a.jpg", "GS://bucket/a", "az://c/a.jpg", "abfss://c@d/a", "open"]
)
async def test_a_strangers_string_reaches_no_bucket(
    refused: dict[str, Any], given: str, bucket: Bucket, s3: str
) -> None:
    """A client that refuses paths or URLs reads nothing from storage."""
    bucket.objects = {"/bucket/a.jpg": picture(1)}
    value = fsspec.open("s3://bucket/a.jpg") if given == "open" else given
    with pytest.raises(ImageError, match=f"{next(iter(refused))}=False"):
        await loaded(value, **refused)
    assert not bucket.gets


async def test_public_urls_lead_to_no_bucket(bucket: Bucket, s3: str) -> None:
    """What a name in a storage leads to is not known to be public."""
    with pytest.raises(ImageError, match="allow_urls='public'"):
        await loaded("s3://bucket/a.jpg", allow_urls="public")
    with pytest.raises(ImageError, match="allow_urls='public'"):
        await loaded(fsspec.open("https://example.com/a.jpg"), allow_urls="public")
    assert not bucket.gets


async def test_the_servers_urls_stay_as_they_are(make_client: MakeClient, server: Server) -> None:
    """A string with https:// is fetched by the server; fsspec.open of it is read here."""
    async with make_client() as client:
        workflow = client.workflow("w", "f")
        await workflow.run("https://example.com/a.jpg")
    assert server.arrivals[0].json["inputs"]["image"]["type"] == "url"


async def test_an_open_file_of_the_web_is_read_here(bucket: Bucket, s3: str) -> None:
    bucket.objects = {"/a.jpg": picture(1)}
    assert await loaded(fsspec.open(f"{s3}/a.jpg?signature={SECRET}")) == picture(1)
    opened = await asyncio.to_thread(fsspec.open(f"{s3}/a.jpg").open)
    assert await loaded(opened) == picture(1)
    with pytest.raises(ImageError) as failed:
        await loaded(fsspec.open(f"{s3}/none.jpg?signature={SECRET}"))
    assert "none.jpg" in str(failed.value)
    bucket.faults = [lambda _: Reply(403)]
    with pytest.raises(ImageError, match="403") as refused:
        await loaded(fsspec.open(f"{s3}/none.jpg?signature={SECRET}"))
    assert SECRET not in f"{failed.value}{refused.value!r}"


async def test_no_option_of_a_file_system_is_told(bucket: Bucket, s3: str) -> None:
    """What a storage says does not bring its key or secret into a message."""
    told = f"<Error><Code>AccessDenied</Code><Message>{SECRET} is wrong</Message></Error>"
    bucket.faults = [lambda _: Reply(403, told.encode())]
    file = fsspec.open("s3://bucket/a.jpg", secret=SECRET, client_kwargs={"region_name": "any"})
    with pytest.raises(ImageError, match="… is wrong") as refused:
        await loaded(file)
    assert SECRET not in str(refused.value)
    with pytest.raises(ImageError) as unknown:
        await loaded(f"s3://me:{SECRET}@bucket/none.jpg")
    assert SECRET not in str(unknown.value)


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        (Path("s3://bucket/a.jpg"), "give it as a str"),
        (Path("https://example.com/a.jpg"), "give it as a str"),
        ("hdfs://host/a.jpg", "give fsspec.open"),
        ("none.jpg", "there is no file 'none.jpg'.$"),
    ],
)
async def test_a_wrong_path_is_told_what_to_give(path: object, advice: str) -> None:
    with pytest.raises(ImageError, match=advice):
        await loaded(path)


@pytest.mark.parametrize(
    ("missing", "url", "package"),
    [
        ("gcsfs", "gs://b/a", "gcsfs"),
        ("adlfs", "az://b/a", "adlfs"),
        ("fsspec", "s3://b/a", "s3fs"),
    ],
)
async def test_a_missing_package_is_named(
    missing: str, url: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package that is missing ends a stream, and the error says what to install."""
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConfigurationError, match=rf"'roboflow-async\[fsspec\]' {package}"):
        await loaded(url)


async def test_many_reads_at_once_use_one_session(server: Server, bucket: Bucket, s3: str) -> None:
    """The first reads of a process may all begin at once."""
    bucket.objects = {f"/bucket/{index}": picture(index) for index in range(100)}
    async with RoboflowClient(
        KEY, api_url=server.url, requests_per_second=None, retry=FAST, max_concurrency=64
    ) as client:
        workflow = client.workflow("w", "f")
        results = workflow.stream(f"s3://bucket/{index}" for index in range(100))
        hashes = {result.output["hash"] async for result in results}
    assert len(hashes) == 100


def test_a_file_that_is_not_open_can_be_copied(memory: Any) -> None:
    """A file of fsspec goes to another process, where it is read."""
    memory.pipe("/a.jpg", picture(1))
    file = fsspec.open("memory://a.jpg")
    for one in (copy.copy(file), pickle.loads(pickle.dumps(file))):
        assert asyncio.run(loaded(one)) == picture(1)
