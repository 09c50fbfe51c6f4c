"""A line of a journal: JSON that is safe for readers and terminals, with the name of its input."""

import base64
import json
import re
from collections.abc import Mapping
from typing import Any, Final

import pydantic_core

from roboflow_async._engine.jsonvalues import JSONObject, is_object
from roboflow_async._targets.journal.names import readable

__all__ = ["json_line", "json_text", "line_with", "name_in", "quick_json_text", "restored_line"]

_FIELDS_OF_AN_ERROR: Final = ("type", "message")
_NO_ERROR: Final = {"type": "", "message": ""}
# Characters that JSON does not escape, but that control a terminal or end a line for some readers.
_ESCAPED: Final = re.compile(
    "[\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
# UTF-8 cannot hold them, and strict readers of JSON refuse a file that has one, also escaped.
_LONE_SURROGATES: Final = re.compile("[\ud800-\udfff]")


def json_line(line: Mapping[str, Any]) -> bytes:
    """A line of JSON in UTF-8 that is safe for readers and terminals.

    If the name of an image is not UTF-8, "image" is a readable form of it, and "image_bytes" has
    its bytes in base64.

    Raises:
        ValueError: it holds a number that is not finite, which JSON cannot write.
    """
    image = line.get("image")
    if isinstance(image, str) and "output" in line and len(line) > 2:
        how = {name: value for name, value in line.items() if name not in ("image", "output")}
        return line_with(image, quick_json_text(line["output"]), how)
    if isinstance(image, str) and _LONE_SURROGATES.search(image):
        name = _named(image)
        line = {**name, **{key: value for key, value in line.items() if key not in name}}
    return json_text(line).encode() + b"\n"


def json_text(value: object) -> str:
    """A value as JSON in which nothing controls a terminal or ends a line.

    Raises:
        ValueError: it holds a number that is not finite, which JSON cannot write.
    """
    return _safe(json.dumps(value, ensure_ascii=False, allow_nan=False))


def quick_json_text(value: object) -> str:
    """The same without blanks, five times as fast, for values that are large.

    Raises:
        ValueError: it holds a number that is not finite, which JSON cannot write.
    """
    try:
        text = pydantic_core.to_json(value).decode()
    except ValueError:  # lone surrogates
        return json_text(value)
    # It writes them as these words, which mostly stand in a text.
    if "NaN" in text or "Infinity" in text:
        return json_text(value)
    return _safe(text)


def _safe(text: str) -> str:
    if not text.isprintable():
        # These characters are only in strings, where the escape means the same.
        text = _LONE_SURROGATES.sub(lambda found: json.dumps(readable(found[0]))[1:-1], text)
        text = _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return text


def line_with(image: str, output: str, how: Mapping[str, Any]) -> bytes:
    """The line of an output that is JSON text already.

    Args:
        image: the name of the input.
        output: what `json_text` made of its output.
        how: the other fields; at least one.
    """
    name = _named(image) if _LONE_SURROGATES.search(image) else {"image": image}
    return f'{json_text(name)[:-1]}, "output": {output}, {json_text(how)[1:]}\n'.encode()


def restored_line(line: Any) -> Any:
    """A line with the input's own name, which need not be UTF-8.

    Raises:
        ValueError: the name cannot be read.
    """
    if not is_object(line) or not isinstance(line.get("image_bytes"), str):
        return line
    # binascii's error is a ValueError: it is not such a line
    name = base64.b64decode(line["image_bytes"], validate=True)
    image = name.decode("utf-8", "surrogateescape")
    return {
        key: image if key == "image" else value
        for key, value in line.items()
        if key != "image_bytes"
    }


def name_in(line: Any) -> tuple[str, bool]:
    """The name of a line's input, and whether it failed.

    Raises:
        ValueError: it is no line of a journal.
    """
    image = line.get("image") if is_object(line) else None
    error = line.get("error", _NO_ERROR) if is_object(line) else None
    if not isinstance(image, str) or not is_object(error):
        raise ValueError("no result line")
    if any(not isinstance(error.get(name), str) for name in _FIELDS_OF_AN_ERROR):
        raise ValueError("no result line")
    return image, error is not _NO_ERROR


def _named(image: str) -> JSONObject:
    encoded = base64.b64encode(_bytes_of(image)).decode()
    return {"image": readable(image), "image_bytes": encoded}


def _bytes_of(name: str) -> bytes:
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # surrogates that stand for no byte
        return name.encode("utf-8", "surrogatepass")
