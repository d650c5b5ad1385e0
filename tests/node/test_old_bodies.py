"""Bodies of before a snapshot are fetched and proved; those too old to keep are let go."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ledger.chain import Chain
from ledger.errors import BlockPruned
from ledger.receipt import encode_receipts
from ledger.store.sqlite import SqliteStore
from node.peers.frames import Kind
from node.sync import Sync, follow
from node.sync.history import History
from tests.node.far import BLOCKS, GENESIS, LOG, VALIDATORS, ToyNetwork, ToyPeer, join, pay, seal

pytestmark = pytest.mark.usefixtures("quick_retries")


def test_bodies_and_receipts_of_before_a_snapshot_are_fetched_and_proved(source: Chain) -> None:
    peer = ToyPeer(1, source)
    chain, _ = join(source, [peer])
    network = ToyNetwork([peer])
    fill(chain, network, [peer])
    assert chain.store.staging.bodies_from() == 1
    assert chain.block(7) == source.block(7)
    assert chain.receipts(7) == source.receipts(7)
    wanted = source.block(7).transactions[0].hash
    assert chain.find_transaction(wanted) == (7, 0)
    assert network.penalties == []


@pytest.mark.parametrize("place", [0, 1], ids=["body", "receipts"])
def test_false_history_is_refused(source: Chain, place: int) -> None:
    chain, _ = join(source, [ToyPeer(1, source)])

    def twist(kind: Kind, fields: list[Any]) -> list[Any]:
        if kind is Kind.BODIES:
            body = source.store.get_body(1)
            fields[1][0][place] = (body, encode_receipts(source.receipts(1)))[place]
        return fields

    liar = ToyPeer(2, source, twist)
    network = ToyNetwork([liar])
    fill(chain, network, [liar], steps=2)  # the first checks certificates
    assert [name for name, _ in network.penalties] == ["toy2"]
    with pytest.raises(BlockPruned):
        chain.block(BLOCKS - follow.SNAPSHOT_DEPTH)


def fill(chain: Chain, network: ToyNetwork, peers: list[ToyPeer], steps: int = 100) -> None:
    async def main() -> None:
        sync = Sync(chain, network, lambda *_: True, lambda _: None, LOG)  # type: ignore[arg-type]
        for peer in peers:
            peer.sync = sync  # type: ignore[attr-defined]
        history = History(chain, sync, 0, LOG)
        for _ in range(steps):
            if not await history.step(0):
                break

    asyncio.run(main())


def test_bodies_older_than_the_setting_are_let_go_headers_stay(tmp_path: Path) -> None:
    chain = Chain(SqliteStore(tmp_path / "chain.sqlite"), GENESIS)
    day = 86_400
    for number in range(1, 321):
        built = chain.build([pay(number - 1, bytes(20))], number * day, VALIDATORS[0])
        chain.commit(built.block, seal(chain, built.block), None)

    async def main() -> None:
        network: Any = ToyNetwork([])
        history = History(
            chain, Sync(chain, network, lambda *_: True, lambda _: None, LOG), 290, LOG
        )
        while await history.step(321 * day):
            pass

    asyncio.run(main())
    assert chain.store.staging.bodies_from() == 31
    with pytest.raises(BlockPruned):
        chain.block(30)
    assert chain.block(31).number == 31
    assert chain.receipts(30) == ()
    assert chain.header(30).number == 30
    assert chain.certificate(30) is not None
    chain.close()
    chain = Chain(SqliteStore(tmp_path / "chain.sqlite"), GENESIS)
    assert chain.head.number == 320
    assert chain.store.staging.bodies_from() == 31
    chain.close()
