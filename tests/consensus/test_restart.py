"""What the disk must hold before the wire sees it, and what a start makes of it."""

from dataclasses import replace

import pytest

from ledger.block import Certificate, encode_block
from ledger.consensus import events as ev
from ledger.consensus.messages import Kind, Message
from ledger.consensus.qbft import CATCH_UP_MS, LISTEN_MS
from ledger.consensus.signer import (
    DISTRUSTED,
    Prepared,
    Signer,
    SignerRecord,
    decode_record,
    initial_record,
)
from ledger.errors import EncodingError
from tests.consensus.desk import GENESIS_HASH, NETWORK, TIMEOUT_MS, Desk, block_of, of, said, sent

PREPARE, COMMIT = Kind.PREPARE, Kind.COMMIT


def lock(desk: Desk):
    """A has committed block b of B in (1, 0)."""
    block = block_of(desk.address("B"))
    desk.hear(desk.propose("B", block))
    desk.check(block)
    return block, desk.hear(*desk.votes("BC", PREPARE, 0, block.hash))


# The record.


def test_a_record_survives_its_encoding() -> None:
    desk = Desk()
    block = block_of(desk.address("B"))
    vote = desk.vote("A", PREPARE, 3, block.hash)
    prepared = Prepared(2, b"block", desk.prepares("ABC", 2, block))
    for record in (
        SignerRecord((7, 3), (vote,), prepared, desk.vote("A", COMMIT, 2, block.hash)),
        SignerRecord((1, 0), ()),
        DISTRUSTED,
    ):
        assert decode_record(record.encode()) == record


def test_a_torn_or_flipped_record_is_never_silent() -> None:
    data = initial_record()
    assert decode_record(data) == SignerRecord((1, 0), note=())
    for i in range(len(data)):
        with pytest.raises(EncodingError, match="damaged"):
            decode_record(data[:i])
        for bit in range(8):
            flipped = bytearray(data)
            flipped[i] ^= 1 << bit
            with pytest.raises(EncodingError):
                decode_record(bytes(flipped))
    desk = Desk(start=False)
    with pytest.raises(EncodingError, match="the signer record is damaged"):
        desk.start(record=data[:-1])


# A first start.


def test_a_new_key_signs_in_its_first_round_and_its_note_is_erased_before() -> None:
    desk = Desk(me="B", start=False)
    effects = desk.start()
    assert len(of(ev.Persist, effects)) == 1
    assert sent(effects) == []
    assert desk.record() == SignerRecord((1, 0))
    desk.step(ev.WorkWaiting(True))
    effects = desk.step(ev.BlockBuilt(1, 0, block_of(desk.address("B"))))
    assert said(effects) == [("PROPOSAL", 0), ("PREPARE", 0)]


# An old copy of the whole disk says of itself that it is new: the others know better.


def crash_after_a_commit(me: str = "A") -> Desk:
    desk = Desk(me=me)
    desk.hear(desk.propose("B", block_of(desk.address("B"))))
    assert said(desk.start(alone=True)) == []
    return desk


def test_after_a_start_it_signs_nothing_until_a_quorum_of_others_say_how_far_they_are() -> None:
    desk = crash_after_a_commit()
    assert desk.engine.status().open, "so that they tell"
    for name in "BC":
        assert said(desk.hear_of(name, 0)) == []
    assert "asks the others" in (desk.engine.explain(0).trouble or "")
    assert desk.record().lease == (1, 0), "nor is a round leased"
    assert said(desk.hear_of("D", 0)) == [("ROUND_CHANGE", 1)]


def test_if_they_do_not_answer_it_waits_for_one_round_and_no_longer() -> None:
    desk = crash_after_a_commit()
    assert said(desk.wake(LISTEN_MS - 1)) == []
    assert said(desk.wake(1)) == [("ROUND_CHANGE", 1)]
    slow = Desk(start=False, round_timeout_ms=7_000)
    slow.start(record=SignerRecord((1, 0)).encode(), alone=True)
    assert said(slow.wake(6_999)) == []
    assert said(slow.wake(1)) == [("ROUND_CHANGE", 1)]


def test_who_says_twice_how_far_it_is_counts_once_and_strangers_never() -> None:
    desk = crash_after_a_commit()
    status = desk.engine.status()
    for name in "ABBCCC":
        assert said(desk.hear_of(name, 0)) == []
    desk.step(ev.PeerStatus(b"x" * 20, status, b"x" * 20))
    assert said(desk.step(ev.PeerStatus(desk.address("D"), status))) == [], "it proved nothing"


def test_while_others_are_ahead_nothing_is_signed_however_long_their_blocks_take() -> None:
    desk = crash_after_a_commit()
    for _ in range(20):
        for name, head in zip("BCD", (3, 3, 0), strict=True):
            assert said(desk.hear_of(name, head)) == []
        assert said(desk.wake(1_000)) == []
    block = block_of(desk.address("B"))
    desk.step(ev.CertifiedBlock(None, block, desk.certify("BCD", block)))
    assert said(desk.imported(block)) == []
    assert desk.record() == SignerRecord((2, 0), note=()), "and so its disk says"
    desk.step(ev.WorkWaiting(True))
    assert said(desk.wake(CATCH_UP_MS - 2_000)) == [], "it is not asked to give up that round too"
    second = block_of(desk.address("C"), number=2, parent=block.hash)
    third = block_of(desk.address("D"), number=3, parent=second.hash)
    for one in (second, third):
        seals = [desk.vote(n, COMMIT, 0, one.hash, height=one.number).signature for n in "BCD"]
        certificate = Certificate(one.number, 0, one.hash, tuple(seals))
        desk.step(ev.CertifiedBlock(None, one, certificate))
        effects = desk.imported(one)
    assert of(ev.Persist, effects) == [ev.Persist(SignerRecord((4, 0)).encode())], "level: it signs"


def test_one_that_says_to_be_ahead_delays_a_start_by_one_round_at_most() -> None:
    desk = crash_after_a_commit()
    for name, head in zip("BCD", (0, 0, 10**9), strict=True):
        assert said(desk.hear_of(name, head)) == []
    assert said(desk.wake(LISTEN_MS)) == [("ROUND_CHANGE", 1)]


def test_a_round_that_others_enter_meanwhile_is_followed_and_leased_after() -> None:
    desk = crash_after_a_commit()
    desk.hear(*(desk.change(name, 3) for name in "BCD"))
    assert desk.engine.status().round == 3
    assert desk.record().lease == (1, 0)
    effects = [one for name in "BCD" for one in desk.hear_of(name, 0)]
    assert said(effects)[-1] == ("ROUND_CHANGE", 3)
    assert desk.record().lease == (1, 3)


# After a crash.


def test_in_round_0_it_leases_round_1_and_enters_it() -> None:
    desk = Desk()
    desk.hear(desk.propose("B", block_of(desk.address("B"))))
    effects = desk.start()
    assert said(effects) == [("ROUND_CHANGE", 1)]
    first = next(one for one in effects if isinstance(one, ev.Persist | ev.Send))
    assert isinstance(first, ev.Persist)
    assert desk.record().lease == (1, 1)


def test_in_a_later_round_it_sends_the_same_round_change_and_waits_without_voting() -> None:
    desk = Desk(me="A")
    lock(desk)
    (before,) = sent(desk.wake(TIMEOUT_MS))
    effects = desk.start()
    commit, again = sent(effects)
    assert commit.vote.kind is COMMIT, "the stored COMMIT is sent again"
    assert again == before, "rebuilt from disk, block and PREPAREs included"
    block = block_of(desk.address("C"), seed=3)
    changes = tuple(desk.change(name, 1) for name in "BCD")
    desk.hear(desk.propose("C", block, 1, changes))
    assert said(desk.check(block)) == [], "nothing new is signed in the leased round"
    assert said(desk.wake(2 * TIMEOUT_MS)) == [("ROUND_CHANGE", 2)]
    block = block_of(desk.address("D"), seed=4)
    desk.hear(desk.propose("D", block, 2, tuple(desk.change(name, 2) for name in "BCD")))
    assert said(desk.check(block)) == [("PREPARE", 2)]


def test_with_a_commit_of_its_round_it_sends_that_and_stays_with_the_timer_running() -> None:
    desk = Desk()
    _, effects = lock(desk)
    (commit,) = sent(effects)
    effects = desk.start()
    assert sent(effects) == [commit]
    assert ev.WakeAt(desk.now_ms + TIMEOUT_MS) in effects
    (change,) = sent(desk.wake(TIMEOUT_MS))
    assert change.vote.prepared_round == 0, "the lock has survived"


def test_its_stored_commit_still_decides() -> None:
    desk = Desk()
    block, _ = lock(desk)
    desk.start()
    (commit,) = of(ev.CommitBlock, desk.hear(*desk.votes("BC", COMMIT, 0, block.hash)))
    assert isinstance(commit, ev.CommitBlock)
    assert commit.certificate == desk.certify("ABC", block)


def test_an_import_lets_it_vote_again() -> None:
    desk = Desk()
    desk.start()
    block = block_of(desk.address("B"))
    desk.step(ev.CertifiedBlock(None, block, desk.certify("BCD", block)))
    desk.imported(block)
    assert desk.engine.explain(0).trouble is None
    second = block_of(desk.address("C"), number=2, parent=block.hash)
    vote = desk.vote("C", Kind.PROPOSAL, 0, second.hash, height=2)
    desk.hear(Message(vote, encode_block(second)))
    assert said(desk.check(second)) == [("PREPARE", 0)]


def test_alone_after_a_crash_it_makes_one_empty_block_and_no_more() -> None:
    desk = Desk(n=1)
    effects = desk.start()
    assert of(ev.BuildBlock, effects) == [ev.BuildBlock(1, 1)]
    block = block_of(desk.address("A"))
    (commit,) = of(ev.CommitBlock, desk.step(ev.BlockBuilt(1, 1, block)))
    assert isinstance(commit, ev.CommitBlock)
    assert commit.certificate.round == 1
    assert desk.imported(block) == []
    assert desk.wake(3_600_000) == []


# A clean stop.


def test_a_clean_stop_notes_what_was_signed_and_the_next_start_erases_it_first() -> None:
    desk = Desk()
    block = block_of(desk.address("B"))
    desk.hear(desk.propose("B", block))
    (prepare,) = sent(desk.check(block))
    (persist,) = desk.step(ev.Stopping())
    assert isinstance(persist, ev.Persist)
    assert desk.record().note == (prepare.vote,)
    assert desk.wake(60_000) == [], "it is stopped"
    effects = desk.start()
    first = next(one for one in effects if isinstance(one, ev.Persist | ev.Send))
    assert isinstance(first, ev.Persist)
    assert decode_record(first.record).note is None
    assert sent(effects) == [prepare], "no round is lost"
    rival = block_of(desk.address("B"), seed=8)
    desk.hear(desk.propose("B", rival))
    assert said(desk.check(rival)) == [], "and no second block prepared"
    assert said(desk.hear(*desk.votes("BCD", PREPARE, 0, rival.hash))) == [], "nor committed"


def test_after_a_clean_stop_the_proposer_does_not_propose_again_in_its_round() -> None:
    desk = Desk(me="B")
    desk.step(ev.WorkWaiting(True))
    desk.step(ev.BlockBuilt(1, 0, block_of(desk.address("B"))))
    desk.step(ev.Stopping())
    desk.start()
    assert of(ev.BuildBlock, desk.step(ev.WorkWaiting(True))) == []
    assert said(desk.wake(TIMEOUT_MS)) == [("ROUND_CHANGE", 1)]


def test_nothing_signed_before_a_clean_stop_leaves_the_round_whole() -> None:
    desk = Desk(me="B")
    desk.step(ev.Stopping())
    desk.start()
    assert of(ev.BuildBlock, desk.step(ev.WorkWaiting(True))) == [ev.BuildBlock(1, 0)]


def test_a_clean_stop_in_a_round_lost_to_a_crash_leaves_no_note() -> None:
    desk = Desk()
    lock(desk)
    desk.start()
    assert desk.step(ev.Stopping()) == []
    assert desk.record().note is None


# A disk that fails.


def test_after_a_failed_write_nothing_is_signed_until_it_starts_again() -> None:
    desk = Desk()
    desk.step(ev.PersistFailed("disk full"))
    assert desk.hear(desk.propose("B", block_of(desk.address("B")))) == []
    assert desk.engine.explain(0).trouble == "its disk failed: disk full"
    assert said(desk.start()) == [("ROUND_CHANGE", 1)]
    assert desk.engine.failure is None


# A record that is missing or old.


def report(desk: Desk, name: str, head: int) -> list[ev.Effect]:
    status = desk.engine.status()._replace(height=head + 1, heard=())
    address = desk.address(name)
    return desk.step(ev.PeerStatus(address, status, address))


def import_blocks(desk: Desk, first: int, last: int, parent: bytes, by: str = "BCD") -> bytes:
    for number in range(first, last + 1):
        block = block_of(desk.address("B"), number=number, parent=parent)
        seals = [desk.vote(name, COMMIT, 0, block.hash, height=number).signature for name in by]
        certificate = desk.certify("B", block)
        certificate = replace(certificate, signatures=tuple(seals))
        desk.step(ev.CertifiedBlock(None, block, certificate))
        desk.imported(block)
        parent = block.hash
    return parent


def test_without_a_record_it_signs_only_after_two_more_blocks_than_a_quorum_reports() -> None:
    desk = Desk(start=False)
    assert said(desk.start(record=None)) == []
    desk.disk = None
    desk.step(ev.WorkWaiting(True))
    assert said(desk.wake(60_000)) == []
    trouble = desk.engine.explain(0).trouble
    assert trouble is not None
    assert "missing" in trouble
    assert desk.engine.status().open, "so that the others tell it of their heads"
    for name, head in (("B", 2), ("C", 1), ("D", 2)):
        assert of(ev.Persist, report(desk, name, head)) == []
    parent = import_blocks(desk, 1, 1, GENESIS_HASH)
    assert desk.disk is None, "an import makes no record"
    parent = import_blocks(desk, 2, 2, parent)
    assert desk.record() == SignerRecord((5, 0)), "S = 2 is certified; S + 2 = 4 must be final"
    parent = import_blocks(desk, 3, 3, parent)
    assert desk.engine.explain(0).trouble == "it may sign again from block 5 on"
    assert said(desk.wake(60_000)) == []
    import_blocks(desk, 4, 4, parent)
    assert desk.engine.explain(0).trouble is None


def test_reports_of_itself_and_of_strangers_do_not_count() -> None:
    desk = Desk(start=False)
    desk.start(record=None)
    status = desk.engine.status()
    for name in "ABC":
        report(desk, name, 0)
    desk.step(ev.PeerStatus(b"x" * 20, status, b"x" * 20))
    desk.step(ev.PeerStatus(desk.address("D"), status))
    assert desk.engine.explain(0).trouble is not None
    assert of(ev.Persist, report(desk, "D", 0))


def test_a_report_of_a_member_that_left_does_not_count() -> None:
    desk = Desk()
    signer = Signer(desk.keys[0], NETWORK)
    for name in "BCD":
        signer.report(desk.address(name), 0)
    left = [desk.address(name) for name in "ABC"] + [b"new" + bytes(17)]
    assert signer.regain(left, 1) is None
    assert signer.regain(desk.addresses, 1) == SignerRecord((3, 0)).encode()


def test_a_head_that_nobody_can_certify_is_no_report() -> None:
    desk = Desk(start=False)
    desk.start(record=None)
    for name, head in (("B", 0), ("C", 0), ("D", 10**9)):
        assert of(ev.Persist, report(desk, name, head)) == []


def test_of_two_validators_only_the_operator_may_let_one_sign() -> None:
    desk = Desk(n=2, start=False)
    desk.start(record=None)
    report(desk, "B", 0)
    assert desk.engine.explain(0).trouble is not None
    told = Desk(n=2, start=False, sign_without_record=True)
    assert said(told.start(record=None)) == []
    assert said(told.hear_of("B", 0)) == [("ROUND_CHANGE", 1)]
    four = Desk(n=4, start=False, sign_without_record=True)
    assert said(four.start(record=None)) == []


def test_a_record_below_the_head_is_an_old_copy() -> None:
    desk = Desk(start=False)
    desk.start(head=3, head_hash=b"h" * 32)
    assert desk.engine.explain(0).trouble is not None


@pytest.mark.parametrize("shown", ["by a peer", "by a certificate"])
def test_a_vote_of_its_own_that_the_record_does_not_know_unmasks_an_old_copy(shown: str) -> None:
    desk = Desk()
    block = block_of(desk.address("B"))
    if shown == "by a peer":
        effects = desk.hear(*desk.votes("A", COMMIT, 0, block.hash))
    else:
        certified = ev.CertifiedBlock(None, block, desk.certify("ABC", block))
        effects = desk.step(certified)
    assert of(ev.Persist, effects) == [ev.Persist(DISTRUSTED.encode())]
    assert desk.record() == DISTRUSTED, "the import writes no lease over it"
    assert desk.engine.explain(0).trouble is not None
    desk.engine.step(ev.PersistFailed("x"), 0)
    desk.start()
    assert desk.engine.explain(0).trouble is not None, "also after a restart"


def test_its_own_votes_coming_back_are_no_surprise() -> None:
    desk = Desk()
    _, effects = lock(desk)
    desk.start()
    assert of(ev.Persist, desk.hear(*sent(effects))) == []
    assert desk.engine.explain(0).trouble == "it was restarted in this round and signs in the next"
