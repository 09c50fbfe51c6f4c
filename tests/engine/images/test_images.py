"""Inputs: what may be given as an image."""

import asyncio
import base64
import io
import os
import sys
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import anyio
import httpx
import numpy as np
import pytest
from conftest import JPEG
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PillowImage

from roboflow_async import ConfigurationError, Image, ImageError
from roboflow_async._engine.images.encoded import EncodedImage, ImageURL
from roboflow_async._engine.images.loader import ImageLoader
from roboflow_async.testing import draw_scene

pytestmark = pytest.mark.anyio


def loader(**overrides: Any) -> ImageLoader:
    options = {"allow_paths": True, "allow_urls": True, "max_bytes": 20 * 1024 * 1024}
    return ImageLoader(**{**options, **overrides})


async def load(value: object, **overrides: Any) -> bytes:
    """The bytes that would be sent."""
    encoded = await loader(**overrides).load(value)
    assert isinstance(encoded, EncodedImage)
    return base64.b64decode(b"".join(map(bytes, encoded.chunks)), validate=True)


SCENE = draw_scene(3).jpeg


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "scene.jpg"
    file.write_bytes(SCENE)
    return file


async def test_a_file_is_sent_as_it_is(path: Path) -> None:
    assert await load(path) == SCENE
    assert await load(str(path)) == SCENE


async def test_bytes_are_sent_as_they_are() -> None:
    for kind in (bytes, bytearray, memoryview):
        assert await load(kind(SCENE)) == SCENE


async def test_a_memoryview_of_other_items_is_taken_by_its_bytes() -> None:
    data = SCENE + bytes(-len(SCENE) % 4)
    assert await load(memoryview(data).cast("I")) == data


async def test_file_objects_are_read(path: Path) -> None:
    with path.open("rb") as file:
        assert await load(file) == SCENE
    assert await load(io.BytesIO(SCENE)) == SCENE


class Upload:
    """An `UploadFile`, as far as it matters: read in pieces, and awaited."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)
        self.asked: list[int] = []

    async def read(self, size: int = -1) -> bytes:
        await asyncio.sleep(0)
        self.asked.append(size)
        return self._file.read(size)

    async def seek(self, offset: int) -> None:
        self._file.seek(offset)
        await asyncio.sleep(0)


async def test_file_objects_that_are_awaited_are_read(path: Path) -> None:
    assert await load(Upload(SCENE)) == SCENE
    async with await anyio.open_file(path, "rb") as file:
        assert await load(file) == SCENE


async def test_an_upload_looked_into_is_read_from_its_beginning() -> None:
    """An upload that was looked into is read from its beginning."""
    upload = Upload(SCENE)
    await upload.read(100)
    assert await load(upload) == SCENE
    assert await load(upload) == SCENE


async def test_an_upload_for_several_models_is_read_whole_by_each() -> None:
    """An upload that goes to several models at once is read whole by each."""
    upload = Upload(SCENE)
    assert await asyncio.gather(*(load(upload) for _ in range(4))) == [SCENE] * 4


async def test_an_image_too_large_to_send_may_be_made_smaller(
    path: Path,
) -> None:
    """An image too large to be sent may be made smaller, wherever it comes from."""
    small = loader(max_bytes=len(SCENE) - 1)
    for make in (lambda: path, lambda: SCENE, lambda: io.BytesIO(SCENE), lambda: Upload(SCENE)):
        with pytest.raises(ImageError, match="is larger than"):
            await small.load(make())
        encoded = await small.load(make(), max_side=64)
        assert isinstance(encoded, EncodedImage)
        assert encoded.resizing is not None


async def test_an_upload_is_read_no_further_than_may_be_sent() -> None:
    """No more of an upload is read than may be sent."""
    upload = Upload(SCENE + bytes(10_000))
    with pytest.raises(ImageError, match="larger than"):
        await load(upload, max_bytes=len(SCENE))
    assert upload.asked == [len(SCENE) + 1]


async def test_an_upload_that_cannot_be_read_is_an_image_error() -> None:
    class Broken(Upload):
        async def read(self, size: int = -1) -> bytes:
            raise ValueError("I/O operation on closed file")

    with pytest.raises(ImageError, match="of type Broken cannot be read: I/O operation on closed"):
        await load(Broken(SCENE))
    with pytest.raises(ImageError, match="is empty"):
        await load(Upload(b""))

    class Text(Upload):
        async def read(self, size: int = -1) -> Any:
            return "text"

    with pytest.raises(ImageError, match="'rb'"):
        await load(Text(SCENE))


async def test_a_url_is_passed_on() -> None:
    for url in ("https://example.com/a.jpg", "HTTP://example.com/a.jpg", httpx.URL("http://a/b")):
        assert await loader().load(url) == ImageURL(str(url))


async def test_base64_is_taken_through_its_own_door() -> None:
    text = base64.b64encode(SCENE).decode()
    wrapped = "\n".join(text[start : start + 76] for start in range(0, len(text), 76))
    for form in (text, text.encode(), f"data:image/jpeg;base64,{text}", wrapped, text.rstrip("=")):
        assert await load(Image.from_base64(form)) == SCENE
    assert repr(Image.from_base64(text)) == f"<Image of {len(SCENE)} bytes>"


@pytest.mark.parametrize("text", ["", "not base64!", "data:image/png;base64,", "////" * 9, "ключ"])
async def test_base64_of_no_image_is_refused(text: str) -> None:
    with pytest.raises(ImageError):
        Image.from_base64(text)


def with_a_plus() -> tuple[bytes, str]:
    data = SCENE + b"\xfb\xef\xbe" * 3  # "++++" each
    return data, base64.b64encode(data).decode()


async def test_a_plus_that_became_a_blank_is_refused() -> None:
    """A plus that a form made a blank of is refused, and never dropped."""
    data, text = with_a_plus()
    spoilt = text.replace("+", " ")
    assert " " in spoilt
    for form in (
        spoilt,
        text.replace("+", " ", 1),
        f"data:image/jpeg;base64,{spoilt}",
        spoilt[:400] + "\n" + spoilt[400:],
        spoilt.replace(" ", " \n", 1),
        spoilt.encode(),
    ):
        with pytest.raises(ImageError, match=r"'\+' that is not sent as %2B"):
            Image.from_base64(form)
    assert await load(Image.from_base64(spoilt.replace(" ", "+"))) == data


async def test_a_plus_at_the_very_end_is_not_dropped_either() -> None:
    data = SCENE + bytes(-len(SCENE) % 3) + b"\x00\x00\x3e"  # ends with "+"
    text = base64.b64encode(data).decode()
    assert text.endswith("+")
    with pytest.raises(ImageError, match="blanks"):
        Image.from_base64(text[:-1] + " ")
    with pytest.raises(ImageError, match="blanks"):
        Image.from_base64(text[:-1] + " \n")


async def test_line_ends_and_blanks_are_no_part_of_base64() -> None:
    """Line ends within base64 and blanks around it are no part of it."""
    data, text = with_a_plus()
    assert "+" in text
    for end in ("\n", "\r\n", "\t"):
        wrapped = end.join(text[start : start + 76] for start in range(0, len(text), 76))
        for form in (wrapped, f"  {wrapped}{end}", f" data:image/jpeg;base64, {wrapped}"):
            assert await load(Image.from_base64(form)) == data
    padded = base64.b64encode(SCENE + bytes((1 - len(SCENE)) % 3)).decode()
    assert padded.endswith("=")
    assert Image.from_base64(padded + "  ").data


HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(100)
GENERIC_HEIC = b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1heic" + bytes(100)
GENERIC_AVIF = b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00avifmif1" + bytes(100)


@pytest.mark.parametrize("data", [HEIC, GENERIC_HEIC])
async def test_a_heic_is_refused_since_the_server_cannot_decode_it(data: bytes) -> None:
    for make in (lambda: data, lambda: io.BytesIO(data), lambda: Image(data)):
        with pytest.raises(ImageError, match="the Inference Server cannot decode: convert it to"):
            await load(make())
        with pytest.raises(ImageError, match="register_heif_opener"):
            await loader().load(make(), max_side=100)
    assert await load(GENERIC_AVIF) == GENERIC_AVIF


async def test_a_heic_pillow_can_read_becomes_a_jpeg_with_max_side(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A HEIC that Pillow can read becomes a JPEG with `max_side`."""
    # As pillow-heif's `register_heif_opener` does it.
    PillowImage.init()
    opener = lambda *_: PillowImage.open(io.BytesIO(jpeg(300, 200)))  # noqa: E731
    monkeypatch.setitem(PillowImage.OPEN, "HEIF", (opener, lambda prefix: b"heic" in prefix))
    monkeypatch.setattr(PillowImage, "ID", [*PillowImage.ID, "HEIF"])
    for max_side, size in ((100, (100, 67)), (1000, (300, 200))):
        encoded, picture = await downsized(HEIC, max_side)
        assert encoded.resizing is not None
        assert encoded.resizing.original_size == (300, 200)
        assert (picture.format, picture.size) == ("JPEG", size)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "1", "CMYK", "I;16"])
async def test_a_pil_image_of_any_mode_becomes_a_jpeg(mode: str) -> None:
    picture = PillowImage.open(io.BytesIO(await load(PillowImage.new(mode, (60, 40)))))
    assert (picture.format, picture.size) == ("JPEG", (60, 40))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "NoneType"),
        (17, "int"),
        ({"a": 1}, "dict"),
        (b"", "empty"),
        (b"hello world", "signature"),
        (b"<html>", "signature"),
        (b"%PDF-1.7", "signature"),
        ("/no/such/file.jpg", "no file"),
        (Path("/no/such/file.jpg"), "no file"),
        ("/", "folder"),
        ("", "empty string"),
        (" ", "empty string"),
        ("a\x00b.jpg", "cannot be read"),
        ("x" * 5000, "cannot be read"),
        ("data:image/jpeg;base64,/9j/", "from_base64"),
        ("file:///etc/passwd", "no file"),
        ("http://exa mple.com/a.jpg", "spaces"),
        ("http://example.com/a\r\nb.jpg", "control"),
        ("http://example.com/" + "a" * 9000, "9019 characters, which is too long"),
        (io.StringIO("text"), "binary"),
    ],
)
async def test_values_that_are_no_image_are_refused_with_a_reason(
    value: object, reason: str
) -> None:
    """What is no image is refused, with the reason."""
    with pytest.raises(ImageError, match=reason) as caught:
        await loader().load(value)
    assert len(str(caught.value)) < 600


async def test_an_object_that_fails_to_be_read_is_an_image_error() -> None:
    class Broken:
        def read(self) -> bytes:
            raise RuntimeError("device gone")

    with pytest.raises(ImageError, match="device gone"):
        await load(Broken())


async def test_an_empty_or_text_file_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"text"):
        file = tmp_path / "a.jpg"
        file.write_bytes(content)
        with pytest.raises(ImageError, match=r"a\.jpg"):
            await load(file)


async def test_an_image_over_the_limit_is_never_sent(path: Path) -> None:
    """An image over the limit is refused before anything is sent."""
    for make in (lambda: path, lambda: SCENE, lambda: io.BytesIO(SCENE)):
        with pytest.raises(ImageError, match="max_side"):
            await load(make(), max_bytes=len(SCENE) - 1)
        assert await load(make(), max_bytes=len(SCENE)) == SCENE


@pytest.mark.parametrize("size", [100, 70_000, 600_000])
async def test_a_pipe_that_has_no_size_is_read_whole(tmp_path: Path, size: int) -> None:
    pipe = tmp_path / "camera"
    os.mkfifo(pipe)
    data = SCENE + bytes(size)
    writing = asyncio.create_task(asyncio.to_thread(pipe.write_bytes, data))
    assert await load(pipe) == data
    await writing


async def test_a_file_without_an_end_is_read_to_the_limit(tmp_path: Path) -> None:
    """A file without an end is read no further than the limit."""
    pipe = tmp_path / "endless"
    os.mkfifo(pipe)

    def write() -> None:
        with pytest.raises(BrokenPipeError), pipe.open("wb", buffering=0) as file:
            file.write(SCENE)
            while True:
                file.write(bytes(65536))

    writing = asyncio.create_task(asyncio.to_thread(write))
    with pytest.raises(ImageError, match=r"larger than 0\.3 MB"):
        await load(pipe, max_bytes=300_000)
    await writing


async def test_paths_and_urls_can_be_forbidden(path: Path) -> None:
    for value in (path, str(path)):
        with pytest.raises(ImageError, match="allow_paths"):
            await load(value, allow_paths=False)
    for url in ("https://example.com/a.jpg", httpx.URL("https://example.com/a.jpg")):
        with pytest.raises(ImageError, match="allow_urls"):
            await loader(allow_urls=False).load(url)
    assert await load(SCENE, allow_paths=False, allow_urls=False) == SCENE


async def test_files_are_read_off_the_event_loop() -> None:
    threads = []

    class Watched:
        def read(self) -> bytes:
            threads.append(threading.current_thread())
            return SCENE

    await load(Watched())
    assert threads != [threading.main_thread()]


@given(size=st.integers(0, 1_000_000))
def test_chunks_of_any_size_join_to_the_base64_of_the_whole(size: int) -> None:
    data = JPEG + bytes(size)

    async def main() -> None:
        assert await load(data) == data

    anyio.run(main)


async def test_of_a_large_image_only_its_bytes_are_kept() -> None:
    """Its base64, a third larger, is made when it is sent."""
    data = JPEG + bytes(8_000_000)
    tracemalloc.start()
    try:
        encoded = await loader().load(data)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 200_000
    assert isinstance(encoded, EncodedImage)
    assert sum(map(len, encoded.chunks)) == len(base64.b64encode(data))


@pytest.mark.parametrize("size", [1000, 1_000_000])
async def test_data_that_may_change_is_copied(size: int) -> None:
    data = bytearray(JPEG + bytes(size))
    encoded = await loader().load(memoryview(data))
    assert isinstance(encoded, EncodedImage)
    data[-1] = 1
    assert base64.b64decode(b"".join(map(bytes, encoded.chunks))) == JPEG + bytes(size)


# max_side


def jpeg(width: int, height: int, orientation: int | None = None) -> bytes:
    picture = PillowImage.new("RGB", (width, height), (200, 30, 30))
    exif = PillowImage.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


async def downsized(value: object, max_side: int) -> tuple[EncodedImage, PillowImage.Image]:
    encoded = await loader().load(value, max_side=max_side)
    assert isinstance(encoded, EncodedImage)
    data = base64.b64decode(b"".join(map(bytes, encoded.chunks)))
    return encoded, PillowImage.open(io.BytesIO(data))


async def test_a_larger_image_is_made_smaller_and_its_scale_kept() -> None:
    encoded, picture = await downsized(jpeg(400, 300), 100)
    assert encoded.resizing is not None
    assert picture.size == encoded.resizing.size == (100, 75)
    assert encoded.resizing.original_size == (400, 300)
    assert encoded.resizing.scale == (4.0, 4.0)


async def test_an_image_that_fits_is_sent_as_it_is() -> None:
    data = jpeg(100, 80)
    encoded, _ = await downsized(data, 100)
    assert base64.b64decode(b"".join(map(bytes, encoded.chunks))) == data
    assert encoded.resizing is None


async def test_a_very_narrow_image_keeps_a_pixel() -> None:
    encoded, picture = await downsized(jpeg(4000, 2), 100)
    assert picture.size == (100, 1)
    assert encoded.resizing is not None
    assert encoded.resizing.scale == (40.0, 2.0)


async def test_a_turned_photograph_is_upright_as_the_server_sees_it() -> None:
    encoded, picture = await downsized(jpeg(400, 300, orientation=6), 100)
    assert picture.size == (75, 100)
    assert encoded.resizing is not None
    assert encoded.resizing.original_size == (300, 400)


async def test_a_file_over_the_limit_is_fine_once_it_is_small() -> None:
    data = jpeg(2000, 2000)
    encoded = await loader(max_bytes=len(data) - 1).load(data, max_side=100)
    assert isinstance(encoded, EncodedImage)


async def test_a_broken_image_cannot_be_made_smaller() -> None:
    with pytest.raises(ImageError, match="cannot be read"):
        await loader().load(SCENE[:300], max_side=100)


@pytest.mark.parametrize("what", ["array", "max_side"])
async def test_missing_pillow_is_named_by_its_extra(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Pillow the extra is named."""
    for module in ("PIL", "PIL.Image", "PIL.ImageOps", "cv2"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigurationError, match=r"roboflow-async\[images\]"):
        if what == "array":
            await loader().load(np.zeros((4, 4, 3), np.uint8))
        else:
            await loader().load(SCENE, max_side=100)
