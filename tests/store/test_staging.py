"""Headers ahead, staged states and bodies let go: the same contract for both stores."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.crypto.keccak import keccak256
from ledger.encoding.packed import pack
from ledger.errors import StoreError
from ledger.store.base import StateBatch, Store
from ledger.store.memory import MemoryStore
from ledger.store.sqlite import EPOCH_TRANSACTIONS, SqliteStore

CONTRACT = b"\xc0" * 20


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "c.sqlite")
    yield opened
    opened.close()


def header(height: int) -> bytes:
    return b"header %d" % height


def row(height: int) -> tuple[int, bytes, bytes, bytes]:
    return height, keccak256(header(height)), header(height), b"certificate %d" % height


def append(store: Store, height: int, *raws: bytes) -> None:
    number, block_hash, raw, certificate = row(height)
    store.append_block(number, block_hash, raw, pack(raws), certificate, b"L")


def flush(store: Store, height: int, **fields: object) -> None:
    store.flush(StateBatch(height, bytes(32), [(height, {})], **fields))  # type: ignore[arg-type]


def test_headers_ahead_are_not_of_the_chain(store: Store) -> None:
    append(store, 0)
    store.staging.append_headers([row(1), row(2)])
    assert store.head_height() == 0
    assert store.staging.ahead_height() == 2
    assert store.get_header(1) is None
    assert store.get_certificate(1) is None
    assert store.get_height(keccak256(header(1))) is None
    assert store.staging.get_ahead(2) == (header(2), b"certificate 2")
    assert store.staging.get_ahead(3) is None
    assert store.staging.get_headers(1, 9) == [(header(n), b"certificate %d" % n) for n in (1, 2)]
    append(store, 1, b"tx")  # in the place of its header
    assert store.head_height() == 1
    assert store.get_header(1) == header(1)
    assert store.get_body(1) == pack((b"tx",))
    assert store.get_height(keccak256(header(1))) == 1
    assert store.staging.ahead_height() == 2
    # A better certificate takes the place of another, and nothing else does.
    store.staging.append_headers([(*row(1)[:3], b"better")])
    assert store.get_certificate(1) == b"better"
    assert store.get_body(1) == pack((b"tx",))


def test_headers_ahead_survive_and_still_are_not_the_head(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "c.sqlite")
    append(store, 0)
    flush(store, 0)
    append(store, 1)
    store.staging.append_headers([row(2), row(3)])
    store.close()
    store = SqliteStore(tmp_path / "c.sqlite")
    assert store.head_height() == 1
    assert store.staging.ahead_height() == 3
    store.close()


def test_a_staged_state_takes_the_others_place_at_once(store: Store) -> None:
    append(store, 0)
    old = {(b"", b""): b"old root", (b"", b"\1"): b"gone"}
    store.flush(StateBatch(0, bytes(32), [(0, old)]))
    store.staging.append_headers([row(1), row(2)])
    staged = [((b"", b""), b"new root"), ((CONTRACT, b"\2"), b"leaf")]
    store.staging.stage(staged, {b"\7" * 32: b"code"})
    assert store.get_node(b"", b"") == b"old root"
    assert store.staging.get_staged(b"", b"") == b"new root"
    assert CONTRACT in store.staging.find_tries()
    store.adopt_staged(2, b"\5" * 32, b"record")
    assert store.get_node(b"", b"") == b"new root"
    assert store.get_node(b"", b"\1") is None
    assert store.get_node(CONTRACT, b"\2") == b"leaf"
    assert store.get_code(b"\7" * 32) == b"code"
    assert (store.head_height(), store.flushed_height(), store.oldest_state()) == (2, 2, 2)
    assert store.staging.bodies_from() == 3
    assert store.load_signer() == b"record"
    assert store.staging.get_staged(b"", b"") is None
    append(store, 3)
    store.flush(StateBatch(3, bytes(32), [(3, {(b"", b""): b"newer"})]))
    assert store.get_node_at(b"", b"", 2) == b"new root"


def test_a_snapshot_is_there_after_a_restart(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "c.sqlite")
    append(store, 0)
    flush(store, 0)
    store.staging.append_headers([row(1), row(2)])
    store.staging.stage([((b"", b""), b"root")], {})
    store.close()
    store = SqliteStore(tmp_path / "c.sqlite")
    assert store.staging.get_staged(b"", b"") == b"root"
    store.adopt_staged(2, b"\5" * 32, None)
    store.close()
    store = SqliteStore(tmp_path / "c.sqlite")
    assert (store.head_height(), store.flushed_height()) == (2, 2)
    assert store.get_node(b"", b"") == b"root"
    assert store.load_signer() is None
    store.close()


def test_what_was_staged_in_vain_is_forgotten(store: Store) -> None:
    store.staging.stage([((b"", b""), b"root")], {})
    store.staging.drop_staged()
    assert store.staging.get_staged(b"", b"") is None


def test_bodies_go_from_the_oldest_and_come_back_from_the_newest(store: Store) -> None:
    for height in range(6):
        append(store, height, b"tx %d" % height)
    receipts = {height: b"receipts %d" % height for height in range(6)}
    places = {height: [keccak256(b"tx %d" % height)] for height in range(6)}
    flush(store, 5, receipts=receipts, transaction_hashes=places)
    assert store.staging.prune_bodies(5, 2) == 2
    assert store.staging.bodies_from() == 3
    assert store.staging.prune_bodies(5, 100) == 2
    assert store.staging.prune_bodies(5, 100) == 0
    assert [store.get_body(height) is None for height in range(6)] == [
        False,
        True,
        True,
        True,
        True,
        False,
    ]
    assert [store.get_receipts(height) for height in (4, 5)] == [None, b"receipts 5"]
    assert store.find_transaction(keccak256(b"tx 4")) is None
    assert store.find_transaction(keccak256(b"tx 5")) == (5, 0)
    assert store.get_header(4) == header(4)
    store.staging.fill_bodies([(h, pack((b"tx %d" % h,)), b"receipts %d" % h) for h in (3, 4)])
    assert store.staging.bodies_from() == 3
    assert store.get_body(4) == pack((b"tx 4",))
    assert store.get_receipts(3) == b"receipts 3"
    assert store.find_transaction(keccak256(b"tx 4")) == (4, 0)
    assert store.head_height() == 5


def test_the_index_of_what_is_pruned_goes_too(tmp_path: Path) -> None:
    """An index that only grows is half of others' disks after some years."""
    store = SqliteStore(tmp_path / "c.sqlite")
    for height in range(4):
        append(store, height, b"tx %d" % height)
        hashes = [keccak256(b"%d %d" % (height, n)) for n in range(EPOCH_TRANSACTIONS // 2 + 1)]
        flush(store, height, transaction_hashes={height: hashes})
    rows = "SELECT count(*) FROM transaction_place"
    before = store._db.rows(rows)[0][0]
    store.staging.prune_bodies(3, 100)
    assert store._db.rows(rows)[0][0] == before // 2
    store.close()


def test_a_disk_that_was_full_amid_staging_leaves_no_two_tries_with_one_number(
    tmp_path: Path,
) -> None:
    """What was read of the failed transaction must not be remembered."""
    store = SqliteStore(tmp_path / "full.sqlite")
    first, second = b"\xa1" * 20, b"\xb2" * 20
    nodes = [((first, b"\1"), b"one"), ((first, b"\2"), b"two")]
    store._db.main.execute(
        "CREATE TRIGGER full BEFORE INSERT ON code BEGIN SELECT RAISE(ABORT, 'full'); END"
    )
    with pytest.raises(StoreError, match="full"):
        store.staging.stage(nodes, {b"\7" * 32: b"code"})
    store._db.main.execute("DROP TRIGGER full")
    store.staging.stage([((second, b"\1"), b"three")], {})
    store.staging.stage(nodes, {})
    assert store.staging.get_staged(first, b"\1") == b"one"
    assert store.staging.get_staged(second, b"\1") == b"three"
    store.close()
