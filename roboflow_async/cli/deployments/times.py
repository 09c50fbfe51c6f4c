"""Reads the moments of options: a time, or how long ago it was."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from roboflow_async import ConfigurationError

__all__ = ["moment"]

_AGO: Final = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(s|m|h|d)")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def moment(text: str | None, name: str) -> datetime | None:
    """The moment that a text means; a time without a zone is local.

    Args:
        text: such as "30m", "2h" or "1d", or a time in ISO 8601; None gives None.
        name: the option, for an error.

    Raises:
        ConfigurationError: it means none.
    """
    if text is None:
        return None
    ago = _AGO.fullmatch(text)
    try:
        if ago is not None:
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: float(ago[1])})
        return datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ConfigurationError(
            f"{name} {text!r:.80} is not a moment: give how long ago it was, such as 30m, 2h or "
            "1d, or a time such as 2030-01-31T09:00."
        ) from None
