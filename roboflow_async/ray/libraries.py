"""Ray and Arrow, loaded where they are needed: together they take a second and 100 MB."""

from importlib import import_module
from typing import Any

from roboflow_async.errors import ConfigurationError

__all__ = ["load"]


def load(module: str) -> Any:
    """Import a module of Ray or Arrow.

    Args:
        module: its whole name, such as "ray.data".

    Raises:
        ConfigurationError: the extra is missing.
    """
    try:
        return import_module(module)
    except ImportError:
        raise ConfigurationError(
            "roboflow_async.ray needs an extra: pip install 'roboflow-async[ray]'."
        ) from None
