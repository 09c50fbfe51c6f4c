"""The fixtures that pytest finds if this package is installed with its extra `testing`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from roboflow_async.testing import StandInPlatform, StandInServer

__all__ = ["roboflow_stand_in", "roboflow_stand_in_platform"]


@pytest.fixture
def roboflow_stand_in() -> "Iterator[StandInServer]":
    """A stand-in for the Roboflow API: 20 requests per second, 50 ms of latency.

    Give its `url` as `api_url`, set its `knobs`, make it `fail(...)`, and read its `meter`.
    """
    # Imported here, because pytest imports this file wherever the package is installed, with or
    # without the extra.
    from roboflow_async.testing import StandInServer  # noqa: PLC0415

    with StandInServer() as server:
        yield server


@pytest.fixture
def roboflow_stand_in_platform() -> "Iterator[StandInPlatform]":
    """A stand-in for Roboflow's platform, whose time passes only by `advance`.

    Give its `url` as `platform_url`, set its `knobs`, make it `fail(...)`, and read its `meter`.
    """
    from roboflow_async.testing import StandInPlatform  # noqa: PLC0415 - as above

    with StandInPlatform(speed=0) as platform:
        yield platform
