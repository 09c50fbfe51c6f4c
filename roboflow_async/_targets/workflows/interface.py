"""The names of a Workflow's inputs and outputs, asked of the server once for each Workflow."""

import asyncio
import logging
from collections.abc import Collection, Iterable
from copy import copy
from dataclasses import dataclass
from math import inf
from typing import Final

from roboflow_async._engine.api.responses import Response, parse_object
from roboflow_async._engine.calls.fair_queue import Flow
from roboflow_async._engine.checks import nearest
from roboflow_async._engine.jsonvalues import JSONObject, is_array, is_object
from roboflow_async._engine.runtime import Engine
from roboflow_async._targets.workflows.requests import WorkflowOptions, describe_request
from roboflow_async.errors import (
    APIConnectionError,
    ConfigurationError,
    RateLimitError,
    ResponseError,
    RoboflowError,
)

__all__ = ["InterfaceLookup"]

_log: Final = logging.getLogger("roboflow_async.workflow_interface")

# Seconds after which names that are not known are looked for again: somebody may have edited the
# Workflow since.
_FRESH: Final = 60.0
# Seconds until the server is asked again after a failure that may have passed.
_AGAIN: Final = 15.0
_WAITS: Final = 2  # after a 429
_WAIT: Final = 0.5  # seconds, if the 429 does not say how long
_LONGEST_WAIT: Final = 2.0  # seconds
_MOST_WORKFLOWS: Final = 1000  # that are remembered
_MOST_SHOWN: Final = 20  # names in an error


_Names = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Interface:
    """The names of inputs and outputs; None: they are not known."""

    inputs: _Names | None
    outputs: _Names | None
    stale_at: float = inf  # by the loop's clock

    def missing(
        self, parameters: Iterable[str], images: Iterable[str], outputs: Iterable[str]
    ) -> tuple[str, str, _Names] | None:
        """The first name that is none of the Workflow's: its kind, itself, and what there is."""
        for kind, given, known in (
            ("input", (*parameters, *images), self.inputs),
            ("output", outputs, self.outputs),
        ):
            for name in given:
                if known is not None and name not in known:
                    return kind, name, known
        return None


_Key = tuple[str | None, str | None, str | None]


class InterfaceLookup:
    """Finds names that a Workflow does not have, before a request with them is billed.

    The server ignores an input that it does not know, so that a misspelt one silently leaves the
    default in force for every image. A specification has its names in it; for other Workflows the
    server is asked, which is not billed (its `describe_interface` runs nothing). If it cannot
    say, nothing is checked.

    Args:
        engine: sends the requests.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: dict[_Key, _Interface] = {}
        self._asking: dict[_Key, asyncio.Event] = {}

    def asking_by(self, engine: Engine) -> "InterfaceLookup":
        """The same, which knows and learns the same, and whose requests this engine sends."""
        other = copy(self)
        other._engine = engine  # noqa: SLF001 - its own class
        return other

    async def check(
        self,
        options: WorkflowOptions,
        parameters: Collection[str],
        images: Collection[str],
        image_error: type[RoboflowError] = ConfigurationError,
        *,
        patient: bool = False,
    ) -> None:
        """Check the names that a call gives.

        Args:
            options: which Workflow; its `excluded_fields` are checked, too.
            parameters: the names of the parameters.
            images: the names of the images. They are checked only if the interface is known
                anyway, because most calls give nothing but an image under its usual name.
            image_error: what to raise for a wrong name of an image.
            patient: whether the call waits for its turn as long as it takes, as a stream does.

        Raises:
            ConfigurationError: the Workflow has no input, or no output, with such a name.
        """
        outputs = options.excluded_fields or ()
        if not parameters and not outputs:
            return
        interface = await self._interface(options, patient=patient)
        missing = interface.missing(parameters, images, outputs)
        is_stale = asyncio.get_running_loop().time() >= interface.stale_at
        if is_stale and (missing is not None or interface.inputs is None):
            if self._known.get(_key_of(options)) is interface:  # nobody else has asked again
                del self._known[_key_of(options)]
            interface = await self._interface(options, patient=patient)
            missing = interface.missing(parameters, images, outputs)
        if missing is not None:
            kind, name, known = missing
            is_image = kind == "input" and name not in parameters
            raise (image_error if is_image else ConfigurationError)(_told(kind, name, known))

    async def _interface(self, options: WorkflowOptions, *, patient: bool) -> _Interface:
        """The interface; several calls that need it at the same time ask once."""
        given = options.specification
        if given is not None:
            return _Interface(_declared(given, "inputs"), _declared(given, "outputs"))
        key = _key_of(options)
        while key not in self._known:
            asked = self._asking.get(key)
            if asked is not None:
                await asked.wait()
                continue
            asked = self._asking[key] = asyncio.Event()
            try:
                found = await self._ask(options, patient=patient)
                while len(self._known) >= _MOST_WORKFLOWS:
                    del self._known[next(iter(self._known))]
                self._known[key] = found
            finally:  # if this call is cancelled, another one asks
                del self._asking[key]
                asked.set()
        return self._known[key]

    async def _ask(self, options: WorkflowOptions, *, patient: bool) -> _Interface:
        """Ask the server; whatever goes wrong, the call itself must not suffer from it."""
        clock = asyncio.get_running_loop().time
        settings = self._engine.settings
        limit: float | None = None
        if settings.queue_timeout is not None and not patient:
            limit = settings.queue_timeout + settings.timeout
        try:
            async with asyncio.timeout(limit):
                found = await self._describe(options)
        except (RoboflowError, TimeoutError) as error:
            _log.info("the names of a Workflow's inputs are not checked: %s", error or "no turn")
            passing = isinstance(error, (RateLimitError, APIConnectionError, TimeoutError))
            return _Interface(None, None, clock() + _AGAIN if passing else inf)
        return _Interface(found.inputs, found.outputs, clock() + _FRESH)

    async def _describe(self, options: WorkflowOptions) -> _Interface:
        request = describe_request(options, self._engine.key)
        dispatcher = self._engine.runtime().dispatcher
        # In a separate flow, because `queue_timeout` is for single calls.
        flow = Flow("interactive", outlives_outages=False)
        for waits in range(_WAITS, -1, -1):
            try:
                # Not as a call with retries: a server without this path may respond with a 500,
                # which would look like an outage, and a 429 to a question must slow down nothing.
                return await dispatcher.call(request, _parse, flow, retry=False)
            except RateLimitError as error:
                if not waits:
                    raise
                asked_for = error.retry_after if error.retry_after is not None else _WAIT
            await asyncio.sleep(min(asked_for, _LONGEST_WAIT))
        raise AssertionError("the last attempt returns or raises")


def _key_of(options: WorkflowOptions) -> _Key:
    return options.workspace_name, options.workflow_id, options.workflow_version_id


def _parse(response: Response) -> _Interface:
    content = parse_object(response)
    inputs = content.get("inputs")
    if not is_object(inputs):
        raise ResponseError("the response is not a Workflow's interface.")
    outputs = content.get("outputs")
    return _Interface(tuple(inputs), tuple(outputs) if is_object(outputs) else None)


def _declared(specification: JSONObject, what: str) -> _Names | None:
    """The names of the inputs or outputs in a specification; None if it is not understood."""
    declared = specification.get(what)
    if not is_array(declared):
        return None
    names = [one.get("name") if is_object(one) else None for one in declared]
    texts = tuple(name for name in names if isinstance(name, str))
    return texts if len(texts) == len(names) else None


def _told(kind: str, name: str, known: _Names) -> str:
    has = ", ".join(f"{one:.80}" for one in known[:_MOST_SHOWN]) or "none"
    more = f" and {len(known) - _MOST_SHOWN} more" if len(known) > _MOST_SHOWN else ""
    near = nearest(name, known)
    meant = f" Did you mean {near:.80}?" if near is not None else ""
    return f"this Workflow has no {kind} {name:.80}: it has {has}{more}.{meant}"
