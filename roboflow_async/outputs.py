"""Image outputs of a Workflow, which arrive as base64 text."""

import binascii
import struct
from typing import TYPE_CHECKING, Any, Final

from roboflow_async.checks import check_number
from roboflow_async.errors import ImageError
from roboflow_async.jsontypes import is_object
from roboflow_async.pillow import load_pillow, open_picture
from roboflow_async.signatures import check_content

if TYPE_CHECKING:
    import PIL.Image

__all__ = ["decode_image", "open_image"]

_UNREADABLE: Final = "the output is not an image that Pillow can read."


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
        output: as for `decode_image`.
        max_pixels: pixels; a picture with more is not decoded. Decoding takes up to 4 bytes for
            each, in some formats a multiple.

    Raises:
        ImageError: it is no image, or has too many pixels.
        ConfigurationError: Pillow is not installed, or `max_pixels` is no number from 1 up.
    """
    check_number("max_pixels", max_pixels, at_least=1, whole=True)
    load_pillow("Image")
    data = decode_image(output)
    try:
        # Before Pillow sees it, which runs what an EPS says.
        check_content(data, "the output", converted=True)
    except ImageError:
        raise ImageError(_UNREADABLE) from None
    try:
        image = open_picture(data)
        if image is None:
            raise ValueError
        width, height = image.size
        if width * height > max_pixels:
            raise ImageError(
                f"the output has {width} x {height} pixels, more than max_pixels={max_pixels}: "
                "decoded it would take too much memory. Raise the limit if you expect such images."
            )
        image.load()
    except (OSError, ValueError, EOFError, SyntaxError, IndexError, TypeError, struct.error):
        raise ImageError(_UNREADABLE) from None
    return image
