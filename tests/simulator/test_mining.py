"""Networks of miners come together on one branch that has every transaction once."""

from collections import Counter
from functools import partial
from random import Random

import pytest

from ledger.consensus import events as ev
from ledger.transaction import Transaction
from ledger.work import SETTLED_BLOCKS
from tests.simulator.mining import Weather, World, make_transaction

SECOND = 1_000
SEEDS = 6


def start(world: World) -> None:
    for node in world.nodes:
        node.start()


def load(world: World, count: int, over_ms: int) -> list[bytes]:
    """Transactions of four senders, each handed to some node, and to another each minute until it
    is on its chain, as who waits for a receipt does; their hashes."""
    random = Random(world.random.random())
    made = [make_transaction(index % 4, index // 4) for index in range(count)]

    def give(transaction: Transaction) -> None:
        node = random.choice([node for node in world.nodes if node.alive])
        if node.chain.find_transaction(transaction.hash) is None:
            node.take([transaction])
        world.at(60 * SECOND, partial(give, transaction))

    for index, transaction in enumerate(made):
        world.at(over_ms * index // count, partial(give, transaction))
    return [transaction.hash for transaction in made]


def settle(world: World, hashes: list[bytes]) -> None:
    """Heal, wait until the chain rests, and check that each transaction stands on it once."""
    world.heal()
    world.weather.loss = 0
    world.run(2 * SECOND)
    for node in world.nodes:
        if not node.alive:
            node.start()
    rested = world.run(
        3_600 * SECOND,
        lambda: (
            world.agree()
            and not any(node.engine.status().open for node in world.nodes)
            and all(map(world.nodes[0].chain.find_transaction, hashes))
        ),
    )
    heads = [(node.chain.head.number, node.chain.head.hash.hex()[:8]) for node in world.nodes]
    assert rested, heads
    for node in world.nodes:
        chain = node.chain
        included = Counter(
            transaction.hash
            for height in range(1, chain.head.number + 1)
            for transaction in chain.block(height).transactions
        )
        assert set(included.values()) <= {1}
        assert set(included) == set(hashes)
        assert node.pool.size == 0


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_quiet_chain_rests_once_the_last_transaction_is_settled(count: int) -> None:
    world = World(1, count)
    start(world)
    world.run(60 * SECOND)
    assert {node.chain.head.number for node in world.nodes} == {0}

    hashes = load(world, 1, 1)
    settle(world, hashes)

    chain = world.nodes[0].chain
    height = chain.find_transaction(hashes[0])
    assert height is not None
    assert chain.head.number - height[0] == SETTLED_BLOCKS


def test_an_empty_block_comes_after_the_period_a_network_file_sets() -> None:
    world = World(2, 2, empty_block_period_s=60)
    start(world)
    world.run(600 * SECOND)
    assert 7 <= world.nodes[0].chain.head.number <= 10


@pytest.mark.parametrize("seed", range(SEEDS))
def test_parts_heal_to_one_branch(seed: int) -> None:
    assert len(part_and_heal(seed)) == 1


@pytest.mark.deep
@pytest.mark.parametrize("first", range(SEEDS, 2_000, 100))
def test_parts_heal_to_one_branch_whatever_the_seed(first: int) -> None:
    for seed in range(first, first + 100):
        try:
            assert len(part_and_heal(seed)) == 1
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise


def part_and_heal(seed: int) -> set[bytes]:
    """The heads that are left."""
    random = Random(seed)
    count = random.choice((2, 3, 4, 6))
    weather = Weather(
        delay_ms=(1, random.choice((20, 400))),
        loss=random.choice((0, 10, 30)),
        duplicates=random.choice((0, 20)),
        block_ms=random.choice((800, 2_000)),
    )
    world = World(seed, count, weather)
    start(world)
    hashes = load(world, 40, 60 * SECOND)
    world.run(10 * SECOND)
    cut = random.randint(1, count - 1)
    world.part(set(range(cut)), set(range(cut, count)))
    for _ in range(3):
        world.run(random.randint(1, 25) * SECOND)
        victim = random.choice(world.nodes)
        if victim.alive and sum(node.alive for node in world.nodes) > 1:
            victim.crash()
        elif not victim.alive:
            victim.start()
    settle(world, hashes)
    return {node.chain.head.hash for node in world.nodes}


def test_a_long_partition_is_healed_in_one_switch() -> None:
    """Deeper than what is not flushed: 100 blocks of one side fall to 200 of the other."""
    world = World(5, 3, Weather(block_ms=1_000), rates=[0.25, 0.25, 0.5], empty_block_period_s=1)
    start(world)
    hashes = load(world, 60, 300 * SECOND)
    world.part({0}, {1, 2})
    world.run(500 * SECOND)
    lone = world.nodes[0].chain.head.number
    assert lone > 60
    world.heal()

    assert world.run(60 * SECOND, world.agree)

    assert world.nodes[0].withdrawn >= lone - 1
    assert world.run(120 * SECOND, lambda: all(map(world.nodes[0].chain.find_transaction, hashes)))


def test_transactions_wait_while_no_miner_is_up() -> None:
    world = World(3, 3)
    for node in world.nodes[:2]:
        node.mining = False
        node.start()
    hashes = load(world, 8, 10 * SECOND)
    world.run(120 * SECOND)
    assert world.nodes[0].chain.head.number == 0
    assert world.nodes[1].pool.size == 8

    world.nodes[2].start()
    settle(world, hashes)


def test_a_new_node_fetches_the_whole_chain() -> None:
    world = World(4, 3)
    for node in world.nodes[:2]:
        node.start()
    hashes = load(world, 200, 400 * SECOND)
    world.run(500 * SECOND)
    assert world.nodes[0].chain.head.number > 130
    settle(world, hashes)


def test_rest_on_rival_heads_of_one_height_is_found_out() -> None:
    """Both sides of a cut make as many blocks, and their chains rest."""
    world = World(8, 2)
    start(world)
    world.part({0}, {1})
    for index, node in enumerate(world.nodes):
        node.take([make_transaction(index, 0)])
    world.run(300 * SECOND)
    heads = [node.chain.head.number for node in world.nodes]
    assert heads == [1 + SETTLED_BLOCKS] * 2
    world.heal()
    for node in world.nodes:
        node.send_status()
    settle(world, [make_transaction(index, 0).hash for index in range(2)])


def test_a_false_height_costs_one_question_and_does_not_stop_the_mine() -> None:
    world = World(6, 2)
    start(world)
    node, liar = world.nodes
    asked: list[object] = []
    original = node._carry_out

    def watch(effect: ev.Effect) -> None:
        asked.extend([effect] if isinstance(effect, ev.AskBlocks) else [])
        original(effect)

    node._carry_out = watch  # type: ignore[method-assign]
    liar.crash()

    def lie() -> None:
        from ledger.consensus.messages import Status

        node.step(ev.PeerStatus(liar.address, Status(1_000, 0, True)))
        world.at(SECOND, lie)

    lie()
    load(world, 4, SECOND)
    world.run(60 * SECOND)
    assert len(asked) == 1
    assert node.chain.head.number > 3


def test_a_node_whose_clock_is_behind_takes_blocks_later() -> None:
    world = World(7, 2)
    world.nodes[1].clock_skew_s = -30
    world.nodes[1].mining = False
    start(world)
    hashes = load(world, 3, SECOND)
    world.run(20 * SECOND)
    assert world.nodes[0].chain.head.number > world.nodes[1].chain.head.number
    assert len(world.nodes[1].engine._early) <= 32
    settle(world, hashes)
