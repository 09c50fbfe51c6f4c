"""Parses responses. Pure: no I/O, and no clock except the time that it is given.

The contract is the Inference Server's OpenAPI document, version 1.8.3 (tests/support/openapi.json);
headers and the forms of error bodies come from its source.
"""

import codecs
import json
import marshal
import re
import struct
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import inf
from typing import Any, Final, TypeVar, cast

import pydantic_core

from roboflow_async._engine.api.api_key import KeyPlacement
from roboflow_async._engine.api.credits import credits_of, parse_working_time
from roboflow_async._engine.api.large_json import Weight, holds, parse_in_pieces
from roboflow_async._engine.api.thrift import Thrift, TooMuchMemoryError, memory_allowed
from roboflow_async._engine.jsonvalues import JSONObject, is_array, is_container, is_object
from roboflow_async._engine.quick_dataclass import quick_dataclass
from roboflow_async.errors import (
    APIStatusError,
    AuthenticationError,
    ResponseError,
    plain_text,
    status_error_class,
)

__all__ = [
    "Headers",
    "Response",
    "is_large",
    "output_of",
    "parse_json",
    "parse_object",
    "parse_retry_after",
    "parse_workflow_outputs",
    "status_error",
    "too_much",
    "unexpected",
]

Headers = Mapping[str, str]
"""Response headers, with names in lower case."""

Output = TypeVar("Output")

_MESSAGE_LIMIT: Final = 500
_BODY_LIMIT: Final = 2000
_UNPARSED_BODY_LIMIT: Final = 500
# How many bytes of a response that cannot be parsed are read for an error. 500 characters need
# less, even if many keys in them are replaced by a short text.
_LOOKED_AT: Final = 256 * 1024
# Infinite numbers as `marshal` writes them; it seldom writes these bytes for anything else.
_INFINITE: Final = struct.pack("<d", inf)
_MINUS_INFINITE: Final = struct.pack("<d", -inf)
_ENOUGH_FOR_WORDS: Final = 64 * 1024  # bytes; a larger response is not just a message
# Bytes. The slowest response of this size takes about 10 ms to parse and check. Larger ones are
# parsed in a thread, and in pieces unless they are simple.
_LARGE: Final = 128 * 1024
# Seconds. A server may mean "never again" with it, which then fails a call; the pause of all
# sending has its own limit.
_LONGEST_WAIT: Final = 1e36
_TRUTH: Final = {"true": True, "false": False}
# The fields of an error that say what is wrong.
_WORDS: Final = ("message", "error", "hint", "detail", "inner_error_message")
# The fields of errors from the Inference Server, the hosted API, the platform and FastAPI.
_FIELDS_OF_ERRORS: Final = {
    "message", "error", "hint", "detail", "error_type", "context", "inner_error_type",
    "inner_error_message", "blocks_errors", "help_url", "status", "statusCode", "status_code",
    "code", "type", "time",
}  # fmt: skip


@quick_dataclass
class Response:
    """One complete response: an HTTP status below 300 and its content."""

    status_code: int
    headers: Headers
    content: bytes | bytearray
    allowed: int = 32 * 1024 * 1024
    """`max_response_bytes`, which also limits the number of values."""

    def __repr__(self) -> str:
        # The content may be megabytes long, and the headers may repeat what was sent.
        return f"<response {self.status_code} of {len(self.content)} bytes>"

    @property
    def request_id(self) -> str | None:
        """The server's id for this request."""
        return self.headers.get("x-request-id")

    @property
    def processing_time(self) -> float | None:
        """Seconds that the server says it worked."""
        return parse_working_time(self.headers.get("x-processing-time"))

    @property
    def credits(self) -> float | None:
        """What the Serverless API bills for this request, or None if the headers tell no times."""
        return credits_of(self.headers)

    @property
    def cold_start(self) -> bool | None:
        """Whether the server says that it had to load a model."""
        text = self.headers.get("x-model-cold-start")
        return None if text is None else _TRUTH.get(text.strip().lower())


def is_large(response: Response) -> bool:
    """Whether to parse it in a thread beside the event loop."""
    return len(response.content) > _LARGE


def output_of(parse: Callable[[Response], Output], response: Response, key: KeyPlacement) -> Output:
    """Parse the output from a response; every failure becomes a `ResponseError`.

    Args:
        parse: makes the output. It may raise any error, because it validates types of users.
        response: the response.
        key: the API key, which the server may have repeated.

    Raises:
        ResponseError: it cannot be parsed. The error has the start of the response and the server's
            message.
    """
    try:
        return parse(response)
    except ResponseError as error:
        failure = error
    except Exception as error:  # noqa: BLE001 - huge numbers, deep nesting, code of users
        failure = ResponseError(
            f"the response (HTTP {response.status_code}) cannot be parsed: {_told(error)}.",
            status_code=response.status_code,
            request_id=response.request_id,
        )
    message = key.without_key(failure.message)
    words = _words_in_place_of_an_output(response, key)
    failure.reword(f"{message.removesuffix('.')}; the server says: {words}" if words else message)
    text = plain_text(response.content[:_LOOKED_AT].decode("utf-8", "replace"))
    failure.body = key.without_key(text)[:_UNPARSED_BODY_LIMIT]
    try:
        # Raised without its cause, because a user's exception may hold the whole response.
        raise failure from None
    finally:
        del failure  # the error's traceback holds this frame


def _told(error: Exception) -> str:
    try:
        text = " ".join(plain_text(str(error)[:_MESSAGE_LIMIT]).split())
    except Exception:  # noqa: BLE001 - of a class that a user wrote
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _words_in_place_of_an_output(response: Response, key: KeyPlacement) -> str:
    """The server's message in a successful response with no other content, or ""."""
    if len(response.content) > _ENOUGH_FOR_WORDS:
        return ""
    try:
        body: object = pydantic_core.from_json(response.content)
    except ValueError:
        return ""
    return _server_words(body, key) if is_object(body) else ""


def parse_json(response: Response) -> Any:
    """The response's JSON.

    Raises:
        ResponseError: it is not JSON, or holds more values than a response of its size may. NaN,
            Infinity and numbers that become infinite are not JSON either (RFC 8259, section 6).
    """
    content = response.content
    start = 3 if content[:3] == codecs.BOM_UTF8 else 0
    weight = Weight(content) if len(content) > _LARGE else None
    if weight is not None and (what := weight.too_much(response.allowed)):
        raise too_much(response, what, limits_follow_size=True)
    try:
        if weight is None or (weight.is_light and not weight.is_heavy):
            # Copied only if it has to be: removeprefix would always copy a bytearray.
            text = content[start:] if start else content
            value: Any = pydantic_core.from_json(text, allow_inf_nan=False)
        else:
            thrift = Thrift(memory_allowed(weight.size)) if weight.is_heavy else None
            value = parse_in_pieces(content, thrift, start)
        _check_finite(value, is_small=weight is None)
        return value
    except TooMuchMemoryError as error:
        raise too_much(response, str(error)) from None
    except ValueError as error:
        kind = "HTML" if "html" in response.headers.get("content-type", "") else str(error)[:120]
        raise unexpected(response, f"it is not JSON ({kind})") from None


def too_much(
    response: Response, what: str = "", *, limits_follow_size: bool = False
) -> ResponseError:
    """The error for a response that would take too much memory, or hold the event loop."""
    more = ", or raise the limit (max_response_bytes=)" if limits_follow_size else ""
    return ResponseError(
        f"the response (HTTP {response.status_code}, {len(response.content):,} bytes) holds "
        f"{what or 'values that take ten times that in memory'}: leave outputs out "
        "(excluded_fields=), ask for masks instead of polygons (response_mask_format='rle')"
        f"{more}.",
        status_code=response.status_code,
        request_id=response.request_id,
    )


def _check_finite(value: Any, *, is_small: bool) -> None:
    """Raise `ValueError` if a number in it is infinite, as 1e999 is for the parser.

    Args:
        value: the parsed value.
        is_small: whether it may be copied, and Python's lock held for that.
    """
    if is_small:
        # One call that writes them all takes a quarter of the time that it takes to look at each.
        written = marshal.dumps(value)
        # Most hold nothing that begins like both of them, as 1.0 does, too.
        may_be = _INFINITE[:-1] in written
        if not may_be or (_INFINITE not in written and _MINUS_INFINITE not in written):
            return
    # A parsed value has exactly one of a few types. A response has hundreds of values, so that any
    # call for each of them, such as `isinstance`, would take longer than the parser.
    containers: list[Any] = [[value]]
    highest, lowest = inf, -inf
    while containers:
        container = containers.pop()
        items = container.values() if is_object(container) else container
        for item in cast("Iterable[object]", items):
            kind = type(item)
            if type(item) is float:
                if not lowest < item < highest:
                    raise ValueError("a number that is too large")
            elif kind is dict or kind is list:
                containers.append(item)


def parse_object(response: Response) -> JSONObject:
    """The JSON object in a response about one input, also if it is in a list of one.

    Raises:
        ResponseError: it is not an object, or holds only an error's message.
    """
    output: object = parse_json(response)
    while is_array(output) and len(output) == 1:
        output = output[0]
    if not is_object(output):
        raise unexpected(response, "it is not a JSON object")
    if output and output.keys() <= _FIELDS_OF_ERRORS:
        raise unexpected(response, "it is an error")
    return output


def parse_workflow_outputs(response: Response) -> list[JSONObject]:
    """The outputs of a Workflow, one dict for each image of the batch.

    An image output `{"type": "base64", "value": ...}` becomes its base64 text, as in the official
    client.

    Raises:
        ResponseError: the response has no such outputs.
    """
    body = parse_json(response)
    outputs: object = body.get("outputs") if is_object(body) else None
    if is_object(outputs) and outputs:
        outputs = [outputs]
    if not is_array(outputs) or not all(map(is_object, outputs)):
        raise unexpected(response, 'it has no list of objects as "outputs"')
    # To search the bytes for the word costs less than to walk through the parsed values.
    if holds(response.content, b'"base64"'):
        for output in outputs:
            _make_images_plain(output)
    return outputs


def _make_images_plain(output: JSONObject) -> None:
    """Replace each image output by its text.

    The parsed values themselves are changed, because a copy would double the memory.
    """
    containers: list[Any] = [output]
    while containers:
        container = containers.pop()
        items: Any = container.items() if is_object(container) else enumerate(container)
        images: list[tuple[Any, Any]] = []
        for place, item in items:
            if is_object(item) and item.get("type") == "base64" and "value" in item:
                images.append((place, item["value"]))
            elif is_container(item):
                containers.append(item)
        for place, text in images:
            container[place] = text


def unexpected(response: Response, what: str) -> ResponseError:
    """The error for a response that is not what was asked for."""
    return ResponseError(
        f"the response (HTTP {response.status_code}) is not what was asked for: {what}. "
        "Check that api_url is the URL of a Roboflow server.",
        status_code=response.status_code,
        request_id=response.request_id,
    )


def status_error(response: Response, key: KeyPlacement, *, now: datetime) -> APIStatusError:
    """The error for a response with an HTTP status of 300 or more.

    Args:
        response: the response.
        key: the API key, which the server may have repeated.
        now: the time now, for a `Retry-After` with a date in a response without a `Date`.
    """
    content = response.content[:_ENOUGH_FOR_WORDS]  # no more than this is read of an error
    # In this order, because a key with invisible characters in it is only found afterwards.
    text = key.without_key(plain_text(content.decode("utf-8", "replace")))
    message = f"HTTP {response.status_code}: {_server_message(content, key) or 'no message'}"
    kind = status_error_class(response.status_code)
    if kind is AuthenticationError:
        message += f" (the API key was {_sent_as(key)})"
    elif response.status_code < 400:
        message += " (redirects are not followed: give the api_url that it leads to)"
    return kind(
        message,
        status_code=response.status_code,
        request_id=response.request_id,
        retry_after=parse_retry_after(response.headers, now),
        body=text[:_BODY_LIMIT],
    )


def _sent_as(key: KeyPlacement) -> str:
    if key.api_key is None:
        return "not given: set api_key or ROBOFLOW_API_KEY"
    advice = {
        "header": "as 'Authorization: Bearer'; a server older than 1.5.0 needs "
        "api_key_transport='body', or 'query'",
        "body": "in the JSON body; try api_key_transport='header', or 'query'",
        "query": "in the query; try api_key_transport='header', or 'body'",
    }
    return f"sent {advice[key.where]}"


def _server_message(content: bytes | bytearray, key: KeyPlacement) -> str:
    """The server's message, from any of the known forms of errors.

    Inference Server `{message, error_type, inner_error_message}`, hosted `{status, message}`,
    platform `{error, hint}`, FastAPI `{detail}`, Dedicated Deployments plain text.
    """
    try:
        body: Any = pydantic_core.from_json(content)
    except ValueError:
        body = None
    if not is_object(body):
        return _clean(content.decode("utf-8", "replace"), key)
    return _server_words(body, key)


def _server_words(body: JSONObject, key: KeyPlacement) -> str:
    """The message in an object: its message, error, hint and so on, or ""."""
    parts = [
        value if isinstance(value, str) else _nested_words(value)
        for name in _WORDS
        if (value := body.get(name)) and value != "None"
    ]
    return _clean(" - ".join(parts), key)


def _nested_words(value: Any) -> str:
    """The words of an error within an error, as Batch Processing sends them, or its JSON."""
    parts: list[Any] = [value.get(name) for name in _WORDS] if is_object(value) else []
    words = [part for part in parts if part and isinstance(part, str)]
    return " - ".join(words) or json.dumps(value)


def _clean(text: str, key: KeyPlacement) -> str:
    text = " ".join(key.without_key(plain_text(text))[: _BODY_LIMIT * 2].split())
    return text if len(text) <= _MESSAGE_LIMIT else text[: _MESSAGE_LIMIT - 3] + "..."


def parse_retry_after(headers: Headers, now: datetime) -> float | None:
    """Seconds of `Retry-After`: a number or an HTTP date (RFC 9110, section 10.2.3).

    It also accepts fractions of a second, which some proxies send. A date is compared to the
    response's own `Date`, so that this machine's clock does not matter. None if the value is
    missing, not readable, not above zero, not finite, or much too large.
    """
    text = headers.get("retry-after", "").strip()
    seconds = _seconds(text)
    if seconds is None and text:
        try:
            moment = _http_date(text)
            sent = headers.get("date")
            seconds = (moment - (_http_date(sent) if sent else now)).total_seconds()
        except (ValueError, TypeError, OverflowError):
            return None
    return seconds if seconds is not None and 0 < seconds <= _LONGEST_WAIT else None


def _http_date(text: str) -> datetime:
    moment = parsedate_to_datetime(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _seconds(text: str | None) -> float | None:
    if not text:
        return None
    # float() alone would also accept "1_0", "infinity" and digits of all scripts. And it refuses
    # some characters that strip() removes, so it only gets what was matched.
    found = re.fullmatch(r"[ \t]*([+-]?[0-9]{1,40}(?:\.[0-9]{0,20})?)[ \t]*", text)
    return float(found[1]) if found is not None else None
