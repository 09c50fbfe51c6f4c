"""`benchmark api-speed` takes every flag of Roboflow's own command, and says what has no effect."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import typer.main
from support.command_line import CommandLine

from roboflow_async import ConfigurationError
from roboflow_async.cli import app
from roboflow_async.cli.benchmark.batches import batches_of
from roboflow_async.cli.benchmark.model_config import read_model_config
from roboflow_async.testing import StandInServer

Command = Callable[..., subprocess.CompletedProcess[str]]

# `inference benchmark api-speed --help`, inference-cli 1.8.3.
PEERS_FLAGS = set(
    re.findall(
        r"-\S+",
        """
    --model_id -m --workflow-id -wid --workspace-name -wn --workflow-specification -ws
    --workflow-parameters -wp --dataset_reference -d --host -h --warm_up_requests -wr
    --benchmark_requests -br --batch_size -bs --clients -c --rps -rps --api-key -a
    --model_config -mc --output_location -o --legacy-endpoints --no-legacy-endpoints -L -l
    --yes --no -y -n --max_error_rate
""",
    )
)


@pytest.fixture
def command(command_line: CommandLine, tmp_path: Path) -> Command:
    return partial(command_line.run, "benchmark", "api-speed", cwd=tmp_path)


@pytest.fixture
def stand_in() -> Iterator[StandInServer]:
    with StandInServer(requests_per_second=None, latency=0.01) as server:
        yield server


def test_every_flag_of_the_peer_is_taken() -> None:
    group: Any = typer.main.get_command(app)
    parameters = group.commands["benchmark"].commands["api-speed"].params
    taken = {name for one in parameters for name in (*one.opts, *one.secondary_opts)}
    assert len(PEERS_FLAGS) == 39
    assert not {*PEERS_FLAGS, "--enforce_legacy_endpoints"} - taken


def test_the_peers_short_flags_do_what_they_say(
    command: Command, tmp_path: Path, stand_in: StandInServer
) -> None:
    done = command(
        "-wid", "shapes", "-wn", "any", "-wp", '{"confidence": 0.3}', "-d", "coco",
        "-h", stand_in.url, "-wr", "1", "-br", "6", "-bs", "3", "-rps", "50", "-a", "any",
        "-o", "out.json", "-y", "--max_error_rate", "0", "--plot", "out.html", "-l",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert stand_in.meter.billed == 7
    saved = json.loads((tmp_path / "out.json").read_text())
    parameters, results = saved["benchmark_parameters"], saved["benchmark_results"]
    assert (parameters["batch_size"], parameters["host"]) == (3, stand_in.url)
    assert (results["inferences_made"], results["images_processed"]) == (6, 18)
    per_image = results["average_inference_latency_per_image_ms"]
    assert 3 * per_image == pytest.approx(results["average_inference_latency_ms"], abs=0.5)
    # Plots, and what is printed, name the target, the host and the date.
    title = rf"Workflow any/shapes, 3 images a request at {stand_in.url}, \d{{4}}-\d\d-\d\d \d\d:"
    page = (tmp_path / "out.html").read_text()
    assert re.search(f"<title>{title}", page)
    assert re.search(title, done.stderr)
    assert page.count("any/shapes") > 1


def test_a_model_takes_its_config_and_either_endpoint(
    command: Command, tmp_path: Path, stand_in: StandInServer
) -> None:
    (tmp_path / "model.yaml").write_text(
        "confidence_threshold: 0.3\niou_threshold: 0.5\nmax_batch_size: 4\n"
    )
    common = ("-m", "pets/3", "-h", stand_in.url, "-wr", "0", "-br", "2", "-a", "any")
    done = command(*common, "-mc", "model.yaml", "-L")
    assert done.returncode == 0, done.stderr
    assert "without effect here: max_batch_size" in done.stderr
    assert f"model pets/3 at {stand_in.url}" in done.stderr
    done = command(*common, "-bs", "2")
    assert done.returncode == 0, done.stderr
    assert "0 %" in done.stderr
    assert stand_in.meter.billed == 4
    done = command(*common, "-bs", "2", "--enforce_legacy_endpoints")
    assert (done.returncode, "give them without --batch_size" in done.stderr) == (1, True)
    assert stand_in.meter.billed == 4


def test_what_has_no_effect_is_said(
    command: Command, tmp_path: Path, stand_in: StandInServer
) -> None:
    (tmp_path / "model.yaml").write_text("confidence: 0.3\n")
    url = "https://app.roboflow.com/any/workflows/edit/shapes"
    done = command(
        "-wid", url, "-h", stand_in.url, "-wr", "0", "-br", "1", "-a", "any",
        "-mc", "model.yaml", "--legacy-endpoints",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "--model_config has no effect on a Workflow" in done.stderr
    assert "--legacy-endpoints has no effect on a Workflow" in done.stderr
    assert "Workflow any/shapes at " in done.stderr


def test_a_misspelt_parameter_is_told_before_anything_is_billed(
    command: Command, stand_in: StandInServer
) -> None:
    done = command(
        "-wid", "shapes", "-wn", "any", "-wp", '{"conf": 0.3}', "-h", stand_in.url, "-a", "any"
    )
    assert done.returncode == 1
    assert "this Workflow has no input conf: it has image, confidence." in done.stderr
    assert stand_in.meter.billed == 0


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("confidenc: 0.3", "did you mean 'confidence'"),
        ("- a\n- b", "is no mapping"),
        ("a: [", "is not YAML"),
        ("42", "is no mapping"),
    ],
)
def test_a_config_that_is_wrong_is_told(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "model.yaml"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=says):
        read_model_config(path)


def test_a_config_may_be_json_and_needs_no_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    path = tmp_path / "model.json"
    path.write_text('{"confidence_threshold": 0.3, "class_filter": ["cat"], "format": "json"}')
    options = {"confidence": 0.3, "class_filter": ["cat"]}
    assert read_model_config(path) == (options, ["format"])
    path.write_text("confidence: 0.3")
    with pytest.raises(ConfigurationError, match="pip install pyyaml"):
        read_model_config(path)
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        read_model_config(tmp_path / "none.yaml")
    path.write_text("")
    monkeypatch.undo()
    assert read_model_config(path) == ({}, [])


def test_batches_begin_with_each_image_once() -> None:
    assert batches_of(["a", "b", "c"], 2) == [("a", "b"), ("b", "c"), ("c", "a")]
    assert batches_of(["a"], 3) == [("a", "a", "a")]


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_the_version_is_told(command_line: CommandLine, tmp_path: Path, flag: str) -> None:
    from importlib.metadata import version

    done = command_line.run(flag, cwd=tmp_path, env={**os.environ})
    assert done.returncode == 0
    assert done.stdout == f"roboflow-async {version('roboflow-async')}\n"
