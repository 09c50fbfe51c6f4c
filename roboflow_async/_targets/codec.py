"""What one kind of target makes of an input, and of a response: the base of all codecs."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import copy
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from roboflow_async._engine.api.responses import Response, is_large
from roboflow_async._engine.images.loader import ImageLoader
from roboflow_async._engine.jsonvalues import JSONObject
from roboflow_async._engine.late_modules import LateModule
from roboflow_async._targets.journal.keys import Named, name_of_image
from roboflow_async._targets.prepared import Prepared, TargetContext

if TYPE_CHECKING:
    from roboflow_async._targets.journal import large_text, line_text, outcomes
else:
    large_text = LateModule("roboflow_async._targets.journal.large_text")
    line_text = LateModule("roboflow_async._targets.journal.line_text")
    outcomes = LateModule("roboflow_async._targets.journal.outcomes")

__all__ = ["Codec"]

Output = TypeVar("Output")


class Codec(ABC, Generic[Output]):
    """Makes a request of an input, and an output of the response to it. It sends neither.

    Args:
        context: what it needs from the client.
    """

    def __init__(self, context: TargetContext) -> None:
        self.context = context

    def with_context(self, context: TargetContext) -> Self:
        """The same for another client, or for other options of calls."""
        other = copy(self)
        other.context = context
        return other

    @abstractmethod
    async def prepare(
        self,
        loader: ImageLoader,
        value: object,
        parameters: Mapping[str, Any],
        *,
        warm_up: bool = False,
        patient: bool = False,
    ) -> Prepared:
        """Load, check and encode the input, and build its request.

        Args:
            loader: the client's.
            value: the input.
            parameters: those of this call.
            warm_up: True turns off notifications and the collection of images.
            patient: True: if the server must be asked something first, wait while it is away.
        """
        ...

    def parse(self, prepared: Prepared, response: Response) -> Output:
        """Read the output from a response."""
        return self.made(self.read(prepared, response), prepared, response)

    @abstractmethod
    def read(self, prepared: Prepared, response: Response) -> JSONObject:
        """The JSON of the output in a response, in pixels of the image that was given."""
        ...

    @abstractmethod
    def made(self, value: JSONObject, prepared: Prepared, response: Response) -> Output:
        """Make the output of its JSON."""
        ...

    @abstractmethod
    def restored(
        self, value: object, kind: str | None, given_size: tuple[int, int] | None
    ) -> Output:
        """Make the output of the JSON that a journal has.

        Args:
            value: the JSON.
            kind: the name of the output's type, or None.
            given_size: width and height in pixels of the image that was given, or None.

        Raises:
            ResponseError: it does not fit.
        """
        ...

    @abstractmethod
    def description(self) -> JSONObject:
        """What outputs depend on, besides their inputs: a journal is of one target."""
        ...

    def named(self, value: object) -> Named:
        """What is known of an input without reading it."""
        return name_of_image(value)

    def parts(self, value: object) -> dict[str, object]:
        """What an input consists of, by name; "" for one image."""
        return {"": value}

    def with_parts(self, value: object, parts: Mapping[str, object]) -> object:
        """The input with other parts."""
        del value
        return parts[""]

    def kind(self, output: Output) -> str | None:
        """The name of the output's type, if its JSON alone does not tell it."""
        del output
        return None

    def noted(self, prepared: Prepared, note: "outcomes.Note", response: Response) -> Output:
        """Read the output from a response, and note what a journal needs."""
        value = self.read(prepared, response)
        # Before the output is made of it, which may empty a large one.
        text = (
            large_text.large_json_text(value)
            if is_large(response)
            else line_text.quick_json_text(value)
        )
        output = self.made(value, prepared, response)
        note.output, note.kind = text, self.kind(output)
        note.given_size = prepared.given_size
        return output
