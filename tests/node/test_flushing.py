"""When a node writes what it holds in memory."""

from typing import Any

import pytest

from node import node as module
from tests.node.local import pay


def test_a_node_writes_when_so_many_bytes_wait(
    make_local_network: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"store.flush_seconds": 3_600, "store.flush_blocks": 512}
    network = make_local_network(1, settings=settings)
    network.start()
    chain = network.nodes[0].chain
    pay(network, 0)
    assert chain.store.flushed_height() < chain.head.number
    monkeypatch.setattr(module, "FLUSH_BYTES_MAX", chain.unflushed_bytes + 1)
    pay(network, 1)
    assert chain.store.flushed_height() == chain.head.number
    assert chain.unflushed_bytes == 0
    pay(network, 2)
    assert chain.store.flushed_height() < chain.head.number
