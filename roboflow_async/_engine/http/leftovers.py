"""Detects data after a response: its connection must not carry another request.

If a server or proxy sends a response twice, or more than it announced, the rest would be taken for
the response to the next request: the result of another image.
"""

import ssl
from typing import Any

__all__ = ["end_if_more_came", "nothing_follows"]

# The attributes that lead from a response's stream to its connection in httpx, httpx2, httpcore and
# httpcore2. None of them has a public way.
_INWARDS = ("_stream", "_httpcore_stream", "_connection")


def nothing_follows(stream: object) -> bool | None:
    """Whether h11, httpcore's parser, got nothing after this response.

    httpcore 1.0.9 keeps the rest, and takes it for the response to the next request.

    Args:
        stream: the stream of a response that was read to its end.

    Returns:
        True or False; None if there is no h11, because the protocol or the library is another one.
    """
    found: Any = stream
    while found is not None:
        state = getattr(found, "_h11_state", None)
        if state is not None:
            return not state.trailing_data[0]
        found = next((inner for name in _INWARDS if (inner := getattr(found, name, None))), None)
    return None


async def end_if_more_came(stream: object, network_stream: Any, *, reusable: bool) -> None:
    """Close the connection of an http_client's response if more data came or it is not reusable.

    The pool then sees that it is closed. This is called before the pool gets it back and gives it
    to another request.

    Args:
        stream: the response's.
        network_stream: the response's extension of that name, or None.
        reusable: whether it may be used again by all other signs.
    """
    clean = nothing_follows(stream)
    if network_stream is None or clean is None:
        return  # HTTP/2 among others, whose connections carry many responses at once
    if not (reusable and clean) or _more_to_decrypt(network_stream):
        await network_stream.aclose()


def _more_to_decrypt(network_stream: Any) -> bool:
    """Whether TLS has more data for us, which the socket does not show.

    anyio decrypts in memory, so data that came with the response may still be unread there.
    """
    tls = network_stream.get_extra_info("ssl_object")
    if not isinstance(tls, ssl.SSLObject):
        return False
    try:
        tls.read(1)
    except ssl.SSLWantReadError:
        return False
    except ssl.SSLError:  # TLS has ended
        return True
    return True
