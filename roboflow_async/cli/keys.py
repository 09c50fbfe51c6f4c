"""Reads the API key from a place that other users cannot read (`--api-key-file`)."""

import getpass
import os
import stat
import sys
from contextlib import suppress
from typing import Annotated, Any, BinaryIO, Final

import typer
from rich.console import Console

from roboflow_async import ConfigurationError

__all__ = ["APIKey", "APIKeyFile", "api_key_option", "read_key", "stderr"]


class _Messages(Console):
    """If nobody can read what a command says, its work goes on."""

    def print(self, *objects: Any, **options: Any) -> None:
        with suppress(OSError):  # a full disk, where stderr goes to a file
            super().print(*objects, **options)

    def on_broken_pipe(self) -> None:
        # Rich would end the program.
        self.quiet = True


stderr = _Messages(stderr=True, highlight=False)

_LARGEST: Final = 4096  # bytes; a key has 512 at most


def api_key_option(*names: str) -> Any:
    """The option for the key, by these names."""
    return typer.Option(
        *names,
        help="Default: ROBOFLOW_API_KEY. Not safe: all users of this machine see it in the list "
        "of processes. Safe: --api-key-file, the variable, or '-' for stdin.",
        show_default=False,
    )


APIKey = Annotated[str | None, api_key_option("--api-key")]
APIKeyFile = Annotated[
    str | None,
    typer.Option(
        "--api-key-file",
        help="A file that holds the key, or '-' for stdin. Safe: no list of processes shows it.",
        show_default=False,
    ),
]


def read_key(api_key: str | None, api_key_file: str | None, *, stdin: str = "") -> str | None:
    """The key from the options; None if neither is given.

    Args:
        api_key: the key itself, or "-" for stdin.
        api_key_file: a file, which may be a pipe, or "-" for stdin. A line end after the key is
            not part of it.
        stdin: what else is read from stdin, for an error; or "".

    Raises:
        ConfigurationError: both are given, or there is no key to read.
    """
    if api_key is not None and api_key_file is not None:
        raise ConfigurationError("give --api-key or --api-key-file, not both.")
    name = "--api-key" if api_key == "-" else "--api-key-file"
    if api_key_file is None and api_key != "-":
        return api_key
    if api_key_file not in (None, "-"):
        try:
            with open(api_key_file, "rb") as file:  # noqa: PTH123 - a text, as it was typed
                _warn_if_readable(file, api_key_file)
                return _key_in(file, f"{name} {api_key_file!r:.200}")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "the path is not valid"
            raise ConfigurationError(
                f"{name} {api_key_file!r:.200} cannot be read: {reason}."
            ) from None
    if stdin:
        raise ConfigurationError(
            f"{name} '-' reads the key from stdin, but {stdin} are read from there already: "
            "give the key in a file."
        )
    if sys.stdin.isatty():
        return getpass.getpass("API key: ")
    return _key_in(sys.stdin.buffer, f"{name} '-'")


def _key_in(file: BinaryIO, source: str) -> str:
    content = file.read(_LARGEST + 1)
    text = content.decode("utf-8", "replace").removeprefix("\ufeff")
    text = text.removesuffix("\n").removesuffix("\r")
    if not text or len(content) > _LARGEST:
        raise ConfigurationError(f"{source} holds no API key: give a file with only the key.")
    return text


def _warn_if_readable(file: BinaryIO, name: str) -> None:
    status = os.fstat(file.fileno())
    if os.name == "posix" and stat.S_ISREG(status.st_mode) and status.st_mode & stat.S_IROTH:
        stderr.print(
            f"warning: all users of this machine can read {name!r:.200}, which holds the API key: "
            "run chmod 600 on it.",
            style="yellow", markup=False, soft_wrap=True,
        )  # fmt: skip
