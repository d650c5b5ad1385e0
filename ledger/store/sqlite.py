"""The store on disk: one SQLite file in WAL mode with full synchronisation.

    block         height -> header, body (zlib), certificate       block by block; see `staging`
    block_place   first 8 bytes of a block's hash, height          with the flush
    meta          durable small values: signer record, genesis, flushed height
    node          trie number, path -> node                        newest version only
    undo          trie number, path, kind, height of the last -> entries of one flush (`undo`)
    trie          contract address -> number                       20 bytes less in every key
    transaction_place   epoch, first 8 bytes of a hash, height << 16 | index
    receipt, code

Rows of a trie lie in the order of their paths, so that a leaf and the branches above it share
pages: what wears a card out is pages written, not bytes. Source: DESIGN.md section 5.
"""

import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path

from ledger.block import decode_header
from ledger.crypto.keccak import keccak256
from ledger.encoding.packed import pack, unpack, unpack_items
from ledger.errors import StoreError
from ledger.store.base import SIGNER_KEY, Branches, NodeKey, Staging, StateBatch
from ledger.store.branches import Draft, SqliteBranches, drop_blocks, rewind_state
from ledger.store.database import Database
from ledger.store.paths import pack_path
from ledger.store.staging import SqliteStaging, adopt
from ledger.store.undo import Entry, encode_versions, find_in_row, read_node_at
from ledger.types import Hash32, Height

SCHEMA_VERSION = 1

EPOCH_TRANSACTIONS = 65_536
"""Places of transactions lie by hash, which is anywhere: within an epoch of so many they fill 300
pages, so that a flush rewrites those and not the index of the whole chain."""

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
CREATE TABLE epoch (number INTEGER PRIMARY KEY, transactions INTEGER NOT NULL);
CREATE TABLE transaction_place (epoch INTEGER, prefix INTEGER, place INTEGER,
    PRIMARY KEY (epoch, prefix, place)) WITHOUT ROWID;
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
_PLACES = (
    "SELECT place FROM epoch CROSS JOIN transaction_place ON epoch = number WHERE prefix = ?"
    " ORDER BY number DESC"
)


class SqliteStore:
    """`Store` in form. Raises StoreError naming the file where it cannot be opened or read."""

    def __init__(self, path: Path) -> None:
        self._db = Database(path, _SCHEMA, SCHEMA_VERSION)
        self._tries: dict[bytes, int] = {}
        self._last_body: tuple[bytes, tuple[bytes, ...]] = (b"", ())
        """In which a transaction was looked for last: who asks for one asks for all of a block."""
        try:
            self.staging: Staging = SqliteStaging(self._db, self._number_trie, pack_path, _prefix)
            self.branches: Branches = SqliteBranches(self._db)
            self._head: Height = self._load_head()
            self._new_blocks = self._load_new_blocks()
            oldest = self.get_meta(_OLDEST_KEY)
            self._oldest: Height = 0 if oldest is None else unpack(oldest, "height")
            self._pins: list[Height] | None = None  # unknown until the first `prune`
        except StoreError:
            self._db.close()
            raise

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
        with self._db.transaction(self._db.main) as connection:
            connection.execute(
                "INSERT OR REPLACE INTO block VALUES (?, ?, ?, ?)",
                (height, header, packed, certificate),
            )
            if lease is not None:
                _put_meta(connection, SIGNER_KEY, lease)
        self._head = height
        self._new_blocks[block_hash] = height

    def head_height(self) -> Height:
        return self._head

    def get_header(self, height: Height) -> bytes | None:
        if height > self._head:
            return None  # one that is kept ahead is not of this chain yet
        return self._db.value("SELECT header FROM block WHERE height = ?", height)

    def get_body(self, height: Height) -> bytes | None:
        packed = self._db.value("SELECT body FROM block WHERE height = ?", height)
        return self._decompress(packed) if packed else None

    def get_certificate(self, height: Height) -> bytes | None:
        if height > self._head:
            return None
        return self._db.value("SELECT certificate FROM block WHERE height = ?", height)

    def get_height(self, block_hash: Hash32) -> Height | None:
        if block_hash in self._new_blocks:
            return self._new_blocks[block_hash]
        rows = self._db.rows("SELECT height FROM block_place WHERE prefix = ?", _prefix(block_hash))
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
        with self._db.transaction(self._db.main) as connection:
            for key, value in values.items():
                if value is None:
                    connection.execute("DELETE FROM meta WHERE key = ?", (key,))
                else:
                    _put_meta(connection, key, value)

    def get_meta(self, key: str) -> bytes | None:
        return self._db.value("SELECT value FROM meta WHERE key = ?", key)

    def set_meta(self, key: str, value: bytes) -> None:
        self.put_durable(key, value)

    # State, receipts and indexes: many blocks at once.

    def flush(self, batch: StateBatch) -> None:
        blocks = [item for item in list(self._new_blocks.items()) if item[1] <= batch.height]
        with self._db.transaction(self._db.large) as connection:
            self._drop_undo(connection)
            self._write_nodes(connection, batch)
            connection.executemany("INSERT OR IGNORE INTO code VALUES (?, ?)", batch.codes.items())
            connection.executemany(
                "INSERT OR REPLACE INTO receipt VALUES (?, ?)",
                [(height, zlib.compress(data, 1)) for height, data in batch.receipts.items()],
            )
            connection.executemany(
                "INSERT OR IGNORE INTO block_place VALUES (?, ?)",
                sorted((_prefix(block_hash), height) for block_hash, height in blocks),
            )
            self._write_places(connection, batch)
            _put_meta(connection, _FLUSHED_KEY, pack((batch.height, batch.state_root)))
        for block_hash, _ in blocks:
            del self._new_blocks[block_hash]

    def flushed_height(self) -> Height:
        value = self.get_meta(_FLUSHED_KEY)
        return -1 if value is None else int(unpack_items(value, "flushed height", int, bytes)[0])

    def get_node(self, trie: bytes, path: bytes) -> bytes | None:
        number = self._find_trie(trie)
        if number is None:
            return None
        return self._db.value(_NODE, number, pack_path(path))

    def get_node_at(self, trie: bytes, path: bytes, height: Height) -> bytes | None:
        number = self._find_trie(trie)
        if number is None:
            return None

        def find_entry(path: bytes, kind: int, height: Height) -> Entry | None:
            rows = self._db.rows(_FIRST_UNDO, number, pack_path(path), kind, height)
            return find_in_row(rows[0][1], rows[0][0], height) if rows else None

        return read_node_at(path, height, find_entry, lambda path: self.get_node(trie, path))

    def get_code(self, code_hash: Hash32) -> bytes | None:
        return self._db.value("SELECT source FROM code WHERE hash = ?", code_hash)

    def get_receipts(self, height: Height) -> bytes | None:
        packed = self._db.value("SELECT receipts FROM receipt WHERE height = ?", height)
        return None if packed is None else self._decompress(packed)

    def find_transaction(self, transaction_hash: Hash32) -> tuple[Height, int] | None:
        rows = self._db.rows(_PLACES, _prefix(transaction_hash))
        for (place,) in rows:
            height, index = place >> 16, place & 0xFFFF
            packed = self._db.value("SELECT body FROM block WHERE height = ?", height)
            if packed and packed != self._last_body[0]:
                self._last_body = packed, unpack(self._decompress(packed), "body")
            if packed and keccak256(self._last_body[1][index]) == transaction_hash:
                return height, index
        return None

    def prune(self, below_height: Height, pins: Sequence[Height] = ()) -> None:
        """As `Store` says; the rows go with the next flush, which changes the same pages."""
        self._oldest = max(below_height, self._oldest)
        self._pins = sorted({pin for pin in pins if pin < self._oldest})

    def oldest_state(self) -> Height:
        return self._oldest

    def adopt_staged(self, height: Height, state_root: Hash32, signer: bytes | None) -> None:
        with self._db.transaction(self._db.main) as connection:
            adopt(connection, height)
            _put_meta(connection, _FLUSHED_KEY, pack((height, state_root)))
            _put_meta(connection, _OLDEST_KEY, pack(height))
            if signer is None:
                connection.execute("DELETE FROM meta WHERE key = ?", (SIGNER_KEY,))
            else:
                _put_meta(connection, SIGNER_KEY, signer)
        self._head = self._oldest = height
        self._pins = None
        self._new_blocks.clear()

    # Branches.

    @contextmanager
    def draft(self) -> Iterator["SqliteStore"]:
        with self._db.transaction(self._db.large) as connection:
            draft = copy(self)
            draft._db = Draft(self._db, connection)
            draft.branches = SqliteBranches(draft._db)
            draft._new_blocks = self._new_blocks.copy()
            draft._tries = self._tries.copy()
            yield draft
        for name in ("_head", "_new_blocks", "_tries", "_oldest", "_pins"):
            setattr(self, name, getattr(draft, name))

    def rewind(self, height: Height, state: Height) -> None:
        connection = self._db.large
        with self._db.errors():
            if self.flushed_height() > state:
                rewind_state(connection, state, self.get_node_at)
                root = decode_header(self.get_header(state) or b"").state_root
                self._oldest = min(self._oldest, state)
                _put_meta(connection, _FLUSHED_KEY, pack((state, root)))
                _put_meta(connection, _OLDEST_KEY, pack(self._oldest))
            drop_blocks(connection, height, self.flushed_height())
        self._head = height
        self._new_blocks = self._load_new_blocks()

    def size_bytes(self) -> int:
        return self._db.size_bytes()

    def close(self) -> None:
        self._db.close()

    # Inside.

    def _load_head(self) -> Height:
        """The highest block whose body is here, or that a snapshot stands for."""
        flushed = self.flushed_height()
        found = self._db.rows(
            "SELECT height FROM block WHERE height > ? AND body != x''"
            " ORDER BY height DESC LIMIT 1",
            flushed,
        )
        return int(found[0][0]) if found else flushed

    def _load_new_blocks(self) -> dict[Hash32, Height]:
        """The blocks whose place the last flush could not write yet."""
        return {
            keccak256(header): height
            for height, header in self._db.rows(
                "SELECT height, header FROM block WHERE height > ? AND body != x''",
                self.flushed_height(),
            )
        }

    def _write_nodes(self, connection: sqlite3.Connection, batch: StateBatch) -> None:
        """The newest version of each node, and before each height what it was."""
        versions: dict[NodeKey, list[tuple[Height, bytes | None]]] = {}
        for height, nodes in batch.nodes:
            for key, node in nodes.items():
                versions.setdefault(key, []).append((height, node))
        undo, rows, gone = [], [], []
        places = [
            ((self._number_trie(connection, trie), pack_path(path)), changed)
            for (trie, path), changed in versions.items()
        ]
        for place, changed in sorted(places):  # as the rows lie: the next is on the same page
            found = connection.execute(_NODE, place).fetchone()
            old, newest = found and found[0], changed[-1][1]
            undo += [(*place, *row) for row in encode_versions(old, changed)]
            if newest is None:
                gone.append(place)
            else:
                rows.append((*place, newest))
        connection.executemany("INSERT INTO undo VALUES (?, ?, ?, ?, ?)", undo)
        connection.executemany("INSERT OR REPLACE INTO node VALUES (?, ?, ?)", rows)
        connection.executemany("DELETE FROM node WHERE trie = ? AND path = ?", gone)

    def _find_trie(self, address: bytes) -> int | None:
        number = self._tries.get(address)
        if number is None:
            for (number,) in self._db.rows("SELECT number FROM trie WHERE address = ?", address):
                self._tries[address] = number
        return number

    def _number_trie(self, connection: sqlite3.Connection, address: bytes) -> int:
        number = self._find_trie(address)
        if number is None:
            connection.execute("INSERT OR IGNORE INTO trie (address) VALUES (?)", (address,))
            row = connection.execute("SELECT number FROM trie WHERE address = ?", (address,))
            number = int(row.fetchone()[0])
        return number

    def _drop_undo(self, connection: sqlite3.Connection) -> None:
        """The rows that no height from the oldest on needs, nor a pinned one."""
        if self._pins is None:
            return
        low = -1
        for pin, high in zip([None, *self._pins], [*self._pins, self._oldest], strict=True):
            statement = _DROP_UNDO if pin is None else _DROP_UNDO + _UNLESS_FIRST
            connection.execute(statement, {"low": low, "high": high})
            low = high
        _put_meta(connection, _OLDEST_KEY, pack(self._oldest))

    def _write_places(self, connection: sqlite3.Connection, batch: StateBatch) -> None:
        """Where the transactions of a batch stand."""
        places = [
            (_prefix(transaction_hash), height << 16 | index)
            for height, hashes in batch.transaction_hashes.items()
            for index, transaction_hash in enumerate(hashes)
        ]
        row = connection.execute("SELECT max(number), transactions FROM epoch").fetchone()
        epoch, count = (row[0] or 0, row[1] or 0)
        if count >= EPOCH_TRANSACTIONS:
            epoch, count = epoch + 1, 0
        connection.executemany(
            f"INSERT INTO transaction_place VALUES ({epoch}, ?, ?)", sorted(places)
        )
        connection.execute(
            "INSERT OR REPLACE INTO epoch VALUES (?, ?)", (epoch, count + len(places))
        )

    def _decompress(self, packed: bytes) -> bytes:
        try:
            return zlib.decompress(packed)
        except zlib.error as error:
            raise self._db.damaged(error) from error


def _prefix(digest: Hash32) -> int:
    """Eight bytes of a hash as SQLite's integer; what is found by it is held to the whole hash."""
    return int.from_bytes(digest[:8], "big", signed=True)


def _put_meta(connection: sqlite3.Connection, key: str, value: bytes) -> None:
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))
