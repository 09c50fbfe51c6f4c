"""The images of a plan: how many there are, and how large."""

import math
import os
from collections.abc import Sequence
from os import PathLike
from typing import Any, Final, cast

from roboflow_async._engine.checks import check_number, shown
from roboflow_async.errors import ConfigurationError

__all__ = ["count_of", "mean_size", "samples_of"]

_MOST_SIZES: Final = 2000  # files whose size is asked for


def count_of(images: object) -> int:
    """How many images are meant.

    Raises:
        ConfigurationError: it is neither a number nor a list, or there are none.
    """
    if isinstance(images, Sequence) and not isinstance(images, (str, bytes, bytearray)):
        count = len(cast("Sequence[object]", images))
        if not count:
            raise ConfigurationError("images is empty: give at least one, or how many there are.")
        return count
    if not isinstance(images, int):
        raise ConfigurationError(
            f"images={shown(images)} is neither a number nor a list: give one."
        )
    check_number("images", images, at_least=1, whole=True)
    return images


def samples_of(images: int | Sequence[Any], most: int, *, wanted: bool) -> Sequence[Any]:
    """Images to measure with.

    Args:
        images: what is planned for.
        most: how many are enough.
        wanted: whether anything is measured.

    Raises:
        ConfigurationError: they are wanted, and only their number is known.
    """
    if isinstance(images, int):
        if wanted:
            raise ConfigurationError(
                f"images={images} is a number: to measure, give the images themselves."
            )
        return []
    return images[:most]


def mean_size(images: Sequence[Any]) -> float | None:
    """Bytes of an image in the mean, as far as they are known."""
    step = max(math.ceil(len(images) / _MOST_SIZES), 1)
    sizes = [size for size in map(_size, images[::step]) if size]
    return sum(sizes) / len(sizes) if sizes else None


def _size(image: object) -> int | None:
    if isinstance(image, (bytes, bytearray, memoryview)):
        return len(cast("bytes", image))
    if not isinstance(image, (str, PathLike)) or (isinstance(image, str) and "://" in image):
        return None
    try:
        return os.stat(cast("str", image)).st_size  # noqa: PTH116 - of whatever path it is
    except (OSError, ValueError):
        return None
