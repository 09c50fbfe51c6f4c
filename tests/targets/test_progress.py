"""`stream(progress=True)`: a bar that never breaks the stream, and ends with it."""

import asyncio
import gc
import io
import sys
import warnings
from collections.abc import Iterator
from itertools import repeat
from typing import Any

import pytest
from conftest import MakeClient, picture
from support.loopback import Reply, Server, echo

from roboflow_async import AuthenticationError, ConfigurationError

pytestmark = pytest.mark.anyio

SHOWS_CURSOR, HIDES_CURSOR = "\x1b[?25h", "\x1b[?25l"


@pytest.fixture
def in_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rich takes stderr for a terminal of 100 columns."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.fixture
async def server(server: Server) -> Server:
    """It refuses the second image."""
    server.handler = lambda arrival: Reply(400) if arrival.index == 1 else echo(arrival)
    return server


def images() -> list[bytes]:
    return [*map(picture, range(6))]


async def test_a_bar_shows_how_far_the_stream_is(
    make_client: MakeClient, in_terminal: None, capsys: pytest.CaptureFixture[str]
) -> None:
    async with make_client() as client:
        async for result in client.workflow("ws", "wf").stream(images(), progress=True):
            print(result.index)
    said = capsys.readouterr()
    assert "0/6, waiting for the first result (0 s)" in said.err
    assert "6/6, 1 failed, " in said.err.rpartition("\r")[2]
    assert "requests/s" in said.err
    # What is printed is not drawn into the bar, since stdout is no terminal.
    assert sorted(said.out.split()) == ["0", "1", "2", "3", "4", "5"]
    assert said.err.count(HIDES_CURSOR) == said.err.count(SHOWS_CURSOR) == 1


async def take_one(stream: Any) -> None:
    async with stream as results:
        await anext(results)


async def see_it_end(stream: Any) -> None:
    with pytest.raises(AuthenticationError):
        async for _ in stream:
            pass


@pytest.mark.parametrize("end", [take_one, see_it_end])
async def test_a_bar_ends_with_its_stream(
    server: Server,
    make_client: MakeClient,
    in_terminal: None,
    capsys: pytest.CaptureFixture[str],
    end: Any,
) -> None:
    if end is see_it_end:
        server.handler = lambda _: Reply(401)
    async with make_client() as client:
        await end(client.workflow("ws", "wf").stream(repeat(picture(0)), progress=True))
        said = capsys.readouterr().err
        assert said.count(HIDES_CURSOR) == said.count(SHOWS_CURSOR) == 1
        await asyncio.sleep(0.3)
        assert capsys.readouterr().err == ""


async def test_a_bar_of_a_dropped_stream_ends_too(
    make_client: MakeClient, in_terminal: None, capsys: pytest.CaptureFixture[str]
) -> None:
    async with make_client() as client:
        streams = [client.workflow("ws", "wf").stream(repeat(picture(0)), progress=True)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            await anext(streams[0])
            streams.clear()
            gc.collect()
            await asyncio.sleep(0.01)
        said = capsys.readouterr().err
        assert said.count(HIDES_CURSOR) == said.count(SHOWS_CURSOR) == 1


async def test_two_bars_share_the_terminal(
    make_client: MakeClient, in_terminal: None, capsys: pytest.CaptureFixture[str]
) -> None:
    async with make_client() as client:
        workflow = client.workflow("ws", "wf")

        async def count(number: int) -> int:
            given = images()[:number]
            return len([one async for one in workflow.stream(given, progress=True)])

        assert await asyncio.gather(count(4), count(6)) == [4, 6]
    said = capsys.readouterr().err
    assert said.count(HIDES_CURSOR) == said.count(SHOWS_CURSOR) == 1
    assert "4/4" in said
    assert "6/6" in said


class Terminal(io.StringIO):
    """It may go away."""

    is_gone = False

    def write(self, text: str) -> int:
        if self.is_gone:
            raise BrokenPipeError(32, "Broken pipe")
        return super().write(text)

    def flush(self) -> None:
        self.write("")


@pytest.mark.parametrize("from_the", ["beginning", "first result"])
async def test_a_terminal_that_is_gone_does_not_stop_a_stream(
    make_client: MakeClient, in_terminal: None, monkeypatch: pytest.MonkeyPatch, from_the: str
) -> None:
    terminal = Terminal()
    terminal.is_gone = from_the == "beginning"
    monkeypatch.setattr(sys, "stderr", terminal)
    async with make_client() as client:
        done = 0
        async for _ in client.workflow("ws", "wf").stream(images(), progress=True):
            done += 1
            terminal.is_gone = True
    assert done == 6
    assert sys.stderr is terminal


async def test_without_a_terminal_the_last_state_is_a_line(
    make_client: MakeClient, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    async with make_client() as client:
        unknown = iter(images())
        stream = client.workflow("ws", "wf").stream(unknown, progress=True)
        assert len([result async for result in stream]) == 6
    said = capsys.readouterr().err
    assert "6, 1 failed, " in said
    assert "\x1b" not in said


async def test_a_bar_without_rich_names_the_extra(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never() -> Iterator[bytes]:
        raise AssertionError("read")
        yield b""

    monkeypatch.setitem(sys.modules, "rich.progress", None)
    async with make_client() as client:
        with pytest.raises(ConfigurationError, match=r"pip install 'roboflow-async\[cli\]'"):
            client.workflow("ws", "wf").stream(never(), progress=True)
        with pytest.raises(ConfigurationError, match="progress='yes' is neither True nor False"):
            client.model("pets/3").stream(never(), progress="yes")  # type: ignore[call-overload]


NOTEBOOK = [
    """
from roboflow_async import RoboflowClient
from roboflow_async.testing import StandInServer, draw_scene
import sys

sys.modules["rich.progress"] = None  # what a terminal needs
server = StandInServer(requests_per_second=None).__enter__()
client = RoboflowClient("key", api_url=server.url, requests_per_second=None)
""",
    """
scenes = [draw_scene(number).jpeg for number in range(12)]
async with client.workflow("ws", "wf").stream(scenes, progress=True) as stream:
    results = [result async for result in stream]
""",
    "results[0]",
    'await client.model("a/1").run(scenes[0])',
    "client.stats",
    "await client.aclose()\nserver.__exit__(None, None, None)",
]


def test_a_notebook_shows_a_bar_pictures_and_tables() -> None:
    """A notebook shows a bar that is written anew, pictures with boxes, and tables."""
    client: Any = pytest.importorskip("nbclient")
    format_: Any = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    cells = [format_.v4.new_code_cell(source) for source in NOTEBOOK]
    notebook = format_.v4.new_notebook(cells=cells)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Jupyter's own
        client.NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    [bar], [result], [model], [stats] = [cell.outputs for cell in cells[1:5]]
    assert "<progress value='12' max='12'></progress> 12/12, " in bar.data["text/html"]
    assert bar.data["text/plain"].startswith("12/12, ")
    page = result.data["text/html"]
    assert "<img src='data:image/jpeg;base64," in page
    assert ">shape</td>" in page
    assert result.data["text/plain"].startswith("<Result ")
    assert "ObjectDetection" in model.data["text/html"]
    assert "latency p50" in stats.data["text/html"]
