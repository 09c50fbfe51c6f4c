"""Keeps API keys out of other libraries' logs."""

import logging
from typing import Final

__all__ = ["keep_out_of_logs"]

# httpcore logs every response header at DEBUG. A server that redirects names the URL it was asked
# for there, with the key if the key had to go into the query. httpx logs the URLs of an
# http_client at INFO: where the key is in the body, that of a GET is in its query.
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
    """Drops the records that hold one of the keys."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        return not any(key in message for key in self.keys)


_filter: Final = _WithoutKeys()


def keep_out_of_logs(keys: set[str]) -> None:
    """From now on, drop what those libraries would log with one of these in it."""
    _filter.keys |= keys
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_filter)  # the same filter again changes nothing
