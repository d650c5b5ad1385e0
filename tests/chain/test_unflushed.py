"""What waits in memory to be written: how much it is, and that reading does not tell it apart."""

import gc
import tracemalloc
from pathlib import Path

from ledger.chain import Chain
from ledger.crypto.keccak import keccak256
from ledger.store.sqlite import SqliteStore
from tests.chain.chains import PROVIDER, add_block, call, deployment, make_chain, transfer

SET_DEBT = "setDebt(uint256,uint256,address)"


def pay_many(chain: Chain, nonce: int, count: int) -> None:
    """A block that makes so many accounts, each a leaf of its own."""
    payments = [
        transfer(1, nonce + index, keccak256(b"%d" % (nonce + index))[:20])
        for index in range(count)
    ]
    add_block(chain, payments, 2_000 + nonce)


def test_the_bytes_that_are_told_are_about_those_that_a_flush_gives_back(tmp_path: Path) -> None:
    chain = make_chain(SqliteStore(tmp_path / "chain.sqlite"))
    tracemalloc.start()
    try:
        for turn in range(20):
            pay_many(chain, 100 * turn, 100)
        told = chain.unflushed_bytes
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        chain.flush()
        gc.collect()
        given_back = before - tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert given_back > 1_000_000
    assert 0.5 * given_back < told < 2 * given_back
    assert chain.unflushed_bytes == 0
    chain.close()


def test_as_many_transactions_weigh_more_where_the_state_is_larger() -> None:
    small, large = make_chain(), make_chain()
    pay_many(large, 0, 600)
    large.flush()
    pay_many(small, 0, 20)
    pay_many(large, 600, 20)
    assert large.unflushed_bytes > 1.3 * small.unflushed_bytes


def test_receipts_read_the_same_before_and_after_a_flush(tmp_path: Path) -> None:
    chain = make_chain(SqliteStore(tmp_path / "chain.sqlite"))
    add_block(chain, [deployment(0, 0)])
    committed = add_block(
        chain,
        [
            call(0, 1, PROVIDER, SET_DEBT, 1, 2, bytes(20)),
            call(2, 0, PROVIDER, SET_DEBT, 1, 2, bytes(20)),  # who is no user there: it fails
        ],
    )
    assert [one.status for one in committed.receipts] == [1, 0]
    assert committed.receipts[0].logs
    assert chain.receipts(2) == committed.receipts
    chain.flush()
    assert chain.receipts(2) == committed.receipts
    chain.close()
