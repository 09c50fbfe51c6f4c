"""`demo`: the main job on the stand-in API, beside what most people do today."""

import asyncio
import math
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from roboflow_async import ConfigurationError, Result, RoboflowClient, decode_image
from roboflow_async.cli.demo.picture import check_output, write_picture
from roboflow_async.cli.demo.ten_threads import run_ten_threads
from roboflow_async.cli.options import SOME_FAILED, errors_told

if TYPE_CHECKING:
    from roboflow_async.testing import Meter

__all__ = ["demo"]

_console = Console()
_NARROW: Final = 60  # columns
_SHORTEST_SPAN: Final = 1.0  # seconds; in less, the rate limit hardly shows

Advance = Callable[[], object]


@dataclass
class _Run:
    """One way to do the job, and what the server saw of it."""

    images: int
    done: int
    seconds: float
    meter: "Meter"
    results: list[Result[Path, dict[str, Any]]] = field(
        default_factory=list[Result[Path, dict[str, Any]]]
    )


def demo(
    images: Annotated[int, typer.Option(min=1, help="Pictures to draw and to process.")] = 120,
    rps: Annotated[float, typer.Option(min=0.1, help="Requests per second allowed.")] = 20,
    latency: Annotated[float, typer.Option(min=0, help="Seconds the API takes.")] = 0.1,
    output: Annotated[Path, typer.Option(help="Where one annotated picture goes.")] = Path(
        "demo.jpg"
    ),
    compare: Annotated[
        bool,
        typer.Option(help="Whether ten threads with a blocking client do the same job, too."),
    ] = True,
) -> None:
    """Run a Workflow on drawn pictures, with this library and with ten threads, and compare.

    An API of its own runs on this machine for it: no key, no account, no network.
    """
    with errors_told():
        if any(find_spec(name) is None for name in ("starlette", "uvicorn", "PIL", "scipy")):
            raise ConfigurationError(
                "the demo needs an extra: pip install 'roboflow-async[cli,testing]'."
            )
        check_output(output)
        with tempfile.TemporaryDirectory(prefix="roboflow-demo-") as name:
            pictures = _draw(Path(name), images)
            _console.print(
                f"An API that allows {rps:g} requests a second and takes {latency:g} s for each:",
                soft_wrap=True, highlight=False,
            )  # fmt: skip
            ours = _with_this_library(pictures, rps, latency)
            threads = _with_ten_threads(pictures, rps, latency) if compare else None
        _console.print(_summary(ours, threads, rps))
        found = [result for result in ours.results if result.ok]
        if found:
            best = max(found, key=lambda result: result.output["count"])
            write_picture(output, decode_image(best.output["visualization"]))
            _console.print(
                f"{best.output['count']} shapes found in {best.input.name}: see {output}",
                soft_wrap=True, highlight=False, markup=False,
            )  # fmt: skip
    if ours.done < images:
        raise typer.Exit(SOME_FAILED)


def _draw(folder: Path, count: int) -> list[Path]:
    from roboflow_async.testing import draw_scene  # noqa: PLC0415 - an extra

    pictures = [folder / f"{seed:04}.jpg" for seed in range(count)]
    with _console.status(f"Drawing {count} pictures ..."):
        for seed, picture in enumerate(pictures):
            picture.write_bytes(draw_scene(seed).jpeg)
    return pictures


def _with_this_library(pictures: Sequence[Path], rps: float, latency: float) -> _Run:
    with _served(rps, latency) as (url, meter), _progress("roboflow_async", pictures) as advance:
        began = time.monotonic()
        results = asyncio.run(_stream(pictures, rps, url, advance))
        done = sum(result.ok for result in results)
        seconds = time.monotonic() - began
        return _Run(len(pictures), done, seconds, meter, results)


async def _stream(
    pictures: Sequence[Path], rps: float, url: str, advance: Advance
) -> list[Result[Path, dict[str, Any]]]:
    results: list[Result[Path, dict[str, Any]]] = []
    async with (
        RoboflowClient("demo", api_url=url, requests_per_second=rps) as client,
        client.workflow("demo", "shapes").stream(pictures) as stream,
    ):
        async for result in stream:
            results.append(result)
            advance()
    return results


def _with_ten_threads(pictures: Sequence[Path], rps: float, latency: float) -> _Run:
    with _served(rps, latency) as (url, meter), _progress("ten threads", pictures) as advance:
        began = time.monotonic()
        done = run_ten_threads(pictures, url, advance)
        return _Run(len(pictures), done, time.monotonic() - began, meter)


@contextmanager
def _served(rps: float, latency: float) -> Generator[tuple[str, "Meter"]]:
    """The same API for each: nobody finds what the other has left of this second."""
    from roboflow_async.testing import StandInServer  # noqa: PLC0415 - an extra

    with StandInServer(requests_per_second=math.ceil(rps), latency=latency) as server:
        yield server.url, server.meter


@contextmanager
def _progress(name: str, pictures: Sequence[Path]) -> Generator[Advance]:
    columns = (
        TextColumn(f"{name:14}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.elapsed:.0f} s"),
    )  # fmt: skip
    with Progress(*columns, console=_console) as progress:
        task = progress.add_task("", total=len(pictures))
        yield lambda: progress.advance(task)


def _summary(ours: _Run, threads: _Run | None, rps: float) -> Table:
    runs = [ours] if threads is None else [ours, threads]
    is_narrow = _console.width < _NARROW
    table = Table(title="Summary", box=box.SIMPLE if is_narrow else box.HEAVY_HEAD)
    table.padding = 0 if is_narrow else (0, 1)
    table.add_column("", overflow="fold")
    names = ("async", "threads") if is_narrow else ("roboflow_async", "ten threads")
    for name in names[: len(runs)]:
        table.add_column(name, justify="right", min_width=len(name), overflow="fold")

    def row(name: str, value: Callable[[_Run], str]) -> None:
        table.add_row(name, *map(value, runs))

    row("images", lambda run: str(run.images))
    row("lost", lambda run: str(run.images - run.done))
    row("rejected with 429", lambda run: str(run.meter.rejected))
    row("requests billed", lambda run: str(run.meter.requests))
    row("seconds", lambda run: f"{run.seconds:.1f}")
    row("results/s, of the limit", lambda run: _rate(run, rps))
    row("most in any rolling second", lambda run: str(run.meter.busiest_second()))
    row("connections", lambda run: str(run.meter.connections))
    row("latency p50", lambda run: _latency(run, 0.5))
    row("latency p90", lambda run: _latency(run, 0.9))
    return table


def _rate(run: _Run, rps: float) -> str:
    """Results a second between the first request and the last, as the server saw them."""
    arrivals = run.meter.arrivals
    span = arrivals[-1] - arrivals[0] if arrivals else 0.0
    if span < _SHORTEST_SPAN:
        return "too short to tell"
    # The API lets no more through; a few hundredths more are the clock's, in a short run.
    rate = min(max(run.done - 1, 0) / span, rps)
    return f"{rate:.1f} ({rate / rps:.0%} of {rps:g})"


def _latency(run: _Run, share: float) -> str:
    """At most this long took this share of the requests, as the server saw them."""
    latencies = sorted(run.meter.latencies)
    if not latencies:
        return "-"
    return f"{latencies[min(int(share * len(latencies)), len(latencies) - 1)] * 1000:.0f} ms"
