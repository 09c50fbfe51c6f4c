"""Whether bytes are an image, by how they begin."""

import re
from typing import Final

from roboflow_async.errors import ImageError

__all__ = ["check_content"]

# The first bytes of what the Inference Server decodes (OpenCV and Pillow).
_SIGNATURES: Final = re.compile(
    rb"\xff\xd8"  # JPEG
    rb"|\x89PNG\r\n\x1a\n"
    rb"|GIF8[79]a"
    rb"|BM"
    rb"|RIFF....WEBP"
    rb"|II[\x2a\x2b]\x00|MM\x00[\x2a\x2b]"  # TIFF, BigTIFF
    rb"|\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51"  # JPEG 2000
    rb"|....ftyp(?:avif|avis|heic|heix|mif1|msf1)"
    rb"|P[1-7][\s#]",  # PNM
    re.DOTALL,
)


def check_content(data: bytes, name: str) -> None:
    """Raise `ImageError` unless the bytes begin as an image file does; `name` says whose."""
    if not data:
        raise ImageError(f"{name} is empty: there is no image in it.")
    if not _SIGNATURES.match(data):
        raise ImageError(
            f"{name} is not an image: it starts with none of the signatures of JPEG, PNG, WebP, "
            "GIF, BMP, TIFF, JPEG 2000, AVIF, HEIF or PNM."
        )
