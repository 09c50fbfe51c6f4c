"""Runs the stand-in API on loopback, in a thread of its own."""

import socket
import threading
import time
from types import TracebackType
from typing import Any, Self

import uvicorn

from roboflow_async.testing.app import make_app
from roboflow_async.testing.knobs import Fault, Knobs
from roboflow_async.testing.meter import Meter

__all__ = ["StandInServer"]


class StandInServer:
    """A stand-in for the Roboflow API.

        with StandInServer(requests_per_second=20, latency=0.3) as server:
            client = RoboflowClient(api_key="any", api_url=server.url)

    Args:
        port: to listen on; 0: a free one.
        **knobs: see `Knobs`; they can be changed while it runs: `server.knobs.latency = 1.0`.
    """

    def __init__(self, *, port: int = 0, **knobs: Any) -> None:
        self.knobs = Knobs(**knobs)
        self.meter = Meter()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind(("127.0.0.1", port))
        except OSError:
            self._socket.close()
            raise
        config = uvicorn.Config(
            make_app(self.knobs, self.meter),
            log_level="critical",
            lifespan="off",
            loop="asyncio",
            http="h11",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="roboflow stand-in", daemon=True)

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])

    @property
    def url(self) -> str:
        """The base URL, for `api_url=`."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def fail(
        self,
        name: str,
        *,
        share: float = 1.0,
        times: int | None = None,
        retry_after: str | None = None,
    ) -> None:
        """Let requests fail from now on; see `Fault`."""
        self.knobs.faults.append(
            Fault(name=name, share=share, times=times, retry_after=retry_after)
        )

    def start(self) -> None:
        """Start; returns when requests are taken."""
        self._thread.start()
        deadline = time.monotonic() + 10
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the stand-in API did not start")
            time.sleep(0.005)

    def stop(self) -> None:
        """Stop; returns when the port is free."""
        self._server.should_exit = True
        self._thread.join(timeout=10)
        self._socket.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
