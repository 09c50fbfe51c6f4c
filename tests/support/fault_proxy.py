"""A TCP proxy that spoils what passes through it, in plain asyncio: seeded and scriptable."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from support.tcp_server import TCPServer


@dataclass
class Faults:
    """What goes wrong between a client and its server; may be changed while the proxy runs.

    Args:
        jitter: seconds; what the client sends after a silence is held up by 0 to this many.
        reset_share: the share of those sendings at which the connection is reset instead.
        blackhole: nothing passes in either direction; connections stay open.
        released: what the client sends waits until this is set.
        close_idle_after: seconds of silence after which the server's side closes, as a server
            does with its keep-alive connections.
    """

    jitter: float = 0.0
    reset_share: float = 0.0
    blackhole: bool = False
    released: asyncio.Event = field(default_factory=asyncio.Event)
    close_idle_after: float | None = None


class FaultProxy(TCPServer):
    """Passes connections on to a server while it is entered."""

    def __init__(self, upstream: Callable[[], int], seed: int = 0) -> None:
        super().__init__()
        self.faults = Faults()
        self.faults.released.set()
        self.connections = 0
        self.resets = 0
        self._upstream = upstream
        self._chance = random.Random(seed)
        self._unanswered: set[asyncio.StreamWriter] = set()

    async def _served(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        there: asyncio.StreamWriter | None = None
        try:
            back, there = await asyncio.open_connection("127.0.0.1", self._upstream())
            up = asyncio.ensure_future(self._pass_up(reader, there, writer))
            down = asyncio.ensure_future(self._pass_down(back, writer))
            try:
                await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for direction in (up, down):
                    direction.cancel()
                await asyncio.gather(up, down, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._unanswered.discard(writer)
            for end in (writer, there):
                if end is not None:
                    end.close()

    async def _pass_up(
        self,
        reader: asyncio.StreamReader,
        there: asyncio.StreamWriter,
        client: asyncio.StreamWriter,
    ) -> None:
        while True:
            try:
                async with asyncio.timeout(self.faults.close_idle_after):
                    data = await reader.read(2**20)
            except TimeoutError:
                if client in self._unanswered:
                    continue
                return
            if not data:
                return
            if self._chance.random() < self.faults.reset_share:
                self.resets += 1
                client.transport.abort()
                return
            if self.faults.jitter:
                await asyncio.sleep(self._chance.uniform(0, self.faults.jitter))
            await self.faults.released.wait()
            self._unanswered.add(client)
            if not self.faults.blackhole:
                there.write(data)
                await there.drain()

    async def _pass_down(self, back: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await back.read(2**20):
            self._unanswered.discard(writer)
            if not self.faults.blackhole:
                writer.write(data)
                await writer.drain()
