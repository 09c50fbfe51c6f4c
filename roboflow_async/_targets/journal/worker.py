"""Does the work of a journal in a thread of its own, so that no disk holds up the event loop."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final, TypeVar

from roboflow_async._targets.journal.entries import Entry, Journal
from roboflow_async._targets.journal.files import BREATHER

__all__ = ["Worker"]

Output = TypeVar("Output")

# Each look into a file or a database lets Python's lock go for a moment, and the time for which the
# event loop waits for it begins again, as `lines_of` says. So it is let go for longer now and then.
_IN_ONE_GO: Final = 0.003  # seconds

_Question = tuple[Callable[[], Any], "asyncio.Future[Any]"]


class Worker:
    """Asks and writes a journal in one thread, in order.

    What comes while the thread is busy is done together next, so that the more there is to do, the
    less each costs.

    Args:
        journal: what is asked and written; it is used by the thread alone.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._loop: asyncio.AbstractEventLoop | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._questions: list[_Question] = []
        self._entries: list[_Question] = []
        self._is_busy = False
        self._is_closed = False

    async def open(self) -> None:
        """Open the journal.

        Raises:
            ConfigurationError: it cannot be used.
        """
        self._loop = asyncio.get_running_loop()
        self._executor = ThreadPoolExecutor(1, "roboflow_async-journal")
        await self.ask(self._journal.open)

    def ask(self, question: Callable[[], Output]) -> "asyncio.Future[Output]":
        """Ask the journal something."""
        return self._added(self._questions, question)

    def write(self, make: Callable[[], Entry]) -> "asyncio.Future[OSError | None]":
        """Write an entry; why it could not be written, or None.

        It is written also if nobody waits for it any more.

        Args:
            make: makes the entry, in the thread.
        """
        return self._added(self._entries, make)

    def close(self, *, tidy: bool) -> "Future[list[OSError]]":
        """Close the journal after all that is to be written. Any thread may call it, once.

        Returns:
            Why some could not be written, or the journal not be closed.
        """
        self._is_closed = True
        entries, self._entries = self._entries, []
        closed: Future[list[OSError]] = Future()
        if self._executor is None:
            closed.set_result([])
            return closed

        def close() -> list[OSError]:
            outcomes = self._write_all([make for make, _ in entries])
            errors = [error for error in outcomes if isinstance(error, OSError)]
            try:
                self._journal.close(tidy=tidy)
            except OSError as error:
                errors.append(error)
            return errors

        try:
            closed = self._executor.submit(close)
        except RuntimeError:  # the interpreter ends, and starts no more work in threads
            self._executor.shutdown()
            closed.set_result(close())
        self._executor.shutdown(wait=False)
        return closed

    def _added(self, to: list[_Question], work: Callable[[], Any]) -> "asyncio.Future[Any]":
        assert self._loop is not None
        future: asyncio.Future[Any] = self._loop.create_future()
        to.append((work, future))
        if not self._is_busy:
            self._start()
        return future

    def _start(self) -> None:
        if self._is_closed or not (self._entries or self._questions):
            return
        entries, self._entries = self._entries, []
        questions, self._questions = self._questions, []
        assert self._executor is not None
        self._is_busy = True
        self._executor.submit(self._work, entries, questions)

    def _work(self, entries: list[_Question], questions: list[_Question]) -> None:
        outcomes = self._write_all([make for make, _ in entries])
        began = time.monotonic()
        for ask, _ in questions:
            if time.monotonic() - began > _IN_ONE_GO:
                time.sleep(BREATHER)
                began = time.monotonic()
            try:
                outcomes.append(ask())
            except BaseException as error:  # noqa: BLE001 - raised where it was asked
                outcomes.append(_Raised(error))
        assert self._loop is not None
        futures = [future for _, future in (*entries, *questions)]
        with suppress(RuntimeError):  # that loop is closed
            self._loop.call_soon_threadsafe(self._done, futures, outcomes)

    def _write_all(self, makes: list[Callable[[], Entry]]) -> list[Any]:
        outcomes: list[Any] = []
        entries: list[Entry] = []
        for make in makes:
            try:
                entries.append(make())
                outcomes.append(None)
            except Exception as error:  # noqa: BLE001 - raised where it was to be written
                outcomes.append(_Raised(error))
        if entries:
            errors = iter(self._journal.add(entries))
            outcomes = [next(errors) if outcome is None else outcome for outcome in outcomes]
        return outcomes

    def _done(self, futures: list["asyncio.Future[Any]"], outcomes: list[Any]) -> None:
        self._is_busy = False
        for future, outcome in zip(futures, outcomes, strict=True):
            if future.done():  # nobody waits for it any more
                continue
            if isinstance(outcome, _Raised):
                future.set_exception(outcome.error)
            else:
                future.set_result(outcome)
        self._start()


class _Raised:
    """An error to raise where the work was asked for."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
