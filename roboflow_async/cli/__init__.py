"""The terminal commands (extra `cli`). They use only the public surface."""

import os
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from roboflow_async.cli.batch import batch_app
from roboflow_async.cli.benchmark import benchmark_app
from roboflow_async.cli.demo import demo
from roboflow_async.cli.deployments import deployments_app
from roboflow_async.cli.doctor import doctor
from roboflow_async.cli.plan import plan
from roboflow_async.cli.run import run
from roboflow_async.cli.serve import serve
from roboflow_async.cli.typegen import typegen
from roboflow_async.errors import plain_text

__all__ = ["app", "main"]

app = typer.Typer(
    help="Roboflow inference at the API's rate, without lost images.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        print(f"roboflow-async {version('roboflow-async')}")
        raise typer.Exit


@app.callback()
def _options(  # pyright: ignore[reportUnusedFunction] - typer calls it
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            "-V",
            callback=_tell_version,
            is_eager=True,
            help="Show the version, and exit.",
        ),
    ] = False,
) -> None:
    """Roboflow inference at the API's rate, without lost images."""


for _command in (run, plan, typegen, serve, doctor, demo):
    app.command()(_command)
app.add_typer(benchmark_app, name="benchmark")
app.add_typer(batch_app, name="batch")
app.add_typer(deployments_app, name="deployments")


def main() -> int:
    """Run the command line, and return its exit code."""
    try:
        return app(standalone_mode=False) or 0
    except typer.Abort:
        return 1
    except Exception as error:
        # A usage error from typer would end with 2, which here means a wrong API key.
        show = getattr(error, "show", None)
        if show is None:
            raise
        show()
        for argument in sys.argv[1:]:
            # A shell's *.jpg gives it, and the error above names its first letter alone.
            if argument.startswith("-") and len(argument) > 1 and os.path.lexists(argument):
                name = plain_text(argument)
                print(
                    f"{name!r:.200} is a file: write ./{name:.200}, or ./* for all.",
                    file=sys.stderr,
                )
                break
        return 1
