"""Credits: what a request costs, by the headers of its response."""

import pytest

from roboflow_async._engine.api.credits import credits_of
from roboflow_async._engine.api.responses import Response


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"x-processing-time": "1.1060344696044922"}, 1.1060344696044922),
        ({"x-processing-time": "0.081"}, 0.1),
        ({"x-processing-time": "5.0067901611328125e-05"}, 0.1),
        ({"x-processing-time": "0"}, 0.1),
        ({"x-remote-processing-time": "1.054", "x-processing-time": "1.9"}, 1.154),
        ({"x-remote-processing-time": "0", "x-processing-time": "1.9"}, 0.1),
        ({"x-remote-processing-time": "1e-05"}, 0.10001),
        ({"x-remote-processing-time": "nan", "x-processing-time": "1.9"}, 1.9),
        ({"x-remote-processing-time": "-1", "x-processing-time": "1.9"}, 1.9),
    ],
)
def test_credits_follow_the_rule(headers: dict[str, str], seconds: float) -> None:
    """(0.1 s + remote) / 500 s, else max(processing, 0.1 s) / 500 s."""
    assert credits_of(headers) == pytest.approx(seconds / 500)
    assert Response(200, headers, b"").credits == credits_of(headers)


@pytest.mark.parametrize(
    "text", ["", " ", "infinity", "1_0", "\u0661", "-0.1", "1e300", "1e999", "86401", "0x1", "1,5"]
)
def test_credits_are_unknown_without_a_time(text: str) -> None:
    assert credits_of({"x-processing-time": text}) is None
    assert credits_of({"x-remote-processing-time": text}) is None
    assert credits_of({}) is None
