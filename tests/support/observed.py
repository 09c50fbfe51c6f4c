"""What a server was sent, and the sockets that are open to it."""

import asyncio
import base64
import hashlib

import psutil
from support.loopback import Server


def sent_hash(image: bytes) -> str:
    return hashlib.sha256(base64.b64encode(image)).hexdigest()


def sockets_to(server: Server) -> int:
    """Our sockets that are connected to that server."""
    return sockets_to_port(int(server.url.rsplit(":", 1)[1]))


async def no_sockets(server: Server, count: int = 0) -> None:
    """Wait until no more than so many are open."""
    async with asyncio.timeout(30):
        while sockets_to(server) > count:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def sockets_to_port(port: int) -> int:
    """Our sockets that are connected to it."""
    connections = psutil.Process().net_connections("tcp")
    return sum(1 for one in connections if one.raddr and one.raddr.port == port)
