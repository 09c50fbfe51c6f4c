"""A server in a process of its own, and what a process has used so far."""

import multiprocessing
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

__all__ = ["peak_memory_mb", "server_process"]


@contextmanager
def server_process(serve: Callable[..., None], *arguments: Any) -> Iterator[tuple[Any, Connection]]:
    """Run `serve(pipe, *arguments)` in a process of its own, which ends with the block.

    The first thing that `serve` sends is where it listens: that, and our end of the pipe, are what
    the block gets. They must be picklable, since the process begins with nothing (spawn).
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, *arguments), daemon=True)
    process.start()
    theirs.close()  # else the end of the process would not be seen here
    try:
        yield ours.recv(), ours
    finally:
        process.terminate()
        process.join()


def peak_memory_mb() -> float:
    """The most memory that this process has had, in MB (of 2**20 bytes)."""
    status = Path("/proc/self/status")
    if status.exists():
        # ru_maxrss would begin with what the parent had when it forked.
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 / (1024 if sys.platform == "darwin" else 1)
