"""QBFT as a state machine without I/O: `step(event, now_ms) -> effects`.

Here is what outlives a height: starting and stopping, who is ahead, votes that came too early, what
goes to whom. The rounds and rules of the height being decided are `height`'s.
Source: QBFT.md, DESIGN.md section 4.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ledger.block import Block, decode_block
from ledger.consensus import events as ev
from ledger.consensus.height import TICK_MS, Decision, World
from ledger.consensus.justification import Place, check_certificate
from ledger.consensus.messages import (
    NUMBER_MAX,
    Authors,
    Kind,
    Message,
    Network,
    Status,
    Vote,
    decode_message,
)
from ledger.consensus.settings import Settings
from ledger.consensus.signer import Signer
from ledger.consensus.votes import Contradictions, Evidence, Votes
from ledger.errors import EncodingError, InvalidMessage, InvalidSignature
from ledger.types import Address, Hash32, Height

HEIGHTS_AHEAD_MAX = 2  # of votes kept for later; who is further behind needs blocks first
BUFFER_BYTES_MAX = 8_000_000  # of those votes: four full blocks, on a Pi of 1 GB
CATCH_UP_MS = 5_000  # how long a sign that others are ahead keeps us from proposing
COMPARE_MS = 3_000  # how long after a fetched block peers are asked for more: three statuses
LISTEN_MS = 2_000  # at least so long the others are awaited at a start: to connect takes a second


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why no block comes, in pieces; `trouble` says why this node does not sign, if so."""

    height: Height
    round: int
    proposer: Address
    quorum: int
    heard: tuple[Address, ...]
    missing: tuple[Address, ...]
    next_try_ms: int | None
    trouble: str | None


class Qbft:
    """The engine of one node; a key outside the validator set follows and never signs.

    `decode` makes a block of its RLP (the daemon lets it take transactions from the pool).
    `failure` says why it does nothing, if so.
    """

    def __init__(
        self,
        settings: Settings,
        private_key: bytes,
        decode: Callable[[bytes], Block] = decode_block,
    ) -> None:
        network = Network(settings.chain_id, settings.genesis_hash)
        self._evidence = Contradictions()
        self.failure: str | None = "it has not started"
        self._signer = Signer(private_key, network)
        self._authors = Authors(network)
        self._decode = decode
        self._settings = settings
        self._handlers: dict[type, Callable[..., None]] = {
            ev.Started: self._start,
            ev.Stopping: self._stop,
            ev.Woke: self._wake,
            ev.Received: self._receive,
            ev.PeerStatus: self._compare,
            ev.WorkWaiting: self._note_work,
            ev.BlockBuilt: self._note_built,
            ev.BlockChecked: self._note_checked,
            ev.CertifiedBlock: self._take_certified,
            ev.BlockImported: self._note_imported,
            ev.PersistFailed: self._fail,
        }

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """The newest votes that no honest member signs both."""
        return tuple(self._evidence.kept.values())

    def step(self, event: ev.Event, now_ms: int) -> list[ev.Effect]:
        """Take one event in; what to do about it, in this order.

        Raises EncodingError on a damaged signer record, at `Started` only.
        """
        if isinstance(event, ev.Started):
            self._world = World(self._settings, self._signer, now_ms, False, now_ms, now_ms)
        elif self.failure is not None:
            return []
        world = self._world
        world.now_ms = now_ms
        self._handlers[type(event)](event)
        if self.failure is None:
            self._resume()
            self._decision.apply_rules()
            self._ask_to_wake(self._decision.set_timers())
        effects, world.effects = world.effects, []
        if self._evidence.fresh:
            effects += map(ev.Accuse, self._evidence.fresh)
            self._evidence.fresh = []
        return effects

    def status(self) -> Status:
        """What peers compare: to be sent on connecting, and each second while it is open."""
        decision = self._decision
        masks = decision.votes.masks(decision.place.validators)
        heard = tuple((kind, round_, mask) for (kind, round_), mask in sorted(masks.items()))
        is_open = decision.tick_at_ms is not None
        return Status(decision.place.height, decision.round, is_open, heard)

    def explain(self, now_ms: int) -> Explanation:
        """The pieces of the stall explainer; the next try is so many ms from now."""
        decision, place, round_ = self._decision, self._decision.place, self._decision.round
        own = {self._signer.address: round_} if decision.is_voter() else {}
        latest = decision.votes.latest | own
        next_ms = decision.deadline_ms
        return Explanation(
            place.height,
            round_,
            decision.proposer,
            place.quorum,
            tuple(who for who in place.validators if latest.get(who, -1) >= round_),
            tuple(who for who in place.validators if latest.get(who, -1) < round_),
            None if next_ms is None else max(0, next_ms - now_ms),
            self.failure or self._signer.explain(place.height, place.validators),
        )

    # Starting and stopping.

    def _start(self, event: ev.Started) -> None:
        height = event.head_height + 1
        missing_allowed = self._settings.sign_without_record and len(event.validators) <= 2
        self._signer.load(event.record, height, missing_allowed)
        self.failure = None
        self._wake_at_ms: int | None = None
        wait_ms = max(LISTEN_MS, self._settings.compute_timeout_ms(0))
        self._listen_until_ms = self._world.now_ms + wait_ms
        self._later: dict[Height, Votes] = {}
        self._ahead: dict[Address, Height] = {}
        self._enter_height(height, event.head_hash, event.validators)

    def _resume(self) -> None:
        """Go on under the lease found on disk once a quorum of others say that the chain has come
        no further, or do not answer: of an old copy of this disk the first vote would be false."""
        world, place = self._world, self._decision.place
        if not self._signer.found or not self._decision.holds_lease():
            return
        others = [who for who in place.validators if who != self._signer.address]
        level = sum(1 for who in others if self._ahead.get(who, NUMBER_MAX) <= place.height)
        heard = level >= min(place.quorum, len(others)) or world.now_ms >= self._listen_until_ms
        if heard and world.now_ms >= world.behind_until_ms:
            self._decision.resume()

    def _stop(self, event: ev.Stopping) -> None:
        self._world.persist(self._signer.write_note())
        self.failure = "it was stopped"

    def _fail(self, event: ev.PersistFailed) -> None:
        self.failure = f"its disk failed: {event.reason}"

    # The block being decided.

    def _wake(self, event: ev.Woke) -> None:
        self._wake_at_ms = None
        tick_at_ms = self._decision.tick_at_ms
        if tick_at_ms is not None and self._world.now_ms >= tick_at_ms:
            self._decision.repeat()

    def _note_work(self, event: ev.WorkWaiting) -> None:
        self._world.work_waiting = event.waiting

    def _note_built(self, event: ev.BlockBuilt) -> None:
        if event.height == self._decision.place.height:
            self._decision.note_built(event.round, event.block)

    def _note_checked(self, event: ev.BlockChecked) -> None:
        invalid = event.verdict is ev.Verdict.INVALID
        if invalid and event.block_hash == self._decision.committing:
            self.failure = f"it finds the certified block {self._decision.place.height} invalid"
        self._decision.note_checked(event.block_hash, event.verdict)

    def _note_imported(self, event: ev.BlockImported) -> None:
        world = self._world
        if event.height == self._decision.place.height:
            assert event.block_hash == self._decision.committing
            world.work_waiting = event.work_waiting
            world.quiet_since_ms = world.now_ms
            world.propose_from_ms = world.now_ms + self._settings.block_period_ms
            self._enter_height(event.height + 1, event.block_hash, event.validators)

    def _enter_height(
        self, height: Height, parent_hash: Hash32, validators: tuple[Address, ...]
    ) -> None:
        """Turn to the next height and take in what came for it too early."""
        members = tuple(sorted(set(validators)))
        place = Place(height, parent_hash, members, self._authors, self._decode)
        self._decision = Decision(self._world, place, Votes(self._evidence))
        if not self._is_behind():
            self._world.behind_until_ms = 0
        self._regain()
        early = self._later.pop(height, None)
        self._later = {later: kept for later, kept in self._later.items() if later > height}
        for author, message in early.messages() if early else ():
            if author in members and self._take(author, message, None) and not message.proven:
                self._world.effects.append(ev.Relay(message.encode(), None))

    # Peers.

    def _receive(self, event: ev.Received) -> None:
        """Authenticate and check membership, then keep the message for now or for later."""
        place = self._decision.place
        try:
            message = decode_message(event.message)
            vote = message.vote
            if not place.height <= vote.height <= place.height + HEIGHTS_AHEAD_MAX:
                return
            author = self._authors.author_of(vote)
            if author not in place.validators:
                raise InvalidMessage(f"a {vote.kind.name} of nobody in the validator set")
        except (EncodingError, InvalidMessage, InvalidSignature) as error:
            self._world.effects.append(ev.Reject(event.peer, str(error)))
            return
        if author == self._signer.address:
            self._world.persist(self._signer.distrust(vote))
        if vote.height == place.height:
            fresh = self._take(author, message, event.peer)
        else:
            self._note_ahead(author, vote.height)
            # What travels with it is judged, and passed on, once its height has come.
            fresh = self._keep_for_later(author, message) and message.proven
        if fresh:
            self._world.effects.append(ev.Relay(event.message, event.peer))

    def _take(self, author: Address, message: Message, peer: bytes | None) -> bool:
        try:
            fresh = self._decision.take(author, message)
        except (InvalidMessage, InvalidSignature) as error:
            self._world.effects.append(ev.Reject(peer, str(error)))
            return False
        if fresh:
            self._decision.last_peer = peer
        return fresh

    def _keep_for_later(self, author: Address, message: Message) -> bool:
        """Buffer a vote of a height close ahead. Of the furthest height goes first what the author
        that fills most of it said, so that nobody pushes out the votes of the others."""
        votes = self._later.setdefault(message.vote.height, Votes(self._evidence))
        if not votes.add(author, message):
            return False
        while sum(kept.held_bytes.total() for kept in self._later.values()) > BUFFER_BYTES_MAX:
            furthest = max(height for height, kept in self._later.items() if kept.held_bytes)
            kept = self._later[furthest]
            heaviest, _ = kept.held_bytes.most_common(1)[0]
            kept.give_up(heaviest)
            del kept.held_bytes[heaviest]
        return True

    def _compare(self, event: ev.PeerStatus) -> None:
        """Learn from what a peer holds, and send it what it lacks."""
        decision, place, status = self._decision, self._decision.place, event.status
        if event.member is not None and event.member in place.validators:
            self._note_ahead(event.member, status.height)
            self._signer.report(event.member, status.head_height)
            self._regain()
        if decision.committing is not None:
            return
        if status.height > place.height:
            self._world.effects.append(ev.FetchBlock(place.height, None, event.peer))
        elif status.height == place.height:
            # But a short round must leave time to say again what was lost in it.
            timeout_ms = self._settings.compute_timeout_ms(decision.round)
            until_ms = self._world.now_ms - min(TICK_MS, timeout_ms // 2)
            for message in decision.votes.find_missing(status, place.validators, until_ms):
                self._world.effects.append(ev.Send(message.encode(), event.peer))

    def _note_ahead(self, member: Address, height: Height) -> None:
        """f + 1 members at later heights: one of them is honest, so our height is decided.

        Only for a while: they may be gone for ever, with the votes that we would need.
        """
        self._ahead[member] = max(height, self._ahead.get(member, 0))
        if height > self._decision.place.height and self._is_behind():
            self._world.behind_until_ms = self._world.now_ms + CATCH_UP_MS

    def _is_behind(self) -> bool:
        place = self._decision.place
        further = [who for who in place.validators if self._ahead.get(who, 0) > place.height]
        return len(further) > place.faults

    def _take_certified(self, event: ev.CertifiedBlock) -> None:
        decision, place, block = self._decision, self._decision.place, event.block
        if decision.committing is not None or block.number != place.height:
            return
        try:
            check_certificate(place, block, event.certificate, signatures=not event.verified)
        except (InvalidMessage, InvalidSignature) as error:
            self._world.effects.append(ev.Reject(event.peer, str(error)))
            return
        commit = Vote(Kind.COMMIT, place.height, event.certificate.round, block.hash, None, b"")
        own = self._signer.seal(commit)
        if own.signature in event.certificate.signatures:
            self._world.persist(self._signer.distrust(own))
        self._world.compare_until_ms = self._world.now_ms + COMPARE_MS
        decision.commit(block, event.certificate)

    # Helpers.

    def _regain(self) -> None:
        """A missing signer record is made anew once it is known from where on that is safe."""
        place = self._decision.place
        self._world.persist(self._signer.regain(place.validators, place.height))

    def _ask_to_wake(self, at_ms: int | None) -> None:
        if at_ms is not None and at_ms != self._wake_at_ms:
            self._world.effects.append(ev.WakeAt(at_ms))
        self._wake_at_ms = at_ms
