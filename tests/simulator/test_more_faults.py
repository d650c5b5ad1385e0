"""Faults 21 to 40 of FIELD_NOTES.md section 4, on whole nodes in simulated time."""

import contextlib
from unittest import mock

import msgpack
import pytest

from ledger.consensus import events as ev
from ledger.consensus.messages import Kind, Network, Vote, sign_vote
from ledger.consensus.signer import initial_record
from ledger.errors import InvalidBlock
from ledger.permissions import read_validators
from node.peers import frames
from node.peers.frames import FRAME_BYTES_MAX, encode_frame
from tests.simulator.byzantine import Byzantine
from tests.simulator.clockwork import LIFE
from tests.simulator.liar import Liar
from tests.simulator.links import CLOSED
from tests.simulator.realm import COINS, SENDERS, Machine, Realm, realm, transfer
from tests.simulator.roster import make_roster, set_members
from tests.simulator.stand_ins import CHAIN_ID, KEYS, cheap_signatures
from tests.simulator.talk import alive, keep_busy, live, said, start_all
from tests.simulator.world import World

ADDRESSES = sorted(list(KEYS)[:6])


def honest_liar(world: Realm, index: int) -> Liar:
    """A machine that may lie when it is told to, and else does not."""
    liar = world.machines[index]
    assert isinstance(liar, Liar)
    liar.distort = lambda frame: [frame]  # type: ignore[method-assign]
    return liar


def test_fault_21_old_messages_and_those_of_another_chain_are_ignored() -> None:
    heard: list[bytes] = []
    for name in ("another chain", "simulated"):
        with realm(name=name) as world:

            def passes(source: Machine, target: Machine, frame: bytes) -> bool:
                if frame[1] == frames.Kind.CONSENSUS and len(heard) < 400:
                    heard.append(msgpack.unpackb(frame)[1])
                return True

            world.passes = passes
            start_all(world)
            keep_busy(world, 3)
            if name == "simulated":
                world.run(2)
                heads = [machine.head_hash for machine in world.machines]
                before = [alive(machine).engine.status() for machine in world.machines]
                for message in heard:
                    for machine in world.machines:
                        machine.feed(ev.Received(b"replayer", message))
                world.run(5)
                assert [machine.head_hash for machine in world.machines] == heads
                assert [alive(machine).engine.status() for machine in world.machines] == before
                live(world)


@pytest.mark.parametrize("n", [5, 6])
def test_fault_22_one_byzantine_node_of_five_and_six(n: int) -> None:
    """IBFT 1 took 2f + 1 = 3 of 5: two quorums then shared one node, the one that lies."""
    with cheap_signatures():
        world = World(3, n, byzantine=Byzantine)
        for node in world.nodes:
            node.start()
        for at_ms in range(0, 20_000, 100):
            world.at(at_ms, world.add_work)
        world.run_until(20_000)
        assert world.bottom() > 10
    with realm(3, n, liars={n - 1: Liar}) as whole:
        start_all(whole)
        keep_busy(whole, 10, 0.5, only="ABCD")
        live(whole, extra_s=30)


@pytest.mark.parametrize("seed", range(3))
def test_fault_23_all_restart_at_scattered_rounds(seed: int) -> None:
    with realm(seed) as world:
        start_all(world)
        world.submit(world.machines[0], transfer(SENDERS[1], 0))
        for _ in range(8):
            some = range(4)
            world.cuts = {(i, j) for i in some for j in some if world.random.randrange(10) < 6}
            world.run(world.random.uniform(0.5, 4.0))
            world.random.choice(world.machines).restart()
        for machine in world.machines:
            machine.restart()
        world.heal_links()
        world.run(1)
        before = max(world.heights())
        assert live(world) > before


@pytest.mark.parametrize("hours", [0.2, pytest.param(12, marks=pytest.mark.deep)])
def test_fault_24_more_than_f_are_down_for_hours(hours: float) -> None:
    with realm() as world:
        start_all(world)
        keep_busy(world, 2)
        for machine in world.machines[2:]:
            machine.kill()
        height = max(world.heights())
        world.submit(world.machines[0], transfer(SENDERS[8], 0))
        world.run(hours * 3_600)
        assert max(world.heights()) == height
        assert alive(world.machines[0]).engine.status().round <= 1, "nobody climbs alone"
        for machine in world.machines[2:]:
            machine.start()
        live(world)


def test_fault_25_votes_remove_the_proposer_and_an_empty_set_is_refused() -> None:
    members = ADDRESSES[:4]
    with realm(contracts=(make_roster(members),)) as world:
        start_all(world)
        keep_busy(world, 1)
        nonce = 0
        height = max(world.heights())
        proposer = members[(height + 1) % 4]
        for wanted, expected in (
            ([one for one in members if one != proposer], 3),  # of this very block
            ([], 3),  # the last set stays
            ([proposer, proposer], 3),  # ill-formed: as if nothing were said
            (members, 4),
            (members[:1], 1),
            ([], 1),
        ):
            teller = world.by_address[wanted[0] if wanted else members[0]]
            world.submit(teller, set_members(SENDERS[1], nonce, wanted))
            nonce += 1
            world.run(3)
            world.watch.read()
            sets = {alive(machine).chain.validators for machine in world.machines}
            assert len(sets) == 1, "the same everywhere"
            assert len(sets.pop()) == expected
        world.submit(world.machines[0], set_members(SENDERS[1], nonce, members))
        world.run(3)
        live(world)
        assert read_validators(alive(world.machines[0]).head_state()) == tuple(members)


def test_fault_26_a_new_validator_with_an_empty_disk_is_needed() -> None:
    members = ADDRESSES[:4]
    with realm(validators=3, contracts=(make_roster(members[:3]),)) as world:
        late = world.machines[3]
        for machine in world.machines[:3]:
            machine.start()
        world.run(3)
        keep_busy(world, 6, only="ABC")
        world.submit(world.machines[0], set_members(SENDERS[1], 0, members))
        world.run(2)
        world.machines[2].kill()
        world.honest.remove(world.machines[2])
        height = max(world.heights())
        world.submit(world.machines[0], transfer(SENDERS[8], 0))
        world.run(5)
        assert max(world.heights()) == height, "three of four are needed"
        assert late.disk.store.load_signer() == initial_record()
        late.start()
        live(world)
        certificate = alive(late).chain.certificate(late.height)
        assert certificate is not None
        votes = [(Kind.COMMIT, late.height, certificate.round, certificate.block_hash, None, seal)
                 for seal in certificate.signatures]  # fmt: skip
        assert late.address in {world.watch.authors.author_of(Vote(*vote)) for vote in votes}


@pytest.mark.parametrize("lie", ["few seals", "doubled seals", "other block", "noise", "nothing"])
def test_fault_27_a_peer_lies_about_the_past(lie: str) -> None:
    with realm(n=5, liars={4: Liar}) as world:
        liar = honest_liar(world, 4)
        start_all(world)
        late = world.machines[0]
        late.kill()
        keep_busy(world, 8, 0.1, only="BCD")

        def distort(frame: bytes) -> list[bytes]:
            if frame[1] not in (frames.Kind.BLOCKS, *LATER_BLOCKS):
                return [frame]
            kind, *fields = msgpack.unpackb(frame)
            return [msgpack.packb([kind, *_bend(fields, lie)])] if lie != "nothing" else []

        liar.distort = distort  # type: ignore[method-assign]
        late.start()
        world.run(30)
        top = max(world.heights())
        assert late.height >= top - 1, "the others were asked instead"
        live(world, extra_s=30)


LATER_BLOCKS = tuple(kind for kind in frames.Kind if kind > frames.Kind.BLOCKS)
"""What later wire versions answer a node that catches up with, or ask."""


def _bend(fields: list[object], lie: str) -> list[object]:
    """Bytes inside of an answer, wrong in one of several ways; its shape stays."""
    bend = {
        "few seals": lambda data: data[: len(data) * 2 // 3],
        "doubled seals": lambda data: data[:-65] + data[-130:-65],
        "other block": lambda data: data[::-1],
        "noise": lambda data: bytes(len(data)),
    }[lie]

    def walk(item: object) -> object:
        if isinstance(item, bytes) and len(item) > 32:
            return bend(item)
        return [walk(one) for one in item] if isinstance(item, list) else item

    return [walk(field) for field in fields]


def test_fault_28_the_peer_asked_for_blocks_stalls() -> None:
    with realm(n=5, liars={4: Liar}) as world:
        liar = honest_liar(world, 4)
        start_all(world)
        late = world.machines[0]
        late.kill()
        keep_busy(world, 8, 0.1, only="BCD")
        answers = (frames.Kind.BLOCKS, *LATER_BLOCKS)
        liar.distort = lambda frame: [] if frame[1] in answers else [frame]  # type: ignore[method-assign]
        late.start()
        world.run(40)
        assert late.height >= max(world.heights()) - 1
        live(world)


HOSTILE = {
    "too large": bytes([0x92, 8, 0xC6]) + (FRAME_BYTES_MAX + 1).to_bytes(4, "big"),
    "nested deep": b"\x91" * 100_000,
    "half": encode_frame(frames.Kind.CONSENSUS, bytes(500))[:100],
    "no frame": b"\xc1" * 50,
    "unknown kind": msgpack.packb([99, 1, 2]),
    "block of nested RLP": encode_frame(frames.Kind.TRANSACTIONS, [b"\xc1" * 5_000]),
    "RLP not canonical": encode_frame(frames.Kind.TRANSACTIONS, [b"\x02\xf8\x05" + bytes(5)]),
    "ten thousand seals": encode_frame(
        frames.Kind.CONSENSUS,
        msgpack.packb([1, [1, 1, 1, bytes(32), None, bytes(65)], None, [], [[]] * 10_000]),
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_fault_29_rubbish_of_every_kind_costs_the_connection(what: str) -> None:
    with realm(liars={3: Liar}) as world:
        liar = honest_liar(world, 3)
        start_all(world)
        sent: list[int] = []

        def distort(frame: bytes) -> list[bytes]:
            if frame[1] < frames.Kind.STATUS:
                return [frame]
            sent.append(1)
            return [HOSTILE[what]] * 20

        liar.distort = distort  # type: ignore[method-assign]
        liar.ask(lambda node: node.exchange.send_statuses())
        world.run(1)
        assert sent
        for machine in world.honest:
            assert liar.address not in alive(machine).network.peers
        keep_busy(world, 3, only="ABC")
        live(world)


def test_fault_30_a_flood_of_far_heights_and_rounds_and_bad_signatures() -> None:
    with realm(liars={3: Liar}) as world:
        liar = honest_liar(world, 3)
        start_all(world)
        network, random = Network(CHAIN_ID, world.watch.genesis_hash), world.random
        goal = max(world.heights()) + 5
        for _ in range(10):
            height = max(world.heights())
            for _ in range(150):
                vote = Vote(
                    random.choice((Kind.PREPARE, Kind.COMMIT)),
                    height + random.choice((0, 1, 2, 3, 10**9)),
                    random.choice((0, 1, 7, 10**6, 2**62)),
                    random.randbytes(32),
                    None,
                    random.randbytes(65),
                )
                if random.randrange(2):
                    vote = sign_vote(liar.key, network, vote)
                packed = msgpack.packb([1, list(vote), None, [], []])
                for machine in world.honest:
                    machine.feed(ev.Received(liar.address, packed))
            keep_busy(world, 1, only="ABC")
            world.watch.check_bounds()
        assert min(world.heights()) >= goal
        live(world)


def test_fault_35_gaps_replacements_and_insufficient_funds() -> None:
    with realm() as world:
        start_all(world)
        ask, sender = world.machines[0], SENDERS[3]
        world.submit(ask, *(transfer(sender, nonce) for nonce in (3, 1, 2)))
        world.run(3)
        assert max(world.heights()) == 0, "the gap waits"
        storm = [transfer(sender, 2, 1, price) for price in range(1, 12)]
        world.submit(ask, *storm)
        poor = transfer(SENDERS[4], 0, 2 * COINS)
        world.submit(ask, poor)
        world.run(1)
        assert poor.hash not in world.watch.taken
        assert alive(ask).pool.size == 3, "replaced, not added"
        world.submit(world.machines[2], transfer(sender, 0))
        world.run(3)
        chain = alive(ask).chain
        nonces = [
            transaction.nonce
            for height in range(1, chain.head.number + 1)
            for transaction in chain.block(height).transactions
        ]
        assert nonces == [0, 1, 2, 3], "closed, it flows in order"
        live(world)


def test_fault_36_a_flood_of_transactions_leaves_room_for_the_honest() -> None:
    with realm(gas_limit=210_000) as world:  # ten a block
        start_all(world)
        flooded = world.machines[0]
        flood = [transfer(SENDERS[5], nonce) for nonce in range(400)]
        for start in range(0, 400, 100):
            world.submit(flooded, *flood[start : start + 100])
            world.run(0.05)
        world.submit(flooded, transfer(SENDERS[6], 0))
        world.run(2)
        world.watch.check_bounds()
        world.watch.read()
        assert transfer(SENDERS[6], 0).hash in world.watch.receipts, "it did not wait behind 400"
        world.run(20)
        live(world)


def test_fault_37_valid_when_it_came_and_not_any_more() -> None:
    with realm(gas_limit=63_000, block_period_ms=1_000) as world:  # three a block
        start_all(world)
        both = [transfer(SENDERS[7], nonce, COINS * 2 // 3) for nonce in (0, 1)]
        world.submit(world.machines[0], *both)
        world.submit(world.machines[1], *(transfer(SENDERS[8], nonce) for nonce in range(6)))
        world.run(12)
        world.watch.read()
        assert both[0].hash in world.watch.receipts
        assert both[1].hash not in world.watch.receipts
        chain = alive(world.machines[0]).chain
        rounds = [
            certificate.round
            for height in range(1, chain.head.number + 1)
            if (certificate := chain.certificate(height))
        ]
        assert set(rounds) == {0}, "nobody proposed what cannot be"
        assert len(world.watch.receipts) == 7
        live(world)


def test_fault_38_one_node_computes_something_else() -> None:
    with realm() as world:
        start_all(world)
        keep_busy(world, 2)
        wrong = world.machines[2]
        chain = alive(wrong).chain

        def disagree(block: object) -> None:
            raise InvalidBlock("block: wrong state_root")

        chain._execute = disagree  # type: ignore[method-assign,assignment]
        chain._executions.clear()
        height = wrong.height
        keep_busy(world, 6, only="ABD")
        assert wrong.height <= height + 1
        assert "does not execute here" in (alive(wrong).interpreter.trouble or "")
        assert world.machines[0].height > height + 5, "the others go on"
        wrong.restart()  # with sound memory again
        world.run(2)
        live(world)


def test_fault_39_a_process_stopped_for_ten_seconds() -> None:
    with realm() as world:
        start_all(world)
        keep_busy(world, 2)
        life = world.machines[1].life
        assert life is not None
        life.sleep()
        keep_busy(world, 10, only="ACD")
        world.later(0.0, life.wake)
        world.run(1)
        live(world)


def test_fault_40_nodes_of_two_wire_versions() -> None:
    """B and D speak the oldest version alone, the others all; then they are upgraded in turn."""
    spoken = tuple(frames.PROTOCOL_VERSIONS)
    old = {"B", "D"}

    class Versions(tuple[int, ...]):
        """As many as the machine that asks can speak."""

        def __iter__(self):  # type: ignore[no-untyped-def]
            life = LIFE.get()
            return iter(spoken[:1] if life is not None and life.name in old else spoken)

    with contextlib.ExitStack() as stack:
        for module in ("node.peers.connection", "node.peers.frames"):
            stack.enter_context(mock.patch(f"{module}.PROTOCOL_VERSIONS", Versions(spoken)))
        world = stack.enter_context(realm())
        start_all(world)
        versions = {peer.version for peer in alive(world.machines[0]).network.peers.values()}
        assert versions == {spoken[0], spoken[-1]}
        for machine in world.machines:
            keep_busy(world, 4, 0.5)
            machine.stop()
            world.run(1)
            old.discard(machine.name)
            machine.start()
            world.run(2)
            votes = said(world, machine)
            keep_busy(world, 3, 0.5)
            assert votes
        versions = {peer.version for peer in alive(world.machines[0]).network.peers.values()}
        assert versions == {spoken[-1]}
        live(world)


def test_the_end_of_a_connection_is_told_to_both() -> None:
    """Of the played links: a killed machine's peers see it gone."""
    with realm(n=2) as world:
        start_all(world)
        world.machines[1].kill()
        world.run(1)
        assert alive(world.machines[0]).network.peers == {}
        assert CLOSED.data is None


def test_a_follower_at_rest_that_missed_the_last_block_does_not_wait_for_the_next() -> None:
    """Its disk was away for just that block, nothing is open anywhere, and nobody sends more."""
    with realm(n=5, validators=4) as world:
        follower = world.machines[4]
        start_all(world)
        keep_busy(world, 2)
        follower.disk.full = True
        world.submit(world.machines[0], transfer(SENDERS[8], 0))
        world.run(3)
        assert follower.height < max(world.heights())
        follower.disk.full = False
        world.run(8)
        assert follower.height == max(world.heights())


def test_a_follower_that_heard_nothing_of_the_last_block_compares_at_rest() -> None:
    with realm(n=5, validators=4) as world:
        follower = world.machines[4]
        start_all(world)
        keep_busy(world, 2)
        world.passes = lambda source, target, frame: target is not follower
        world.submit(world.machines[0], transfer(SENDERS[8], 0))
        world.run(2)
        world.passes = lambda source, target, frame: True
        assert follower.height < max(world.heights())
        world.run(35)
        assert follower.height == max(world.heights())


def test_who_follows_a_lone_validator_hears_of_each_block_within_seconds() -> None:
    """It sends no votes, and at rest nodes compare each 30 s; C hears of it from B alone."""
    with realm(n=3, validators=1) as world:
        world.apart = {frozenset((0, 2))}
        start_all(world)
        for nonce in range(3):
            world.submit(world.machines[0], transfer(SENDERS[0], nonce))
            world.run(4)
            assert world.heights() == [nonce + 1] * 3


def test_the_last_block_of_a_lone_validator_is_heard_of_as_soon() -> None:
    """B may sign from the next one on, but nothing waits for it."""
    both = sorted(list(KEYS)[:2])
    with realm(n=2, validators=1, contracts=(make_roster(both[:1]),)) as world:
        start_all(world)
        world.run(5)
        world.submit(world.machines[0], set_members(SENDERS[1], 0, both))
        world.run(4)
        assert world.heights() == [1, 1]


def test_a_busy_lone_validator_does_not_make_its_followers_say_each_second_that_they_catch_up() -> (
    None
):
    """Each status finds them some blocks behind, for the moment that a fetch takes."""
    with realm(n=2, validators=1) as world:
        start_all(world)
        with mock.patch.object(alive(world.machines[1]).feed, "publish_sync") as said_so:
            for nonce in range(100):
                world.submit(world.machines[0], transfer(SENDERS[0], nonce))
                world.run(0.1)
        world.run(2)
        assert world.heights() == [100, 100]
        assert said_so.call_count <= 2
