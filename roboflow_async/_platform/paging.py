"""Lists that a service of the platform gives, whole or page by page."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, TypeVar

from roboflow_async._engine.api.responses import Response, parse_json, unexpected
from roboflow_async._engine.jsonvalues import is_array, is_object

__all__ = ["items_of", "paged"]

Output = TypeVar("Output")

Page = tuple[list[Output], str | None]


def items_of(response: Response, name: str) -> list[Any]:
    """A list, or the list with this name in an object."""
    body: object = parse_json(response)
    items = body.get(name) if is_object(body) else body
    if not is_array(items):
        raise unexpected(response, f"it has no list of {name.replace('_', ' ')}")
    return items


async def paged(
    get: Callable[[dict[str, str], Callable[[Response], Page[Output]]], Awaitable[Page[Output]]],
    name: str,
    parse: Callable[[list[Any], Response], list[Output]],
    size: int,
    query: dict[str, str] | None = None,
) -> AsyncGenerator[list[Output]]:
    """The pages of a list.

    Args:
        get: asks for a page with a query, and parses the response.
        name: the name of the list in the response.
        parse: makes the items of a page.
        size: items of a page.
        query: what each request has besides.
    """

    def parse_page(response: Response) -> Page[Output]:
        body: object = parse_json(response)
        items = body.get(name) if is_object(body) else None
        if not is_object(body) or not is_array(items):
            raise unexpected(response, f"it has no list of {name}")
        token = body.get("nextPageToken")
        return parse(items, response), token if isinstance(token, str) and token else None

    asked, seen = {**(query or {}), "pageSize": str(size)}, set[str]()
    while True:
        items, token = await get(asked, parse_page)
        yield items
        if token is None or token in seen:  # a platform that repeats itself would never end
            return
        seen.add(token)
        asked["nextPageToken"] = token
