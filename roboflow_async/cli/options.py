"""Options of several commands, and their exit codes."""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer

from roboflow_async import (
    AuthenticationError,
    ConfigurationError,
    NotFoundError,
    RoboflowClient,
    RoboflowError,
)
from roboflow_async._engine.jsonvalues import read_json_text
from roboflow_async._engine.settings import Settings
from roboflow_async._targets.workflows.requests import is_workflow_url, names_in_url
from roboflow_async.cli.keys import APIKey, APIKeyFile, read_key, stderr
from roboflow_async.errors import plain_text

__all__ = [
    "AUTHENTICATION",
    "DEFAULT_RPS",
    "FAILED",
    "NOT_FOUND",
    "SOME_FAILED",
    "STOPPED",
    "APIKey",
    "APIKeyFile",
    "Host",
    "JSONOutput",
    "PlatformURL",
    "Rps",
    "Seconds",
    "TransportOption",
    "connect",
    "errors_told",
    "interrupts_told",
    "parameters",
    "read_json",
    "stderr",
    "workflow_names",
]

Output = TypeVar("Output")

# The exit codes of Roboflow's own command line, and two more: 4 and 130.
FAILED: Final = 1
AUTHENTICATION: Final = 2
NOT_FOUND: Final = 3
SOME_FAILED: Final = 4
STOPPED: Final = 130

DEFAULT_RPS: Final = Settings.requests_per_second or 0.0

Host = Annotated[
    str | None,
    typer.Option("--host", help="The API's base URL. Default: ROBOFLOW_API_URL, else Roboflow's."),
]
PlatformURL = Annotated[
    str | None,
    typer.Option(help="The platform's base URL. Default: RF_API_BASE_URL, else the region's."),
]
Rps = Annotated[float, typer.Option("--rps", min=0, help="Requests per second; 0: no limit.")]
Seconds = Annotated[float, typer.Option("--timeout", help="Seconds for each request.")]
JSONOutput = Annotated[bool, typer.Option("--json", help="JSON for programs, to stdout.")]
TransportOption = Annotated[
    str, typer.Option("--transport", help="auto, httpx, aiohttp or httptools.")
]


def connect(
    api_key: str | None,
    host: str | None,
    *,
    rps: float = DEFAULT_RPS,
    concurrency: int | None = None,
    timeout: float = Settings.timeout,
    transport: str = Settings.transport,
    **more: Any,
) -> RoboflowClient:
    """Make the client from the options."""
    return RoboflowClient(
        api_key,
        api_url=host,
        requests_per_second=rps or None,
        max_concurrency=concurrency,
        timeout=timeout,
        transport=transport,  # type: ignore[arg-type] - checked by the client
        **more,
    )


def ask_platform(
    work: Callable[[RoboflowClient], Awaitable[Output]],
    api_key: str | None,
    api_key_file: str | None,
    platform_url: str | None,
    *,
    stdin: str = "",
) -> Output:
    """Do the work of a command that only asks the platform.

    Args:
        work: does it, with the client.
        api_key: the option.
        api_key_file: the option.
        platform_url: the option.
        stdin: what else is read from stdin, for an error; or "".
    """
    more: dict[str, Any] = {} if platform_url is None else {"platform_url": platform_url}
    client = connect(read_key(api_key, api_key_file, stdin=stdin), None, **more)

    async def main() -> Output:
        async with client:
            return await work(client)

    return asyncio.run(main())


@contextmanager
def interrupts_told(text: str) -> Generator[None]:
    """Say what Ctrl-C has left as it was, and exit with its code."""
    try:
        yield
    except KeyboardInterrupt:
        if text:
            stderr.print(f"\n{text}", soft_wrap=True, markup=False)
        raise typer.Exit(STOPPED) from None


@contextmanager
def errors_told() -> Generator[None]:
    """Print what went wrong to stderr, and exit with the error's code."""
    try:
        yield
    except RoboflowError as error:
        stderr.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        code = FAILED
        if isinstance(error, AuthenticationError):
            code = AUTHENTICATION
        elif isinstance(error, NotFoundError):
            code = NOT_FOUND
        raise typer.Exit(code) from None
    except OSError as error:  # from the files that are written: a full disk, no permission
        file = f": {error.filename!r:.200}" if error.filename is not None else ""
        said = f"error: {plain_text(error.strerror or type(error).__name__)}{file}."
        stderr.print(said, style="red", markup=False, soft_wrap=True)
        raise typer.Exit(FAILED) from None


def parameters(given: list[str], name: str = "--param") -> dict[str, Any]:
    """Parse `name=value` pairs; values are JSON if possible, else text."""
    found: dict[str, Any] = {}
    for pair in given:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise ConfigurationError(f"{name} {pair!r:.80} is not valid: give it as name=value.")
        try:
            found[key] = read_json_text(text)
        except (ValueError, RecursionError):
            found[key] = text
    return found


def workflow_names(text: str, name: str = "--workflow") -> tuple[str, str]:
    """The workspace and the Workflow in "WORKSPACE/ID", or in a URL of the app."""
    if is_workflow_url(text):
        return names_in_url(text)
    workspace, slash, workflow = text.partition("/")
    if not slash or not workspace or not workflow:
        raise ConfigurationError(
            f"{name} {text!r:.80} is not valid: give it as WORKSPACE/ID, or as the app's URL "
            "(https://app.roboflow.com/WORKSPACE/workflows/edit/ID)."
        )
    return workspace, workflow


def read_json(path: Path, name: str) -> Any:
    """Read a JSON file that an option names."""
    try:
        return read_json_text(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{name} {str(path)!r:.200} cannot be read: {error}.") from None
