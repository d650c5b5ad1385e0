"""Beside the chain that is lived in: headers ahead of it, a state being fetched, bodies let go.

    block    a row whose body is empty has its header and certificate alone: pruned, below
             `bodies_from`, or certified and not yet executed, above the head
    staged   like node: the state of a snapshot, until `adopt` puts it in node's place at once

Nothing here is seen by who reads the chain before it is whole. Source: DESIGN.md sections 5 and 6.
"""

import sqlite3
import zlib
from collections.abc import Callable, Mapping, Sequence

from ledger.crypto.keccak import keccak256
from ledger.encoding.packed import pack, unpack
from ledger.store.base import NodeKey
from ledger.store.database import Database
from ledger.types import Hash32, Height

BODIES_FROM_KEY = "bodies_from"

_STAGED = """CREATE TABLE IF NOT EXISTS staged (trie INTEGER, path BLOB, node BLOB NOT NULL,
    PRIMARY KEY (trie, path)) WITHOUT ROWID"""

NumberTrie = Callable[[sqlite3.Connection, bytes], int]
PackPath = Callable[[bytes], bytes]
Prefix = Callable[[Hash32], int]


class SqliteStaging:
    """The part of the SQLite store that `Store` describes under this name."""

    def __init__(
        self, db: Database, number_trie: NumberTrie, pack_path: PackPath, prefix: Prefix
    ) -> None:
        self._db = db
        self._number_trie = number_trie
        self._pack_path = pack_path
        self._prefix = prefix
        self._db.main.execute(_STAGED)

    # Headers.

    def append_headers(self, rows: Sequence[tuple[Height, Hash32, bytes, bytes]]) -> None:
        with self._db.transaction(self._db.main) as connection:
            connection.executemany(
                "INSERT INTO block VALUES (?, ?, x'', ?)"
                " ON CONFLICT DO UPDATE SET certificate = excluded.certificate",
                [(height, header, certificate) for height, _, header, certificate in rows],
            )
            connection.executemany(
                "INSERT OR IGNORE INTO block_place VALUES (?, ?)",
                sorted((self._prefix(block_hash), height) for height, block_hash, *_ in rows),
            )

    def ahead_height(self) -> Height:
        return int(self._db.rows("SELECT ifnull(max(height), -1) FROM block")[0][0])

    def get_ahead(self, height: Height) -> tuple[bytes, bytes] | None:
        rows = self._db.rows("SELECT header, certificate FROM block WHERE height = ?", height)
        return rows[0] if rows else None

    def get_headers(self, first: Height, count: int) -> list[tuple[bytes, bytes]]:
        return self._db.rows(
            "SELECT header, certificate FROM block WHERE height >= ? AND height < ?"
            " ORDER BY height",
            first,
            first + count,
        )

    # Bodies.

    def bodies_from(self) -> Height:
        value = self._db.value("SELECT value FROM meta WHERE key = ?", BODIES_FROM_KEY)
        return 0 if value is None else int(unpack(value, "height"))

    def prune_bodies(self, below: Height, count: int) -> int:
        first = max(1, self.bodies_from())  # that of genesis has no transactions
        last = min(below, first + count)
        if last <= first:
            return 0
        with self._db.transaction(self._db.main) as connection:
            connection.execute(
                "UPDATE block SET body = x'' WHERE height >= ? AND height < ?", (first, last)
            )
            connection.execute("DELETE FROM receipt WHERE height >= ? AND height < ?", (1, last))
            self._drop_places(connection, last)
            put_bodies_from(connection, last)
        return last - first

    def fill_bodies(self, rows: Sequence[tuple[Height, bytes, bytes]]) -> None:
        with self._db.transaction(self._db.main) as connection:
            for height, body, receipts in rows:
                connection.execute(
                    "UPDATE block SET body = ? WHERE height = ?", (zlib.compress(body, 1), height)
                )
                connection.execute(
                    "INSERT OR REPLACE INTO receipt VALUES (?, ?)",
                    (height, zlib.compress(receipts, 1)),
                )
                raws = unpack(body, "block body")
                # Epoch 0 holds what came late, whatever its number of rows: it is looked at last.
                connection.executemany(
                    "INSERT OR IGNORE INTO transaction_place VALUES (0, ?, ?)",
                    sorted(
                        (self._prefix(keccak256(raw)), height << 16 | index)
                        for index, raw in enumerate(raws)
                    ),
                )
            connection.execute("INSERT OR IGNORE INTO epoch VALUES (0, 0)")
            put_bodies_from(connection, min(height for height, _, _ in rows))

    def _drop_places(self, connection: sqlite3.Connection, below: Height) -> None:
        """An epoch of places goes as a whole, once all that it names are gone; never the newest."""
        epochs = connection.execute("SELECT number FROM epoch ORDER BY number").fetchall()
        if len(epochs) < 2:
            return
        number = epochs[0][0]
        newest = connection.execute(
            "SELECT max(place) FROM transaction_place WHERE epoch = ?", (number,)
        ).fetchone()[0]
        if newest is None or newest < below << 16:
            connection.execute("DELETE FROM transaction_place WHERE epoch = ?", (number,))
            connection.execute("DELETE FROM epoch WHERE number = ?", (number,))

    # A state.

    def stage(self, nodes: Sequence[tuple[NodeKey, bytes]], codes: Mapping[Hash32, bytes]) -> None:
        with self._db.transaction(self._db.main) as connection:
            # Each is asked for once, before it is made: what is remembered of a number must not be
            # of a transaction that may still fail.
            tries = {trie for (trie, _), _ in nodes}
            numbers = {trie: self._number_trie(connection, trie) for trie in tries}
            connection.executemany(
                "INSERT OR REPLACE INTO staged VALUES (?, ?, ?)",
                sorted(
                    (numbers[trie], self._pack_path(path), node) for (trie, path), node in nodes
                ),
            )
            connection.executemany("INSERT OR IGNORE INTO code VALUES (?, ?)", codes.items())

    def get_staged(self, trie: bytes, path: bytes) -> bytes | None:
        return self._db.value(
            "SELECT node FROM trie JOIN staged ON staged.trie = trie.number"
            " WHERE trie.address = ? AND path = ?",
            trie,
            self._pack_path(path),
        )

    def find_tries(self) -> list[bytes]:
        return [address for (address,) in self._db.rows("SELECT address FROM trie")]

    def drop_staged(self) -> None:
        with self._db.transaction(self._db.main) as connection:
            connection.execute("DROP TABLE IF EXISTS staged")
            connection.execute(_STAGED)


def adopt(connection: sqlite3.Connection, height: Height) -> None:
    """Put the staged state in the place of the one that was lived in; part of a transaction."""
    connection.execute("DROP TABLE node")
    connection.execute("ALTER TABLE staged RENAME TO node")
    connection.execute(_STAGED)
    connection.execute("DELETE FROM undo")
    put_bodies_from(connection, height + 1)


def put_bodies_from(connection: sqlite3.Connection, height: Height) -> None:
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (BODIES_FROM_KEY, pack(height)))
