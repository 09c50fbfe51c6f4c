"""A journal in SQLite, for millions of inputs: it is never read as a whole.

The table `results` has a row for each input; `line` is what a journal of lines would have.
"""

import errno
import json
import os
import sqlite3
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from roboflow_async._engine.jsonvalues import JSONObject, is_object, read_json_text
from roboflow_async._targets.journal.entries import Entry, Found
from roboflow_async._targets.journal.files import open_journal
from roboflow_async._targets.journal.large_text import read_line
from roboflow_async._targets.journal.line_text import name_in, restored_line
from roboflow_async._targets.journal.runs import differences
from roboflow_async.errors import ConfigurationError, JournalError, plain_text

__all__ = ["SQLiteJournal"]

_OURS: Final = 0x52464A31  # the application id: "RFJ1"
_MAGIC: Final = b"SQLite format 3\0"
# Seconds. Somebody may look into the file at this moment.
_PATIENCE: Final = 1.0
_TABLES: Final = """
CREATE TABLE run (run TEXT NOT NULL);
CREATE TABLE results (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    image NOT NULL UNIQUE,
    content TEXT,
    failed INTEGER NOT NULL,
    line TEXT NOT NULL
);
CREATE INDEX results_by_content ON results (content) WHERE content IS NOT NULL;
"""
_SEEN: Final = """
CREATE TEMP TABLE seen (
    key NOT NULL PRIMARY KEY, source TEXT, times INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID
"""
_FIND: Final = "SELECT id, line, content FROM results WHERE image = ?"
_FIND_CONTENT: Final = (
    "SELECT id, line FROM results WHERE content = ? AND image IS NOT ? ORDER BY failed, id LIMIT 1"
)
_ADD: Final = "INSERT OR REPLACE INTO results (image, content, failed, line) VALUES (?, ?, ?, ?)"
_COUNT: Final = (
    "INSERT INTO seen (key, times) VALUES (?, 1) "
    "ON CONFLICT DO UPDATE SET times = times + 1 RETURNING times"
)
_CLAIM: Final = (
    "INSERT INTO seen (key, source) VALUES (?, ?) "
    "ON CONFLICT DO UPDATE SET times = times RETURNING source"
)
_ERRNOS: Final = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
}

# SQLite's locks are POSIX's, which a process loses when it closes any descriptor of the file: so
# those that this process has open are not opened a second time.
_open_here: Final[set[tuple[int, int]]] = set()
_door: Final = threading.Lock()


class SQLiteJournal:
    """A database with a row for each input. It is used from one thread at a time.

    What is committed is with the operating system, so it survives the end of the process. It is
    written to the disk itself by and by, and when the journal is closed.

    Args:
        path: the path of the file.
        run: describes the run; a file of another run is refused.
    """

    knows_names = False

    def __init__(self, path: Path, run: Mapping[str, Any]) -> None:
        self.path = path
        self._run = dict(run)
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._first_new = 0

    def open(self) -> None:
        """See `Journal.open`."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._reserve()
            self._check_file()
            self._connect()
        except (OSError, sqlite3.Error) as error:
            self.close()
            raise self._unusable(error) from None
        except BaseException:
            self.close()
            raise

    def may_have(self, name: str, content: str | None) -> bool:
        """See `Journal.may_have`."""
        del name, content
        return True

    def find(self, name: str, content: str | None) -> list[Found]:
        """See `Journal.find`."""
        key = _key(name)
        found: list[Found] = []
        with self._told() as connection:
            own = connection.execute(_FIND, (key,)).fetchone()
            if own is not None and content in (None, own[2]):
                found.append(self._found(own[0], own[1], is_own=True))
            if content is not None:
                same = connection.execute(_FIND_CONTENT, (content, key)).fetchone()
                if same is not None:
                    found.append(self._found(same[0], same[1], is_own=False))
        return found

    def add(self, entries: Sequence[Entry]) -> list[OSError | None]:
        """See `Journal.add`."""
        assert self._connection is not None
        rows = [
            (_key(entry.name), entry.content, entry.failed, entry.line[:-1].decode())
            for entry in entries
        ]
        try:
            with _transaction(self._connection) as connection:
                connection.executemany(_ADD, rows)
        except sqlite3.Error as error:
            return [_as_os_error(error)] * len(entries)
        return [None] * len(entries)

    def count(self, content: str) -> int:
        """See `Journal.count`."""
        with self._told() as connection:
            return int(connection.execute(_COUNT, (content,)).fetchone()[0])

    def claim(self, name: str, source: str) -> str | None:
        """See `Journal.claim`."""
        with self._told() as connection:
            first = str(connection.execute(_CLAIM, (_key(name), source)).fetchone()[0])
        return first if first != source else None

    def close(self, *, tidy: bool = False) -> None:
        """See `Journal.close`."""
        del tidy  # a row replaces the one before at once
        connection, self._connection = self._connection, None
        try:
            if connection is not None:
                connection.close()
        except sqlite3.Error as error:
            raise _as_os_error(error) from None
        finally:
            with _door:
                _open_here.discard(self._identity or (0, 0))
            self._identity = None

    def _reserve(self) -> None:
        try:
            status = self.path.lstat()
        except FileNotFoundError:
            return
        self._enter((status.st_dev, status.st_ino))

    def _enter(self, identity: tuple[int, int]) -> None:
        with _door:
            if identity in _open_here and identity != self._identity:
                raise self._in_use()
            _open_here.add(identity)
        self._identity = identity

    def _check_file(self) -> None:
        """Make the file, readable only for its owner, or look whether it is a database."""
        with open_journal(self.path) as file:
            file.seek(0)
            head = file.read(len(_MAGIC))
            status = os.fstat(file.fileno())
        self._enter((status.st_dev, status.st_ino))
        if head and head != _MAGIC:
            raise self._not_ours()

    def _connect(self) -> None:
        self._connection = connection = sqlite3.connect(
            self.path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
        )
        # One writer; and no memory that is shared with others, which network file systems lack.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        with _transaction(connection, "EXCLUSIVE"):
            is_empty = not connection.execute("SELECT 1 FROM sqlite_master").fetchone()
            application = connection.execute("PRAGMA application_id").fetchone()[0]
            if not is_empty and application != _OURS:
                raise self._not_ours()
            if is_empty:
                connection.execute(f"PRAGMA application_id = {_OURS}")
                for statement in _TABLES.split(";"):
                    connection.execute(statement)
            self._check_run(connection)
        # Without waiting for the disk at each commit.
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(_SEEN)
        self._first_new = connection.execute("SELECT max(id) FROM results").fetchone()[0] or 0

    def _check_run(self, connection: sqlite3.Connection) -> None:
        row = connection.execute("SELECT run FROM run").fetchone()
        is_empty = connection.execute("SELECT 1 FROM results LIMIT 1").fetchone() is None
        try:
            old: object = read_json_text(row[0]) if row is not None else None
        except (ValueError, RecursionError):
            old = None
        if old == self._run:
            return
        if not is_empty:
            if not is_object(old):
                raise ConfigurationError(
                    f"{self.path} is damaged, so it is not known what it holds: remove it to start "
                    "again, or give another journal=."
                )
            if different := differences(old, self._run):
                raise ConfigurationError(
                    f"{self.path} is from a different run: {'; '.join(different)}: give another "
                    "journal=, or remove it."
                )
        connection.execute("DELETE FROM run")
        connection.execute("INSERT INTO run VALUES (?)", (json.dumps(self._run),))

    def _found(self, number: int, text: str, *, is_own: bool) -> Found:
        line: JSONObject = restored_line(read_line(text.encode()))
        name_in(line)
        return Found(line, len(text), is_own=is_own, is_new=number > self._first_new)

    @contextmanager
    def _told(self) -> Generator[sqlite3.Connection]:
        assert self._connection is not None
        try:
            yield self._connection
        except (sqlite3.Error, ValueError, RecursionError) as error:
            raise JournalError(
                f"{self.path} cannot be read ({plain_text(str(error))}). What it has is kept: mend "
                "that, and give the same journal= again.",
                path=str(self.path),
            ) from None

    def _unusable(self, error: OSError | sqlite3.Error) -> ConfigurationError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return self._in_use()
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return ConfigurationError(
                f"{self.path} is damaged, or no journal ({plain_text(str(error))}): give another "
                "journal=, or a copy of it that is whole."
            )
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        locks = ""
        if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOLFS):
            locks = " Network file systems may have no locks: a local disk has."
        return ConfigurationError(
            f"{self.path} cannot be used: {plain_text(reason)}. Nothing was sent. Mend that, or "
            f"give another journal=.{locks}"
        )

    def _in_use(self) -> ConfigurationError:
        return ConfigurationError(
            f"{self.path} is being used by another run or program: wait for it, or give another "
            "journal=. (If nobody uses it: network file systems may have no locks, so give a "
            "journal= on a local disk.)"
        )

    def _not_ours(self) -> ConfigurationError:
        return ConfigurationError(
            f"{self.path} exists, but is not the journal of a stream: give another journal=, or "
            "remove it."
        )


@contextmanager
def _transaction(
    connection: sqlite3.Connection, kind: str = "IMMEDIATE"
) -> Generator[sqlite3.Connection]:
    connection.execute(f"BEGIN {kind}")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        raise


def _key(name: str) -> str | bytes:
    """The name as SQLite can keep it: text, or bytes if it is not UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogatepass")
    return name


def _as_os_error(error: sqlite3.Error) -> OSError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    number = _ERRNOS.get(code, errno.EIO)
    return OSError(number, os.strerror(number) if code in _ERRNOS else plain_text(str(error)))
