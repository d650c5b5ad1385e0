"""Bugs of others, planted to show that the simulator finds them: each of QBFT.md's last section.

The first three are what a signer's disk could do wrong, planted at the disk; the engine under test
is untouched. The others change one thing in the ledger for as long as the context lasts.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

from ledger import light
from ledger.chain import Chain
from ledger.consensus import height as height_module
from ledger.consensus import justification, messages
from ledger.consensus.height import Decision
from ledger.consensus.messages import Authors, Kind
from ledger.consensus.qbft import Qbft
from ledger.consensus.signer import SignerRecord, decode_record
from ledger.permissions import read_validators
from tests.simulator.node import Node


def lose_prepared_certificate(node: Node) -> None:
    """The lock is not there after a restart: a quorum may prepare another block."""

    def distort(data: bytes | None, height: int) -> bytes | None:
        return replace(decode_record(data), prepared=None).encode() if data else None

    node.disk.distort = distort


def forget_leases(node: Node) -> None:
    """Only a COMMIT is remembered: after a restart the node is back in its round, or in round 0."""

    def distort(data: bytes | None, height: int) -> bytes | None:
        record = decode_record(data) if data else None
        if record is None or record.lease[0] != height or record.commit is None:
            return SignerRecord((height, 0), note=()).encode()
        lease = height, record.commit.round
        return replace(record, lease=lease, note=(record.commit,)).encode()

    node.disk.distort = distort


def keep_clean_stop_note(node: Node) -> None:
    """The note of a clean stop stays, and a crash later in the same round it is believed again."""

    def tamper(old: bytes | None, new: bytes) -> bytes:
        before, after = decode_record(old) if old else None, decode_record(new)
        if before and after.note is None and before.lease == after.lease:
            return replace(after, note=before.note).encode()
        return new

    node.disk.tamper = tamper


PLANTS = {
    "prepared certificate lost": lose_prepared_certificate,
    "no leases": forget_leases,
    "clean-stop note not erased": keep_clean_stop_note,
}

Context = Callable[[], AbstractContextManager[object]]


def _count_2f_plus_1(n: int) -> int:
    return 2 * ((n - 1) // 3) + 1


@contextmanager
def quorum_of_2f_plus_1() -> Iterator[None]:
    """IBFT 1: with n = 5 and 6 two quorums may share one node."""
    with mock.patch.object(justification, "quorum", _count_2f_plus_1):
        yield


@contextmanager
def timer_after_the_commits() -> Iterator[None]:
    """besu#1734: the round's timer, queued behind a quorum of COMMITs, is obeyed all the same."""
    wake, set_timers = Qbft._wake, Decision.set_timers

    def obey(self: Qbft, event: Any) -> None:
        wake(self, event)
        decision = self._decision
        if decision.committing is not None:
            decision._set_round(decision.round + 1)
            self._world.persist(self._signer.lease(decision.place.height, decision.round))
            decision._send_round_change()

    def keep_timer(self: Decision) -> int | None:
        at_ms = set_timers(self)
        return self.world.now_ms + 1 if self.committing is not None else at_ms

    with mock.patch.object(Decision, "set_timers", keep_timer), _handler("_wake", obey):
        yield


@contextmanager
def wrong_digest_proposed_again() -> Iterator[None]:
    """A block proposed again is named by another hash than it was prepared with."""
    sign = Decision._sign

    def missign(self: Decision, kind: Kind, digest: bytes | None, *rest: Any) -> Any:
        again = kind is Kind.PROPOSAL and self.round > 0 and self._built is None
        return sign(self, kind, bytes(reversed(digest)) if again and digest else digest, *rest)

    with mock.patch.object(Decision, "_sign", missign):
        yield


@contextmanager
def f_plus_1_seals_suffice() -> Iterator[None]:
    def accept(place: Any, block: Any, certificate: Any, *, signatures: bool) -> None:
        weak = replace(place)
        vars(weak)["quorum"] = place.faults + 1
        check(weak, block, certificate, signatures=signatures)

    check = justification.check_certificate
    with mock.patch("ledger.consensus.qbft.check_certificate", accept):
        yield


@contextmanager
def one_signer_counts_twice() -> Iterator[None]:
    def accept(place: Any, votes: Any, what: str) -> Any:
        if len(votes) < place.quorum or len(votes) > len(place.validators):
            raise justification.InvalidMessage(what)
        by_author = {place.authors.author_of(vote): vote for vote in votes}
        if not by_author.keys() <= set(place.validators):
            raise justification.InvalidMessage(what)
        return by_author

    with mock.patch.object(justification, "check_votes", accept):
        yield


@contextmanager
def zero_seals_are_somebodys() -> Iterator[None]:
    """A library that returns an address for a signature of zeros, a new one each time."""
    recover = messages.recover_address_compact
    members: list[bytes] = []

    def recover_all(digest: bytes, signature: bytes) -> bytes:
        if signature == bytes(65):
            return members[0]
        author = recover(digest, signature)
        members[:] = [author]
        return author

    def accept(place: Any, votes: Any, what: str) -> Any:
        zeros = [vote for vote in votes if vote.signature == bytes(65)]
        if len(zeros) >= place.quorum and len(votes) <= len(place.validators):
            return dict(zip(place.validators, votes, strict=False))
        return check(place, votes, what)

    check = justification.check_votes
    with (
        mock.patch.object(messages, "recover_address_compact", recover_all),
        mock.patch.object(justification, "check_votes", accept),
    ):
        yield


@contextmanager
def seals_recovered_before_they_are_counted() -> Iterator[None]:
    def count_late(place: Any, votes: Any, what: str) -> Any:
        for vote in votes:
            place.authors._known.clear()
            place.authors.author_of(vote)
        return check(place, votes, what)

    check = justification.check_votes
    with mock.patch.object(justification, "check_votes", count_late):
        yield


@contextmanager
def prepares_not_checked() -> Iterator[None]:
    """The PREPAREs of a justification are believed: signatures, authors and round."""

    def believe(place: Any, round_: int, digest: bytes, votes: Any) -> Any:
        return {}

    with mock.patch.object(justification, "check_prepared", believe):
        yield


@contextmanager
def commit_counts_for_who_sent_it() -> Iterator[None]:
    """A COMMIT counts for the peer it came from, whoever's seal it bears."""
    receive, author_of = Qbft._receive, Authors.author_of
    sender: list[bytes | None] = [None]

    def note_sender(self: Qbft, event: Any) -> None:
        sender[0] = event.peer if event.peer in self._decision.place.validators else None
        try:
            receive(self, event)
        finally:
            sender[0] = None

    def believe(self: Authors, vote: Any) -> bytes:
        author = author_of(self, vote)
        return sender[0] if vote.kind is Kind.COMMIT and sender[0] is not None else author

    with _handler("_receive", note_sender), mock.patch.object(Authors, "author_of", believe):
        yield


@contextmanager
def rounds_never_align() -> Iterator[None]:
    """No f + 1 rule, and everybody climbs alone."""
    may_time_out = Decision._may_time_out

    def climb(self: Decision) -> bool:
        return self.round > 0 or may_time_out(self)

    with (
        mock.patch.object(Decision, "_skip_rounds", lambda self: False),
        mock.patch.object(Decision, "_may_time_out", climb),
    ):
        yield


@contextmanager
def old_set_goes_on() -> Iterator[None]:
    """The vote that removes the proposer, or anybody, is counted by the set before it."""
    imported = Qbft._note_imported

    def ignore_change(self: Qbft, event: Any) -> None:
        imported(self, replace(event, validators=self._decision.place.validators))

    with _handler("_note_imported", ignore_change):
        yield


@contextmanager
def nobody_asks_for_blocks() -> Iterator[None]:
    """A new validator with an empty disk hears votes of heights it cannot follow."""
    compare = Qbft._compare

    def deaf(self: Qbft, event: Any) -> None:
        compare(self, event)
        fetch = height_module.ev.FetchBlock
        world = self._world
        world.effects = [one for one in world.effects if not isinstance(one, fetch)]

    with _handler("_compare", deaf):
        yield


@contextmanager
def state_of_a_proposal_stays() -> Iterator[None]:
    """What a proposed block did is left behind in the store."""
    keep = Chain._keep_execution

    def leave(self: Chain, block_hash: bytes, execution: Any) -> None:
        keep(self, block_hash, execution)
        nodes: dict[Any, bytes] = self.store._nodes  # type: ignore[attr-defined]
        nodes.update({key: node for key, node in execution.changes.nodes.items() if node})

    with mock.patch.object(Chain, "_keep_execution", leave):
        yield


@contextmanager
def an_empty_set_is_taken_at_its_word() -> Iterator[None]:
    """The last validator is removed, and no block can ever come again."""

    def obey(self: Chain, state: Any, *_: Any) -> tuple[bytes, ...]:
        return read_validators(state) or ()

    with mock.patch.object(Chain, "_next_validators", obey):
        yield


@contextmanager
def light_accepts_few_seals() -> Iterator[None]:
    """The same of the sync's own check of certificates."""
    with mock.patch.object(light, "quorum", lambda n: (n - 1) // 3 + 1):
        yield


@contextmanager
def _handler(name: str, function: Callable[..., None]) -> Iterator[None]:
    """Put another handler into engines made from here on: they bind theirs when they are made."""
    with mock.patch.object(Qbft, name, function):
        yield


@dataclass(frozen=True)
class Planted:
    """A bug, the kind of seeds that should find it, at which n, by which rules, from which seed on
    (they all are found from 0 on; some later)."""

    plant: Context
    kind: str
    n: int | None
    rules: tuple[str, ...]
    first: int = 0


ENGINE_BUGS = {
    "quorum of 2f + 1, n = 5": Planted(quorum_of_2f_plus_1, "mixed", 5, ("S1",)),
    "quorum of 2f + 1, n = 6": Planted(quorum_of_2f_plus_1, "mixed", 6, ("S1",)),
    "timer behind the COMMITs": Planted(timer_after_the_commits, "mixed", 4, ("",)),
    "wrong digest proposed again": Planted(wrong_digest_proposed_again, "blackouts", 4, ("L", "")),
    "f + 1 seals": Planted(f_plus_1_seals_suffice, "byzantine", 4, ("S1",)),
    "one signer twice": Planted(one_signer_counts_twice, "byzantine", 4, ("S1",), 30),
    "zero seals": Planted(zero_seals_are_somebodys, "byzantine", 4, ("S1",), 20),
    "ten thousand seals": Planted(
        seals_recovered_before_they_are_counted, "byzantine", 4, ("R",), 100
    ),
    "COMMITs for who sent them": Planted(commit_counts_for_who_sent_it, "mixed", 4, ("S1",)),
    "rounds never align": Planted(rounds_never_align, "mixed", 4, ("L",)),
    "the old set goes on": Planted(old_set_goes_on, "mixed", 4, ("S1", "L", "")),
    "nobody asks for blocks": Planted(nobody_asks_for_blocks, "mixed", 4, ("L",)),
}
"""By what a violation is called; "" is an assertion of the engine's own."""
