"""Decodes large PNG files a few rows at a time, since Pillow can only decode a whole picture.

Half a megabyte of PNG may hold 170 million pixels, which take 700 MB in Pillow.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from roboflow_async.errors import ImageError

__all__ = ["PNG", "parse_png"]

_FED: Final = 65_536  # bytes; zlib copies its unread input at each call, so it gets little

# For each (bits, colour type) of PNG: a Pillow mode with as many bytes for each pixel, so that
# PNG's filters work, and the band to use: for 16 bits the higher byte, as on the server.
_CARRIERS: Final[dict[tuple[int, int], tuple[str, int | None]]] = {
    (8, 0): ("L", None),
    (16, 0): ("LA", 0),
    (8, 2): ("RGB", None),
    (8, 3): ("P", None),
    (8, 4): ("LA", 0),
    (16, 4): ("RGBA", 0),
    (8, 6): ("RGBA", None),
}


@dataclass(slots=True)
class PNG:
    """A PNG file whose rows can be decoded one after the other.

    Attributes:
        size: (width, height) in pixels.
        exif: its EXIF data, or empty bytes.
    """

    size: tuple[int, int]
    carrier: str
    band: int | None
    palette: bytes = b""
    exif: bytes = b""
    parts: list[memoryview] = field(default_factory=list[memoryview])

    def strips(self, pillow: Any, rows: int) -> Iterator[tuple[int, Any]]:
        """Strips of this many rows (mode L or RGB) in order, each with the number of its first row.

        Raises:
            ImageError: the file is cut off.
        """
        width, height = self.size
        row_bytes = width * len(self.carrier)
        top, before = 0, b""
        for block in self._inflated(row_bytes + 1, rows):
            count = len(block) // (row_bytes + 1)
            # A row may be stored as the difference from the one before, so each block starts with
            # that.
            led = b"\0" + before + block if before else block
            strip = pillow.frombytes(
                self.carrier,
                (width, count + bool(before)),
                zlib.compress(led, 0),
                "zip",
                self.carrier,
            )
            last = strip.crop((0, strip.height - 1, width, strip.height))
            if before:
                strip = strip.crop((0, 1, width, strip.height))
            before = last.tobytes()
            yield top, self._plain(strip)
            top += count
        if top < height:
            raise ImageError(f"the PNG file is cut off: it has only {top} of its {height} rows.")

    def _plain(self, strip: Any) -> Any:
        if self.carrier == "P":
            strip.putpalette(self.palette, "RGB")
        if self.band is not None:
            return strip.getchannel(self.band)
        return strip if strip.mode in ("L", "RGB") else strip.convert("RGB")

    def _inflated(self, row_bytes: int, rows: int) -> Iterator[bytes]:
        """Decompressed bytes of this many rows at a time; fewer at the end."""
        inflate = zlib.decompressobj()
        left = self.size[1] * row_bytes
        wanted = min(rows * row_bytes, left)
        block = bytearray()
        for piece in self._pieces():
            fed = piece
            if inflate.eof:
                break  # zlib would collect and copy all data after the end
            while left:
                got = inflate.decompress(fed, wanted - len(block))
                fed = inflate.unconsumed_tail
                block += got
                if len(block) == wanted:
                    yield bytes(block)
                    block.clear()
                    left -= wanted
                    wanted = min(wanted, left)
                elif not fed:
                    break
        whole = len(block) - len(block) % row_bytes
        if whole:
            yield bytes(block[:whole])

    def _pieces(self) -> Iterator[memoryview | bytes]:
        for part in self.parts:
            for start in range(0, len(part), _FED):
                yield part[start : start + _FED]


def parse_png(data: bytes) -> PNG | None:
    """Read the structure of a PNG; None if its rows cannot be decoded one after another.

    That is so for interlaced files and for 16-bit colours.

    Raises:
        ImageError: a part of the file is broken.
    """
    if data[:8] != b"\x89PNG\r\n\x1a\n" or data[12:16] != b"IHDR" or len(data) < 33:
        return None
    width, height, bits, colours, _, _, interlaced = struct.unpack(">IIBBBBB", data[16:29])
    carrier = _CARRIERS.get((bits, colours))
    if carrier is None or interlaced or not width or not height:
        return None
    png = PNG((width, height), *carrier)
    view, position = memoryview(data), 8
    while position + 12 <= len(data):
        length = int.from_bytes(view[position : position + 4])
        kind = bytes(view[position + 4 : position + 8])
        end = position + 8 + length
        content = view[position + 8 : end]
        whole = end + 4 <= len(data)
        if whole and zlib.crc32(view[position + 4 : end]) != int.from_bytes(view[end : end + 4]):
            raise ImageError(f"the PNG file is broken: the checksum of {kind!r} is wrong.")
        if kind == b"IDAT":
            png.parts.append(content)
        elif kind == b"PLTE":
            png.palette = bytes(content)
        elif kind == b"eXIf":
            png.exif = bytes(content)
        position = end + 4
    return png if png.palette or png.carrier != "P" else None
