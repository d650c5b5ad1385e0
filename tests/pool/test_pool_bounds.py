"""The bounds of the pool, and any run of it held to them."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ledger.errors import InvalidTransaction, PoolFull
from tests.pool.world import World, make, nonces_of


def test_one_sender_has_a_bound():
    world = World(per_sender_max=10)
    for nonce in range(10):
        world.add(make(1, nonce))

    with pytest.raises(PoolFull, match="txpool is full"):
        world.add(make(1, 10))
    world.add(make(1, 5, price=1))
    assert world.pool.size == 10


def test_a_flood_of_one_sender_pushes_out_itself():
    world = World(transactions_max=50, per_sender_max=50)
    for nonce in range(50):
        world.add(make(1, nonce))

    honest = world.add(make(2, 0))

    assert world.pool.size == 50
    assert honest in world.pending()
    assert max(nonces_of(world.pending())) == 48
    with pytest.raises(PoolFull):
        world.add(make(1, 49))


def test_a_flood_of_large_ones_pushes_out_itself():
    world = World(bytes_max=1_000_000)
    for account in range(1, 11):
        with_size = make(account, 0, size=120_000)
        if world.pool.size_bytes + len(with_size.raw) <= 1_000_000:
            world.add(with_size)
    filler = make(11, 0, size=1_000_000 - world.pool.size_bytes - 400)
    world.add(filler)

    honest = world.add(make(50, 0, size=1_000))

    assert honest in world.pending()
    assert world.pool.size_bytes <= 1_000_000


def test_a_flood_of_new_accounts_gives_way_to_those_the_chain_knows():
    world = World(transactions_max=50)
    for account in range(100, 150):
        world.add(make(account, 0))
    meter = make(1, 7)
    world.nonces[meter.sender] = 7

    world.add(meter)

    assert world.pool.size == 50
    assert meter in world.pending()
    with pytest.raises(PoolFull):
        world.add(make(200, 0))


def test_an_account_whose_transaction_was_included_is_no_stranger():
    world = World(transactions_max=3)
    for account, nonce in [(102, 0), (100, 0), (100, 1)]:
        world.add(make(account, nonce))
    world.include([make(100, 0)])
    for meter in (make(1, 7), make(2, 7)):
        world.nonces[meter.sender] = 7
        world.add(meter)

    assert {transaction.sender[-1] for transaction in world.pending()} == {100, 1, 2}


def test_a_new_account_gets_in_once_a_block_made_room():
    world = World(transactions_max=50)
    for account in range(100, 150):
        world.add(make(account, 0))

    world.include(world.pending(20))

    assert world.add(make(1, 0)) in world.pending()


def test_a_better_price_gets_into_a_full_pool():
    world = World(transactions_max=5)
    for account in range(5):
        world.add(make(account, 0, price=account + 1))

    world.add(make(9, 0, price=2))

    assert sorted(tx.max_fee for tx in world.pending()) == [2, 2, 3, 4, 5]
    with pytest.raises(PoolFull):
        world.add(make(10, 0, price=2))


def test_a_replacement_that_is_larger_keeps_the_bound():
    world = World(bytes_max=10_000)
    for account in range(4):
        world.add(make(account, 0, size=2_000))
    with pytest.raises(PoolFull):
        world.add(make(5, 0, size=3_000))

    world.add(make(0, 0, price=1, size=3_000))

    assert world.pool.size_bytes <= 10_000


class PoolAgainstPlainModel(RuleBasedStateMachine):
    """Every index of the pool equals what can be counted from what it holds."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(transactions_max=12, bytes_max=30_000, per_sender_max=5)

    @rule(
        account=st.integers(1, 5),
        ahead=st.integers(0, 4),
        price=st.integers(0, 3),
        size=st.sampled_from([0, 0, 0, 9_000]),
    )
    def add(self, account, ahead, price, size):
        nonce = self.world.nonce(account.to_bytes(20, "big")) + ahead
        before = set(self.world.pool.hashes())
        transaction = make(account, nonce, price=price, size=size)
        try:
            self.world.add(transaction)
            assert self.world.pool.get(transaction.hash) is transaction
        except PoolFull:
            assert set(self.world.pool.hashes()) <= before
        except InvalidTransaction:
            assert set(self.world.pool.hashes()) == before

    @rule(count=st.integers(1, 6))
    def include(self, count):
        included = self.world.pending(count)
        self.world.include(included)
        assert {one.hash for one in included}.isdisjoint(self.world.pool.hashes())

    @rule(account=st.integers(1, 5), count=st.integers(1, 3))
    def include_from_elsewhere(self, account, count):
        nonce = self.world.nonce(account.to_bytes(20, "big"))
        included = [make(account, nonce + step, value=7) for step in range(count)]
        self.world.include(included)
        own = [self.world.pool.get(one) for one in self.world.pool.hashes()]
        assert all(one.nonce >= nonce + count for one in own if one.sender == included[0].sender)

    @precondition(lambda self: self.world.pool.size)
    @rule(data=st.data())
    def drop(self, data):
        chosen = data.draw(st.sampled_from(self.world.pool.hashes()))
        self.world.pool.drop_invalid(self.world.pool.get(chosen))
        assert chosen not in self.world.pool.hashes()

    @invariant()
    def indexes_agree(self):
        pool = self.world.pool
        waiting = [pool.get(digest) for digest in pool.hashes()]
        assert pool.size_bytes == sum(len(tx.raw) for tx in waiting) <= 30_000
        assert len(waiting) <= 12
        executable = []
        for sender in {tx.sender for tx in waiting}:
            nonce = self.world.nonce(sender)
            own = {tx.nonce: tx for tx in waiting if tx.sender == sender}
            assert len(own) <= 5
            assert min(own) >= nonce
            while nonce in own:
                executable.append(own[nonce])
                nonce += 1
            assert pool.next_nonce(sender, self.world.nonce(sender)) == nonce
        pending = self.world.pending()
        assert sorted(tx.raw for tx in pending) == sorted(tx.raw for tx in executable)
        assert set(pool._queues) == {tx.sender for tx in waiting}
        assert sorted(pool._levels) == pool._prices
        assert set(pool._strangers) <= set(pool._queues)
        for weight, queues in pool._by_weight.items():
            assert all(
                sum(1 + len(tx.raw) // 4_096 for tx in queue.waiting.values()) == weight
                for queue in queues.values()
            )


TestPoolAgainstPlainModel = PoolAgainstPlainModel.TestCase
TestPoolAgainstPlainModel.settings = settings(max_examples=60, stateful_step_count=40)
