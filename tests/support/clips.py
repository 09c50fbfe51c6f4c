"""Tiny clips of known frames: frame n is grey of brightness `shade(n)`."""

import io
import struct
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

# Milliseconds of the frames of a clip of variable frame rate: bursts, gaps, ties.
UNEVEN = (0, 10, 15, 100, 133, 400, 410, 500, 900, 905, 910, 1000, 1300, 1700, 1710, 1711, 1720,
          2000, 2500, 2600)  # fmt: skip


def shade(index: int) -> int:
    return 20 + index * 37 % 200


def grey(index: int, size: tuple[int, int] = (64, 48)) -> Any:
    return np.full((size[1], size[0], 3), shade(index), np.uint8)


def write_clip(
    path: Path | io.BytesIO,
    frames: int | Sequence[Any] = 30,
    *,
    fps: int = 30,
    size: tuple[int, int] = (64, 48),
    codec: str = "libx264",
    pixels: str = "yuv420p",
    times: Sequence[int] | None = None,
    muxer: str | None = None,
    options: Mapping[str, str] | None = None,
    container_options: Mapping[str, str] | None = None,
    colours: tuple[int, int] | None = None,
    sound: float = 0.0,
) -> None:
    """Write a clip.

    Args:
        path: where.
        frames: arrays of BGR, or the number of grey ones.
        fps: frames a second.
        size: width and height of grey frames.
        codec: FFmpeg's name.
        pixels: FFmpeg's name of the pixel format.
        times: milliseconds of each frame, for a variable frame rate.
        muxer: FFmpeg's name of the container; None: by the suffix.
        options: of the encoder.
        container_options: of the muxer.
        colours: FFmpeg's numbers of a colour space and a range.
        sound: seconds of silence beside it.
    """
    target: Any = path if isinstance(path, io.BytesIO) else str(path)
    pictures = [grey(n, size) for n in range(frames)] if isinstance(frames, int) else frames
    # One thread, so that a clip is the same each time.
    coder = {"threads": "1", **({"qp": "1"} if codec == "libx264" else {}), **(options or {})}
    with av.open(
        target, "w", format=muxer, container_options=dict(container_options or {})
    ) as container:
        stream: Any = container.add_stream(codec, rate=fps, options=coder)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pixels
        if colours is not None:
            stream.codec_context.colorspace, stream.codec_context.color_range = colours
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if sound:
            quiet: Any = container.add_stream("aac", rate=8000, layout="mono")
            for n in range(int(sound * 8000) // 1024 + 1):
                silence = av.AudioFrame.from_ndarray(
                    np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
                )
                silence.sample_rate, silence.pts = 8000, n * 1024
                container.mux(quiet.encode(silence))
            container.mux(quiet.encode(None))
        for number, picture in enumerate(pictures):
            frame: Any = av.VideoFrame.from_ndarray(picture, format="bgr24")
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def pyav_frames(path: Path) -> list[Any]:
    """The frames as PyAV alone gives them."""
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


# The matrix that a phone writes which is held upright, by degrees clockwise.
_MATRICES = {
    90: (0, 1, 0, -1, 0, 0, 0, 0, 1),
    180: (-1, 0, 0, 0, -1, 0, 0, 0, 1),
    270: (0, -1, 0, 1, 0, 0, 0, 0, 1),
}


def rotate(path: Path, degrees: int) -> None:
    """Tell players of an MP4 file to turn its pictures, clockwise."""
    data = bytearray(path.read_bytes())
    header = data.index(b"tkhd") + 4
    matrix = header + 4 + (32 if data[header] == 1 else 20) + 16
    units = (0x10000, 0x10000, 0x40000000) * 3
    numbers = [a * b for a, b in zip(_MATRICES[degrees], units, strict=True)]
    data[matrix : matrix + 36] = struct.pack(">9i", *numbers)
    path.write_bytes(data)
