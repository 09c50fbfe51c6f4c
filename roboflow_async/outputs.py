"""Image outputs of a Workflow, which arrive as base64 text."""

import binascii
import io
from typing import TYPE_CHECKING, Any

from roboflow_async.errors import ImageError
from roboflow_async.jsontypes import is_object
from roboflow_async.pillow import load_pillow

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


def open_image(output: Any) -> "PIL.Image.Image":
    """An image output as a PIL image (extra `images`).

    Args:
        output: as for `decode_image`.

    Raises:
        ImageError: it is no image.
        ConfigurationError: Pillow is not installed.
    """
    pillow = load_pillow("Image")
    try:
        image = pillow.open(io.BytesIO(decode_image(output)))
        image.load()
    except (OSError, ValueError, pillow.DecompressionBombError):
        raise ImageError("the output is not an image that Pillow can read.") from None
    return image
