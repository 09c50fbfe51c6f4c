"""JSON has no word for NaN and Infinity: no file that the commands read or write holds one."""

from pathlib import Path
from typing import Any

import pytest

from roboflow_async import ConfigurationError
from roboflow_async.cli.options import parameters, read_json
from roboflow_async.cli.run.journal import Journal
from roboflow_async.cli.run.tables import write_table

NUMBERS = ["Infinity", "-Infinity", "NaN", "1e999", "-1e999"]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_journal_with_such_a_line_is_refused_by_its_number(tmp_path: Path, number: str) -> None:
    path = tmp_path / "a.jsonl"
    with Journal(path, {}) as journal:
        journal.write({"image": "a.jpg", "output": {"x": 1.5}})
    with path.open("a") as file:
        file.write(f'{{"image": "b.jpg", "output": {{"x": {number}}}}}\n')
        file.write('{"image": "c.jpg", "output": {}}\n')
    with pytest.raises(ConfigurationError, match="line 2, is not of such a run"):
        Journal(path, {}).__enter__()


@pytest.mark.parametrize("number", NUMBERS)
def test_a_file_that_an_option_names_is_refused(tmp_path: Path, number: str) -> None:
    path = tmp_path / "spec.json"
    path.write_text(f'{{"confidence": {number}}}')
    with pytest.raises(ConfigurationError, match="--spec"):
        read_json(path, "--spec")


@pytest.mark.parametrize("number", NUMBERS)
def test_a_parameter_is_text_then(number: str) -> None:
    assert parameters([f"a={number}", "b=1e9", "c=3"]) == {"a": number, "b": 1e9, "c": 3}


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize("output", [lambda x: {"x": x}, lambda x: {"x": [{"y": x}]}])
def test_a_line_with_such_a_number_is_not_written(
    tmp_path: Path, output: Any, number: float
) -> None:
    path = tmp_path / "a.jsonl"
    with Journal(path, {}) as journal:
        with pytest.raises(ValueError, match="JSON"):
            journal.write({"image": "a.jpg", "output": output(number)})
        assert (journal.done, path.read_bytes()) == (set(), b"")


def test_a_table_with_such_a_number_is_not_written(tmp_path: Path) -> None:
    lines = [{"image": "a.jpg", "output": {"x": [float("inf")]}}]
    with pytest.raises(ValueError, match="JSON"):
        write_table(lines, tmp_path / "a.csv", "csv")
    assert list(tmp_path.iterdir()) == []
