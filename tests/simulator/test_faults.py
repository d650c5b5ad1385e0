"""The forty faults of FIELD_NOTES.md section 4 by number, on whole nodes in simulated time.

Faults 1 to 20 stand here, the others in test_more_faults. What cannot exist where there are no
sockets, processes or SQLite files is in ELSEWHERE, with the tests that cover it.
"""

import ast
from pathlib import Path

import pytest

from ledger.consensus import events as ev
from ledger.consensus.messages import Kind, Vote, decode_message
from tests.simulator.checkers import Violation
from tests.simulator.liar import Liar
from tests.simulator.links import Weather
from tests.simulator.realm import SENDERS, Machine, Realm, realm, transfer
from tests.simulator.talk import alive, consensus, keep_busy, live, said, start_all
from tests.simulator.twins import Twin

TESTS = Path(__file__).parents[1]
TIMEOUT_S_MAX = 4.0

ELSEWHERE = {
    "31 slow-loris, idle sockets, 10^3 clients: there are no sockets here": (
        "node/test_rpc_server.py",
        "node/test_strangers.py",
    ),
    "32 batch bomb, huge body: JSON-RPC's server is not simulated": ("node/test_rpc_server.py",),
    "33 eth_getLogs over everything: JSON-RPC's": ("node/test_rpc_contracts.py",),
    "34 eth_call in a loop: JSON-RPC's": ("node/test_rpc_methods.py", "node/test_rpc_server.py"),
    "9 and 11, the bytes of SQLite's files": ("store/test_durability.py",),
    "real processes, of which e2e/faults.py has all forty by number": (
        "e2e/test_bad_days.py",
        "e2e/test_real_days.py",
        "e2e/test_real_failpoints.py",
        "e2e/test_real_links.py",
        "e2e/test_real_work.py",
    ),
}
"""Why a fault, or a part of one, is not here, and where it is tested instead."""


@pytest.mark.parametrize("why", ELSEWHERE)
def test_what_is_tested_elsewhere_is_there(why: str) -> None:
    for name in ELSEWHERE[why]:
        tree = ast.parse((TESTS / name).read_text())
        assert any(one.name.startswith("test_") for one in ast.walk(tree) if hasattr(one, "name"))


def test_fault_01_a_partition_2_2() -> None:
    with realm() as world:
        start_all(world)
        world.split("AB", "CD")
        keep_busy(world, 30, 1.0)
        assert world.heights() == [0, 0, 0, 0], "no block during it"
        world.heal_links()
        live(world)


def test_fault_02_a_partition_3_1() -> None:
    with realm() as world:
        start_all(world)
        keep_busy(world, 2)
        before = world.machines[3].height
        world.split("ABC", "D")
        keep_busy(world, 10, 0.5, only="ABC")
        assert world.machines[0].height > before + 5, "the majority advances"
        stale = alive(world.machines[3])
        assert stale.chain.head.number in (before, before + 1), "the minority serves what it has"
        assert stale.head_state().get_balance(SENDERS[1]) > 0
        world.heal_links()
        live(world)


def test_fault_03_one_hears_and_cannot_send() -> None:
    with realm() as world:
        start_all(world)
        world.cuts = {(0, j) for j in (1, 2, 3)}
        keep_busy(world, 15, 0.5, only="BCD")
        chain = alive(world.machines[1]).chain
        proposers = {chain.header(h).coinbase for h in range(1, chain.head.number + 1)}
        assert chain.head.number >= 5
        assert world.machines[0].address not in proposers
        world.heal_links()
        live(world)


@pytest.mark.parametrize("shape", ["ring", "bridge"])
def test_fault_04_a_ring_or_one_bridge_node(shape: str) -> None:
    lacking = [(0, 2), (1, 3)] if shape == "ring" else [(0, 2), (0, 3), (2, 3)]
    with realm() as world:
        world.apart = {frozenset(pair) for pair in lacking}
        start_all(world)
        keep_busy(world, 5, 0.5)
        assert min(world.heights()) >= 5
        live(world)


def test_fault_05_loss_duplicates_and_reordering() -> None:
    bad = Weather(delay_ms_max=80, loss=30, duplicates=20, reordering=30)
    with realm(weather=bad) as world:
        start_all(world)
        keep_busy(world, 60, 0.5)
        assert min(world.heights()) >= 5
        world.weather = Weather()
        live(world)


def test_fault_06_a_partition_between_commit_and_import() -> None:
    with realm() as world:
        start_all(world)

        def cut_off(machine: Machine) -> None:
            rest = "ABCD".replace(machine.name, "")
            world.split(machine.name, *rest)
            world.on_import = lambda machine: None

        world.on_import = cut_off
        world.submit(world.machines[0], transfer(SENDERS[1], 0))
        world.run(6)
        assert sorted(world.heights())[-1] == 1, "who had a quorum of COMMITs imported"
        world.heal_links()
        live(world)


@pytest.mark.parametrize("skew_s", [10, -10])
def test_fault_07_a_clock_is_wrong_jumps_and_stops(skew_s: int) -> None:
    with realm(drift_s=2) as world:
        start_all(world)
        world.machines[1].set_clock(skew_s)
        keep_busy(world, 15, 0.5)
        assert min(world.heights()) >= 5
        world.machines[1].set_clock(-world.loop.now_s, -1_000_000)  # it stops
        keep_busy(world, 8, 0.5)
        chain = alive(world.machines[0]).chain
        times = [chain.header(h).timestamp for h in range(chain.head.number + 1)]
        assert times == sorted(times), "none before its parent"
        world.machines[1].set_clock(0)
        live(world)


def test_fault_08_all_clocks_step_back_an_hour() -> None:
    with realm() as world:
        start_all(world)
        world.run(600)
        keep_busy(world, 2)
        for machine in world.machines:
            machine.set_clock(-3_600)
            machine.restart()
        world.run(3)
        live(world)
        chain = alive(world.machines[0]).chain
        times = [chain.header(h).timestamp for h in range(chain.head.number + 1)]
        assert times == sorted(times)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("n", [1, 4])
def test_fault_09_kill_at_each_durable_write(n: int, after: bool) -> None:
    with realm(n=n, settings={"store_flush_blocks": 2}) as world:
        start_all(world)
        nonce = 0
        for write in range(9):
            machine = world.machines[write % n]
            machine.disk.cut_in, machine.disk.cut_after = write, after
            for _ in range(6):
                world.submit(world.machines[(write + 1) % n], transfer(SENDERS[1], nonce))
                nonce += 1
                world.run(0.6)
                world.watch.read()
                if machine.life is None:
                    break
            machine.disk.cut_in = None
            machine.start()
            world.run(2)
            nonce = alive(machine).head_state().get_nonce(SENDERS[1])
        assert live(world) > 1
        assert alive(world.machines[0]).head_state().get_nonce(SENDERS[1]) >= nonce > 0


@pytest.mark.parametrize("kind", list(Kind), ids=lambda kind: kind.name.lower())
def test_fault_10_kill_between_signing_and_sending(kind: Kind) -> None:
    with realm() as world:
        start_all(world)
        killed: list[str] = []
        if kind is Kind.ROUND_CHANGE:
            world.cuts = {(i, j) for i in (1, 2) for j in range(4)}  # B, C propose first

        def watch_sends(machine: Machine) -> None:
            exchange = alive(machine).exchange
            send = exchange.send_consensus

            def send_or_die(message: bytes, to: bytes | None) -> None:
                if not killed and decode_message(message).vote.kind is kind:
                    killed.append(machine.name)
                    machine.kill()
                else:
                    send(message, to)

            exchange.send_consensus = send_or_die  # type: ignore[method-assign]

        for machine in world.machines:
            watch_sends(machine)
        keep_busy(world, 3)
        assert killed
        world.heal_links()
        world.run(1)
        for machine in world.machines:
            machine.start()
        live(world)


def test_fault_11_a_torn_signer_record_is_never_silent() -> None:
    with realm() as world:
        start_all(world)
        keep_busy(world, 2)
        torn = world.machines[1]
        torn.kill()
        whole = torn.disk.store.load_signer()
        assert whole is not None
        for damaged in (whole[:-3], whole[:2], bytes([whole[0] ^ 1]) + whole[1:]):
            torn.disk.store.save_signer(damaged)
            torn.start()
            world.run(1)
            assert torn.life is None
            assert "damaged" in (torn.refusal or "")
        torn.disk.store.save_signer(whole)
        torn.start()
        live(world)


@pytest.mark.parametrize("how", ["full", "fsync"])
def test_fault_12_the_disk_is_full_or_fsync_fails(how: str) -> None:
    with realm() as world:
        start_all(world)
        keep_busy(world, 2)
        sick = world.machines[2]
        sick.disk.full, sick.disk.fail_in = how == "full", 0 if how == "fsync" else None
        height = sick.height
        keep_busy(world, 4)
        assert sick.height == height
        assert "disk" in (alive(sick).interpreter.trouble or "")
        assert alive(sick).head_state().get_balance(SENDERS[1]) > 0, "reads go on"
        assert world.machines[0].height > height, "the others do without it"
        sick.disk.full, sick.disk.fail_in = False, None
        world.run(6)
        assert alive(sick).interpreter.trouble is None
        live(world)


def test_fault_13_a_backup_is_restored_with_an_older_signer_record() -> None:
    with realm() as world:
        start_all(world)
        keep_busy(world, 2)
        restored = world.machines[1]
        restored.kill()
        backup = restored.backup()
        restored.start()
        keep_busy(world, 3)
        restored.kill()
        restored.restore(backup)
        votes = said(world, restored)
        restored.start()
        world.run(0.5)
        top = max(world.heights())
        keep_busy(world, 4)
        assert votes, "it signs again in the end"
        assert min(vote.height for vote in votes) > top, "but nothing where it may have signed"
        live(world)


def test_fault_13_a_raw_copy_signs_nothing_before_it_has_heard_how_far_the_others_are() -> None:
    """Copied while it ran: the record fits the copy, and only others know better."""
    with realm() as world:
        start_all(world)
        keep_busy(world, 2)
        copied = world.machines[1]
        backup, checker = copied.backup(), world.watch.checker
        keep_busy(world, 3)
        copied.kill()
        copied.restore(backup)
        signed: list[Vote] = []
        see = checker.see_vote

        def note(vote: Vote, author_disk: bytes | None = None) -> None:
            if author_disk is not None and checker._authors.author_of(vote) == copied.address:
                signed.append(vote)
            see(vote, author_disk)

        checker.see_vote = note  # type: ignore[method-assign]
        world.split("B", "ACD")
        copied.start()
        world.run(0.2)
        assert copied.height < max(world.heights())
        assert signed == [], "not even a ROUND-CHANGE"
        top = max(world.heights())
        world.heal_links()
        keep_busy(world, 6)
        assert signed, "it signs again in the end"
        assert min(vote.height for vote in signed) > top
        live(world)


def play_twins(seed: int) -> bool:
    """Whether what the two signed was kept as evidence by anybody."""
    with realm(seed, n=5, validators=4, liars={3: Twin, 4: Twin}) as world:
        Twin.pair(world.machines[3], world.machines[4])
        start_all(world)
        keep_busy(world, 15, 0.4, only="ABCDE")
        assert min(world.heights()) >= 5
        live(world)
        return any(alive(machine).interpreter.evidence.kept for machine in world.honest)


def test_fault_14_one_key_on_two_machines() -> None:
    """They mostly sign the same; where they do not, and one node hears both, it is evidence."""
    assert any(play_twins(seed) for seed in range(1, 9))


def test_fault_15_the_proposer_equivocates_and_it_is_kept_as_evidence() -> None:
    with realm(liars={1: Liar}) as world:
        liar = world.machines[1]
        liar.distort = liar.equivocate  # type: ignore[method-assign,attr-defined]
        start_all(world)
        keep_busy(world, 10, 0.4)
        assert min(world.heights()) >= 5
        known = [alive(machine).interpreter.evidence for machine in world.honest]
        assert any(one.author == liar.address for shelf in known for one in shelf.kept)
        teller = next(m for m in world.honest if alive(m).interpreter.evidence.kept)
        status = teller.ask(lambda node: node.explain())
        assert "signed two different" in status["explanation"]
        assert status["evidence"]
        teller.restart()
        world.run(2)
        assert alive(teller).interpreter.evidence.kept, "a restart forgets none of it"
        live(world, extra_s=30)


@pytest.mark.parametrize("told", ["", "A"], ids=["withholds", "to one"])
def test_fault_16_the_proposer_sends_to_few_or_to_nobody(told: str) -> None:
    with realm() as world:
        start_all(world)

        def passes(source: Machine, target: Machine, frame: bytes) -> bool:
            message = consensus(frame)
            is_proposal = message is not None and message.vote.kind is Kind.PROPOSAL
            return not (is_proposal and source.name == "B" and target.name not in told)

        world.passes = passes
        keep_busy(world, 10)
        assert min(world.heights()) >= 4
        live(world)


def read_first_vote(frame: bytes, proposed: dict[int, bytes]) -> Vote | None:
    """The vote in a frame, if it is for block 1; whose proposals are noted by their rounds."""
    message = consensus(frame)
    if message is None or message.vote.height != 1:
        return None
    vote = message.vote
    if vote.kind is Kind.PROPOSAL and vote.digest is not None:
        proposed[vote.round] = vote.digest
    return vote


def test_fault_17_prepared_in_a_round_and_decided_in_the_next() -> None:
    with realm() as world:
        start_all(world)
        proposed: dict[int, bytes] = {}

        def passes(source: Machine, target: Machine, frame: bytes) -> bool:
            vote = read_first_vote(frame, proposed)
            return vote is None or (vote.kind, vote.round) != (Kind.COMMIT, 0)

        world.passes = passes
        world.submit(world.machines[0], transfer(SENDERS[1], 0))
        world.run(5)
        assert min(world.heights()) == 1
        assert proposed[1] == proposed[0] == world.machines[0].head_hash
        assert alive(world.machines[0]).chain.header(1).coinbase == world.machines[1].address
        live(world)


def test_fault_18_of_two_prepared_blocks_the_higher_round_wins() -> None:
    with realm() as world:
        start_all(world)
        proposed: dict[int, bytes] = {}

        def passes(source: Machine, target: Machine, frame: bytes) -> bool:
            vote = read_first_vote(frame, proposed)
            if vote is None:
                return True
            if vote.kind is Kind.PREPARE and vote.round < 2:
                return target.name == "AB"[vote.round]  # A prepares in round 0, B in round 1
            change = vote.kind is Kind.ROUND_CHANGE
            if change and vote.round == 2 and target.name == "D":
                return source.name != "C"  # D's quorum is A, with round 0, and B, with round 1
            return not (change and vote.round == 1 and source.name == "A")

        world.passes = passes
        for turn in range(3):
            world.submit(world.machines[turn], transfer(SENDERS[1 + turn], 0))
        world.run(12)
        assert min(world.heights()) >= 1
        assert proposed[0] != proposed[1], "a fresh block in round 1, for A's lock was not heard"
        decided = alive(world.machines[0]).chain.header(1).hash
        assert decided == proposed[1] == proposed[2]
        live(world)


@pytest.mark.parametrize("lie", ["forged", "doubled", "prepared round", "wrong view"])
def test_fault_19_a_false_justification_is_rejected_and_scored(lie: str) -> None:
    with realm(liars={3: Liar}) as world:
        world.machines[3].distort = lambda frame: [frame]  # type: ignore[method-assign]
        start_all(world)
        victim, liar = world.machines[0], world.machines[3]
        message = liar.make_false_proposal(lie)
        before = victim.log.getvalue()
        victim.feed(ev.Received(liar.address, message.encode()))
        world.run(0.1)
        complaint = victim.log.getvalue()[len(before) :]
        assert "a peer" in complaint
        assert world.heights() == [0, 0, 0]
        live(world)


def test_fault_20_a_timer_queued_behind_a_quorum_of_commits() -> None:
    """besu#1734: it fired after the import, and two honest nodes held two blocks."""
    with realm() as world:
        start_all(world)

        def fire_late(machine: Machine) -> None:
            node = machine.node
            if node is not None:
                engine, now_ms = node.engine, int(world.loop.now_s * 1_000)
                assert engine.step(ev.Woke(), now_ms + 60_000) == []

        world.on_import = fire_late
        keep_busy(world, 5)
        assert min(world.heights()) >= 5
        chain = alive(world.machines[0]).chain
        rounds = [certificate.round for h in range(1, 6) if (certificate := chain.certificate(h))]
        assert rounds == [0] * 5
        live(world)


def test_a_run_that_breaks_a_rule_fails() -> None:
    """The watch can fail: a disk that forgets a block it has written, a receipt that is gone."""
    with pytest.raises(Violation, match="S5"), realm() as world:
        start_all(world)
        keep_busy(world, 2)
        _forget_last_block(world)
        world.watch.read()


def _forget_last_block(world: Realm) -> None:
    machine = world.machines[0]
    machine.kill()
    machine.disk.store._head -= 1
    world.split("A", "BCD")
    machine.start()
    world.run(1)
