"""A chain whose every part follows from its height, and processes that write it until killed.

Run as `python -m tests.store.writer (write|fill) PATH`; it imports little, for it starts often.
"""

import os
import random
import sys
from pathlib import Path

from ledger.crypto.keccak import keccak256 as keccak
from ledger.encoding import rlp
from ledger.errors import DiskFull
from ledger.store.base import StateBatch
from ledger.store.sqlite import SqliteStore

FLUSH_BLOCKS = 4


def body_of(height: int) -> bytes:
    return random.Random(height).randbytes(2_000 + height % 7 * 1_000)


def header_of(height: int) -> bytes:
    return b"header %d" % height


def leaf_of(height: int) -> bytes:
    return rlp.encode([b"\x20" + b"key" * 10, b"value %d" % height])


def append(store: SqliteStore, height: int) -> None:
    header = header_of(height)
    store.append_block(
        height, keccak(header), header, body_of(height), b"cert %d" % height, b"lease %d" % height
    )


def flush(store: SqliteStore, low: int, high: int) -> None:
    nodes = [(height, {(b"", b"\1"): leaf_of(height)}) for height in range(low, high + 1)]
    receipts = {height: b"receipts %d" % height for height in range(low, high + 1)}
    store.flush(StateBatch(high, b"\1" * 32, nodes, receipts=receipts))


def write_for_ever(path: Path) -> None:
    """The process under test: says which block is durable once `append_block` returned."""
    store = SqliteStore(path)
    flushed = store.flushed_height()
    for height in range(store.head_height() + 1, 10**9):
        append(store, height)
        os.write(1, b"%d\n" % height)
        if height - flushed >= FLUSH_BLOCKS:
            flush(store, flushed + 1, height)
            flushed = height
            store.prune(max(0, height - 8))


def check(store: SqliteStore) -> int:
    """Every block is wholly there or wholly not, and the state is that of its height."""
    head, flushed = store.head_height(), store.flushed_height()
    assert -1 <= flushed <= head
    for height in range(head + 1):
        assert store.get_header(height) == header_of(height)
        assert store.get_body(height) == body_of(height)
        assert store.get_certificate(height) == b"cert %d" % height
        assert store.get_height(keccak(header_of(height))) == height
        assert store.get_receipts(height) == (
            b"receipts %d" % height if height <= flushed else None
        )
    for value in (store.get_header(head + 1), store.get_body(head + 1)):
        assert value is None
    assert store.load_signer() == (b"lease %d" % head if head >= 0 else None)
    assert store.get_node(b"", b"\1") == (leaf_of(flushed) if flushed >= 0 else None)
    for height in range(store.oldest_state(), flushed + 1):
        assert store.get_node_at(b"", b"\1", height) == leaf_of(height)
    return head


def append_many(store: SqliteStore) -> None:
    for height in range(store.head_height() + 1, 1_000):
        append(store, height)


def fill_a_real_disk(folder: Path) -> None:
    """The process under test: a file system of 2 MB, filled by somebody else, then freed."""
    store = SqliteStore(folder / "chain.sqlite")
    append(store, 0)
    hog = folder / "hog"
    with hog.open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 4_096):
                pass
        except OSError:
            pass
    for _ in range(3):
        for write in (lambda: append_many(store), lambda: store.save_signer(b"x" * 100_000)):
            try:
                write()
            except DiskFull:
                continue
            raise AssertionError("the disk is full and nobody said so")
        check(store)
    hog.unlink()
    head = store.head_height()
    append(store, head + 1)
    flush(store, 0, head + 1)
    assert check(store) == head + 1
    store.close()
    os.write(1, b"recovered")


if __name__ == "__main__":
    {"write": write_for_ever, "fill": fill_a_real_disk}[sys.argv[1]](Path(sys.argv[2]))
