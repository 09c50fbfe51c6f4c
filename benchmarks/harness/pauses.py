"""How long an event loop stands still."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Pauses:
    """What a timer of a millisecond met, again and again.

    Attributes:
        late: seconds that it was late.
        worked: how many of them its thread worked, at most. For the others it waited for a core, or
            for the interpreter lock: on a busy machine, or one with few cores.
    """

    late: list[float] = field(default_factory=list[float])
    worked: list[float] = field(default_factory=list[float])

    def clear(self) -> None:
        """Forget what was so far."""
        self.late.clear()
        self.worked.clear()


@asynccontextmanager
async def pauses() -> AsyncIterator[Pauses]:
    """Notes the pauses of this event loop."""
    noted = Pauses()

    async def watch() -> None:
        while True:
            began, work = time.perf_counter(), time.thread_time()
            await asyncio.sleep(0.001)
            late = time.perf_counter() - began - 0.001
            noted.late.append(late)
            noted.worked.append(min(late, time.thread_time() - work))

    watching = asyncio.create_task(watch())
    try:
        yield noted
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
