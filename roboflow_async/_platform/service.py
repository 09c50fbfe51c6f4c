"""Asks one service of Roboflow's platform, with the key where that service reads it."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Literal, TypeVar

import httpx

from roboflow_async._engine.api.api_key import KeyPlacement
from roboflow_async._engine.api.requests import PreparedRequest
from roboflow_async._engine.api.responses import Response
from roboflow_async._engine.checks import forget_locals
from roboflow_async._engine.runtime import Engine
from roboflow_async._engine.settings import Settings
from roboflow_async._engine.unclosed import Reminder
from roboflow_async.errors import (
    APIStatusError,
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
)

__all__ = ["READ", "REQUESTS_PER_SECOND", "TRIGGER", "PlatformService", "service_settings"]

Output = TypeVar("Output")

REQUESTS_PER_SECOND: Final = 5.0
"""The pace of each service. They list and steer, so few requests are enough; nobody knows what
they allow, and the rate limit of inferences says nothing about it."""

READ: Final = "batch-processing:read"
TRIGGER: Final = "batch-processing:trigger"
"""What a key has to be allowed to do, for Batch Processing."""

_TIMEOUT: Final = 60.0  # seconds, as in Roboflow's own clients: some of it is slow
_CONCURRENCY: Final = 16
_NAMES_THE_KEY: Final = re.compile(r"api.?key", re.IGNORECASE)


def service_settings(settings: Settings, url: str) -> Settings:
    """A client's settings for a service of the platform at this URL.

    The pace is the service's own, and a limit for waiting calls of inferences does not count.
    """
    return replace(
        settings,
        api_url=url,
        api_key_transport="header",
        requests_per_second=REQUESTS_PER_SECOND,
        max_concurrency=min(settings.max_concurrency, _CONCURRENCY),
        timeout=max(settings.timeout, _TIMEOUT),
        limiter=None,
        budget=None,
        queue_timeout=None,
        max_waiting=None,
        adaptive_concurrency=False,  # at this pace nothing queues
    )


class PlatformService:
    """Sends calls to one service.

    The key goes into the header. If the service does not find it there, it is sent once more in the
    other place, and the place that works is remembered.

    Args:
        settings: made by `service_settings`.
        other_place: where the key goes if the header is not read. "body": into the JSON of a POST,
            and into the query of a GET.
        reminder: warns if it is never closed; None: nobody does.
    """

    def __init__(
        self,
        settings: Settings,
        other_place: Literal["query", "body"],
        reminder: Reminder | None = None,
    ) -> None:
        self._settings = settings
        self._reminder = reminder
        self._other_place: Literal["query", "body"] = other_place
        self._engines: dict[str, Engine] = {}
        self._place: Literal["header", "query", "body"] = "header"
        self._tried: set[str] = {"header"}
        self._is_settled = False
        self._is_closed = False

    @property
    def url(self) -> httpx.URL:
        """The service's base URL."""
        return httpx.URL(self._settings.api_url)

    async def call(
        self,
        build: Callable[[KeyPlacement], PreparedRequest],
        parse: Callable[[Response], Output],
        *,
        retry: bool = True,
        scope: str | None = None,
    ) -> Output:
        """Make a call.

        Args:
            build: makes the request for a place of the key.
            parse: makes the output from a response.
            retry: False: there is only one attempt.
            scope: what the key has to be allowed to do, for errors.

        Raises:
            APIError: as any call does.
        """
        place = self._place
        try:
            return await self._call(place, build, parse, retry=retry)
        except APIStatusError as error:
            # While this call was under way, another one may have found the place.
            is_settled = self._is_settled and place == self._place
            if is_settled or not _may_be_the_place(error):
                raise _explained(error, self._tried, scope) from None
        # Sent outside of the handler, so that the first error is not behind each later one.
        other = self._place if self._is_settled else self._other_place
        self._tried.add(other)
        try:
            output = await self._call(other, build, parse, retry=retry)
        except APIStatusError as error:
            # A 401 in both places means that the key is wrong. Later calls do not try both again.
            self._is_settled = True
            if not _may_be_the_place(error):
                self._place = other
            raise _explained(error, self._tried, scope) from None
        self._place, self._is_settled = other, True
        return output

    async def _call(
        self,
        place: Literal["header", "query", "body"],
        build: Callable[[KeyPlacement], PreparedRequest],
        parse: Callable[[Response], Output],
        *,
        retry: bool,
    ) -> Output:
        engine = self._engine(place)
        return await engine.call(build(engine.key), parse, retry=retry)

    def _engine(self, place: Literal["header", "query", "body"]) -> Engine:
        if self._is_closed:
            raise ClientClosedError
        if place == "query" and self._settings.http_client is not None:
            raise ConfigurationError(
                f"{self.url.host} reads the API key only from the query, and httpx logs the URLs "
                "of its clients, so it is not sent with http_client=: make a client without one "
                "for this."
            )
        if place not in self._engines:
            # Made only when needed, because reading the certificates takes 20 ms. All share one
            # pace.
            others = list(self._engines.values())
            limiter = others[0].pacer if others else None
            settings = replace(self._settings, api_key_transport=place, limiter=limiter)
            try:
                self._engines[place] = Engine(settings, self._reminder)
            except BaseException as error:
                forget_locals(error)
                raise
        return self._engines[place]

    async def aclose(self) -> None:
        """Close every connection to the service."""
        self._is_closed = True
        for engine in self._engines.values():
            await engine.aclose()


def _may_be_the_place(error: APIStatusError) -> bool:
    """Whether the service may not have found the key where it was."""
    if error.status_code == 401:
        return True
    # A field that is missing is a 400 or a 422.
    return error.status_code in (400, 422) and bool(_NAMES_THE_KEY.search(error.body))


def _explained(error: APIStatusError, places: set[str], scope: str | None) -> APIStatusError:
    """The error, with what to do about the key."""
    if not isinstance(error, AuthenticationError):
        return error
    # The engine's advice is about inference servers.
    message = error.message.partition(" (the API key was ")[0]
    where = {"header": "the header", "query": "the query", "body": "the body or the query"}
    tried = " and then in ".join(text for place, text in where.items() if place in places)
    needed = f"; it needs the scope {scope}" if scope is not None else ""
    error.reword(f"{message} (the API key was sent in {tried}{needed}).")
    return error
