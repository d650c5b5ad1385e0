"""The durable queue of one meter: counter state, period records, what was sent, in one SQLite file.

What must be durable before what:

- A period record, the counter state after it and the source's position are one transaction, so a
  crash neither loses nor doubles energy (`save`).
- What will be sent is stored, with its nonce and the periods it carries, before its first byte
  leaves (`save_outgoing`); from then on the same bytes are sent again until settled.
- A period is settled only by what the chain says (`settle`), or goes back to the queue when that
  transaction can never be included (`release`).

SQLite in WAL mode with full synchronisation: each commit is one sync of the log, two or three pages
of 4 kB. To this module a transaction is bytes with a hash; only `meter.submit` knows more.
"""

import fcntl
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from meter.errors import OutboxError, OutboxFull
from meter.reading import PeriodRecord, RegisterChange

SCHEMA_VERSION = 1
# 22 years of hours, 5 of quarter hours, 8 MB: kept so that no period is ever opened twice.
SETTLED_KEPT_MAX = 200_000
EVENTS_KEPT_MAX = 1_000  # the newest; resets and conflicts are rare and each was logged

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counter (id INTEGER PRIMARY KEY CHECK (id = 1), state TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS period (
    period INTEGER PRIMARY KEY,
    import_wh INTEGER NOT NULL,
    export_wh INTEGER NOT NULL,
    quality INTEGER NOT NULL,
    nonce INTEGER,   -- of the transaction that carries it; NULL while it waits
    block INTEGER    -- in which the chain has it; NULL until settled
);
CREATE INDEX IF NOT EXISTS waiting ON period (period) WHERE nonce IS NULL AND block IS NULL;
CREATE INDEX IF NOT EXISTS carried ON period (nonce) WHERE nonce IS NOT NULL AND block IS NULL;
CREATE TABLE IF NOT EXISTS outgoing (
    hash BLOB PRIMARY KEY,   -- several of one nonce where the price had to be raised
    nonce INTEGER NOT NULL,
    raw BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS register_change (
    id INTEGER PRIMARY KEY AUTOINCREMENT, kind INTEGER NOT NULL, period INTEGER NOT NULL,
    before_wh INTEGER NOT NULL, after_wh INTEGER NOT NULL,
    nonce INTEGER   -- of the transaction that carries it; the row goes when that is on chain
);
CREATE TABLE IF NOT EXISTS event (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, kind TEXT NOT NULL, detail TEXT
);
"""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One signed transaction of the oldest unsettled nonce: the newest of its `hashes`."""

    nonce: int
    raw: bytes
    hashes: tuple[bytes, ...]
    records: tuple[PeriodRecord, ...]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a meter or its line, as its history keeps it."""

    at_ms: int
    kind: str
    detail: str


def _lock(lock_file: Path, file: Path) -> IO[bytes]:
    """One process per outbox, or two would sign the same nonce."""
    try:
        handle = lock_file.open("ab")
    except OSError as error:
        raise OutboxError(
            file, f"its folder cannot be written ({error.strerror}); does this user own it?"
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        handle.close()
        raise OutboxError(
            file, "is in use; does another meter process run on the same state_dir?"
        ) from error
    return handle


class Outbox:
    """Opens or makes the file. Raises OutboxError; OutboxFull where the disk has no room."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._db: Any = None
        self._lock = _lock(file.with_suffix(".lock"), file)
        try:
            with self._errors():
                self._db = sqlite3.connect(file, isolation_level=None)
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        with self._errors():
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_SCHEMA)
        version = self.get_meta("schema")
        if version is None:
            self.set_meta("schema", str(SCHEMA_VERSION))
        elif version != str(SCHEMA_VERSION):
            raise OutboxError(
                self.file, f"has schema {version}, this program knows {SCHEMA_VERSION}; upgrade it"
            )

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
        self._lock.close()

    # Counting.

    def load_state(self) -> dict[str, Any] | None:
        """The last saved state, None for a new outbox."""
        row = self._row("SELECT state FROM counter WHERE id = 1")
        return None if row is None else dict(json.loads(row[0]))

    def save(
        self,
        state: dict[str, Any],
        records: Sequence[PeriodRecord] = (),
        events: Sequence[Event] = (),
        changes: Sequence[RegisterChange] = (),
    ) -> None:
        """State, finished records, events and changes, all or nothing, durable on return."""
        with self._transaction():
            self._db.execute(
                "INSERT INTO counter VALUES (1, ?) "
                "ON CONFLICT (id) DO UPDATE SET state = excluded.state",
                (json.dumps(state, separators=(",", ":")),),
            )
            self._db.executemany(
                "INSERT INTO period (period, import_wh, export_wh, quality) VALUES (?, ?, ?, ?)",
                [(one.period, one.import_wh, one.export_wh, one.quality) for one in records],
            )
            self._db.executemany(
                "INSERT INTO register_change (kind, period, before_wh, after_wh) "
                "VALUES (?, ?, ?, ?)",
                [(one.kind, one.period, one.before_wh, one.after_wh) for one in changes],
            )
            self._add_events(events)

    def has_period(self, period: int) -> bool:
        """Whether a record of this period exists, sent or not."""
        return self._row("SELECT 1 FROM period WHERE period = ?", (period,)) is not None

    # Sending.

    def get_waiting(self, limit: int) -> list[PeriodRecord]:
        """The oldest waiting records, at most `limit`, of consecutive periods."""
        rows = self._rows(
            "SELECT period, import_wh, export_wh, quality FROM period "
            "WHERE nonce IS NULL AND block IS NULL ORDER BY period LIMIT ?",
            (limit,),
        )
        run = [PeriodRecord(*row) for row in rows]
        for index, record in enumerate(run):
            if record.period != run[0].period + index:
                return run[:index]
        return run

    def get_change(self) -> tuple[int, RegisterChange] | None:
        """The oldest waiting change of a register, and its number here."""
        row = self._row(
            "SELECT id, kind, period, before_wh, after_wh FROM register_change "
            "WHERE nonce IS NULL ORDER BY id LIMIT 1"
        )
        return None if row is None else (row[0], RegisterChange(*row[1:]))

    def drop_change(self, number: int, event: Event) -> None:
        """The contract will never take it: keep that as an event."""
        with self._transaction():
            self._db.execute("DELETE FROM register_change WHERE id = ?", (number,))
            self._add_events([event])

    def save_outgoing(
        self,
        nonce: int,
        transaction_hash: bytes,
        raw: bytes,
        periods: Sequence[int],
        change: int | None = None,
    ) -> None:
        """Store what will be sent, durable on return: call it before the first byte is sent."""
        with self._transaction():
            self._db.execute(
                "INSERT OR IGNORE INTO outgoing VALUES (?, ?, ?)", (transaction_hash, nonce, raw)
            )
            self._db.execute(
                "INSERT OR REPLACE INTO meta VALUES ('newest', ?)", (transaction_hash.hex(),)
            )
            self._db.executemany(
                "UPDATE period SET nonce = ? WHERE period = ? AND block IS NULL",
                [(nonce, period) for period in periods],
            )
            self._db.execute("UPDATE register_change SET nonce = ? WHERE id = ?", (nonce, change))

    def get_outgoing(self) -> Outgoing | None:
        """What is under way: at most one nonce of a meter is unsettled at a time."""
        row = self._row("SELECT min(nonce) FROM outgoing")
        if row is None or row[0] is None:
            return None
        nonce = int(row[0])
        sent = dict(self._rows("SELECT hash, raw FROM outgoing WHERE nonce = ?", (nonce,)))
        newest = bytes.fromhex(self.get_meta("newest") or "")
        records = self._rows(
            "SELECT period, import_wh, export_wh, quality FROM period "
            "WHERE nonce = ? AND block IS NULL ORDER BY period",
            (nonce,),
        )
        raw = sent[newest] if newest in sent else next(iter(sent.values()))
        return Outgoing(nonce, raw, tuple(sent), tuple(PeriodRecord(*row) for row in records))

    def settle(
        self,
        nonce: int,
        block: int,
        periods: Sequence[int],
        events: Sequence[Event] = (),
        succeeded: bool = False,
    ) -> None:
        """These periods are on chain as of `block`; others of this nonce wait again.

        So does a register's change, unless the transaction itself `succeeded`.
        """
        with self._transaction():
            if succeeded:
                self._db.execute("DELETE FROM register_change WHERE nonce = ?", (nonce,))
            self._db.execute("UPDATE register_change SET nonce = NULL WHERE nonce = ?", (nonce,))
            self._settle_periods(block, periods)
            self._db.execute("DELETE FROM outgoing WHERE nonce = ?", (nonce,))
            self._db.execute(
                "UPDATE period SET nonce = NULL WHERE nonce = ? AND block IS NULL", (nonce,)
            )
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('next_nonce', ?)", (nonce + 1,))
            self._add_events(events)

    def settle_waiting(
        self, block: int, periods: Sequence[int], events: Sequence[Event] = ()
    ) -> None:
        """The chain has these periods already, by a transaction this outbox does not know."""
        with self._transaction():
            self._settle_periods(block, periods)
            self._add_events(events)

    def count_waiting(self) -> int:
        """Records not yet settled, under way or not."""
        row = self._row("SELECT count(*) FROM period WHERE block IS NULL")
        return 0 if row is None else int(row[0])

    def count_settled(self) -> int:
        row = self._row("SELECT count(*) FROM period WHERE block IS NOT NULL")
        return 0 if row is None else int(row[0])

    def records(self) -> list[PeriodRecord]:
        """Every record kept, oldest period first."""
        rows = self._rows("SELECT period, import_wh, export_wh, quality FROM period ORDER BY 1")
        return [PeriodRecord(*row) for row in rows]

    # Small things to remember.

    def get_meta(self, key: str) -> str | None:
        row = self._row("SELECT value FROM meta WHERE key = ?", (key,))
        return None if row is None else str(row[0])

    def set_meta(self, key: str, value: str) -> None:
        with self._transaction():
            self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def events(self) -> list[Event]:
        return [
            Event(*row) for row in self._rows("SELECT at_ms, kind, detail FROM event ORDER BY id")
        ]

    # Inside.

    def _settle_periods(self, block: int, periods: Sequence[int]) -> None:
        self._db.executemany(
            "UPDATE period SET block = ? WHERE period = ?", [(block, period) for period in periods]
        )
        newest = max(block, int(self.get_meta("block") or 0))
        self._db.execute("INSERT OR REPLACE INTO meta VALUES ('block', ?)", (newest,))
        self._db.execute(
            "DELETE FROM period WHERE block IS NOT NULL AND period <= "
            "(SELECT period FROM period ORDER BY period DESC LIMIT 1 OFFSET ?)",
            (SETTLED_KEPT_MAX,),
        )

    def _add_events(self, events: Sequence[Event]) -> None:
        if not events:
            return
        self._db.executemany(
            "INSERT INTO event (at_ms, kind, detail) VALUES (?, ?, ?)",
            [(one.at_ms, one.kind, one.detail) for one in events],
        )
        self._db.execute(
            "DELETE FROM event WHERE id <= (SELECT max(id) FROM event) - ?", (EVENTS_KEPT_MAX,)
        )

    def _row(self, query: str, values: Sequence[Any] = ()) -> Any:
        with self._errors():
            return self._db.execute(query, values).fetchone()

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._errors():
            return list(self._db.execute(query, values))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            code = (
                getattr(error, "sqlite_errorcode", 0) & 0xFF
            )  # the primary code of an extended one
            if code == sqlite3.SQLITE_FULL:
                raise OutboxFull(self.file, f"{error}; free some space on this disk") from error
            if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY):
                raise OutboxFull(
                    self.file, f"{error}; is the disk failing or read-only? see: dmesg"
                ) from error
            if code == sqlite3.SQLITE_CANTOPEN:
                raise OutboxError(
                    self.file, "cannot be opened; does its folder exist, may this user write it?"
                ) from error
            raise OutboxError(self.file, str(error)) from error
        except sqlite3.DatabaseError as error:
            raise OutboxError(
                self.file,
                f"{error}; keep a copy of the file, then restore it from a backup or move it away: "
                "the chain refuses a period twice",
            ) from error
