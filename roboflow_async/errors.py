"""Every error that this library raises, in one tree.

RoboflowError
├── ConfigurationError            a bad argument or environment; nothing was sent
├── ImageError                    an input that is missing, unreadable, not an image or too large
│   └── VideoError                a video that cannot be read, or whose rest is missing
├── QueueTimeoutError             waited longer than `queue_timeout` for a turn, or would have to
│   └── QueueFullError            `max_waiting` calls wait already
├── BudgetExceededError           the `budget` is used up; it was not sent, or not sent again
├── RateLimiterUnavailableError   the shared `limiter` cannot be reached
├── JournalError                  the `journal` of a stream cannot be written or read any more
├── DeploymentError               a Dedicated Deployment that cannot be used, or not be deleted
├── BatchError                    a batch job that cannot be used, or an input that it could not do
└── APIError                      something was sent
    ├── APIConnectionError        no connection, a reset, or closed before a whole response
    │   └── ClientClosedError     the client itself was closed
    ├── APITimeoutError           no complete response within `timeout`
    ├── ResponseError             a response, but not what was asked for
    └── APIStatusError            a response with an HTTP status of 300 or more
        ├── BadRequestError       400, 422
        ├── AuthenticationError   401, 403
        ├── UsageLimitError       402, 423
        ├── NotFoundError         404
        ├── PayloadTooLargeError  413
        ├── RateLimitError        429
        └── ServerError           500 to 599

No error ever holds the API key or a control character, so its text is safe to print to a terminal
or a log.
"""

import re
from typing import Any, Final, Literal

__all__ = [
    "FATAL_STATUS_CODES",
    "APIConnectionError",
    "APIError",
    "APIStatusError",
    "APITimeoutError",
    "AuthenticationError",
    "BadRequestError",
    "BatchError",
    "BudgetExceededError",
    "ClientClosedError",
    "ConfigurationError",
    "ConnectionFault",
    "DeploymentError",
    "ImageError",
    "JournalError",
    "NotFoundError",
    "PayloadTooLargeError",
    "QueueFullError",
    "QueueTimeoutError",
    "RateLimitError",
    "RateLimiterUnavailableError",
    "ResponseError",
    "RoboflowError",
    "ServerError",
    "UsageLimitError",
    "VideoError",
    "is_fatal",
    "plain_text",
    "status_error_class",
]


# Characters that end a line or move the cursor. A space replaces them, so that words stay apart.
_SPACES: Final = re.compile("[\t\n\v\f\r\x1c-\x1f\x85\u2028\u2029]+")
# Unicode's categories Cc (ESC, BEL, and the C1 controls, which terminals obey in UTF-8, too), Cf
# (marks that change the direction of text, and invisible ones) and Cs (surrogates, which UTF-8
# cannot hold).
_CONTROLS: Final = re.compile(
    "[\0-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f"
    "\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff0-\ufffb\U000110bd\U000110cd"
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def plain_text(text: str) -> str:
    """The text without its control characters; line ends become spaces."""
    if text.isprintable():  # nearly always
        return text
    return _CONTROLS.sub("", _SPACES.sub(" ", text))


class RoboflowError(Exception):
    """The base of every error that this library raises on purpose.

    Attributes:
        message: what happened and what to do about it, in one line of at most about 2,000
            characters.
    """

    def __init__(self, message: str) -> None:
        message = plain_text(message)
        super().__init__(message)
        self.message: str = message

    def reword(self, message: str) -> None:
        """Replace the message.

        Args:
            message: what it says instead.
        """
        self.message = plain_text(message)
        super().__init__(self.message, *self.args[1:])

    def __reduce__(self) -> tuple[Any, ...]:
        # The default calls `type(self)(*self.args)`, which the keyword-only fields below refuse;
        # errors cross process boundaries (multiprocessing, task queues), so they must pickle.
        return _rebuild, (type(self), self.args, self.__dict__.copy())


def _rebuild(
    cls: type[RoboflowError], args: tuple[Any, ...], state: dict[str, Any]
) -> RoboflowError:
    error = cls.__new__(cls, *args)
    error.__dict__.update(state)
    return error


class ConfigurationError(RoboflowError):
    """An argument or an environment variable is wrong. Nothing was sent."""


class ImageError(RoboflowError):
    """An input that cannot be sent: missing, unreadable, not an image, or too large."""


class VideoError(ImageError):
    """A video that cannot be read, or whose rest is missing: `roboflow_async.video` raises it.

    It comes after the frames that are there.

    Attributes:
        source: the path or URL (without passwords), or the name in `video.merge`.
        decoded: frames that could be decoded before.
        time: seconds, as the source tells it, of the last of them; None: there was none.
    """

    def __init__(
        self, message: str, *, source: str, decoded: int = 0, time: float | None = None
    ) -> None:
        super().__init__(message)
        self.source: str = plain_text(source)
        self.decoded = decoded
        self.time = time


class QueueTimeoutError(RoboflowError):
    """A call waited for its turn longer than `queue_timeout`, or would have to.

    Nothing was sent for it.

    Attributes:
        retry_after: seconds after which a turn is likely to be free.
    """

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class QueueFullError(QueueTimeoutError):
    """`max_waiting` calls wait for their turn already. Nothing was sent for this one."""


class BudgetExceededError(RoboflowError):
    """The client's `budget` is used up: nothing was sent, or nothing was sent again.

    Attributes:
        requests: how many are used, of this process or of all that share the budget.
        credits: how many are used, as far as responses told.
    """

    def __init__(self, message: str, *, requests: int, credits: float) -> None:  # noqa: A002 - what they are
        super().__init__(message)
        self.requests = requests
        self.credits = credits

    def after(self, error: "APIError") -> "BudgetExceededError":
        """The same for a call that was sent, and whose last attempt had this error.

        Args:
            error: that of the last attempt.
        """
        message = f"{self.message} The last attempt failed: {error.message}"
        return BudgetExceededError(message, requests=self.requests, credits=self.credits)


class RateLimiterUnavailableError(RoboflowError):
    """The limiter that is shared with other processes cannot be reached. Nothing was sent."""


class JournalError(RoboflowError):
    """The journal of a stream cannot be written or read any more: a full disk, for example.

    Nothing more is sent. What is in the journal is whole.

    Attributes:
        path: the journal.
        unwritten: how many results came that are not in it.
    """

    def __init__(self, message: str, *, path: str, unwritten: int = 0) -> None:
        super().__init__(message)
        self.path: str = plain_text(path)
        self.unwritten: int = unwritten


class DeploymentError(RoboflowError):
    """A Dedicated Deployment that cannot be used, or could not be deleted.

    Its name is taken, it failed or has ended, or it was not ready in time.

    Attributes:
        name: the deployment's name.
        status: what its API said of it last, such as "pending"; "unknown" if it said nothing.
    """

    def __init__(self, message: str, *, name: str, status: str) -> None:
        super().__init__(message)
        self.name: str = name
        self.status: str = plain_text(status)


class BatchError(RoboflowError):
    """A batch job that cannot be used, or an input of it that it could not do.

    The job failed, was not done in time, its name is taken, or another process uploads to it.

    Attributes:
        job_id: the job's id, which is its name.
        state: how it stands: "queued", "running", "succeeded" or "failed"; "unknown" if its API
            said nothing.
    """

    def __init__(self, message: str, *, job_id: str, state: str = "unknown") -> None:
        super().__init__(message)
        self.job_id: str = plain_text(job_id)
        self.state: str = plain_text(state)


class APIError(RoboflowError):
    """A call that failed after its request was sent.

    Attributes:
        attempts: HTTP requests that were sent for this call; each is metered by the API.
        credits: what the last of them costs, by its response's headers; None: they do not tell, or
            there was no response.
    """

    credits: float | None = None

    def __init__(self, message: str, *, attempts: int = 1) -> None:
        super().__init__(message)
        self.attempts = attempts


ConnectionFault = Literal["network", "certificate", "proxy_authentication", "host_name", "outage"]
"""Why there was no response; see `APIConnectionError.fault`."""


class APIConnectionError(APIError):
    """No connection, a reset, or a connection that was closed before a whole response.

    Attributes:
        fault: the reason. "network": another attempt may succeed; "certificate": the server's
            certificate is not trusted; "proxy_authentication": the proxy asks for a login (407);
            "host_name": the host's name is unknown; "outage": the API has failed for some time, and
            nothing is sent until it is back.
        retry_after: seconds after which another call makes sense, or None.
        was_kept_alive: whether an earlier request had used the connection, and it failed before any
            response: servers may close idle connections at any time.
    """

    def __init__(
        self,
        message: str,
        *,
        fault: ConnectionFault = "network",
        retry_after: float | None = None,
        was_kept_alive: bool = False,
        attempts: int = 1,
    ) -> None:
        super().__init__(message, attempts=attempts)
        self.fault: ConnectionFault = fault
        self.retry_after = retry_after
        self.was_kept_alive = was_kept_alive


class ClientClosedError(APIConnectionError, ConfigurationError):
    """The client was closed: make a new one, and keep it open while it is used.

    The same error for calls that are made later, that wait, and that are in flight. Code that
    catches either of its base classes catches it, too.
    """

    def __init__(self, message: str = "", *, attempts: int = 0) -> None:
        super().__init__(
            message or "this client is closed: make a new one, and keep it open while it is used.",
            attempts=attempts,
        )


class APITimeoutError(APIError):
    """No complete response within `timeout` seconds."""


class ResponseError(APIError):
    """The response is not what was asked for: not JSON, too large, or of the wrong shape.

    Attributes:
        status_code: the HTTP status of that response.
        request_id: the server's `X-Request-ID`, to quote to Roboflow's support.
        body: the start of the server's response as text, at most 500 characters.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        request_id: str | None = None,
        body: str = "",
        attempts: int = 1,
    ) -> None:
        super().__init__(message, attempts=attempts)
        self.status_code = status_code
        self.request_id: str | None = None if request_id is None else plain_text(request_id)
        self.body: str = plain_text(body)


class APIStatusError(APIError):
    """The response has an HTTP status of 300 or more.

    Attributes:
        status_code: the HTTP status.
        request_id: the server's `X-Request-ID`, to quote to Roboflow's support.
        retry_after: seconds that the server asked to wait (`Retry-After`), or None.
        body: the start of the server's response as text, at most 2,000 characters.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int,
        request_id: str | None = None,
        retry_after: float | None = None,
        body: str = "",
        attempts: int = 1,
    ) -> None:
        super().__init__(message, attempts=attempts)
        self.status_code = status_code
        self.request_id: str | None = None if request_id is None else plain_text(request_id)
        self.retry_after = retry_after
        self.body: str = plain_text(body)


class BadRequestError(APIStatusError):
    """400 or 422: the server refuses this input."""


class AuthenticationError(APIStatusError):
    """401 or 403: the API key is missing, wrong, or has no right to this Workflow or model."""


class UsageLimitError(APIStatusError):
    """402 or 423: credits are used up, or API usage is paused."""


class NotFoundError(APIStatusError):
    """404: no such workspace, Workflow or model."""


class PayloadTooLargeError(APIStatusError):
    """413: more than the API takes in one request (20 MB on the hosted API)."""


class RateLimitError(APIStatusError):
    """429: still over the rate limit when the time for this call was used up."""


class ServerError(APIStatusError):
    """500 to 599: the server failed."""


_BY_STATUS: Final[dict[int, type[APIStatusError]]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: UsageLimitError,
    403: AuthenticationError,
    404: NotFoundError,
    413: PayloadTooLargeError,
    422: BadRequestError,
    423: UsageLimitError,
    429: RateLimitError,
}

FATAL_STATUS_CODES: Final = frozenset({401, 402, 403, 404, 423})
"""Statuses that mean the same for every image of a stream: the stream ends at the first."""


def status_error_class(status_code: int) -> type[APIStatusError]:
    """The class of error for an HTTP status."""
    if 500 <= status_code <= 599:
        return ServerError
    return _BY_STATUS.get(status_code, APIStatusError)


def is_fatal(error: BaseException) -> bool:
    """Whether every further call to the same target would fail in the same way."""
    if isinstance(error, APIConnectionError):
        return error.fault != "network"
    if isinstance(error, APIStatusError):
        return error.status_code in FATAL_STATUS_CODES
    return isinstance(
        error,
        (ConfigurationError, RateLimiterUnavailableError, BudgetExceededError, JournalError),
    )
