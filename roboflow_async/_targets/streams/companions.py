"""What goes along with a stream while it runs, and is told of its beginning and its end."""

import concurrent.futures
from typing import Protocol

__all__ = ["Progress", "Resource", "Told"]


class Progress(Protocol):
    """Shows how far a stream is."""

    def start(self) -> None:
        """The first result is asked for, on the running loop."""
        ...

    def close(self) -> None:
        """Nothing runs any more. It may be called again, and in any thread."""
        ...


class Told(Protocol):
    """Tells somebody when a stream begins and ends."""

    def begin(self) -> None:
        """The first result is asked for, in the task that does so."""
        ...

    def end(self, error: BaseException | None, *, cancelled: bool) -> None:
        """Nothing runs any more. It may be called again, and in any thread.

        Args:
            error: what ended the stream, if not its inputs' end.
            cancelled: whether it was closed before its end.
        """
        ...


class Resource(Protocol):
    """What a stream has open while it runs."""

    async def open(self, items: object) -> None:
        """Open it, before the first of the inputs is read. An error ends the stream."""
        ...

    def close(self, *, completed: bool) -> concurrent.futures.Future[None]:
        """Close it, because nothing runs any more. It may be called in any thread.

        Args:
            completed: whether the stream came to its end by itself.

        Returns:
            What the stream's end waits for. An error of it is raised there.
        """
        ...
