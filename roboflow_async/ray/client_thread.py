"""A client on an event loop of its own, in a thread of its own, for programs that have no loop."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any, Final, TypeVar

from roboflow_async import RoboflowClient

__all__ = ["ClientThread"]

Output = TypeVar("Output")

_LONGEST_CLOSE: Final = 5.0  # seconds


class ClientThread:
    """Keeps one client open for all threads of a process. It starts at the first use.

    Args:
        make: makes the client.
    """

    def __init__(self, make: Callable[[], RoboflowClient]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._client: RoboflowClient | None = None

    def client(self) -> RoboflowClient:
        """The client, to be used within `run`."""
        with self._lock:
            if self._client is None:
                self._client = self._make()
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=_serve, args=(self._loop,), name="roboflow-async", daemon=True
                )
                self._thread.start()
            return self._client

    def run(self, work: Coroutine[Any, Any, Output]) -> Output:
        """Run on the client's loop, and wait for it; what it raises is raised here."""
        assert self._loop is not None, "client() has started it"
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            # Ctrl-C in this thread, for example. (After the end of the work, nothing happens.)
            future.cancel()
            raise

    def close(self) -> None:
        """Close the client and end the thread; from any other thread, any number of times."""
        with self._lock:
            loop, thread, client = self._loop, self._thread, self._client
            self._loop = self._thread = self._client = None
        if loop is None or thread is None or client is None or loop.is_closed():
            return
        closing = asyncio.run_coroutine_threadsafe(client.aclose(), loop)
        with suppress(TimeoutError, CancelledError):
            closing.result(_LONGEST_CLOSE)
        with suppress(RuntimeError):  # it has ended meanwhile
            loop.call_soon_threadsafe(loop.stop)
        thread.join(_LONGEST_CLOSE)


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
