"""A Ray of its own on loopback, which leaves nothing behind. Imported before Ray is."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# The second one is Ray's word for "listen on loopback alone".
os.environ.update(
    RAY_USAGE_STATS_ENABLED="0",
    RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",
    RAY_AUTH_MODE="token",
    RAY_AUTH_TOKEN=secrets.token_hex(16),
)

import psutil
import ray

__all__ = ["kill_one", "local_ray", "processes", "ray"]


def processes(name: str = "") -> list[psutil.Process]:
    """The processes of this cluster: all, or those that run an actor."""
    found: list[psutil.Process] = []
    for one in psutil.process_iter():
        with suppress(psutil.Error):
            is_ours = one.environ().get("RAY_AUTH_TOKEN") == os.environ["RAY_AUTH_TOKEN"]
            is_named = " ".join(one.cmdline()).startswith(f"ray::{name}") if name else True
            if is_ours and is_named and one.pid != os.getpid():
                found.append(one)
    return found


def kill_one(name: str) -> int:
    """Kill a process that runs such an actor, with -9; returns how many there were to kill."""
    found = processes(name)[:1]
    for one in found:
        one.kill()
    return len(found)


@contextmanager
def local_ray(cpus: int = 2) -> Iterator[Path]:
    """Run Ray while the block is entered; the block gets the folder in which it writes."""
    folder = tempfile.mkdtemp(prefix="ray")  # a short path: there are sockets in it
    try:
        ray.init(
            address="local",
            num_cpus=cpus,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
            object_store_memory=200_000_000,
            _temp_dir=folder,
        )
        ray.data.DataContext.get_current().enable_progress_bars = False
        yield Path(folder)
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
