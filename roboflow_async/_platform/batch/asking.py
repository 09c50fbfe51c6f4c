"""Asks for something that must not be done twice, where the response may be lost."""

import asyncio
from collections.abc import Awaitable, Callable

from roboflow_async._engine.calls.retry import full_jitter_wait
from roboflow_async._engine.settings import RetryPolicy
from roboflow_async.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    RateLimitError,
    ServerError,
    is_fatal,
)

__all__ = ["ask_until_done"]


async def ask_until_done(
    ask: Callable[[], Awaitable[None]],
    is_done: Callable[[], Awaitable[bool]],
    policy: RetryPolicy,
) -> None:
    """Ask once. If it is not known whether that was heard, look, and only then ask again.

    Nobody has confirmed that asking twice does no harm.

    Args:
        ask: sends one request.
        is_done: looks whether it was heard.
        policy: how often it is asked.

    Raises:
        APIError: it was refused, or is still not done after the last attempt.
    """
    attempt = 0
    while True:
        attempt += 1
        try:
            await ask()
            return
        except APIError as error:
            is_conflict = _has_status(error, 409)
            if not (is_conflict or _may_have_been_heard(error)):
                raise
            failure = error
        try:
            # Outside of the handler, so that the first error is not behind each later one.
            if await is_done():
                return
            if is_conflict or attempt >= policy.max_attempts:
                raise failure
        finally:
            del failure  # its traceback holds this frame
        await asyncio.sleep(full_jitter_wait(attempt, policy))


def _may_have_been_heard(error: APIError) -> bool:
    passing = (APIConnectionError, APITimeoutError, RateLimitError, ServerError)
    return not is_fatal(error) and (isinstance(error, passing) or _has_status(error, 408))


def _has_status(error: APIError, status_code: int) -> bool:
    return isinstance(error, APIStatusError) and error.status_code == status_code
