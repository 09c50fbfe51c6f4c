"""Images in a bucket are sources as files and URLs are: named, in a list, and from stdin."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote

import pytest
from support.command_line import CommandLine
from support.run_command import ENVIRONMENT, RunCommand, put

from roboflow_async.testing import StandInServer, draw_scene

pytest.importorskip("s3fs", reason="needs s3fs")
ODD = "photos/50% #1 ü?.jpg"


class Bucket(ThreadingHTTPServer):
    """What S3 does for a GET. Keys in `away` are refused as while S3 is overloaded."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.away: set[str] = set()
        self.environment = {
            **ENVIRONMENT,
            "FSSPEC_S3": json.dumps(
                {
                    "key": "someone",
                    "secret": "bucketSECRET0123456789",
                    "endpoint_url": f"http://127.0.0.1:{self.server_port}",
                    # One attempt of its own: ours are those that are tested.
                    "config_kwargs": {"retries": {"total_max_attempts": 1}},
                }
            ),
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        key = unquote(self.path.partition("?")[0]).removeprefix("/bucket/")
        assert isinstance(self.server, Bucket)
        content = self.server.objects.get(key)
        if content is None or key in self.server.away:
            status, code = (404, "NoSuchKey") if content is None else (503, "SlowDown")
            body = f"<Error><Code>{code}</Code><Message>{code}!</Message></Error>".encode()
        else:
            status, body = 206, content
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        pass


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with Bucket() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def run_from(
    bucket: Bucket, run: RunCommand, *arguments: str, stdin: str = "", code: int = 0
) -> str:
    """Run the command with the bucket in its environment; what it says."""
    done = run.command_line.run(
        *run.arguments(*arguments), cwd=run.folder, env=bucket.environment, stdin=stdin
    )
    assert done.returncode == code, done.stderr
    return done.stderr


@pytest.fixture
def run(command_line: CommandLine, tmp_path: Path) -> Iterator[RunCommand]:
    with StandInServer(requests_per_second=None, latency=0.0) as server:
        yield RunCommand(command_line, tmp_path, server)


def test_objects_are_inputs_named_listed_and_from_stdin(bucket: Bucket, run: RunCommand) -> None:
    keys = [ODD, "a.jpg", "deep/a.jpg", "listed.jpg", "later.jpg"]
    bucket.objects = {key: draw_scene(index).jpeg for index, key in enumerate(keys)}
    odd, named, deep, listed, later = (f"s3://bucket/{key}" for key in keys)
    deep = deep.replace("s3", "S3")
    put(run.folder, "here.jpg")
    text = f"\ufeff{listed}\nhere.jpg\n{listed}\n# none\n".encode()
    (run.folder / "list.txt").write_bytes(text)
    told = run_from(
        bucket, run, odd, named, deep, "list.txt", "-", "--save-images", "pictures",
        stdin=f"{later}\n{named}\n",
    )  # fmt: skip
    lines = {line["image"]: line for line in run.lines()}
    assert sorted(lines) == sorted([odd, named, deep, listed, later, "here.jpg"])
    assert "6 images: 6 succeeded" in told
    assert "file" not in lines[named]
    saved = [line["output"]["visualization"] for line in lines.values()]
    assert len(set(saved)) == 6
    assert all((run.folder / path).is_file() for path in saved)
    assert lines[odd]["output"]["visualization"].startswith("pictures/bucket/photos/")
    # The same command sends none of them again.
    run_from(bucket, run, odd, named, "list.txt")
    assert run.billed == 6


def test_an_object_that_storage_fails_to_give_is_tried_again(
    bucket: Bucket, run: RunCommand
) -> None:
    bucket.objects = {"good.jpg": draw_scene(1).jpeg, "away.jpg": draw_scene(2).jpeg}
    bucket.away = {"away.jpg"}
    sources = [f"s3://bucket/{name}.jpg" for name in ("good", "away", "none")]
    told = run_from(bucket, run, *sources, code=4)
    assert "The same command tries 1 of them again" in told
    bucket.away = set()
    told = run_from(bucket, run, *sources, code=4)
    assert "3 images (2 of them before): 2 succeeded, 1 failed" in told
    assert "Done again: 1 failed for a reason that may be gone." in told
    assert "s3://bucket/none.jpg" in run.lines("results.failures.jsonl")[0]["image"]
    assert "bucketSECRET0123456789" not in told + (run.folder / "results.jsonl").read_text()


def test_an_object_is_drawn_on_and_in_a_dataset(bucket: Bucket, run: RunCommand) -> None:
    pytest.importorskip("supervision")
    bucket.objects = {ODD: draw_scene(1).jpeg, "b/a.jpg": draw_scene(2).jpeg}
    sources = [f"s3://bucket/{key}" for key in bucket.objects]
    told = run_from(
        bucket, run, *sources, "--annotate", "drawn", "-o", "all.json", "--format", "coco"
    )
    assert "Pictures annotated: 2." in told
    assert len([*(run.folder / "drawn" / "bucket").rglob("*.jpg")]) == 2
    images = json.loads((run.folder / "all.json").read_text())["images"]
    assert sorted(image["file_name"] for image in images) == sorted(sources)


@pytest.mark.parametrize(
    "source", ["s3://bucket", "s3://bucket/", "gs://b/photos/", "s3://b/*.jpg"]
)
def test_what_is_no_object_is_told_before_a_run(run: RunCommand, source: str) -> None:
    done = run(source, code=1)
    assert f"error: {source!r} is not one object" in done.stderr
    assert "aws s3 ls" in done.stderr or "gcloud storage ls" in done.stderr
    assert not (run.folder / "results.jsonl").exists()
    assert run.billed == 0


def test_objects_are_planned_for(run: RunCommand) -> None:
    done = run.command_line.run(
        "plan", "s3://bucket/a.jpg", "s3://bucket/b.jpg", "--workflow", "ws/wf",
        cwd=run.folder, env=ENVIRONMENT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "2 images of 100 kB" in done.stdout
