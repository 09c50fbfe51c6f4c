"""Coordinates back from the smaller image that was sent to the original (`max_side=`)."""

from typing import Any, Final

from roboflow_async.encoding import Resizing
from roboflow_async.jsontypes import JSONObject, is_array, is_object

__all__ = ["scaled_back"]

_AXES: Final = {"x": 0, "width": 0, "y": 1, "height": 1}
_POINT_LISTS: Final = ("points", "keypoints")


def scaled_back(value: Any, resizing: Resizing) -> Any:
    """A copy of an output in which pixel coordinates are those of the original image.

    Scaled are predictions that the server made on the whole image that it was sent: objects
    `{"image": {"width", "height"}, "predictions": [...]}` of its size, with their boxes, points
    and keypoints. Predictions on crops have coordinates of the crop, and stay as they are.

    Args:
        value: the output, JSON.
        resizing: how the image was made smaller.
    """
    if is_object(value):
        if _is_of_whole_image(value, resizing):
            return _scale_predictions(value, resizing)
        if _is_on_a_grid(value, resizing):
            return _scale_grid(value, resizing)
        return {key: scaled_back(item, resizing) for key, item in value.items()}
    if is_array(value):
        return [scaled_back(item, resizing) for item in value]
    return value


def _is_of_whole_image(value: JSONObject, resizing: Resizing) -> bool:
    size = value.get("image")
    return (
        is_object(size)
        and "predictions" in value
        and (size.get("width"), size.get("height")) == resizing.size
    )


def _is_on_a_grid(value: JSONObject, resizing: Resizing) -> bool:
    """Whether predictions are in pixels of a mask's grid (`allow_reduced_mask_resolution`)."""
    size = value.get("original_image")
    return (
        is_object(size)
        and is_object(value.get("mask_metadata"))
        and (size.get("width"), size.get("height")) == resizing.size
    )


def _scale_grid(value: JSONObject, resizing: Resizing) -> JSONObject:
    """Predictions stay on the grid; its factors lead to the original."""
    (across, down), (width, height) = resizing.scale, resizing.original_size
    grid: JSONObject = dict(value["mask_metadata"])
    for name, factor in (("scale_x", across), ("scale_y", down)):
        if isinstance(grid.get(name), (int, float)):
            grid[name] *= factor
    original = {**value["original_image"], "width": width, "height": height}
    return {**value, "original_image": original, "mask_metadata": grid}


def _scale_predictions(value: JSONObject, resizing: Resizing) -> JSONObject:
    width, height = resizing.original_size
    predictions = value["predictions"]
    if is_array(predictions):
        predictions = [_scale(item, resizing.scale) for item in predictions]
    return {
        **value,
        "image": {**value["image"], "width": width, "height": height},
        "predictions": predictions,
    }


def _scale(prediction: Any, scale: tuple[float, float]) -> Any:
    if not is_object(prediction):
        return prediction
    scaled: JSONObject = {}
    for key, item in prediction.items():
        if key in _AXES and isinstance(item, (int, float)):
            scaled[key] = item * scale[_AXES[key]]
        elif key in _POINT_LISTS and is_array(item):
            scaled[key] = [_scale(point, scale) for point in item]
        else:
            scaled[key] = item
    return scaled
