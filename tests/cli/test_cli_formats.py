"""`roboflow-async run`: each format is told by the suffix, and read back by its own library."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
from support.command_line import CommandLine

from roboflow_async import ConfigurationError
from roboflow_async.cli.run.annotations import write_coco, write_yolo
from roboflow_async.cli.run.drawing import load_supervision
from roboflow_async.cli.run.formats import chosen_format
from roboflow_async.cli.run.tables import write_table
from roboflow_async.testing import StandInServer, draw_scene

ENVIRONMENT = os.environ | {"ROBOFLOW_API_KEY": "a-key-of-the-tests"}
WORKFLOW = ("--workflow", "ws/wf")
PROGRAM = (sys.executable, "-m", "roboflow_async")
MODEL = ("--model", "pets/3")

Run = Callable[..., CompletedProcess[str]]


@pytest.fixture
def stand_in() -> Iterator[StandInServer]:
    with StandInServer(requests_per_second=None, latency=0.0) as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed in range(4):
        path = tmp_path / "data" / "ab"[seed % 2] / f"{seed}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(draw_scene(seed).jpeg)
    return tmp_path


@pytest.fixture
def run(command_line: CommandLine, tmp_path: Path, stand_in: StandInServer) -> Run:
    return partial(_run, command_line, tmp_path, stand_in.url)


def _run(command_line: CommandLine, folder: Path, url: str, *more: str) -> CompletedProcess[str]:
    arguments = ("run", *more, "--host", url, "--rps", "0")
    return command_line.run(*arguments, cwd=folder, env=ENVIRONMENT)


def boxes_of(item: str) -> list[tuple[float, ...]]:
    """(left, top, right, bottom) of what is in an image."""
    scene = draw_scene(int(Path(item).stem))
    return sorted((left, top, left + w, top + h) for left, top, w, h in scene.boxes)


# Which format


@pytest.mark.parametrize(
    ("output", "given", "name"),
    [
        ("a.jsonl", None, "jsonl"),
        ("a.NDJSON", None, "jsonl"),
        ("a.csv", None, "csv"),
        ("out.d/a.CSV", None, "csv"),
        ("a.parquet", None, "parquet"),
        ("-", None, "jsonl"),
        ("results", None, "jsonl"),
        ("a.csv", "jsonl", "jsonl"),
        ("a.jsonl", "csv", "csv"),
        ("a.json", "coco", "coco"),
        ("-", "coco", "coco"),
        ("labels", "yolo", "yolo"),
    ],
)
def test_the_suffix_tells_the_format_unless_one_is_given(
    output: str, given: str | None, name: str
) -> None:
    assert chosen_format(Path(output), given) == name


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("-o", "a.json"), "--format coco is one JSON for all images"),
        (("-o", "a.xlsx"), "the suffix '.xlsx' tells no format"),
        (
            ("-o", "a.csv", "--format", "xml"),
            "give jsonl, csv or parquet, or a dataset: coco or yolo",
        ),
        (("-o", "-", "--format", "yolo"), "writes a folder"),
        (("-o", ".", "--format", "yolo"), "writes a folder"),
        (("-o", "data", "--format", "yolo"), "is there already"),
        (("-o", "data/a/0.jpg", "--format", "yolo"), "is there already"),
        (("-o", "-", "--json"), "both write to stdout"),
    ],
)
def test_unwritable_output_is_refused_before_anything_is_sent(
    run: Run, folder: Path, stand_in: StandInServer, arguments: tuple[str, ...], says: str
) -> None:
    before = sorted(folder.rglob("*"))
    done = run("data", *MODEL, *arguments)
    assert done.returncode == 1
    assert says in done.stderr
    assert not stand_in.meter.billed
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("name", ["coco", "yolo"])
def test_without_supervision_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ConfigurationError, match=rf"--format {name} .*\[supervision"):
        chosen_format(Path("a"), name)


# Stdout


def test_lines_go_to_stdout_and_nothing_is_kept(run: Run, folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    done = run("data", *WORKFLOW, "-o", "-")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {line["image"] for line in lines} == {f"data/{'ab'[n % 2]}/{n}.jpg" for n in range(4)}
    assert "4 succeeded" in done.stderr
    assert sorted(folder.rglob("*")) == before


def test_another_format_goes_to_stdout_as_a_whole(run: Run, folder: Path) -> None:
    done = run("data", *MODEL, "-o", "-", "--format", "csv")
    rows = [*csv.DictReader(done.stdout.splitlines())]
    assert len(rows) == sum(len(boxes_of(str(seed))) for seed in range(4))
    done = run("data", *MODEL, "-o", "-", "--format", "coco")
    assert len(json.loads(done.stdout)["images"]) == 4


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
def test_a_reader_who_wants_no_more_ends_it_in_one_line(
    folder: Path, stand_in: StandInServer
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as stdout:
        done = subprocess.run(
            [*PROGRAM, "run", "data", *MODEL, "-o", "-", "--host", stand_in.url],
            cwd=folder, env=ENVIRONMENT, stdout=stdout, stderr=subprocess.PIPE, text=True,
            check=False, timeout=60,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "error: stdout was closed by its reader."
    assert "Traceback" not in done.stderr


# Tables


@pytest.mark.parametrize("name", ["csv", "parquet"])
def test_a_models_table_has_a_row_for_each_prediction(run: Run, folder: Path, name: str) -> None:
    (folder / "data" / "broken.jpg").write_bytes(b"no image")
    done = run("data", *MODEL, "-o", f"boxes.{name}")
    assert done.returncode == 4, done.stderr
    found: dict[str, list[tuple[float, ...]]] = {}
    for row in read_table(folder / f"boxes.{name}"):
        assert row["class"] == "shape"
        assert 0.4 <= float(row["confidence"]) <= 1
        corners = [float(row[column]) for column in ("x_min", "y_min", "x_max", "y_max")]
        x, y, width, height = (float(row[column]) for column in ("x", "y", "width", "height"))
        assert corners == [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
        found.setdefault(row["image"], []).append(tuple(corners))
    assert len(found) == 4
    for item, corners in found.items():
        assert np.abs(np.subtract(sorted(corners), boxes_of(item))).max() <= 2
    # What failed is where it always is.
    assert "broken.jpg" in (folder / f"boxes.{name}.failures.jsonl").read_text()


def read_table(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        import pyarrow.parquet

        return pyarrow.parquet.read_table(str(path)).to_pylist()
    import pyarrow.csv

    rows: list[dict[str, Any]] = pyarrow.csv.read_csv(str(path)).to_pylist()
    with path.open(newline="", encoding="utf-8") as file:
        assert len([*csv.DictReader(file)]) == len(rows)
    return rows


@pytest.mark.parametrize("name", ["csv", "parquet"])
def test_a_workflows_table_has_a_row_for_each_image(run: Run, folder: Path, name: str) -> None:
    assert run("data", *WORKFLOW, "-o", f"images.{name}").returncode == 0
    rows = read_table(folder / f"images.{name}")
    assert {row["image"]: row["output.count"] for row in rows} == {
        f"data/{'ab'[seed % 2]}/{seed}.jpg": len(boxes_of(str(seed))) for seed in range(4)
    }


def test_pandas_reads_the_table_where_it_is_installed(run: Run, folder: Path) -> None:
    pandas: Any = pytest.importorskip("pandas")
    run("data", *MODEL, "-o", "boxes.csv")
    table = pandas.read_csv(folder / "boxes.csv")
    assert set(table["class"]) == {"shape"}
    assert table["x_min"].dtype == float


BOX = {"x": 5, "y": 5, "width": 4, "height": 2, "confidence": 0.5, "class": "a", "class_id": 0}


@pytest.mark.parametrize(
    ("output", "rows"),
    [
        ({"predictions": [], "image": {}}, []),
        (
            {"predictions": [{"class": "cat", "class_id": 1, "confidence": 0.5}], "top": "cat"},
            [{"image": "i", "class": "cat", "confidence": "0.5", "class_id": "1"}],
        ),
        (
            {"predictions": {"cat": {"confidence": 0.5}, "dog": {"confidence": 0}},
             "predicted_classes": ["cat"]},
            [{"image": "i", "class": "cat", "confidence": "0.5"},
             {"image": "i", "class": "dog", "confidence": "0"}],
        ),
        (  # A server's names decide no column that is ours.
            {"predictions": [BOX | {"image": "x", "x_min": 7}]},
            [{"image": "i", "class": "a", "confidence": "0.5", "x": "5", "y": "5", "width": "4",
              "height": "2", "x_min": "3.0", "y_min": "4.0", "x_max": "7.0", "y_max": "6.0",
              "class_id": "0"}],
        ),
    ],
)  # fmt: skip
def test_each_tasks_predictions_have_rows(
    tmp_path: Path, output: dict[str, Any], rows: list[dict[str, str]]
) -> None:
    lines = [{"image": "i", "output": output}]
    write_table(lines, tmp_path / "a.csv", "csv", for_each_prediction=True)
    with (tmp_path / "a.csv").open(newline="") as file:
        reader = csv.DictReader(file)
        assert [*reader] == rows
        assert reader.fieldnames is not None
        assert {"image", "class", "confidence"} <= {*reader.fieldnames}


def test_one_mask_for_the_whole_image_has_a_row_for_the_image(tmp_path: Path) -> None:
    output = {"predictions": {"segmentation_mask": "", "class_map": {}}}
    lines = [{"image": "i", "output": output}]
    write_table(lines, tmp_path / "a.csv", "csv", for_each_prediction=True)
    assert "output.predictions" in (tmp_path / "a.csv").read_text()


# Datasets


@pytest.fixture
def supervision() -> Any:
    return load_supervision("a test")


@pytest.mark.parametrize("target", [MODEL, WORKFLOW])
def test_coco_is_read_back_by_supervision(
    run: Run, folder: Path, supervision: Any, target: tuple[str, str]
) -> None:
    (folder / "data" / "broken.jpg").write_bytes(b"no image")
    done = run("data", *target, "--format", "coco", "-o", "found.json")
    assert done.returncode == 4, done.stderr
    dataset = supervision.DetectionDataset.from_coco(
        images_directory_path=str(folder / "data"), annotations_path=str(folder / "found.json")
    )
    assert dataset.classes == ["shape"]
    assert len(dataset) == 4
    for path, image, detections in dataset:
        assert image.shape == (480, 640, 3)
        assert np.abs(np.subtract(sorted(detections.xyxy.tolist()), boxes_of(path))).max() <= 2
    content = json.loads((folder / "found.json").read_text())
    assert all(0.4 <= annotation["score"] <= 1 for annotation in content["annotations"])
    ids = [annotation["id"] for annotation in content["annotations"]]
    assert ids == [*range(1, len(ids) + 1)]


def test_coco_is_read_back_by_pycocotools_where_it_is_installed(run: Run, folder: Path) -> None:
    coco: Any = pytest.importorskip("pycocotools.coco")
    run("data", *MODEL, "--format", "coco", "-o", "found.json")
    found = coco.COCO(str(folder / "found.json"))
    assert len(found.getImgIds()) == 4


@pytest.mark.parametrize("sub", ["a", "b"])
def test_yolo_is_read_back_by_supervision(
    run: Run, folder: Path, supervision: Any, sub: str
) -> None:
    done = run("data", *WORKFLOW, "--format", "yolo", "-o", "found")
    assert done.returncode == 0, done.stderr
    dataset = supervision.DetectionDataset.from_yolo(
        images_directory_path=str(folder / "data" / sub),
        annotations_directory_path=str(folder / "found" / "labels" / sub),
        data_yaml_path=str(folder / "found" / "data.yaml"),
    )
    assert dataset.classes == ["shape"]
    assert len(dataset) == 2
    for path, _, detections in dataset:
        assert np.abs(np.subtract(sorted(detections.xyxy.tolist()), boxes_of(path))).max() <= 2
    # Once more: it is its own folder.
    assert run("data", *WORKFLOW, "--format", "yolo", "-o", "found").returncode == 0


def objects(*items: dict[str, Any], size: tuple[int, int] = (100, 80)) -> dict[str, Any]:
    image = {"width": size[0], "height": size[1]}
    return {"image": image, "predictions": [BOX | item for item in items]}


OUTLINE = [{"x": x, "y": y} for x, y in [(10, 10), (60, 10), (60, 50), (10, 50)]]


def written(tmp_path: Path, *outputs: Any) -> tuple[dict[str, Any], Path]:
    """What the COCO file and the folder of YOLO are for these outputs."""
    lines = [{"image": f"data/{n}.jpg", "output": output} for n, output in enumerate(outputs)]
    items = [line["image"] for line in lines]
    load_supervision("a test")
    write_coco(lambda: iter(lines), items, tmp_path / "coco.json")
    write_yolo(lambda: iter(lines), items, tmp_path / "yolo")
    return json.loads((tmp_path / "coco.json").read_text()), tmp_path / "yolo"


def test_masks_are_written_as_outlines(tmp_path: Path) -> None:
    coco, yolo = written(tmp_path, objects({"points": OUTLINE}))
    (annotation,) = coco["annotations"]
    assert sorted(annotation["segmentation"][0]) == sorted([10, 10, 60, 10, 60, 50, 10, 50])
    number, *points = (yolo / "labels" / "0.txt").read_text().split()
    assert number == "0"
    assert sorted(map(float, points)) == sorted([0.1, 0.125, 0.6, 0.125, 0.6, 0.625, 0.1, 0.625])


def test_a_models_own_numbers_are_kept(tmp_path: Path) -> None:
    cat, dog = {"class": "cat", "class_id": 3}, {"class": "dog", "class_id": 1}
    coco, yolo = written(tmp_path, objects(cat, dog), objects(dog))
    assert [(one["id"], one["name"]) for one in coco["categories"]] == [(2, "dog"), (4, "cat")]
    assert [one["category_id"] for one in coco["annotations"]] == [4, 2, 2]
    names = '["unseen-0", "dog", "unseen-2", "cat"]'
    assert (yolo / "data.yaml").read_text() == f"nc: 4\nnames: {names}\n"
    assert (yolo / "labels" / "1.txt").read_text().startswith("1 ")


@pytest.mark.parametrize("number", [0, None, 10**12, -1])
def test_classes_with_the_same_number_are_numbered_anew(tmp_path: Path, number: int | None) -> None:
    """Two models of a Workflow, or a server that tells only names."""
    other = {"class": "Straße", "class_id": number}
    coco, yolo = written(tmp_path, {"first": objects({}), "second": objects(other)})
    assert [(one["id"], one["name"]) for one in coco["categories"]] == [(1, "a"), (2, "Straße")]
    assert (yolo / "data.yaml").read_text("utf-8") == 'nc: 2\nnames: ["a", "Straße"]\n'


def test_nothing_found_is_an_image_without_annotations(tmp_path: Path) -> None:
    coco, yolo = written(tmp_path, objects(), objects({}))
    assert [image["file_name"] for image in coco["images"]] == ["0.jpg", "1.jpg"]
    assert [annotation["image_id"] for annotation in coco["annotations"]] == [2]
    assert (yolo / "labels" / "0.txt").read_text() == ""


def test_predictions_of_crops_are_no_annotations_of_the_image(tmp_path: Path) -> None:
    coco, _ = written(tmp_path, {"whole": objects({}), "crop": objects({}, size=(10, 10))})
    assert len(coco["annotations"]) == 1


def test_two_images_never_share_labels(tmp_path: Path) -> None:
    lines = [{"image": f"data/0.{one}", "output": objects({})} for one in ("jpg", "png", "JPG")]
    load_supervision("a test")
    items = [line["image"] for line in lines]
    write_yolo(lambda: iter(lines), items, tmp_path / "yolo")
    assert len([*(tmp_path / "yolo" / "labels").iterdir()]) == 3


def test_what_holds_no_boxes_is_told_and_kept(
    run: Run, folder: Path, stand_in: StandInServer
) -> None:
    arguments = ("data", *WORKFLOW, "--exclude", "predictions", "-o", "found.json")
    done = run(*arguments, "--format", "coco")
    assert done.returncode == 1
    assert "no output holds objects in boxes" in done.stderr
    assert not (folder / "found.json").exists()
    # As it says: nothing is sent again.
    assert run(*arguments, "--format", "csv").returncode == 0
    assert stand_in.meter.billed == 4
