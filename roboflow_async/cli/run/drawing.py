"""`--annotate`: what was found, drawn over each picture with supervision's annotators."""

import importlib
import os
import warnings
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, Final

from roboflow_async import ConfigurationError, RoboflowError, to_supervision
from roboflow_async._engine.images.downsizing import read_upright
from roboflow_async._engine.images.formats import check_content
from roboflow_async._engine.images.pillow import decoding, open_picture, saved
from roboflow_async._engine.jsonvalues import JSONObject
from roboflow_async.cli.files import OF_THE_DISK, write_below
from roboflow_async.cli.run.file_names import as_path, is_address, on_record, readable, tag
from roboflow_async.cli.run.found import Size, classes_in, objects_in, size_of
from roboflow_async.cli.run.pictures import DRAWN_SUFFIXES, ItemNames, drawn_parts
from roboflow_async.cli.run.sources.contents import content_of
from roboflow_async.cli.run.video.naming import source_in

__all__ = ["Annotator", "Drawing", "load_supervision"]

_FORMATS: Final[dict[str, str]] = dict(zip(DRAWN_SUFFIXES, ("JPEG", "JPEG", "PNG"), strict=True))
_QUALITY: Final = 90
_MOST_SPREAD: Final = 50  # labels that are moved off each other: each with each is looked at
# All light, so that black letters can be read on them.
_COLOURS: Final = (
    "#ffd23f", "#5bd1ff", "#7bed6b", "#ff9f68", "#ff8fd1", "#b9a6ff", "#4fe3c1", "#e6e35a",
    "#ffb3ae", "#c5e1a5", "#9ad0f5", "#e8c39e",
)  # fmt: skip
_NOTHING: Final = "the output holds no predictions"
_MOST_PIXELS: Final = 178_956_970  # of a picture, as the client sends it by default


def load_supervision(what: str) -> Any:
    """The library, without its word on stderr about OpenCV, which it can do without.

    Raises:
        ConfigurationError: it is not installed; `what` needs it.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="OpenCV")
            importlib.import_module("PIL.Image")
            return importlib.import_module("supervision")
    except ImportError:
        raise ConfigurationError(
            f"{what} needs an extra: pip install 'roboflow-async[supervision,images]'."
        ) from None


class Drawing:
    """Draws after the run, so that it holds up no request; what is there already stays.

    Args:
        folder: of the pictures, which have the paths of the images below it.
        items: the images of the run, as far as they are known before.

    Raises:
        ConfigurationError: supervision is not installed, or the pictures would take the place of
            the images.
    """

    def __init__(self, folder: Path, items: Collection[str]) -> None:
        self._annotator = Annotator()
        self._folder = folder
        self._drawn = 0
        self._failures: Counter[str] = Counter()
        self._know([on_record(item) for item in items])

    def draw(self, lines: Iterable[JSONObject], items: Collection[str], before: set[str]) -> None:
        """Draw what is on the images.

        Args:
            lines: of the results.
            items: their images.
            before: those that earlier runs have done: their pictures are made if they are missing.
        """
        self._know(items)
        for line in lines:
            if "error" in line or "frame" in line:
                continue
            item = line["image"]
            parts = self._path_of(item)
            if item in before and os.path.isfile(as_path(str(self._folder.joinpath(*parts)))):  # noqa: PTH113
                continue
            try:
                self._draw(line, item, parts)
            except RoboflowError as error:
                self._failures[str(error).replace(readable(item), "the image")[:200]] += 1
            except OSError as error:
                if error.errno in OF_THE_DISK:
                    raise
                self._failures[error.strerror or type(error).__name__] += 1
            else:
                self._drawn += 1

    def summary(self) -> dict[str, Any]:
        """How many were drawn now, and why others were not: the three most frequent reasons."""
        return {"annotated": self._drawn, "not_annotated": dict(self._failures.most_common(3))}

    def _know(self, items: Collection[str]) -> None:
        items = [item for item in items if source_in(item) == item]
        self._names = ItemNames(items)
        self._images = {os.path.realpath(as_path(item)) for item in items if not is_address(item)}
        for item in items:
            self._path_of(item)

    def _path_of(self, item: str) -> list[str]:
        parts = drawn_parts(self._names, item)
        if os.path.realpath(as_path(str(self._folder.joinpath(*parts)))) in self._images:
            raise ConfigurationError(
                f"--annotate {str(self._folder)!r:.200} would write over the images themselves: "
                "give another folder."
            )
        return parts

    def _draw(self, line: JSONObject, item: str, parts: list[str]) -> None:
        if not objects_in(line) and not classes_in(line):
            raise ConfigurationError(_NOTHING)
        picture = _decoded(content_of(item))
        numpy: Any = importlib.import_module("numpy")
        image: Any = importlib.import_module("PIL.Image")
        scene = numpy.ascontiguousarray(numpy.asarray(picture.convert("RGB"))[:, :, ::-1])
        scene = self._annotator.annotated(line, scene)
        kind = _FORMATS[Path(parts[-1]).suffix.lower()]
        options = {"quality": _QUALITY} if kind == "JPEG" else {}
        drawn = saved(image.fromarray(scene[:, :, ::-1]), kind, **options)
        write_below(self._folder, parts, drawn)


class Annotator:
    """Draws what a result line tells over its picture.

    Raises:
        ConfigurationError: supervision is not installed.
    """

    def __init__(self) -> None:
        self._supervision = load_supervision("--annotate")

    def annotated(self, line: JSONObject, scene: Any) -> Any:
        """The picture with what was found; an array of BGR, which may be drawn on.

        Raises:
            ConfigurationError: the line has nothing to draw, or is of another size.
        """
        objects, classes = objects_in(line), classes_in(line)
        if not objects and not classes:
            raise ConfigurationError(_NOTHING)
        size = Size(scene.shape[1], scene.shape[0])
        of_it = [one for one in objects if size_of(one) in (None, size)]
        if objects and not of_it and not classes:
            raise ConfigurationError("the predictions are of an image of another size")
        for predictions in of_it:
            scene = self._with_objects(scene, predictions, size)
        return self._with_classes(scene, classes, size)

    def _with_objects(self, scene: Any, predictions: JSONObject, size: Size) -> Any:
        library = self._supervision
        detections: Any = to_supervision(predictions)
        if not len(detections):
            return scene
        resolution = (size.width, size.height)
        thickness = library.calculate_optimal_line_thickness(resolution)
        # From 0 up, whatever the server's ids are: they choose the colour.
        names = [str(name) for name in detections.data["class_name"]]
        detections.class_id = _numbers(names)
        colours = library.ColorPalette.from_hex([*_COLOURS])
        if detections.mask is not None:
            scene = library.MaskAnnotator(colours, opacity=0.4).annotate(scene, detections)
        scene = library.BoxAnnotator(colours, thickness=thickness).annotate(scene, detections)
        poses = detections.data.get("keypoints_xy")
        if poses is not None:
            points = library.KeyPoints(xy=poses, class_id=detections.class_id)
            scene = library.VertexAnnotator(radius=2 + thickness).annotate(scene, points)
        labels = [
            f"{name} {confidence:.2f}"
            for name, confidence in zip(names, detections.confidence, strict=True)
        ]
        return library.LabelAnnotator(
            colours,
            text_scale=library.calculate_optimal_text_scale(resolution),
            text_thickness=max(1, thickness // 2),
            text_padding=4,
            text_color=library.Color.BLACK,
            smart_position=len(labels) <= _MOST_SPREAD,
        ).annotate(scene, detections, labels=labels)

    def _with_classes(self, scene: Any, classes: list[tuple[str, float]], size: Size) -> Any:
        library = self._supervision
        scale = library.calculate_optimal_text_scale((size.width, size.height))
        for row, (name, confidence) in enumerate(classes[:10]):
            text = f"{name} {confidence:.2f}"
            # From its centre: the letters are about 18 pixels wide at a scale of 1.
            across, down = (9 * len(text) + 12) * scale + 8, (30 + 50 * row) * scale + 8
            scene = library.draw_text(
                scene, text, library.Point(x=int(across), y=int(down)),
                text_color=library.Color.BLACK, background_color=library.Color.WHITE,
                text_scale=scale, text_padding=4,
            )  # fmt: skip
        return scene


def _numbers(names: list[str]) -> Any:
    numpy: Any = importlib.import_module("numpy")
    # As tag(): the same class has the same colour in every picture.
    return numpy.array([int(tag(name), 16) % 1000 for name in names], dtype=int)


def _decoded(data: bytes) -> Any:
    """A picture as the server saw it: upright."""
    check_content(data, "the image", converted=True)
    try:
        picture = open_picture(data)
        if picture is None or picture.width * picture.height > _MOST_PIXELS:
            raise ConfigurationError("it is of a kind that Pillow does not know, or too large")
        with decoding(picture.width * picture.height):
            return read_upright(picture)
    except RoboflowError:
        raise
    except Exception:  # noqa: BLE001 - each format has errors of its own
        raise ConfigurationError("it cannot be decoded by Pillow") from None
