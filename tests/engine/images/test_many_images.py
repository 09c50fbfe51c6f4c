"""One image where many are wanted is refused before its rows or lines are sent and billed."""

import asyncio
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from conftest import MakeClient, picture
from PIL import Image as PillowImage
from support.loopback import Server

from roboflow_async import ConfigurationError, ImageError

pytestmark = pytest.mark.anyio

PICTURE = np.zeros((40, 60, 3), np.uint8)


@pytest.mark.parametrize(
    ("images", "advice"),
    [
        (PICTURE, r"\(40, 60, 3\).* give \[array\] or call run\(array\) for one picture"),
        (PICTURE[:, :, 0], r"\(40, 60\).* give \[array\]"),
        (np.zeros((8, 40, 60, 3), np.uint8), r"list\(array\) for an array of whole pictures"),
        (np.zeros(1000, np.uint8), r"\(1000,\)"),
        (np.zeros((1000, 1), np.uint8), r"\(1000, 1\)"),
        (np.float32(3), r"\(\)"),
        (PillowImage.new("RGB", (60, 40)), "is one image: give a list of them"),
        (io.BytesIO(picture(1)), "is one image"),
        (b"\xff\xd8", "not a list of images"),
        ({"image": picture(1)}, "not a list of images"),
        ("folder", "glob"),
        (Path("folder"), "glob"),
    ],
)
async def test_one_image_is_not_taken_for_many(
    images: Any, advice: str, make_client: MakeClient, server: Server
) -> None:
    async with make_client() as client:
        with pytest.raises(ConfigurationError, match=advice):
            client.workflow("a", "b").stream(images)
        with pytest.raises(ConfigurationError, match=advice):
            client.model("a/1").stream(images)
    assert not server.arrivals


async def test_a_file_is_not_taken_for_its_lines(make_client: MakeClient) -> None:
    async with make_client() as client:
        with tempfile.TemporaryFile() as file, pytest.raises(ConfigurationError, match="one image"):
            client.workflow("a", "b").stream(file)
        reader: Any = asyncio.StreamReader()
        with pytest.raises(ConfigurationError, match="one image"):
            client.workflow("a", "b").stream(reader)


class Response:
    """As that of requests: its content comes in pieces."""

    content = picture(1)

    def iter_content(self, chunk_size: int = 1) -> Iterator[bytes]:
        for start in range(0, len(self.content), chunk_size):
            yield self.content[start : start + chunk_size]

    def __iter__(self) -> Iterator[bytes]:
        return self.iter_content(128)


class Body:
    """As that of botocore: it can be read, too."""

    def read(self, size: int | None = None) -> bytes:
        raise NotImplementedError

    def iter_chunks(self, size: int = 1024) -> Iterator[bytes]:
        raise NotImplementedError

    def __iter__(self) -> Iterator[bytes]:
        return self.iter_chunks()


async def test_a_response_is_not_taken_for_its_pieces(
    make_client: MakeClient, server: Server
) -> None:
    httpx_body: Any = httpx.Response(200, content=picture(1)).stream
    async with make_client() as client:
        for target in (client.workflow("a", "b"), client.model("a/1")):
            for response in (Response(), Body(), httpx_body):
                with pytest.raises(ConfigurationError, match="which is one image"):
                    target.stream(response)
            with pytest.raises(ImageError, match=r"of a response, give its \.content"):
                await target.run(Response())  # type: ignore[arg-type]
    assert not server.arrivals


async def test_an_array_of_paths_or_of_pictures_is_many_images(
    make_client: MakeClient, tmp_path: Path
) -> None:
    paths = [tmp_path / f"{number}.jpg" for number in range(3)]
    for path in paths:
        path.write_bytes(picture(1))
    objects = np.empty(2, object)
    objects[:] = [PICTURE, PICTURE]
    async with make_client() as client:
        workflow = client.workflow("a", "b")
        for images, count in (
            (np.array([str(path) for path in paths]), 3),
            (np.array(paths, object), 3),
            (objects, 2),
            (list(np.zeros((4, 40, 60, 3), np.uint8)), 4),
        ):
            results = [result async for result in workflow.stream(images)]
            assert [result.ok for result in results] == [True] * count


@pytest.mark.parametrize(
    ("shape", "advice"),
    [
        ((50_000, 1), r"array\.tobytes\(\)"),
        ((1, 50_000), r"array\.tobytes\(\)"),
        ((50_000,), r"array\.tobytes\(\)"),
        ((640, 3), "one row of a picture"),
        ((640, 4), "one row of a picture"),
        ((2, 40, 60, 3), r"stream\(list\(array\)\)"),
    ],
)
async def test_a_line_of_bytes_is_no_picture(
    shape: tuple[int, ...], advice: str, make_client: MakeClient, server: Server
) -> None:
    async with make_client() as client:
        with pytest.raises(ImageError, match=advice):
            await client.workflow("a", "b").run(np.zeros(shape, np.uint8))
    assert not server.arrivals
