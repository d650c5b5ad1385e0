"""The deciding of one height: its rounds, its timers and the seven rules, numbered as in QBFT.md.

A `Decision` lives from the import of one block to that of the next, so that nothing of a finished
height, no timer either, can touch the one after. What was heard stands in `Votes`, what was signed
in `Signer`; the rules are questions to them. Events and what outlives a height are `qbft`'s.

One validator alone decides in one sync: its votes are not sent, and its seal is first seen in the
certificate, which the import's transaction makes durable together with the next lease. A crash
before that leaves the lease of a round whose votes nobody saw; a crash after it, the block.
"""

from dataclasses import dataclass, field

from ledger.block import Block, Certificate, encode_block
from ledger.consensus import events as ev
from ledger.consensus import justification as rules
from ledger.consensus.messages import Kind, Message, Vote
from ledger.consensus.settings import Settings
from ledger.consensus.signer import Prepared, Signer
from ledger.consensus.votes import Votes
from ledger.errors import InvalidMessage, InvalidSignature
from ledger.types import Address, Hash32

TICK_MS = 1_000  # an open round repeats what may have been lost
BLOCKS_KEPT = 8  # proposals of one height, decoded


@dataclass(slots=True)
class World:
    """What a height sees of the process around it; `effects` is where its wishes go.

    From `propose_from_ms` on waiting work may be proposed, from `quiet_since_ms` an empty period
    runs; before `behind_until_ms` others are known to be ahead, and nothing is proposed; before
    `compare_until_ms` we were catching up just now, and peers are asked whether that was all.
    """

    settings: Settings
    signer: Signer
    now_ms: int = 0
    work_waiting: bool = False
    propose_from_ms: int = 0
    quiet_since_ms: int = 0
    behind_until_ms: int = 0
    compare_until_ms: int = 0
    effects: list[ev.Effect] = field(default_factory=list)

    def persist(self, record: bytes | None) -> None:
        if record is not None:
            self.effects.append(ev.Persist(record))


class Decision:
    """One height. Every public method is followed by `apply_rules` and `set_timers`, by `qbft`."""

    round: int
    deadline_ms: int | None
    _accepted: Message | None
    _built: Block | None
    _building: bool

    def __init__(self, world: World, place: rules.Place, votes: Votes) -> None:
        self.world = world
        self.place = place
        self.votes = votes
        self.committing: Hash32 | None = None
        self.last_peer: bytes | None = None
        self.tick_at_ms: int | None = None
        self._signer = world.signer
        self._is_member = world.signer.address in place.validators
        self._blocks: dict[Hash32, Block] = {}
        self._verdicts: dict[Hash32, ev.Verdict | None] = {}  # None: being checked
        self._fetching = False
        self._set_round(0)

    # What comes in.

    def take(self, author: Address, message: Message) -> bool:
        """Judge and keep a member's message; whether it is new. Raises InvalidMessage."""
        if self.committing is not None or not self.votes.lacks(author, message):
            return False
        vote = message.vote
        if vote.kind is Kind.PROPOSAL:
            self._keep_block(rules.check_proposal(self.place, message, author))
            for change in message.round_changes:
                said_by = self.place.authors.author_of(change)
                self.votes.hear(said_by, change.round)
                self.votes.compare(said_by, change)
        elif vote.kind is Kind.ROUND_CHANGE:
            try:
                prepared = rules.check_round_change(self.place, message)
            except (InvalidMessage, InvalidSignature):
                # Its signature alone counts towards f + 1, and what travels with it is not signed.
                self.votes.add(author, Message(vote), self.world.now_ms)
                raise
            if prepared is not None:
                self._keep_block(prepared)
        return self.votes.add(author, message, self.world.now_ms)

    def commit(self, block: Block, certificate: Certificate) -> None:
        """Import, in any state; until that is done every timer and vote here is stale."""
        self.committing = block.hash
        self.deadline_ms = None
        lease = self._signer.raise_to(self.place.height + 1)
        self.world.effects.append(ev.CommitBlock(block, certificate, lease))

    def note_built(self, round_: int, block: Block) -> None:
        if round_ == self.round and self._building:
            self._built = block
            self._verdicts[block.hash] = ev.Verdict.VALID

    def note_checked(self, block_hash: Hash32, verdict: ev.Verdict) -> None:
        if block_hash in self._verdicts:
            self._verdicts[block_hash] = verdict

    def repeat(self) -> None:
        """The tick of an open round: say again, check again and ask again what may be in vain."""
        self.tick_at_ms = None
        own = self.votes.of(Kind.ROUND_CHANGE, self.round).get(self._signer.address)
        if own is not None and self.deadline_ms is None:
            self.world.effects.append(ev.Send(own.encode()))
        early = [key for key, found in self._verdicts.items() if found is ev.Verdict.NOT_YET]
        for block_hash in early:
            del self._verdicts[block_hash]
        self._fetching = False

    def resume(self) -> None:
        """The restart rules, for a lease of this height that was found on disk."""
        signer = self._signer
        self.world.persist(signer.resume())
        record = signer.record
        assert record is not None
        round_ = record.lease[1]
        self._set_round(round_)
        if record.prepared is not None:
            self._keep_block(self.place.decode(record.prepared.block))
            for vote in record.prepared.prepares:
                self.votes.add(self.place.authors.author_of(vote), Message(vote))
        if Kind.PREPARE in signer.signed:
            self._publish(Message(signer.signed[Kind.PREPARE]))
        if record.commit is not None:
            self._publish(Message(record.commit))
            if record.commit.round == round_:
                return  # it stays there, and the PREPAREs it holds let the timer run
        if round_ > 0:
            self._send_round_change()
        elif signer.mute:
            self._enter_round(1, announce=True)

    # The rules.

    def apply_rules(self) -> None:
        """Try them until none has anything left to do, or the height is decided."""
        while self.committing is None and (
            self._decide()
            or self._skip_rounds()
            or self._time_out()
            or self._accept()
            or self._lock()
            or self._propose()
        ):
            pass

    def _propose(self) -> bool:
        """1 and 7: the proposer of round 0 has work, or that of a later round has a quorum."""
        world, place, round_ = self.world, self.place, self.round
        if self._accepted is not None or self.proposer != self._signer.address:
            return False
        if not self._may_sign(Kind.PROPOSAL) or world.now_ms < world.behind_until_ms:
            return False
        said = sorted(self.votes.of(Kind.ROUND_CHANGE, round_).items())
        changes = tuple(message for _, message in said if message.complete)
        if len(changes) < place.quorum if round_ else not self._is_due():
            return False
        justification = tuple(message.vote for message in changes)
        best = rules.find_highest_prepared(justification)
        if best is not None:
            again = next(message for message in changes if message.vote == best)
            vote = self._sign(Kind.PROPOSAL, best.digest)
            self._publish(Message(vote, again.block, justification, again.prepares))
            return True
        if self._built is None:
            if not self._building:
                self._building = True
                world.effects.append(ev.BuildBlock(place.height, round_))
            return False
        self._keep_block(self._built)
        vote = self._sign(Kind.PROPOSAL, self._built.hash)
        self._publish(Message(vote, encode_block(self._built), justification))
        return True

    def _accept(self) -> bool:
        """2: a valid PROPOSAL for this round or a later one is accepted and prepared."""
        lowest = self.round if self._accepted is None else self.round + 1
        for round_ in self.votes.rounds_of(Kind.PROPOSAL, lowest):
            for message in self.votes.of(Kind.PROPOSAL, round_).values():
                if not self._is_valid(message):
                    continue
                if round_ > self.round:
                    self._enter_round(round_, announce=False)
                self._accepted = message
                if self._may_sign(Kind.PREPARE):
                    self._publish(Message(self._sign(Kind.PREPARE, message.vote.digest)))
                return True
        return False

    def _lock(self) -> bool:
        """3: a quorum of PREPAREs: block, certificate and COMMIT to disk, then the COMMIT out."""
        quorum = self.place.quorum
        if self._accepted is None or len(self.votes.of(Kind.PREPARE, self.round)) < quorum:
            return False
        if not self._may_sign(Kind.COMMIT):
            return False
        digest, block = self._accepted.vote.digest, self._accepted.block
        prepares = tuple(self.votes.votes_for(Kind.PREPARE, self.round, digest).values())
        if len(prepares) < quorum:
            return False
        assert block is not None
        commit = self._sign(Kind.COMMIT, digest)
        record = self._signer.lock(Prepared(self.round, block, prepares), commit)
        if len(self.place.validators) > 1:
            self.world.persist(record)
        self._publish(Message(commit))
        return True

    def _decide(self) -> bool:
        """4: a quorum of COMMITs of any one round makes the certificate."""
        found = self.votes.find_committed(self.place.quorum)
        if found is None:
            return False
        round_, digest = found
        block = self._find_block(digest)
        if block is None:
            fetch = ev.FetchBlock(self.place.height, digest, self.last_peer)
            self.world.effects += [] if self._fetching else [fetch]
            self._fetching = True
            return False
        seals = self.votes.votes_for(Kind.COMMIT, round_, digest).values()
        signatures = tuple(vote.signature for vote in seals)
        self.commit(block, Certificate(self.place.height, round_, digest, signatures))
        return True

    def _time_out(self) -> bool:
        """5: the round's time is up."""
        if self.deadline_ms is None or self.world.now_ms < self.deadline_ms:
            return False
        self._enter_round(self.round + 1, announce=True)
        return True

    def _skip_rounds(self) -> bool:
        """6: f + 1 are further: to the smallest such round, until no f + 1 are further still."""
        latest = self.votes.round_changes.values()
        further = sorted(round_ for round_ in latest if round_ > self.round) if latest else ()
        if len(further) <= self.place.faults:
            return False
        self._enter_round(further[-1 - self.place.faults], announce=True)
        return True

    # Rounds and timers.

    @property
    def proposer(self) -> Address:
        return rules.compute_proposer(self.place.validators, self.place.height, self.round)

    def is_voter(self) -> bool:
        """Whether this node takes part in this height, or only follows it."""
        return self.holds_lease() and not self._signer.found

    def holds_lease(self) -> bool:
        """Whether this node is a member and its record is of this height, resumed or not."""
        return self._is_member and self._signer.holds(self.place.height)

    def set_timers(self) -> int | None:
        """Start or stop the timer of the round; when to be woken next."""
        world = self.world
        if self.committing is not None:
            self.tick_at_ms = None
            return None
        times = []
        voter = self.is_voter()
        if not voter or not self._may_time_out():
            self.deadline_ms = None
        elif self.deadline_ms is None:
            self.deadline_ms = world.now_ms + world.settings.compute_timeout_ms(self.round)
        if self.deadline_ms is not None:
            times.append(self.deadline_ms)
        due_ms = self._compute_due_ms()
        if voter and self.round == 0 and due_ms is not None and due_ms > world.now_ms:
            times.append(due_ms)
        behind = max(world.behind_until_ms, world.compare_until_ms) > world.now_ms
        if world.behind_until_ms > world.now_ms:
            times.append(world.behind_until_ms)
        waiting = self._fetching or ev.Verdict.NOT_YET in self._verdicts.values()
        # A member that may not sign yet has no timer, and needs to hear how far the others are.
        unsettled = not voter or self.round > 0 or self.deadline_ms is not None
        if behind or waiting or (unsettled and self._is_member):
            self.tick_at_ms = self.tick_at_ms or world.now_ms + TICK_MS
            times.append(self.tick_at_ms)
        else:
            self.tick_at_ms = None
        return min(times, default=None)

    def _may_time_out(self) -> bool:
        """Round 0: work may be proposed or a vote was cast. Later: a quorum has come that far."""
        if self.round == 0:
            begun = self._accepted is not None or self._signer.mute or bool(self._signer.signed)
            return begun or self._is_due()
        heard = self.votes.latest | {self._signer.address: self.round}
        return sum(1 for latest in heard.values() if latest >= self.round) >= self.place.quorum

    def _compute_due_ms(self) -> int | None:
        """When a block of round 0 may be proposed, as far as is known now."""
        world = self.world
        if world.work_waiting:
            return world.propose_from_ms
        if world.settings.empty_block_period_s == 0:
            return None
        empty_from_ms = world.quiet_since_ms + 1_000 * world.settings.empty_block_period_s
        return max(world.propose_from_ms, empty_from_ms)

    def _is_due(self) -> bool:
        due_ms = self._compute_due_ms()
        return due_ms is not None and self.world.now_ms >= due_ms

    def _set_round(self, round_: int) -> None:
        self.round = round_
        self.deadline_ms = None
        self._accepted = None
        self._built = None
        self._building = False

    def _enter_round(self, round_: int, *, announce: bool) -> None:
        """Lease a later round and, unless a PROPOSAL brought us there, say so."""
        self._set_round(round_)
        if self.is_voter():
            self.world.persist(self._signer.lease(self.place.height, round_))
            if announce:
                self._send_round_change()

    # Saying and knowing.

    def _send_round_change(self) -> None:
        """ROUND-CHANGE with the best prepared certificate, whatever its round."""
        best = self._signer.prepared
        if best is None:
            self._publish(Message(self._sign(Kind.ROUND_CHANGE, None)))
        else:
            vote = self._sign(Kind.ROUND_CHANGE, best.prepares[0].digest, best.round)
            self._publish(Message(vote, best.block, (), best.prepares))

    def _sign(self, kind: Kind, digest: Hash32 | None, prepared_round: int | None = None) -> Vote:
        return self._signer.sign(kind, self.place.height, self.round, digest, prepared_round)

    def _may_sign(self, kind: Kind) -> bool:
        return self._is_member and self._signer.may_sign(kind, self.place.height)

    def _publish(self, message: Message) -> None:
        """Our own word counts here too."""
        self.votes.add(self._signer.address, message, self.world.now_ms)
        if len(self.place.validators) > 1:
            self.world.effects.append(ev.Send(message.encode()))

    def _is_valid(self, message: Message) -> bool:
        """Whether a PROPOSAL's block may be prepared; asks for the check where there was none.

        A clean stop may have left our PREPARE for another block. A block proposed again passed the
        test of the clock with its first quorum.
        """
        digest = message.vote.digest
        assert digest is not None
        prepared = self._signer.signed.get(Kind.PREPARE)
        if prepared and message.vote.round == self.round and prepared.digest != digest:
            return False
        if digest not in self._verdicts:
            block = self._find_block(digest)
            assert block is not None
            self._verdicts[digest] = None
            self.world.effects.append(ev.CheckBlock(block))
        verdict = self._verdicts[digest]
        again = bool(message.prepares) and verdict is ev.Verdict.NOT_YET
        return verdict is ev.Verdict.VALID or again

    def _keep_block(self, block: Block) -> None:
        self._blocks[block.hash] = block
        if len(self._blocks) > BLOCKS_KEPT:
            del self._blocks[next(iter(self._blocks))]

    def _find_block(self, digest: Hash32) -> Block | None:
        """A block of this height, from memory or from the messages that carry it."""
        block = self._blocks.get(digest)
        for _, message in self.votes.messages() if block is None else ():
            if message.vote.digest == digest and message.block is not None:
                block = rules.check_block(self.place, message.block, digest)
        return block
