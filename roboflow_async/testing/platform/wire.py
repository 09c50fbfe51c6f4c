"""How the stand-in platform reads requests and refuses them."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from roboflow_async._engine.jsonvalues import JSONObject, is_object

__all__ = [
    "Refusal",
    "check_id",
    "first_file",
    "json_object",
    "page",
    "whole_number",
]


class Refusal(Exception):  # noqa: N818 - a response, not a failure of this program
    """The request gets an error in the form of its service.

    Args:
        status_code: the HTTP status.
        message: what is wrong.
        hint: what to do about it.
        headers: more headers.
    """

    def __init__(
        self,
        status_code: int,
        message: str,
        hint: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.message = message
        self.hint = hint
        self.headers = headers

    def response(self, *, plain: bool) -> Response:
        """The response: plain text, or the JSON that Batch Processing and Data Staging have."""
        if plain:
            return PlainTextResponse(self.message, self.status_code, self.headers)
        # Both forms of the services occur, so that clients learn to read both.
        error: Any = self.message
        if self.hint is not None:
            error = {"message": self.message, "hint": self.hint}
        return JSONResponse({"error": error}, self.status_code, self.headers)


async def json_object(request: Request, *, may_be_empty: bool = False) -> JSONObject:
    """The JSON object in a request's body."""
    raw = await request.body()
    if not raw and may_be_empty:
        return {}
    try:
        body: object = json.loads(raw)
    except ValueError:
        raise Refusal(400, "The body is not JSON.") from None
    if not is_object(body):
        raise Refusal(400, "The body is not a JSON object.")
    return body


def check_id(what: str, value: str, pattern: str) -> None:
    """Refuse an id that does not fit its pattern."""
    if not re.fullmatch(pattern, value):
        raise Refusal(400, f"{what} {value[:100]!r} is not valid.", f"It has to match {pattern}")


def whole_number(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    """A whole number in a query, at least 1."""
    text = query.get(name, str(default))
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= most:
        raise Refusal(400, f"{name}={text[:40]!r} has to be a number from 1 to {most}.")
    return int(text)


_LARGEST_PAGE: Final = 1000


def page(
    items: Sequence[Any],
    query: Mapping[str, str],
    name: str,
    *,
    size: int,
    most: int = _LARGEST_PAGE,
) -> JSONObject:
    """One page of a list, with the token of the next one.

    Args:
        items: the whole list.
        query: the request's, with `pageSize` and `nextPageToken`.
        name: the name of the list in the response.
        size: items in a page, if the query does not say.
        most: the largest `pageSize`.
    """
    size = whole_number(query, "pageSize", min(size, most), most)
    token = query.get("nextPageToken", "page-0")
    if not re.fullmatch(r"page-[0-9]{1,9}", token):
        raise Refusal(400, "nextPageToken is not one of this list's.")
    start = int(token.removeprefix("page-"))
    following = start + size
    return {
        name: list(items[start:following]),
        "nextPageToken": f"page-{following}" if following < len(items) else None,
    }


_BOUNDARY: Final = re.compile(r'boundary="?([^";]{1,200})"?')
_FIELD_NAME: Final = re.compile(rb'[; ]name="([^"]*)"')


def first_file(body: bytes, content_type: str) -> tuple[str, bytes]:
    """The name and the content of the first part of a `multipart/form-data` body."""
    found = _BOUNDARY.search(content_type)
    if not content_type.startswith("multipart/form-data") or found is None:
        raise Refusal(400, "The body is not multipart/form-data.")
    line = b"--" + found[1].encode()
    start = body.find(line)
    head_end = body.find(b"\r\n\r\n", start)
    end = body.find(b"\r\n" + line, head_end + 2)
    name = _FIELD_NAME.search(body, start, head_end)
    if start < 0 or head_end < 0 or end < 0 or name is None:
        raise Refusal(400, "The body has no file.")
    return name[1].decode("utf-8", "replace"), body[head_end + 4 : end]
