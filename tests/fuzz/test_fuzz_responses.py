"""Any bytes from a server are an output of finite numbers, or a typed error."""

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pydantic_core
import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_texts import contents, encoded, numbers, valid

from roboflow_async import RoboflowError
from roboflow_async._engine.api import large_json, responses
from roboflow_async._engine.api.api_key import KeyPlacement
from roboflow_async._engine.api.responses import (
    Response,
    output_of,
    parse_json,
    parse_workflow_outputs,
)
from roboflow_async._engine.api.thrift import Thrift

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
KEY = KeyPlacement("rf_SECRETkey0123456789", "header")
numbers_in_headers = numbers | st.text(max_size=60) | st.floats().map(str) | st.integers().map(str)


def assert_is_json(value: Any) -> None:
    json.dumps(value, allow_nan=False)


@given(contents)
def test_a_body_is_json_of_finite_numbers_or_a_response_error(content: bytes) -> None:
    try:
        assert_is_json(parse_json(Response(200, {}, content)))
    except RoboflowError as error:
        assert len(str(error)) < 700


@given(contents)
def test_an_output_is_a_list_of_objects_or_a_response_error(content: bytes) -> None:
    try:
        found = output_of(parse_workflow_outputs, Response(200, {}, content), KEY)
        assert_is_json(found)
        assert all(isinstance(output, dict) for output in found)
    except RoboflowError as error:
        assert len(str(error)) < 2000


def outcome(parse: Callable[[bytes], Any], content: bytes) -> Any:
    try:
        return parse(content)
    except ValueError:
        return ValueError


@given(contents, st.integers(16, 90))
def test_pieces_make_what_the_parser_makes_of_the_whole(content: bytes, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(large_json, "_PIECE", size)
        patch.setattr(large_json, "_LOOKED_AT_AT_ONCE", size % 7 + 1)
        pieces = outcome(large_json.parse_in_pieces, content)
    whole = outcome(lambda text: pydantic_core.from_json(text, allow_inf_nan=False), content)
    deep = max(content.count(b"["), content.count(b"{")) >= 90  # where the two may differ
    assert repr(pieces) == repr(whole) or deep


@given(valid, st.integers(16, 90))
def test_valid_json_is_the_same_in_pieces_of_any_size(value: Any, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(large_json, "_PIECE", size)
        patch.setattr(large_json, "_LOOKED_AT_AT_ONCE", size % 7 + 1)
        try:
            content = encoded(value)
            content.decode()
        except UnicodeError:
            return  # halves of surrogate pairs
        assert large_json.parse_in_pieces(content) == value
        small = large_json.parse_in_pieces(content, Thrift(1 << 30))
        assert repr(small) == repr(pydantic_core.from_json(content))


@given(contents, st.integers(300, 599), st.dictionaries(
    st.sampled_from(["retry-after", "date", "x-request-id", "content-type"]), numbers_in_headers
))  # fmt: skip
def test_an_error_is_short_and_typed_whatever_it_says(
    content: bytes, status: int, headers: dict[str, str]
) -> None:
    error = responses.status_error(Response(status, headers, content), KEY, now=NOW)
    assert error.status_code == status
    assert len(str(error)) < 2000
    assert error.retry_after is None or 0 < error.retry_after <= 1e36


@given(numbers_in_headers)
def test_a_number_in_a_header_is_finite_and_bounded_or_nothing(text: str) -> None:
    answer = Response(200, {"x-processing-time": text, "x-model-cold-start": text}, b"")
    seconds = answer.processing_time
    assert seconds is None or (math.isfinite(seconds) and 0 <= seconds <= 86_400)
    assert answer.cold_start in (None, True, False)
    wait = responses.parse_retry_after({"retry-after": text, "date": text}, NOW)
    assert wait is None or 0 < wait <= 1e36
