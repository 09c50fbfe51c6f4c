"""Image outputs that go to no file: they are left out of the lines, each 100 KB and more."""

from typing import Any, Final

from roboflow_async._engine.jsonvalues import is_array, is_object
from roboflow_async.cli.run.pictures import picture_in

__all__ = ["without_pictures"]

# Pictures by their format, which are the prediction itself: the class of each pixel.
_KEPT: Final = frozenset(["segmentation_mask", "confidence_mask"])


def without_pictures(output: Any) -> tuple[Any, list[str]]:
    """An output with None in the place of each picture, and where those were (`crops.0`)."""
    names: list[str] = []
    return _without(output, "", names), names


def _without(value: Any, name: str, names: list[str]) -> Any:
    if is_object(value):
        return {
            key: one if key in _KEPT else _without(one, f"{name}.{key}" if name else key, names)
            for key, one in value.items()
        }
    if is_array(value):
        return [_without(one, f"{name}.{index}", names) for index, one in enumerate(value)]
    if picture_in(value) is None:
        return value
    names.append(name)
    return None
