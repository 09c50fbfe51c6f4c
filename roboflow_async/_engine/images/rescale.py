"""Converts coordinates of a smaller image that was sent back to the original (`max_side=`)."""

from math import isfinite
from typing import Any, Final

from roboflow_async._engine.images.encoded import Resizing
from roboflow_async._engine.jsonvalues import JSONObject, is_array, is_container, is_object

__all__ = ["scaled_back"]

_AXES: Final = {"x": 0, "width": 0, "y": 1, "height": 1}
_POINT_LISTS: Final = ("points", "keypoints")


def scaled_back(value: Any, resizing: Resizing) -> Any:
    """Change the pixel coordinates in an output to those of the original image.

    It scales predictions on the whole image, which are objects `{"image": {"width", "height"},
    "predictions": [...]}` with the size of the sent image: their boxes, points and keypoints.
    Predictions on crops have coordinates of the crop, and stay as they are.

    Args:
        value: the output as JSON. It is changed in place, because a copy would double the memory.
        resizing: how the image was made smaller.

    Raises:
        OverflowError: a coordinate is too large to scale.
    """
    containers: list[Any] = [value]
    while containers:
        container = containers.pop()
        if is_array(container):
            containers.extend(item for item in container if is_container(item))
        elif is_object(container):
            if _is_of_whole_image(container, resizing):
                _scale_predictions(container, resizing)
            elif _is_on_a_grid(container, resizing):
                _scale_grid(container, resizing)
            else:
                inner = container.values()
                containers.extend(item for item in inner if is_container(item))
    return value


def _is_of_whole_image(value: JSONObject, resizing: Resizing) -> bool:
    return "predictions" in value and _is_size_of(value.get("image"), resizing)


def _is_on_a_grid(value: JSONObject, resizing: Resizing) -> bool:
    """Whether predictions are in pixels of a mask's grid (`allow_reduced_mask_resolution`)."""
    return is_object(value.get("mask_metadata")) and _is_size_of(
        value.get("original_image"), resizing
    )


def _is_size_of(size: object, resizing: Resizing) -> bool:
    size = _only(size)
    if not is_object(size):
        return False
    return (_number(size.get("width")), _number(size.get("height"))) == resizing.size


def _only(size: object) -> object:
    return size[0] if is_array(size) and len(size) == 1 else size


def _number(value: object) -> float | None:
    """A number, or a string with a number, which some servers send."""
    if isinstance(value, (int, float)):
        return value
    try:
        return float(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _scaled(value: object, factor: float) -> object:
    number = _number(value)
    if number is None:
        return value
    scaled = number * factor
    if not isfinite(scaled):
        raise OverflowError("a coordinate is too large")
    return scaled


def _scale_grid(value: JSONObject, resizing: Resizing) -> None:
    """Predictions stay on the grid; its factors are changed to lead to the original."""
    (across, down), (width, height) = resizing.scale, resizing.original_size
    grid: JSONObject = value["mask_metadata"]
    for name, factor in (("scale_x", across), ("scale_y", down)):
        if name in grid:
            grid[name] = _scaled(grid[name], factor)
    value["original_image"] = {
        **_fields(value["original_image"]),
        "width": width,
        "height": height,
    }


def _fields(size: object) -> JSONObject:
    size = _only(size)
    return size if is_object(size) else {}


def _scale_predictions(value: JSONObject, resizing: Resizing) -> None:
    width, height = resizing.original_size
    predictions = value["predictions"]
    if is_array(predictions):
        for item in predictions:
            _scale(item, resizing.scale)
    value["image"] = {**_fields(value["image"]), "width": width, "height": height}


def _scale(prediction: Any, scale: tuple[float, float]) -> None:
    if not is_object(prediction):
        return
    for axis, direction in _AXES.items():
        if axis in prediction:
            prediction[axis] = _scaled(prediction[axis], scale[direction])
    for name in _POINT_LISTS:
        points: object = prediction.get(name)
        if is_array(points):
            for point in points:
                _scale(point, scale)
