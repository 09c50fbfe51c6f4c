"""Fuzz targets: what the commands read from files. A longer profile runs them for longer."""

import contextlib
import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roboflow_async import ConfigurationError
from roboflow_async.cli.options import read_json
from roboflow_async.cli.run.job import write_failures
from roboflow_async.cli.run.journal import Journal
from roboflow_async.cli.run.pictures import save_pictures
from roboflow_async.cli.run.sources import Source
from roboflow_async.cli.run.tables import write_table
from roboflow_async.errors import plain_text

# One folder for all examples: what is in it is written anew for each.
ONE_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])

texts = st.text(st.characters(exclude_categories=()), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
errors = st.fixed_dictionaries({}, optional={"type": texts | values, "message": texts | values})
results = st.fixed_dictionaries(
    {}, optional={"image": texts | values, "output": values, "error": errors | values, "x": values}
)
lines = st.binary(max_size=60) | (results | values).map(lambda value: json.dumps(value).encode())
files = st.lists(lines, max_size=6).map(b"\n".join) | st.binary(max_size=200)


@ONE_FOLDER
@given(content=files, ended=st.booleans(), again=st.booleans())
def test_fuzz_journal_lines(tmp_path: Path, content: bytes, ended: bool, again: bool) -> None:
    """A journal is taken as it is, or refused with one of our errors; what is taken can be used."""
    path = tmp_path / "a.jsonl"
    path.unlink(missing_ok=True)
    with Journal(path, {}):
        pass
    path.write_bytes(content + b"\n" * ended)
    with contextlib.suppress(ConfigurationError), Journal(path, {}, retry_failed=again) as journal:
        assert not (again and journal.failed)
        assert {line["image"] for line in journal.lines()} == journal.done
        journal.write({"image": "one more", "output": {}})
        write_failures(journal)
        write_table(journal.lines(), tmp_path / "a.csv", "csv")
        with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
            # Of all rows, also where cells have several lines; the first one has the names.
            assert len(list(csv.reader(file))) == 1 + sum(1 for _ in journal.lines())


@ONE_FOLDER
@given(content=files | st.binary(max_size=2000))
def test_fuzz_run_files(tmp_path: Path, content: bytes) -> None:
    """A `.run.json` is the same run's, or refused."""
    (tmp_path / "b.jsonl.run.json").write_bytes(content)
    with pytest.raises(ConfigurationError) as raised:
        Journal(tmp_path / "b.jsonl", {"workflow": "ws/wf"}).__enter__()
    told = str(raised.value)
    assert told == plain_text(told)


@ONE_FOLDER
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_fuzz_list_files(tmp_path: Path, content: bytes) -> None:
    """A list gives each of its lines once, or is refused."""
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    with contextlib.suppress(ConfigurationError):
        items = Source(str(path)).listed
        assert items
        assert len(set(items)) == len(items)
        assert all(item.strip() == item and item for item in items)


@ONE_FOLDER
@given(content=st.binary(max_size=200) | values.map(lambda value: json.dumps(value).encode()))
def test_fuzz_specifications(tmp_path: Path, content: bytes) -> None:
    """A file of JSON that an option names is read, or refused."""
    path = tmp_path / "spec.json"
    path.write_bytes(content)
    with contextlib.suppress(ConfigurationError):
        read_json(path, "--spec")


PICTURE = "/9j/4AAA" + "A" * 100


@ONE_FOLDER
@given(
    item=texts | st.sampled_from(["https://", "http://["]).flatmap(lambda a: texts.map(a.__add__)),
    output=st.dictionaries(texts, st.just(PICTURE) | st.lists(st.just(PICTURE)), max_size=4),
)
def test_fuzz_names_of_pictures(tmp_path_factory: Any, item: str, output: dict[str, Any]) -> None:
    """Each picture has a file of its own, below the folder."""
    outside = tmp_path_factory.mktemp("pictures")
    folder = outside / "a" / "b"
    saved = save_pictures(output, item, folder)
    written = {str(path) for path in outside.rglob("*") if path.is_file()}
    told = set[str]()
    for value in saved.values():
        told |= {value} if isinstance(value, str) else set(value)
    assert written == told
    assert all(Path(path).resolve().is_relative_to(folder) for path in written)
