"""What a job of the stand-in computes, and the archives that it leaves.

No source describes the files of results. Their records are those that `inference workflows
process-images-directory` of `inference_cli` writes: the outputs with the name of the image as
`image`, and "<deducted_image>" in place of each picture.
"""

import csv
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

from PIL import Image, UnidentifiedImageError

from roboflow_async._engine.images.downsizing import read_upright
from roboflow_async._engine.jsonvalues import JSONObject
from roboflow_async.errors import ImageError
from roboflow_async.testing.detection import detect, draw_found
from roboflow_async.testing.platform.storage import StoredFile

__all__ = ["Member", "TaskOutput", "hostile_members", "process", "results_file", "tar_gz"]

_CONFIDENCE: Final = 0.4
_DEDUCTED: Final = "<deducted_image>"
_FRAMES: Final = 10  # of every video, because the stand-in decodes none


@dataclass(slots=True)
class TaskOutput:
    """What one task of a job has made.

    Attributes:
        records: one for each image, or for each frame of a video.
        failures: the names of what could not be processed, with the reason.
        pictures: picture outputs, if the job keeps them: the name and a JPEG.
    """

    records: list[JSONObject] = field(default_factory=list[JSONObject])
    failures: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    pictures: list[tuple[str, bytes]] = field(default_factory=list[tuple[str, bytes]])


def process(
    files: list[StoredFile],
    parameters: JSONObject,
    fails: Callable[[str], bool],
    *,
    keep_pictures: bool,
) -> TaskOutput:
    """Run the stand-in's Workflow on files.

    Args:
        files: images or videos.
        parameters: the Workflow's; it reads `confidence`.
        fails: whether a file fails although it is fine.
        keep_pictures: whether to draw a picture for each.
    """
    output = TaskOutput()
    confidence = parameters.get("confidence", _CONFIDENCE)
    for file in files:
        if fails(file.name):
            output.failures.append((file.name, "the stand-in was told to let it fail"))
        elif file.content_type == "videos":
            output.records += [
                {"video": file.name, "frame": number, "count": 0} for number in range(_FRAMES)
            ]
        else:
            try:
                picture = _open(file.read())
            except ValueError as error:
                output.failures.append((file.name, str(error)))
                continue
            found = detect(picture, confidence)
            count = len(found["predictions"])
            record: JSONObject = {"predictions": found, "count": count, "image": file.name}
            record["visualization"] = _DEDUCTED
            output.records.append(record)
            if keep_pictures:
                drawn = draw_found(picture, found)
                output.pictures.append((f"{PurePosixPath(file.name).stem}.jpg", drawn))
    return output


def _open(content: bytes) -> Image.Image:
    try:
        return read_upright(Image.open(io.BytesIO(content))).convert("RGB")
    except (
        *(ValueError, UnidentifiedImageError, OSError, SyntaxError, ImageError),
        Image.DecompressionBombError,
    ) as error:
        raise ValueError(f"not an image: {type(error).__name__}") from None


def results_file(records: list[JSONObject], form: str, number: int) -> tuple[str, bytes]:
    """The name and the content of the n-th file of results, as JSONL or CSV."""
    if form == "jsonl":
        lines = [json.dumps(record) for record in records]
        return f"{number:05}-results.jsonl", "".join(f"{line}\n" for line in lines).encode()
    text = io.StringIO()
    names = list(dict.fromkeys(name for record in records for name in record))
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    for record in records:
        writer.writerow({name: _cell(value) for name, value in record.items()})
    return f"{number:05}-results.csv", text.getvalue().encode()


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, (dict, list)) else value


Member = tuple[str, bytes] | tarfile.TarInfo
"""A member of an archive: a name and a content, or one without content, such as a link."""


def tar_gz(members: Sequence[Member]) -> bytes:
    """A compressed tar archive of these members, in this order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            name, content = member
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def hostile_members() -> list[Member]:
    """What is in an archive that wants to write outside of the folder that it is unpacked in.

    A link leads out of the folder, and a file is written through it.
    """
    way_out = tarfile.TarInfo("way-out")
    way_out.type, way_out.linkname = tarfile.SYMTYPE, "../../outside"
    hard = tarfile.TarInfo("hard-link")
    hard.type, hard.linkname = tarfile.LNKTYPE, "../../outside/secret"
    device = tarfile.TarInfo("device")
    device.type = tarfile.CHRTYPE
    pipe = tarfile.TarInfo("pipe")
    pipe.type = tarfile.FIFOTYPE
    return [
        ("../escaped-by-dots", b"hostile"),
        ("inner/../../escaped-from-inside", b"hostile"),
        ("/escaped-by-root", b"hostile"),
        ("C:\\escaped-by-drive", b"hostile"),
        ("..\\escaped-by-backslash", b"hostile"),
        way_out,
        ("way-out/escaped-by-link", b"hostile"),
        (f"{'long' * 100}.jsonl", b"hostile"),
        hard,
        device,
        pipe,
    ]
