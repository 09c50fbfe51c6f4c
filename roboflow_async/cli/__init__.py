"""The terminal commands (extra `cli`). They use only the public surface."""

import typer

from roboflow_async.cli.benchmark import benchmark_app
from roboflow_async.cli.demo import demo
from roboflow_async.cli.doctor import doctor
from roboflow_async.cli.run import run
from roboflow_async.cli.serve import serve

__all__ = ["app"]

app = typer.Typer(
    help="Roboflow inference at the API's rate, losing nothing.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _command in (run, serve, doctor, demo):
    app.command()(_command)
app.add_typer(benchmark_app, name="benchmark")
