"""Text from outside without what a terminal, a log or a page would obey instead of show."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator

__all__ = ["PlainText", "plain_text"]

# What ends a line, or moves within one: a word before it and a word after it stay two words.
_SPACES: Final = re.compile("[\t\n\v\f\r\x1c-\x1f\x85\u2028\u2029]+")
# Unicode's categories Cc (ESC, BEL, and the C1 that terminals obey in UTF-8, too), Cf (what turns
# the direction of text, and what is not seen at all) and Cs (which no UTF-8 holds).
_CONTROLS: Final = re.compile(
    "[\0-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f"
    "\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff0-\ufffb\U000110bd\U000110cd"
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def plain_text(text: str) -> str:
    """The text without its control characters; what ends a line becomes a space."""
    if text.isprintable():  # nearly always
        return text
    return _CONTROLS.sub("", _SPACES.sub(" ", text))


PlainText = Annotated[str, AfterValidator(plain_text)]
"""A name or an id that a server gives, made fit to be shown where it comes in."""
