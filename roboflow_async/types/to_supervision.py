"""Predictions as objects of the supervision library (extra `supervision`)."""

import importlib
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from pydantic import BaseModel

from roboflow_async._engine.jsonvalues import JSONObject, is_array, is_object
from roboflow_async.errors import ConfigurationError

if TYPE_CHECKING:
    import supervision

__all__ = ["remember_given_size", "to_classifications", "to_detections"]


_NO_CLASS_ID: Final = -1  # where the server tells only names
_MOST_PIXELS: Final = 178_956_970  # of a mask: as of an image (`max_image_pixels`)
_MOST_MASK_PIXELS: Final = 1_000_000_000  # of all of them: a gigabyte, and twice that on the way
# Of all names of classes, each as long as the longest: NumPy keeps them so, 4 bytes a character.
_MOST_LETTERS: Final = 25_000_000
_FARTHEST: Final = 1_000_000  # pixels from the corner: OpenCV's own numbers end soon after
_GIVEN_SIZE: Final = "_given_size"
_MOST_KEYPOINTS: Final = 10_000_000  # of all objects, with those that are missing
_MOST_OF_A_SKELETON: Final = 1000


class _Classified(Protocol):
    @property
    def class_id(self) -> int | None: ...
    @property
    def confidence(self) -> float: ...


def remember_given_size(prediction: BaseModel, size: tuple[int, int]) -> None:
    """Keep the size of the given image with its prediction, which may claim a larger size."""
    # Stored as functools.cached_property does it: it is not a field, so it does not affect
    # equality.
    vars(prediction)[_GIVEN_SIZE] = size


def to_detections(prediction: BaseModel) -> "supervision.Detections":
    """Boxes, masks and keypoints where there are some.

    Raises:
        ConfigurationError: the extra is not installed, names of classes or masks take more memory
            than there is, or there are masks and the image has no size, or a larger one than what
            was given.
    """
    # supervision reads the server's JSON, but needs some fields that the first hosted API leaves
    # out.
    fields = prediction.model_dump(by_alias=True, mode="json")
    for item in fields["predictions"]:
        if item["class_id"] is None:
            item["class_id"] = _NO_CLASS_ID
    _check_names([item["class"] for item in fields["predictions"]])
    masked = [item for item in fields["predictions"] if _has_mask(item)]
    sizes: Any = fields["image"]
    if is_object(sizes):
        sizes = [sizes]
    size: JSONObject | None = sizes[0] if len(sizes) == 1 else None  # None for a batch
    if masked:
        if size is None:
            raise ConfigurationError(
                "to_supervision() needs the image's size to make masks, and the response does not "
                "give it: use the points themselves."
            )
        _check_masks(masked, size["width"], size["height"], prediction.__dict__.get(_GIVEN_SIZE))
    fields["image"] = size or {"width": 0, "height": 0}  # not used for boxes
    library = _library()
    with _told():
        detections = library.Detections.from_inference(fields)
        detections.data.update(_keypoints(fields["predictions"]))
        return detections


def _check_names(names: Sequence[str]) -> None:
    """Raise `ConfigurationError` for names of classes that would fill the memory."""
    longest = max(map(len, names), default=0)
    if longest * len(names) > _MOST_LETTERS:
        raise ConfigurationError(
            f"to_supervision() takes {longest * len(names) * 4:,} bytes for the names of "
            f"{len(names)} classes, of which one has {longest:,} characters: take the predictions "
            "themselves."
        )


def _has_mask(item: Mapping[str, Any]) -> bool:
    return any(item.get(name) for name in ("points", "rle", "rle_mask"))


def _check_masks(
    masked: Sequence[Mapping[str, Any]],
    width: int,
    height: int,
    given_size: tuple[int, int] | None,
) -> None:
    """Raise `ConfigurationError` for masks that are larger than their image may be.

    Each pixel of each mask takes a byte, so a few wrong numbers from a server could fill all
    memory.
    """
    told = f"to_supervision() would make {len(masked)} masks of {width} x {height} pixels"
    if min(width, height) <= 0:
        raise ConfigurationError(f"{told}, as the server tells the size of the image.")
    # Either way round: a photograph is turned as its EXIF data says, or is not.
    if given_size is not None and any(
        told > given
        for told, given in zip(sorted((width, height)), sorted(given_size), strict=True)
    ):
        raise ConfigurationError(
            f"{told}, the size that the server gave, but the image has "
            f"{given_size[0]} x {given_size[1]}: use the points themselves."
        )
    if width * height > _MOST_PIXELS or width * height * len(masked) > _MOST_MASK_PIXELS:
        raise ConfigurationError(
            f"{told}: more than {_MOST_PIXELS:,} each, or {_MOST_MASK_PIXELS:,} in all. Use the "
            "points themselves, or make the image smaller before it is sent (max_side=)."
        )
    most = width * height if given_size is None else max(width * height, prod(given_size))
    pixels = 0
    for item in masked:
        points: object = item.get("points")
        if is_array(points) and not all(map(_is_near, points)):
            raise ConfigurationError(f"{told}, but a point is wrong or outside of any image.")
        for name in ("rle", "rle_mask"):
            if item.get(name):
                pixels += _check_rle(item[name], most, told)
    if pixels > _MOST_MASK_PIXELS:
        raise ConfigurationError(
            f"{told}, which have {pixels:,} themselves: more than {_MOST_MASK_PIXELS:,} in all. "
            "Take the run lengths themselves."
        )


def _is_near(point: object) -> bool:
    """Whether OpenCV can draw the outline. Types without an outline may have anything there."""
    if not is_object(point):
        return False
    ways = (point.get("x"), point.get("y"))
    return all(isinstance(way, (int, float)) and abs(way) <= _FARTHEST for way in ways)


def _check_rle(rle: object, most: int, told: str) -> int:
    """The pixels of a run-length mask, as it tells them itself.

    Raises:
        ConfigurationError: they are more than the image has.
    """
    pixels = 0
    fields: Mapping[str, Any] = rle if is_object(rle) else {}
    size, counts = fields.get("size"), fields.get("counts")
    # supervision reports any other wrong size itself, at no cost.
    if is_array(size) and len(size) == 2 and all(isinstance(side, int) for side in size):
        pixels = size[0] * size[1]
        if min(size) < 0 or pixels > most:
            raise ConfigurationError(f"{told}, but one of them has {size[1]} x {size[0]} itself.")
    elif size is not None:
        raise ConfigurationError(f"{told}, but one of them has no size.")
    # Each run takes at most seven characters (of 5 bits), or is one number.
    if isinstance(counts, (str, list)) and len(cast("str", counts)) > 7 * (most + 1):
        raise ConfigurationError(f"{told}, but one of them has more runs than pixels.")
    return pixels


def _keypoints(objects: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The poses, a row for each object; nothing if none has one.

    The server leaves out keypoints of little confidence. `class_id` is a keypoint's place in the
    skeleton, so each stands there, and the others are zero, which supervision takes for missing.
    """
    poses: list[list[Any]] = [item.get("keypoints") or [] for item in objects]
    if not any(poses):
        return {}
    points = [point for pose in poses for point in pose]
    # Beyond these there is no image, and at last no number of 32 bits.
    if not all(_is_near(point) and abs(point["confidence"]) <= _FARTHEST for point in points):
        raise ValueError("a keypoint is outside of any image, or its confidence is no share")
    numpy: Any = importlib.import_module("numpy")
    places = [_places(pose) for pose in poses]
    width = 1 + max(place for places_of_one in places for place in places_of_one)
    if len(poses) * width > _MOST_KEYPOINTS:
        raise ValueError(f"{len(poses)} objects of {width} keypoints are too many")
    found = {
        "keypoints_xy": numpy.zeros((len(poses), width, 2), dtype=numpy.float32),
        "keypoints_confidence": numpy.zeros((len(poses), width), dtype=numpy.float32),
        "keypoints_class_id": numpy.tile(numpy.arange(width), (len(poses), 1)),
        "keypoints_class_name": numpy.full((len(poses), width), "", dtype=object),
    }
    for row, pose in enumerate(poses):
        for place, point in zip(places[row], pose, strict=True):
            found["keypoints_xy"][row, place] = point["x"], point["y"]
            found["keypoints_confidence"][row, place] = point["confidence"]
            found["keypoints_class_id"][row, place] = _class_id(point, place)
            found["keypoints_class_name"][row, place] = str(point["class"])
    return found


def _places(pose: Sequence[Mapping[str, Any]]) -> Sequence[int]:
    ids = [_class_id(point, place) for place, point in enumerate(pose)]
    usable = all(0 <= one < _MOST_OF_A_SKELETON for one in ids) and len(set(ids)) == len(ids)
    return ids if usable else range(len(pose))


def _class_id(point: Mapping[str, Any], otherwise: int) -> int:
    found = point.get("class_id")
    return otherwise if found is None else int(found)


def to_classifications(predictions: Sequence[_Classified]) -> "supervision.Classifications":
    """Classes with their confidence."""
    library = _library()
    numpy: Any = importlib.import_module("numpy")
    with _told():
        return library.Classifications(
            class_id=numpy.array([_number(item) for item in predictions], dtype=int),
            confidence=numpy.array([item.confidence for item in predictions], dtype=float),
        )


@contextmanager
def _told() -> Generator[None]:
    """Turn errors about what a server sent (an id of 400 digits, an endless mask) into ours."""
    try:
        yield
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        reason = f"{type(error).__name__}: {error!s:.200}"
    else:
        return
    raise ConfigurationError(f"supervision cannot take these predictions ({reason}).")


def _number(item: _Classified) -> int:
    return _NO_CLASS_ID if item.class_id is None else item.class_id


def _library() -> Any:
    try:
        return importlib.import_module("supervision")
    except ImportError:
        raise ConfigurationError(
            "to_supervision() needs an extra: pip install 'roboflow-async[supervision]'."
        ) from None
