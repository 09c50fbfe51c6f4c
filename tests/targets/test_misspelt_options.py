"""An option of a model that is none is refused with the one that was meant, and nothing is sent."""

import os
from pathlib import Path

import pytest
from support.command_line import CommandLine

from roboflow_async import ConfigurationError, RoboflowClient
from roboflow_async.testing import StandInServer, draw_scene


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("conf", "confidence"),
        ("confidnce", "confidence"),
        ("Confidence", "confidence"),
        ("iou", "iou_threshold"),
        ("max_detection", "max_detections"),
    ],
)
def test_a_misspelt_option_is_told_with_the_one_that_was_meant(name: str, meant: str) -> None:
    client = RoboflowClient("a-key-of-the-tests")
    with pytest.raises(ConfigurationError) as caught:
        client.model("pets/3", **{name: 0.5})  # type: ignore[arg-type] - as it is typed
    assert str(caught.value) == f"a model has no option {name!r}: did you mean {meant!r}?"


def test_an_option_like_none_is_told_with_all_that_there_are() -> None:
    client = RoboflowClient("a-key-of-the-tests")
    with pytest.raises(ConfigurationError, match=r"no option 'zoom'; it has .*confidence, .*\.$"):
        client.model("pets/3", zoom=2)  # type: ignore[call-overload] - as it is typed


def test_the_command_tells_it_before_anything_is_billed(
    command_line: CommandLine, tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").write_bytes(draw_scene(1).jpeg)
    with StandInServer() as server:
        done = command_line.run(
            "run", "a.jpg", "--model", "pets/3", "--param", "conf=0.3", "--host", server.url,
            cwd=tmp_path, env=os.environ | {"ROBOFLOW_API_KEY": "any"},
        )  # fmt: skip
        assert done.returncode == 1
        assert "did you mean 'confidence'?" in done.stderr
        assert "Extra inputs" not in done.stderr
        assert not server.meter.billed
