"""Makes parts of a client."""

from collections.abc import AsyncIterable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from roboflow_async._engine.late_modules import LateModule, LatePart
from roboflow_async._engine.runtime import Engine
from roboflow_async._engine.settings import ClientOptions, Settings
from roboflow_async._engine.unclosed import Reminder
from roboflow_async._platform.workspace import WorkspaceOperations
from roboflow_async._targets.streams.items import ImageOf
from roboflow_async._targets.streams.results import Result
from roboflow_async._targets.streams.stream import ResultStream
from roboflow_async._targets.workflows.batch_work import BatchWork

if TYPE_CHECKING:
    from roboflow_async import types
    from roboflow_async._platform.batch import operations as batch_operations
else:
    types = LateModule("roboflow_async.types")
    batch_operations = LateModule("roboflow_async._platform.batch.operations")

__all__ = ["client_for_own_machine", "parts_that_may_fail", "run_batch"]

Client = TypeVar("Client")

# Not what limits the requests of a client, and not what was worked out for its host.
_FOR_OWN_MACHINE: Final = ClientOptions.__annotations__.keys() - {
    *("requests_per_second", "max_concurrency", "queue_timeout", "max_waiting", "limiter"),
    *("budget", "api_url", "api_key_transport"),
}


def parts_that_may_fail(options: ClientOptions) -> tuple[Engine, WorkspaceOperations]:
    """Outside of the constructor, whose variables an error tracker would record.

    Args:
        options: what the constructor was given.

    Raises:
        ConfigurationError: an argument or an environment variable is wrong.
    """
    settings = Settings.resolve(options)
    reminder = Reminder(
        f"a RoboflowClient for {settings.api_url} was used and never closed: write `async with "
        "RoboflowClient(...) as client:`, or call `await client.aclose()` when nothing needs it "
        "any more."
    )
    return Engine(settings, reminder), WorkspaceOperations(settings, reminder)


def run_batch(
    batch: "LatePart[batch_operations.BatchOperations]",
    work: BatchWork[Any],
    images: Iterable[Any] | AsyncIterable[Any],
    image: ImageOf | None,
    options: "types.BatchOptions",
    *,
    progress: bool,
) -> ResultStream[Result[Any, Any]]:
    """What runs a batch job; the arguments are those of `RunBatch`."""
    return batch().stream(work, images, image, options, progress=progress)


def client_for_own_machine(
    make: Callable[..., Client], engine: Engine, url: str, options: ClientOptions
) -> Client:
    """A client for a machine of the user's own, with a client's settings where none are given.

    Args:
        make: makes it of its options.
        engine: of the client whose settings it has.
        url: the machine's URL.
        options: what is different.
    """
    settings = {name: getattr(engine.settings, name) for name in _FOR_OWN_MACHINE}
    merged = {**settings, "requests_per_second": None, **options, "api_url": url}
    try:
        return make(**merged)
    except BaseException:
        del merged, options  # the key is in them, and error trackers record variables
        raise
