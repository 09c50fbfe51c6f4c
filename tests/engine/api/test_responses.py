"""Answers: what is made of them."""

import json
import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roboflow_async import APIStatusError, AuthenticationError, ResponseError
from roboflow_async._engine.api.api_key import KeyPlacement
from roboflow_async._engine.api.responses import (
    Response,
    parse_json,
    parse_retry_after,
    parse_workflow_outputs,
    status_error,
)

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
KEY = KeyPlacement("rf_SECRET", "header")


def answer(content: bytes, status: int = 200, **headers: str) -> Response:
    return Response(
        status, {name.replace("_", "-"): value for name, value in headers.items()}, content
    )


def http_date(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2", 2.0),
        ("1.5", 1.5),
        (" 3 ", 3.0),
        ("0", None),
        ("-10", None),
        ("nan", None),
        ("inf", None),
        ("1e3", None),
        ("1_000", None),
        ("٣", None),
        ("", None),
        ("soon", None),
        ("1" + "0" * 35, 1e35),
        ("9" * 40, None),
        ("9" * 5000, None),
        (http_date(NOW + timedelta(seconds=90)), 90.0),
        (http_date(NOW - timedelta(seconds=90)), None),
        ("Fri, 20 Nov 2026 12:00:30", 30.0),
        ("Fri, 99 Nov 2026 12:00:30 GMT", None),
        ("Fri, 20 Nov 99999999999 12:00:30 GMT", None),
    ],
)
def test_retry_after(text: str, seconds: float | None) -> None:
    assert parse_retry_after({"retry-after": text}, NOW) == pytest.approx(seconds)


def test_missing_retry_after_is_no_wait() -> None:
    """Without Retry-After there is no wait."""
    assert parse_retry_after({}, NOW) is None


def test_a_date_is_read_against_the_servers_own_clock() -> None:
    server = NOW + timedelta(hours=5)
    headers = {"retry-after": http_date(server + timedelta(seconds=7)), "date": http_date(server)}
    assert parse_retry_after(headers, NOW) == 7.0


@given(text=st.text(), date=st.none() | st.text())
def test_retry_after_of_any_text_is_parsed_or_passed_over(text: str, date: str | None) -> None:
    """No text of Retry-After breaks the parser."""
    headers = {"retry-after": text} | ({} if date is None else {"date": date})
    wait = parse_retry_after(headers, NOW)
    assert wait is None or 0 < wait < float("inf")


def test_outputs_are_as_the_official_client_gives_them() -> None:
    """Outputs are dicts and images are base64, as the official client gives them."""
    image = {"type": "base64", "value": "/9j/", "video_metadata": {"fps": 30}}
    body = {"outputs": [{"a": 1, "picture": image, "crops": [image, {"deep": image}]}]}
    assert parse_workflow_outputs(answer(json.dumps(body).encode())) == [
        {"a": 1, "picture": "/9j/", "crops": ["/9j/", {"deep": "/9j/"}]}
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        b"{",
        b'{"outputs": [{"x": NaN}]}',
        b'{"outputs": [{"x": Infinity}]}',
        b'{"outputs": [{"x": "\xff"}]}',
        b"[" * 100_000,
        b'{"outputs": 3}',
        b'{"outputs": [3]}',
        b'{"outputs": null}',
        b"{}",
        b"[]",
        b"null",
        b'"text"',
    ],
)
def test_an_answer_of_another_kind_is_a_response_error(content: bytes) -> None:
    with pytest.raises(ResponseError) as caught:
        parse_workflow_outputs(answer(content, x_request_id="r1", content_type="text/html"))
    assert caught.value.status_code == 200
    assert caught.value.request_id == "r1"
    assert len(str(caught.value)) < 600


def test_a_number_of_a_million_digits_takes_no_time_and_no_harm() -> None:
    content = b'{"outputs": [{"x": ' + b"9" * 4_000_000 + b"}]}"
    with pytest.raises(ResponseError):
        parse_workflow_outputs(answer(content))
    assert sys.get_int_max_str_digits() > 0


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(json_values)
def test_json_is_read_as_python_reads_it(value: Any) -> None:
    assert parse_json(answer(json.dumps(value).encode())) == value


@given(st.binary(max_size=200), st.integers(300, 599))
def test_any_error_body_makes_a_short_typed_error(content: bytes, status: int) -> None:
    error = status_error(answer(content, status), KEY, now=NOW)
    assert isinstance(error, APIStatusError)
    assert error.status_code == status
    assert len(str(error)) < 2000


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"message": "bad input", "error_type": "X"}, "bad input"),
        ({"message": "bad", "inner_error_message": "inner"}, "bad - inner"),
        ({"message": "bad", "inner_error_message": "None"}, "bad"),
        ({"status": 401, "message": "who?"}, "who?"),
        ({"error": "no", "hint": "try this"}, "no - try this"),
        ({"error": {"message": "no", "hint": "try this"}}, "no - try this"),
        ({"error": {"code": 7}}, '{"code": 7}'),
        ({"detail": [{"loc": ["body"]}]}, '[{"loc": ["body"]}]'),
        ({"other": 1}, "no message"),
        (["a"], '["a"]'),
    ],
)
def test_the_servers_message_is_found_in_each_of_its_forms(body: Any, message: str) -> None:
    error = status_error(answer(json.dumps(body).encode(), 400), KEY, now=NOW)
    assert str(error) == f"HTTP 400: {message}"


def test_plain_text_is_a_message_too_and_a_long_one_is_cut() -> None:
    error = status_error(answer(b"plain\n  text", 500), KEY, now=NOW)
    assert str(error) == "HTTP 500: plain text"
    error = status_error(answer(b"x" * 10_000_000, 500), KEY, now=NOW)
    assert len(str(error)) < 600
    assert len(error.body) == 2000


def test_a_key_that_the_server_repeats_is_taken_out() -> None:
    for key in ("rf_SECRET", "a/b+c=d/e"):
        placement = KeyPlacement(key, "query")
        from urllib.parse import quote

        for text in (key, quote(key, safe="")):
            body = json.dumps({"message": f"key {text} is unknown"}).encode()
            error = status_error(answer(body, 401), placement, now=NOW)
            assert text not in str(error)
            assert text not in error.body


def test_a_refused_key_says_how_it_was_sent_and_what_to_try() -> None:
    for where, advice in [("header", "'body'"), ("body", "'header'"), ("query", "'header'")]:
        error = status_error(answer(b"", 401), KeyPlacement("k", where), now=NOW)  # type: ignore[arg-type]
        assert isinstance(error, AuthenticationError)
        assert f"api_key_transport={advice}" in str(error)
    assert "ROBOFLOW_API_KEY" in str(
        status_error(answer(b"", 403), KeyPlacement(None, "header"), now=NOW)
    )


def test_a_redirect_is_an_error_that_says_so() -> None:
    assert "redirect" in str(status_error(answer(b"", 302), KEY, now=NOW))


def test_headers_tell_of_time_cold_start_and_request() -> None:
    """Headers tell of processing time, a cold start, and the request's id."""
    given_headers = answer(
        b"", x_processing_time="0.25", x_model_cold_start="true", x_request_id="r"
    )
    assert given_headers.processing_time == 0.25
    assert given_headers.cold_start is True
    assert given_headers.request_id == "r"
    assert answer(b"", x_model_cold_start="False").cold_start is False
    nothing = answer(b"", x_processing_time="fast", x_model_cold_start="maybe")
    assert nothing.processing_time is None
    assert nothing.cold_start is None
    assert nothing.request_id is None


# Those that look like an infinite one, or stand beside it, are taken.
FINITE = [0.0, 1.0, -1.0, 1.5, 1e308, -1e308, "\0\0\0\0\0\0\u00f0\x7f", 2**70, True, None]


@pytest.mark.parametrize("number", ["1e999", "-1e999", "9" * 400 + ".0"])
def test_infinite_numbers_are_refused_wherever_they_are(number: str) -> None:
    for around in ("%s", "[[%s]]", '{"a": [{"b": %s}]}', json.dumps(FINITE)[:-1] + ", %s]"):
        with pytest.raises(ResponseError, match="too large"):
            parse_json(answer((around % number).encode()))


def test_finite_numbers_are_taken_as_they_are() -> None:
    assert parse_json(answer(json.dumps(FINITE).encode())) == FINITE
