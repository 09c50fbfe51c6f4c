"""Decodes image outputs of a Workflow, which come as base64 text."""

import binascii
from typing import TYPE_CHECKING, Any

from roboflow_async._engine.checks import check_number
from roboflow_async._engine.images.formats import check_content
from roboflow_async._engine.images.pillow import load_pillow, open_picture, pixels_of
from roboflow_async._engine.jsonvalues import is_object
from roboflow_async.errors import ImageError

if TYPE_CHECKING:
    import PIL.Image

__all__ = ["decode_image", "open_image"]


def decode_image(output: Any) -> bytes:
    """The bytes of an image output.

    Args:
        output: such as `result.output["visualization"]`: base64 text, or the server's
            `{"type": "base64", "value": ...}`.

    Returns:
        An encoded image file, usually JPEG: write it to a file as it is.

    Raises:
        ImageError: it is neither.
    """
    text: object = output.get("value") if is_object(output) else output
    if not isinstance(text, (str, bytes)):
        raise ImageError(
            f"an output of type {type(output).__name__} is not an image: "
            "give one of the Workflow's image outputs."
        )
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        raise ImageError(
            "the output is not base64: give one of the Workflow's image outputs."
        ) from None


def open_image(output: Any, *, max_pixels: int = 50_000_000) -> "PIL.Image.Image":
    """An image output as a PIL image (extra `images`).

    Args:
        output: such as `result.output["visualization"]`: base64 text, or the server's `{"type":
            "base64", "value": ...}`.
        max_pixels: an image with more pixels is refused before anything is decoded. Each pixel
            takes up to 4 bytes of memory, in some formats several times that.

    Raises:
        ImageError: it is not an image, or has more pixels.
        ConfigurationError: Pillow is not installed, or `max_pixels` is not a whole number from 1
            up.
    """
    check_number("max_pixels", max_pixels, at_least=1, whole=True)
    load_pillow("Image")
    data = decode_image(output)
    try:
        # Checked before Pillow sees it, because Pillow would run the code in an EPS file.
        check_content(data, "the output", converted=True)
        image = open_picture(data)
        width, height = image.size
        pixels = pixels_of(image)
        if pixels <= max_pixels:
            image.load()
    except Exception:  # noqa: BLE001 - each format has errors of its own
        raise ImageError("the output is not an image that Pillow can read.") from None
    if pixels > max_pixels:
        tiles = f" in tiles of {pixels:,}" if pixels > width * height else ""
        raise ImageError(
            f"the output is an image of {width} x {height} pixels{tiles}, more than "
            f"max_pixels={max_pixels}: take its bytes (decode_image), or allow more."
        )
    return image
