"""Results as a dataset: COCO or YOLO, each image's objects as supervision writes them."""

import importlib
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from roboflow_async import ConfigurationError, to_supervision
from roboflow_async._engine.images.pillow import open_picture
from roboflow_async._engine.jsonvalues import JSONObject
from roboflow_async.cli.files import write_below, written_whole
from roboflow_async.cli.run.drawing import load_supervision
from roboflow_async.cli.run.file_names import is_address, readable
from roboflow_async.cli.run.found import Size, objects_in, size_of
from roboflow_async.cli.run.pictures import ItemNames
from roboflow_async.cli.run.sources.contents import content_of
from roboflow_async.cli.run.video.naming import is_frame
from roboflow_async.errors import plain_text

__all__ = ["write_coco", "write_yolo"]

_LARGEST_CLASS_ID: Final = 9999  # above, they are numbered anew: YOLO names every one below

Lines = Callable[[], Iterator[JSONObject]]


def write_coco(lines: Lines, items: Collection[str], path: Path) -> None:
    """Write a COCO dataset: images, categories, and annotations with their `score`.

    Args:
        lines: gives those of the results, each time from the beginning.
        items: all images; `file_name` is the path below the folder that holds all of them.
        path: of the file; it is there as a whole, or not at all.

    Raises:
        ConfigurationError: no result is of objects in boxes.
    """
    load_supervision("--format coco")
    coco: Any = importlib.import_module("supervision.dataset.formats.coco")
    classes, folder = _Classes(lines()), _common_folder(items)
    # In three passes, so that it takes no more memory for more images.
    with written_whole(path) as file:
        file.write(b'{"info": {"description": "roboflow-async run"}, "licenses": [],\n')
        _write_list(file, "categories", classes.categories())
        file.write(b",\n")
        _write_list(file, "images", _coco_images(lines(), folder))
        file.write(b",\n")
        _write_list(file, "annotations", _coco_annotations(lines(), classes, coco))
        file.write(b"}\n")


def _coco_images(lines: Iterable[JSONObject], folder: str) -> Iterator[JSONObject]:
    for image_id, (item, size, _) in enumerate(_images(lines), 1):
        name = readable(item if is_address(item) else Path(_below(item, folder)).as_posix())
        yield {"id": image_id, "file_name": name, "width": size.width, "height": size.height}


def _coco_annotations(
    lines: Iterable[JSONObject], classes: "_Classes", coco: Any
) -> Iterator[JSONObject]:
    annotation_id = 1
    for image_id, (_, _, objects) in enumerate(_images(lines), 1):
        for predictions in objects:
            detections = classes.detections(predictions)
            found, annotation_id = coco.detections_to_coco_annotations(
                detections, image_id, annotation_id, approximation_percentage=0.0
            )
            if not len(detections):
                continue
            for annotation, score in zip(found, detections.confidence, strict=True):
                yield {**annotation, "score": round(float(score), 6)}


def _write_list(file: BinaryIO, name: str, items: Iterable[JSONObject]) -> None:
    file.write(f'"{name}": ['.encode())
    for index, item in enumerate(items):
        text = json.dumps(item, allow_nan=False, default=lambda number: number.item())
        file.write((",\n" if index else "\n").encode() + text.encode())
    file.write(b"]")


def write_yolo(lines: Lines, items: Collection[str], folder: Path) -> None:
    """Write labels in the form of YOLO: `labels/NAME.txt` for each image, and `data.yaml`.

    Args:
        lines: gives those of the results, each time from the beginning.
        items: all images; each file has the path of its image below the folder that holds all.
        folder: of the labels.

    Raises:
        ConfigurationError: no result is of objects in boxes.
    """
    load_supervision("--format yolo")
    yolo: Any = importlib.import_module("supervision.dataset.formats.yolo")
    classes, common = _Classes(lines()), _common_folder(items)
    names = ItemNames(_below(item, common) for item in items)
    used: set[str] = set()
    for item, size, objects in _images(lines()):
        parts = names.parts(_below(item, common))
        # What follows the last dot of a frame's name is its number.
        stem = parts[-1] if is_frame(item) else Path(parts[-1]).stem
        if "/".join([*parts[:-1], stem]).casefold() in used:
            stem = parts[-1]  # a.png beside a.jpg, for which YOLO has one name
        used.add("/".join([*parts[:-1], stem]).casefold())
        rows: list[str] = []
        for predictions in objects:
            rows += yolo.detections_to_yolo_annotations(
                classes.detections(predictions), (size.height, size.width),
                approximation_percentage=0.0,
            )  # fmt: skip
        text = "".join(f"{row}\n" for row in rows)
        write_below(folder, ["labels", *parts[:-1], f"{stem}.txt"], text.encode())
    # JSON is YAML; all of Unicode as it is, since YAML knows no pairs of \u escapes.
    listed = json.dumps(classes.names, ensure_ascii=False)
    text = f"nc: {len(classes.names)}\nnames: {listed}\n"
    write_below(folder, ["data.yaml"], text.encode("utf-8", "replace"))


class _Classes:
    """The classes of all results: with the model's own numbers, where these tell them apart.

    Args:
        lines: of the results.

    Raises:
        ConfigurationError: no result is of objects in boxes.
    """

    def __init__(self, lines: Iterable[JSONObject]) -> None:
        seen: dict[tuple[Any, str], None] = {}
        succeeded = with_objects = 0
        for line in lines:
            objects = objects_in(line)
            succeeded += "error" not in line
            with_objects += bool(objects)
            for predictions in objects:
                for item in predictions["predictions"]:
                    seen[item.get("class_id"), _name(item.get("class"))] = None
        if succeeded and not with_objects:
            raise ConfigurationError(
                "no output holds objects in boxes, which COCO and YOLO are for: give --format csv "
                "or jsonl."
            )
        by_id = {number: name for number, name in seen if _is_usable(number)}
        self._seen = [name for _, name in seen]
        if len(by_id) == len(seen) == len({*by_id.values()}):
            most = max(by_id, default=-1) + 1
            self.names = [by_id.get(number, f"unseen-{number}") for number in range(most)]
        else:  # of several models, or of a server that tells only names
            self.names = [*dict.fromkeys(self._seen)]
        self._numbers = {name: number for number, name in enumerate(self.names)}

    def categories(self) -> Iterator[JSONObject]:
        """Those that were seen, as COCO has them: numbers begin with 1, in supervision too."""
        for name in sorted({*self._seen}, key=self._numbers.__getitem__):
            yield {"id": self._numbers[name] + 1, "name": name, "supercategory": "none"}

    def detections(self, predictions: JSONObject) -> Any:
        """Predictions for supervision, with the numbers of these classes."""
        detections: Any = to_supervision(predictions)
        numpy: Any = importlib.import_module("numpy")
        items = predictions["predictions"]
        numbers = [self._numbers[_name(item.get("class"))] for item in items]
        detections.class_id = numpy.array(numbers, dtype=int)
        return detections


def _name(name: object) -> str:
    return plain_text(str(name))


def _is_usable(number: object) -> bool:
    return isinstance(number, int) and 0 <= number <= _LARGEST_CLASS_ID


def _images(lines: Iterable[JSONObject]) -> Iterator[tuple[str, Size, list[JSONObject]]]:
    """Each image whose size is known, with its objects; those of crops are left out."""
    for line in lines:
        objects = objects_in(line)
        if not objects:
            continue
        size = next(filter(None, map(size_of, objects)), None) or _size_of_file(line["image"])
        if size is not None:
            yield line["image"], size, [one for one in objects if size_of(one) in (None, size)]


def _size_of_file(item: str) -> Size | None:
    """Where the server told none, as the first hosted API."""
    try:
        picture = open_picture(content_of(item))
        return None if picture is None else Size(*picture.size)
    except Exception:  # noqa: BLE001 - each format has errors of its own; it is gone, or a URL
        return None


def _common_folder(items: Collection[str]) -> str:
    folders = [os.path.dirname(os.path.abspath(item)) for item in items if not is_address(item)]  # noqa: PTH100, PTH120 - an item is text
    try:
        return os.path.commonpath(folders)
    except ValueError:  # there are none; or several drives of Windows
        return ""


def _below(item: str, folder: str) -> str:
    if is_address(item) or not folder:
        return item
    return os.path.relpath(item, folder)
