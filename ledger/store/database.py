"""One SQLite file: who may open it, how it is synchronised, and its errors in words.

WAL mode with full synchronisation: a transaction is on disk when it returns. One connection
appends and reads, the other does the large writes and copies the log into the file, so that
appending never waits for that copy. What the tables mean is known in `sqlite` alone.
Sources: sqlite.org/wal.html, sqlite.org/pragma.html.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ledger.errors import DiskFull, StoreError

CACHE_KIB = 4_096
"""Page cache of each of the two connections: a Pi's node has 80 MB for everything."""

WAL_PAGES_MAX = 8_192
"""Pages of the log, 32 MB, from which a large write copies them into the file: a page that many
of them changed is copied once, and a start after a crash reads little more than this."""

BUSY_MS = 60_000
"""How long appending waits for a large write in another thread; on a slow card that is seconds."""

FULL_BYTES = 1_048_576
"""An input/output error with less than this free is a full disk: SQLite's shared memory and
checkpoints report it so."""

_REMEDY = (
    "move it away and start again, the node then fetches the chain from its peers;"
    " never copy an old file back beside a signer key"
)


class Database:
    """Two connections to `path`, which no other process may open meanwhile.

    Raises StoreError naming the file and what to do, here and in every method.
    """

    def __init__(self, path: Path, schema: str, version: int) -> None:
        self.path = path
        self._lock: int | None = self._take_lock()
        self._connections: list[sqlite3.Connection] = []
        try:
            with self.errors():
                self.main = self._connect(checkpoint_pages=0)
                self._prepare(schema, version)
                self.large = self._connect(checkpoint_pages=WAL_PAGES_MAX)
        except StoreError:
            self.close()
            raise

    @contextmanager
    def transaction(self, connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
        """All of it durably, or nothing."""
        with self.errors():
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """All rows that a query finds, as of the last transaction."""
        try:  # no context manager: a node is read in 4 us
            return self.main.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise self._explain(error) from error

    def value(self, statement: str, *values: object) -> bytes | None:
        """The first column of the first row; None without one."""
        rows = self.rows(statement, *values)
        value: bytes | None = rows[0][0] if rows else None
        return value

    def damaged(self, why: object) -> StoreError:
        return StoreError(f"{self.path} is damaged: {why}; {_REMEDY}")

    def size_bytes(self) -> int:
        """Of the file and its log."""
        files = (self.path, self.path.with_name(self.path.name + "-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def close(self) -> None:
        """Copy the log into the file and let it go; closing twice is no error."""
        with self.errors():
            while self._connections:
                self._connections.pop().close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @contextmanager
    def errors(self) -> Iterator[None]:
        """SQLite's errors as ours."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._explain(error) from error

    def _explain(self, error: sqlite3.Error) -> StoreError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL or (
            code == sqlite3.SQLITE_IOERR and self._free_bytes() < FULL_BYTES
        ):
            return DiskFull(
                f"the disk that holds {self.path} is full: nothing was written; free some space"
            )
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return self.damaged(error)
        return StoreError(f"{self.path}: {error}")

    def _free_bytes(self) -> int:
        disk = os.statvfs(self.path.parent)
        return disk.f_bavail * disk.f_frsize

    def _take_lock(self) -> int:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.path.with_name(self.path.name + ".lock"), os.O_CREAT | os.O_RDWR)
        except OSError as error:
            raise StoreError(f"{self.path} cannot be opened: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise StoreError(
                f"{self.path} is in use by another process; two nodes must never share a folder"
            ) from error
        return lock

    def _connect(self, checkpoint_pages: int) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, isolation_level=None, check_same_thread=False, timeout=BUSY_MS / 1_000
        )
        self._connections.append(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {checkpoint_pages}")
        return connection

    def _prepare(self, schema: str, version: int) -> None:
        found = self.main.execute("PRAGMA user_version").fetchone()[0]
        if found == 0:
            with self.transaction(self.main) as connection:
                for statement in schema.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {version}")
        elif found != version:
            raise StoreError(
                f"{self.path} was written by another version (format {found}, this program reads"
                f" {version}): use that version, or move the file away to fetch the chain again"
            )
