"""Builds requests. Pure: no I/O.

The contract is the Inference Server's OpenAPI document, version 1.8.3 (tests/support/openapi.json).
"""

import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, Protocol

from roboflow_async._engine.api.api_key import KeyPlacement
from roboflow_async._engine.images.encoded import EncodedImage, ImageURL
from roboflow_async._engine.jsonvalues import JSONObject, is_object
from roboflow_async._engine.quick_dataclass import quick_dataclass
from roboflow_async.errors import ConfigurationError

__all__ = [
    "ImageRequests",
    "Piece",
    "PreparedRequest",
    "check_segment",
    "common_headers",
    "get_request",
    "image_request",
    "json_request",
]

# The name of a workspace, Workflow or project in a URL. Anything else would change the URL's
# meaning: slashes, only dots, `?`, `#`, `%`, line ends.
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")


class Piece(Protocol):
    """A piece of a body: bytes, or what makes them each time it is sent."""

    def __len__(self) -> int: ...

    def __bytes__(self) -> bytes: ...


@quick_dataclass
class PreparedRequest:
    """One request, ready to be sent any number of times.

    Attributes:
        path: the part after the API's base URL, with the query.
        body: pieces of the body, so that an image is not copied.
        method: GET, POST or PUT.
        content_type: the type of the body; empty: no such header.
        size: bytes of the body, where to add up its pieces would read a file; None: add them up.
        more_headers: other headers of this request alone.
        template: the path with names in place of what differs from call to call; None: it is not
            known.
        sink: gets the content of a successful response piece by piece, which then has none; for
            what is too large for memory. Only for a request that is sent once.
        is_free: whether the API bills nothing for it: a question about a model or a Workflow.
    """

    path: str
    body: Sequence[Piece] = ()
    method: Literal["GET", "POST", "PUT"] = "POST"
    content_type: bytes = b"application/json"
    size: int | None = None
    more_headers: tuple[tuple[bytes, bytes], ...] = ()
    sink: Callable[[bytes], None] | None = None
    template: str | None = None
    is_free: bool = False

    def __repr__(self) -> str:
        # Both may hold the key, and the body megabytes.
        return f"<request of {self.length} bytes>"

    @property
    def length(self) -> int:
        """Bytes of the body."""
        return sum(map(len, self.body)) if self.size is None else self.size

    def with_headers(self, more: tuple[tuple[bytes, bytes], ...]) -> "PreparedRequest":
        """The same request with more headers."""
        # Told of every attempt, so not with `replace`, which takes three times as long.
        return PreparedRequest(
            self.path, self.body, self.method, self.content_type, self.size,
            (*self.more_headers, *more), self.sink, self.template, self.is_free,
        )  # fmt: skip

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers of this request, besides those of all requests."""
        if self.method == "GET" and not self.body:
            return list(self.more_headers)
        kind = [(b"Content-Type", self.content_type)] if self.content_type else []
        return [*kind, (b"Content-Length", b"%d" % self.length), *self.more_headers]


def common_headers(key: KeyPlacement, *, user_agent: str, host: str) -> dict[str, str]:
    """The headers of every request."""
    return {
        "Host": host,
        "Accept": "application/json",
        # Responses are small, and an uncompressed one cannot decompress into gigabytes.
        "Accept-Encoding": "identity",
        "User-Agent": user_agent,
        **key.headers(),
    }


def check_segment(name: str, value: object) -> None:
    """Raise `ConfigurationError` unless `value` is a name that may be in a URL's path."""
    if not isinstance(value, str) or not _SEGMENT.fullmatch(value):
        shown = repr(value)[:80]
        raise ConfigurationError(
            f"{name}={shown} is not valid: give the name as the app's URL shows it, "
            "with at most 200 letters, digits, '-', '_' and '.'."
        )


def json_request(
    path: str,
    fields: JSONObject,
    key: KeyPlacement,
    what: str,
    parameters: Mapping[str, str] | None = None,
    *,
    method: Literal["GET", "POST"] = "POST",
    template: str | None = None,
    is_free: bool = False,
) -> PreparedRequest:
    """A request with a JSON object.

    Args:
        path: the part after the API's base URL.
        fields: the fields of the object; images anywhere in them are `EncodedImage` or `ImageURL`.
        key: the API key and its place.
        what: what error messages call the fields.
        parameters: the query.
        method: POST, or GET: some of the server's GETs have a body, too.
        template: see `PreparedRequest`.
        is_free: whether the API bills nothing for it.

    Raises:
        ConfigurationError: a field cannot be written as JSON.
    """
    pieces = _json_pieces({**fields, **key.body_fields()}, what)
    return PreparedRequest(
        path + key.query(parameters), tuple(pieces), method, template=template, is_free=is_free
    )


class ImageRequests:
    """Requests that differ in their image alone: what is around it is written once.

    Args:
        make: makes one of an image, with `json_request`. What it writes must not change later.
    """

    def __init__(self, make: Callable[[EncodedImage], PreparedRequest]) -> None:
        self._any = made = make(EncodedImage((_PLACE_AS_JSON,)))
        place = made.body.index(_PLACE_AS_JSON)
        self._before = b"".join(map(bytes, made.body[:place]))
        self._after = b"".join(map(bytes, made.body[place + 1 :]))
        self._size = len(self._before) + len(self._after)

    def of(self, image: EncodedImage) -> PreparedRequest:
        """The request with this image, which has no metadata."""
        made, chunks = self._any, image.chunks
        return PreparedRequest(
            made.path,
            (self._before, *chunks, self._after),
            size=self._size + sum(map(len, chunks)),
            template=made.template,
        )


def image_request(
    path: str,
    parameters: Mapping[str, str],
    image: EncodedImage | ImageURL,
    key: KeyPlacement,
    template: str | None = None,
) -> PreparedRequest:
    """A POST of one image (base64 text or a URL), with the parameters in the query."""
    if isinstance(image, ImageURL):
        parameters, body = {**parameters, "image": image.url}, ()
    else:
        body = image.chunks
    return PreparedRequest(
        path + key.query(parameters, json_body=False),
        body,
        content_type=b"application/x-www-form-urlencoded",
        template=template,
    )


def get_request(
    path: str,
    key: KeyPlacement,
    parameters: Mapping[str, str] | None = None,
    template: str | None = None,
) -> PreparedRequest:
    """A GET request."""
    query = key.query(parameters or {}, json_body=False)
    return PreparedRequest(path + query, method="GET", template=template, is_free=True)


# Stands for an image while everything else is written; nothing else can be the same by chance.
_PLACE: Final = secrets.token_hex(16)
_PLACE_AS_JSON: Final = f'"{_PLACE}"'.encode()


def _json_pieces(fields: JSONObject, what: str) -> list[Piece]:
    """The fields as JSON, with images as they are: base64 needs no escapes."""
    images: list[EncodedImage] = []

    def written(value: object) -> object:
        if isinstance(value, EncodedImage):
            images.append(value)
            return _PLACE
        if isinstance(value, ImageURL):
            return {"type": "url", "value": value.url}
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")

    # All at once, because each call of the encoder costs more than it takes to write a few fields.
    encoder = json.JSONEncoder(allow_nan=False, separators=(",", ":"), default=written)
    try:
        text = encoder.encode(fields).encode()
    except RecursionError:
        raise ConfigurationError(
            f"{what} cannot be written as JSON: they are nested too deeply, or contain themselves."
        ) from None
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{what} cannot be written as JSON ({_unwritable(fields, encoder)}: "
            f"{str(error)[:200]}): give finite numbers, strings, booleans, None, lists and dicts."
        ) from None
    first, *others = text.split(_PLACE_AS_JSON)
    pieces: list[Piece] = [first]
    for image, following in zip(images, others, strict=True):
        pieces += [b'{"type":"base64","value":"', *image.chunks, _end_of(image, encoder), following]
    return pieces


def _end_of(image: EncodedImage, encoder: json.JSONEncoder) -> bytes:
    if image.video_metadata is None:
        return b'"}'
    return b'","video_metadata":' + encoder.encode(image.video_metadata).encode() + b"}"


def _unwritable(fields: JSONObject, encoder: json.JSONEncoder) -> str:
    """The name of the first field, also of a field within, that cannot be written."""
    for name, value in fields.items():
        try:
            encoder.encode(value)
        except (TypeError, ValueError):
            within = _unwritable(value, encoder) if is_object(value) else ""
            return within or repr(name)[:80]
    return ""  # one of the names itself
