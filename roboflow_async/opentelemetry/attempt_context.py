"""What is true while an attempt runs: its span is the current one, and nobody else traces it."""

from typing import Any, Final, cast

from opentelemetry import context as api
from opentelemetry.context import Context
from opentelemetry.propagate import inject
from opentelemetry.trace import Span, set_span_in_context

__all__ = ["attempt_context", "sent_headers"]

# The key that `opentelemetry.instrumentation.utils.suppress_http_instrumentation` sets, and that
# instrumentation of httpx, aiohttp and others asks for. Its home is the API, but it has no public
# name there; a later API without it gets the older key, which every instrumentation knows, too.
_QUIET: Final = cast(
    "str",
    getattr(cast("Any", api), "_SUPPRESS_HTTP_INSTRUMENTATION_KEY", "suppress_instrumentation"),
)


def attempt_context(span: Span, before: Context) -> Context:
    """The context of an attempt.

    Instrumentation of the HTTP library below would tell of it a second time, with the whole URL,
    where the key may be.
    """
    is_traced = span.get_span_context().is_valid
    context = set_span_in_context(span, before) if is_traced else before
    return api.set_value(_QUIET, True, context)  # noqa: FBT003 - its API


def sent_headers(context: Context) -> dict[str, str]:
    """The headers that the program's propagator sends with a request, such as `traceparent`."""
    headers: dict[str, str] = {}
    inject(headers, context)
    return headers
