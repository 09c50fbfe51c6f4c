"""A hostile server's responses: little memory, a loop that goes on, finite numbers."""

import asyncio
import base64
import gzip
import json
import multiprocessing
import pickle
import struct
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from zlib import crc32

import pydantic
import pytest
from conftest import JPEG, MakeClient, picture
from support.loopback import Reply, Server, outputs

from roboflow_async import ConfigurationError, ImageError, ResponseError, RetryPolicy, open_image
from roboflow_async._engine.api.bounded_validation import _set_in_steps, bounded_validation
from roboflow_async._engine.api.large_json import Weight, parse_in_pieces
from roboflow_async._engine.api.responses import Response, parse_json
from roboflow_async._engine.api.thrift import Thrift, TooMuchMemoryError
from roboflow_async.testing import draw_scene
from roboflow_async.types.predictions import (
    AnomalyDetection,
    Classification,
    InstanceSegmentation,
    KeypointsDetection,
    MultiLabelClassification,
    ObjectDetection,
    SemanticSegmentation,
)
from roboflow_async.types.to_supervision import remember_given_size

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
import large_responses

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore:OpenCV")]
BOX = {"x": 50, "y": 40, "width": 20, "height": 10, "confidence": 0.9, "class": "cat"}
TRIANGLE = [{"x": 40, "y": 35}, {"x": 60, "y": 35}, {"x": 50, "y": 45}]


def many(item: bytes, size: int) -> bytes:
    """A list of an item that has so many bytes."""
    return b"[" + ((item + b",") * (size // (len(item) + 1)))[:-1] + b"]"


def predictions(item: bytes, size: int) -> bytes:
    return b'{"image":{"width":9,"height":9},"predictions":' + many(item, size) + b"}"


# Memory


def in_a_process(kind: str, megabytes: float) -> dict[str, Any]:
    """What one such response costs a process of its own.

    It is forked from one that has imported the client, where that can be: for most of the time a
    new one would only do the same.
    """
    size = int(megabytes * large_responses.MIB)
    forks = "forkserver" in multiprocessing.get_all_start_methods()
    multiprocessing.set_forkserver_preload(["roboflow_async._client.client"])
    found = large_responses.measure(kind, size - 1000, "forkserver" if forks else "spawn")
    return {**found, "size": size}


@pytest.mark.parametrize(
    "kind",
    ["{} for segments", "[] in an output", "{} for classes by name", "one outline", "deep nesting"],
)
def test_a_response_of_8_mb_takes_ten_times_its_size_at_most(kind: str) -> None:
    """A response of 8 MB never takes more than ten times its size."""
    found = in_a_process(kind, 8)
    assert "Error" in found["outcome"]
    assert found["memory"] <= 10 * found["size"]


REAL = ["one outline", "segments", "small detections", "poses"]


@pytest.mark.parametrize(
    "kind",
    [*REAL, "one pose", "points in an output", "classes by name", "deep objects",
     "text with emojis"],
)  # fmt: skip
def test_a_good_response_of_4_mb_takes_no_more_either(kind: str) -> None:
    """A response of 4 MB takes no more than ten times its size, and those of models are taken."""
    found = in_a_process(kind, 4)
    assert found["memory"] <= 10 * found["size"]
    if kind in REAL:
        assert found["outcome"] == "an output"


def test_values_that_are_kept_small_are_the_same_values() -> None:
    """Also those that are equal and not the same: 0.0 and -0.0, 1 and 1.0 and True."""
    content = (
        b'[{"x":1.5,"y":[0.0,-0.0,0,1,1.0,true,false,null,"a","",{},[],{"x":1}]},{"b":1,"a":2},'
        b'{"a":2,"b":1},300,300.0,"a",%s,1e2,{"a":{"a":{"a":{"a":{"a":{"a":{"a":-0.0}}}}}}}]'
    ) % (b'{"' + b'":0,"'.join(b"%d" % i for i in range(40)) + b'":1}')
    found = parse_in_pieces(content, Thrift(1 << 20))
    assert repr(found) == repr(json.loads(content))
    found[0]["z"] = 3
    del found[1]["a"]
    assert list(found[0]) == ["x", "y", "z"]
    assert found[1:3] == [{"b": 1}, {"a": 2, "b": 1}]


def test_values_without_room_end_the_parsing() -> None:
    """Values that take more than there is room for end the parsing."""
    content = many(b'{"x":1021.5,"y":456.5}', 100_000)
    parse_in_pieces(content, Thrift(1_000_000))
    with pytest.raises(TooMuchMemoryError):
        parse_in_pieces(content, Thrift(100_000))


def test_predictions_without_room_are_told_so() -> None:
    """Predictions that take more are told so, and not that they do not fit."""
    given = {"predictions": [{"class": str(i), "confidence": 0.5} for i in range(2000)]}
    with pytest.raises(TooMuchMemoryError):
        bounded_validation(pydantic.TypeAdapter(Classification), given, Thrift(100_000))


def test_a_text_too_wide_to_put_together_is_refused() -> None:
    """9 million characters of 4 bytes each would be copied at once; ASCII is not refused."""
    wide = b'["' + b"a" * (9 << 20) + "\N{GRINNING FACE}".encode() + b'"]'
    with pytest.raises(ResponseError, match=r"9,437,185 characters that are not all ASCII"):
        parse_json(Response(200, {}, wide))
    plain = parse_json(Response(200, {}, b'["' + b"a" * (9 << 20) + b'"]'))
    assert len(plain[0]) == 9 << 20


def test_a_depth_map_of_full_hd_is_taken() -> None:
    rows = b"[" + b",".join([many(b"0.123", 1920 * 6)] * 1080) + b"]"
    found = parse_json(Response(200, {}, rows))
    assert [len(found), len(found[0])] == [1080, 1920]


class Kept(pydantic.BaseModel):
    """As users write them: it looks at what it was made of, and has a part of it twice."""

    raw: Any
    either: list[int] | list[str]

    @pydantic.model_validator(mode="before")
    @classmethod
    def keep(cls, value: Any) -> Any:
        return {"raw": value["either"], "either": value["either"]}


@pytest.mark.each_transport
async def test_a_large_output_of_a_type_of_the_users_is_whole(
    server: Server, make_client: MakeClient
) -> None:
    given = ["a"] * 2000
    server.handler = lambda _: Reply(body=outputs(either=given, filling="A" * 200_000))
    async with make_client() as client:
        found = await client.workflow("w", "f", output_type=Kept).run(picture(0))
    assert found.raw == found.either == given


class Either(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True)
    either: list[list[int]] | list[list[str]]
    inner: "Either | None" = None


@pytest.mark.parametrize("count", [3, 2500])
def test_a_list_that_several_types_are_tried_on_is_not_emptied(count: int) -> None:
    given = {"either": [["a"]] * count, "inner": {"either": [[1]] * count}}
    adapter = pydantic.TypeAdapter(Either)
    found = bounded_validation(adapter, json.loads(json.dumps(given)), Thrift(1 << 24))
    assert found == adapter.validate_python(given)


def test_large_predictions_are_as_small_ones() -> None:
    """The same fields, also those that were set, copies and pickles; frozen as they are."""
    item = {**BOX, "points": TRIANGLE, "new": 1}
    body = {"image": {"width": 9, "height": 9}, "predictions": [item] * 3}
    adapter = pydantic.TypeAdapter(InstanceSegmentation)
    plain = adapter.validate_python(body)
    small = bounded_validation(adapter, json.loads(json.dumps(body)), Thrift(1 << 20))
    assert small == plain
    assert repr(small) == repr(plain)
    assert small.model_dump_json(exclude_unset=True) == plain.model_dump_json(exclude_unset=True)
    assert pickle.loads(pickle.dumps(small)) == plain
    first = small.predictions[0].model_copy(update={"class_id": 3})
    assert "class_id" in first.model_fields_set
    assert "class_id" not in small.predictions[1].model_fields_set
    with pytest.raises(pydantic.ValidationError):
        small.predictions[0].x = 3


@pytest.mark.parametrize(
    "kind",
    [
        ObjectDetection, InstanceSegmentation, KeypointsDetection, Classification,
        AnomalyDetection, MultiLabelClassification,
    ],
)  # fmt: skip
@pytest.mark.parametrize("item", [{}, [], None, {"x": 1}])
def test_the_first_prediction_that_is_wrong_ends_the_list(kind: type[Any], item: Any) -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        kind.model_validate({"predictions": [item] * 100_000})
    assert caught.value.error_count() < 20


@pytest.mark.parametrize(
    "value",
    [
        {"predictions": [{**BOX, "points": [{}] * 50_000}]},
        {"predictions": [{**BOX, "points": [{"x": 1, "y": "a"}] * 50_000}]},
        {"image": [{}] * 50_000, "predictions": []},
    ],
)
def test_the_first_point_or_size_that_is_wrong_ends_the_list(value: Any) -> None:
    """The first point or size that is wrong ends the list, too."""
    with pytest.raises(pydantic.ValidationError) as caught:
        InstanceSegmentation.model_validate(value)
    assert caught.value.error_count() < 20


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (MultiLabelClassification, {"predictions": {str(i): {} for i in range(50_000)}}),
        (SemanticSegmentation, {"predictions": {"class_map": {str(i): 1 for i in range(50_000)},
                                                "present_class_ids": ["a"] * 50_000}}),
        (list[ObjectDetection], [{}] * 50_000),
        (dict[str, list[int]], {str(i): ["a"] * 5 for i in range(20_000)}),
        (list[list[float]], [["a"] * 50_000] * 2),
        (set[int], ["a"] * 50_000),
    ],
)  # fmt: skip
def test_errors_of_any_type_are_kept_few(kind: Any, value: Any) -> None:
    """Of a wrong value of any type few errors are kept."""
    with pytest.raises(pydantic.ValidationError) as caught:
        bounded_validation(pydantic.TypeAdapter(kind), value)
    assert caught.value.error_count() < 3000


class Numbers(pydantic.BaseModel):
    made: set[int] = pydantic.Field(default_factory=set[int], min_length=1, max_length=3000)
    frozen: frozenset[int] = frozenset()


@pytest.mark.parametrize("name", ["made", "frozen"])
def test_sets_are_made_in_steps(name: str) -> None:
    """A set of a million texts is not made at once, and is the same."""
    kind: Any = set if name == "made" else frozenset
    at_once: list[int] = []

    def make(items: list[int]) -> Any:
        at_once.append(len(items))
        return kind(items)

    assert _set_in_steps(list(range(5500)), make) == kind(range(5500))
    assert max(at_once) <= 1000
    adapter = pydantic.TypeAdapter(kind[int])
    found = bounded_validation(adapter, [*range(2500), *range(2500)])
    assert found == kind(range(2500))
    assert type(found) is kind
    with pytest.raises(pydantic.ValidationError, match=r"\n2200\n"):
        bounded_validation(adapter, [*range(2200), "a", *range(5000)])
    numbers = pydantic.TypeAdapter(Numbers)
    for given in ([1] * 5000, list(range(3000)), list(range(3001)), []):
        expected: Any = "it does not fit"
        with suppress(pydantic.ValidationError):
            expected = numbers.validate_python({name: given})
        if expected == "it does not fit":
            with pytest.raises(pydantic.ValidationError):
                bounded_validation(numbers, {name: given})
        else:
            assert bounded_validation(numbers, {name: given}) == expected


class Node(pydantic.BaseModel):
    name: str = "list"
    type: str = "dict"
    nodes: list["Node"] = pydantic.Field(default_factory=list, max_length=2500)
    named: dict[str, tuple[int, ...]] = pydantic.Field(default={"type": (1,)}, min_length=1)
    either: list[int] | list[str] | None = None


def test_values_that_fit_are_the_same_in_steps() -> None:
    """What fits a type is the same when it is checked in steps.

    Models that hold themselves, lengths of the whole, unions: as pydantic has them.
    """
    value = {
        "nodes": [{"either": ["a"] * 3}] * 2500,
        "named": {str(i): [i] for i in range(2500)},
        "either": ["1"] * 3000,
    }
    adapter = pydantic.TypeAdapter(Node)
    assert bounded_validation(adapter, value) == adapter.validate_python(value)
    for wrong in (
        {"nodes": [{}] * 2501},
        {"named": {}},
        {"nodes": [{}] * 2000 + [3]},
        {"either": [1] * 2000 + [{}]},
    ):
        with pytest.raises(pydantic.ValidationError):
            bounded_validation(adapter, wrong)
    with pytest.raises(pydantic.ValidationError, match=r"nodes\.2000"):
        bounded_validation(adapter, {"nodes": [{}] * 2000 + [3]})


# The event loop


class Threads(pydantic.BaseModel):
    """Tells which thread it was made in."""

    a: Any
    thread: int = 0

    @pydantic.model_validator(mode="after")
    def note(self) -> "Threads":
        self.thread = threading.get_ident()
        return self


@pytest.mark.parametrize(("size", "is_large"), [(1000, False), (1_100_000, True)])
async def test_a_large_response_is_parsed_in_another_thread(
    server: Server, make_client: MakeClient, size: int, is_large: bool
) -> None:
    server.handler = lambda _: Reply(body=outputs(a="A" * size))
    async with make_client() as client:
        found = await client.workflow("w", "f", output_type=Threads).run(picture(0))
    assert (found.thread != threading.get_ident()) == is_large


@pytest.mark.each_transport
@pytest.mark.parametrize("compressed", [False, True])
async def test_the_loop_goes_on_while_a_large_response_is_parsed(
    server: Server, make_client: MakeClient, compressed: bool
) -> None:
    """150,000 points in an outline: in one call of the parser and of pydantic half a second."""
    point = b'{"x":1021.5,"y":456.5}'
    outline = many(point, 150_000 * 23)
    fields = json.dumps(BOX)[1:-1].encode()
    body = b'{"predictions":[{' + fields + b',"points":' + outline + b"}]}"
    if compressed:
        reply = Reply(body=gzip.compress(body, 1), headers={"Content-Encoding": "gzip"})
    else:
        reply = Reply(body=body)
    server.handler = lambda _: reply
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.001)
            ticks += 1

    async with make_client() as client:
        ticking = asyncio.create_task(tick())
        found = await client.model("pets/3", task="instance-segmentation").run(picture(0))
        ticking.cancel()
    assert len(found.predictions[0].points) == 150_000
    assert ticks >= 15  # a hundred, where nothing else runs


@pytest.mark.each_transport
async def test_a_cancellation_does_not_wait_for_the_parsing(
    server: Server, make_client: MakeClient
) -> None:
    """Who cancels a call need not wait for the parsing."""
    begun, released = threading.Event(), threading.Event()

    class Slow(pydantic.BaseModel):
        @pydantic.model_validator(mode="before")
        @classmethod
        def wait(cls, value: Any) -> Any:
            begun.set()
            released.wait(30)
            return value

    server.handler = lambda _: Reply(body=outputs(a="A" * 1_100_000))
    async with make_client() as client:
        call = asyncio.create_task(client.workflow("w", "f", output_type=Slow).run(picture(0)))
        while not begun.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert client.stats.in_flight == 0
        released.set()


@pytest.mark.parametrize(
    "make",
    [
        lambda: many(b"[]", 1_000_000),
        lambda: many(b"{}", 33_000_000),
        lambda: many(b"0", 33_000_000),
        lambda: many(b'{"x":1,"y":1}', 33_000_000),
        lambda: many(b'""', 33_000_000),
        lambda: many(b'{"":0}', 33_000_000),
        lambda: b"[" * 5_000_000,
        lambda: b'{"a":' * 5_000_000,
    ],
    ids=range(8),
)
def test_responses_that_would_take_too_much_are_not_parsed(make: Callable[[], bytes]) -> None:
    """A response that would take too much memory is refused before it is parsed."""
    content = make()
    began = time.process_time()
    with pytest.raises(ResponseError, match="max_response_bytes") as caught:
        parse_json(Response(200, {}, content))
    assert time.process_time() - began < 5  # a third of a second, where nothing else runs
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "make",
    [
        lambda: many(b'{"x":1021.5,"y":456.5}', 4_500_000),
        lambda: many(b"[1021.5,456.5]", 2_500_000),
        lambda: many(b"[" + b",".join([b"0.12345678901234567"] * 1000) + b"]", 30_000_000),
        lambda: b'["' + b"A" * 33_000_000 + b'"]',
    ],
    ids=["outlines", "pairs", "a depth map", "a picture"],
)
def test_responses_that_servers_do_send_are_parsed(make: Callable[[], bytes]) -> None:
    """What servers really send is parsed."""
    content = make()
    assert parse_json(Response(200, {}, content)) == json.loads(content)


@pytest.mark.parametrize(
    "content",
    [
        b"[" + b'"\\u00e9\\ud83d\\ude00\\n",' * 20_000 + b"1]",
        b'["' + "é😀".encode() * 60_000 + b'\\\\"]',
        b'{"a": ' + many(b'{ "b" : [ [ [ [ [ 1 ] ] ] ] ] }', 300_000) + b', "a": [1 , 2 ] } ',
        b"{" + b",".join(b'"%d": [%d]' % (i % 9000, i) for i in range(20_000)) + b"}",
        b" [ ] ",
        b'{"":{}}',
        b"1",
    ],
    ids=range(7),
)
def test_json_in_pieces_is_what_it_is_as_a_whole(content: bytes) -> None:
    """JSON in pieces is what it is as a whole."""
    assert parse_in_pieces(content) == json.loads(content)


@pytest.mark.parametrize(
    "content",
    [b"", b"[", b"[1,]", b"[1 2]", b'{"a"}', b'{"a":1,}', b"{1:2}", b"[1}", b"]", b'"', b'"\\',
     b'"\\ud800"', b'["\x01"]', b"[" * 300 + b"]" * 300, b"[1]]", b'["\xff"]', b"[NaN]",
     b"9" * 20_000, b'["' + b"a" * 100_000, b"[" + b"1," * 100_000, b"[" + b"1," * 100_000 + b"]"],
    ids=range(21),
)  # fmt: skip
def test_text_that_is_no_json_is_none_in_pieces_either(content: bytes) -> None:
    """What is no JSON is none in pieces, either."""
    with pytest.raises(ValueError):  # noqa: PT011 - each says what it is
        parse_in_pieces(content)


def test_a_weight_is_no_less_than_what_is_there() -> None:
    weight = Weight(b'[{"a":[1,2],"b":"c"},{}]')
    assert (weight.arrays, weight.objects, weight.commas, weight.colons) == (2, 2, 3, 2)


@pytest.mark.each_transport
@pytest.mark.parametrize("status", [400, 500])
async def test_an_error_is_looked_at_up_to_64_kb(
    server: Server, make_client: MakeClient, status: int
) -> None:
    """Of an error 64 kB are looked at."""
    body = many(b"[]", 32 << 20)
    server.handler = lambda _: Reply(status, body)
    async with make_client(retry=RetryPolicy(max_attempts=3, base=0.001)) as client:
        began = time.process_time()
        with pytest.raises(Exception, match=f"HTTP {status}") as caught:
            await client.workflow("w", "f").run(picture(0))
        assert time.process_time() - began < 10
    assert len(str(caught.value)) < 700


# Numbers

INFINITE = [
    "1e999", "-1e999", "1E+400", "NaN", "Infinity", "-Infinity", "1" + "0" * 400 + ".5",
    "9" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("number", INFINITE)
@pytest.mark.parametrize("size", [0, 200_000])
async def test_numbers_of_an_output_are_never_infinite(
    server: Server, make_client: MakeClient, number: str, size: int
) -> None:
    """No number of an output is infinite."""
    more = f',"b":"{"A" * size}","c":[{"0," * (size // 4)}0]'
    for body, call in [
        (f'{{"outputs":[{{"a":{{"deep":[1,[{number}]]}}{more}}}]}}', "workflow"),
        (f'{{"predictions":[{{{json.dumps(BOX)[1:-1]},"more":[{number}]}}]{more}}}', "model"),
        (f'{{"predictions":[],"time":{number}{more}}}', "infer"),
    ]:
        server.handler = lambda _, body=body: Reply(body=body.encode())
        async with make_client() as client:
            with pytest.raises(ResponseError):
                if call == "workflow":
                    await client.workflow("w", "f").run(picture(0))
                elif call == "model":
                    await client.model("pets/3", task="object-detection").run(picture(0))
                else:
                    await client.infer(picture(0), "pets/3")


@pytest.mark.parametrize("number", ["inf", "nan", "-inf", "1e999", "Infinity"])
def test_numbers_written_as_text_are_never_infinite_either(number: str) -> None:
    """A number that is written as text is never infinite."""
    for name in ("x", "confidence"):
        with pytest.raises(pydantic.ValidationError):
            ObjectDetection.model_validate({"predictions": [{**BOX, name: number}]})
    with pytest.raises(pydantic.ValidationError):
        InstanceSegmentation.model_validate(
            {"predictions": [{**BOX, "points": [{"x": number, "y": 1}]}]}
        )


@pytest.mark.parametrize(
    "text",
    [
        "-5",
        "9" * 49,
        "9" * 40,
        "inf",
        "nan",
        "٣",
        "1e3",
        "86401",
        "",
        "0x1",
        "1_0",
        "-0.1",
        "0\x1f",
    ],
)
async def test_a_processing_time_that_cannot_be_is_in_no_statistics(
    server: Server, make_client: MakeClient, text: str
) -> None:
    assert Response(200, {"x-processing-time": text}, b"").processing_time is None
    if text.isascii() and text.isprintable():
        server.handler = lambda _: Reply(body=outputs(a=1), headers={"X-Processing-Time": text})
        async with make_client() as client:
            await client.workflow("w", "f").run(picture(0))
            assert client.stats.processing_time == 0


# Masks


def segments(width: int, height: int, count: int = 1, **fields: Any) -> InstanceSegmentation:
    item = {**BOX, "points": TRIANGLE, **fields}
    if "rle" in item:
        del item["points"]
    return InstanceSegmentation.model_validate(
        {"image": {"width": width, "height": height}, "predictions": [item] * count}
    )


@pytest.mark.parametrize(
    "prediction",
    [
        segments(60_000, 60_000),
        segments(10_000, 10_000, 11),
        segments(2**40, 1),
        segments(-5, 100),
        segments(0, 100),
        segments(100, 80, points=[*TRIANGLE, {"x": 1e300, "y": 0}]),
        segments(100, 80, rle={"size": [60_000, 60_000], "counts": [3_600_000_000]}),
        segments(100, 80, rle={"size": [-80, -100], "counts": [8000]}),
        segments(100, 80, rle={"size": [1e9, 1e9], "counts": "0"}),
        segments(100, 80, rle={"size": [80, 100], "counts": [1] * 100_000}),
        segments(100, 80, class_id=10**400),
        ObjectDetection.model_validate(
            {
                "image": {"width": 100, "height": 80},
                "predictions": [{**BOX, "points": [*TRIANGLE, {"x": "5", "y": 1}]}],
            }
        ),
    ],
    ids=range(12),
)
def test_masks_of_more_pixels_than_there_can_be_are_not_made(
    prediction: InstanceSegmentation | ObjectDetection,
) -> None:
    with pytest.raises(ConfigurationError, match=r"to_supervision|supervision cannot"):
        prediction.to_supervision()


@pytest.mark.parametrize(
    ("prediction", "given_size"),
    [
        # Each within the bound, and 60 GB together.
        (segments(1, 1, 5000, rle={"size": [3000, 4000], "counts": [12_000_000]}), (4000, 3000)),
        # A strip of 13,000 pixels, and a square of as many a side.
        (segments(13_000, 13_000), (13_000, 1)),
        (segments(1, 13_000), (13_000, 0)),
    ],
    ids=range(3),
)
def test_masks_are_bounded_by_the_image_that_was_given_together(
    prediction: InstanceSegmentation, given_size: tuple[int, int]
) -> None:
    remember_given_size(prediction, given_size)
    with pytest.raises(ConfigurationError, match="to_supervision"):
        prediction.to_supervision()


def test_masks_of_an_image_that_was_turned_are_made() -> None:
    prediction = segments(100, 80)
    remember_given_size(prediction, (80, 100))
    assert prediction.to_supervision().mask.shape == (1, 80, 100)


def test_one_long_name_of_a_class_is_not_kept_for_every_box() -> None:
    """NumPy keeps texts as long as the longest: a megabyte of one, for 2,000 boxes, was 8 GB."""
    boxes = [BOX] * 2000
    long = {**BOX, "class": "x" * 1_000_000}
    image = {"width": 100, "height": 80}
    found = ObjectDetection.model_validate({"image": image, "predictions": [*boxes, long]})
    with pytest.raises(ConfigurationError, match=r"8,004,000,000 bytes for the names"):
        found.to_supervision()
    alone = ObjectDetection.model_validate({"image": image, "predictions": [long]})
    assert len(alone.to_supervision()) == 1


async def test_masks_are_no_larger_than_the_image_that_was_sent(
    server: Server, make_client: MakeClient
) -> None:
    body = {"image": {"width": 4000, "height": 3000}, "predictions": [{**BOX, "points": TRIANGLE}]}
    server.handler = lambda _: Reply(body=json.dumps(body).encode())
    async with make_client() as client:
        model = client.model("pets/3", task="instance-segmentation")
        found = await model.run(draw_scene(1).jpeg)
        with pytest.raises(ConfigurationError, match="640 x 480"):
            found.to_supervision()
        assert found == InstanceSegmentation.model_validate(body)
        assert "given_size" not in found.model_dump_json()


# Images in outputs


def png(width: int, height: int) -> bytes:
    """The head of one that says that it is so large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", b"x")


@pytest.mark.parametrize("size", [(60_000, 60_000), (2**31 - 1, 2**31 - 1), (7072, 7072)])
def test_an_image_output_of_gigabytes_is_refused_by_its_head(
    size: tuple[int, int],
) -> None:
    """An image output that unfolds to gigabytes is refused by its head."""
    output = base64.b64encode(png(*size)).decode()
    with pytest.raises(ImageError, match="max_pixels"):
        open_image({"type": "base64", "value": output})


@pytest.mark.parametrize("content", [JPEG, b"GIF89a", png(5, 5), b"II*\x00", b"P6 9 9 255 a"])
def test_an_image_output_that_is_broken_is_an_image_error(content: bytes) -> None:
    with pytest.raises(ImageError):
        open_image(base64.b64encode(content).decode())
