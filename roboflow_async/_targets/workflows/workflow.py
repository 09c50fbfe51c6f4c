"""`Workflow`: the target that most people run."""

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack, cast, overload

from roboflow_async._engine.calls.priority import Priority, check_priority
from roboflow_async._engine.checks import check_flag
from roboflow_async._engine.late_modules import LateModule
from roboflow_async._targets.base import Target
from roboflow_async._targets.journal.keys import JournalKey
from roboflow_async._targets.prepared import TargetContext
from roboflow_async._targets.streams.results import Result, WarmUpReport
from roboflow_async._targets.streams.stream import ResultStream
from roboflow_async._targets.workflows.batch_work import BatchWork
from roboflow_async._targets.workflows.codec import WorkflowCodec

if TYPE_CHECKING:
    from roboflow_async import types
else:
    types = LateModule("roboflow_async.types")

__all__ = ["Workflow", "batch_work"]

Output = TypeVar("Output")
InputT = TypeVar("InputT", bound="types.WorkflowInput")
Item = TypeVar("Item")


class Workflow(Target[Output]):
    """A Workflow to run on images. Made by `RoboflowClient.workflow`; frozen."""

    def __init__(
        self, context: TargetContext, codec: WorkflowCodec[Output], *, priority: Priority | None
    ) -> None:
        super().__init__(context, codec, ("workflow", codec.name), priority=priority)

    @property
    def _workflow(self) -> WorkflowCodec[Output]:
        return cast("WorkflowCodec[Output]", self._codec)

    def __repr__(self) -> str:
        return f"<Workflow {self.name}>"

    @property
    def name(self) -> str:
        """`workspace/workflow`, or `inline` for a specification."""
        return self._workflow.name

    def moved_to(self, context: TargetContext) -> "Workflow[Output]":
        """The same Workflow, run by another client. The library calls it.

        Args:
            context: what that client gives its targets.
        """
        codec = self._workflow.with_context(context)
        context.check_parameters(codec.parameters)
        return Workflow(context, codec, priority=self._priority)

    async def run(self, image: "types.WorkflowInput", **parameters: Any) -> Output:
        """Run the Workflow on one image.

        Args:
            image: an image, or a dict of them by the names of the Workflow's image inputs.
            **parameters: the Workflow's other inputs; they override those of
                `client.workflow(parameters=)`.

        Returns:
            Its output: a dict by output name, or an instance of `output_type`.

        Raises:
            ImageError: the image, or a parameter that may be one (a URL that `allow_urls` refuses),
                cannot be sent; nothing was sent.
            ConfigurationError: a parameter cannot be sent, or the Workflow has no input of its
                name (which the server is asked once, if there are parameters); nothing was billed.
            QueueTimeoutError: no turn within `queue_timeout`; nothing was sent.
            APIError: the call failed for good.
        """
        return await self._run(image, parameters)

    async def result(self, image: InputT, **parameters: Any) -> Result[InputT, Output]:
        """Run the Workflow on one image, and tell how that went, as `stream` does for each.

        Args:
            image: an image, or a dict of images by input name.
            **parameters: as those of `run`.

        Returns:
            The output, or the error in its place: `result.ok` tells which. It has the times,
            the attempts and the cost of the call, too.

        Raises:
            ConfigurationError: a parameter is wrong; nothing was sent.
            AuthenticationError, UsageLimitError, NotFoundError: every other image would fail in the
                same way.
        """
        return await self._one_result(image, parameters)

    @overload
    def stream(
        self,
        images: Iterable[InputT] | AsyncIterable[InputT],
        *,
        image: None = None,
        ordered: bool = False,
        priority: Priority | None = None,
        progress: bool = False,
        journal: str | PathLike[str] | None = None,
        key: Literal["content"] | Callable[[InputT], JournalKey] | None = None,
        retry_failed: bool = False,
    ) -> ResultStream[Result[InputT, Output]]: ...

    @overload
    def stream(
        self,
        images: Iterable[Item] | AsyncIterable[Item],
        *,
        image: "Callable[[Item], types.WorkflowInput | Awaitable[types.WorkflowInput]]",
        ordered: bool = False,
        priority: Priority | None = None,
        progress: bool = False,
        journal: str | PathLike[str] | None = None,
        key: Literal["content"] | Callable[[Item], JournalKey] | None = None,
        retry_failed: bool = False,
    ) -> ResultStream[Result[Item, Output]]: ...

    # For mypy, which takes a list of several kinds for a list of objects, if nothing else is asked.
    @overload
    def stream(  # pyright: ignore[reportOverlappingOverload]
        self,
        images: "Iterable[types.WorkflowInput] | AsyncIterable[types.WorkflowInput]",
        *,
        image: None = None,
        ordered: bool = False,
        priority: Priority | None = None,
        progress: bool = False,
        journal: str | PathLike[str] | None = None,
        key: "Literal['content'] | Callable[[types.WorkflowInput], JournalKey] | None" = None,
        retry_failed: bool = False,
    ) -> "ResultStream[Result[types.WorkflowInput, Output]]": ...

    def stream(
        self,
        images: Iterable[Any] | AsyncIterable[Any],
        *,
        image: Callable[[Any], Any] | None = None,
        ordered: bool = False,
        priority: Priority | None = None,
        progress: bool = False,
        journal: str | PathLike[str] | None = None,
        key: Literal["content"] | Callable[[Any], JournalKey] | None = None,
        retry_failed: bool = False,
    ) -> ResultStream[Result[Any, Output]]:
        """Run the Workflow on many images, in parallel, at the pace that the API allows.

        Args:
            images: any iterable or async iterable of images, or of dicts of them. It may be
                endless: it is read only as fast as requests are sent, at most `max_concurrency`
                inputs ahead. With `image=`, any items.
            image: a function that gives the image of an item (or a dict of images), such as
                `lambda row: row.path`; `result.input` is the item. It may be `async`, for a
                download. A plain one runs on the event loop, so it should be quick. If it raises,
                that is an `ImageError` of this item.
            ordered: True gives results in the order of the inputs; False, as they complete.
            priority: "interactive" calls go before "bulk" calls. Default: the Workflow's, else
                "bulk".
            progress: True shows a bar on stderr (extra `cli`), or in a notebook.
            journal: a file that keeps each result before it is handed over, so that a stream that
                was stopped or killed at any moment goes on where it was: what is in it is not sent
                again, and comes with `result.from_journal`. Its suffix tells its form: ".jsonl"
                (lines of JSON), or ".sqlite" (for hundreds of thousands of inputs and more). It is
                of one target with its parameters on one host, and of one stream at a time. Inputs
                that failed for a reason that may be gone are sent again, and files that changed.
            key: what tells inputs apart: "content" (equal ones are billed once), or a function that
                gives a text or a whole number for an input, such as `lambda row: row.id`. Default:
                the path or URL; of anything else the content. With `image=`, items that are no
                texts, paths or numbers need one.
            retry_failed: True sends again all inputs of the journal that failed.

        Returns:
            An async generator with one `Result` for each input. A bad image gives a `Result` with
            an `error`, and never ends the stream. If the loop may end early, use it as `async with
            workflow.stream(...) as results:`; one that is dropped before its end gives a
            `ResourceWarning`.

        Raises (while it is iterated):
            AuthenticationError, UsageLimitError, NotFoundError: every image would fail in the same
                way, so the first of these errors ends the stream, and nothing more is sent.
            ConfigurationError: `images` is not an iterable, a parameter cannot be sent, the
                Workflow has no input of its name, the bar needs an extra, the journal cannot be
                used or is of another target, or an input has no key. Nothing was sent for it.
            JournalError: the journal cannot be written any more, such as on a full disk. What came
                is handed over first, and the error says how much of it the journal does not have.
            Exception: the error that the iterable itself raised, after the results of what was
                sent.
        """
        return self._stream(
            images,
            image=image,
            ordered=ordered,
            priority=priority,
            progress=progress,
            journal=journal,
            key=key,
            retry_failed=retry_failed,
        )

    @overload
    def batch(
        self,
        images: Iterable[InputT] | AsyncIterable[InputT],
        *,
        image: None = None,
        ordered: bool = False,
        priority: Priority | None = None,
        progress: bool = False,
        **options: "Unpack[types.BatchOptions]",
    ) -> ResultStream[Result[InputT, Output]]: ...

    @overload
    def batch(
        self,
        images: Iterable[Item] | AsyncIterable[Item],
        *,
        image: "Callable[[Item], types.WorkflowInput | Awaitable[types.WorkflowInput]]",
        ordered: bool = False,
        priority: Priority | None = None,
        progress: bool = False,
        **options: "Unpack[types.BatchOptions]",
    ) -> ResultStream[Result[Item, Output]]: ...

    # For mypy, as with `stream`.
    @overload
    def batch(  # pyright: ignore[reportOverlappingOverload]
        self,
        images: "Iterable[types.WorkflowInput] | AsyncIterable[types.WorkflowInput]",
        *,
        image: None = None,
        ordered: bool = False,
        priority: Priority | None = None,
        progress: bool = False,
        **options: "Unpack[types.BatchOptions]",
    ) -> "ResultStream[Result[types.WorkflowInput, Output]]": ...

    def batch(
        self,
        images: Iterable[Any] | AsyncIterable[Any],
        *,
        image: Callable[[Any], Any] | None = None,
        ordered: bool = False,
        priority: Priority | None = None,
        progress: bool = False,
        **options: "Unpack[types.BatchOptions]",
    ) -> ResultStream[Result[Any, Output]]:
        """Run the Workflow on many images with Batch Processing, whose results are not needed now.

        It uploads the images, submits a job, waits for its end, which takes minutes or hours, and
        gives what `stream` gives. With `name=`, a program that was killed goes on when it is
        started again: nothing is uploaded or computed twice.

        Args:
            images: any iterable or async iterable of images, or of videos; it has to end. With
                `image=`, any items. Of an iterator, bytes, arrays and pictures are kept on disk
                until their results are given.
            image: a function that gives the image of an item, as for `stream`.
            ordered: has no effect: results come in the order of the inputs.
            priority: has no effect: jobs have none.
            progress: True shows a bar of the results on stderr (extra `cli`), or in a notebook.
            **options: of the job, such as `name` and `machine`: see `BatchOptions` and
                `client.batch.submit`.

        Returns:
            An async generator with one `Result` for each input. What cannot be sent, or the job
            could not do, gives a `Result` with an `error`. If the loop may end early, use it as
            `async with workflow.batch(...) as results:`. The job goes on then;
            `client.batch.job(name)` finds it.

        Raises (while it is iterated):
            ConfigurationError: an argument is wrong, or the images are not those of an earlier run
                with this name.
            BatchError: the job failed, or its name is taken.
            APIError: an upload or a call to the platform failed for good.
        """
        check_flag("ordered", ordered)
        check_priority(priority)
        work = self._workflow.batch_work()
        return self._context.run_batch(work, images, image, options, progress=progress)

    async def warm_up(
        self, image: "types.WorkflowInput", requests: int = 24, **parameters: Any
    ) -> WarmUpReport:
        """Send some paced requests, so that the models are loaded before the real work.

        They are metered like all others. The Workflow's sinks are disabled: no notification is
        sent and no dataset is filled.

        Args:
            image: any image, or a dict of images by input name.
            requests: how many, 1 to 10,000.
            **parameters: the Workflow's other inputs; they override those of
                `client.workflow(parameters=)`.

        Returns:
            What happened, with the errors of the requests that failed.

        Raises:
            AuthenticationError, UsageLimitError, NotFoundError: every later call would fail in the
                same way.
            APIError: all requests failed; the first one's error.
            ImageError, ConfigurationError: nothing was billed.
        """
        return await self._warm_up(image, requests, parameters)


def batch_work(workflow: Workflow[Output]) -> BatchWork[Output]:
    """What a batch job needs to know of a Workflow.

    Raises:
        ConfigurationError: Batch Processing cannot run it.
    """
    return workflow._workflow.batch_work()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - not for users
