"""The checkers can fail: each bug of QBFT.md's last section, planted, is found within few seeds."""

from dataclasses import replace

import pytest

from ledger import light
from ledger.consensus.messages import Kind
from ledger.errors import ProofError
from tests.simulator import planted
from tests.simulator.byzantine import Forger
from tests.simulator.checkers import Violation
from tests.simulator.liar import Liar
from tests.simulator.node import Node
from tests.simulator.planted import ENGINE_BUGS, PLANTS, Planted, lose_prepared_certificate
from tests.simulator.realm import SENDERS, Machine, realm, transfer
from tests.simulator.roster import make_roster, set_members
from tests.simulator.schedule import Plant, play
from tests.simulator.stand_ins import CHAIN_ID, KEYS, cheap_signatures
from tests.simulator.talk import consensus, keep_busy, live, start_all
from tests.simulator.world import World

SEEDS_MAX = 40


def is_found(plant: Plant, seed: int) -> bool:
    try:
        for kind in ("stops", "blackouts"):
            play(seed, kind, plant=plant)
    except AssertionError:  # a violation, or the engine's own assertion
        return True
    return False


@pytest.mark.parametrize("plant", PLANTS.values(), ids=PLANTS.keys())
def test_a_planted_bug_is_found(plant: Plant) -> None:
    assert any(is_found(plant, seed) for seed in range(SEEDS_MAX)), f"not in {SEEDS_MAX} seeds"


def play_one_knows(plant: Plant | None) -> World:
    """All lose power as the first of them imports a block; that one comes back when the others have
    gone on. Judged by what it leads to, with the rules about signatures left aside."""
    with cheap_signatures():
        world = World(1, 4)
        world.checker.s1_only = True

        def black_out(first: Node) -> None:
            world.on_import = lambda node: None
            for node in world.nodes:
                node.crash()
                world.at(20_000 if node is first else 100, node.start)

        world.on_import = lambda node: world.at(0, lambda: black_out(node))
        for node in world.nodes:
            if plant is not None:
                plant(node)
            node.start()
        world.run_until(1_000)
        world.add_work()
        world.run_until(40_000)
    return world


def test_without_the_prepared_certificate_two_blocks_are_certified() -> None:
    world = play_one_knows(None)
    assert world.bottom() >= 1
    assert len({node.disk.blocks[0][0].hash for node in world.nodes}) == 1
    with pytest.raises(Violation, match="S1: two blocks of height 1"):
        play_one_knows(lose_prepared_certificate)


@pytest.mark.parametrize("bug", ENGINE_BUGS.values(), ids=ENGINE_BUGS.keys())
def test_a_bug_of_others_is_found(bug: Planted) -> None:
    with bug.plant():
        for seed in range(bug.first, bug.first + SEEDS_MAX):
            try:
                play(seed, bug.kind, bug.n)
            except Exception as error:
                assert getattr(error, "rule", "") in bug.rules, error
                return
    pytest.fail(f"not found in {SEEDS_MAX} seeds")


def play_forger() -> World:
    """A alone decides a block and cannot tell; D, the proposer of round 2, forges a lock."""
    with cheap_signatures():
        world = World(1, 4, byzantine=Forger)
        for node in world.nodes:
            node.start()

        world.cuts = {(0, j) for j in range(4)}
        world.add_work()
        world.run_until(20_000)
        world.cuts.clear()
        world.run_until(40_000)
    return world


def test_prepares_of_a_justification_that_are_not_checked_are_found() -> None:
    assert play_forger().bottom() >= 1
    with planted.prepares_not_checked(), pytest.raises(Violation, match="two blocks of height 1"):
        play_forger()


def play_two_proposals() -> None:
    """The block of round 0 is executed everywhere and given up; that of round 1 holds more."""
    with realm(settings={"store_flush_blocks": 1}) as world:
        start_all(world)

        def passes(source: Machine, target: Machine, frame: bytes) -> bool:
            message = consensus(frame)
            held = message is not None and message.vote.kind is Kind.PREPARE
            return not (held and message.vote.round == 0 and message.vote.height == 1)

        world.passes = passes
        world.submit(world.machines[0], transfer(SENDERS[1], 0))
        world.run(0.2)
        for machine in world.machines:
            machine.restart()
        world.run(1)
        world.submit(world.machines[0], transfer(SENDERS[2], 0))
        world.run(4)
        assert min(world.heights()) >= 1, world.heights()
        live(world)


def test_the_state_of_a_proposal_left_behind_is_found() -> None:
    play_two_proposals()
    with planted.state_of_a_proposal_stays(), pytest.raises(AssertionError):
        play_two_proposals()


def play_last_removed() -> None:
    with realm(contracts=(make_roster(sorted(list(KEYS)[:4])),)) as world:
        start_all(world)
        world.submit(world.machines[0], set_members(SENDERS[1], 0, []))
        keep_busy(world, 5)
        live(world)


def test_removing_the_last_validator_is_found_where_it_is_obeyed() -> None:
    play_last_removed()
    with planted.an_empty_set_is_taken_at_its_word(), pytest.raises(AssertionError):
        play_last_removed()


def play_few_seals() -> None:
    """A liar serves blocks of its own with f + 1 seals to a node that catches up."""
    with realm(n=5, liars={4: Liar}) as world:
        liar = world.machines[4]
        liar.distort = lambda frame: [frame]  # type: ignore[method-assign]
        start_all(world)
        keep_busy(world, 2, only="ABCD")
        chain = liar.ask(lambda node: node.chain)
        header, certificate = chain.head, chain.certificate(chain.head.number)
        few = replace(certificate, signatures=certificate.signatures[:2])
        members = sorted(world.by_address)
        genesis = world.watch.genesis_hash
        light.verify_certificate(header, few, members, CHAIN_ID, genesis)


def test_headers_with_f_plus_1_seals_are_refused_unless_that_is_planted() -> None:
    with pytest.raises(ProofError, match="4 of 5 validators are needed"):
        play_few_seals()
    with planted.light_accepts_few_seals():
        play_few_seals()
