"""An empty validator joins a running network by a snapshot, and its vote counts."""

from typing import Any

import pytest

from node.sync import follow, history
from tests.node.local import until


@pytest.mark.timeout(300)
def test_an_empty_validator_joins_by_a_snapshot_and_its_vote_counts(
    make_local_network: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "HEADERS_FIRST_BLOCKS", 10)
    monkeypatch.setattr(history, "IDLE_S", 0.2)
    local = make_local_network(4)
    local.start(0, 1, 2)
    sender = "0x" + local.accounts[0].hex()

    def pay(index: int) -> str:
        client = local.client(index)
        try:
            paid = client.call(
                "eth_sendTransaction", {"from": sender, "to": "0x" + "11" * 20, "value": "0x1"}
            )
        finally:
            client.close()
        return str(paid)

    for height in range(1, 31):
        pay(0)
        until(lambda height=height: local.nodes[0].chain.head.number >= height)  # type: ignore[misc]
    local.start(3, sync_snapshot_blocks=15)
    late = local.nodes[3]
    until(lambda: late.chain.head.number >= 30)
    assert "joined by a snapshot" in local.logs[3].getvalue()
    until(lambda: late.chain.head == local.nodes[0].chain.head)
    # What came before is fetched while it lives on, receipts and all.
    until(lambda: late.chain.store.staging.bodies_from() == 1)
    assert late.chain.receipts(3) == local.nodes[1].chain.receipts(3)
    # Three of four are a quorum: without its vote there is none now.
    local.stop(0)
    head = late.chain.head.number
    pay(1)
    until(lambda: late.chain.head.number > head)
