"""The bugs of other ledgers that QBFT.md lists, each as a test by name.

Rounds of restarted nodes, and a new validator with an empty disk, need a whole network: they are
in tests/simulator/test_scenarios.py. A proposed block's state left behind is the chain's question.
"""

from dataclasses import replace
from unittest import mock

import pytest

from ledger.block import Certificate, encode_block, quorum
from ledger.consensus import events as ev
from ledger.consensus import messages
from ledger.consensus.messages import Kind, Message, Vote
from ledger.crypto.secp256k1 import CURVE_ORDER, recover_address_compact
from tests.consensus.desk import (
    NETWORK,
    TIMEOUT_MS,
    Desk,
    block_of,
    of,
    reasons,
    said,
    sent,
)

PREPARE, COMMIT, CHANGE = Kind.PREPARE, Kind.COMMIT, Kind.ROUND_CHANGE


@pytest.mark.parametrize("n", range(1, 22))
def test_two_quorums_share_an_honest_node(n: int) -> None:
    """IBFT 1 took 2f + 1 also where n is not 3f + 1: with n = 5 or 6 two quorums shared one."""
    f = (n - 1) // 3
    assert 2 * quorum(n) - n >= f + 1
    assert quorum(n) <= n - f, "f silent nodes cannot stop it"
    if n in (5, 6):
        assert 2 * (2 * f + 1) - n < f + 1


def test_a_timer_queued_behind_a_quorum_of_commits_does_nothing() -> None:
    """besu#1734: it fired after the import, and two honest nodes held two blocks."""
    desk = Desk()
    block = block_of(desk.address("B"))
    desk.hear(desk.propose("B", block))
    desk.check(block)
    assert of(ev.CommitBlock, desk.hear(*desk.votes("BCD", COMMIT, 0, block.hash)))
    assert desk.engine.explain(desk.now_ms).next_try_ms is None
    assert desk.wake(TIMEOUT_MS) == [], "while it is written"
    assert desk.hear(desk.change("B", 1), desk.change("C", 1)) == []
    desk.imported(block)
    assert desk.wake(0) == []
    assert desk.record().lease == (2, 0)


def reach_proposal(prepared_in: int | None = None):
    """A desk of A, and all that C needs to propose in (1, 2): block D's is the locked one."""
    desk = Desk()
    locked = block_of(desk.address("C"), seed=1)
    changes = [desk.change("B", 2), desk.change("C", 2), desk.change("D", 2)]
    if prepared_in is not None:
        changes[0] = desk.change("B", 2, (prepared_in, locked))
    return desk, locked, tuple(changes)


def test_another_block_than_the_locked_one_is_refused() -> None:
    desk, locked, changes = reach_proposal(1)
    fresh = block_of(desk.address("D"))
    prepares = desk.prepares("ABC", 1, locked)
    effects = desk.hear(desk.propose("D", fresh, 2, changes, prepares))
    assert reasons(effects) == ["PROPOSAL: another block than the highest prepared one"]


def test_the_block_proposed_again_keeps_its_hash_and_coinbase_and_is_taken() -> None:
    """A wrong digest for the block proposed again stalled a network for ever."""
    desk, locked, changes = reach_proposal(1)
    effects = desk.hear(desk.propose("D", locked, 2, changes, desk.prepares("ABC", 1, locked)))
    assert reasons(effects) == []
    assert said(desk.check(locked)) == [("PREPARE", 2)]
    assert locked.header.coinbase == desk.address("C")


def test_the_block_must_be_the_one_that_is_named() -> None:
    desk = Desk()
    one, other = block_of(desk.address("B")), block_of(desk.address("B"), seed=5)
    mixed = replace(desk.propose("B", one), block=encode_block(other))
    assert "another hash" in reasons(desk.hear(mixed))[0]


# Certificates.


def take(desk: Desk, signatures: tuple[bytes, ...], seed: int = 0) -> list[ev.Effect]:
    block = block_of(desk.address("B"), seed)
    return desk.step(ev.CertifiedBlock(b"p", block, Certificate(1, 0, block.hash, signatures)))


def seals(desk: Desk, names: str) -> tuple[bytes, ...]:
    return desk.certify(names, block_of(desk.address("B"))).signatures


def flip(signature: bytes) -> bytes:
    """The malleated twin: high s, other parity."""
    s = CURVE_ORDER - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes([1 - signature[64]])


def test_f_plus_1_seals_make_no_certificate() -> None:
    desk = Desk()
    assert reasons(take(desk, seals(desk, "BC"))) == ["certificate: 2 signatures, a quorum is 3"]
    assert of(ev.CommitBlock, take(desk, seals(desk, "BCD")))


@pytest.mark.parametrize("twin", ["the same", "high s"])
def test_one_signer_is_never_counted_twice(twin: str) -> None:
    desk = Desk()
    one, two = seals(desk, "BC")
    again = one if twin == "the same" else flip(one)
    assert len(reasons(take(desk, (one, two, again)))) == 1


def test_a_zero_seal_is_no_signature() -> None:
    desk = Desk()
    assert "invalid signature" in reasons(take(desk, (*seals(desk, "BC"), bytes(65))))[0]


def test_a_seal_of_nobody_in_the_set_does_not_count() -> None:
    desk, wide = Desk(), Desk(n=5)
    stranger = next(name for name in "ABCDE" if wide.address(name) not in desk.addresses)
    assert "nobody" in reasons(take(desk, (*seals(desk, "BC"), *seals(wide, stranger))))[0]


def test_ten_thousand_seals_are_counted_before_one_is_recovered() -> None:
    desk = Desk()
    many = seals(desk, "BCD") + tuple(bytes([1]) * 65 for _ in range(10_000))
    with mock.patch.object(messages, "recover_address_compact") as recover:
        assert "10003 signatures of 4 members" in reasons(take(desk, many))[0]
        assert not recover.called


# Justifications.


def test_fewer_than_a_quorum_of_round_changes_justify_nothing() -> None:
    desk, _, changes = reach_proposal()
    effects = desk.hear(desk.propose("D", block_of(desk.address("D")), 2, changes[:2]))
    assert reasons(effects) == ["justification: 2 signatures, a quorum is 3"]


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("twice", "twice"),
        ("another round", "another height or round"),
        ("another height", "another height or round"),
        ("a stranger", "nobody in the validator set"),
    ],
)
def test_round_changes_in_a_justification_are_checked(what: str, reason: str) -> None:
    desk, _, (one, two, _) = reach_proposal()
    third = {
        "twice": one,
        "another round": desk.change("D", 3),
        "another height": Message(desk.vote("D", CHANGE, 2, height=2)),
        "a stranger": Message(replace_signer(desk, desk.vote("D", CHANGE, 2))),
    }[what]
    effects = desk.hear(desk.propose("D", block_of(desk.address("D")), 2, (one, two, third)))
    assert reason in reasons(effects)[0]


def replace_signer(desk: Desk, vote: Vote) -> Vote:
    return messages.sign_vote(bytes(31) + b"\x77", NETWORK, vote)


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("none", "0 signatures"),
        ("too few", "2 signatures"),
        ("twice", "twice"),
        ("another round", "another height, round or block"),
        ("another block", "another height, round or block"),
        ("a stranger", "nobody in the validator set"),
        ("a broken signature", "nobody in the validator set"),
    ],
)
@pytest.mark.parametrize("inside", ["PROPOSAL", "ROUND-CHANGE"])
def test_prepares_in_a_justification_are_checked(what: str, reason: str, inside: str) -> None:
    """Signatures, authors and round of what proves a lock were once taken on trust."""
    desk, locked, changes = reach_proposal(1)
    good = desk.prepares("ABC", 1, locked)
    fresh = block_of(desk.address("D"))
    bad = {
        "none": (),
        "too few": good[:2],
        "twice": (*good[:2], good[0]),
        "another round": desk.prepares("ABC", 0, locked),
        "another block": (*good[:2], *desk.prepares("C", 1, fresh)),
        "a stranger": (*good[:2], replace_signer(desk, good[2])),
        "a broken signature": (*good[:2], good[2]._replace(signature=changes[1].vote.signature)),
    }[what]
    if inside == "PROPOSAL":
        effects = desk.hear(desk.propose("D", locked, 2, changes, bad))
    else:
        effects = desk.hear(replace(changes[0], prepares=bad))
    assert reason in reasons(effects)[0]
    assert said(effects) == []


def test_prepares_without_a_lock_are_refused() -> None:
    desk, _, changes = reach_proposal()
    fresh = block_of(desk.address("D"))
    effects = desk.hear(desk.propose("D", fresh, 2, changes, desk.prepares("ABC", 1, fresh)))
    assert "nothing was prepared" in reasons(effects)[0]


def test_a_proposal_of_round_0_carries_no_justification() -> None:
    desk = Desk()
    block = block_of(desk.address("B"))
    effects = desk.hear(desk.propose("B", block, 0, (desk.change("C", 1),)))
    assert reasons(effects) == ["PROPOSAL: round 0 needs no ROUND-CHANGEs"]


def test_only_the_proposer_proposes_and_a_fresh_block_is_its_own() -> None:
    desk = Desk()
    assert (
        "not the proposer" in reasons(desk.hear(desk.propose("C", block_of(desk.address("C")))))[0]
    )
    assert "coinbase" in reasons(desk.hear(desk.propose("B", block_of(desk.address("C")))))[0]


# Seals and senders.


def test_a_commit_is_of_whom_its_seal_recovers_to() -> None:
    """Seals were not matched to their senders: here the seal is the signature of the message."""
    desk = Desk()
    block = block_of(desk.address("B"))
    desk.hear(desk.propose("B", block))
    desk.check(block)
    (one,) = desk.votes("B", COMMIT, 0, block.hash)
    assert of(ev.CommitBlock, desk.hear(one, one, one)) == []
    stolen = Message(one.vote._replace(round=1))
    assert "nobody in the validator set" in reasons(desk.hear(stolen))[0]
    for name in "CD":
        effects = desk.hear(*desk.votes(name, COMMIT, 0, block.hash))
    (commit,) = of(ev.CommitBlock, effects)
    assert isinstance(commit, ev.CommitBlock)
    digest = messages.signing_digest(NETWORK, one.vote)
    signers = [recover_address_compact(digest, one) for one in commit.certificate.signatures]
    assert signers == [desk.address(name) for name in "BCD"]


# Changing sets.


def test_the_vote_that_removes_the_proposer() -> None:
    """B decides with the others that B is out: it follows, and the next proposer is of the rest."""
    desk = Desk(me="B")
    block = block_of(desk.address("B"))
    desk.step(ev.CertifiedBlock(None, block, desk.certify("ACD", block)))
    rest = tuple(desk.address(name) for name in "ACD")
    desk.step(ev.BlockImported(1, block.hash, rest, True))
    explanation = desk.engine.explain(desk.now_ms)
    assert explanation.proposer == desk.address("D")  # position 2 mod 3 of A, C, D
    assert explanation.quorum == 2
    assert explanation.trouble == "it is no validator and only follows"
    assert said(desk.wake(100_000)) == []


def test_a_removed_member_is_not_heard_any_more() -> None:
    desk = Desk(n=5, me="A")
    desk.start()
    block = block_of(desk.address("B"))
    desk.hear(Message(desk.vote("E", CHANGE, 1, height=2)))
    desk.step(ev.CertifiedBlock(None, block, desk.certify("BCDE", block)))
    four = tuple(desk.address(name) for name in "ABCD")
    desk.step(ev.BlockImported(1, block.hash, four, False))
    assert desk.engine.explain(0).heard == (desk.address("A"),)
    other = desk.hear(Message(desk.vote("B", CHANGE, 1, height=2)))
    assert said(other) == [], "B is alone there: E does not count"
    effects = desk.hear(Message(desk.vote("E", CHANGE, 1, height=2)))
    assert "nobody in the validator set" in reasons(effects)[0]


def test_a_fresh_block_after_the_import_leaves_nothing_of_the_old_proposal() -> None:
    desk = Desk()
    old, decided = block_of(desk.address("B")), block_of(desk.address("B"), seed=2)
    desk.hear(desk.propose("B", old))
    desk.check(old)
    desk.step(ev.CertifiedBlock(None, decided, desk.certify("BCD", decided)))
    desk.imported(decided)
    assert desk.engine.status().heard == ()
    assert said(desk.wake(100_000)) == []
    assert desk.check(old) == []


def test_both_prepared_fields_or_neither_and_the_round_below() -> None:
    desk = Desk()
    block = block_of(desk.address("B"))
    good = desk.change("B", 2, (1, block))
    for bad in (
        good.vote._replace(prepared_round=None),
        good.vote._replace(digest=None),
        good.vote._replace(prepared_round=2),
        good.vote._replace(prepared_round=3),
        good.vote._replace(round=0, prepared_round=None, digest=None),
    ):
        assert "ROUND-CHANGE" in reasons(desk.hear(replace(good, vote=bad)))[0]
    assert sent(desk.hear(good)) == []
