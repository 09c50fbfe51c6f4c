"""A client that cannot be made tells nobody the key, nor the password of a proxy."""

import gc
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from fastapi import FastAPI

from roboflow_async import ConfigurationError, RoboflowClient
from roboflow_async.fastapi import lifespan

KEY = "rf_MARKEDkey0123456789"
PASSWORD = "pa55word-MARKED"


def frames(error: BaseException) -> Iterator[FrameType]:
    """Of all the tracebacks behind an error, but those of this file."""
    pending, seen = [error], set[int]()
    while pending:
        one = pending.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        pending += [other for other in (one.__cause__, one.__context__) if other is not None]
        for frame, _ in traceback.walk_tb(one.__traceback__):
            if frame.f_code.co_filename != __file__:
                yield frame


def holds(value: object, depth: int = 4) -> bool:
    """Whether a secret is in a value, in what it shows, or in what it is made of."""
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    with suppress(RecursionError):
        if any(secret in repr(value) for secret in (KEY, PASSWORD)):
            return True
    if depth == 0 or isinstance(value, type) or type(value).__name__ == "module":
        return False
    inner = list(getattr(value, "__dict__", {}).values())
    for kind in type(value).__mro__:
        slots = getattr(kind, "__slots__", ())
        names = [slots] if isinstance(slots, str) else slots
        inner += [getattr(value, name, None) for name in names]
    if isinstance(value, (list, tuple, set)):
        inner += list(value)
    elif isinstance(value, dict):
        inner += list(value.values())
    elif callable(value) and hasattr(value, "keywords"):
        inner += [value.keywords, value.args]
    return any(holds(one, depth - 1) for one in inner)


def search(error: BaseException) -> None:
    assert not holds(error.args)
    for frame in frames(error):
        for name, value in frame.f_locals.items():
            assert not holds(value), f"{frame.f_code.co_qualname}: {name}"
    text = "".join(
        traceback.TracebackException.from_exception(error, capture_locals=False).format()
    )
    assert KEY not in text
    assert PASSWORD not in text


class Interrupted(float):
    """Ctrl-C while it is looked at."""

    def __le__(self, other: object) -> bool:
        raise KeyboardInterrupt

    __gt__ = __le__


class BrokenTwice:
    """Fails with a cause, and in the middle of another failure."""

    def ceiling(self, name: str, requests_per_second: float) -> Any:
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            raise ZeroDivisionError from OSError()

    async def acquire(self) -> None: ...


class Broken:
    def ceiling(self, name: str, requests_per_second: float) -> Any:
        raise ZeroDivisionError

    async def acquire(self) -> None: ...


WRONG: list[dict[str, Any]] = [
    {"timeout": -1},
    {"transport": "pigeon"},
    {"http_client": "none"},
    {"retry": 3},
    {"api_url": f"http://user:{PASSWORD}@x/"},
    {"api_url": f"http://x/?api_key={PASSWORD}"},
    {"api_url": "ftp://x"},
    {"platform_url": f"http://user:{PASSWORD}@x/"},
    {"api_key": f"{KEY}\n"},
    {"api_key": [KEY]},
    {"requests_per_second": None, "limiter": Broken()},
    {"limiter": Broken()},
    {"trust_env": "yes"},
    {"limiter": BrokenTwice()},
    {"timeout": Interrupted(3)},
    {"max_image_pixels": 5, "requests_per_second": Interrupted(3)},
]


@pytest.mark.parametrize("arguments", WRONG, ids=lambda arguments: next(iter(arguments)))
def test_frames_of_a_failed_construction_hold_no_secret(
    arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No frame of a failed construction holds a secret."""
    monkeypatch.setenv("HTTP_PROXY", f"http://user:{PASSWORD}@proxy.example")
    expected = (ConfigurationError, ZeroDivisionError, KeyboardInterrupt)
    with pytest.raises(expected) as raised:
        RoboflowClient(**{"api_key": KEY, "api_url": "http://host.example", **arguments})
    search(raised.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HTTP_PROXY", f"foo://user:{PASSWORD}@proxy.example"),
        ("HTTP_PROXY", f"socks4://user:{PASSWORD}@proxy"),
        ("HTTP_PROXY", f"http://\u0441:{PASSWORD}@\u0441" + "x" * 70),
        ("HTTP_PROXY", f"http://user:{PASSWORD}@proxy:99999999"),
        ("HTTP_PROXY", f"http://user:{PASSWORD}@xn--a.invalid"),
        ("ROBOFLOW_API_URL", f"http://user:{PASSWORD}@x"),
        ("RF_API_BASE_URL", f"http://user:{PASSWORD}@x"),
        ("ROBOFLOW_API_KEY", f"{KEY} \n"),
    ],
)
def test_frames_hold_no_secret_of_a_bad_environment(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No frame holds a secret where the environment makes the construction fail."""
    monkeypatch.setenv(variable, value)
    arguments = {"api_key": KEY, "api_url": "http://host.example"}
    if variable.startswith("ROBOFLOW"):
        del arguments["api_url" if variable.endswith("URL") else "api_key"]
    with pytest.raises(ConfigurationError) as raised:
        RoboflowClient(**arguments)
    search(raised.value)


def test_frames_of_a_users_own_code_keep_their_lines() -> None:
    """The code that a user wrote keeps its lines in the traceback."""
    with pytest.raises(ZeroDivisionError) as raised:
        RoboflowClient(KEY, api_url="http://host.example", limiter=Broken())
    assert Path(traceback.extract_tb(raised.value.__traceback__)[-1].filename) == Path(__file__)


@pytest.mark.anyio
async def test_frames_of_an_app_without_a_client_hold_no_secret() -> None:
    """No frame of an app whose client cannot be made holds a secret."""
    app = FastAPI()
    with pytest.raises(ConfigurationError) as raised:
        async with lifespan(api_key=KEY, timeout=-1)(app):
            pass
    search(raised.value)


def test_a_client_that_is_half_made_has_a_repr() -> None:
    class Half(RoboflowClient):
        def __init__(self) -> None:
            seen.append(repr(self))
            super().__init__(KEY, timeout=-1)

    seen: list[str] = []
    with pytest.raises(ConfigurationError):
        Half()
    assert seen == ["<RoboflowClient that is not made>"]
    assert repr(RoboflowClient.__new__(RoboflowClient)) == seen[0]
    gc.collect()
