"""Every public name is explained, and stands in the reference with an example."""

import ast
import dataclasses
import importlib
import inspect
import pkgutil
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
import typing_extensions
from support.pages import ROOT, commands
from support.public_names import INNER_DOORS

import roboflow_async
from roboflow_async.endpoints import Endpoint

# What is imported from: the package, and each module of it without an underscore.
FORMER = {"limiters", "predictions"}  # the names of before, until 1.0
INSIDE = {"errors", "cli"}  # its errors are the package's, its commands have pages of their own
MODULES = (
    ["roboflow_async"]
    + [
        f"roboflow_async.{module.name}"
        for module in pkgutil.iter_modules(roboflow_async.__path__)
        if not module.name.startswith("_") and module.name not in FORMER | INSIDE
    ]
    + [f"roboflow_async.{inner}" for inner in INNER_DOORS]
)
REFERENCE = {
    page: page.read_text(encoding="utf-8") for page in (ROOT / "docs/reference").glob("*.md")
}
PAGES = "\n".join(
    page.read_text(encoding="utf-8")
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
)
EXAMPLES = "\n".join(re.findall(r"^```python\n(.*?)^```", PAGES, re.MULTILINE | re.DOTALL))


def public() -> dict[str, Any]:
    """Each public name, with the module that it is imported from."""
    modules = [importlib.import_module(name) for name in MODULES]
    return {
        f"{module.__name__}.{name}": getattr(module, name)
        for module in modules
        for name in module.__all__
    }


PUBLIC = public()
OURS = {
    name: value
    for name, value in PUBLIC.items()
    if (inspect.isclass(value) or inspect.isfunction(value))
    and value.__module__.startswith("roboflow_async")
}


def members(kind: type) -> dict[str, Any]:
    """The methods and properties of a class that users call and read."""
    found = {}
    for owner in reversed(kind.__mro__):
        if owner.__module__.startswith("roboflow_async"):
            found |= {name: one for name, one in vars(owner).items() if not name.startswith("_")}
    return {
        name: getattr(one, "fget", getattr(one, "__func__", one))
        for name, one in found.items()
        if inspect.isfunction(one) or isinstance(one, (property, classmethod, staticmethod))
    }


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_stand_in_the_reference(name: str) -> None:
    module, _, last = name.rpartition(".")
    directive = rf"(?:auto\w+|py:data):: {re.escape(name)}$"
    whole = rf"automodule:: {re.escape(module)}$(?!\n   :no-members:)"
    generated = "%endpoints%" if module == "roboflow_async.endpoints" else None
    assert last
    assert any(
        re.search(f"{directive}|{whole}", text, re.MULTILINE) or (generated and generated in text)
        for text in REFERENCE.values()
    ), f"{name} is on no page of docs/reference"


def test_the_reference_has_nothing_that_is_private() -> None:
    for page, text in REFERENCE.items():
        named = re.findall(r"(?:auto\w+|py:data):: (\S+)$", text, re.MULTILINE)
        assert not [one for one in named if re.search(r"\._", one)], page


@pytest.mark.parametrize("name", OURS)
def test_public_names_have_an_example(name: str) -> None:
    """It is in an example of a page, or its docstring has one."""
    if name.startswith("roboflow_async.endpoints."):
        return  # each endpoint has a generated one, which the next test looks at
    last = name.rpartition(".")[2]
    has_one = re.search(r"\n\n    \S", inspect.getdoc(OURS[name]) or "")
    assert has_one or re.search(rf"\b{last}\b", EXAMPLES), f"{name} is in no example"


def test_examples_of_endpoints_are_whole_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    page = importlib.import_module("extensions.endpoints")
    declared = page.declared()
    assert set(declared.values()) == {one for one in PUBLIC.values() if isinstance(one, Endpoint)}
    for endpoint in declared.values():
        given = ast.parse(f"run({page.arguments(endpoint.request)})", mode="eval").body
        assert isinstance(given, ast.Call)
        named = {one.arg: ast.literal_eval(one.value) for one in given.keywords}
        endpoint.request(**{endpoint.request.first: ast.literal_eval(given.args[0]), **named})
    shown = page.endpoints_page()
    classes = [
        name for name, one in PUBLIC.items() if ".endpoints." in name and one not in declared
    ]
    assert all(name.rpartition(".")[2] in shown for name in classes)


@pytest.mark.parametrize("name", OURS)
def test_public_names_say_what_they_are_for(name: str) -> None:
    """So does each method, with all arguments."""
    value = OURS[name]
    wanted = {name: value}
    if inspect.isclass(value):
        wanted |= {f"{name}.{member}": one for member, one in members(value).items()}
    missing = []
    for place, one in wanted.items():
        text = inspect.getdoc(one) or ""
        # pydantic, dataclasses and protocols give a class without docstring one of their own.
        if not text or text.startswith(f"{place.rpartition('.')[2]}("):
            missing.append(f"{place} has no docstring")
        if inspect.isfunction(one):
            names = [arg for arg in inspect.signature(one).parameters if arg not in ("self", "cls")]
            missing += [
                f"{place} does not say what {arg} is"
                for arg in names
                if not re.search(rf"^ *\**{arg}:", text, re.MULTILINE) and not arg.startswith("_")
            ]
    assert not missing, missing


@pytest.mark.parametrize("name", OURS)
def test_fields_say_what_they_are(name: str) -> None:
    """Each field of a record is in its docstring, or in that of a class that it is made of."""
    kind = OURS[name]
    fields: set[str] = set()
    if inspect.isclass(kind):
        model_fields = getattr(kind, "model_fields", {})
        fields = {one for one in model_fields if one in vars(kind).get("__annotations__", {})}
        if dataclasses.is_dataclass(kind):
            fields = {one.name for one in dataclasses.fields(kind)}
        elif typing_extensions.is_typeddict(kind):
            fields = set(vars(kind).get("__annotations__", {}))
    text = "\n".join(inspect.getdoc(owner) or "" for owner in getattr(kind, "__mro__", [kind]))
    fields = {one for one in fields if not one.startswith("_")}
    if typing_extensions.is_typeddict(kind) and "of `RoboflowClient" in text:
        return  # those of a call, whose docstring has them
    assert not [one for one in sorted(fields) if not re.search(rf"\b{one}\b", text)], name


def test_examples_in_docstrings_are_python() -> None:
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST
    found = 0
    for name, value in OURS.items():
        wanted = [value, *(members(value).values() if inspect.isclass(value) else ())]
        for one in wanted:
            for block in re.findall(r"(?:\n\n)((?:    .*\n?)+)", inspect.getdoc(one) or ""):
                compile(textwrap.dedent(block), name, "exec", flags=flags)
                found += 1
    assert found


def test_the_table_of_errors_has_each_class() -> None:
    text = (ROOT / "docs/reference/errors.md").read_text(encoding="utf-8")
    tree = text.partition("## The classes")[2]
    table = text.partition("## What happens on each")[2].partition("\n## ")[0]
    bases = {"RoboflowError", "APIError"}
    for name, value in OURS.items():
        if inspect.isclass(value) and issubclass(value, roboflow_async.RoboflowError):
            assert re.search(rf"\b{value.__name__}\b", tree), name
            assert value.__name__ in bases or re.search(rf"\b{value.__name__}\b", table), name


def test_the_table_of_variables_has_each_that_is_read() -> None:
    page = (ROOT / "docs/reference/environment.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"`([A-Z_]+)`", page))
    read = {
        name
        for file in Path(roboflow_async.__file__).parent.rglob("*.py")
        for name in re.findall(
            r"environ(?:\.get\(|\[)\s*\"([A-Z_]+)\"", file.read_text(encoding="utf-8")
        )
    }
    assert read - listed <= {"ROBOFLOW_PUBLISHABLE_KEY"}  # an example's
    assert {"ROBOFLOW_API_KEY", "RF_API_BASE_URL"} <= read


def test_each_command_is_in_a_guide() -> None:
    """Every command of ours is shown at work somewhere."""
    import typer

    from roboflow_async.cli import app

    group = typer.main.get_command(app)
    blocks = re.findall(r"^```console\n(.*?)^```", PAGES, re.MULTILINE | re.DOTALL)
    typed = " ".join(line for block in blocks for line in commands(block))
    for name in group.commands:  # type: ignore[attr-defined]
        assert re.search(rf"roboflow[-_]async {name}\b", typed), name
