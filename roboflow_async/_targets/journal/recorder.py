"""`stream(..., journal=)`: a result is in the journal before it is handed over.

What is in it already is not sent again. Of inputs that are equal, one is sent, and the others wait
for it.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import anyio

from roboflow_async._engine.checks import check_flag, shown
from roboflow_async._engine.jsonvalues import JSONObject, is_array
from roboflow_async._targets.codec import Codec
from roboflow_async._targets.journal.contents import Content, content_of
from roboflow_async._targets.journal.entries import Entry, Found, Journal
from roboflow_async._targets.journal.fingerprints import fingerprint, is_another
from roboflow_async._targets.journal.keys import Keys, Named
from roboflow_async._targets.journal.line_text import json_line, line_with
from roboflow_async._targets.journal.lines import LineJournal
from roboflow_async._targets.journal.outcomes import (
    Note,
    error_of,
    how_it_is_written,
    how_it_went,
    is_temporary,
    with_details,
)
from roboflow_async._targets.journal.worker import Worker
from roboflow_async._targets.streams.results import Failure, Result, Success
from roboflow_async.errors import ConfigurationError, ImageError, JournalError, RoboflowError

__all__ = ["Recorder", "journal_at"]

_LINES: Final = (".jsonl", ".ndjson")
_SQLITE: Final = (".sqlite", ".sqlite3", ".db")
# Bytes of a line whose output is made in a thread.
_LARGE: Final = 128 * 1024
_THREADS: Final = 4
# How many inputs of a list are checked before other work goes on.
_CHECKED_AT_ONCE: Final = 500

_log = logging.getLogger("roboflow_async.journal")


def journal_at(path: object, run: JSONObject) -> Journal:
    """The journal for a path, whose suffix tells its form. Nothing is opened.

    Raises:
        ConfigurationError: it is no path, or has another suffix.
    """
    is_path = isinstance(path, (str, PathLike))
    text: object = os.fspath(cast("str | PathLike[Any]", path)) if is_path else None
    if not isinstance(text, str):
        raise ConfigurationError(
            f"journal={shown(path)} is not a path: give one, such as 'run.jsonl'."
        )
    suffix = Path(text).suffix.lower()
    if suffix in _LINES:
        return LineJournal(Path(text), run)
    if suffix in _SQLITE:
        # Few programs need it, and its import takes some time.
        from roboflow_async._targets.journal.sqlite import SQLiteJournal  # noqa: PLC0415

        return SQLiteJournal(Path(text), run)
    raise ConfigurationError(
        f"journal={text!r:.200}: its suffix {suffix!r:.20} tells no form: give .jsonl for lines of "
        "JSON, or .sqlite for a database, which suits millions of inputs."
    )


class _Known(NamedTuple):
    """What is known of an input before it is sent."""

    name: str | None
    path: str | None  # a file whose changes count
    content: Content | None


Send = Callable[[tuple[object, ...], Note | None], Awaitable[Result[Any, Any]]]


class Recorder:
    """Keeps the results of one stream in a journal.

    Args:
        journal: where they are written.
        keys: gives the names of inputs.
        codec: that of the target, which says what an input is.
        image: gives what is sent for an input, by its index; None: the input itself is sent.
        retry_failed: whether all failed inputs are sent again.
        reads_paths: whether the client may read files.
        max_bytes: the most that is read of a file object.
        on_trouble: called once, with the error, if the journal cannot be written any more.
    """

    def __init__(
        self,
        journal: Journal,
        keys: Keys,
        codec: Codec[Any],
        *,
        image: Callable[[int, Any], Awaitable[object]] | None,
        retry_failed: bool,
        reads_paths: bool,
        max_bytes: int,
        on_trouble: Callable[[RoboflowError], None],
    ) -> None:
        check_flag("retry_failed", retry_failed)
        self._journal = journal
        self._worker = Worker(journal)
        self._keys = keys
        self._codec = codec
        self._image = image
        self._retry_failed = retry_failed
        self._reads_paths = reads_paths
        self._max_bytes = max_bytes
        self._on_trouble = on_trouble
        self._pool: ThreadPoolExecutor | None = None
        self._running: dict[str, asyncio.Future[None]] = {}
        self._trouble: JournalError | None = None

    async def open(self, items: object) -> None:
        """Open the journal, before anything is read or sent.

        Raises:
            ConfigurationError: it cannot be used, or an input of a list has no key.
        """
        # Half as much CPU as anyio's threads take.
        self._pool = ThreadPoolExecutor(_THREADS, "roboflow_async-journal-files")
        self._file_objects = anyio.CapacityLimiter(_THREADS)
        if isinstance(items, (list, tuple)):
            for index, item in enumerate(cast("Iterable[object]", items)):
                self._keys.check(item, index)
                if index % _CHECKED_AT_ONCE == 0:
                    await asyncio.sleep(0)
        await self._worker.open()

    def close(self, *, completed: bool) -> "Future[None]":
        """Close the journal when all is written; any thread may call it.

        Args:
            completed: whether all inputs were read and have their results.
        """
        if self._pool is not None:
            self._pool.shutdown(wait=False)
        told: Future[None] = Future()

        def tell(closed: Future[list[OSError]]) -> None:
            for error in closed.result():
                self._note_trouble(error, "that were not handed over")
            if self._trouble is None:
                told.set_result(None)
            else:
                told.set_exception(self._trouble)  # the stream's last word, however it ended

        self._worker.close(tidy=completed).add_done_callback(tell)
        return told

    async def result(self, index: int, item: object, send: Send) -> Result[Any, Any]:
        """The result of an input: from the journal, or of a call.

        Args:
            index: its position.
            item: the input.
            send: makes the call; takes what to send in a tuple (an empty one, if that is not known
                yet), and a `Note` or None.
        """
        known = self._keys.of(item, index)
        name, path = known if self._reads_paths else Named(known.name)
        if path is not None and name is not None and self._keys.may_clash:
            await self._check_clash(name, path)
        content: Content | None = None
        given: tuple[object, ...] = ()
        if self._keys.by_content or name is None:
            path = None
            try:
                one = item if self._image is None else await self._image(index, item)
                content = await self._content(one)
            except ImageError as error:
                failure = Failure(input=item, index=index, error=error)
                if name is not None:
                    await self._write(failure, _Known(name, None, None), Note())
                return failure
            given = (self._codec.with_parts(one, content.parts),)
        shared = name if content is None or content.digest is None else content.digest
        if shared is None:
            # Its failure costs nothing, since it cannot be sent.
            return await send(given, None)
        while (running := self._running.get(shared)) is not None:
            await asyncio.wait([running])
        self._running[shared] = running = asyncio.get_running_loop().create_future()
        try:
            return await self._alone(index, item, given, _Known(name, path, content), send)
        finally:
            del self._running[shared]
            running.set_result(None)

    async def _content(self, given: object) -> Content:
        return await content_of(
            self._codec.parts(given),
            self._in_thread,
            self._file_objects,
            max_bytes=self._max_bytes,
            reads_paths=self._reads_paths,
        )

    async def _check_clash(self, name: str, path: str) -> None:
        """Raise `ConfigurationError` if another file of this stream has the same key."""
        journal = self._journal
        if journal.knows_names:
            other = journal.claim(name, path)
        else:
            other = await self._worker.ask(lambda: journal.claim(name, path))
        if other is None or await self._in_thread(lambda: _are_equal(path, other)):
            return
        raise ConfigurationError(
            f"key= gave {name!r:.200} for {other!r:.200} and for {path!r:.200}, whose contents "
            "differ: give a key that tells inputs apart."
        )

    async def _alone(
        self, index: int, item: object, given: tuple[object, ...], known: _Known, send: Send
    ) -> Result[Any, Any]:
        """The result of an input that no other one equals at this moment."""
        known, lines = await self._looked_up(known)
        for found in lines:
            if await self._counts(found, known.path):
                return await self._from_journal(index, item, found, known)
        note = Note(wants_file=known.path is not None)
        result = await send(given, note)
        await self._write(result, known, note)
        return result

    async def _looked_up(self, known: _Known) -> tuple[_Known, Sequence[Found]]:
        """The input with a name, and the lines that may be its result."""
        journal = self._journal
        digest = None if known.content is None else known.content.digest

        def name() -> str:
            if known.name is not None:
                return known.name
            # It has no name but its content, and the number of those before.
            assert digest is not None
            number = journal.count(digest)
            return digest if number == 1 else f"{digest}#{number}"

        def look_up(named: str | None = None) -> tuple[_Known, Sequence[Found]]:
            named = name() if named is None else named
            return known._replace(name=named), journal.find(named, digest)

        if not journal.knows_names:
            return await self._worker.ask(look_up)
        named = name()
        if not journal.may_have(named, digest):
            return known._replace(name=named), ()
        return await self._worker.ask(partial(look_up, named))

    async def _counts(self, found: Found, path: str | None) -> bool:
        """Whether a line is the result of the input, and it need not be sent again."""
        line: JSONObject = found.line
        if "error" in line and (is_temporary(line) or (self._retry_failed and not found.is_new)):
            return False
        if path is None or "file" not in line:
            return True
        return not await self._in_thread(lambda: is_another(path, line["file"], content=False))

    async def _from_journal(
        self, index: int, item: object, found: Found, known: _Known
    ) -> Result[Any, Any]:
        line: JSONObject = found.line
        if not found.is_own:
            line = {**line, "image": known.name, "attempts": 0, "latency": 0.0, "waited": 0.0}
            line.pop("file", None)
            if known.content is not None and known.content.file is not None:
                line["file"] = known.content.file
            name, failed = cast("str", known.name), "error" in line
            digest = None if known.content is None else known.content.digest
            await self._kept(lambda: Entry(name, digest, failed, json_line(line)))
        how = how_it_went(line, now=found.is_new)
        if "error" in line:
            return Failure(input=item, index=index, error=error_of(line["error"]), **how)
        size: object = line.get("size")
        given_size = (int(size[0]), int(size[1])) if is_array(size) and len(size) == 2 else None

        def restored() -> Any:
            return self._codec.restored(line.get("output"), line.get("type"), given_size)

        try:
            output = restored() if found.size <= _LARGE else await self._in_thread(restored)
        except RoboflowError as error:
            return Failure(input=item, index=index, error=error, **how)
        return Success(input=item, index=index, output=output, **how)

    async def _write(self, result: Result[Any, Any], known: _Known, note: Note) -> None:
        name = cast("str", known.name)
        how = how_it_is_written(result, note)
        digest: str | None = None
        if known.path is not None:
            how["file"] = note.file
        if known.content is not None:
            if known.content.file is not None:
                how["file"] = known.content.file
            digest = known.content.digest
        error = result.error
        failure = None if error is None else {"image": name, "error": with_details(error), **how}
        if failure is not None and is_temporary(failure):
            # Another input with this content is to be tried, too, and then this one again.
            digest = None
        if digest is not None:
            (how if failure is None else failure)["content"] = digest
        text = note.output

        def entry() -> Entry:
            line = json_line(failure) if failure else line_with(name, cast("str", text), how)
            return Entry(name, digest, failure is not None, line)

        await self._kept(entry)

    async def _kept(self, make: Callable[[], Entry]) -> None:
        """Write an entry. If that fails, the stream ends soon, and says how much is not written."""
        error = await self._worker.write(make)
        if error is not None and self._note_trouble(error, "that were handed over"):
            self._on_trouble(cast("JournalError", self._trouble))

    def _note_trouble(self, error: OSError, which: str) -> bool:
        """Note that a result could not be written; return whether it is the first one."""
        path, reason = self._journal.path, error.strerror or type(error).__name__
        first = self._trouble is None
        if self._trouble is None:
            self._trouble = JournalError("", path=str(path))
        self._trouble.unwritten += 1
        self._trouble.reword(
            f"the journal {str(path)!r:.200} cannot be written: {reason}. Nothing more is sent. It "
            f"lacks results {which} ({self._trouble.unwritten}), which would be sent again. Make "
            "room, or mend that, and give the same journal= again: it goes on from there."
        )
        if first:
            _log.error("%s", self._trouble)
        return first

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


def _are_equal(one: str, other: str) -> bool:
    """Whether two files have the same content."""
    return not is_another(one, fingerprint(other), content=True)
