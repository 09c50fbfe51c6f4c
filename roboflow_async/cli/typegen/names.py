"""Makes Python of names and texts that come from a server. Pure.

Whatever they hold, what comes out is one identifier, one literal, or words in a comment.
"""

import builtins
import keyword
import re
from collections.abc import Iterable
from typing import Final

__all__ = ["class_name", "identifiers", "literal", "words"]

# Where such a name would hide something that a class or a function needs. The same for each Python:
# without those that `site` adds, and the exceptions.
_OF_PYTHON: Final = (
    frozenset(name for name in dir(builtins) if name[0].islower())
    - {"copyright", "credits", "exit", "license", "quit"}
) | frozenset({*keyword.kwlist, "I", "O", "l"})  # and those that linters take for numbers
_LONGEST: Final = 40  # characters of an identifier
_MOST_WORDS: Final = 60  # characters in a comment


def identifiers(names: Iterable[str], otherwise: str, reserved: frozenset[str]) -> dict[str, str]:
    """An identifier for each name: itself if it can be one.

    Args:
        names: the names, of which none comes twice.
        otherwise: what a name without any letters becomes.
        reserved: names that are in use where these stand. They, and Python's own, get an underscore
            at their end.
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    given = list(names)
    # Those that stay as they are come first, so that no other one takes their place.
    for name in sorted(given, key=lambda name: _identifier(name, otherwise, reserved) != name):
        wanted = _identifier(name, otherwise, reserved)
        free, number = wanted, 2
        while free in taken:
            free, number = f"{wanted.rstrip('_')}_{number}", number + 1
        taken.add(free)
        found[name] = free
    return {name: found[name] for name in given}


def _identifier(name: str, otherwise: str, reserved: frozenset[str]) -> str:
    # Letters of other scripts are left out: Python reads some as others (NFKC). Pydantic takes a
    # name with an underscore in front for a private one.
    is_one = name.isascii() and name.isidentifier()
    text = name if is_one else re.sub(r"[^A-Za-z0-9_]+", "_", name).rstrip("_")
    text = text.lstrip("_")[:_LONGEST] or otherwise
    if text[0].isdigit():
        text = f"{otherwise}_{text}"
    is_taken = text in _OF_PYTHON or text in reserved or text.startswith("model_")
    return f"{text}_" if is_taken else text


def class_name(text: str, otherwise: str) -> str:
    """A name for a class: "my-workflow" becomes "MyWorkflow"."""
    parts = re.findall(r"[A-Za-z0-9]+", text[:_LONGEST])
    name = "".join(part[0].upper() + part[1:] for part in parts)
    return name if name and not name[0].isdigit() else f"{otherwise}{name}"


def literal(text: str) -> str:
    """A text as a literal, in ASCII, with the quotes that formatters want."""
    quote = "'" if text.count('"') > text.count("'") else '"'
    return f"{quote}{''.join(_escaped(letter, quote) for letter in text)}{quote}"


def _escaped(letter: str, quote: str) -> str:
    if letter in ("\\", quote):
        return f"\\{letter}"
    if " " <= letter <= "~":
        return letter
    return letter.encode("unicode_escape").decode("ascii")


def words(text: str) -> str:
    """A text in a docstring or a comment: nothing in it ends either, or means anything there."""
    return re.sub(r"[^A-Za-z0-9 ._/:=*+-]", "?", text)[:_MOST_WORDS].strip()
