"""Checks of arguments. The errors name the argument, its value, and what is allowed."""

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from traceback import clear_frames
from typing import NoReturn, cast

from roboflow_async.errors import ConfigurationError, RoboflowError

__all__ = [
    "check_choice",
    "check_flag",
    "check_mapping",
    "check_number",
    "forget_locals",
    "nearest",
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
    # NaN never fits, because every comparison with it is false.
    kind = int if whole else (int, float)
    fits = (
        isinstance(value, kind)
        and not isinstance(value, bool)
        and (at_least is None or value >= at_least)
        and (above is None or value > above)
        and value <= at_most
        and value != math.inf
    )
    if not fits:
        bounds = [f"of at least {at_least:g}"] if at_least is not None else []
        bounds += [f"above {above:g}"] if above is not None else []
        bounds += [f"at most {at_most:g}"] if math.isfinite(at_most) else []
        noun = "a whole number" if whole else "a number"
        is_number = isinstance(value, kind) and not isinstance(value, bool)
        problem = "is out of range" if is_number else f"is not {noun}"
        raise ConfigurationError(
            f"{name}={shown(value)} {problem}: give {noun} {' and '.join(bounds)}."
        )


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name that was probably meant: one that begins like `name`, or is spelt nearly so."""
    known = sorted(names)
    given = name[:80].lower()
    begins = [one for one in known if len(given) > 2 and one.lower().startswith(given)]
    near = begins or difflib.get_close_matches(given, known, n=1, cutoff=0.7)
    return near[0] if near else None


def check_flag(name: str, value: object) -> None:
    """Raise `ConfigurationError` unless `value` is True or False."""
    # The strings "no" and "false", which come from environment variables, would count as true.
    if not isinstance(value, bool):
        raise ConfigurationError(
            f"{name}={shown(value)} is neither True nor False: give one of them."
        )


def check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Raise `ConfigurationError` unless `value` is one of the choices."""
    # 1 must not pass as True.
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
            f"{name}={shown(cast('object', value))} is not valid: give a dict with names as keys."
        )


def forget_locals(error: BaseException) -> None:
    """Clear the local variables in an error's traceback, which hold a client's arguments.

    Error trackers record those variables, with the key and the passwords of proxies and URLs among
    them. Raise the error again with a bare `raise`.

    Args:
        error: one of ours says all there is to know, so it also loses its cause and its whole
            traceback. An error from a user's code, and Ctrl-C, keep their lines.
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
    """Raise the error for a client, or an object that holds one, when it is pickled or copied.

    Raises:
        TypeError: always; pickle and copy expect this type.
    """
    raise TypeError(
        f"a {type(value).__name__} cannot be pickled or copied: it holds connections, which belong "
        "to this process. Share it within the process; in another process make a RoboflowClient "
        "from its arguments, the names of Workflows and models, and images (one rate limit "
        "for all processes: limiter=RedisRateLimiter(...))."
    )


def shown(value: object) -> str:
    """A value as errors show it, shortened."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
