"""The page of the commands, from the commands: where a page says `%commands%`."""

from typing import Any

import typer.main
from sphinx.application import Sphinx
from typer.cli import get_docs_for_click

from roboflow_async.cli import app as commands

PLACE = "%commands%"


def commands_page() -> str:
    """What Typer writes about each command, in Markdown, without its first heading."""
    command = typer.main.get_command(commands)
    context = typer.Context(command)  # type: ignore[arg-type]
    page = get_docs_for_click(obj=command, ctx=context, name="roboflow-async")
    # The text for a terminal is escaped as if it were HTML.
    for written, meant in (("&#x27;", "'"), ("&gt;", ">"), ("&lt;", "<"), ("&quot;", '"')):
        page = page.replace(written, meant)
    page = page.replace("```console\n$ ", "```console\n")  # to be copied as it is
    return page.partition("## ")[1] + page.partition("## ")[2]


def _fill(_app: Sphinx, _page: str, source: list[str]) -> None:
    if PLACE in source[0]:
        source[0] = source[0].replace(PLACE, commands_page())


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("source-read", _fill)
    return {"parallel_read_safe": True}
