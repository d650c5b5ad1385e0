"""The store on disk: one SQLite file in WAL mode with full synchronisation.

    block         height -> header, body (zlib), certificate       written once, block by block
    block_place   first 8 bytes of a block's hash, height
    meta          durable small values: signer record, genesis, flushed height
    node          trie number, path -> node                        newest version only
    undo          trie number, path, kind, height of the last -> entries of one flush (`undo`)
    trie          contract address -> number                       20 bytes less in every key
    transaction_place   first 8 bytes of a hash, height << 16 | index
    receipt, code

Rows of a trie lie in the order of their paths, so that a leaf and the branches above it share
pages: what wears a card out is pages written, not bytes. One connection appends and reads, another
flushes, prunes and checkpoints. Sources: DESIGN.md section 5, sqlite.org/wal.html.
"""

import fcntl
import os
import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ledger.crypto.keccak import keccak256
from ledger.encoding.packed import pack, unpack, unpack_items
from ledger.errors import DiskFull, StoreError
from ledger.store.base import SIGNER_KEY, NodeKey, StateBatch
from ledger.store.undo import Entry, encode_undo, find_in_row, pack_entries, read_node_at
from ledger.types import Hash32, Height

SCHEMA_VERSION = 1

CACHE_KIB = 4_096
"""Page cache of each of the two connections: a Pi's node has 80 MB for everything."""

WAL_PAGES_MAX = 4_096
"""Pages of the log, 16 MB, after which a flush copies them into the file: a page that many
flushes changed is copied once, and a start after a crash reads at most this."""

BUSY_MS = 60_000
"""How long appending waits for a flush in another thread; on a slow card that is seconds."""

_SCHEMA = """
CREATE TABLE block (height INTEGER PRIMARY KEY, header BLOB NOT NULL, body BLOB NOT NULL,
    certificate BLOB NOT NULL);
CREATE TABLE block_place (prefix INTEGER, height INTEGER, PRIMARY KEY (prefix, height))
    WITHOUT ROWID;
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE trie (number INTEGER PRIMARY KEY, address BLOB NOT NULL UNIQUE);
CREATE TABLE node (trie INTEGER, path BLOB, node BLOB NOT NULL, PRIMARY KEY (trie, path))
    WITHOUT ROWID;
CREATE TABLE undo (trie INTEGER, path BLOB, kind INTEGER, last INTEGER, entries BLOB NOT NULL);
CREATE UNIQUE INDEX undo_place ON undo (trie, path, kind, last);
CREATE TABLE code (hash BLOB PRIMARY KEY, source BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE receipt (height INTEGER PRIMARY KEY, receipts BLOB NOT NULL);
CREATE TABLE transaction_place (prefix INTEGER, place INTEGER, PRIMARY KEY (prefix, place))
    WITHOUT ROWID;
"""

_NODE = "SELECT node FROM node WHERE trie = ? AND path = ?"
_FIRST_UNDO = (
    "SELECT last, entries FROM undo WHERE trie = ? AND path = ? AND kind = ? AND last > ?"
    " ORDER BY last LIMIT 1"
)
_DROP_UNDO = "DELETE FROM undo WHERE last > :low AND last <= :high"
_UNLESS_FIRST = (  # the first row above a pin is what reads at that pin
    " AND EXISTS (SELECT 1 FROM undo AS first WHERE first.trie = undo.trie AND first.path ="
    " undo.path AND first.kind = undo.kind AND first.last > :low AND first.last < undo.last)"
)
_FLUSHED_KEY = "flushed"
_OLDEST_KEY = "oldest_state"
_REMEDY = (
    "move it away and start again, the node then fetches the chain from its peers;"
    " never copy an old file back beside a signer key"
)
_DIGITS = bytes.maketrans(bytes(range(16)), b"0123456789abcdef")


class SqliteStore:
    """`Store` in form. Raises StoreError naming the file where it cannot be opened or read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: int | None = self._take_lock()
        with self._errors():
            self._main = self._connect()
            self._state = self._connect()
            self._main.execute("PRAGMA wal_autocheckpoint = 0")
            self._state.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES_MAX}")
            self._prepare()
        self._head: Height = self._rows("SELECT ifnull(max(height), -1) FROM block")[0][0]
        self._tries: dict[bytes, int] = {}

    # Blocks and small values: durable when written.

    def append_block(
        self,
        height: Height,
        block_hash: Hash32,
        header: bytes,
        body: bytes,
        certificate: bytes,
        lease: bytes | None,
    ) -> None:
        if height != self._head + 1:
            raise StoreError(f"block {height} does not follow block {self._head}")
        packed = zlib.compress(body, 1)
        with self._transaction(self._main) as connection:
            connection.execute(
                "INSERT INTO block VALUES (?, ?, ?, ?)", (height, header, packed, certificate)
            )
            connection.execute(
                "INSERT INTO block_place VALUES (?, ?)", (_prefix(block_hash), height)
            )
            if lease is not None:
                _put_meta(connection, SIGNER_KEY, lease)
        self._head = height

    def head_height(self) -> Height:
        return self._head

    def get_header(self, height: Height) -> bytes | None:
        return self._value("SELECT header FROM block WHERE height = ?", height)

    def get_body(self, height: Height) -> bytes | None:
        packed = self._value("SELECT body FROM block WHERE height = ?", height)
        return None if packed is None else self._decompress(packed)

    def get_certificate(self, height: Height) -> bytes | None:
        return self._value("SELECT certificate FROM block WHERE height = ?", height)

    def get_height(self, block_hash: Hash32) -> Height | None:
        rows = self._rows("SELECT height FROM block_place WHERE prefix = ?", _prefix(block_hash))
        for (height,) in rows:
            header = self.get_header(height)
            if header is not None and keccak256(header) == block_hash:
                return int(height)
        return None

    def save_signer(self, record: bytes) -> None:
        self.put_durable(SIGNER_KEY, record)

    def load_signer(self) -> bytes | None:
        return self.get_meta(SIGNER_KEY)

    def put_durable(self, key: str, value: bytes | None) -> None:
        self.put_durable_many({key: value})

    def put_durable_many(self, values: Mapping[str, bytes | None]) -> None:
        with self._transaction(self._main) as connection:
            for key, value in values.items():
                if value is None:
                    connection.execute("DELETE FROM meta WHERE key = ?", (key,))
                else:
                    _put_meta(connection, key, value)

    def get_meta(self, key: str) -> bytes | None:
        return self._value("SELECT value FROM meta WHERE key = ?", key)

    def set_meta(self, key: str, value: bytes) -> None:
        self.put_durable(key, value)

    # State, receipts and indexes: many blocks at once.

    def flush(self, batch: StateBatch) -> None:
        with self._transaction(self._state) as connection:
            self._write_nodes(connection, batch)
            connection.executemany("INSERT OR IGNORE INTO code VALUES (?, ?)", batch.codes.items())
            connection.executemany(
                "INSERT OR REPLACE INTO receipt VALUES (?, ?)",
                [(height, zlib.compress(data, 1)) for height, data in batch.receipts.items()],
            )
            connection.executemany(
                "INSERT OR IGNORE INTO transaction_place VALUES (?, ?)",
                sorted(
                    (_prefix(transaction_hash), height << 16 | index)
                    for height, hashes in batch.transaction_hashes.items()
                    for index, transaction_hash in enumerate(hashes)
                ),
            )
            _put_meta(connection, _FLUSHED_KEY, pack((batch.height, batch.state_root)))

    def flushed_height(self) -> Height:
        value = self.get_meta(_FLUSHED_KEY)
        return -1 if value is None else int(unpack_items(value, "flushed height", int, bytes)[0])

    def get_node(self, trie: bytes, path: bytes) -> bytes | None:
        number = self._find_trie(trie)
        if number is None:
            return None
        return self._value(_NODE, number, pack_path(path))

    def get_node_at(self, trie: bytes, path: bytes, height: Height) -> bytes | None:
        number = self._find_trie(trie)
        if number is None:
            return None

        def find_entry(path: bytes, kind: int, height: Height) -> Entry | None:
            rows = self._rows(_FIRST_UNDO, number, pack_path(path), kind, height)
            return find_in_row(rows[0][1], rows[0][0], height) if rows else None

        return read_node_at(path, height, find_entry, lambda path: self.get_node(trie, path))

    def get_code(self, code_hash: Hash32) -> bytes | None:
        return self._value("SELECT source FROM code WHERE hash = ?", code_hash)

    def get_receipts(self, height: Height) -> bytes | None:
        packed = self._value("SELECT receipts FROM receipt WHERE height = ?", height)
        return None if packed is None else self._decompress(packed)

    def find_transaction(self, transaction_hash: Hash32) -> tuple[Height, int] | None:
        rows = self._rows(
            "SELECT place FROM transaction_place WHERE prefix = ?", _prefix(transaction_hash)
        )
        for (place,) in rows:
            height, index = place >> 16, place & 0xFFFF
            body = self.get_body(height)
            if body is not None and keccak256(unpack(body, "body")[index]) == transaction_hash:
                return height, index
        return None

    def prune(self, below_height: Height, pins: Sequence[Height] = ()) -> None:
        kept = sorted({pin for pin in pins if pin < below_height})
        with self._transaction(self._state) as connection:
            low = -1
            for pin, high in zip([None, *kept], [*kept, below_height], strict=True):
                statement = _DROP_UNDO if pin is None else _DROP_UNDO + _UNLESS_FIRST
                connection.execute(statement, {"low": low, "high": high})
                low = high
            _put_meta(connection, _OLDEST_KEY, pack(max(below_height, self.oldest_state())))

    def oldest_state(self) -> Height:
        value = self.get_meta(_OLDEST_KEY)
        return 0 if value is None else int(unpack(value, "height"))

    def size_bytes(self) -> int:
        """Of the file and its log."""
        files = (self._path, self._path.with_name(self._path.name + "-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def close(self) -> None:
        """Copy the log into the file and let it go; closing twice is no error."""
        with self._errors():
            self._main.close()
            self._state.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # Inside.

    def _write_nodes(self, connection: sqlite3.Connection, batch: StateBatch) -> None:
        """The newest version of each node, and before each height what it was."""
        newest: dict[NodeKey, bytes | None] = {}
        keys: dict[NodeKey, tuple[int, bytes]] = {}
        undo: dict[tuple[NodeKey, int], tuple[list[Height], list[bytes | None]]] = {}
        for height, nodes in batch.nodes:
            for key, node in nodes.items():
                if key in newest:
                    old = newest[key]
                else:
                    keys[key] = self._number_trie(connection, key[0]), pack_path(key[1])
                    row = connection.execute(_NODE, keys[key]).fetchone()
                    old = None if row is None else row[0]
                newest[key] = node
                if height > 0 and old != node:
                    kind, data = encode_undo(old, node)
                    heights, entries = undo.setdefault((key, kind), ([], []))
                    heights.append(height)
                    entries.append(data)
        connection.executemany(
            "INSERT INTO undo VALUES (?, ?, ?, ?, ?)",
            sorted(
                (*keys[key], kind, heights[-1], pack_entries(heights, entries))
                for (key, kind), (heights, entries) in undo.items()
            ),
        )
        rows = sorted((*keys[key], node) for key, node in newest.items() if node is not None)
        gone = sorted(keys[key] for key, node in newest.items() if node is None)
        connection.executemany("INSERT OR REPLACE INTO node VALUES (?, ?, ?)", rows)
        connection.executemany("DELETE FROM node WHERE trie = ? AND path = ?", gone)

    def _find_trie(self, address: bytes) -> int | None:
        number = self._tries.get(address)
        if number is None:
            for (number,) in self._rows("SELECT number FROM trie WHERE address = ?", address):
                self._tries[address] = number
        return number

    def _number_trie(self, connection: sqlite3.Connection, address: bytes) -> int:
        number = self._find_trie(address)
        if number is None:
            connection.execute("INSERT OR IGNORE INTO trie (address) VALUES (?)", (address,))
            row = connection.execute("SELECT number FROM trie WHERE address = ?", (address,))
            number = int(row.fetchone()[0])
        return number

    def _take_lock(self) -> int:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        lock_path = self._path.with_name(self._path.name + ".lock")
        lock = os.open(lock_path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise StoreError(
                f"{self._path} is in use by another process; two nodes must never share a folder"
            ) from error
        return lock

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, timeout=BUSY_MS / 1_000
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        return connection

    def _prepare(self) -> None:
        version = self._main.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            with self._transaction(self._main) as connection:
                for statement in _SCHEMA.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        elif version != SCHEMA_VERSION:
            raise StoreError(
                f"{self._path} was written by another version (format {version}, this program"
                f" reads {SCHEMA_VERSION}): use that version, or move the file away to sync again"
            )

    @contextmanager
    def _transaction(self, connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
        """All of it durably or nothing."""
        with self._errors():
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """SQLite's errors as ours, with the file and what to do."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._explain(error) from error

    def _explain(self, error: sqlite3.Error) -> StoreError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            return DiskFull(f"the disk that holds {self._path} is full: free some space")
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return StoreError(f"{self._path} is damaged: {error}; {_REMEDY}")
        return StoreError(f"{self._path}: {error}")

    def _rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        try:  # no context manager here: a node read takes 4 us
            return self._main.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise self._explain(error) from error

    def _value(self, statement: str, *values: object) -> bytes | None:
        """The first column of the first row; None without one."""
        rows = self._rows(statement, *values)
        value: bytes | None = rows[0][0] if rows else None
        return value

    def _decompress(self, packed: bytes) -> bytes:
        try:
            return zlib.decompress(packed)
        except zlib.error as error:
            raise StoreError(f"{self._path} is damaged: {error}; {_REMEDY}") from error


def pack_path(path: bytes) -> bytes:
    """A path, one nibble a byte, as two nibbles a byte and a last nibble 8 (then 0) that ends it.

    What lies below a path sorts around it, so a subtree's rows are neighbours in the file.
    """
    digits = path.translate(_DIGITS).decode()
    return bytes.fromhex(digits + ("8" if len(path) % 2 else "80"))


def _prefix(digest: Hash32) -> int:
    """Eight bytes of a hash as SQLite's integer; what is found by it is held to the whole hash."""
    return int.from_bytes(digest[:8], "big", signed=True)


def _put_meta(connection: sqlite3.Connection, key: str, value: bytes) -> None:
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))
