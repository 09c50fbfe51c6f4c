"""How `serve` starts a stand-in, and lets it run until it is stopped."""

import signal
import threading
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from roboflow_async import ConfigurationError
from roboflow_async.cli.options import stderr

if TYPE_CHECKING:
    from roboflow_async.testing.server import RunningApp

__all__ = ["check_extra", "run_until_stopped", "starting"]


def check_extra() -> None:
    """Raise `ConfigurationError` if what the stand-ins need is missing."""
    if any(find_spec(name) is None for name in ("starlette", "uvicorn", "PIL", "scipy")):
        raise ConfigurationError("serve needs an extra: pip install 'roboflow-async[cli,testing]'.")


@contextmanager
def starting(host: str, port: int) -> Generator[list[warnings.WarningMessage]]:
    """While a stand-in is made; gives what it warns of.

    Raises:
        ConfigurationError: the port cannot be used.
    """
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            yield warned
    except OSError as error:
        what = f"port {port}" if host == "127.0.0.1" else f"port {port} of {host!r}"
        raise ConfigurationError(
            f"{what} cannot be used: {error.strerror}. Give another --port; 0: a free one."
        ) from None


def run_until_stopped(
    server: "RunningApp",
    warned: Sequence[warnings.WarningMessage],
    how_to_use: Callable[[str], str],
) -> None:
    """Serve until Ctrl-C, or until the process is told to end.

    Args:
        server: the stand-in.
        warned: what it warned of.
        how_to_use: what is said of it first, for its URL.
    """
    stopped = threading.Event()

    def stop(*_: object) -> None:
        stopped.set()

    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, stop)
    for one in warned:
        stderr.print(f"Warning: {one.message}", style="yellow", markup=False, soft_wrap=True)
    with server:
        # Lines to copy stay whole, however narrow the terminal is.
        stderr.print(how_to_use(server.url), soft_wrap=True, markup=False)
        stopped.wait()
