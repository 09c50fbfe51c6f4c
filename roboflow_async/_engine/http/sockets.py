"""Opens sockets: the fastest of a host's addresses, whichever kind it is."""

import asyncio
import select
import socket
from collections.abc import Callable
from typing import Any, Final

__all__ = ["is_readable", "open_socket", "readable_check"]

_NEXT_ADDRESS: Final = 0.25  # seconds: RFC 8305, section 5


async def open_socket(loop: asyncio.AbstractEventLoop, host: str, port: int) -> socket.socket:
    """A socket that is connected to the first of the host's addresses that accepts.

    Args:
        loop: the running one.
        host: a name, or an address (IPv6 without brackets).
        port: its port.

    Raises:
        OSError: there is none, or the name is not known (`socket.gaierror`).
    """
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:  # a label has more than 63 letters
        raise socket.gaierror(socket.EAI_NONAME, "not a host name") from None
    addresses: list[tuple[int, Any]] = [(family, address) for family, _, _, _, address in found]
    if len(addresses) == 1:
        return await _connect(loop, *addresses[0])
    other = next((one for one in addresses if one[0] != addresses[0][0]), addresses[1])
    addresses.remove(other)
    addresses.insert(1, other)
    return await _race(loop, addresses)


async def _race(loop: asyncio.AbstractEventLoop, addresses: list[tuple[int, Any]]) -> socket.socket:
    """Also try the next address if one does not respond for a moment (RFC 8305).

    A host may have an IPv6 address that does not work. (asyncio has this, too, but before 3.12.8 it
    fails with an eager task factory.)
    """
    errors: list[BaseException] = []
    running: set[asyncio.Task[socket.socket]] = set()
    try:
        while addresses or running:
            if addresses:
                running.add(loop.create_task(_connect(loop, *addresses.pop(0))))
            await asyncio.wait(
                running,
                timeout=_NEXT_ADDRESS if addresses else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in [task for task in running if task.done()]:
                running.remove(task)
                error = task.exception()
                if error is None:
                    return task.result()
                errors.append(error)
        raise errors[0]
    finally:
        errors.clear()  # their tracebacks hold this frame
        for task in running:
            task.add_done_callback(_close_loser)
            task.cancel()


def _close_loser(task: "asyncio.Task[socket.socket]") -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _connect(loop: asyncio.AbstractEventLoop, family: int, address: Any) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setblocking(False)  # noqa: FBT003 - its own interface
        await loop.sock_connect(opened, address)
    except BaseException:
        opened.close()
        raise
    return opened


def is_readable(connected: Any) -> bool:
    """Whether a socket has something to read (or its end), or is closed."""
    descriptor: int = connected.fileno()
    if descriptor < 0:
        return True
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([descriptor], [], [], 0)[0])
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def readable_check(connected: Any) -> Callable[[], bool]:
    """`is_readable` for a socket that is asked often. It must not be asked after it was closed."""
    if not hasattr(select, "poll"):  # Windows
        return lambda: is_readable(connected)
    poll = select.poll()
    poll.register(connected.fileno(), select.POLLIN)
    return lambda: bool(poll.poll(0))
