"""The page of the endpoints, from their declarations: where a page says `%endpoints%`."""

from typing import TYPE_CHECKING, Any

from roboflow_async import endpoints
from roboflow_async.endpoints import Endpoint, EndpointRequest

if TYPE_CHECKING:
    from sphinx.application import Sphinx

PLACE = "%endpoints%"
# What an example gives for a field that a request must have.
GIVEN = {
    "image": '"0001.jpg"',
    "mask_input": '[{"counts": "PPYo0", "size": [480, 640]}]',
    "model_id": '"my-project/3"',
    "prompt": '["a cat", "a dog"]',
    "prompts": '[{"type": "text", "text": "cat"}]',
    "subject": '"0001.jpg"',
    "text": '["a cat"]',
    "video": '"clip.mp4"',
}


def declared() -> dict[str, Endpoint[Any, Any]]:
    """Each endpoint by its name."""
    found = {name: getattr(endpoints, name) for name in endpoints.__all__}
    return {name: value for name, value in found.items() if isinstance(value, Endpoint)}


def arguments(request: type[EndpointRequest]) -> str:
    """What the example of a request gives to `run`: the main field, and those it must have."""
    needed = [name for name, field in request.model_fields.items() if field.is_required()]
    others = [f"{name}={GIVEN[name]}" for name in needed if name != request.first]
    return ", ".join([GIVEN[request.first], *others])


def endpoints_page() -> str:
    """Each endpoint with its path, request and response, and then the classes of those."""
    lines = ["```{eval-rst}", ".. py:module:: roboflow_async.endpoints", ""]
    for name, one in declared().items():
        lines += [
            f".. py:data:: {name}", "",
            f"   ``POST {one.path}`` takes `{one.request.__name__}`,",
            f"   gives `{one.response.__name__}`.", "", "   .. code-block:: python", "",
            f"      await client.endpoint(endpoints.{name}).run({arguments(one.request)})", "",
        ]  # fmt: skip
    classes = [getattr(endpoints, name) for name in endpoints.__all__ if name not in declared()]
    requests = [one for one in classes if issubclass(one, EndpointRequest)]
    responses = [one for one in classes if not issubclass(one, EndpointRequest)]
    for title, group in (("Requests", requests), ("Responses and their parts", responses)):
        lines += ["```", "", f"## {title}", "", "```{eval-rst}"]
        lines += [f".. autoclass:: roboflow_async.endpoints.{one.__name__}" for one in group]
    return "\n".join([*lines, "```", ""])


def _fill(_app: "Sphinx", _page: str, source: list[str]) -> None:
    if PLACE in source[0]:
        source[0] = source[0].replace(PLACE, endpoints_page())


def setup(app: "Sphinx") -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("source-read", _fill)
    return {"parallel_read_safe": True}
