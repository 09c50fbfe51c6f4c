"""Coordinates back from a smaller image, and image outputs."""

import base64
import sys
from typing import Any

import pytest

from roboflow_async import ConfigurationError, ImageError, decode_image, open_image
from roboflow_async._engine.images.encoded import Resizing
from roboflow_async._engine.images.rescale import scaled_back
from roboflow_async.testing import draw_scene

SMALL = Resizing((100, 100), (400, 300))


def found(**prediction: Any) -> dict[str, Any]:
    return {"image": {"width": 100, "height": 100}, "predictions": [prediction]}


def test_coordinates_are_scaled_each_along_its_axis() -> None:
    """Boxes, points and keypoints are scaled, each along its axis."""
    output = found(
        x=10, y=20, width=5, height=6.0, confidence=0.5, class_id=1,
        points=[{"x": 1, "y": 2}], keypoints=[{"x": 3, "y": 4, "confidence": 0.9}],
    )  # fmt: skip
    assert scaled_back({"a": [output], "count": 1}, SMALL) == {
        "a": [
            {
                "image": {"width": 400, "height": 300},
                "predictions": [
                    {
                        "x": 40, "y": 60, "width": 20, "height": 18,
                        "confidence": 0.5, "class_id": 1,
                        "points": [{"x": 4, "y": 6}],
                        "keypoints": [{"x": 12, "y": 12, "confidence": 0.9}],
                    }
                ],
            }
        ],
        "count": 1,
    }  # fmt: skip


def test_predictions_on_a_crop_stay_as_they_are() -> None:
    crop = {"image": {"width": 30, "height": 100}, "predictions": [{"x": 10, "y": 20}]}
    assert scaled_back({"crops": [crop]}, SMALL) == {"crops": [crop]}


def test_classifications_only_get_the_size_of_the_original() -> None:
    for predictions in ({"cat": {"confidence": 0.9}}, [{"class": "cat"}], ["cat"]):
        output = {"image": {"width": 100, "height": 100}, "predictions": predictions}
        scaled = scaled_back(output, SMALL)
        assert scaled == {"image": {"width": 400, "height": 300}, "predictions": predictions}


def test_an_image_output_has_bytes_and_pixels() -> None:
    jpeg = draw_scene(1).jpeg
    text = base64.b64encode(jpeg).decode()
    for output in (text, {"type": "base64", "value": text}):
        assert decode_image(output) == jpeg
        assert open_image(output).size == (640, 480)


@pytest.mark.parametrize("output", [None, 3, {}, {"value": 3}, "not base64!", [], "ключ"])
def test_decode_image_refuses_what_is_no_image_output(output: Any) -> None:
    """What is no image output is refused."""
    with pytest.raises(ImageError):
        decode_image(output)


def test_base64_of_something_else_has_bytes_but_no_pixels() -> None:
    assert decode_image("aGVsbG8=") == b"hello"
    with pytest.raises(ImageError, match="Pillow"):
        open_image("aGVsbG8=")


def test_missing_pillow_is_named_by_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Pillow the extra is named."""
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(ConfigurationError, match=r"roboflow-async\[images\]"):
        open_image("aGVsbG8=")
