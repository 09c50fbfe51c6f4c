"""A server on loopback that is plain asyncio: it begins, takes connections, and ends with them."""

import asyncio
import ssl
from abc import ABC, abstractmethod
from typing import Self


class TCPServer(ABC):
    """Serves while it is entered."""

    scheme = "http"
    tls: ssl.SSLContext | None = None

    def __init__(self, port: int = 0) -> None:
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self._port}"

    @abstractmethod
    async def _served(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, and close it."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._connected, "127.0.0.1", self._port, limit=2**20, ssl=self.tls
        )
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Refuse connections, and end those that there are."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._served(reader, writer)
        except asyncio.CancelledError:
            pass  # by `close`; asyncio's streams would log it as an error
        finally:
            self._tasks.discard(task)
