"""`demo`: the main job, run on the stand-in API without a key or a network."""

import asyncio
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from roboflow_async import Result, RoboflowClient, Stats, decode_image
from roboflow_async.cli.files import written_whole

if TYPE_CHECKING:
    from roboflow_async.testing import StandInServer

__all__ = ["demo"]

_console = Console()


def demo(
    images: Annotated[int, typer.Option(min=1, help="Pictures to draw and to process.")] = 200,
    rps: Annotated[float, typer.Option(min=0.1, help="Requests per second allowed.")] = 20,
    latency: Annotated[float, typer.Option(min=0, help="Seconds the API takes.")] = 0.3,
    output: Annotated[Path, typer.Option(help="Where one annotated picture goes.")] = Path(
        "demo.jpg"
    ),
) -> None:
    """Process a folder of drawn pictures with a Workflow on an embedded stand-in API."""
    if any(find_spec(name) is None for name in ("starlette", "uvicorn", "PIL", "scipy")):
        _console.print("The demo needs: pip install 'roboflow-async[cli,testing]'")
        raise typer.Exit(1)
    from roboflow_async.testing import StandInServer  # noqa: PLC0415 - an extra

    with (
        tempfile.TemporaryDirectory(prefix="roboflow-demo-") as name,
        StandInServer(requests_per_second=max(int(rps), 1), latency=latency) as server,
    ):
        pictures = _draw(Path(name), images)
        results, stats = asyncio.run(_process(pictures, rps, server.url))
        done = [result for result in results if result.ok]
        _console.print(_summary(len(results), len(done), rps, stats, server))
    if done:
        best = max(done, key=lambda result: result.output["count"])
        with written_whole(output) as file:
            file.write(decode_image(best.output["visualization"]))
        _console.print(f"{best.output['count']} shapes found in {best.input.name}: see {output}")
    if len(done) < images:
        raise typer.Exit(4)


def _draw(folder: Path, count: int) -> list[Path]:
    from roboflow_async.testing import draw_scene  # noqa: PLC0415 - an extra

    pictures = [folder / f"{seed:04}.jpg" for seed in range(count)]
    with _console.status(f"Drawing {count} pictures ..."):
        for seed, picture in enumerate(pictures):
            picture.write_bytes(draw_scene(seed).jpeg)
    return pictures


async def _process(
    pictures: list[Path], rps: float, url: str
) -> tuple[list[Result[Any, dict[str, Any]]], Stats]:
    results: list[Result[Any, dict[str, Any]]] = []
    async with RoboflowClient("demo", api_url=url, requests_per_second=rps) as client:
        workflow = client.workflow("demo", "shapes")
        with Progress(
            TextColumn("Running the Workflow"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            console=_console,
        ) as progress:
            task = progress.add_task("", total=len(pictures), speed="")
            async with workflow.stream(pictures) as stream:
                async for result in stream:
                    results.append(result)
                    speed = f"{client.stats.achieved_rps:.1f} of {rps:g} requests/s"
                    progress.update(task, advance=1, speed=speed)
        return results, client.stats


def _summary(count: int, done: int, rps: float, stats: Stats, server: "StandInServer") -> Table:
    reached = server.meter.requests_per_second()
    table = Table(title="Summary", show_header=False)
    table.add_row("images", str(count))
    table.add_row("lost", str(count - done))
    table.add_row("attempts (each is billed)", str(stats.attempts))
    table.add_row("rejected with 429", str(stats.rejected))
    table.add_row(
        "requests/s, seen at the server", f"{reached:.2f} ({reached / rps:.1%} of {rps:g})"
    )
    table.add_row("most in any rolling second", str(server.meter.busiest_second()))
    table.add_row("connections", str(server.meter.connections))
    for name in ("p50", "p75", "p90"):
        seconds = getattr(stats, f"latency_{name}")
        table.add_row(f"latency {name}", "-" if seconds is None else f"{seconds * 1000:.0f} ms")
    return table
