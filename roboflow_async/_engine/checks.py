"""Checks of arguments, with errors that name the argument, its value and what would do."""

import math
from collections.abc import Mapping, Sequence
from traceback import clear_frames
from typing import NoReturn, cast

from roboflow_async.errors import ConfigurationError, RoboflowError

__all__ = [
    "check_choice",
    "check_flag",
    "check_mapping",
    "check_number",
    "forget_locals",
    "refuse_copy",
    "shown",
]


def check_number(
    name: str,
    value: object,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float = math.inf,
    whole: bool = False,
) -> None:
    """Raise `ConfigurationError` unless `value` is a finite number within the bounds."""
    # A comparison with NaN is false, so it fits nowhere.
    fits = (
        isinstance(value, int if whole else (int, float))
        and not isinstance(value, bool)
        and (at_least is None or value >= at_least)
        and (above is None or value > above)
        and value <= at_most
        and value != math.inf
    )
    if not fits:
        bounds = [f"at least {at_least:g}"] if at_least is not None else []
        bounds += [f"more than {above:g}"] if above is not None else []
        bounds += [f"at most {at_most:g}"] if math.isfinite(at_most) else []
        noun = "a whole number" if whole else "a number"
        raise ConfigurationError(
            f"{name}={shown(value)} does not do: give {noun}, {' and '.join(bounds)}."
        )


def check_flag(name: str, value: object) -> None:
    """Raise `ConfigurationError` unless `value` is True or False."""
    # "no" and "false", as an environment has them, are true.
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name}={shown(value)} does not do: give True or False.")


def check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Raise `ConfigurationError` unless `value` is one of the choices."""
    # 1 is not True here.
    if not any(
        value is choice or (value == choice and isinstance(value, str)) for choice in choices
    ):
        *others, last = map(repr, choices)
        raise ConfigurationError(
            f"{name}={shown(value)} is not known: give {', '.join(others)} or {last}."
        )


def check_mapping(name: str, value: object) -> None:
    """Raise `ConfigurationError` unless `value` is a mapping with names as keys, or None."""
    fits = isinstance(value, Mapping) and all(
        isinstance(key, str) for key in cast("Mapping[object, object]", value)
    )
    if value is not None and not fits:
        raise ConfigurationError(
            f"{name}={shown(cast('object', value))} does not do: give a dict with names as keys."
        )


def forget_locals(error: BaseException) -> None:
    """Take the variables of the frames behind an error away, which hold what a client is made of.

    Error trackers send those home, and the key, the password of a proxy or of a URL would be among
    them. Raise it again with a bare `raise`.

    Args:
        error: one of ours says all there is to know, and loses what it was made of. Another, of
            what a user wrote, and Ctrl-C, keep the lines that they passed.
    """
    if isinstance(error, RoboflowError):
        error.__cause__ = error.__context__ = error.__traceback__ = None
        return
    pending: list[BaseException | None] = [error]
    seen: set[int] = set()
    while pending:
        one = pending.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            clear_frames(one.__traceback__)
            pending += [one.__cause__, one.__context__]


def refuse_copy(value: object) -> NoReturn:
    """Raise the error of a client, or of what holds one, that is pickled or copied.

    Raises:
        TypeError: that is what pickle, copy and those who try them expect.
    """
    raise TypeError(
        f"a {type(value).__name__} cannot be pickled or copied: it holds connections, which belong "
        "to this process. Share the one there is; in another process make a RoboflowClient there, "
        "and pass on its arguments, the names of Workflows and models, and images (one rate limit "
        "for all: limiter=RedisRateLimiter(...))."
    )


def shown(value: object) -> str:
    """A value as errors show it: short."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
