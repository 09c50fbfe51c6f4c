"""The error tree."""

import base64
import inspect
import pickle
from typing import Any

import pytest
from conftest import JPEG, MakeClient
from support.loopback import Reply, Server, hang, reset

import roboflow_async
from roboflow_async import RetryPolicy, errors

TREE = {
    "RoboflowError": "Exception",
    "ConfigurationError": "RoboflowError",
    "ImageError": "RoboflowError",
    "VideoError": "ImageError",
    "QueueTimeoutError": "RoboflowError",
    "QueueFullError": "QueueTimeoutError",
    "BudgetExceededError": "RoboflowError",
    "RateLimiterUnavailableError": "RoboflowError",
    "JournalError": "RoboflowError",
    "DeploymentError": "RoboflowError",
    "BatchError": "RoboflowError",
    "APIError": "RoboflowError",
    "APIConnectionError": "APIError",
    "ClientClosedError": "APIConnectionError",
    "APITimeoutError": "APIError",
    "ResponseError": "APIError",
    "APIStatusError": "APIError",
    "BadRequestError": "APIStatusError",
    "AuthenticationError": "APIStatusError",
    "UsageLimitError": "APIStatusError",
    "NotFoundError": "APIStatusError",
    "PayloadTooLargeError": "APIStatusError",
    "RateLimitError": "APIStatusError",
    "ServerError": "APIStatusError",
}


def test_the_tree_is_the_documented_one() -> None:
    classes = {
        name: cls.__bases__[0].__name__
        for name, cls in inspect.getmembers(errors, inspect.isclass)
        if issubclass(cls, Exception)
    }
    assert classes == TREE
    assert all(getattr(roboflow_async, name) is getattr(errors, name) for name in TREE)


@pytest.mark.parametrize(
    "error",
    [
        errors.ConfigurationError("a"),
        errors.QueueTimeoutError("b", retry_after=1.5),
        errors.APITimeoutError("c", attempts=3),
        errors.ResponseError("d", status_code=200, request_id="r"),
        errors.BudgetExceededError("h", requests=5000, credits=1.25),
        errors.JournalError("g", path="run.jsonl", unwritten=2),
        errors.DeploymentError("f", name="my-gpu", status="failed"),
        errors.BatchError("g", job_id="night", state="failed"),
        errors.RateLimitError("e", status_code=429, retry_after=2.0, body="slow", request_id="r"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_survives_pickling(error: errors.RoboflowError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert copy.__dict__ == error.__dict__
    assert str(copy) == str(error) == error.message


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (301, "APIStatusError"),
        (400, "BadRequestError"),
        (401, "AuthenticationError"),
        (402, "UsageLimitError"),
        (403, "AuthenticationError"),
        (404, "NotFoundError"),
        (408, "APIStatusError"),
        (409, "APIStatusError"),
        (410, "APIStatusError"),
        (413, "PayloadTooLargeError"),
        (422, "BadRequestError"),
        (423, "UsageLimitError"),
        (429, "RateLimitError"),
        (500, "ServerError"),
        (507, "ServerError"),
        (599, "ServerError"),
        (600, "APIStatusError"),
    ],
)
def test_each_status_has_its_class(status: int, name: str) -> None:
    assert errors.status_error_class(status).__name__ == name


def test_is_fatal_tells_what_ends_a_stream() -> None:
    """`is_fatal` tells which errors end a stream."""
    for status in (401, 402, 403, 404, 423):
        assert errors.is_fatal(errors.status_error_class(status)("", status_code=status))
    for status in (400, 408, 413, 422, 429, 500, 503):
        assert not errors.is_fatal(errors.status_error_class(status)("", status_code=status))
    assert errors.is_fatal(errors.ConfigurationError(""))
    assert not errors.is_fatal(errors.ImageError(""))


REPLIES: dict[str, Any] = {
    "status": Reply(400, b'{"message": "no"}'),
    "no JSON": Reply(200, b"<html>"),
    "another shape": Reply(200, b'{"hello": 1}'),
    "closed": reset,
    "no response": hang,
}


@pytest.mark.each_transport
@pytest.mark.anyio
@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
async def test_no_error_carries_the_input(
    server: Server, make_client: MakeClient, reply: Any
) -> None:
    """Nor does one behind it: an image may be 20 MB, and is a customer's."""
    mark = b"MARKED-input-of-a-customer" * 3
    forms = (mark, base64.b64encode(mark)[3:60])
    server.handler = lambda _: reply
    async with make_client(timeout=0.2, retry=RetryPolicy(max_attempts=1)) as client:
        workflow = client.workflow("ws", "wf", parameters={"text": mark.decode()})
        for image in (JPEG + bytes(2) + mark, b"no image" + mark):
            with pytest.raises(errors.RoboflowError) as raised:
                await workflow.run(image)
            behind: BaseException | None = raised.value
            while behind is not None:
                shown = f"{behind!s}{behind!r}{behind.args!r}{vars(behind)!r}"
                assert not any(form.decode() in shown for form in forms)
                behind = behind.__cause__ or behind.__context__
            pickled = pickle.dumps(raised.value)
            assert not any(form in pickled for form in forms)
    sent = server.arrivals[0].body
    assert base64.b64encode(mark) in sent  # what is looked for was sent
