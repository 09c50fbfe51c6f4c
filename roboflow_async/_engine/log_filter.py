"""Keeps API keys out of other libraries' logs."""

import logging
from typing import Final

__all__ = ["keep_out_of_logs"]

# httpcore logs every response header at DEBUG. In a redirect, a header may repeat the requested
# URL, with the key if it was in the query. httpx logs the URLs of an http_client at INFO; a GET has
# the key in its URL even when other requests have it in the body.
_LOGGERS: Final = (
    "httpcore.http11",
    "httpcore.http2",
    "httpcore.proxy",
    "httpcore.connection",
    "httpx",
    "httpcore2.http11",
    "httpcore2.http2",
    "httpcore2.proxy",
    "httpcore2.connection",
    "httpx2",
    "aiohttp.client",
)


class _WithoutKeys(logging.Filter):
    """Drops log records that hold one of the keys."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        return not any(key in message for key in self.keys)


_filter: Final = _WithoutKeys()


def keep_out_of_logs(keys: set[str]) -> None:
    """Drop all later log records of those libraries that hold one of these keys."""
    _filter.keys |= keys
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_filter)  # adding the same filter again changes nothing
