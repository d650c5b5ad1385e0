"""Blocks of other branches, and the draft in which one branch takes the place of another.

    branch   hash -> number, parent, the head's height when it came, header, body (zlib)

A draft is one transaction of the large connection. All that is written through it, however much,
is there at once when it ends, or not at all; whoever reads meanwhile sees the chain as it was.
State is taken back by the undo rows, read at the height wanted. Source: DESIGN.md sections 4, 5.
"""

import sqlite3
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ledger.block import Block, Header, decode_body, decode_header, encode_body
from ledger.store.base import SideBlock
from ledger.store.database import Database
from ledger.store.paths import unpack_path
from ledger.store.undo import cut_row
from ledger.types import Hash32, Height

_BRANCH = """CREATE TABLE IF NOT EXISTS branch (hash BLOB PRIMARY KEY, number INTEGER NOT NULL,
    parent BLOB NOT NULL, seen INTEGER NOT NULL, header BLOB NOT NULL, body BLOB NOT NULL)
    WITHOUT ROWID"""

ReadNodeAt = Callable[[bytes, bytes, Height], bytes | None]
"""(trie, path, height) -> the node as it was after a height that can be read."""


class SqliteBranches:
    """The part of the SQLite store that `Store` describes under this name."""

    def __init__(self, db: Database) -> None:
        self._db = db
        db.main.execute(_BRANCH)

    def put(self, block: Block, seen: Height) -> None:
        header = block.header
        row = (header.hash, header.number, header.parent_hash, seen, header.encode())
        body = zlib.compress(encode_body(block.transactions), 1)
        with self._db.transaction(self._db.main) as connection:
            connection.execute(
                "INSERT OR REPLACE INTO branch VALUES (?, ?, ?, ?, ?, ?)", (*row, body)
            )

    def get(self, block_hash: Hash32) -> Block | None:
        rows = self._db.rows("SELECT header, body FROM branch WHERE hash = ?", block_hash)
        if not rows:
            return None
        return Block(decode_header(rows[0][0]), decode_body(zlib.decompress(rows[0][1])))

    def get_header(self, block_hash: Hash32) -> Header | None:
        raw = self._db.value("SELECT header FROM branch WHERE hash = ?", block_hash)
        return None if raw is None else decode_header(raw)

    def drop(self, hashes: Sequence[Hash32]) -> None:
        with self._db.transaction(self._db.main) as connection:
            connection.executemany("DELETE FROM branch WHERE hash = ?", [(one,) for one in hashes])

    def load(self) -> list[SideBlock]:
        rows = self._db.rows("SELECT hash, number, parent, seen, length(body) FROM branch")
        return [SideBlock(*row) for row in rows]


class Draft(Database):
    """A database as one open transaction of another sees it; what is written here is part of it."""

    def __init__(self, outer: Database, connection: sqlite3.Connection) -> None:
        self.path = outer.path
        self.main = self.large = connection

    @contextmanager
    def transaction(self, connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
        with self.errors():
            yield connection


def drop_blocks(connection: sqlite3.Connection, height: Height, flushed: Height) -> None:
    """Forget the blocks above `height`; those above `flushed` have their place written again."""
    connection.execute("DELETE FROM block WHERE height > ?", (height,))
    connection.execute("DELETE FROM block_place WHERE height > ?", (min(height, flushed),))


def rewind_state(connection: sqlite3.Connection, height: Height, read: ReadNodeAt) -> None:
    """Make the state after `height` the newest one, by the undo rows above it."""
    connection.execute("DELETE FROM receipt WHERE height > ?", (height,))
    connection.execute("DELETE FROM transaction_place WHERE place >= ?", ((height + 1) << 16,))
    connection.execute("CREATE TEMP TABLE rewound (trie INTEGER, path BLOB, node BLOB)")
    changed = connection.execute(
        "SELECT DISTINCT trie, address, path FROM undo JOIN trie ON number = trie WHERE last > ?",
        (height,),
    )
    connection.executemany(
        "INSERT INTO rewound VALUES (?, ?, ?)",
        (
            (number, path, read(address, unpack_path(path), height))
            for number, address, path in changed
        ),
    )
    connection.execute(
        "DELETE FROM node WHERE EXISTS (SELECT 1 FROM rewound WHERE rewound.node IS NULL"
        " AND rewound.trie = node.trie AND rewound.path = node.path)"
    )
    connection.execute(
        "INSERT OR REPLACE INTO node SELECT trie, path, node FROM rewound WHERE node IS NOT NULL"
    )
    connection.execute("DROP TABLE rewound")
    rows = connection.execute(
        "SELECT rowid, last, entries FROM undo WHERE last > ?", (height,)
    ).fetchall()
    for number, last, entries in rows:
        kept = cut_row(entries, last, height)
        if kept is None:
            connection.execute("DELETE FROM undo WHERE rowid = ?", (number,))
        else:
            connection.execute(
                "UPDATE undo SET last = ?, entries = ? WHERE rowid = ?", (*kept, number)
            )
