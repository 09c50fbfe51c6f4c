"""What many tests share."""

import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from hypothesis import HealthCheck, settings
from support.command_line import HAS_FORK, CommandLine, ForkServer
from support.event_loops import WatchedLoop
from support.loopback import Server

from roboflow_async import RetryPolicy, RoboflowClient

# A shell starts what runs in the background with Ctrl-C ignored, and the commands that tests start
# would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What clients of tests trust, also those of the programs that tests start. To read the hundred and
# more authorities of an operating system takes each of a thousand clients 20 ms.
os.environ["SSL_CERT_FILE"] = str(Path(__file__).parent / "support" / "authority.pem")

# HYPOTHESIS_PROFILE=mutants: few examples, for the many runs of `make mutants`; fuzz: a thousand,
# for `make fuzz`.
settings.register_profile("tests", max_examples=40, deadline=None)
settings.register_profile("mutants", max_examples=4, deadline=None, derandomize=True)
settings.register_profile(
    "fuzz", max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck)
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "tests"))

# The tests are some hundred thousand objects that stay. Each full collection on the way would walk
# through all that there are by then, which is a fifth of the time in which they are collected.
gc.disable()

KEY = "rf_SECRETkey0123456789"
# The shortest that every decoder and our own check call a JPEG's beginning; tests that need
# pixels draw a scene.
JPEG = b"\xff\xd8\xff\xe0"


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"debug": True, "loop_factory": WatchedLoop}


def _backend(**options: Any) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("anyio_backend", [("asyncio", options)], ids=["asyncio"])


# Where time is measured: debug mode makes all several times slower.
NO_DEBUG = _backend()
# Where it is looked at what libraries log in debug mode.
FULL_DEBUG = _backend(debug=True)


@pytest.fixture(scope="session", autouse=True)
def what_was_imported_is_no_garbage() -> None:
    # Else each gc.collect() below walks through all of it. What little of it is garbage stays: to
    # find that takes longer than most files of tests do.
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    logging.getLogger("roboflow_async").setLevel(logging.NOTSET)  # as a page's example may set it
    for name in ("ROBOFLOW_API_KEY", "ROBOFLOW_API_URL", "ROBOFLOW_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name in ("ROBOFLOW_ENVIRONMENT", "PROJECT", "RF_API_BASE_URL", "API_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("DEDICATED_DEPLOYMENT_URL", raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server() as running:
        yield running
    # The only tasks left are those that the test runner itself works in.
    left = [task for task in asyncio.all_tasks() if "TestRunner" not in repr(task)]
    assert not left, left
    gc.collect()  # what a test leaves unclosed must warn in that test, not in a later one
    gc.freeze()  # and what it leaves for good is not walked through again


# Waits that a test need not sit through; the shape of the waits is tested on a fake clock.
FAST = RetryPolicy(base=0.005, max_wait=0.02)

MakeClient = Callable[..., RoboflowClient]


TRANSPORTS = ("httpx", "aiohttp", "httptools")

# In a file that is marked with `each_transport`: what looks at quotas and the pace alone.
ONE_TRANSPORT = pytest.mark.parametrize("transport", ["auto"], indirect=True)

# For what is the same over each transport and over clients of the user's own.
EACH_LIBRARY = pytest.mark.parametrize(
    ("transport", "library"),
    [*((name, None) for name in TRANSPORTS), ("auto", httpx), ("auto", httpx2)],
    ids=[*TRANSPORTS, "client of httpx", "client of httpx2"],
    indirect=["transport"],
)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "each_transport: tests the network, so it runs over each transport; others over one",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    given = [str(marker.args[0]) for marker in metafunc.definition.iter_markers("parametrize")]
    # With a client of the user's own, whosever library it is, there is no transport of ours.
    is_chosen = "library" in metafunc.fixturenames or "transport" in str(given)
    is_marked = metafunc.definition.get_closest_marker("each_transport") is not None
    if "transport" in metafunc.fixturenames and is_marked and not is_chosen:
        metafunc.parametrize("transport", TRANSPORTS, indirect=True)


# What one process alone works on for long. It begins first, so that nobody waits for it at the end.
LONG = ("test_cluster.py", "test_mypy.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    first: dict[str, pytest.Item] = {}
    for item in items:
        first.setdefault(item.path.name, item)

    def place(item: pytest.Item) -> int:
        if item.path.name not in LONG:
            return 1
        # What looks at the same long work comes last: whoever begins it earlier waits for its end.
        return 0 if first[item.path.name] is item else 2

    items.sort(key=place)


@pytest.fixture
def transport(request: pytest.FixtureRequest) -> str:
    """The one that users get who choose none; each one in turn for tests of the network.

    Those are marked with `each_transport`, alone or as a file. What lies above the transport
    (results and their order, journals, images, pace, the command line) sees none of its bytes.
    """
    return getattr(request, "param", "auto")


@pytest.fixture
def make_client(server: Server, transport: str) -> MakeClient:
    return partial(
        RoboflowClient,
        KEY,
        api_url=server.url,
        requests_per_second=None,
        retry=FAST,
        transport=transport,
    )


FORKS = pytest.StashKey[ForkServer]()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """All workers of pytest-xdist have one: it imports once what the commands need."""
    config: pytest.Config = node.config
    if HAS_FORK:
        if FORKS not in config.stash:
            config.stash[FORKS] = ForkServer().__enter__()
            config.add_cleanup(config.stash[FORKS].__exit__)
        node.workerinput["forks"] = config.stash[FORKS].address


@pytest.fixture(scope="session")
def command_line(request: pytest.FixtureRequest) -> Iterator[CommandLine]:
    shared: str | None = getattr(request.config, "workerinput", {}).get("forks")
    with contextlib.ExitStack() as stack:
        if shared is None and HAS_FORK:
            shared = stack.enter_context(ForkServer()).address
        yield CommandLine(shared)


def picture(index: int) -> bytes:
    """Something that starts as an image does, different for each index."""
    return JPEG + b"picture %d" % index


@pytest.fixture(scope="session")
def openapi() -> Any:
    """The contract of Roboflow's Inference Server, version 1.8.3."""
    return json.loads((Path(__file__).parent / "support" / "openapi.json").read_text())


@pytest.fixture
def full_listener() -> Iterator[str]:
    """The URL of a listener that completes no more connections: its queue is full."""
    with contextlib.ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = sockets.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def fast_server() -> Iterator[str]:
    """The URL of a server in a process of its own that reads everything and answers at once."""
    program = Path(__file__).parent / "support" / "reading_server.py"
    with subprocess.Popen(
        [sys.executable, str(program)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.terminate()


if os.name != "posix":
    # They try what POSIX alone has: signals, links, modes of files, limits of a process.
    collect_ignore = [
        "cli/test_cli_keys.py",
        "cli/test_cli_run_survives.py",
        "cli/test_hostile_files.py",
        "engine/images/test_shortages.py",
    ]

    def _no_pipes(*_: object) -> None:
        pytest.skip("POSIX alone has named pipes")

    os.mkfifo = _no_pipes
