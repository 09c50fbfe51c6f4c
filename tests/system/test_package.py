"""The package from outside: its names, its weight, its command."""

import importlib.util
import json
import logging
import os
import pickle
import re
import subprocess
import sys
import tomllib
import typing
from pathlib import Path
from types import FunctionType, ModuleType, UnionType

import httpx
import pytest

import roboflow_async
from roboflow_async import (
    endpoints,
    fastapi,
    limiters,
    opentelemetry,
    predictions,
    ray,
    testing,
    types,
    video,
)
from roboflow_async.types import hooks

PACKAGE = Path(roboflow_async.__file__).parent


@pytest.mark.parametrize(
    "module",
    [roboflow_async, types, endpoints, fastapi, hooks, opentelemetry, ray, testing, video],
)
def test_public_names_show_where_they_are_imported_from(module: ModuleType) -> None:
    public = [getattr(module, name) for name in module.__all__]
    named = [value for value in public if hasattr(value, "__qualname__")]
    named = [value for value in named if not isinstance(value, UnionType)]  # from Python 3.14 on
    named = [value for value in named if value.__module__.startswith("roboflow_async")]
    assert named
    assert {value.__module__ for value in named} == {module.__name__}


def test_names_of_other_packages_stay_theirs() -> None:
    """An alias of httpx's client does not say in tracebacks and pickles that it is ours."""
    assert types.HTTPClient is httpx.AsyncClient
    assert httpx.AsyncClient.__module__ == "httpx"


def test_former_modules_have_their_names_until_1_0() -> None:
    assert roboflow_async.limiters is sys.modules["roboflow_async.limiters"]  # type: ignore[attr-defined]
    assert importlib.util.find_spec("roboflow_async.predictions") is not None
    written = b"croboflow_async.predictions\nObjectDetection\n."  # a pickle of before
    assert pickle.loads(written) is types.ObjectDetection
    assert pickle.loads(pickle.dumps(predictions.Point)) is types.Point
    assert predictions.ObjectDetection is types.ObjectDetection
    assert limiters.ToldRateLimiter is types.SharedRateLimiter
    assert limiters.SentTurn is types.TrackedTurn
    assert limiters.CeilingSource is types.ScopedRateLimiter


PROBE = """
import json, resource, sys, time
began = time.process_time()
{statement}
took = time.process_time() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([took, peak, sorted(sys.modules)]))
"""


def probe(statement: str) -> tuple[float, int, set[str]]:
    """Seconds of CPU, kilobytes, and modules of an import in a new process."""
    command = [sys.executable, "-c", PROBE.format(statement=statement)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    seconds, kilobytes, names = json.loads(printed)
    return seconds, kilobytes, set(names)


@pytest.mark.skipif(os.name != "posix", reason="measures with the module resource")
def test_importing_costs_little_more_than_its_five_packages() -> None:
    """Importing the package costs at most one and a half times what its five packages cost."""
    # In turn, and the best of several: other tests run beside.
    tried = [
        (
            probe("import httpx, anyio, aiolimiter, backoff, pydantic"),
            probe("import roboflow_async"),
        )
        for _ in range(4)
    ]
    packages, ours = tried[0]
    # 1.4 times as much when nothing else runs (measured); a busy machine blurs it.
    assert min(ours[0] for _, ours in tried) <= 3 * min(packages[0] for packages, _ in tried)
    assert ours[1] <= 1.5 * packages[1]
    # Nothing of the extras.
    assert not (ours[2] - packages[2]) & {
        "numpy",
        "PIL",
        "aiohttp",
        "starlette",
        "uvicorn",
        "typer",
        "rich",
        "scipy",
        "pytest",
        "fastapi",
        "redis",
        "httptools",
        "pybase64",
        "fsspec",
        "pyarrow",
        "ray",
        "av",
    }


PLUGIN = "import roboflow_async.testing.pytest_plugin"

LATE = (
    "pydantic.main", "annotated_types", "sqlite3", "tarfile",
    "roboflow_async.types", "roboflow_async.endpoints",
    "roboflow_async._engine.api.validation", "roboflow_async._engine.pace.redis_limiter",
    "roboflow_async._platform.batch", "roboflow_async._platform.deployments",
    "roboflow_async._platform.planning.estimates", "roboflow_async._platform.staging",
    "roboflow_async._targets.endpoint", "roboflow_async._targets.journal.recorder",
    "roboflow_async._targets.load_test",
)  # fmt: skip


@pytest.mark.skipif(os.name != "posix", reason="measures with the module resource")
@pytest.mark.parametrize(
    "statement",
    [
        "import roboflow_async",
        "from roboflow_async import RoboflowClient, RetryPolicy, RoboflowError, Workflow, Model",
        "import roboflow_async.errors; roboflow_async.RoboflowClient('k').workflow('w', 'f')",
    ],
)
def test_an_import_leaves_out_what_few_programs_need(statement: str) -> None:
    modules = probe(statement)[2]
    early = [name for name in modules if name.startswith(LATE)]
    assert not early, early
    # A few dozen files: one more that every program needs may be added, and not a whole room.
    assert len([name for name in modules if name.startswith("roboflow_async")]) <= 125


@pytest.mark.skipif(os.name != "posix", reason="measures with the module resource")
def test_the_plugin_of_pytest_brings_nothing_of_the_extra() -> None:
    """pytest imports it wherever the package is installed, for tests that need no stand-in, too."""
    packages = {name.partition(".")[0] for name in probe(PLUGIN)[2]}
    assert not packages & {"PIL", "fastapi", "numpy", "scipy", "starlette", "uvicorn"}


SHOWN = """
import json, sys, roboflow_async
def names(module):
    values = [getattr(module, name) for name in sorted(module.__all__)]
    return [value.__module__ for value in values if hasattr(value, "__qualname__")]
{first}
listed = dir(roboflow_async)
from roboflow_async import *
print(json.dumps([
    sorted(set(names(roboflow_async))), BatchJob.__module__, sorted(roboflow_async.__all__),
    [name for name in roboflow_async.__all__ if name not in globals() or name not in listed],
    [roboflow_async.types.__name__, roboflow_async.endpoints.__name__],
]))
"""


@pytest.mark.parametrize(
    "first", ["", "client = roboflow_async.RoboflowClient('k'); client.batch; client.model('a/1')"]
)
def test_late_names_are_like_all_others(first: str) -> None:
    command = [sys.executable, "-W", "error", "-c", SHOWN.format(first=first)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    homes, job, public, missing, modules = json.loads(printed)
    assert (homes, job, missing) == (["roboflow_async"], "roboflow_async", [])
    assert public == sorted(roboflow_async.__all__)
    assert modules == ["roboflow_async.types", "roboflow_async.endpoints"]
    with pytest.raises(AttributeError, match="'roboflow_async' has no attribute 'Flow'"):
        _ = roboflow_async.Flow  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "kind",
    [
        *(roboflow_async.RoboflowClient, roboflow_async.Workflow, roboflow_async.Model),
        *(roboflow_async.EndpointTarget, roboflow_async.BatchJob),
    ],
)
def test_annotations_are_resolved_at_run_time(kind: type) -> None:
    """FastAPI and others look up what annotations in quotes mean, also of what is late."""
    members = [getattr(member, "fget", member) for member in vars(kind).values()]
    functions = [member for member in members if isinstance(member, FunctionType)]
    assert functions
    for function in functions:
        hints = typing.get_type_hints(function)
        assert not [hint for hint in hints.values() if isinstance(hint, (str, typing.ForwardRef))]


def test_late_imports_go_the_way_of_all_imports() -> None:
    """import-linter does not see them: they name modules that exist, in the same room or below."""
    settings = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())
    contracts = settings["tool"]["importlinter"]["contracts"]
    layers = next(one["layers"] for one in contracts if one["id"] == "rooms")
    place = {room: at for at, layer in enumerate(layers) for room in layer.split(" | ")}
    found = 0
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for name in re.findall(r'(?m)^    \w+ = LateModule\("([\w.]+)"\)', path.read_text()):
            assert importlib.util.find_spec(name), name
            assert place[name.split(".")[1]] >= place[room], (path, name)
            found += 1
    assert found


def test_the_commands_say_what_they_need() -> None:
    hide = "import sys; sys.modules['typer'] = None; sys.argv = ['x']\n"
    code = (
        "import importlib.util as u; real = u.find_spec\n"
        "u.find_spec = lambda name: None if name == 'typer' else real(name)\n"
        "from roboflow_async.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", hide + code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "pip install 'roboflow-async[cli]'" in done.stderr


def test_the_commands_show_their_help() -> None:
    command = [sys.executable, "-m", "roboflow_async", "--help"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "demo" in printed


def test_the_project_speaks_of_itself_alone() -> None:
    root = PACKAGE.parent
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=root, capture_output=True, text=True, check=False
    ).stdout.split()
    for name in tracked:
        if name.endswith((".py", ".md", ".toml", "Makefile", "run")):
            text = (root / name).read_text()
            for word in ("/wo" + "rk/", "/ro" + "ot/", "/tm" + "p/wo"):
                assert word not in text, name


def test_loggers_have_names_that_do_not_move_with_the_code() -> None:
    names = [name for name in logging.root.manager.loggerDict if name.startswith("roboflow_async")]
    assert "roboflow_async.circuit" in names
    assert not [name for name in names if "._" in name]
