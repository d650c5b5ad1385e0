"""Faults of FIELD_NOTES.md section 4 that concern the engine, by their numbers there."""

from collections.abc import Iterator

import pytest

from ledger.consensus import events as ev
from ledger.consensus.qbft import LISTEN_MS
from ledger.consensus.signer import initial_record
from tests.simulator.byzantine import Byzantine
from tests.simulator.schedule import LIVE_TIMEOUTS
from tests.simulator.stand_ins import cheap_signatures
from tests.simulator.world import Weather, World

TIMEOUT_MS_MAX = 4_000
BOUND_MS = LIVE_TIMEOUTS * TIMEOUT_MS_MAX


@pytest.fixture(autouse=True)
def _cheap() -> Iterator[None]:
    with cheap_signatures():
        yield


def begin(n: int = 4, seed: int = 1, **options: object) -> World:
    world = World(seed, n, round_timeout_ms_max=TIMEOUT_MS_MAX, **options)  # type: ignore[arg-type]
    for node in world.nodes:
        node.start()
    return world


def pass_time(world: World, ms: int) -> None:
    world.run_until(world.now_ms + ms)


def keep_busy(world: World, ms: int, every_ms: int = 100) -> None:
    for at_ms in range(0, ms, every_ms):
        world.at(at_ms, world.add_work)
    pass_time(world, ms)


def assert_live(world: World, bound_ms: int = BOUND_MS) -> None:
    """L: every honest node has a new head within the bound."""
    goal = world.top() + 1
    world.add_work()
    reached = world.run_until(world.now_ms + bound_ms, lambda: world.bottom() >= goal)
    assert reached, [node.head_height for node in world.honest]


def split(world: World, *sides: str) -> None:
    side_of = {world.nodes["ABCDEFG".index(name)].index: side for side in sides for name in side}
    world.cuts = {(i, j) for i in side_of for j in side_of if i != j and side_of[i] != side_of[j]}


def test_an_idle_network_is_silent_and_makes_no_blocks() -> None:
    world = begin()
    pass_time(world, 2_000)
    events = world._count
    pass_time(world, 3_600_000)
    assert world.top() == 0
    seconds = 3_600 * len(world.nodes)
    assert world._count - events <= seconds + 10, "only the tick that looks whether a round is open"


@pytest.mark.parametrize("n", range(1, 22))
def test_the_normal_case_for_1_to_21_validators(n: int) -> None:
    world = begin(n)
    keep_busy(world, 800)
    assert world.bottom() > 2
    assert {certificate.round for _, certificate in world.nodes[0].disk.blocks} == {0}


def test_1_a_2_2_partition_makes_no_block_and_heals() -> None:
    world = begin()
    split(world, "AB", "CD")
    keep_busy(world, 30_000, 1_000)
    assert world.top() == 0
    assert max(node.engine.status().round for node in world.nodes if node.engine) <= 1
    world.cuts.clear()
    assert_live(world)


def test_2_a_3_1_partition_advances_and_the_minority_catches_up() -> None:
    world = begin()
    split(world, "ABC", "D")
    keep_busy(world, 10_000)
    assert world.nodes[3].head_height == 0
    assert world.top() > 10
    world.cuts.clear()
    assert_live(world)


def test_3_one_that_hears_but_cannot_send_is_skipped() -> None:
    world = begin()
    world.cuts = {(0, j) for j in range(4)}
    keep_busy(world, 30_000, 500)
    proposers = {block.header.coinbase for block, _ in world.nodes[1].disk.blocks}
    assert world.bottom() >= 10
    assert world.nodes[0].address not in proposers
    world.cuts.clear()
    assert_live(world)


def test_4_a_ring_decides_through_relays() -> None:
    world = begin(7, weather=Weather(ring=True))
    keep_busy(world, 10_000)
    assert world.bottom() > 10


def test_5_progress_with_30_percent_loss_duplicates_and_reordering() -> None:
    world = begin(weather=Weather(loss=30, duplicates=30, delay_ms_max=100))
    keep_busy(world, 60_000)
    assert world.bottom() > 20


def test_6_a_cut_between_commit_and_import() -> None:
    world = begin()
    world.on_import = lambda node: split(world, node.name, "".join("ABCD".split(node.name)))
    world.add_work()
    world.run_until(world.now_ms + 60_000, lambda: world.top() == 1)
    world.on_import = lambda node: None
    pass_time(world, 10_000)
    assert world.top() == 1, "who had a quorum of COMMITs imported"
    world.cuts.clear()
    assert_live(world)
    assert world.bottom() > 1


@pytest.mark.parametrize("skew_s", [10, -10, -3_600])
def test_7_a_wrong_clock_on_one_node(skew_s: int) -> None:
    world = begin()
    pass_time(world, 4_000_000)
    world.nodes[1].clock_skew_s = skew_s
    keep_busy(world, 60_000, 1_000)
    assert world.bottom() >= 15
    times = [block.header.timestamp for block, _ in world.nodes[0].disk.blocks]
    assert times == sorted(times)


def test_8_all_clocks_step_back_an_hour() -> None:
    world = begin()
    pass_time(world, 4_000_000)
    assert_live(world)
    for node in world.nodes:
        node.clock_skew_s = -3_600
        node.crash()
        node.start()
    before = world.top()
    assert_live(world)
    assert world.bottom() > before
    times = [block.header.timestamp for block, _ in world.nodes[0].disk.blocks]
    assert times == sorted(times)


@pytest.mark.parametrize("n", [4, 5, 6, 7])
def test_15_16_22_one_byzantine_node(n: int) -> None:
    world = begin(n, byzantine=Byzantine)
    keep_busy(world, 30_000)
    assert world.bottom() > 20
    assert any(node.engine.evidence for node in world.honest if node.engine)


def test_21_old_messages_and_another_chains_do_nothing() -> None:
    world, other = begin(seed=1), begin(seed=2)
    kept: list[bytes] = []
    for one in (world, other):
        transmit = one.nodes[0]._transmit
        one.nodes[0]._transmit = (  # type: ignore[method-assign]
            lambda peer, message, transmit=transmit: (kept.append(message), transmit(peer, message))
        )
        keep_busy(one, 3_000)
    heads = [node.head_hash for node in world.nodes]
    before = [node.engine.status() for node in world.nodes if node.engine]
    for message in kept:
        for node in world.nodes:
            node.step(ev.Received(b"x", message))
    pass_time(world, 60_000)
    assert [node.head_hash for node in world.nodes] == heads
    assert [node.engine.status() for node in world.nodes if node.engine] == before


@pytest.mark.parametrize("seed", range(5))
def test_23_all_restart_at_scattered_rounds_and_align(seed: int) -> None:
    world = begin(seed=seed)
    world.add_work()
    random = world.random
    for _ in range(10):  # they cannot decide, and climb and restart here and there
        world.cuts = {(i, j) for i in range(4) for j in range(4) if random.randrange(10) < 6}
        pass_time(world, random.randint(500, 4_000))
        node = random.choice(world.nodes)
        node.crash()
        node.start()
    for node in world.nodes:
        node.crash()
        node.start()
    world.cuts.clear()
    before = world.top()
    assert_live(world)
    assert world.bottom() > before


def test_23_restarted_while_idle_with_another_dead() -> None:
    """Without the rule that a later round is timed by a quorum, it never met the rest again."""
    world = begin()
    keep_busy(world, 1_000)
    world.nodes[3].crash()
    world.honest.remove(world.nodes[3])
    world.nodes[0].crash()
    world.nodes[0].start()
    pass_time(world, 3_600_000)
    assert world.nodes[0].engine is not None
    assert world.nodes[0].engine.status().round == 1, "it has not climbed alone"
    assert_live(world, 4_000)


@pytest.mark.parametrize("ahead", [1, 10**9])
def test_22_one_that_says_to_be_ahead_and_never_votes_holds_up_a_start_of_all_by_listening_only(
    ahead: int,
) -> None:
    world = begin()
    keep_busy(world, 1_000)
    *others, liar = world.nodes
    world.honest.remove(liar)
    liar.send = lambda message, to: None  # type: ignore[method-assign]

    def boast() -> None:
        assert liar.engine is not None
        data = liar.engine.status()._replace(height=world.top() + 1 + ahead, open=True).encode()
        for peer in range(3):
            world.transmit(3, peer, lambda node: node.take_status(3, data))
        world.at(50, boast)

    boast()
    for node in others:
        node.crash()
        node.start()
    lost_ms = world.settings.compute_timeout_ms(1)  # where the liar proposes in round 1
    assert_live(world, LISTEN_MS + lost_ms + 500)


def test_24_more_than_f_are_down_for_long() -> None:
    world = begin()
    keep_busy(world, 1_000)
    world.nodes[2].crash()
    world.nodes[3].crash()
    world.add_work()
    pass_time(world, 1_800_000)
    rounds = [node.engine.status().round for node in world.nodes if node.engine]
    assert max(rounds) <= 1
    world.nodes[2].start()
    world.nodes[3].start()
    assert_live(world)


def test_26_a_new_validator_with_an_empty_disk_is_needed_for_the_quorum() -> None:
    world = begin(3)
    world.nodes[2].crash()
    keep_busy(world, 3_000)
    world.nodes[1].crash()
    world.honest.remove(world.nodes[1])
    world.nodes[2].disk.record = initial_record()
    world.nodes[2].disk.blocks.clear()
    world.nodes[2].start()
    before = world.top()
    assert_live(world)
    assert world.nodes[2].head_height > before


def test_13_a_record_that_is_lost_comes_back_without_a_second_vote() -> None:
    world = begin()
    keep_busy(world, 2_000)
    lost = world.nodes[1]
    lost.lose_record()
    lost.start()
    keep_busy(world, 5_000)
    assert lost.engine is not None
    assert lost.engine.explain(0).trouble is None
    world.nodes[0].crash()  # now it is needed
    world.honest.remove(world.nodes[0])
    assert_live(world)


def test_39_a_node_that_slept_ten_seconds_goes_on() -> None:
    world = begin()
    keep_busy(world, 2_000)
    asleep = world.nodes[0]
    missed: list[ev.Event] = []
    step, asleep.step = asleep.step, missed.append  # type: ignore[method-assign]
    keep_busy(world, 10_000)
    asleep.step = step  # type: ignore[method-assign]
    for event in missed:  # the socket and the timers had kept them all
        asleep.step(event)
    assert_live(world)
    assert world.bottom() > 10


def test_a_crash_of_one_makes_no_block_but_a_crash_of_all_makes_one() -> None:
    world = begin()
    keep_busy(world, 1_000)
    height = world.top()
    world.nodes[0].crash()
    world.nodes[0].start()
    pass_time(world, 60_000)
    assert world.top() == height
    for node in world.nodes:
        node.crash()
        node.start()
    pass_time(world, 60_000)
    assert (world.bottom(), world.top()) == (height + 1, height + 1)
