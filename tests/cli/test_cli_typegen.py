"""`roboflow-async typegen`: typed Python for one Workflow."""

import ast
import builtins
import importlib.util
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel
from support.command_line import CommandLine
from support.loopback import Arrival, Reply, Server

from roboflow_async import ConfigurationError, RoboflowClient, types
from roboflow_async._engine.jsonvalues import is_object
from roboflow_async.cli.typegen.interface import interface_of
from roboflow_async.cli.typegen.names import identifiers, literal
from roboflow_async.cli.typegen.nesting import BLOCKS, nestings
from roboflow_async.cli.typegen.source import Named, source_of
from roboflow_async.testing import StandInServer
from roboflow_async.types import ServerModel, WorkflowInterface

SUPPORT = Path(__file__).parents[1] / "support"
ROOT = Path(__file__).parents[2]
# The kinds that `list_blocks` of Roboflow's Inference Server 1.8.3 declares, with their types.
KINDS: dict[str, str] = json.loads((SUPPORT / "workflow_kinds.json").read_text())
URL = os.environ.get("INFERENCE_SERVER_URL")
ENVIRONMENT = os.environ | {"ROBOFLOW_API_KEY": "any", "COLUMNS": "100"}

# What a server may call its inputs and outputs, and must not become code.
HOSTILE = [
    "class", "None", "__init__", "__class__", "_private", "a b", "a-b", "a_b", "1x", "", " ",
    "copy", "json", "model_config", "model_dump", "日本", "naïve", "ﬁeld", "x\u2028y", "\x00",
    "import os", "x\nimport os\n", '"""', "'''", '"', "'", "\\", '"\\', "it's \"so\"", "{x}", "%s",
    "#", "# noqa", "x: int = print(1)", "str", "float", "int", "list", "dict", "print", "id",
    "type", "object", "JsonValue", "Field", "ServerModel", "Any", "BigOutput", "Big", "InputT",
    "self", "image", "images", "options", "ordered", "journal", "key", "client", "target", "run",
    "stream", "l", "camelCase", "UPPER", "_given", "_SPECIFICATION", "x" * 300, "y" * 39 + "_",
]  # fmt: skip
MIXED: dict[str, list[str]] = {
    "any detections": [
        "object_detection_prediction", "instance_segmentation_prediction",
        "keypoint_detection_prediction",
    ],
    "masks": ["rle_instance_segmentation_prediction", "instance_segmentation_prediction"],
    "boxes_or_classes": ["object_detection_prediction", "classification_prediction"],
    "text_or_number": ["string", "float", "integer"],
    "time_or_text": ["timestamp", "string"],
    "object_or_boxes": ["dictionary", "object_detection_prediction"],
    "nothing": [],
    "new": ['a new kind\n"""\nimport os'],
    "new_or_old": ["a new kind", "string"],
}  # fmt: skip

BOX = {
    "x": 50, "y": 40, "width": 20, "height": 10, "confidence": 0.9, "class": "cat",
    "class_id": 1, "detection_id": "d", "parent_id": "image",
}  # fmt: skip
SIZE = {"width": 100, "height": 80}
RLE = {"size": [80, 100], "counts": "0"}
SCORE = {"class": "cat", "class_id": 0, "confidence": 0.7}
POINTS = [{"x": 1, "y": 2}, {"x": 3, "y": 2}, {"x": 3, "y": 4}]
# What the server's serialisers write for each kind. (Of an image, the client leaves its text.)
EXAMPLES: dict[str, tuple[object, ...]] = {
    "*": (None, 1, "x", [{"a": [1.5]}], {}),
    "ROBOFLOW_MANAGED_KEY": ("rf********ey",),
    "action_recognition_prediction": ([], [{"class": "run", "start": 0, "end": 1}]),
    "bar_code_detection": ({"image": SIZE, "predictions": [{**BOX, "data": "4006381333931"}]},),
    "boolean": (True,),
    "bytes": ("AAEC",),
    "classification_prediction": (
        {"image": SIZE, "predictions": [SCORE], "top": "cat", "confidence": 0.7, "parent_id": "i"},
        {"image": SIZE, "predictions": {"cat": {"confidence": 0.7, "class_id": 0}},
         "predicted_classes": ["cat"]},
    ),
    "contours": ([[[[1, 2]], [[3, 4]]]],),
    "detection": ([[1, 2, 3, 4], None, 0.5, 1.0, None, {}],),
    "detections_overlaps": ([{"overlap": 0.5}],),
    "dictionary": ({}, {"a": {"b": None}}),
    "embedding": ([0.1, 2, -3e-5],),
    "float": (1.5, 2),
    "float_zero_to_one": (0, 0.5, 1),
    "image": ("/9j/4AAQ",),
    "image_keypoints": ([{"pt": [1, 2]}], {"a": 1}),
    "image_metadata": ({"width": 1},),
    "inference_id": ("id",),
    "instance_segmentation_prediction": (
        {"image": SIZE, "predictions": [{**BOX, "points": POINTS}]},
        {"image": {"width": None, "height": None}, "predictions": []},
    ),
    "integer": (3,),
    "keypoint_detection_prediction": (
        {"image": SIZE, "predictions": [{**BOX, "keypoints": [{**SCORE, "x": 1, "y": 2}]}]},
    ),
    "labeled_points": ([{"x": 1, "y": 2, "positive": True}],),
    "language_model_output": ("a cat",),
    "list_of_values": ([], ["a", 1, None, {}]),
    "numpy_array": ([[1, 2], [3.5, 4]],),
    "object_detection_prediction": (
        {"image": SIZE, "predictions": [BOX]},
        {"image": {"width": None, "height": None}, "predictions": []},
    ),
    "parent_id": ("image",),
    "point": ([1, 2],),
    "prediction_type": ("object-detection",),
    "qr_code_detection": ({"image": SIZE, "predictions": [{**BOX, "data": "https://x"}]},),
    "rgb_color": ([255, 0, 10],),
    "rle_instance_segmentation_prediction": (
        {"image": SIZE, "predictions": [{**BOX, "rle_mask": RLE}]},
    ),
    "roboflow_api_key": ("k",),
    "roboflow_model_id": ("shapes/1",),
    "roboflow_project": ("shapes",),
    "roboflow_solution": ("s",),
    "secret": ("se********et",),
    "semantic_segmentation_prediction": (
        {"image": SIZE, "predictions": [{**BOX, "rle_mask": RLE}]},
    ),
    "serialised_payloads": (["a", {}],),
    "string": ("x", ""),
    "tensor": ([[1.0]],),
    "timestamp": ("2026-11-27T18:00:00+00:00", "2026-11-27T18:00:00.5"),
    "top_class": ("cat",),
    "video_metadata": ({"fps": 30, "frame_timestamp": "2026-11-27T18:00:00"},),
    "zone": ([[1, 2], [3, 4], [5, 6]],),
}  # fmt: skip


def interface(
    inputs: dict[str, list[str]], outputs: dict[str, Any], **more: Any
) -> WorkflowInterface:
    return WorkflowInterface(
        inputs=inputs, outputs=outputs, typing_hints={}, kinds_schemas={}, **more
    )


def source(told: WorkflowInterface, name: str = "big", **more: Any) -> str:
    named = Named("ws", name, f"roboflow-async typegen ws/{name}")
    return source_of(named, interface_of(told, **more))


def loaded(folder: Path, text: str, name: str) -> ModuleType:
    path = folder / f"{name}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


EVERY_INPUT = {f"in_{kind}": [kind] for kind in KINDS if kind != "image"}
EVERY_OUTPUT = {f"out_{kind}": [kind] for kind in KINDS}
BIG = interface(
    {"image": ["image"], **EVERY_INPUT, **{name: ["string"] for name in HOSTILE if name != "image"},
     **{f"mixed {name}": kinds for name, kinds in MIXED.items()}},
    {**EVERY_OUTPUT, **{name: ["string"] for name in HOSTILE}, **MIXED,
     "all of a step": {**{kind: [kind] for kind in KINDS}, **{name: ["*"] for name in HOSTILE}}},
)  # fmt: skip
MANY = interface(
    {"left": ["image"], "my image": ["image"], "class": ["image"], "limit": ["float"]},
    {"found": ["object_detection_prediction"]},
)
SHAPES = interface(
    {"image": ["image"], "confidence": ["float_zero_to_one"]},
    {"predictions": ["object_detection_prediction"], "count": ["*"], "visualization": ["image"]},
)
NOTHING = interface({}, {})

# What a user writes. Where it is wrong, pyright has to see it.
USAGE = """
from pathlib import Path
from typing import assert_type

from big import BigOutput
from many import Many
from pydantic import JsonValue
from roboflow_async import Result, RoboflowClient
from roboflow_async.types import ObjectDetection, WorkflowClassification
from shapes import Shapes, ShapesOutput

async def use(client: RoboflowClient) -> None:
    shapes = Shapes(client)
    output = await shapes.run("a.jpg", confidence=0.5)
    assert_type(output, ShapesOutput)
    assert_type(output.predictions.predictions[0].confidence, float)
    assert_type(output.count, JsonValue)
    assert_type(output.visualization, str)
    await shapes.run(b"jpeg")
    await shapes.run("a.jpg", confidence="much")  # pyright: ignore[reportArgumentType]
    await shapes.run("a.jpg", confidance=0.5)  # pyright: ignore[reportCallIssue]
    async with shapes.stream(Path().glob("*.jpg"), confidence=0.5, ordered=True) as results:
        async for result in results:
            assert_type(result.input, Path)
            if result.ok:
                assert_type(result.output, ShapesOutput)
    shapes.stream([1])  # pyright: ignore[reportArgumentType]
    shapes.stream(["a.jpg"], ordering=True)  # pyright: ignore[reportCallIssue]
    rows = [("a.jpg", 3)]
    async for result in shapes.target(confidence=0.5).stream(rows, image=lambda row: row[0]):
        assert_type(result, Result[tuple[str, int], ShapesOutput])
    many = Many(client)
    await many.run(left="a.jpg", my_image="b.jpg", class_="c.jpg", limit=1)
    await many.run(left="a.jpg", my_image="b.jpg", limit=1)  # pyright: ignore[reportCallIssue]
    many.stream([{"left": "a.jpg", "my image": "b.jpg", "class": b"c"}])
    many.stream([{"left": "a.jpg"}])  # pyright: ignore[reportArgumentType]

def fields(output: BigOutput) -> None:
    assert_type(output.any_detections, ObjectDetection)
    assert_type(output.boxes_or_classes, dict[str, JsonValue])
    assert_type(output.out_classification_prediction, WorkflowClassification)
    assert_type(output.out_integer, int)
    assert_type(output.out_zone, list[tuple[float, float]])
    assert_type(output.out_float, list[float | None] | None)
    assert_type(output.class_, str | None)
    assert_type(output.a_b, str)
    assert_type(output.text_or_number, float | int | str)
    assert_type(output.all_of_a_step.integer, int)
"""


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated")
    specification = {
        "inputs": [{"name": "image"}, {"name": "confidence", "default_value": 0.4}],
        "text": 'a"b\\\n' * 50,
        "deep": [[{"none": None, "no": False, "empty": {}}]],
    }  # fmt: skip
    inline = Named(None, "my shapes.json", "roboflow-async typegen x.json", specification)
    sources = {
        "big": source(BIG, lists=["out_float"], optional=["out_float", "class", "out_*"]),
        "many": source(MANY, "many"),
        "shapes": source(SHAPES, "shapes"),
        "nothing": source(NOTHING, "workflow"),
        "inline": source_of(inline, interface_of(SHAPES, specification=specification)),
    }
    for name, text in sources.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def test_source_passes_pyright_strict(generated: Path) -> None:
    """For every kind, alone and with others, and for every name."""
    settings = {
        "typeCheckingMode": "strict", "extraPaths": [str(ROOT)], "pythonVersion": "3.11",
        "reportUnnecessaryTypeIgnoreComment": "error",
    }  # fmt: skip
    (generated / "pyrightconfig.json").write_text(json.dumps(settings))
    (generated / "usage.py").write_text(USAGE)
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--project", str(generated),
         "--pythonpath", sys.executable],
        cwd=generated, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_source_passes_ruff(generated: Path) -> None:
    """With this project's rules, with ruff's own, and as its formatter writes it."""
    files = [str(path) for path in sorted(generated.glob("*.py")) if path.name != "usage.py"]
    assert len(files) == 5
    rules = ROOT / "pyproject.toml"
    ours = "src = ['/nowhere']"  # so that the package is one of others, as it is for users
    for arguments in (
        ["check", "--config", str(rules), "--config", ours],
        ["check", "--isolated"],
        ["format", "--check", "--isolated", "--line-length", "100"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *arguments, "--no-cache", *files],
            cwd=generated, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{arguments}: {done.stdout} {done.stderr}"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_kind_takes_what_the_server_writes(kind: str, tmp_path: Path) -> None:
    module = loaded(tmp_path, source(interface({}, {"x": [kind]}), "one"), "one")
    for example in EXAMPLES[kind]:
        assert module.OneOutput.model_validate({"x": example}).x is not None or example is None


def test_classes_are_told_apart(tmp_path: Path) -> None:
    told = interface({}, {"x": ["classification_prediction"]})
    module = loaded(tmp_path, source(told, "one"), "one")
    one, several = EXAMPLES["classification_prediction"]
    assert type(module.OneOutput(x=one).x) is types.Classification
    assert type(module.OneOutput(x=several).x) is types.MultiLabelClassification


def test_hostile_names_stay_names(generated: Path) -> None:
    """Each is a text in the source, or an identifier, and nothing that runs."""
    tree = ast.parse((generated / "big.py").read_text())
    allowed = (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef, ast.Assign, ast.Expr)
    assert {type(node) for node in tree.body} <= set(allowed)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = {node.func.id for node in calls if isinstance(node.func, ast.Name)}
    assert names == {"Field", "TypeVar", "_given"}
    imported = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import)]
    assert set(imported) == {
        "collections.abc", "datetime", "typing", "pydantic", "roboflow_async",
        "roboflow_async.types",
    }  # fmt: skip
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert {*HOSTILE} - {name for name in HOSTILE if name.isidentifier()} <= texts


@pytest.mark.filterwarnings("error")
def test_hostile_names_are_read_and_sent(generated: Path) -> None:
    """No field hides anything of pydantic's, and each output arrives in its own field."""
    module = loaded(generated, (generated / "big.py").read_text(), "big")
    given = {f"out_{kind}": EXAMPLES[kind][0] for kind in KINDS} | {"out_float": [1.5]}
    given |= {name: f"<{name}>" for name in HOSTILE}
    given |= {name: EXAMPLES.get((kinds or ["*"])[0], ("x",))[0] for name, kinds in MIXED.items()}
    given["all of a step"] = {
        **{kind: EXAMPLES[kind][0] for kind in KINDS},
        **dict.fromkeys(HOSTILE),
    }
    output = module.BigOutput.model_validate(given)
    assert output.model_extra == {}
    told = {
        name if field.alias is None else field.alias: name
        for name, field in module.BigOutput.model_fields.items()
    }
    for name in HOSTILE:
        assert getattr(output, told[name]) == f"<{name}>"
    assert not {*module.BigOutput.model_fields} & {*dir(ServerModel), *dir(BaseModel)}


def test_names_do_not_depend_on_the_python() -> None:
    """Of Python's own names, no version has more that could be an output."""
    ours = identifiers(dir(builtins), "output", frozenset())
    kept = {name for name, made in ours.items() if name == made}
    assert {"ValueError", "exit"} <= kept | {"exit"}
    assert "print" not in kept


@pytest.mark.parametrize("text", [*HOSTILE, "\ud800", "😀", "".join(map(chr, range(256)))])
def test_literal_is_the_text(text: str) -> None:
    assert ast.literal_eval(literal(text)) == text
    assert literal(text).isascii()


def test_source_is_the_same_each_time() -> None:
    """The server may give kinds in any order."""
    kinds = [["string", "float", "*"], ["*", "float", "string"], ["float", "*", "string"]]
    sources = {source(interface({"x": one}, {"y": one})) for one in kinds}
    assert len(sources) == 1
    assert source(BIG) == source(WorkflowInterface.model_validate_json(BIG.model_dump_json()))


def test_unknown_outputs_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"--list 'prediction': .*it has predictions"):
        interface_of(SHAPES, lists=["prediction"])
    with pytest.raises(ConfigurationError, match="it has none"):
        interface_of(NOTHING, optional=["x"])


def test_lists_may_be_nested(tmp_path: Path) -> None:
    told = interface({}, {"x": ["integer"], "y": ["*"]})
    text = source(told, "one", lists=["x", "x"], optional=["x", "y"])
    assert "    x: list[list[int | None] | None] | None = None\n" in text
    assert "    y: JsonValue = None\n" in text
    module = loaded(tmp_path, text, "one")
    assert module.OneOutput.model_validate({"x": [[1], []], "y": None}).x == [[1], []]
    assert module.OneOutput.model_validate({}).x is None


CROPS: dict[str, Any] = {
    "inputs": [
        {"type": "WorkflowImage", "name": "image"},
        {"type": "WorkflowParameter", "name": "limit", "default_value": 0},
    ],
    "dynamic_blocks_definitions": [
        {"manifest": {"block_type": "Split", "output_dimensionality_offset": 1}},
        {"manifest": 5}, 6,
    ],
    "steps": [
        {"type": "roboflow_core/roboflow_object_detection_model@v2", "name": "detector",
         "images": "$inputs.image", "model_id": "shapes/1"},
        {"type": "roboflow_core/dynamic_crop@v1", "name": "crop", "images": "$inputs.image",
         "predictions": "$steps.detector.predictions"},
        {"type": "roboflow_core/continue_if@v1", "name": "if",
         "condition_statement": {"type": "StatementGroup", "statements": [
             {"type": "BinaryStatement",
              "left_operand": {"type": "DynamicOperand", "operand_name": "n",
                               "operations": [{"type": "SequenceLength"}]},
              "comparator": {"type": "(Number) >"},
              "right_operand": {"type": "StaticOperand", "value": 100}}]},
         "evaluation_parameters": {"n": "$steps.detector.predictions"},
         "next_steps": ["$steps.boxes"]},
        {"type": "roboflow_core/bounding_box_visualization@v1", "name": "boxes",
         "image": "$inputs.image", "predictions": "$steps.detector.predictions"},
    ],
    "outputs": [
        {"type": "JsonField", "name": "found", "selector": "$steps.detector.predictions"},
        {"type": "JsonField", "name": "crops", "selector": "$steps.crop.crops"},
        {"type": "JsonField", "name": "boxes", "selector": "$steps.boxes.image"},
    ],
}  # fmt: skip
MORE_STEPS: list[Any] = [
    {"type": "ImageSlicer", "name": "same", "image": "$steps.crop.crops"},
    {"type": "roboflow_core/image_slicer@v2", "name": "slices", "image": "$steps.crop.crops"},
    {"type": "roboflow_core/dimension_collapse@v1", "name": "all", "data": "$steps.slices.slices"},
    {"type": "roboflow_core/detections_stitch@v1", "name": "stitch",
     "reference_image": "$inputs.image", "predictions": "$steps.slices.x"},
    {"type": "x", "name": "after", "data": {"deep": [["$steps.boxes.image"]]}},
    {"type": "x", "name": "crop after", "image": "$steps.crop.crops", "data": "$steps.after.x"},
    {"type": "roboflow_core/switch_case@v1", "name": "switch", "value": "$steps.detector.x",
     "cases": {"a": ["$steps.case"]}},
    {"type": "x", "name": "case", "data": "$inputs.image"},
    {"type": "x", "name": "plain", "data": "$inputs.limit"},
    {"type": "Split", "name": "own", "data": "$inputs.image"},
    {"type": "x", "name": "circle", "data": "$steps.other circle.x"},
    {"type": "x", "name": "other circle", "data": "$steps.circle.x"},
    5, {"name": 5}, {},
]  # fmt: skip


def test_specification_tells_lists_and_gaps() -> None:
    names = [step["name"] for step in MORE_STEPS[:12]]
    specification: Any = {
        **CROPS,
        "steps": CROPS["steps"] + MORE_STEPS,
        "outputs": [
            *CROPS["outputs"],
            *({"name": name, "selector": f"$steps.{name}.x"} for name in names),
            {"name": "picture", "selector": "$inputs.image"},
            {"name": "everything", "selector": "$steps.slices.*"},
            {"name": "nowhere", "selector": "$steps.gone.x"}, {"name": "none"}, {"selector": 5}, 7,
        ],
    }  # fmt: skip
    found = {name: (one.lists, one.may_be_none) for name, one in nestings(specification).items()}
    assert found == {
        "found": (0, False), "crops": (1, False), "boxes": (0, True), "same": (1, False),
        "slices": (2, False), "all": (1, False), "stitch": (0, False), "after": (0, True),
        "crop after": (1, True), "switch": (0, False), "case": (0, True), "plain": (0, False),
        "own": (1, False), "circle": (0, False), "other circle": (0, False),
        "picture": (0, False), "everything": (2, False), "nowhere": (0, False), "none": (0, False),
    }  # fmt: skip
    assert nestings({"steps": 5, "outputs": "x", "inputs": None}) == {}


@pytest.mark.anyio
async def test_parameters_that_are_left_out_are_not_sent(
    server: Server, make_client: Any, generated: Path
) -> None:
    """So the Workflow's own defaults are in force; a specification's are in the signature."""
    sent: list[Any] = []

    def respond(arrival: Arrival) -> Reply:
        body = arrival.json
        if "inputs" not in body:
            return Reply(body=SHAPES.model_dump_json().encode())
        sent.append({**body["inputs"], "path": arrival.target})
        found = EXAMPLES["object_detection_prediction"][0]
        fields = {"predictions": found, "count": 1, "visualization": "x"}
        return Reply(body=json.dumps({"outputs": [fields]}).encode())

    server.handler = respond
    shapes = loaded(generated, (generated / "shapes.py").read_text(), "shapes")
    inline = loaded(generated, (generated / "inline.py").read_text(), "inline")
    many = loaded(generated, source(MANY, "many").replace("    found: ", "    predictions: "), "m")
    async with make_client() as client:
        output = await shapes.Shapes(client).run(b"\xff\xd8\xff")
        assert output.predictions.predictions[0].class_name == "cat"
        await shapes.Shapes(client).run(b"\xff\xd8\xff", confidence=0.0)
        results = [one async for one in shapes.Shapes(client).stream([b"\xff\xd8\xff"] * 2)]
        assert [one.output.count for one in results] == [1, 1]
        await inline.MyShapes(client).run(b"\xff\xd8\xff")
        await inline.MyShapes(client).run(b"\xff\xd8\xff", confidence=0.7)
        server.handler = lambda arrival: (
            Reply(body=MANY.model_dump_json().encode())
            if "inputs" not in arrival.json
            else respond(arrival)
        )
        pictures = dict.fromkeys(("left", "my image", "class"), b"\xff\xd8\xff")
        await many.Many(client).run(
            left=b"\xff\xd8\xff", my_image=b"\xff\xd8\xff", class_=b"\xff\xd8\xff", limit=2
        )
        assert [one.ok async for one in many.Many(client).stream([pictures])] == [True]
    given = [{name: value for name, value in one.items() if not is_object(value)} for one in sent]
    named, unnamed = "/ws/workflows/shapes", "/workflows/run"
    assert given[:4] == [
        {"path": named}, {"path": named, "confidence": 0.0}, {"path": named}, {"path": named}
    ]  # fmt: skip
    assert given[4:6] == [
        {"path": unnamed, "confidence": 0.4}, {"path": unnamed, "confidence": 0.7}
    ]  # fmt: skip
    assert given[6:] == [{"path": "/ws/workflows/many", "limit": 2}, {"path": "/ws/workflows/many"}]
    assert {*sent[6]} == {*sent[7], "limit"} == {"left", "my image", "class", "limit", "path"}


def test_command_writes_and_checks(command_line: CommandLine, tmp_path: Path) -> None:
    """With a diff of what has changed, and an exit code."""
    path = tmp_path / "my_workflow.py"
    with StandInServer() as stand_in:

        def typegen(*arguments: str, code: int = 0) -> Any:
            given = [*arguments, "--host", stand_in.url]
            done = command_line.run("typegen", *given, cwd=tmp_path, env=ENVIRONMENT)
            assert done.returncode == code, done.stderr
            assert "Traceback" not in done.stderr
            return done

        assert "my_workflow.py" in typegen("ws/wf", "-o", "my_workflow.py").stderr
        assert os.name != "posix" or path.stat().st_mode & 0o777 == 0o666 & ~_umask()
        assert "up to date" in typegen("ws/wf", "-o", "my_workflow.py", "--check").stderr
        ast.parse(path.read_text())
        path.write_text(path.read_text().replace("    count: ", "    number: "))
        written = path.stat().st_mtime_ns
        done = typegen("ws/wf", "-o", "my_workflow.py", "--check", code=1)
        assert "-    number: JsonValue\n+    count: JsonValue\n" in done.stdout
        assert "run typegen again" in done.stderr
        assert path.stat().st_mtime_ns == written
        assert "none.py" in typegen("ws/wf", "-o", "none.py", "--check", code=1).stderr
        assert "needs -o" in typegen("ws/wf", "--check", code=1).stderr
        listed = typegen("ws/wf", "--list", "count", "--optional", "count").stdout
        assert "count: list[JsonValue] | None = None" in listed
        assert "typegen ws/wf --list=count --optional=count`" in listed
        specification = tmp_path / "it's.json"
        specification.write_bytes((SUPPORT / "inference_server/shapes-workflow.json").read_bytes())
        text = typegen("it's.json").stdout
        assert "_SPECIFICATION" in text
        assert "confidence: float = 0.4," in text  # its own default
        (tmp_path / "list.json").write_text("[]")
        assert "no specification" in typegen("list.json", code=1).stderr
    assert sorted(one.name for one in tmp_path.iterdir()) == ["it's.json", "list.json", path.name]


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


@pytest.mark.anyio
@pytest.mark.inference_server
@pytest.mark.skipif(URL is None, reason="set INFERENCE_SERVER_URL to a Roboflow Inference Server")
async def test_real_server_fits_its_types(command_line: CommandLine, tmp_path: Path) -> None:
    """Its output to `local/shapes` validates, and its kinds are those that are stored here."""
    pillow = pytest.importorskip("PIL.Image")
    picture = io.BytesIO()
    pillow.new("RGB", (64, 48), "white").save(picture, "JPEG")
    done = command_line.run(
        "typegen", "local/shapes", "-o", "shapes.py", "--host", str(URL),
        cwd=tmp_path, env=ENVIRONMENT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "shapes.py").read_text()
    module = loaded(tmp_path, text, "shapes")
    specification = SUPPORT / "inference_server/shapes-workflow.json"
    (tmp_path / "inline.json").write_bytes(specification.read_bytes())
    (tmp_path / "crops.json").write_text(json.dumps({"version": "1.0", **CROPS} | {
        "dynamic_blocks_definitions": [],
    }))  # fmt: skip
    inline, crops = (
        loaded(tmp_path, command_line.run(
            "typegen", f"{name}.json", "--host", str(URL), cwd=tmp_path, env=ENVIRONMENT
        ).stdout, name)
        for name in ("inline", "crops")
    )  # fmt: skip
    async with RoboflowClient("any", api_url=URL) as client:
        output = await module.Shapes(client).run(picture.getvalue(), confidence=0.3)
        assert isinstance(output.predictions, types.ObjectDetection)
        results = [one async for one in module.Shapes(client).stream([picture.getvalue()] * 3)]
        assert [one.output.count for one in results] == [output.count] * 3
        assert (await inline.Inline(client).run(picture.getvalue())).count == output.count
        cropped = await crops.Crops(client).run(picture.getvalue())
        assert len(cropped.crops) == len(cropped.found.predictions) > 0
        assert cropped.boxes is None
        blocks = await client.list_blocks()
    declared = {one["name"]: one["serialised_data_type"] for one in blocks.declared_kinds}
    assert declared == KINDS
    nested = {
        name.partition("@")[0]
        for one in blocks.blocks
        if one["output_dimensionality_offset"] or one["dimensionality_reference_property"]
        for name in (one["manifest_type_identifier"], *one["manifest_type_identifier_aliases"])
    }
    assert nested == BLOCKS.keys()
