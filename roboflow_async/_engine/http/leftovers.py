"""What came after a response: its connection must not carry another request.

A server or proxy that sends a response twice, or longer than it says, would answer the next
request with what is left over: the result of another image.
"""

import ssl
from typing import Any

__all__ = ["end_if_more_came", "nothing_follows"]

# From the stream of a response of httpx, httpx2, httpcore or httpcore2 to its connection. None
# of them has a public way there.
_INWARDS = ("_stream", "_httpcore_stream", "_connection")


def nothing_follows(stream: object) -> bool | None:
    """Whether h11, which httpcore parses with, was given no more than this response.

    httpcore 1.0.9 keeps the rest, and takes it for the response to the next request.

    Args:
        stream: of a response that was read to its end.

    Returns:
        None where no h11 is found: another protocol, another library.
    """
    found: Any = stream
    while found is not None:
        state = getattr(found, "_h11_state", None)
        if state is not None:
            return not state.trailing_data[0]
        found = next((inner for name in _INWARDS if (inner := getattr(found, name, None))), None)
    return None


async def end_if_more_came(stream: object, network_stream: Any, *, reusable: bool) -> None:
    """Close the connection of an http_client's response if more came, or if it is not reusable.

    Its pool then finds that it is closed. Called before the pool gets it back, and gives it to
    whoever waits for one.

    Args:
        stream: the response's.
        network_stream: the response's extension of that name, or None.
        reusable: whether it may be used again for all that is known otherwise.
    """
    clean = nothing_follows(stream)
    if network_stream is None or clean is None:
        return  # HTTP/2 among others, whose connections carry many responses at once
    if not (reusable and clean) or _more_to_decrypt(network_stream):
        await network_stream.aclose()


def _more_to_decrypt(network_stream: Any) -> bool:
    """Whether TLS has more for us, which a look at the socket does not show.

    anyio decrypts in memory: what came with the response may lie there, unread.
    """
    tls = network_stream.get_extra_info("ssl_object")
    if not isinstance(tls, ssl.SSLObject):
        return False
    try:
        tls.read(1)
    except ssl.SSLWantReadError:
        return False
    except ssl.SSLError:  # it has ended
        return True
    return True
