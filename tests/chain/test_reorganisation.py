"""The longest branch is the chain, whatever the order in which its blocks come."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger import branches as branches_module
from ledger import chain as chain_module
from ledger import history
from ledger.block import Block
from ledger.branches import Place
from ledger.chain import Chain
from ledger.errors import BlockNotYet, BranchesFull, InvalidBlock, StoreError
from ledger.store.base import Store
from ledger.store.memory import MemoryStore
from ledger.store.sqlite import SqliteStore
from ledger.work import seal
from tests.chain.chains import ACCOUNTS, PROVIDER, call, deployment, transfer
from tests.chain.mined_chains import GENESIS, NOW, Miner, find_seal


@pytest.fixture(params=["memory", "sqlite"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Store]]:
    stores: list[Store] = []

    def make() -> Store:
        store: Store
        if request.param == "memory":
            store = MemoryStore()
        else:
            store = SqliteStore(tmp_path / f"{len(stores)}.sqlite")
        stores.append(store)
        return store

    yield make
    for store in stores:
        store.close()


def dump(chain: Chain) -> dict[str, Any]:
    """All that a chain tells of itself."""
    head = chain.head.number
    return {
        "blocks": [chain.block(height) for height in range(head + 1)],
        "receipts": [chain.receipts(height) for height in range(head + 1)],
        "places": [
            chain.find_transaction(transaction.hash)
            for height in range(head + 1)
            for transaction in chain.block(height).transactions
        ],
        "heights": [chain.height_of(chain.header(height).hash) for height in range(head + 1)],
        "nonces": [
            [chain.state_at(height).get_nonce(one) for one in ACCOUNTS]
            for height in range(max(0, head - 2), head + 1)
        ],
    }


def test_a_mined_block_has_the_digest_of_its_nonce_and_no_certificate() -> None:
    miner = Miner()
    block = miner.mine(transfer(0, 0, ACCOUNTS[1]))

    assert block.header.difficulty == 2
    assert block.header.extra_data == miner.chain.genesis_hash
    assert miner.chain.certificate(1) is None
    assert miner.chain.receipts(1)[0].status == 1


def test_the_first_seen_of_two_equals_stays() -> None:
    one, other = Miner(), Miner()
    first, second = one.mine(coinbase=0), other.mine(coinbase=1)

    assert one.follow(second) == [Place.SIDE]
    assert other.follow(first) == [Place.SIDE]
    assert one.chain.head == first.header
    assert other.chain.head == second.header


def test_a_longer_branch_takes_over_and_gives_back_what_was_withdrawn() -> None:
    one, other = Miner(), Miner()
    mine = one.mine(transfer(0, 0, ACCOUNTS[1]), coinbase=0)
    theirs = [other.mine(coinbase=1), other.mine(transfer(2, 0, ACCOUNTS[1]), coinbase=1)]

    assert one.follow(theirs[0]) == [Place.SIDE]
    added = one.add(theirs[1])

    assert added.place is Place.HEAD
    assert added.first == 1
    assert [block for block, _ in added.withdrawn] == [mine]
    assert added.withdrawn[0][1][0].status == 1
    assert dump(one.chain) == dump(other.chain)
    assert one.chain.find_transaction(mine.transactions[0].hash) is None
    assert one.chain.height_of(mine.hash) is None
    assert one.chain.state_at().get_nonce(ACCOUNTS[0]) == 0


@pytest.mark.parametrize("flush_blocks", [1, 4])
@pytest.mark.parametrize("depth", [1, 3, 9])
def test_any_depth_leaves_what_a_node_of_the_other_side_has(
    make_store: Callable[[], Store], monkeypatch: pytest.MonkeyPatch, depth: int, flush_blocks: int
) -> None:
    """Within what is not flushed, within the kept undo, and below it."""
    monkeypatch.setattr(chain_module, "LAYERS_KEPT", 2)
    monkeypatch.setattr(chain_module, "STATES_KEPT_MIN", 4)
    monkeypatch.setattr(chain_module, "STATES_KEPT_S", 0)
    monkeypatch.setattr(history, "PIN_EVERY", 2)
    store = make_store()
    one = Miner(store, flush_blocks=flush_blocks, states_kept=4)
    other = Miner(make_store(), flush_blocks=flush_blocks, states_kept=4)
    other.follow(one.mine(deployment(0, 0)))
    for nonce in range(4):
        other.follow(one.mine(transfer(1, nonce, ACCOUNTS[2])))
    signature = "addUser(address)"
    ours = [
        one.mine(call(0, 1 + number, PROVIDER, signature, bytes([number + 1]) * 20))
        for number in range(depth)
    ]
    theirs = [
        other.mine(transfer(2, number, ACCOUNTS[3], number + 1), coinbase=1)
        for number in range(depth + 1)
    ]

    places = one.follow(*theirs)

    assert places == [Place.SIDE] * depth + [Place.HEAD]
    assert dump(one.chain) == dump(other.chain)
    assert all(one.chain.height_of(block.hash) is None for block in ours)
    more = one.mine(transfer(3, 0, ACCOUNTS[0]))
    assert other.follow(more) == [Place.HEAD]
    one.chain.flush()
    again = Chain(store, GENESIS)
    assert dump(again) == dump(other.chain)


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_every_state_below_the_fork_reads_as_before(
    make_store: Callable[[], Store], monkeypatch: pytest.MonkeyPatch, depth: int
) -> None:
    """The fork lies within what one flush wrote, so its undo rows are cut in two."""
    monkeypatch.setattr(chain_module, "LAYERS_KEPT", 0)
    one, other = Miner(make_store(), flush_blocks=8), Miner(flush_blocks=100)
    ours = [one.mine(transfer(nonce % 2, nonce // 2, ACCOUNTS[2])) for nonce in range(8)]
    assert one.chain.store.flushed_height() == 8
    other.follow(*ours[: 8 - depth])
    theirs = [other.mine(coinbase=1) for _ in range(depth + 1)]

    one.follow(*theirs)

    one.chain.flush()
    for height in range(one.chain.head.number + 1):
        states = [chain.state_at(height) for chain in (one.chain, other.chain)]
        for account in ACCOUNTS:
            assert len({state.get_account(account) for state in states}) == 1, height


def test_there_and_back_again(make_store: Callable[[], Store]) -> None:
    one, other = Miner(make_store(), flush_blocks=2), Miner()
    ours = [one.mine(transfer(0, nonce, ACCOUNTS[1])) for nonce in range(2)]
    theirs = [other.mine(transfer(1, nonce, ACCOUNTS[0]), coinbase=1) for nonce in range(3)]
    one.follow(*theirs)
    third = Miner()
    third.follow(*ours)
    more = [third.mine(transfer(0, 2 + number, ACCOUNTS[1])) for number in range(2)]

    assert one.follow(*more) == [Place.SIDE, Place.HEAD]
    assert dump(one.chain) == dump(third.chain)


def test_a_restart_keeps_what_stands_beside_the_chain(tmp_path: Path) -> None:
    one, other = Miner(SqliteStore(tmp_path / "one.sqlite")), Miner()
    one.mine(coinbase=0)
    theirs = [other.mine(coinbase=1), other.mine(coinbase=1)]
    one.follow(theirs[0])
    one.chain.close()

    again = Miner(SqliteStore(tmp_path / "one.sqlite"))

    assert again.follow(theirs[0], theirs[1]) == [Place.KNOWN, Place.HEAD]
    again.chain.close()


def test_a_branch_that_does_not_hold_changes_nothing(make_store: Callable[[], Store]) -> None:
    """Its first block does, so the switch is under way when the second is found out."""
    one, other = Miner(make_store(), flush_blocks=1), Miner()
    one.mine(transfer(0, 0, ACCOUNTS[1]))
    one.mine()
    first = other.mine(transfer(1, 0, ACCOUNTS[0]), coinbase=1)
    second = other.mine(coinbase=1)
    third = other.mine(coinbase=1)
    lie = find_seal(Block(_replace(second, state_root=bytes(32)), ()))
    on_lie = find_seal(Block(_replace(third, parent_hash=lie.hash), ()))
    before = dump(one.chain)

    assert one.follow(first, lie) == [Place.SIDE, Place.SIDE]
    with pytest.raises(InvalidBlock, match="wrong state_root"):
        one.add(on_lie)
    assert dump(one.chain) == before
    with pytest.raises(InvalidBlock, match="does not hold"):
        one.add(lie)
    assert one.follow(second, third) == [Place.SIDE, Place.HEAD]
    assert dump(one.chain) == dump(other.chain)


def test_a_power_cut_amid_the_switch_leaves_the_old_chain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqliteStore(tmp_path / "one.sqlite")
    one, other = Miner(store, flush_blocks=1), Miner()
    monkeypatch.setattr(chain_module, "LAYERS_KEPT", 0)
    one.mine(transfer(0, 0, ACCOUNTS[1]))
    one.mine(transfer(0, 1, ACCOUNTS[1]))
    theirs = [other.mine(transfer(1, nonce, ACCOUNTS[0]), coinbase=1) for nonce in range(3)]
    one.follow(*theirs[:2])
    before = dump(one.chain)

    def fail(self: Chain, *arguments: object) -> None:
        raise StoreError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(Chain, "commit", fail)
        with pytest.raises(StoreError):
            one.add(theirs[2])

    assert dump(one.chain) == before
    store.close()
    again = Miner(SqliteStore(tmp_path / "one.sqlite"), flush_blocks=1)
    assert dump(again.chain) == before
    assert again.add(theirs[2]).place is Place.KNOWN
    again.chain.close()


def _replace(block: Block, **changes: Any) -> Any:
    from dataclasses import replace

    return replace(block.header, **changes)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"number": 5}, "wrong number"),
        ({"extra_data": b"hello"}, "wrong number or extraData"),
        ({"timestamp": 1}, "before its parent"),
        ({"difficulty": 1}, "difficulty 1, this chain has 2"),
        ({"transactions_root": bytes(32)}, "other transactions"),
        ({"gas_limit": 1}, "wrong gas_limit"),
    ],
)
def test_a_false_header_is_refused_by_name(changes: dict[str, Any], expected: str) -> None:
    one, other = Miner(), Miner()
    block = other.mine()
    with pytest.raises(InvalidBlock, match=expected):
        one.add(find_seal(Block(_replace(block, **changes), ())))
    assert one.chain.head.number == 0


def test_work_is_checked_before_a_block_is_waited_for() -> None:
    one, other = Miner(), Miner()
    other.mine()
    orphan = other.mine()
    assert one.follow(orphan) == [Place.ORPHAN]
    weak = next(
        header
        for number in range(1_000)
        if int.from_bytes((header := seal(orphan.header, number.to_bytes(8))).mix_hash) > 2**255
    )
    with pytest.raises(InvalidBlock, match="less work"):
        one.add(Block(weak, ()))
    with pytest.raises(InvalidBlock, match="mixHash"):
        one.add(Block(_replace(orphan, mix_hash=bytes(32)), ()))


def test_a_body_that_is_not_the_headers_does_not_condemn_it() -> None:
    one, other = Miner(), Miner()
    block = other.mine(transfer(0, 0, ACCOUNTS[1]))
    with pytest.raises(InvalidBlock, match="other transactions"):
        one.add(Block(block.header, ()))
    assert one.follow(block) == [Place.HEAD]


def test_a_block_ahead_of_our_clock_waits() -> None:
    one, other = Miner(), Miner()
    block = other.mine(now_s=NOW + 11)
    with pytest.raises(BlockNotYet):
        one.add(block)
    assert one.add(block, NOW + 1).place is Place.HEAD


def test_what_stands_beside_the_chain_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(branches_module, "SIDE_BLOCKS_MAX", 3)
    one = Miner()
    for _ in range(2):
        one.mine()
    rivals = [Miner() for _ in range(3)]
    firsts = [rival.mine(coinbase=1 + index) for index, rival in enumerate(rivals)]
    one.follow(*firsts)
    with pytest.raises(BranchesFull):
        one.add(rivals[0].mine(now_s=NOW + 1))
    one.mine()
    assert one.add(Miner().mine(coinbase=4)).place is Place.SIDE
    assert len(one.branches) == 1  # the older ones made room


def test_a_branch_nobody_adds_to_goes_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(branches_module, "SIDE_KEPT_BLOCKS", 3)
    monkeypatch.setattr(branches_module, "SWEEP_EVERY", 2)
    one = Miner()
    one.mine()
    one.follow(Miner().mine(coinbase=1))
    for _ in range(4):
        one.mine()
    assert len(one.branches) == 1
    one.mine()
    assert len(one.branches) == 0
