"""The base64 of images, whichever library makes it."""

import base64
import os
import sys
from collections.abc import Iterator

import pytest

from roboflow_async._engine.images import encoded
from roboflow_async._engine.images.encoded import CHUNK, base64_chunks


@pytest.fixture(params=["pybase64", "binascii"])
def _library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if request.param == "pybase64":
        pytest.importorskip("pybase64")
    else:
        monkeypatch.setitem(sys.modules, "pybase64", None)
    encoded._encoder.cache_clear()
    yield
    encoded._encoder.cache_clear()


@pytest.mark.usefixtures("_library")
@pytest.mark.parametrize("size", [0, 1, 2, 3, 1000, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 2])
def test_chunks_of_base64_make_one_text(size: int) -> None:
    data = os.urandom(size)
    whole = base64.b64encode(data)
    chunks = base64_chunks(data)
    for _ in range(2):  # it may be sent again
        assert b"".join(map(bytes, chunks)) == whole
    assert sum(map(len, chunks)) == len(whole)
