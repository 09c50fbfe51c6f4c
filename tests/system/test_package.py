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
    "__main__", "cli/__init__", "cli/demo", "cli/run/__init__", "cli/serve", "cli/doctor",
    "cli/benchmark/__init__", "cli/benchmark/concurrency", "cli/benchmark/plots", "cli/run/job",
    "cli/run/journal", "cli/options", "cli/keys", "cli/run/pictures", "cli/run/progress",
    "cli/run/sources", "cli/run/tables", "cli/files", "testing/pytest_plugin", "testing/__init__",
    "testing/server", "testing/app", "testing/models", "testing/workflows", "testing/detection",
    "testing/scenes", "testing/knobs", "testing/meter", "fastapi/__init__", "fastapi/disconnects",
    "_engine/http/host_header", "__init__", "_targets/load_test", "_client/client",
    "_engine/pace/redis_limiter", "_engine/pace/redis_connection", "_engine/pace/key_stretching",
    "_platform/workspace", "_client/pipelines", "_client/server", "_client/calls",
    "_client/inference_sdk", "_targets/workflow", "_targets/model", "_targets/endpoint",
    "endpoints/__init__", "endpoints/clip", "endpoints/detectors", "endpoints/language",
    "endpoints/ocr", "endpoints/sam", "endpoints/action_recognition", "endpoints/prompts",
    "endpoints/base", "_targets/base", "_targets/model_tasks", "_engine/runtime",
    "_engine/asyncio_tools", "_engine/log_filter", "_targets/stream", "_engine/calls/dispatcher",
    "_engine/calls/patience", "_engine/calls/circuit", "_engine/calls/refusals",
    "_engine/calls/queue_bounds", "_engine/calls/output_reader", "_engine/calls/call_record",
    "_engine/calls/fair_queue", "_engine/calls/concurrency", "_engine/http/transport",
    "_engine/http/connection_errors", "_engine/cancellation", "_engine/http/connections",
    "_engine/http/connections_httpx", "_engine/http/connections_aiohttp", "_engine/http/leftovers",
    "_engine/http/network", "_engine/http/bodies", "_engine/http/proxy_and_tls",
    "_engine/http/content", "_engine/calls/stats", "_engine/calls/retry",
    "_engine/pace/shared_pacer", "_engine/pace/outage", "_engine/pace/ledger", "_engine/pace/pacer",
    "_engine/pace/pace_law", "_engine/calls/concurrency_law", "_engine/pace/protocols",
    "_targets/workflow_requests", "_targets/model_options", "_targets/model_aliases",
    "types/predictions", "types/base", "types/to_supervision", "_engine/api/validation",
    "_engine/api/bounded_validation", "_engine/api/responses", "_engine/api/large_json",
    "_engine/api/requests", "_engine/images/rescale", "_engine/images/decode",
    "_engine/images/loader", "_engine/images/many_images", "_engine/images/file_objects",
    "_engine/images/shortages", "_engine/images/encoded", "_engine/images/downsizing",
    "_engine/images/png_strips", "_engine/images/picture_size", "_engine/images/pixels",
    "_engine/images/pixel_budget", "_engine/images/eight_bits", "_engine/images/pillow",
    "_engine/images/formats", "_targets/results", "cli/run/file_names", "_engine/settings",
    "_engine/api/regions", "_engine/images/url_policy", "_engine/checks", "_engine/calls/priority",
    "_engine/jsonvalues", "errors", "_engine/plain_text", "_client/__init__", "_platform/__init__",
    "_targets/__init__", "types/__init__", "_engine/__init__", "_engine/calls/__init__",
    "_engine/http/__init__", "_engine/api/__init__", "_engine/images/__init__",
    "_engine/pace/__init__",
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
    [("backoff", "retry"), ("aiolimiter", "pacer"), ("redis", "redis_connection")],
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
        for _ in range(4)
    ]
    packages, ours = tried[0]
    # Twice as much when nothing else runs (measured); a busy machine blurs it.
    assert min(ours[0] for _, ours in tried) <= 2.5 * min(packages[0] for packages, _ in tried)
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
