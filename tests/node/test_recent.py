"""The newest blocks at hand: what stays where blocks are large."""

import pytest

from node import recent
from node.recent import RecentBlocks
from tests.node.far import BLOCKS, make_source


def test_an_old_block_that_is_read_does_not_push_out_the_newest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of two full blocks, polled in turn, each read whole for each poll was all that was done."""
    monkeypatch.setattr(recent, "TRANSACTIONS_KEPT", 1)
    chain = make_source()
    kept = RecentBlocks(chain)
    for height in (BLOCKS - 1, BLOCKS):
        kept.add(chain.block(height), chain.receipts(height))
    for height in (BLOCKS - 1, 7, 7, BLOCKS, 8, BLOCKS - 1):
        (transaction,) = kept.get(height).block.transactions
        assert kept.has(BLOCKS)
        assert kept.has_transaction(transaction.hash)
    assert [height for height in range(BLOCKS + 1) if kept.has(height)] == [BLOCKS - 1, BLOCKS]
    kept.add(chain.block(BLOCKS), chain.receipts(BLOCKS))
    assert len(kept._kept) == recent.BLOCKS_KEPT_MIN
