"""PyAV, loaded where it is needed: it comes with an extra, and its import takes 60 ms."""

from importlib import import_module
from typing import Any

from roboflow_async.errors import ConfigurationError

__all__ = ["load_av", "load_numpy"]


def load_av() -> Any:
    """Import PyAV.

    Raises:
        ConfigurationError: the extra is missing.
    """
    return _load("av")


def load_numpy() -> Any:
    """Import numpy, which pictures are arrays of."""
    return _load("numpy")


def _load(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        raise ConfigurationError(
            "roboflow_async.video needs an extra: pip install 'roboflow-async[video]'."
        ) from None
