"""The thresholds of QBFT.md at every size from 1 to 21: one vote less is never enough."""

import pytest

from ledger.block import quorum
from ledger.consensus import events as ev
from ledger.consensus.justification import compute_proposer
from ledger.consensus.messages import Kind, Message
from tests.consensus.desk import NAMES, TIMEOUT_MS, Desk, block_of, of, said, sent

SIZES = range(1, 22)
PREPARE, COMMIT = Kind.PREPARE, Kind.COMMIT


def others(n: int, me: str, count: int) -> str:
    """So many of the members beside `me`."""
    return NAMES[:n].replace(me, "")[:count]


def accepted(n: int):  # type: ignore[no-untyped-def]
    """A desk of the last member, who has accepted the block of (1, 0)."""
    proposer = NAMES[1 % n]
    me = NAMES[n - 1] if NAMES[n - 1] != proposer else NAMES[0]
    desk = Desk(n, me)
    block = block_of(desk.address(proposer))
    desk.hear(desk.propose(proposer, block))
    desk.check(block)
    return desk, me, block


@pytest.mark.parametrize("n", SIZES[1:])
def test_a_quorum_of_prepares_locks_and_one_less_does_not(n: int) -> None:
    desk, me, block = accepted(n)
    voters = others(n, me, quorum(n) - 1)
    effects = desk.hear(*desk.votes(voters[:-1], PREPARE, 0, block.hash))
    assert said(effects) == []
    effects = desk.hear(*desk.votes(voters[-1:], PREPARE, 0, block.hash))
    assert ("COMMIT", 0) in said(effects)
    assert desk.record().prepared is not None


@pytest.mark.parametrize("n", SIZES[1:])
def test_a_quorum_of_commits_decides_and_one_less_does_not(n: int) -> None:
    desk, me, block = accepted(n)
    voters = others(n, me, quorum(n))
    if len(voters) < quorum(n):  # with two validators its own COMMIT is needed
        desk.hear(*desk.votes(voters, PREPARE, 0, block.hash))
        voters = voters[: quorum(n) - 1]
    assert of(ev.CommitBlock, desk.hear(*desk.votes(voters[:-1], COMMIT, 0, block.hash))) == []
    assert of(ev.CommitBlock, desk.hear(*desk.votes(voters[-1:], COMMIT, 0, block.hash)))


@pytest.mark.parametrize("n", SIZES[1:])
def test_a_quorum_of_round_changes_lets_the_proposer_propose_and_one_less_does_not(n: int) -> None:
    me = NAMES[2 % n]  # of (1, 1)
    desk = Desk(n, me)
    desk.step(ev.WorkWaiting(True))
    built = of(ev.BuildBlock, desk.wake(TIMEOUT_MS))
    voters = others(n, me, quorum(n) - 1)
    for name in voters:
        assert built == []
        built = of(ev.BuildBlock, desk.hear(desk.change(name, 1)))
    assert built == [ev.BuildBlock(1, 1)]
    (proposal, _) = sent(desk.step(ev.BlockBuilt(1, 1, block_of(desk.address(me)))))
    assert len(proposal.round_changes) == quorum(n)


@pytest.mark.parametrize("n", SIZES)
def test_f_plus_1_pull_a_node_forward_and_f_do_not(n: int) -> None:
    faults = (n - 1) // 3
    desk = Desk(n, "A")
    for name in others(n, "A", faults):
        assert said(desk.hear(desk.change(name, 5))) == []
    rest = NAMES[:n].replace("A", "")[faults:]
    if rest:
        assert said(desk.hear(desk.change(rest[0], 5)))[:1] == [("ROUND_CHANGE", 5)]


@pytest.mark.parametrize("n", SIZES)
def test_a_certificate_takes_a_quorum(n: int) -> None:
    for count, taken in ((quorum(n) - 1, False), (quorum(n), True)):
        desk = Desk(n, "A")
        block = block_of(desk.address(NAMES[1 % n]))
        certificate = desk.certify(NAMES[:n][-count:] if count else "", block)
        effects = desk.step(ev.CertifiedBlock(b"p", block, certificate))
        assert bool(of(ev.CommitBlock, effects)) is taken


@pytest.mark.parametrize("n", SIZES[1:])
def test_the_proposer_goes_round_while_members_come_and_go(n: int) -> None:
    """One rule without history, asked of engines that have lived through the changes."""
    desk = Desk(n, "A")
    parent, members = None, tuple(desk.addresses)
    for height in range(1, 7):
        block = (
            block_of(desk.address("B"), number=height, parent=parent)
            if parent
            else block_of(desk.address("B"))
        )
        in_force = [NAMES[desk.addresses.index(one)] for one in members]
        seals = "".join(in_force[: quorum(len(members))])
        votes = [desk.vote(name, COMMIT, 0, block.hash, height=height) for name in seals]
        certificate = desk.certify("", block)
        certificate = type(certificate)(
            height, 0, block.hash, tuple(vote.signature for vote in votes)
        )
        assert of(ev.CommitBlock, desk.step(ev.CertifiedBlock(None, block, certificate)))
        out = desk.addresses[height % n]
        members = tuple(one for one in desk.addresses if one != out or height % 2)
        desk.step(ev.BlockImported(height, block.hash, members, False))
        explained = desk.engine.explain(0)
        assert explained.proposer == compute_proposer(sorted(members), height + 1, 0)
        assert explained.proposer == sorted(members)[(height + 1) % len(members)]
        assert explained.quorum == quorum(len(members))
        parent = block.hash


@pytest.mark.parametrize("n", SIZES[3:])
def test_a_full_house_of_early_votes_is_kept_for_its_height(n: int) -> None:
    """What every member may say early fits the buffer, and counts once its height has come."""
    desk = Desk(n, "A")
    first = block_of(desk.address("B"))
    second = block_of(desk.address(NAMES[2 % n]), number=2, parent=first.hash)
    for name in others(n, "A", n):
        for kind in (PREPARE, COMMIT):
            desk.hear(Message(desk.vote(name, kind, 0, second.hash, height=2)))
    assert len(list(desk.engine._later[2].messages())) == 2 * (n - 1)
    desk.step(ev.CertifiedBlock(None, first, desk.certify(NAMES[:n], first)))
    assert of(ev.FetchBlock, desk.imported(first)), "decided, and the block is asked for"
