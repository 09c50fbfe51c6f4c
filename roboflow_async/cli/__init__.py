"""The terminal commands (extra `cli`). They use only the public surface."""

import typer

from roboflow_async.cli.demo import demo

__all__ = ["app"]

app = typer.Typer(
    help="Roboflow inference at the API's rate, losing nothing.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _commands() -> None:  # pyright: ignore[reportUnusedFunction] - makes `demo` a subcommand
    """Roboflow inference at the API's rate, losing nothing."""


app.command()(demo)
