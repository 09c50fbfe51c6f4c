"""Runs the stand-in API on loopback, in its own thread."""

import asyncio
import contextlib
import socket
import threading
import time
import warnings
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, cast

import uvicorn
from starlette.types import ASGIApp

from roboflow_async._engine.http.host_header import CheckedHost, is_loopback
from roboflow_async._engine.public_names import public_name_in
from roboflow_async.testing.app import make_app
from roboflow_async.testing.knobs import Fault, Knobs
from roboflow_async.testing.meter import Meter

__all__ = ["PromptServer", "RunningApp", "StandInServer"]


class PromptServer(uvicorn.Server):
    """Stops as soon as it is told to, and its requests have their responses.

    uvicorn looks ten times a second whether it should stop, and then waits as long again: a sixth
    of a second, for each test that has a server of its own.
    """

    _ticking: asyncio.Future[None] | None = None

    def stop(self) -> None:
        """Have it stop, from any thread."""
        self.should_exit = True
        ticking = self._ticking
        if ticking is not None:
            with contextlib.suppress(RuntimeError):  # its event loop has ended by itself
                ticking.get_loop().call_soon_threadsafe(ticking.cancel)

    async def main_loop(self) -> None:
        """Serve until it should stop."""
        self._ticking = asyncio.ensure_future(super().main_loop())
        try:
            await asyncio.wait({self._ticking})
        finally:
            self._ticking.cancel()
        if not self._ticking.cancelled():
            self._ticking.result()  # raises what it raised

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, which waits in steps of a tenth of a second, and for one at least."""
        for server in self.servers:
            server.close()
        for one in sockets or ():
            one.close()
        state = self.server_state
        for connection in list(state.connections):
            connection.shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.config.timeout_graceful_shutdown):
                while (state.connections or state.tasks) and not self.force_exit:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
        for task in state.tasks:
            task.cancel()
        if not self.force_exit:
            await self.lifespan.shutdown()


class RunningApp:
    """An ASGI application that is served in a thread of its own.

    Args:
        app: the application.
        port: the port to listen on; 0: a free one.
        host: the address to listen on.
        allowed_hosts: more names that the `Host` header may have.
        has_life: whether the application wants to know when the server starts and stops.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        port: int,
        host: str,
        allowed_hosts: Sequence[str],
        has_life: bool = False,
    ) -> None:
        host = host.strip("[]")
        is_private = is_loopback(host)
        if not is_private:
            warnings.warn(
                f"the stand-in API listens on {host!r}: every machine that reaches it can use it.",
                stacklevel=3,
            )
        self._socket = _listener(host, port)
        config = uvicorn.Config(
            CheckedHost(app, [host, *allowed_hosts], addresses=not is_private),
            log_level="critical",
            lifespan="on" if has_life else "off",
            loop="asyncio",
            http="h11",
            timeout_graceful_shutdown=1,
        )
        self._server = PromptServer(config)
        self._thread = threading.Thread(target=self._run, name="roboflow stand-in", daemon=True)
        self._lock = threading.Lock()  # either it starts before it is stopped, or not at all
        self._is_stopped = False

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])

    @property
    def url(self) -> str:
        """The base URL, for `api_url=`."""
        host, port = cast("tuple[str, int]", self._socket.getsockname()[:2])
        # "All addresses" is not an address to connect to, but loopback is one of them.
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def start(self) -> None:
        """Start, and return when requests are accepted."""
        with self._lock:
            if self._is_stopped:
                raise RuntimeError("the stand-in API was stopped; make a new one")
            self._thread.start()
        deadline = time.monotonic() + 10
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the stand-in API did not start")
            time.sleep(0.005)

    def stop(self) -> None:
        """Stop, and return when the port is free. It need not have started, and then never will."""
        with self._lock:
            self._is_stopped = True
        self._server.stop()
        if self._thread.is_alive():
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


@public_name_in("roboflow_async.testing")
class StandInServer(RunningApp):
    """A stand-in for the Roboflow API.

        with StandInServer(requests_per_second=20, latency=0.3) as server:
            client = RoboflowClient(api_key="any", api_url=server.url)

    It listens only on this machine, and only responds if a request's `Host` header names it, so
    that web pages in a browser cannot use it.

    Args:
        port: the port to listen on; 0: a free one.
        host: the address to listen on. With any other than loopback, every machine that reaches it
            can use it, and a warning says so; "0.0.0.0" or "::" means all addresses.
        allowed_hosts: more names that the `Host` header may have: the names that other machines use
            for this one.
        **knobs: see `Knobs`; they can be changed while it runs: `server.knobs.latency = 1.0`.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        allowed_hosts: Sequence[str] = (),
        **knobs: Any,
    ) -> None:
        self.knobs: Knobs = Knobs(**knobs)
        self.meter: Meter = Meter()
        app = make_app(self.knobs, self.meter)
        super().__init__(app, port=port, host=host, allowed_hosts=allowed_hosts)

    def fail(
        self,
        name: str,
        *,
        share: float = 1.0,
        times: int | None = None,
        retry_after: str | None = None,
    ) -> None:
        """Make requests fail from now on; see `Fault`.

        Args:
            name: one of `FAULTS`.
            share: of the requests, 0 to 1.
            times: how often at most; None: always.
            retry_after: the `Retry-After` of its responses, or None.
        """
        self.knobs.faults.append(
            Fault(name=name, share=share, times=times, retry_after=retry_after)
        )


def _listener(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    # With its protocol named (TCP, not 0), asyncio sets TCP_NODELAY on each connection. Without
    # that, the second piece of a small response would wait some 40 ms for the client's ACK.
    listener = socket.socket(family, kind, protocol or socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener
