"""`roboflow-async run`: what becomes of image outputs, and of predictions drawn on the images."""

import base64
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import CompletedProcess
from threading import Thread
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.command_line import CommandLine

from roboflow_async.cli.run.drawing import load_supervision
from roboflow_async.cli.run.pictures import without_pictures
from roboflow_async.errors import ConfigurationError
from roboflow_async.testing import StandInServer, draw_scene

ENVIRONMENT = os.environ | {"ROBOFLOW_API_KEY": "a-key-of-the-tests"}
WORKFLOW = ("--workflow", "ws/wf")

Run = Callable[..., CompletedProcess[str]]


@pytest.fixture
def stand_in() -> Iterator[StandInServer]:
    with StandInServer(requests_per_second=None, latency=0.0) as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    for seed in range(3):
        (tmp_path / "data" / f"{seed}.jpg").write_bytes(draw_scene(seed).jpeg)
    return tmp_path


@pytest.fixture
def run(command_line: CommandLine, tmp_path: Path) -> Run:
    return partial(_run, command_line, tmp_path)


def _run(command_line: CommandLine, folder: Path, url: str, *more: str) -> CompletedProcess[str]:
    arguments = ("run", *more, "--host", url, "--rps", "0")
    return command_line.run(*arguments, cwd=folder, env=ENVIRONMENT)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@contextmanager
def answering(output: dict[str, Any]) -> Iterator[str]:
    """The URL of a server that gives this output to each request."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps({"outputs": [output], "profiler_trace": []}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its own name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.02,)).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def objects(*items: dict[str, Any]) -> dict[str, Any]:
    rest = {"confidence": 0.9, "class": "cat", "class_id": 1, "detection_id": "d"}
    return {"image": {"width": 640, "height": 480}, "predictions": [rest | item for item in items]}


def pixels(path: Path) -> Any:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


# Image outputs


def test_image_outputs_are_left_out_with_a_note(
    run: Run, folder: Path, stand_in: StandInServer
) -> None:
    done = run(stand_in.url, "data", *WORKFLOW, "--json")
    assert done.returncode == 0, done.stderr
    for line in lines(folder / "results.jsonl"):
        assert line["output"]["visualization"] is None
        assert line["left_out"] == ["visualization"]
        assert line["output"]["predictions"]["predictions"]
    assert (folder / "results.jsonl").stat().st_size < 3 * 3000
    # Once, with both ways to have them.
    assert done.stderr.count("left out") == 1
    assert "--save-images FOLDER" in done.stderr
    assert "--include-images" in done.stderr
    assert json.loads(done.stdout)["images_left_out"] == 3


def test_they_are_kept_if_that_is_wanted(run: Run, folder: Path, stand_in: StandInServer) -> None:
    done = run(stand_in.url, "data", *WORKFLOW, "--include-images")
    assert "left out" not in done.stderr
    for line in lines(folder / "results.jsonl"):
        assert base64.b64decode(line["output"]["visualization"])[:2] == b"\xff\xd8"
        assert "left_out" not in line


def test_they_are_saved_and_kept_if_both_are_wanted(
    run: Run, folder: Path, stand_in: StandInServer
) -> None:
    run(stand_in.url, "data", *WORKFLOW, "--include-images", "--save-images", "pictures")
    (line, *_) = lines(folder / "results.jsonl")
    assert base64.b64decode(line["output"]["visualization"])[:2] == b"\xff\xd8"
    assert len([*(folder / "pictures").rglob("*.jpg")]) == 3


def test_saved_ones_are_named_in_the_lines(run: Run, folder: Path, stand_in: StandInServer) -> None:
    done = run(stand_in.url, "data", *WORKFLOW, "--save-images", "pictures")
    assert "left out" not in done.stderr
    for line in lines(folder / "results.jsonl"):
        assert (folder / line["output"]["visualization"]).is_file()


def test_pictures_in_an_output_are_left_out_and_masks_stay() -> None:
    text = base64.b64encode(draw_scene(1).jpeg).decode()
    mask = {"segmentation_mask": text, "confidence_mask": text, "class_map": {"0": "sky"}}
    output = {"crops": [text, {"type": "base64", "value": text}], "note": "a" * 200, "sky": mask}
    assert without_pictures(output) == (
        {"crops": [None, {"type": "base64", "value": None}], "note": "a" * 200, "sky": mask},
        ["crops.0", "crops.1.value"],
    )


def test_outputs_that_are_excluded_are_not_sent_at_all(
    run: Run, folder: Path, stand_in: StandInServer
) -> None:
    exclude = ("--exclude", "visualization", "--exclude", "count")
    done = run(stand_in.url, "data", *WORKFLOW, *exclude)
    assert done.returncode == 0, done.stderr
    for line in lines(folder / "results.jsonl"):
        assert line["output"].keys() == {"predictions"}
    # Lines with other outputs do not come into the same file.
    assert run(stand_in.url, "data", *WORKFLOW).returncode == 1


def test_a_model_has_one_output(run: Run, folder: Path, stand_in: StandInServer) -> None:
    done = run(stand_in.url, "data", "--model", "pets/3", "--exclude", "count")
    assert done.returncode == 1
    assert "--exclude" in done.stderr
    assert not stand_in.meter.billed


# Drawing


@pytest.mark.parametrize("target", [WORKFLOW, ("--model", "pets/3")])
def test_predictions_are_drawn_over_each_image(
    run: Run, folder: Path, stand_in: StandInServer, target: tuple[str, str]
) -> None:
    done = run(stand_in.url, "data", *target, "--annotate", "drawn", "--json")
    assert done.returncode == 0, done.stderr
    assert "Pictures annotated: 3" in done.stderr
    assert "OpenCV" not in done.stderr
    assert json.loads(done.stdout)["annotated"] == 3
    for seed in range(3):
        before, after = (pixels(folder / top / "data" / f"{seed}.jpg") for top in (".", "drawn"))
        assert before.shape == after.shape
        changed = np.abs(before - after).max(axis=2) > 80
        for left, top, _, height in draw_scene(seed).boxes:
            # The left edge of the box; its middle has nothing drawn on it.
            assert changed[top + 5 : top + height - 5, left - 2 : left + 3].any(axis=1).mean() > 0.9
            assert not changed[top + height // 2 - 3 : top + height // 2 + 3, left + 6].any()


def test_masks_and_keypoints_are_drawn(run: Run, folder: Path) -> None:
    corners = [{"x": x, "y": y} for x, y in [(200, 100), (400, 100), (400, 300), (200, 300)]]
    pose = [{"x": 100, "y": 400, "confidence": 0.9, "class": "nose", "class_id": 0}]
    output = {
        "outlines": objects({"x": 300, "y": 200, "width": 200, "height": 200, "points": corners}),
        "poses": objects({"x": 100, "y": 400, "width": 80, "height": 80, "keypoints": pose}),
    }
    with answering(output) as url:
        done = run(url, "data/0.jpg", *WORKFLOW, "--annotate", "drawn")
    assert done.returncode == 0, done.stderr
    changed = pixels(folder / "data/0.jpg") - pixels(folder / "drawn/data/0.jpg")
    strength = np.abs(changed).max(axis=2)
    assert (strength[120:280, 220:380] > 15).mean() > 0.9  # the mask
    assert (strength[398:403, 98:103] > 40).all()  # the keypoint
    assert (strength[10:90, 450:600] > 40).mean() < 0.01  # nothing is there


@pytest.mark.parametrize(
    "output",
    [
        {"top": "cat", "confidence": 0.8, "predictions": [{"class": "cat", "confidence": 0.8}]},
        {"predictions": {"cat": {"confidence": 0.8}}, "predicted_classes": ["cat"]},
    ],
)
def test_classes_are_written_in_the_corner(run: Run, folder: Path, output: dict[str, Any]) -> None:
    with answering({"classes": output}) as url:
        done = run(url, "data/0.jpg", *WORKFLOW, "--annotate", "drawn")
    assert done.returncode == 0, done.stderr
    assert pixels(folder / "drawn/data/0.jpg")[8:60, 8:120].max() > 230


def test_what_cannot_be_drawn_on_is_counted_with_the_reason(run: Run, folder: Path) -> None:
    (folder / "list.txt").write_text("data/0.jpg\nhttps://example.com/a.jpg\n")
    with answering({"predictions": objects() | {"image": {"width": 5, "height": 5}}}) as url:
        done = run(url, "list.txt", *WORKFLOW, "--annotate", "drawn")
        assert done.returncode == 0, done.stderr
        assert "Pictures annotated: 0" in done.stderr
        assert "Not annotated: 1 (the predictions are of an image of another size)" in done.stderr
        assert "Not annotated: 1 (it is a URL" in done.stderr
    with answering({"count": 1}) as url:
        done = run(url, "data", *WORKFLOW, "--annotate", "drawn", "-o", "other.jsonl")
    assert "Not annotated: 3 (the output holds no predictions)" in done.stderr


def test_pictures_are_drawn_of_earlier_results_too(
    run: Run, folder: Path, stand_in: StandInServer
) -> None:
    assert run(stand_in.url, "data", *WORKFLOW).returncode == 0
    drawn = ("--annotate", "drawn")
    assert "Pictures annotated: 3" in run(stand_in.url, "data", *WORKFLOW, *drawn).stderr
    (folder / "drawn/data/1.jpg").unlink()
    assert "Pictures annotated: 1" in run(stand_in.url, "data", *WORKFLOW, *drawn).stderr
    assert stand_in.meter.billed == 3


@pytest.mark.parametrize("target", [".", "data/.."])
def test_the_images_themselves_are_never_drawn_on(
    run: Run, folder: Path, stand_in: StandInServer, target: str
) -> None:
    done = run(stand_in.url, "data", *WORKFLOW, "--annotate", target)
    assert done.returncode == 1
    assert "would write over the images" in done.stderr
    assert not stand_in.meter.billed
    # Nothing is left of it that would be in the way of the right command.
    assert {path.name for path in folder.iterdir()} == {"data"}
    assert (folder / "data" / "0.jpg").read_bytes() == draw_scene(0).jpeg


def test_each_format_is_drawn_on_under_a_name_of_its_own(
    run: Run, folder: Path, stand_in: StandInServer
) -> None:
    for suffix in ("png", "bmp", "tif"):
        buffer = io.BytesIO()
        with Image.open(folder / "data" / "0.jpg") as picture:
            picture.save(buffer, format={"tif": "TIFF"}.get(suffix, suffix))
        (folder / "data" / f"0.{suffix}").write_bytes(buffer.getvalue())
    done = run(stand_in.url, "data", *WORKFLOW, "--annotate", "drawn")
    assert "Pictures annotated: 6" in done.stderr
    written = sorted(path.name for path in (folder / "drawn" / "data").iterdir())
    assert len(written) == 6
    assert {"0.png", "0.jpg"} <= {*written}
    for name in written:
        assert pixels(folder / "drawn" / "data" / name).shape == (480, 640, 3)


def test_a_picture_lies_as_its_predictions_do(run: Run, folder: Path) -> None:
    """A phone stores it lying on its side, with a tag that says how to turn it."""
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(folder / "data" / "0.jpg") as picture:
        picture.save(buffer, format="JPEG", exif=exif)
    (folder / "turned.jpg").write_bytes(buffer.getvalue())
    upright = objects({"x": 100, "y": 100, "width": 50, "height": 50})
    upright["image"] = {"width": 480, "height": 640}
    with answering({"predictions": upright}) as url:
        done = run(url, "turned.jpg", *WORKFLOW, "--annotate", "drawn")
    assert "Pictures annotated: 1" in done.stderr
    assert pixels(folder / "drawn" / "turned.jpg").shape == (640, 480, 3)


def test_without_supervision_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ConfigurationError, match=r"roboflow-async\[supervision,images"):
        load_supervision("--annotate")
