"""The package from outside: its names, its weight, its command."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, UnionType

import pytest

import roboflow_async
from roboflow_async import endpoints, fastapi, limiters, predictions, ray, testing, types

PACKAGE = Path(roboflow_async.__file__).parent


def test_the_public_names_are_these() -> None:
    assert sorted(roboflow_async.__all__) == [
        "APIConnectionError", "APIError", "APIStatusError", "APITimeoutError",
        "AuthenticationError", "BadRequestError", "BatchError", "BatchJob",
        "BenchmarkReport", "ClientClosedError", "ConfigurationError", "DeploymentError",
        "EndpointTarget", "Failure",
        "Image", "ImageError", "ImageInput", "JournalError", "Model", "NotFoundError", "Pacer",
        "PayloadTooLargeError", "QueueFullError", "QueueTimeoutError", "RateLimitError",
        "RateLimiter", "RateLimiterUnavailableError", "RedisRateLimiter", "ResponseError",
        "Result", "ResultStream", "RetryPolicy", "RoboflowClient", "RoboflowError", "ServerError",
        "Stats", "Success", "UsageLimitError", "WarmUpReport", "Workflow",
        "benchmark", "decode_image", "open_image", "to_supervision",
    ]  # fmt: skip
    assert all(hasattr(roboflow_async, name) for name in roboflow_async.__all__)


@pytest.mark.parametrize("module", [roboflow_async, types, endpoints, fastapi, ray, testing])
def test_public_names_show_where_they_are_imported_from(module: ModuleType) -> None:
    public = [getattr(module, name) for name in module.__all__]
    named = [value for value in public if hasattr(value, "__qualname__")]
    named = [value for value in named if not isinstance(value, UnionType)]  # from Python 3.14 on
    assert named
    assert {value.__module__ for value in named} == {module.__name__}


def test_former_modules_have_their_names_until_1_0() -> None:
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
def test_importing_costs_twice_what_its_five_packages_cost() -> None:
    """Importing the package costs about twice what its five packages cost."""
    # In turn, and the best of several: other tests run beside.
    tried = [
        (
            probe("import httpx, anyio, aiolimiter, backoff, pydantic"),
            probe("import roboflow_async"),
        )
        for _ in range(6)
    ]
    packages, ours = tried[0]
    # Twice as much when nothing else runs (measured); a busy machine blurs it.
    assert min(ours[0] for _, ours in tried) <= 4 * min(packages[0] for packages, _ in tried)
    assert ours[1] <= 2 * packages[1]
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
    }


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
