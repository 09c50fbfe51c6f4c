"""What is true while an attempt runs: its span is the current one, and nobody else traces it."""

from typing import Any, Final, cast

from opentelemetry import context as api
from opentelemetry.context import Context
from opentelemetry.propagate import inject
from opentelemetry.trace import INVALID_SPAN, Span, set_span_in_context

__all__ = ["QUIET_ALONE", "attempt_context", "quiet_context", "sent_headers"]

# The key that `opentelemetry.instrumentation.utils.suppress_http_instrumentation` sets, and that
# instrumentation of httpx, aiohttp and others asks for. Its home is the API, but it has no public
# name there; a later API without it gets the older key, which every instrumentation knows, too.
_QUIET: Final = cast(
    "str",
    getattr(cast("Any", api), "_SUPPRESS_HTTP_INSTRUMENTATION_KEY", "suppress_instrumentation"),
)
# The key under which a context has its span. Its name is the API's own affair, so it is asked.
(_SPAN,) = set_span_in_context(INVALID_SPAN, Context())
QUIET_ALONE: Final = Context({_QUIET: True})


def attempt_context(span: Span, before: Context) -> Context:
    """The context of an attempt with a span.

    Instrumentation of the HTTP library below would tell of it a second time, with the whole URL,
    where the key may be.
    """
    # In one step: `set_span_in_context` and `set_value` would copy it twice.
    return Context({**before, _SPAN: span, _QUIET: True})


def quiet_context(before: Context) -> Context:
    """The context of an attempt that nobody traces."""
    return Context({**before, _QUIET: True}) if before else QUIET_ALONE


def sent_headers(context: Context) -> dict[str, str]:
    """The headers that the program's propagator sends with a request, such as `traceparent`."""
    headers: dict[str, str] = {}
    inject(headers, context)
    return headers
