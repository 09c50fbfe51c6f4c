"""Whether bytes are an image that the Inference Server decodes, by how they begin."""

import re
from typing import Final

from roboflow_async.errors import ImageError

__all__ = ["check_content", "is_heic", "refuse_heic", "suffix_of"]

# The first bytes of what the Inference Server decodes (OpenCV).
_SIGNATURES: Final = re.compile(
    rb"\xff\xd8"  # JPEG
    rb"|\x89PNG\r\n\x1a\n"
    rb"|GIF8[79]a"
    rb"|BM"
    rb"|RIFF....WEBP"
    rb"|II[\x2a\x2b]\x00|MM\x00[\x2a\x2b]"  # TIFF, BigTIFF
    rb"|\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51"  # JPEG 2000
    rb"|....ftyp(?:avif|avis|mif1|msf1|miaf)"
    rb"|P[1-7][\s#]",  # PNM
    re.DOTALL,
)
# Of what Workflows give, to the last byte: what is written to a disk is to be nothing else.
_SUFFIXES: Final = (
    (re.compile(rb"\xff\xd8\xff"), ".jpg"),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), ".png"),
    (re.compile(rb"GIF8[79]a"), ".gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), ".webp"),
)
_HEIF_BRANDS: Final = (b"mif1", b"msf1", b"miaf")
_HEIC_BRANDS: Final = (*(b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"),)


def check_content(data: bytes, name: str, *, converted: bool = False) -> None:
    """Raise `ImageError` unless the bytes begin as an image does that the server decodes.

    Args:
        data: the file.
        name: says whose it is.
        converted: whether a HEIC may pass, since a JPEG is made of it before it is sent.
    """
    if not data:
        raise ImageError(f"{name} is empty: there is no image in it.")
    if is_heic(data):
        if not converted:
            refuse_heic(name)
    elif not _SIGNATURES.match(data):
        raise ImageError(
            f"{name} is not an image: it starts with none of the signatures of JPEG, PNG, WebP, "
            "GIF, BMP, TIFF, JPEG 2000, AVIF or PNM."
        )


def suffix_of(data: bytes) -> str | None:
    """The suffix for a file with these bytes: a JPEG, PNG, GIF or WebP; None if it is none."""
    return next((suffix for signature, suffix in _SUFFIXES if signature.match(data)), None)


def is_heic(data: bytes) -> bool:
    """Whether it is a photograph as iPhones take them, and not an AVIF in the same container."""
    if data[4:8] != b"ftyp":
        return False
    # The box that comes first: its size, "ftyp", the main brand, a version, and further brands.
    end = min(int.from_bytes(data[:4]), 512)
    brands = [data[start : start + 4] for start in (8, *range(16, end, 4))]
    if brands[0] in _HEIF_BRANDS:
        return not any(brand in (b"avif", b"avis") for brand in brands)
    return brands[0] in _HEIC_BRANDS


def refuse_heic(name: str) -> None:
    """Raise the `ImageError` for a HEIC."""
    # OpenCV has no decoder for it; the server says "Malformed base64 input image" (tried, 1.8.3).
    raise ImageError(
        f"{name} is a HEIC (HEIF) image, which the Inference Server cannot decode: convert it to "
        "JPEG first; or install pillow-heif, call pillow_heif.register_heif_opener(), and give "
        "max_side=, which sends a JPEG."
    )
