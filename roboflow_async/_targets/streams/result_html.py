"""A stream's result in a notebook: the picture with what was found in it, and tables."""

from collections.abc import Iterator, Mapping
from os import PathLike
from typing import Any, Final, cast

from pydantic import BaseModel

from roboflow_async._engine.html import note, shown_text, table
from roboflow_async._engine.images.decode import decode_image
from roboflow_async._engine.images.reading.file_objects import is_bytes_like
from roboflow_async._engine.images.thumbnails import Thumbnail, thumbnail_of
from roboflow_async._engine.jsonvalues import is_object
from roboflow_async._targets.streams.results import Result
from roboflow_async.endpoints.base import EndpointRequest
from roboflow_async.types.html import Found, found_in, prediction_html

__all__ = ["result_html"]

_MOST_PICTURES: Final = 4
# The base64 of the first bytes of a JPEG, a PNG and a WebP.
_PICTURES: Final = ("/9j/", "iVBORw0KGgo", "UklGR")


def result_html(result: Result[Any, Any], image: object) -> str:
    """The result as a page shows it.

    Args:
        result: of a stream.
        image: what was sent, if `result.input` is another object; else None.
    """
    facts = [f"#{result.index}", _name_of(result.input)]
    facts.append("ok" if result.error is None else type(result.error).__name__)
    facts.append(f"{result.attempts} attempt{'' if result.attempts == 1 else 's'}")
    if result.latency:
        facts.append(f"{result.latency:.2f} s")
    title = " · ".join(shown_text(fact) for fact in facts)
    if result.error is not None:
        # No picture: the client may have refused to read it.
        body = note(result.error.message)
    else:
        body = _success(result.input if image is None else image, result.output)
    return f"<div><div><b>{title}</b></div>{body}</div>"


def _success(given: object, output: object) -> str:
    outputs: Mapping[str, object] = {"": output}
    found = found_in(output)
    if found is None and is_object(output):  # a Workflow's outputs by name
        outputs = output
    seen = {name: found_in(value) for name, value in outputs.items()}
    pictures = [_with_marks(one, [*seen.values()]) for one in _pictures_of(given)]
    tables: list[str] = []
    plain: list[tuple[str, object]] = []
    for name, value in outputs.items():
        one = seen[name]
        if one is not None:
            tables.append((f"<div><b>{shown_text(name)}</b></div>" if name else "") + one.table)
        elif isinstance(value, BaseModel):
            tables.append(prediction_html(value))
        elif (picture := _picture_in(value)) is None:
            plain.append((name, value))
        elif len(pictures) < _MOST_PICTURES:
            pictures.append(_element(picture, name))
    return "".join((*pictures, *tables, table(plain)))


def _pictures_of(given: object) -> Iterator[Thumbnail]:
    if isinstance(given, EndpointRequest):
        given = getattr(given, "image", None)
    images = [given]
    if isinstance(given, Mapping):  # by the names of a Workflow's inputs
        images = [*cast("Mapping[str, object]", given).values()]
    for image in images[:_MOST_PICTURES]:
        picture = thumbnail_of(image)
        if picture is not None:
            yield picture


def _with_marks(picture: Thumbnail, found: list[Found | None]) -> str:
    for one in found:
        # Those of a crop, or of another of several images, are not in this one.
        if one is not None and one.size in (None, picture.size):
            picture.draw(one.marks)
    return _element(picture, "the image")


def _picture_in(value: object) -> Thumbnail | None:
    """An output that is an image, as `decode_image` takes it."""
    text: object = value.get("value") if is_object(value) else value
    if not isinstance(text, str) or not text.startswith(_PICTURES):
        return None
    try:
        return thumbnail_of(decode_image(text))
    except Exception:  # noqa: BLE001 - it only began like one
        return None


def _element(picture: Thumbnail, name: str) -> str:
    title = shown_text(name)
    return f"<img src='{picture.data_url()}' alt='{title}' title='{title}'> "


def _name_of(value: object) -> object:
    if isinstance(value, (str, PathLike)):
        return str(cast("str | PathLike[str]", value))
    if is_bytes_like(value):
        return f"{len(value):,} bytes"
    return value
