"""The package from outside: its names, its layers, its weight, its command."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import roboflow_async

PACKAGE = Path(roboflow_async.__file__).parent

# Top to bottom: a file imports from those below it alone.
LAYERS = [
    "__main__", "cli/__init__", "cli/demo", "cli/run", "cli/serve", "cli/doctor", "cli/benchmark",
    "cli/concurrency", "cli/plots", "cli/job", "cli/journal", "cli/options", "cli/keys",
    "cli/pictures", "cli/progress", "cli/sources", "cli/tables", "cli/files",
    "testing/pytest_plugin", "testing/__init__",
    "testing/server", "testing/app", "testing/models", "testing/workflows", "testing/detection",
    "testing/scenes", "testing/knobs", "testing/meter", "fastapi", "disconnects", "host_header",
    "__init__",
    "benchmark", "client", "redis", "redis_connection", "key_stretching", "workspace", "pipelines",
    "operations", "calls", "sdk_calls", "workflow", "model", "endpoint_target",
    "endpoints/__init__",
    "endpoints/clip", "endpoints/detectors", "endpoints/language", "endpoints/ocr",
    "endpoints/sam", "endpoints/video", "endpoints/prompts", "endpoint",
    "targets", "task_lookup", "runtime", "loop_end", "logs", "stream", "dispatch",
    "patience", "circuit", "refusals", "queue_bounds", "output_reader", "chance",
    "call_record", "admission",
    "concurrency",
    "transport", "connection_errors", "cancellation", "lanes", "lanes_httpx", "lanes_aiohttp",
    "leftovers", "network", "body", "environment", "content", "counters",
    "retry", "shared_ceiling", "outage", "ledger", "pacing", "cooldown", "pace_law",
    "concurrency_law", "limiters",
    "workflow_request", "model_options", "model_aliases", "predictions", "answers", "supervision",
    "validation", "bounded_validation", "responses", "large_json", "thrift", "protocol", "scaling",
    "outputs",
    "images", "many_images", "file_objects", "shortages", "encoding", "downsizing", "png_strips",
    "picture_size", "pixels", "pixel_budget",
    "eight_bits", "pillow", "signatures", "results", "file_names", "config", "regions", "urls",
    "checks", "priority", "jsontypes", "errors", "plain_text",
]  # fmt: skip


def imports(file: Path) -> set[str]:
    tree = ast.parse(file.read_text())
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def layer(module: str) -> str:
    name = module.removeprefix("roboflow_async").removeprefix(".").replace(".", "/")
    if (PACKAGE / name).is_dir():
        name = f"{name}/__init__".lstrip("/")
    return name


def test_imports_go_one_way() -> None:
    files = {str(file.relative_to(PACKAGE))[:-3]: file for file in PACKAGE.rglob("*.py")}
    assert set(files) == set(LAYERS)
    for name, file in files.items():
        for module in imports(file):
            if module.startswith("roboflow_async"):
                below = LAYERS.index(layer(module)) > LAYERS.index(name)
                assert below, f"{name} imports {module}"


@pytest.mark.parametrize(
    ("library", "home"),
    [("backoff", "retry"), ("aiolimiter", "pacing"), ("redis", "redis_connection")],
)
def test_a_library_has_one_home(library: str, home: str) -> None:
    users = [file.stem for file in PACKAGE.rglob("*.py") if library in imports(file)]
    assert users == [home]


def test_a_file_has_one_job_and_at_most_400_lines() -> None:
    for file in PACKAGE.rglob("*.py"):
        assert len(file.read_text().splitlines()) <= 400, file


def test_the_public_names_are_these() -> None:
    assert sorted(roboflow_async.__all__) == [
        "APIConnectionError", "APIError", "APIStatusError", "APITimeoutError",
        "AuthenticationError", "BadRequestError", "BenchmarkReport", "ConfigurationError",
        "EndpointTarget", "Image", "ImageError", "ImageInput", "Model", "NotFoundError", "Pacer",
        "PayloadTooLargeError", "QueueFullError", "QueueTimeoutError", "RateLimitError",
        "RateLimiter", "RateLimiterUnavailableError", "RedisRateLimiter", "ResponseError",
        "Result", "ResultStream", "RetryPolicy", "RoboflowClient", "RoboflowError", "ServerError",
        "Stats", "UsageLimitError", "WarmUpReport", "Workflow",
        "benchmark", "decode_image", "open_image",
    ]  # fmt: skip
    assert all(hasattr(roboflow_async, name) for name in roboflow_async.__all__)


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


def test_importing_it_costs_about_twice_what_its_five_packages_cost() -> None:
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
