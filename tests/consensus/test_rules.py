"""The numbered rules of QBFT.md, its numbers and its timers, one engine at a time."""

import pytest

from ledger.block import quorum
from ledger.consensus import events as ev
from ledger.consensus.justification import compute_proposer
from ledger.consensus.messages import Kind, Message
from tests.consensus.desk import TIMEOUT_MS, Desk, block_of, of, reasons, said, sent, settings

PREPARE, COMMIT = Kind.PREPARE, Kind.COMMIT


def accept(desk: Desk, seed: int = 0):
    """The proposer of (1, 0) is B; its block is received, checked and accepted."""
    block = block_of(desk.address("B"), seed)
    desk.hear(desk.propose("B", block))
    return block, desk.check(block)


# Numbers.


def test_quorums_are_those_of_the_specification() -> None:
    expected = {1: 1, 2: 2, 3: 2, 4: 3, 5: 4, 6: 4, 7: 5, 10: 7}
    assert {n: quorum(n) for n in expected} == expected


def test_timeouts_double_up_to_the_cap() -> None:
    timeouts = [settings().compute_timeout_ms(round_) for round_ in (0, 1, 2, 3, 4, 10, 10**9)]
    assert timeouts == [1_000, 2_000, 4_000, 8_000, 8_000, 8_000, 8_000]


def test_the_proposer_is_a_position_in_the_sorted_set_also_when_the_set_changes() -> None:
    one, two = [b"a", b"b", b"c"], [b"a", b"c", b"d", b"e"]
    assert [compute_proposer(one, 1, r) for r in range(4)] == [b"b", b"c", b"a", b"b"]
    assert [compute_proposer(two, 2, r) for r in range(4)] == [b"d", b"e", b"a", b"c"]


# 1. A fresh block in round 0.


def test_1_the_proposer_of_round_0_builds_once_work_waits_and_prepares_its_own() -> None:
    desk = Desk(me="B")
    assert of(ev.BuildBlock, desk.step(ev.WorkWaiting(True))) == [ev.BuildBlock(1, 0)]
    assert not of(ev.BuildBlock, desk.step(ev.WorkWaiting(True))), "asked once"
    effects = desk.step(ev.BlockBuilt(1, 0, block_of(desk.address("B"))))
    assert said(effects) == [("PROPOSAL", 0), ("PREPARE", 0)]
    assert not of(ev.Persist, effects), "their lease suffices"
    assert not of(ev.CheckBlock, effects), "what was built was executed"


def test_1_nobody_proposes_while_nothing_waits() -> None:
    desk = Desk(me="B")
    assert of(ev.WakeAt, desk.step(ev.WorkWaiting(False))) == []
    assert of(ev.BuildBlock, desk.wake(3_600_000)) == []


def test_1_blocks_are_a_period_apart() -> None:
    desk = Desk(me="C", block_period_ms=700)
    block = block_of(desk.address("B"))
    desk.step(ev.CertifiedBlock(None, block, desk.certify("ABD", block)))
    effects = desk.imported(block, waiting=True)  # C is the proposer of (2, 0)
    assert not of(ev.BuildBlock, effects)
    assert of(ev.WakeAt, effects) == [ev.WakeAt(700)]
    assert of(ev.BuildBlock, desk.wake(700)) == [ev.BuildBlock(2, 0)]


def test_1_a_quiet_chain_makes_one_block_per_empty_period_if_so_set() -> None:
    desk = Desk(me="B", empty_block_period_s=5)
    assert of(ev.BuildBlock, desk.wake(4_999)) == []
    assert of(ev.BuildBlock, desk.wake(1)) == [ev.BuildBlock(1, 0)]


def test_1_the_answer_to_an_old_question_is_ignored() -> None:
    desk = Desk(me="B")
    desk.step(ev.WorkWaiting(True))
    assert said(desk.step(ev.BlockBuilt(1, 1, block_of(desk.address("B"))))) == []
    assert said(desk.step(ev.BlockBuilt(2, 0, block_of(desk.address("B"), number=2)))) == []


# 2. Accepting.


def test_2_a_proposal_is_checked_once_then_prepared() -> None:
    desk = Desk()
    block = block_of(desk.address("B"))
    first = desk.hear(desk.propose("B", block))
    assert of(ev.CheckBlock, first) == [ev.CheckBlock(block)]
    assert said(first) == []
    assert desk.hear(desk.propose("B", block)) == [], "a repeat costs nothing"
    assert said(desk.check(block)) == [("PREPARE", 0)]


def test_2_of_two_proposals_in_a_round_the_first_is_accepted() -> None:
    desk = Desk()
    accept(desk)
    assert said(desk.hear(desk.propose("B", block_of(desk.address("B"), seed=1)))) == []


def test_2_an_invalid_block_is_not_prepared() -> None:
    desk = Desk()
    block = block_of(desk.address("B"))
    desk.hear(desk.propose("B", block))
    assert said(desk.check(block, ev.Verdict.INVALID)) == []


def test_2_a_block_ahead_of_our_clock_waits_and_is_checked_again() -> None:
    desk = Desk()
    block = block_of(desk.address("B"))
    desk.hear(desk.propose("B", block))
    assert said(desk.check(block, ev.Verdict.NOT_YET)) == []
    assert of(ev.CheckBlock, desk.wake(1_000)) == [ev.CheckBlock(block)]
    assert said(desk.check(block)) == [("PREPARE", 0)]


def test_2_a_justified_proposal_of_a_later_round_is_adopted_after_its_lease() -> None:
    desk = Desk()
    block = block_of(desk.address("D"))
    changes = tuple(desk.change(name, 2) for name in "BCD")
    desk.hear(desk.propose("D", block, 2, changes))
    effects = desk.check(block)
    assert said(effects) == [("PREPARE", 2)]
    assert isinstance(effects[0], ev.Persist)
    assert desk.record().lease == (1, 2)


def test_2_a_block_proposed_again_passed_the_test_of_the_clock_before() -> None:
    desk = Desk()
    block = block_of(desk.address("B"))
    changes = (desk.change("B", 1, (0, block)), desk.change("C", 1), desk.change("D", 1))
    desk.hear(desk.propose("C", block, 1, changes, desk.prepares("BCD", 0, block)))
    assert said(desk.check(block, ev.Verdict.NOT_YET)) == [("PREPARE", 1)]


# 3. Locking.


def test_3_a_quorum_of_prepares_is_on_disk_before_the_commit_is_sent() -> None:
    desk = Desk()
    block, _ = accept(desk)
    assert said(desk.hear(*desk.votes("B", PREPARE, 0, block.hash))) == []
    effects = desk.hear(*desk.votes("C", PREPARE, 0, block.hash))
    persist, send = [e for e in effects if isinstance(e, ev.Persist | ev.Send)]
    assert isinstance(persist, ev.Persist)
    record = desk.record()
    assert record.commit == sent([send])[0].vote
    assert record.prepared is not None
    assert (record.prepared.round, len(record.prepared.prepares)) == (0, 3)
    assert said(desk.hear(*desk.votes("D", PREPARE, 0, block.hash))) == [], "one COMMIT a round"


def test_3_prepares_for_another_block_or_round_do_not_count() -> None:
    desk = Desk()
    block, _ = accept(desk)
    other = block_of(desk.address("B"), seed=9)
    effects = desk.hear(
        *desk.votes("B", PREPARE, 0, other.hash), *desk.votes("CD", PREPARE, 1, block.hash)
    )
    assert said(effects) == []


# 4. Deciding.


def test_4_a_quorum_of_commits_is_imported_with_its_certificate_and_the_next_lease() -> None:
    desk = Desk()
    block, _ = accept(desk)
    effects = desk.hear(*desk.votes("BCD", COMMIT, 0, block.hash))
    (commit,) = of(ev.CommitBlock, effects)
    assert isinstance(commit, ev.CommitBlock)
    assert commit.block == block
    assert commit.certificate == desk.certify("BCD", block)
    assert desk.record().lease == (2, 0)


def test_4_commits_of_different_rounds_do_not_add_up() -> None:
    desk = Desk()
    block, _ = accept(desk)
    messages = desk.votes("BC", COMMIT, 0, block.hash) + desk.votes("D", COMMIT, 1, block.hash)
    assert of(ev.CommitBlock, desk.hear(*messages)) == []


def test_4_a_decided_block_that_is_not_here_is_fetched() -> None:
    desk = Desk()
    block = block_of(desk.address("B"))
    effects = desk.hear(*desk.votes("BCD", COMMIT, 0, block.hash))
    assert of(ev.FetchBlock, effects) == [ev.FetchBlock(1, block.hash, b"peer")]
    assert of(ev.FetchBlock, desk.wake(1_000)), "asked again each second"
    certified = ev.CertifiedBlock(b"peer", block, desk.certify("BCD", block))
    assert of(ev.CommitBlock, desk.step(certified))


# 5. Timing out.


def test_5_round_0_is_timed_once_work_waits_or_a_proposal_was_accepted() -> None:
    desk = Desk()
    assert of(ev.WakeAt, desk.wake(60_000)) == []
    assert of(ev.WakeAt, desk.step(ev.WorkWaiting(True))) == [ev.WakeAt(61_000)]
    assert said(desk.wake(TIMEOUT_MS)) == [("ROUND_CHANGE", 1)]
    other = Desk()
    _, effects = accept(other)
    assert ev.WakeAt(TIMEOUT_MS) in effects


def test_5_the_timer_stops_when_the_work_is_gone() -> None:
    desk = Desk()
    desk.step(ev.WorkWaiting(True))
    desk.step(ev.WorkWaiting(False))
    assert said(desk.wake(TIMEOUT_MS)) == []


def test_5_the_round_change_carries_the_lock_and_its_lease_is_on_disk_first() -> None:
    desk = Desk()
    block, _ = accept(desk)
    desk.hear(*desk.votes("BC", PREPARE, 0, block.hash))
    effects = desk.wake(TIMEOUT_MS)
    assert isinstance(effects[0], ev.Persist)
    assert desk.record().lease == (1, 1)
    (change,) = sent(effects)
    assert (change.vote.prepared_round, change.vote.digest) == (0, block.hash)
    assert len(change.prepares) == 3
    assert change.block is not None


def test_5_a_later_round_is_timed_only_once_a_quorum_was_heard_there() -> None:
    desk = Desk()
    desk.step(ev.WorkWaiting(True))
    desk.wake(TIMEOUT_MS)
    for _ in range(100):
        assert said(desk.wake(1_000)) == [("ROUND_CHANGE", 1)], "it repeats and does not climb"
    assert desk.engine.explain(desk.now_ms).next_try_ms is None
    desk.hear(desk.change("B", 1))
    assert desk.engine.explain(desk.now_ms).next_try_ms is None
    desk.hear(desk.change("C", 1))
    assert desk.engine.explain(desk.now_ms).next_try_ms == 2 * TIMEOUT_MS
    assert said(desk.wake(2 * TIMEOUT_MS)) == [("ROUND_CHANGE", 2)]


# 6. Skipping.


def test_6_f_plus_1_pull_a_node_to_the_smallest_of_their_rounds() -> None:
    desk = Desk()
    assert said(desk.hear(desk.change("B", 7))) == []
    assert said(desk.hear(desk.change("C", 3))) == [("ROUND_CHANGE", 3)]


def test_6_one_member_cannot_pull() -> None:
    desk = Desk(n=7)
    effects = desk.hear(*[desk.change("B", round_) for round_ in (1, 2, 3)])
    assert said(effects + desk.hear(desk.change("C", 2))) == []
    assert said(desk.hear(desk.change("D", 5))) == [("ROUND_CHANGE", 2)]


def test_6_a_signature_suffices_where_the_lock_does_not_travel_along() -> None:
    desk = Desk()
    block = block_of(desk.address("B"))
    bare = desk.vote("B", Kind.ROUND_CHANGE, 2, block.hash, 0)
    assert reasons(desk.hear(Message(bare)))
    assert said(desk.hear(desk.change("C", 2))) == [("ROUND_CHANGE", 2)]


# 7. Proposing in a later round.


def reach_round_1(me: str = "C") -> Desk:
    """C is the proposer of (1, 1)."""
    desk = Desk(me=me)
    desk.step(ev.WorkWaiting(True))
    desk.wake(TIMEOUT_MS)
    return desk


def test_7_a_quorum_of_round_changes_lets_the_proposer_build_also_an_empty_block() -> None:
    desk = reach_round_1()
    desk.step(ev.WorkWaiting(False))
    assert of(ev.BuildBlock, desk.hear(desk.change("A", 1))) == []
    assert of(ev.BuildBlock, desk.hear(desk.change("B", 1))) == [ev.BuildBlock(1, 1)]
    effects = desk.step(ev.BlockBuilt(1, 1, block_of(desk.address("C"))))
    proposal = sent(effects)[0]
    assert [vote.round for vote in proposal.round_changes] == [1, 1, 1]
    assert proposal.prepares == ()


def test_7_the_block_of_the_highest_prepared_round_is_proposed_again() -> None:
    desk = Desk(me="A")  # the proposer of (1, 3)
    low, high = block_of(desk.address("B")), block_of(desk.address("C"))
    effects = desk.hear(
        desk.change("B", 3, (0, low)), desk.change("C", 3, (1, high)), desk.change("D", 3)
    )
    proposal = next(one for one in sent(effects) if one.vote.kind is Kind.PROPOSAL)
    assert proposal.vote.digest == high.hash
    assert {vote.round for vote in proposal.prepares} == {1}
    assert of(ev.BuildBlock, effects) == []
    assert of(ev.CheckBlock, effects) == [ev.CheckBlock(high)]


def test_7_a_lock_without_its_prepares_does_not_count() -> None:
    desk = reach_round_1()
    block = block_of(desk.address("B"))
    effects = desk.hear(desk.change("A", 1, (0, block), by="AB"), desk.change("B", 1))
    assert said(effects) == []
    assert of(ev.BuildBlock, effects) == []
    assert reasons(effects) == ["prepared certificate: 2 signatures, a quorum is 3"]
    complete = desk.hear(desk.change("A", 1, (0, block)))
    assert said(complete) == [("PROPOSAL", 1)], "the whole message makes up for it"


def test_7_a_lock_that_arrives_while_a_block_is_built_is_not_overlooked() -> None:
    desk = reach_round_1()
    desk.hear(desk.change("A", 1), desk.change("B", 1))
    locked = block_of(desk.address("B"))
    effects = desk.hear(desk.change("D", 1, (0, locked), by="ABD"))
    assert sent(effects)[0].vote.digest == locked.hash
    assert said(desk.step(ev.BlockBuilt(1, 1, block_of(desk.address("C"))))) == []


# A validator alone.


def test_alone_it_decides_in_one_sync_and_sends_nothing() -> None:
    desk = Desk(n=1)
    assert of(ev.BuildBlock, desk.step(ev.WorkWaiting(True))) == [ev.BuildBlock(1, 0)]
    block = block_of(desk.address("A"))
    (commit,) = desk.step(ev.BlockBuilt(1, 0, block))
    assert isinstance(commit, ev.CommitBlock)
    assert commit.certificate == desk.certify("A", block)
    assert desk.record().lease == (2, 0)


@pytest.mark.parametrize("n", [1, 4])
def test_a_key_outside_the_set_follows_and_never_signs(n: int) -> None:
    outside = Desk(n=n + 1, me=" ABCDE"[n + 1], start=False)
    members = outside.addresses.pop(), outside.addresses
    outside.addresses = members[1]
    outside.start()
    block = block_of(outside.address(outside.proposer(0)))
    outside.step(ev.WorkWaiting(True))
    effects = outside.hear(outside.propose(outside.proposer(0), block))
    effects += outside.check(block)
    effects += outside.hear(*outside.votes("ABCD"[:n], COMMIT, 0, block.hash))
    assert of(ev.CommitBlock, effects)
    assert said(effects + outside.wake(100_000)) == []
    assert outside.engine.explain(0).trouble == "it is no validator and only follows"
