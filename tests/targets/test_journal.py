"""`stream(..., journal=)`: what was done is not sent again, and each result is kept."""

import asyncio
import base64
import gc
import json
import os
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from conftest import MakeClient, picture
from pydantic import BaseModel
from support.loopback import Arrival, Reply, Server, echo, hang, held, outputs

from roboflow_async import (
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ResponseError,
    Result,
    RetryPolicy,
    Workflow,
    endpoints,
    types,
)

pytestmark = pytest.mark.anyio
PROGRAM = Path(__file__).parents[1] / "support" / "journal_program.py"

Results = list[Result[Any, Any]]


@pytest.fixture(params=["jsonl", "sqlite"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"run.{request.param}"


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "data"
    folder.mkdir()
    made = [folder / f"{number}.jpg" for number in range(8)]
    for number, path in enumerate(made):
        path.write_bytes(picture(number))
    return made


def lines_of(journal: Path) -> dict[str, Any]:
    """The lines of a journal that is closed, by the names of their inputs."""
    if journal.suffix == ".jsonl":
        texts = journal.read_text("utf-8").splitlines()
    else:
        connection = sqlite3.connect(journal)
        texts = [row[0] for row in connection.execute("SELECT line FROM results ORDER BY id")]
        connection.close()
    lines = [json.loads(text) for text in texts]
    assert len({line["image"] for line in lines}) == len(lines)
    return {line["image"]: line for line in lines}


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


async def taken(stream: Any) -> Results:
    async with stream as results:
        return [result async for result in results]


def outcomes(results: Results) -> list[tuple[int, Any]]:
    return sorted((one.index, one.output if one.ok else repr(one.error)) for one in results)


# Going on


async def test_what_is_done_is_not_sent_again(
    server: Server, make_client: MakeClient, journal: Path, files: list[Path]
) -> None:
    async with make_client() as client:
        workflow = client.workflow("ws", "wf")
        first = await taken(workflow.stream(files, journal=journal))
        again = await taken(workflow.stream(iter(files), journal=str(journal), ordered=True))
        assert len(server.arrivals) == len(files)
    assert not any(result.from_journal for result in first)
    assert all(result.from_journal for result in again)
    assert outcomes(first) == outcomes(again)
    assert [result.input for result in again] == files
    assert [result.attempts for result in again] == [1] * len(files)
    assert {result.index: result.latency for result in again} == pytest.approx(
        {result.index: result.latency for result in first}, abs=1e-3
    )
    assert lines_of(journal).keys() == {str(path) for path in files}
    assert mode_of(journal) == 0o600 or os.name != "posix"


@pytest.mark.parametrize("how", ["break", "cancel", "finish", "drop"])
async def test_a_stream_that_ended_early_goes_on(
    server: Server, make_client: MakeClient, journal: Path, how: str
) -> None:
    """However it ended, the journal is whole and free when the stream is closed."""
    images = [picture(number) for number in range(40)]
    async with make_client(max_concurrency=4) as client:
        workflow = client.workflow("ws", "wf")
        others = asyncio.all_tasks()
        stream = workflow.stream(images, journal=journal)
        got: Results = []

        async def take() -> None:
            async for result in stream:
                got.append(result)
                if len(got) == 5:
                    if how == "finish":
                        stream.finish()
                    elif how == "cancel":
                        await asyncio.sleep(60)
                    else:
                        return

        taking = asyncio.create_task(take())
        if how == "cancel":
            async with asyncio.timeout(10):
                while len(got) < 5:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            taking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await taking
        else:
            await taking
        if how == "drop":
            with pytest.warns(ResourceWarning, match="never closed"):  # noqa: PT031
                del stream, taking, take
                gc.collect()
            async with asyncio.timeout(30):  # nobody waits for a stream that was dropped
                while asyncio.all_tasks() - others:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        else:
            await stream.aclose()
        sent = len(server.arrivals)
        assert 5 <= sent <= 5 + 2 * 4
        again = await taken(workflow.stream(images, journal=journal))
        assert len(again) == 40
        # What was in flight may have come in time to be written.
        known = sum(result.from_journal for result in again)
        assert known >= len(got)
        assert len(server.arrivals) - sent == 40 - known
    assert len(lines_of(journal)) == 40


async def test_a_line_is_written_before_its_result_comes(
    server: Server, make_client: MakeClient, tmp_path: Path, files: list[Path]
) -> None:
    journal = tmp_path / "run.jsonl"
    async with make_client() as client:
        stream = client.workflow("ws", "wf").stream(files, journal=journal)
        async for result in stream:
            assert str(result.input) in lines_of(journal)


@pytest.mark.parametrize("form", ["jsonl", "sqlite"])
async def test_killed_again_and_again_sends_each_content_once(
    server: Server, tmp_path: Path, form: str
) -> None:
    """Killed with -9 three times over 300 files, 20 % of them duplicates by content."""
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(300):
        (folder / f"{number:03}.jpg").write_bytes(picture(number % 240))
    server.handler = lambda arrival: Reply(body=outputs(hash=arrival.image_hash), delay=0.01)
    journal = tmp_path / f"run.{form}"
    in_flight = 0
    for kills in range(4):
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(PROGRAM), server.url, str(folder), str(journal),
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        target = (kills + 1) * 60
        said = 0
        if kills < 3:
            while said < target:
                said += bool(await process.stdout.readline())
            in_flight += server.in_flight
            process.send_signal(signal.SIGKILL)
        rest, _ = await process.communicate()
    assert len(rest.splitlines()) == 300
    assert process.returncode == 0
    assert len(lines_of(journal)) == 300
    hashes = Counter(arrival.image_hash for arrival in server.arrivals if arrival.body)
    assert len(hashes) == 240
    # Some may have come back, and been killed before they were written.
    assert len(server.arrivals) <= 240 + 3 * 32
    assert len(server.arrivals) >= 240
    assert in_flight <= 3 * 32


# Equal inputs


async def test_equal_contents_are_sent_once(
    server: Server, make_client: MakeClient, journal: Path, files: list[Path]
) -> None:
    """Also if they are in flight at the same time; each file has its own line."""
    for path in files[4:]:
        path.write_bytes(picture(0))
    server.handler = lambda arrival: Reply(body=outputs(hash=arrival.image_hash), delay=0.05)
    async with make_client() as client:
        workflow = client.workflow("ws", "wf")
        results = await taken(workflow.stream(files, journal=journal, key="content", ordered=True))
        assert len(server.arrivals) == 4
        assert len({result.output["hash"] for result in results[:1] + results[4:]}) == 1
        assert sum(result.from_journal for result in results) == 4
        assert sum(result.attempts for result in results) == 4
        again = await taken(workflow.stream(files, journal=journal, key="content"))
        assert outcomes(again) == outcomes(results)
        assert sum(result.attempts for result in again) == 4
        # A copy elsewhere, as bytes, and as a file object.
        copies = [picture(1), files[1].open("rb"), bytearray(picture(1))]
        copied = await taken(workflow.stream(copies, journal=journal, key="content"))
        copies[1].close()
        assert {result.output["hash"] for result in copied} == {results[1].output["hash"]}
        assert len(server.arrivals) == 4
    assert len(lines_of(journal)) == 8 + 3


async def test_equal_bytes_are_sent_once_and_have_a_line_each(
    server: Server, make_client: MakeClient, journal: Path
) -> None:
    """Bytes have no name, so their content and the number of equals tell them apart."""
    images = [picture(number % 3) for number in range(9)]
    async with make_client() as client:
        for attempt in range(2):
            results = await taken(client.workflow("ws", "wf").stream(images, journal=journal))
            assert len(results) == 9
            assert len(server.arrivals) == 3
            assert sum(result.from_journal for result in results) == (6, 9)[attempt]
            assert len(lines_of(journal)) == 9


async def test_an_equal_input_is_tried_if_the_first_one_failed(
    server: Server, make_client: MakeClient, journal: Path
) -> None:
    """A failure that may pass is not shared; one that is the image's own is."""

    def handler(arrival: Arrival) -> Reply:
        return Reply(503) if arrival.index == 0 else echo_of(arrival)

    server.handler = handler
    async with make_client(retry=RetryPolicy(max_attempts=1, max_outage=0)) as client:
        workflow = client.workflow("ws", "wf")
        results = await taken(workflow.stream([picture(1)] * 3, journal=journal))
        assert sorted(result.ok for result in results) == [False, True, True]
        assert len(server.arrivals) == 2
        server.handler = lambda _: Reply(400, b'{"message": "not this one"}')
        results = await taken(workflow.stream([picture(2)] * 3, journal=journal))
        assert [str(result.error) for result in results if not result.ok] == [
            str(results[0].error)
        ] * 3
        assert len(server.arrivals) == 3


def echo_of(arrival: Arrival) -> Reply:
    return Reply(body=outputs(hash=arrival.image_hash))


# Failures


async def test_failures_that_may_pass_are_tried_again(
    server: Server, make_client: MakeClient, journal: Path, files: list[Path]
) -> None:
    """As with the command: the others come from the journal, as the errors that they were."""
    faults = {
        0: Reply(503, b'{"message": "overloaded"}'), 1: Reply(400, b'{"message": "bad shape"}'),
        2: Reply(body=b'{"outputs": []}'), 3: Reply(500),
    }  # fmt: skip
    numbers = {picture(number): number for number in range(8)}

    def handler(arrival: Arrival) -> Reply:
        image = base64.b64decode(arrival.json["inputs"]["image"]["value"])
        return faults.get(numbers[image], Reply(body=outputs(hash=arrival.image_hash)))

    server.handler = handler
    inputs = [*files, files[0].with_name("missing.jpg")]
    policy = RetryPolicy(max_attempts=2, base=0.001, max_outage=0)
    async with make_client(retry=policy) as client:
        workflow = client.workflow("ws", "wf")
        first = await taken(workflow.stream(inputs, journal=journal, ordered=True))
        assert [type(result.error).__name__ for result in first if not result.ok] == [
            "ServerError", "BadRequestError", "ResponseError", "ServerError", "ImageError"
        ]  # fmt: skip
        server.arrivals.clear()
        faults.clear()
        again = await taken(workflow.stream(inputs, journal=journal, ordered=True))
        assert len(server.arrivals) == 2
        assert [result.from_journal for result in again] == [
            False, True, True, False, True, True, True, True, True
        ]  # fmt: skip
        for number in (1, 2, 8):
            before, now = first[number].error, again[number].error
            assert vars(before) == vars(now)
            assert type(before) is type(now)
            with pytest.raises(type(before)):
                _ = again[number].output
        assert isinstance(again[1].error, BadRequestError)
        assert again[1].error.status_code == 400
        third = await taken(workflow.stream(inputs, journal=journal, retry_failed=True))
        assert len(server.arrivals) == 4
        assert sum(not result.ok for result in third) == 1
    assert len(lines_of(journal)) == 9
    assert sum("error" in line for line in lines_of(journal).values()) == 1


async def test_what_ends_a_stream_is_no_result(
    server: Server, make_client: MakeClient, journal: Path, files: list[Path]
) -> None:
    server.handler = lambda _: Reply(401)
    async with make_client() as client:
        workflow = client.workflow("ws", "wf")
        with pytest.raises(AuthenticationError):
            await taken(workflow.stream(files, journal=journal))
        assert lines_of(journal) == {}
        server.handler = echo_of
        assert len(await taken(workflow.stream(files, journal=journal))) == len(files)


# Files that changed


async def test_a_file_that_changed_is_done_again(
    server: Server, make_client: MakeClient, journal: Path, files: list[Path]
) -> None:
    """One that was only touched is not, nor one that is away."""
    async with make_client() as client:
        workflow = client.workflow("ws", "wf")
        await taken(workflow.stream(files, journal=journal))
        files[0].write_bytes(picture(100))
        os.utime(files[1], (1, 1))
        files[2].unlink()
        again = await taken(workflow.stream(files, journal=journal, ordered=True))
        assert [result.from_journal for result in again] == [False] + [True] * 7
        assert len(server.arrivals) == 9
        assert all(one.from_journal for one in await taken(workflow.stream(files, journal=journal)))
    assert len(lines_of(journal)) == 8


# Types


class Hash(BaseModel):
    hash: str


async def test_an_output_type_comes_back_as_it_was(
    server: Server, make_client: MakeClient, journal: Path, files: list[Path]
) -> None:
    """The response itself is kept, so that another type may read it later."""

    class Other(BaseModel):
        hash: int

    async with make_client() as client:
        typed = client.workflow("ws", "wf", output_type=Hash)
        first = await taken(typed.stream(files, journal=journal, ordered=True))
        again = await taken(typed.stream(files, journal=journal, ordered=True))
        assert all(type(result.output) is Hash for result in again)
        assert [result.output for result in again] == [result.output for result in first]
        plain = await taken(client.workflow("ws", "wf").stream(files, journal=journal))
        assert all(result.from_journal and type(result.output) is dict for result in plain)
        other = client.workflow("ws", "wf", output_type=Other)
        failed = await taken(other.stream(files, journal=journal))
        assert all(isinstance(result.error, ResponseError) for result in failed)
        assert "from the journal: the output does not fit" in str(failed[0].error)
        assert len(server.arrivals) == len(files)
    assert not any("error" in line for line in lines_of(journal).values())


BOX = {"x": 5, "y": 4, "width": 2, "height": 1, "confidence": 0.9, "class": "cat", "class_id": 1}
PREDICTIONS: dict[str, Any] = {
    "ObjectDetection": {"predictions": [BOX], "image": {"width": 9, "height": 8}, "new": [1]},
    "InstanceSegmentation": {"predictions": [BOX | {"points": [{"x": 1, "y": 2}]}]},
    "KeypointsDetection": {
        "predictions": [BOX | {"keypoints": [{"x": 1, "y": 2, "confidence": 1, "class": "nose"}]}]
    },
    "Classification": {"predictions": {"cat": {"confidence": 0.5}}, "top": "cat"},
    "MultiLabelClassification": {"predictions": [], "predicted_classes": []},
    "SemanticSegmentation": {
        "predictions": {"segmentation_mask": "", "class_map": {}, "confidence_mask": ""}
    },
}


@pytest.mark.parametrize("kind", list(PREDICTIONS))
async def test_a_prediction_comes_back_as_it_was(
    server: Server, make_client: MakeClient, journal: Path, kind: str
) -> None:
    server.handler = lambda _: Reply(body=json.dumps(PREDICTIONS[kind]).encode())
    async with make_client() as client:
        model = client.model("pets/3", route="path")
        (first,) = await taken(model.stream([picture(1)], journal=journal))
        (again,) = await taken(model.stream([picture(1)], journal=journal))
        assert type(again.output) is type(first.output) is getattr(types, kind)
        assert again.output == first.output
        assert vars(again.output) == vars(first.output)
        assert len(server.arrivals) == 1


async def test_an_empty_prediction_keeps_its_type(
    server: Server, make_client: MakeClient, journal: Path
) -> None:
    """Its JSON does not tell what the model does, and by then the client may know it."""
    server.handler = lambda _: Reply(body=b'{"predictions": []}')
    async with make_client() as client:
        model = client.model("pets/3", task="keypoint-detection", route="path")
        (first,) = await taken(model.stream([picture(1)], journal=journal))
        assert type(first.output) is types.KeypointsDetection
        (again,) = await taken(model.stream([picture(1)], journal=journal))
        assert type(again.output) is types.KeypointsDetection


async def test_endpoints_have_journals_too(
    server: Server, make_client: MakeClient, journal: Path, files: list[Path]
) -> None:
    """Texts are their own keys; requests are told apart by all that they hold."""
    server.handler = lambda arrival: Reply(body=b'{"embeddings": [[%d]]}' % arrival.index)
    async with make_client() as client:
        texts = client.endpoint(endpoints.CLIP_EMBED_TEXT)
        words = ["a.jpg", "a cat", "a cat", "https://a.example"]
        first = await taken(texts.stream(words, journal=journal, ordered=True))
        again = await taken(texts.stream(words, journal=journal, ordered=True))
        assert [one.output for one in again] == [one.output for one in first]
        assert isinstance(again[0].output, endpoints.CLIP_EMBED_TEXT.response)
        assert len(server.arrivals) == 3
        assert lines_of(journal).keys() == set(words)
        images = client.endpoint(endpoints.CLIP_EMBED_IMAGE)
        with pytest.raises(ConfigurationError, match="endpoint was /clip/embed_text, is /clip/"):
            await taken(images.stream(files, journal=journal))
        other = journal.with_stem("images")
        await taken(images.stream(files, journal=other))
        requests = [
            endpoints.ClipImageRequest(image=path, clip_version_id=version)
            for path in files[:2]
            for version in ("ViT-B-16", "ViT-B-32")
        ]
        server.arrivals.clear()
        for _ in range(2):
            assert len(await taken(images.stream(requests, journal=other))) == 4
        assert len(server.arrivals) == 4


async def test_a_large_output_comes_back_whole(
    server: Server, make_client: MakeClient, journal: Path
) -> None:
    """Above 128 KiB it is read, written and restored in threads."""
    boxes = [BOX | {"x": number, "detection_id": f"ü\x9b{number}"} for number in range(4000)]
    body = json.dumps({"predictions": boxes, "image": {"width": 9, "height": 8}}).encode()
    server.handler = lambda _: Reply(body=body)
    async with make_client() as client:
        model = client.model("pets/3", task="object-detection", route="path")
        (first,) = await taken(model.stream([picture(1)], journal=journal))
        (again,) = await taken(model.stream([picture(1)], journal=journal))
        assert len(again.output.predictions) == 4000
        assert again.output == first.output
        assert again.from_journal


# Another run


async def test_another_run_is_refused_with_what_differs(
    server: Server, make_client: MakeClient, journal: Path, files: list[Path]
) -> None:
    """The error names the old and the new; nothing is sent."""
    async with make_client() as client, make_client(api_url="http://127.0.0.1:1") as elsewhere:
        given = {"confidence": 0.4, "names": ["a"]}
        await taken(client.workflow("ws", "wf", parameters=given).stream(files, journal=journal))
        server.arrivals.clear()
        others: list[tuple[Workflow[Any], str]] = [
            (client.workflow("ws", "other", parameters=given), "workflow was ws/wf, is ws/other"),
            (client.workflow("ws", "wf"), 'parameters names was ["a"], is not given'),
            (
                client.workflow("ws", "wf", parameters=given | {"confidence": 0.5}),
                "parameters confidence was 0.4, is 0.5",
            ),
            (
                client.workflow("ws", "wf", parameters=given, max_side=640),
                "max side was not given, is 640",
            ),
            (
                elsewhere.workflow("ws", "wf", parameters=given),
                f"host was {server.url}, is http://127.0.0.1:1",
            ),
        ]
        for workflow, told in others:
            with pytest.raises(ConfigurationError) as raised:
                await taken(workflow.stream(files, journal=journal))
            assert told in str(raised.value)
            assert "give another journal=, or remove it" in str(raised.value)
        same = client.workflow("ws", "wf", parameters=given)
        with pytest.raises(ConfigurationError, match="key was the input, is content"):
            await taken(same.stream(files, journal=journal, key="content"))
        with pytest.raises(ConfigurationError, match="model was not given, is pets/3"):
            await taken(client.model("pets/3", confidence=0.5).stream(files, journal=journal))
        assert not server.arrivals
        assert len(await taken(same.stream(files, journal=journal))) == len(files)
        assert not server.arrivals


async def test_a_journal_that_came_to_nothing_binds_nobody(
    server: Server, make_client: MakeClient, journal: Path, files: list[Path]
) -> None:
    server.handler = lambda _: Reply(404)
    async with make_client() as client:
        with pytest.raises(Exception, match="404"):
            await taken(client.workflow("ws", "typo").stream(files, journal=journal))
        server.handler = echo_of
        assert len(await taken(client.workflow("ws", "wf").stream(files, journal=journal))) == 8


async def test_a_secret_of_a_model_is_not_written(
    server: Server, make_client: MakeClient, journal: Path, files: list[Path]
) -> None:
    server.handler = lambda _: Reply(body=b'{"predictions": []}')
    async with make_client() as client:
        model = client.model(
            "pets/3", route="path", service_secret="hidden-0123", count_inference=False
        )
        await taken(model.stream(files, journal=journal))
    for path in journal.parent.iterdir():
        assert path.is_dir() or b"hidden-0123" not in path.read_bytes()


# One at a time


async def test_a_second_stream_on_a_journal_is_refused(
    server: Server, make_client: MakeClient, journal: Path, files: list[Path]
) -> None:
    release = asyncio.Event()
    server.handler = lambda arrival: (
        held(release, echo(arrival)) if arrival.index else echo(arrival)
    )
    async with make_client() as client:
        workflow = client.workflow("ws", "wf")
        async with workflow.stream(files, journal=journal) as first:
            await anext(first)
            with pytest.raises(ConfigurationError, match="wait for it, or give another journal="):
                await taken(workflow.stream(files, journal=journal))
            release.set()
            rest = [result async for result in first]
        assert len(rest) == 7
        assert len(await taken(workflow.stream(files, journal=journal))) == 8


async def test_a_stream_with_a_journal_may_be_finished(
    server: Server, make_client: MakeClient, journal: Path, files: list[Path]
) -> None:
    """What waits for a lookup or a turn has no result; what was sent comes back."""
    server.handler = lambda _: hang
    async with make_client(max_concurrency=2) as client:
        stream = client.workflow("ws", "wf").stream([files[0]] * 4, journal=journal)
        taking = asyncio.ensure_future(anext(stream))
        async with asyncio.timeout(10):
            while not server.arrivals:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        stream.finish()
        await stream.aclose()
        with pytest.raises(StopAsyncIteration):
            await taking
        assert len(server.arrivals) == 1


async def test_an_endless_input_has_a_journal(
    server: Server, make_client: MakeClient, journal: Path
) -> None:
    async def frames() -> AsyncIterator[bytes]:
        number = 0
        while True:
            yield picture(number)
            number += 1

    async with make_client(max_concurrency=3) as client:
        workflow = client.workflow("ws", "wf")
        for _ in range(2):
            async with workflow.stream(frames(), journal=journal, ordered=True) as results:
                async for result in results:
                    if result.index == 10:
                        break
        assert result.from_journal
        assert len(server.arrivals) <= 11 + 8 * 3 + 3


async def test_timeouts_are_told_as_they_were(
    server: Server, make_client: MakeClient, journal: Path
) -> None:
    server.handler = lambda _: hang
    policy = RetryPolicy(max_attempts=1, max_outage=0)
    async with make_client(timeout=0.1, retry=policy) as client:
        (first,) = await taken(client.workflow("ws", "wf").stream([picture(1)], journal=journal))
        assert isinstance(first.error, APITimeoutError)
    (line,) = lines_of(journal).values()
    assert line["error"]["temporary"] is True
    assert "content" not in line
