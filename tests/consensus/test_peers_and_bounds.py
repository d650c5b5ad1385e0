"""What one peer can make the engine do, keep and believe; and that nothing is lost for good."""

from ledger.block import encode_block
from ledger.consensus import events as ev
from ledger.consensus.height import TICK_MS
from ledger.consensus.messages import Kind, Message, decode_message
from ledger.consensus.qbft import BUFFER_BYTES_MAX, CATCH_UP_MS, HEIGHTS_AHEAD_MAX
from ledger.consensus.votes import EVIDENCE_MAX, ROUNDS_KEPT, Contradictions, Evidence, Votes
from tests.consensus.desk import Desk, block_of, of, reasons, said, sent

PREPARE, COMMIT, CHANGE = Kind.PREPARE, Kind.COMMIT, Kind.ROUND_CHANGE


def status_of(desk: Desk, **changes: object):
    return desk.engine.status()._replace(**changes)  # type: ignore[arg-type]


# What is kept.


def test_an_author_keeps_one_message_a_slot_and_its_newest_rounds() -> None:
    desk = Desk()
    votes = Votes(Contradictions())
    for round_ in (5, 1, 9, 3, 7, 2):
        votes.add(desk.address("B"), desk.change("B", round_))
    assert votes.rounds_of(CHANGE) == [9, 7, 5, 3]
    assert len(votes.rounds_of(CHANGE)) == ROUNDS_KEPT
    assert not votes.add(desk.address("B"), desk.change("B", 2)), "older than what is kept"
    assert not votes.add(desk.address("B"), desk.change("B", 9)), "known"
    assert votes.add(desk.address("C"), desk.change("C", 2)), "another author has its own slots"


def test_ever_new_rounds_of_one_author_leave_nothing_behind() -> None:
    desk = Desk()
    block = block_of(desk.address("B"))
    desk.hear(*desk.votes("B", COMMIT, 0, block.hash))
    for round_ in range(300):
        desk.hear(*desk.votes("C", PREPARE, round_, block.hash))
    heard = {(kind, round_) for kind, round_, _ in status_of(desk).heard}
    newest = {(PREPARE, round_) for round_ in range(300 - ROUNDS_KEPT, 300)}
    assert heard == {(COMMIT, 0), *newest}, "a status has room for what others said"


def test_two_words_in_one_slot_are_evidence_and_the_first_is_kept() -> None:
    desk = Desk()
    one, two = block_of(desk.address("B")), block_of(desk.address("B"), seed=1)
    desk.hear(desk.propose("B", one), desk.propose("B", two), desk.propose("B", two))
    for name in "CD":
        desk.hear(*desk.votes(name, PREPARE, 0, one.hash), *desk.votes(name, PREPARE, 0, two.hash))
    assert [(e.author, e.first.kind.name) for e in desk.engine.evidence] == [
        (desk.address("B"), "PROPOSAL"),
        (desk.address("C"), "PREPARE"),
        (desk.address("D"), "PREPARE"),
    ]
    evidence = desk.engine.evidence[0]
    assert (evidence.first.digest, evidence.second.digest) == (one.hash, two.hash)


def test_evidence_is_told_once() -> None:
    desk = Desk()
    one, two = block_of(desk.address("B")), block_of(desk.address("B"), seed=1)
    first, second = desk.votes("C", PREPARE, 0, one.hash) + desk.votes("C", PREPARE, 0, two.hash)
    (accuse,) = of(ev.Accuse, desk.hear(first, second))
    assert isinstance(accuse, ev.Accuse)
    assert accuse.evidence == Evidence(desk.address("C"), first.vote, second.vote)
    assert of(ev.Accuse, desk.hear(second, second)) == []
    assert len(desk.engine.evidence) == 1


def test_a_round_change_that_contradicts_one_in_a_justification_is_evidence() -> None:
    """To the proposer C says that nothing is prepared, to us that something is."""
    desk = Desk()
    block = block_of(desk.address("B"))
    desk.hear(desk.change("D", 1, (0, block)))
    others = tuple(desk.change(name, 1) for name in "BCD")
    effects = desk.hear(desk.propose("C", block_of(desk.address("C")), 1, others))
    assert [one.evidence.author for one in of(ev.Accuse, effects)] == [desk.address("D")]  # type: ignore[attr-defined]


def test_evidence_is_bounded_and_newest() -> None:
    desk = Desk()
    block = block_of(desk.address("B"))
    for round_ in range(1, EVIDENCE_MAX + 10):
        desk.hear(*desk.votes("C", PREPARE, round_, block.hash))
        desk.hear(*desk.votes("C", PREPARE, round_, bytes(32)))
    assert len(desk.engine.evidence) == EVIDENCE_MAX
    assert desk.engine.evidence[-1].first.round == EVIDENCE_MAX + 9


def test_far_heights_and_finished_ones_are_ignored_at_no_cost() -> None:
    desk = Desk()
    far = desk.vote("B", PREPARE, 0, bytes(32), height=2 + HEIGHTS_AHEAD_MAX)
    past = desk.vote("B", PREPARE, 0, bytes(32), height=0)
    assert desk.hear(Message(far), Message(past)) == []


def buffered(desk: Desk) -> dict[int, str]:
    """Who is kept for each later height."""
    return {
        height: "".join(name for name in "ABCD" if votes.held_bytes[desk.address(name)])
        for height, votes in desk.engine._later.items()
    }


def test_of_the_furthest_height_goes_first_who_fills_most_of_it() -> None:
    desk = Desk()
    block = bytes(BUFFER_BYTES_MAX * 2 // 5)
    for height in (3, 2):
        vote = desk.vote("B", Kind.PROPOSAL, 0, bytes(32), height=height)
        desk.hear(Message(vote, block))
        desk.hear(Message(desk.vote("D", PREPARE, 0, bytes(32), height=height)))
    assert buffered(desk) == {3: "BD", 2: "BD"}
    vote = desk.vote("C", Kind.PROPOSAL, 0, bytes(32), height=2)
    desk.hear(Message(vote, block))
    assert buffered(desk) == {3: "D", 2: "BCD"}, "D's vote is not pushed out by B's block"


def test_what_is_given_up_is_not_counted_any_more() -> None:
    """A member that climbed rounds once made a count grow that never fell, until all was lost."""
    desk = Desk()
    block = bytes(100_000)
    desk.hear(Message(desk.vote("D", PREPARE, 0, bytes(32), height=2)))
    for round_ in range(1, 200):
        vote = desk.vote("B", CHANGE, round_, bytes(32), 0, height=2)
        desk.hear(Message(vote, block))
    held = desk.engine._later[2].held_bytes
    assert ROUNDS_KEPT * 100_000 < held[desk.address("B")] < (ROUNDS_KEPT + 1) * 100_000
    assert buffered(desk) == {2: "BD"}
    assert len(list(desk.engine._later[2].messages())) == ROUNDS_KEPT + 1


def test_what_travels_with_an_early_message_is_passed_on_only_once_it_is_judged() -> None:
    """Four megabytes of anything, well signed, were once flooded through the whole network."""
    desk = Desk()
    first = block_of(desk.address("B"))
    second = block_of(desk.address("C"), number=2, parent=first.hash)
    good = Message(desk.vote("C", Kind.PROPOSAL, 0, second.hash, height=2), encode_block(second))
    noise = bytes(1_000)
    hostile = (
        Message(desk.vote("D", Kind.PROPOSAL, 1, bytes(32), height=2), noise),
        Message(desk.vote("D", CHANGE, 1, height=2), noise),
        Message(desk.vote("B", CHANGE, 1, bytes(32), 0, height=2), noise),
        Message(desk.vote("B", CHANGE, 2, bytes(32), 0, height=2)),
    )
    assert of(ev.Relay, desk.hear(good, *hostile)) == []
    change = Message(desk.vote("C", CHANGE, 1, height=2))
    assert of(ev.Relay, desk.hear(change)) == [ev.Relay(change.encode(), b"peer")]
    desk.step(ev.CertifiedBlock(None, first, desk.certify("BCD", first)))
    effects = desk.imported(first)
    assert of(ev.Relay, effects) == [ev.Relay(good.encode(), None)]
    assert len(reasons(effects)) == len(hostile)


def test_votes_that_came_early_count_at_their_height() -> None:
    desk = Desk()
    first = block_of(desk.address("B"))
    second = block_of(desk.address("C"), number=2, parent=first.hash)
    vote = desk.vote("C", Kind.PROPOSAL, 0, second.hash, height=2)
    effects = desk.hear(Message(vote, encode_block(second)))
    assert of(ev.CheckBlock, effects) == []
    commits = [Message(desk.vote(n, COMMIT, 0, second.hash, height=2)) for n in "BCD"]
    desk.hear(*commits)
    desk.step(ev.CertifiedBlock(None, first, desk.certify("BCD", first)))
    (commit,) = of(ev.CommitBlock, desk.imported(first))
    assert isinstance(commit, ev.CommitBlock)
    assert commit.block == second


def test_an_early_proposal_that_does_not_follow_is_dropped() -> None:
    desk = Desk()
    first = block_of(desk.address("B"))
    wrong = block_of(desk.address("C"), number=2, parent=bytes(32))
    vote = desk.vote("C", Kind.PROPOSAL, 0, wrong.hash, height=2)
    desk.hear(Message(vote, encode_block(wrong)))
    desk.step(ev.CertifiedBlock(None, first, desk.certify("BCD", first)))
    assert "does not follow" in reasons(desk.imported(first))[0]


# Who is ahead.


def test_nothing_is_proposed_while_f_plus_1_are_ahead_but_not_for_ever() -> None:
    desk = Desk(me="B")
    for name in "CD":
        desk.hear(Message(desk.vote(name, PREPARE, 0, bytes(32), height=2)))
    effects = desk.step(ev.WorkWaiting(True))
    assert of(ev.BuildBlock, effects) == []
    assert desk.engine.status().open, "so that peers tell what they have"
    desk.step(ev.WorkWaiting(False))
    desk.now_ms += CATCH_UP_MS
    assert of(ev.BuildBlock, desk.step(ev.WorkWaiting(True))) == [ev.BuildBlock(1, 0)]


def test_one_member_cannot_keep_a_proposer_from_proposing() -> None:
    desk = Desk(me="B")
    desk.hear(Message(desk.vote("C", PREPARE, 0, bytes(32), height=2)))
    liar = desk.address("C")
    desk.step(ev.PeerStatus(liar, status_of(desk, height=10**9), liar))
    assert of(ev.BuildBlock, desk.step(ev.WorkWaiting(True))) == [ev.BuildBlock(1, 0)]


def test_a_lone_quorum_starts_without_hearing_anybody() -> None:
    assert of(ev.BuildBlock, Desk(n=1).step(ev.WorkWaiting(True)))


# What peers compare.


def test_a_peer_gets_the_votes_that_it_lacks_and_no_others() -> None:
    desk = Desk()
    block = block_of(desk.address("B"))
    desk.hear(desk.propose("B", block))
    desk.check(block)
    desk.hear(*desk.votes("C", PREPARE, 0, block.hash))
    empty = status_of(desk, heard=())
    effects = desk.step(ev.PeerStatus(b"peer", empty), after_ms=TICK_MS // 2)
    assert said(effects) == [("PROPOSAL", 0), ("PREPARE", 0), ("PREPARE", 0)]
    assert all(isinstance(e, ev.Send) and e.to == b"peer" for e in effects)
    assert desk.step(ev.PeerStatus(b"peer", desk.engine.status())) == []
    other = Desk(me="D")
    other.hear(*sent(effects))
    effects = desk.step(ev.PeerStatus(b"peer", other.engine.status()))
    assert effects == [], "a status says what was heard"


def test_what_came_less_than_a_tick_ago_is_not_sent_again() -> None:
    """It is on its way to the peer too: 21 nodes once answered each status with whole proposals."""
    desk = Desk(round_timeout_ms=10 * TICK_MS, round_timeout_ms_max=10 * TICK_MS)
    block = block_of(desk.address("B"))
    desk.hear(desk.propose("B", block))
    desk.check(block)
    empty = ev.PeerStatus(b"peer", status_of(desk, heard=()))
    assert said(desk.step(empty, after_ms=TICK_MS - 1)) == []
    desk.hear(*desk.votes("C", PREPARE, 0, block.hash))
    assert said(desk.step(empty, after_ms=1)) == [("PROPOSAL", 0), ("PREPARE", 0)]
    assert len(said(desk.step(empty, after_ms=TICK_MS))) == 3


def test_in_a_short_round_what_was_lost_is_said_again_before_it_ends() -> None:
    desk = Desk(round_timeout_ms=100, round_timeout_ms_max=100)
    desk.hear(desk.propose("B", block_of(desk.address("B"))))
    empty = ev.PeerStatus(b"peer", status_of(desk, heard=()))
    assert said(desk.step(empty, after_ms=49)) == []
    assert said(desk.step(empty, after_ms=1)) == [("PROPOSAL", 0)]


def test_a_peer_in_a_later_round_gets_commits_of_any_and_what_they_are_about() -> None:
    desk = Desk()
    block = block_of(desk.address("B"))
    desk.hear(desk.propose("B", block))
    desk.check(block)
    desk.hear(*desk.votes("C", PREPARE, 0, block.hash), *desk.votes("D", COMMIT, 0, block.hash))
    ahead = ev.PeerStatus(b"peer", status_of(desk, round=3, heard=()))
    effects = desk.step(ahead, after_ms=TICK_MS // 2)
    assert said(effects) == [("PROPOSAL", 0), ("COMMIT", 0)]


def test_a_peer_that_is_ahead_is_asked_for_the_block() -> None:
    desk = Desk()
    effects = desk.step(ev.PeerStatus(b"peer", status_of(desk, height=9)))
    assert of(ev.FetchBlock, effects) == [ev.FetchBlock(1, None, b"peer")]


def test_after_a_fetched_block_it_asks_a_little_longer_whether_that_was_all() -> None:
    """A follower at rest has no open round in which anybody would tell it of the next one."""
    desk = Desk()
    block = block_of(desk.address("B"))
    desk.step(ev.CertifiedBlock(None, block, desk.certify("BCD", block)))
    desk.imported(block)
    assert desk.engine.status().open
    for _ in range(3):
        desk.wake(1_000)
    assert not desk.engine.status().open


def test_what_is_new_and_well_signed_is_relayed_once() -> None:
    desk = Desk()
    (vote,) = desk.votes("C", PREPARE, 0, bytes(32))
    assert desk.hear(vote) == [ev.Relay(vote.encode(), b"peer")]
    assert desk.hear(vote) == []


def test_noise_is_rejected_with_a_reason() -> None:
    desk = Desk()
    effects = desk.step(ev.Received(b"peer", b"noise"))
    assert [type(effect) for effect in effects] == [ev.Reject]
    flood = [desk.step(ev.Received(b"p", bytes([i]) * 200)) for i in range(200)]
    assert all([type(effect) for effect in effects] == [ev.Reject] for effects in flood)


# Certified blocks.


def test_a_certified_block_is_imported_in_any_state() -> None:
    for prepare in (lambda desk: None, lambda desk: desk.wake(1_000), begin_round_2):
        desk = Desk()
        desk.step(ev.WorkWaiting(True))
        prepare(desk)
        block = block_of(desk.address("C"), seed=3)
        certified = ev.CertifiedBlock(None, block, desk.certify("BCD", block, 5))
        (commit,) = of(ev.CommitBlock, desk.step(certified))
        assert isinstance(commit, ev.CommitBlock)
        assert commit.block == block
        assert of(ev.CommitBlock, desk.step(certified)) == [], "once"


def begin_round_2(desk: Desk) -> None:
    block = block_of(desk.address("D"), seed=4)
    desk.hear(desk.propose("D", block, 2, tuple(desk.change(name, 2) for name in "BCD")))
    desk.check(block)


def test_a_certificate_of_another_block_or_place_is_refused() -> None:
    desk = Desk()
    one, two = block_of(desk.address("B")), block_of(desk.address("B"), seed=1)
    strange = block_of(desk.address("B"), parent=bytes(32))
    for block, certificate, reason in (
        (one, desk.certify("BCD", two), "another block"),
        (strange, desk.certify("BCD", strange), "does not follow our head"),
    ):
        for verified in (False, True):
            event = ev.CertifiedBlock(b"p", block, certificate, verified)
            assert reason in reasons(desk.step(event))[0]


def test_a_block_that_the_sync_has_verified_is_not_verified_again() -> None:
    desk = Desk()
    block = block_of(desk.address("B"))
    unsigned = desk.certify("", block)
    assert of(ev.CommitBlock, desk.step(ev.CertifiedBlock(None, block, unsigned, verified=True)))


def test_a_certified_block_that_does_not_execute_stops_this_node_alone() -> None:
    desk = Desk()
    block = block_of(desk.address("B"))
    desk.step(ev.CertifiedBlock(None, block, desk.certify("BCD", block)))
    assert desk.check(block, ev.Verdict.INVALID) == []
    assert desk.engine.explain(0).trouble == "it finds the certified block 1 invalid"
    assert desk.wake(60_000) == []


# Explaining.


def test_a_stall_explains_itself() -> None:
    desk = Desk()
    desk.step(ev.WorkWaiting(True))
    desk.wake(1_000)
    desk.hear(desk.change("C", 1))
    explanation = desk.engine.explain(desk.now_ms)
    assert (explanation.height, explanation.round, explanation.quorum) == (1, 1, 3)
    assert explanation.proposer == desk.address("C")
    assert explanation.heard == (desk.address("A"), desk.address("C"))
    assert explanation.missing == (desk.address("B"), desk.address("D"))
    assert explanation.next_try_ms is None
    assert explanation.trouble is None
    desk.hear(desk.change("D", 1))
    assert desk.engine.explain(desk.now_ms + 500).next_try_ms == 1_500


def test_before_its_start_and_after_its_stop_it_does_nothing() -> None:
    desk = Desk(start=False)
    assert desk.step(ev.WorkWaiting(True)) == []
    assert desk.engine.failure == "it has not started"
    desk.start()
    desk.step(ev.Stopping())
    message = decode_message(desk.votes("B", PREPARE, 0, bytes(32))[0].encode())
    assert desk.hear(message) == []
