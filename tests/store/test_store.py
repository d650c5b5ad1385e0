"""Both stores keep one contract; the SQLite store is held to the one of dictionaries."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import rlp
from eth_utils import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.encoding.packed import pack
from ledger.errors import StoreError
from ledger.store import sqlite
from ledger.store.base import StateBatch, Store
from ledger.store.memory import MemoryStore
from ledger.store.paths import pack_path
from ledger.store.sqlite import SqliteStore
from ledger.trie.trie import EMPTY_ROOT, Trie

QUICK_DISK = "/dev/shm" if Path("/dev/shm").is_dir() else None  # hundreds of small stores
CONTRACT = b"\xc0" * 20


def open_store(kind: str, folder: Path) -> Store:
    return MemoryStore() if kind == "memory" else SqliteStore(folder / "chain.sqlite")


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened = open_store(request.param, tmp_path)
    yield opened
    opened.close()


def append(store: Store, height: int, transactions: tuple[bytes, ...] = (), lease: bytes = b"L"):
    header = b"header %d" % height
    store.append_block(
        height, keccak(header), header, pack(transactions), b"certificate %d" % height, lease
    )
    return keccak(header)


def batch_of(heights: dict[int, dict], **others: object) -> StateBatch:
    return StateBatch(max(heights), b"\1" * 32, list(heights.items()), **others)


def leaf_of(value: int) -> bytes:
    return rlp.encode([b"\x20" + b"key" * 10, b"value %d" % value])


def test_an_empty_store_has_nothing(store):
    assert store.head_height() == -1
    assert store.flushed_height() == -1
    assert store.oldest_state() == 0
    assert store.load_signer() is None
    for value in (
        store.get_header(0),
        store.get_body(0),
        store.get_certificate(-1),
        store.get_height(b"\1" * 32),
        store.get_meta("genesis"),
        store.get_node(b"", b""),
        store.get_node(CONTRACT, b"\1"),
        store.get_node_at(b"", b"", 0),
        store.get_code(b"\1" * 32),
        store.get_receipts(0),
        store.find_transaction(b"\1" * 32),
    ):
        assert value is None


def test_a_block_comes_back_with_its_lease(store):
    first = append(store, 0, lease=b"lease 1")
    second = append(store, 1, (b"tx",), lease=b"lease 2")

    assert store.head_height() == 1
    assert (store.get_height(first), store.get_height(second)) == (0, 1)
    assert store.get_header(1) == b"header 1"
    assert store.get_body(1) == pack((b"tx",))
    assert store.get_certificate(0) == b"certificate 0"
    assert store.load_signer() == b"lease 2"


def test_a_block_without_a_lease_leaves_the_signer_record(store):
    store.save_signer(b"mine")
    store.append_block(0, keccak(b"h"), b"h", pack(()), b"", None)

    assert store.load_signer() == b"mine"
    assert store.get_certificate(0) == b""


@pytest.mark.parametrize("height", [0, 2, -1])
def test_blocks_follow_each_other(store, height):
    append(store, 0)

    with pytest.raises(StoreError, match=f"block {height} does not follow block 0"):
        append(store, height)
    assert store.head_height() == 0


def test_small_values_come_and_go(store):
    store.put_durable_many({"a": b"1", "b": b"2"})
    store.put_durable("a", None)
    store.put_durable("never", None)
    store.set_meta("b", b"3")

    assert (store.get_meta("a"), store.get_meta("b")) == (None, b"3")


def test_a_flush_brings_state_receipts_and_places(store):
    transactions = (b"first", b"second")
    append(store, 0)
    append(store, 1, transactions)
    hashes = [keccak(raw) for raw in transactions]

    store.flush(
        batch_of(
            {0: {(b"", b""): leaf_of(0)}, 1: {(b"", b""): leaf_of(1), (CONTRACT, b""): leaf_of(2)}},
            codes={keccak(b"code"): b"code"},
            receipts={1: b"receipts"},
            transaction_hashes={1: hashes},
        )
    )

    assert store.flushed_height() == 1
    assert store.get_node(b"", b"") == leaf_of(1)
    assert store.get_node(CONTRACT, b"") == leaf_of(2)
    assert store.get_node_at(b"", b"", 0) == leaf_of(0)
    assert store.get_node_at(CONTRACT, b"", 0) is None
    assert store.get_code(keccak(b"code")) == b"code"
    assert store.get_receipts(1) == b"receipts"
    assert [store.find_transaction(digest) for digest in hashes] == [(1, 0), (1, 1)]


def test_hashes_that_begin_alike_are_told_apart(store):
    """Eight bytes are kept of a hash; the rest is checked against the block."""
    append(store, 0)
    append(store, 1, (b"first",))
    digest = keccak(b"first")
    store.flush(batch_of({1: {}}, transaction_hashes={1: [digest]}))

    assert store.find_transaction(digest) == (1, 0)
    assert store.find_transaction(digest[:8] + bytes(24)) is None
    assert store.get_height(keccak(b"header 1")[:8] + bytes(24)) is None


# Few keys, so that they meet again. Short ones that begin alike make every shape of node:
# extensions, leaves inside their parents, branches with values; long ones what a chain has.
trie_keys = st.sampled_from(
    [b"\x10", b"\x11", b"\x11\x10", b"\x11\x11", b"\x20", b"\x21\x11\x11", b"\x21\x11\x12"]
    + [keccak(bytes([number])) for number in range(12)]
)
trie_values = st.sampled_from([b"", b"", b"s", b"t", b"large" * 9, b"other" * 9, b"longer" * 12])
writes = st.dictionaries(
    st.tuples(st.sampled_from([b"", CONTRACT]), trie_keys), trie_values, max_size=6
)


def run_tries(blocks: list[dict]) -> list[dict]:
    """For each block of writes the nodes that the tries of accounts and a contract changed."""
    nodes: dict = {}
    roots = {b"": EMPTY_ROOT, CONTRACT: EMPTY_ROOT}
    changes = []
    for block in blocks:
        changed = {}
        for trie_id in roots:
            trie = Trie(NodesOf(nodes), trie_id, roots[trie_id])
            for (owner, key), value in block.items():
                if owner == trie_id:
                    trie.set(key, value)
            roots[trie_id], nodes_changed = trie.commit()
            changed |= nodes_changed
        nodes |= changed
        changes.append(changed)
    return changes


class NodesOf:
    def __init__(self, nodes: dict) -> None:
        self.nodes = nodes

    def get_node(self, trie: bytes, path: bytes) -> bytes | None:
        return self.nodes.get((trie, path))


@settings(max_examples=250)
@given(st.lists(writes, min_size=1, max_size=14), st.data())
def test_every_kept_height_reads_as_it_was(blocks, data):
    """Flushed in any batches, pruned at any point with any pins, by plain copies of the state."""
    changes = run_tries(blocks)
    states: list[dict] = []
    for changed in changes:
        states.append({**(states[-1] if states else {}), **changed})
    touched = {key for changed in changes for key in changed}

    with TemporaryDirectory(dir=QUICK_DISK) as folder:
        stores: list[Store] = [MemoryStore(), SqliteStore(Path(folder) / "chain.sqlite")]
        start = 0
        while start < len(blocks):
            end = data.draw(st.integers(start + 1, len(blocks)))
            for store in stores:
                store.flush(batch_of({height: changes[height] for height in range(start, end)}))
            start = end
        below = data.draw(st.integers(0, len(blocks) - 1))
        pins = data.draw(st.lists(st.integers(0, len(blocks) - 1), max_size=2))
        for store in stores:
            store.prune(below, pins)
            store.flush(batch_of({len(blocks): {}}))

        for store in stores:
            assert store.oldest_state() == below
            for height, state in enumerate(states):
                if height >= below or height in pins:
                    for key in touched:
                        assert store.get_node_at(*key, height) == state.get(key)
            for key in touched:
                assert store.get_node(*key) == states[-1].get(key)
            store.close()


def test_history_of_a_large_trie_reads_as_it_was(store):
    """Five levels of branches, of which each block changes a few slots."""
    blocks = [{(b"", keccak(b"%d" % n)): b"%d" % n * 5 for n in range(3_000)}]
    for height in range(1, 30):
        blocks.append(
            {
                (b"", keccak(b"%d" % (n * 37 % 3_100))): b"" if n % 5 == 0 else b"x%d" % n * 4
                for n in range(height, height + 12)
            }
        )
    changes = run_tries(blocks)
    for start in range(0, 30, 7):
        end = min(start + 7, 30)
        store.flush(batch_of({height: changes[height] for height in range(start, end)}))

    state: dict = {}
    touched = {key for changed in changes[1:] for key in changed}
    for height, changed in enumerate(changes):
        state |= changed
        if height % 4 == 0:
            for key in touched:
                assert store.get_node_at(*key, height) == state.get(key)


def test_pruning_again_with_fewer_pins_forgets_more(store):
    for height in range(6):
        store.flush(batch_of({height: {(b"", b"\1"): leaf_of(height)}}))
    store.prune(4, [1])
    store.flush(batch_of({6: {}}))
    assert store.get_node_at(b"", b"\1", 1) == leaf_of(1)

    store.prune(2)
    assert store.oldest_state() == 4
    assert store.get_node_at(b"", b"\1", 4) == leaf_of(4)


def run_for_long(store: Store, blocks: int, states_kept: int | None) -> int:
    """The size in bytes after so many blocks that change the same ten slots."""
    changes = run_tries(
        [
            {(b"", keccak(bytes([slot]))): keccak(b"%d.%d" % (height, slot)) for slot in range(10)}
            for height in range(blocks)
        ]
    )
    for height in range(blocks):
        append(store, height)
        if height % 8 == 7:
            store.flush(batch_of({one: changes[one] for one in range(height - 7, height + 1)}))
            if states_kept is not None:
                store.prune(max(0, height - states_kept))
    store.close()
    return store.size_bytes()


def test_pain_17_a_pruned_store_is_smaller_and_its_undo_stops_growing(tmp_path):
    archive = run_for_long(SqliteStore(tmp_path / "archive"), 400, None)
    pruned = SqliteStore(tmp_path / "pruned")
    size = run_for_long(pruned, 400, 32)

    assert size < archive - 100_000
    connection = sqlite3.connect(tmp_path / "pruned")
    (rows,) = connection.execute("SELECT count(*) FROM undo WHERE last <= ?", (360,)).fetchone()
    connection.close()
    assert rows == 0


def test_transactions_are_found_in_every_epoch(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite, "EPOCH_TRANSACTIONS", 1_000)
    store = SqliteStore(tmp_path / "chain.sqlite")
    hashes = []
    for height in range(25):
        raws = tuple(b"%d.%d" % (height, index) for index in range(200))
        append(store, height, raws)
        digests = [keccak(raw) for raw in raws]
        hashes += digests
        store.flush(batch_of({height: {}}, transaction_hashes={height: digests}))

    for number in range(0, 5_000, 77):
        assert store.find_transaction(hashes[number]) == (number // 200, number % 200)
    assert store.find_transaction(keccak(b"never")) is None
    store.close()
    connection = sqlite3.connect(tmp_path / "chain.sqlite")
    (epochs,) = connection.execute("SELECT count(*) FROM epoch").fetchone()
    connection.close()
    assert epochs == 5


nibbles = st.lists(st.integers(0, 15), max_size=5).map(bytes)


@given(st.lists(nibbles, min_size=2, max_size=20))
def test_packed_paths_are_distinct_and_subtrees_lie_together(paths):
    assert len({pack_path(path) for path in paths}) == len(set(paths))
    for path in paths:
        subtree = [pack_path(path + bytes([nibble])) for nibble in range(16)] + [pack_path(path)]
        for other in paths:
            if other[: len(path)] != path:
                assert not min(subtree) < pack_path(other) < max(subtree)
