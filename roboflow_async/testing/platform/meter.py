"""Counts what the stand-in platform gets and does."""

from collections import Counter
from dataclasses import dataclass

from roboflow_async._engine.jsonvalues import JSONObject
from roboflow_async.testing.meter import Meter

__all__ = ["Notification", "PlatformMeter"]


@dataclass(frozen=True, slots=True)
class Notification:
    """One attempt to deliver a notification.

    Attributes:
        url: where it was sent.
        body: its JSON.
        status_code: the status of the receiver's response; 0: there was none.
    """

    url: str
    body: JSONObject
    status_code: int


class PlatformMeter(Meter):
    """Counts requests, uploads and notifications. The counts of `Meter` are of all requests.

    Attributes:
        endpoints: requests by method and path, such as "GET /list"; ids in paths are `*`.
        key_places: requests by where their key was: "header", "query", "body" or "none".
        stored: how often each file has arrived whole, by "batch/name".
        put_bytes: bytes of all uploads to signed URLs, also of those that failed.
        puts: uploads to signed URLs by HTTP status.
        keys_sent_to_storage: requests to signed URLs that carried an API key. A client has to
            leave it out.
        notifications: every attempt to deliver a notification.
    """

    def __init__(self) -> None:
        super().__init__()
        self.endpoints: Counter[str] = Counter()
        self.key_places: Counter[str] = Counter()
        self.stored: Counter[str] = Counter()
        self.puts: Counter[int] = Counter()
        self.put_bytes = 0
        self.keys_sent_to_storage = 0
        self.notifications: list[Notification] = []
