"""`run` ends alike where there is nothing to do, and takes a Workflow's URL as its two names."""

import os
from pathlib import Path

import pytest
from support.command_line import CommandLine

from roboflow_async.testing import StandInServer, draw_scene


@pytest.mark.parametrize("stdin", ["", "\n \n"])
def test_an_empty_stdin_ends_like_an_empty_folder(
    command_line: CommandLine, tmp_path: Path, stdin: str
) -> None:
    (tmp_path / "empty").mkdir()
    options = ("--model", "pets/3", "--host", "http://127.0.0.1:1")
    folder = command_line.run("run", "empty", *options, cwd=tmp_path)
    lines = command_line.run("run", "-", *options, cwd=tmp_path, stdin=stdin)
    assert folder.returncode == lines.returncode == 1
    assert "there are no images in 'empty'" in folder.stderr
    assert "there are no images in '-'" in lines.stderr
    assert len(lines.stderr.splitlines()) == 1


def test_a_url_goes_on_where_the_names_stopped(
    command_line: CommandLine, tmp_path: Path, roboflow_stand_in: StandInServer
) -> None:
    environment = {**os.environ, "ROBOFLOW_API_KEY": "any"}
    (tmp_path / "a.jpg").write_bytes(draw_scene(1).jpeg)
    url = "https://app.roboflow.com/any/workflows/edit/shapes"
    for workflow, source in (("any/shapes", "a.jpg"), (url, ".")):
        (tmp_path / "b.jpg").write_bytes(draw_scene(2).jpeg)
        done = command_line.run(
            "run", source, "--workflow", workflow, "--host", roboflow_stand_in.url,
            "--param", "confidence=0.4", cwd=tmp_path, env=environment,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 2
    assert roboflow_stand_in.meter.billed == 2
    done = command_line.run(
        "run", "a.jpg", "--workflow", "shapes", "--host", roboflow_stand_in.url, cwd=tmp_path,
        env=environment,
    )  # fmt: skip
    assert done.returncode == 1
    assert "give it as WORKSPACE/ID, or as the app's URL" in done.stderr


def test_a_misspelt_param_is_told_before_anything_is_billed(
    command_line: CommandLine, tmp_path: Path, roboflow_stand_in: StandInServer
) -> None:
    (tmp_path / "a.jpg").write_bytes(draw_scene(1).jpeg)
    environment = {**os.environ, "ROBOFLOW_API_KEY": "any"}
    for wrong, says in (
        (("--param", "conf=0.3"), "this Workflow has no input conf: it has image, confidence."),
        (("--exclude", "visualisation"), "Did you mean visualization?"),
    ):
        done = command_line.run(
            "run", "a.jpg", "--workflow", "any/shapes", "--host", roboflow_stand_in.url, *wrong,
            "-o", f"{wrong[1]}.jsonl", cwd=tmp_path, env=environment,
        )  # fmt: skip
        assert (done.returncode, says in done.stderr) == (1, True), done.stderr
        assert "Traceback" not in done.stderr
    assert roboflow_stand_in.meter.billed == 0
