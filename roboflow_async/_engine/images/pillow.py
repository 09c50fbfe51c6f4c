"""Makes image files from pixels with Pillow (extra `images`), or OpenCV. Runs in worker threads."""

import io
import os
import struct
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any, BinaryIO, Final

from roboflow_async.errors import ConfigurationError, ImageError

__all__ = [
    "decoding",
    "encode_array",
    "encode_pillow",
    "is_array",
    "is_pillow",
    "load_pillow",
    "open_picture",
    "pixels_of",
    "saved",
    "to_jpeg",
]


def load_pillow(module: str) -> Any:
    """Import a module of Pillow; if it is missing, a `ConfigurationError` names the extra."""
    try:
        return import_module(f"PIL.{module}")
    except ImportError:
        raise ConfigurationError(
            "arrays, max_side= and open_image need Pillow: pip install 'roboflow-async[images]'."
        ) from None


def open_picture(data: bytes) -> Any:
    """Open an image file as a PIL image and read only its header; None if Pillow cannot.

    `PIL.Image.open` does this, too, but has its own pixel limit, which warns or raises for images
    within ours. Callers check `max_image_pixels` before anything is decoded.
    """
    pillow = load_pillow("Image")
    tried: set[str] = set()
    for learn in (pillow.preinit, pillow.init):
        learn()
        for name in [name for name in pillow.ID if name not in tried]:
            tried.add(name)
            opens, accepts = pillow.OPEN[name]
            accepted = accepts is None or accepts(data[:16])
            # A string says why the format does not accept it.
            if not accepted or isinstance(accepted, str):
                continue
            try:
                return opens(io.BytesIO(data), "")
            except (SyntaxError, IndexError, TypeError, struct.error):
                continue  # the errors of a format for another or broken file
    return None


def pixels_of(image: Any) -> int:
    """How many pixels are decoded when a picture is loaded, of which only the header was read."""
    width, height = image.size
    if image.format != "TIFF":
        return width * height
    # A tile is decoded as a whole, and may be larger than the picture that it is a part of.
    tile = [image.tag_v2.get(tag, 0) for tag in _TILE_SIDES]
    whole = [side if isinstance(side, int) else 0 for side in tile]
    return max(width * height, whole[0] * whole[1])


_TILE_SIDES: Final = (322, 323)  # tags of TIFF 6.0, section 15: TileWidth, TileLength


_MAX_PIXELS: Final = (
    48_000_000  # pixels: four photos from a phone; each takes up to 4 bytes, and a copy
)


_door: Final = threading.Lock()


_change: Final = threading.Condition()


_taken = 0


@contextmanager
def decoding(pixels: int) -> Generator[None]:
    """Reserve room for these pixels: for one large picture at a time, or a few small ones.

    Only for worker threads, because it blocks until there is room.
    """
    global _taken  # noqa: PLW0603 - memory belongs to the process, not to a client
    share = min(pixels, _MAX_PIXELS)
    # A waiting thread keeps the door closed, so that small pictures do not pass a large one
    # forever.
    with _door, _change:
        _change.wait_for(lambda: _taken + share <= _MAX_PIXELS)
        _taken += share
    try:
        yield
    finally:
        with _change:
            _taken -= share
            _change.notify_all()


_JPEG_QUALITY: Final = 95  # OpenCV's default, which the official client uses


def is_array(value: object) -> bool:
    """Whether it is a numpy array, without importing numpy."""
    return hasattr(value, "__array_interface__") and hasattr(value, "dtype")


def is_pillow(value: object) -> bool:
    """Whether it is a PIL image, without importing Pillow."""
    return hasattr(value, "getbands") and hasattr(value, "save")


def encode_array(array: Any) -> bytes:
    """A uint8 array as JPEG: (height, width) grey or (height, width, 3 or 4) BGR(A)."""
    shape: Sequence[int] = tuple(array.shape)
    if str(array.dtype) != "uint8":
        raise ImageError(
            f"a numpy array of dtype {array.dtype} cannot be sent: give uint8, values 0 to 255."
        )
    fits = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))
    if not fits or 0 in shape or _is_a_line(shape):
        raise ImageError(
            f"a numpy array of shape {shape} is not an image: "
            "give (height, width) or (height, width, 3) in BGR order." + _what_it_may_be(shape)
        )
    height, width, channels = (*shape, 1)[:3]
    mode, order = _CHANNELS[channels]
    with decoding(height * width):
        if (encoded := _by_opencv(array)) is not None:
            return encoded
        # Pillow puts the channels into their order, in a fifth of the time that numpy takes.
        pixels = array if array.flags.c_contiguous else array.copy()
        read = load_pillow("Image").frombuffer
        return to_jpeg(read(mode, (width, height), pixels, "raw", order, 0, 1))


def _by_opencv(array: Any) -> bytes | None:
    """The array as JPEG by OpenCV, if the program uses it: the same bytes, in 0.8 of the time.

    (Measured: OpenCV 5.0, Pillow 13.0, 1080p.) It is not imported for that, which takes longer than
    to encode many arrays. None if it cannot; then there is Pillow.
    """
    opencv: Any = sys.modules.get("cv2")
    if opencv is None:
        return None
    try:
        options = (opencv.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY)
        has_worked, encoded = opencv.imencode(".jpg", array, options)
    except Exception:  # noqa: BLE001 - another thread is still importing it, or its build has no JPEG
        return None
    return encoded.tobytes() if has_worked else None


_CHANNELS: Final = {1: ("L", "L"), 3: ("RGB", "BGR"), 4: ("RGB", "BGRX")}


def _is_a_line(shape: Sequence[int]) -> bool:
    """Whether this looks like the bytes of a file, or like one row of a picture."""
    if len(shape) != 2:
        return False
    height, width = shape
    return 1 in shape or (width in (3, 4) and height > 4 * width)


def _what_it_may_be(shape: Sequence[int]) -> str:
    if len(shape) == 1 or (len(shape) == 2 and 1 in shape):
        return " Give the bytes of an image file as bytes: array.tobytes()."
    if len(shape) == 2 and shape[1] in (3, 4):
        return " It looks like one row of a picture: give the whole picture."
    if len(shape) == 4:
        return " For many pictures in one array, use stream(list(array))."
    return ""


def encode_pillow(image: Any) -> bytes:
    """Encode a PIL image as JPEG."""
    from roboflow_async._engine.images.eight_bits import eight_bit_reading  # noqa: PLC0415 - few need it

    with decoding(image.width * image.height):
        return to_jpeg(eight_bit_reading(image)(image))


def to_jpeg(image: Any) -> bytes:
    """Encode a PIL image of mode L or RGB as JPEG."""
    return saved(image, "JPEG", quality=_JPEG_QUALITY)


def saved(image: Any, kind: str, **options: int) -> bytes:
    """A PIL image as a file of a format of Pillow; other threads run on meanwhile.

    Args:
        image: the image.
        kind: the format, as Pillow calls it: "JPEG", "PNG".
        **options: what the format's writer takes, as `quality`.
    """
    with _file_in_memory() as file:
        image.save(file, format=kind, **options)
        file.seek(0)
        return file.read()


def _file_in_memory() -> BinaryIO:
    # Where it writes to an object, Pillow (13.0, encode.c) holds the interpreter lock while it
    # compresses, and the event loop waits 6 ms for a frame of 1080p. It releases the lock where it
    # writes to a file descriptor. Linux alone has such files without a disk.
    with suppress(AttributeError, OSError):  # OSError: no descriptor is left, or it is forbidden
        return os.fdopen(os.memfd_create("image"), "w+b")
    return io.BytesIO()
