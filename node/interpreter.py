"""Carries out what the consensus engine asks for, in order, on the real disk, clock and network.

Effects are carried out first in, first out, also across steps; nothing behind a `Persist` or a
`CommitBlock` happens before that is on disk. Where the disk fails, what was queued behind is
dropped, the engine stops signing, reads go on, and every few seconds the disk is tried again. Not
here: what the effects mean to the protocol (`ledger.consensus`), sockets.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from ledger.block import Block, Certificate
from ledger.chain import Chain, Committed
from ledger.consensus import events as ev
from ledger.crypto.address import to_checksum
from ledger.errors import (
    BlockNotYet,
    EncodingError,
    InvalidBlock,
    LedgerError,
    StoreError,
    UnknownRules,
)
from ledger.types import Address
from node.evidence import EvidenceShelf
from node.log import Log

FROM_PEERS = (ev.Received, ev.PeerStatus, ev.CertifiedBlock)
"""Events made of what a peer sent, which may be anything."""
DISK_RETRY_S = 5.0
"""Between attempts to write after the disk refused."""
PROBE_KEY = "node/probe"


class Engine(Protocol):
    """The part of an engine that the daemon uses."""

    failure: str | None

    def step(self, event: ev.Event, now_ms: int) -> list[ev.Effect]: ...


class Network(Protocol):
    """What effects do outside of this machine."""

    def send_consensus(self, message: bytes, to: Address | None) -> None: ...
    def relay_consensus(self, message: bytes, origin: Address | None) -> None: ...
    def reject_peer(self, peer: Address | None, reason: str) -> None: ...
    def penalise_peer(self, peer: Address | None, reason: str) -> None: ...
    def send_statuses(self) -> None: ...
    def fetch_block(self, height: int, peer: Address | None) -> None: ...


class Interpreter:
    """Feeds events to an engine and carries out its effects.

    `build` makes a block on the head of what waits; `on_committed` is told of each new head before
    the engine is and says whether work is left waiting, as `has_work` does at a start.
    """

    def __init__(
        self,
        engine: Engine,
        chain: Chain,
        network: Network,
        build: Callable[[], Block],
        on_committed: Callable[[Committed], bool],
        has_work: Callable[[], bool],
        log: Log,
    ) -> None:
        self.trouble: str | None = None
        """Why this node does not take part in consensus; None while it does."""
        self.evidence = EvidenceShelf(chain.store)
        self._engine = engine
        self._chain = chain
        self._network = network
        self._build = build
        self._on_committed = on_committed
        self._has_work = has_work
        self._log = log
        self._events: deque[ev.Event] = deque()
        self._effects: deque[ev.Effect] = deque()
        self._running = False
        self._stopped = False
        self._timer: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Tell the engine what the disk holds. Raises EncodingError on a damaged signer record."""
        self.feed(self._started())
        # What came while the engine had stopped, it has not heard of.
        self.feed(ev.WorkWaiting(self._has_work()))
        try:
            self._chain.rules_version(self._chain.head.number + 1)
        except UnknownRules as error:
            self._await_upgrade(error)
            self.feed(self._events.pop())

    def _started(self) -> ev.Started:
        chain = self._chain
        record = chain.store.load_signer()
        return ev.Started(chain.head.number, chain.head.hash, chain.validators, record)

    def stop(self) -> None:
        """A clean stop: its note is on disk when this returns."""
        self.feed(ev.Stopping())
        self._stopped = True
        for timer in (self._timer, self._retry):
            if timer is not None:
                timer.cancel()

    def feed(self, event: ev.Event) -> None:
        """Take one event in and do all that follows from it."""
        self._events.append(event)
        if self._running or self._stopped:
            return  # the outer call goes on with it
        self._running = True
        try:
            while self._events or self._effects:
                if self._effects:
                    effect = self._effects.popleft()
                    try:
                        self._carry_out(effect)
                    except StoreError as error:
                        self._disk_failed(error)
                    except UnknownRules as error:
                        self._await_upgrade(error)
                    except Exception as error:  # logged; nothing may follow what went wrong
                        self._log.bug("engine", error, effect=type(effect).__name__)
                        self._halt(error)
                else:
                    self._step(self._events.popleft())
        finally:
            self._running = False

    def _step(self, event: ev.Event) -> None:
        """Tell the engine. What it cannot bear is a bug of ours: of our own events it halts this
        node; of a peer's it must not, or whoever finds such bytes stops the network with them."""
        try:
            self._effects.extend(self._engine.step(event, now_ms()))
        except Exception as error:
            if isinstance(error, EncodingError) and isinstance(event, ev.Started):
                raise  # a damaged signer record: who started us tells the operator
            self._log.bug("engine", error, event=type(event).__name__)
            if isinstance(event, FROM_PEERS):
                self._network.penalise_peer(event.peer, "what it sent confused this node")
                self._start_over()
            elif not isinstance(event, ev.PersistFailed):  # that is how it is halted
                self._halt(error)

    def _start_over(self) -> None:
        """The engine may have stopped half-way: go on from the disk, as after a power cut. It
        signs nothing anew in its round."""
        try:
            self._effects.extend(self._engine.step(self._started(), now_ms()))
            self._events.appendleft(ev.WorkWaiting(self._has_work()))
        except EncodingError as error:
            self._halt(error)
        except StoreError as error:
            self._disk_failed(error)
        else:
            self._network.send_statuses()

    def _carry_out(self, effect: ev.Effect) -> None:
        match effect:
            case ev.Persist():
                self._chain.store.save_signer(effect.record)
            case ev.Send():
                self._network.send_consensus(effect.message, effect.to)
            case ev.Relay():
                self._network.relay_consensus(effect.message, effect.origin)
            case ev.Reject():
                self._network.reject_peer(effect.peer, effect.reason)
            case ev.Accuse():
                self._accuse(effect)
            case ev.WakeAt():
                self._wake_at(effect.at_ms)
            case ev.BuildBlock():
                self._build_block(effect)
            case ev.CheckBlock():
                self._check_block(effect.block)
            case ev.FetchBlock():
                self._network.fetch_block(effect.height, effect.peer)
            case ev.CommitBlock():
                self._commit_block(effect.block, effect.certificate, effect.lease)

    def _accuse(self, effect: ev.Accuse) -> None:
        if self.evidence.keep(effect.evidence):
            author = to_checksum(effect.evidence.author)
            self._log.error("engine", "a validator signed two things", validator=author)

    # Disk.

    def _commit_block(self, block: Block, certificate: Certificate, lease: bytes | None) -> None:
        chain = self._chain
        try:
            committed = chain.commit(block, certificate, lease)
        except InvalidBlock as error:
            # Certified by a quorum, yet not what we compute: one of us is broken, and more likely
            # it is this node. It says so and goes no further.
            self.trouble = (
                f"block {block.number} is certified but does not execute here ({error}): this "
                "node's software, memory or disk is faulty"
            )
            self._log.error("chain", self.trouble)
            self._events.append(ev.BlockChecked(block.hash, ev.Verdict.INVALID))
            return
        waiting = self._on_committed(committed)
        chain.rules_version(block.number + 1)  # or no step further
        self._events.append(
            ev.BlockImported(block.number, block.hash, committed.validators, waiting)
        )

    def _disk_failed(self, error: StoreError) -> None:
        """Stop signing, drop what was queued behind, and try again in a while."""
        self._effects.clear()
        if self.trouble is None:
            self._log.error("store", "the disk failed: signing stops, reads go on", why=error)
        self.trouble = f"the disk failed: {error}"
        self._events.append(ev.PersistFailed(str(error)))
        if self._retry is not None:
            self._retry.cancel()
        self._retry = asyncio.get_running_loop().call_later(DISK_RETRY_S, self._try_disk)

    def _try_disk(self) -> None:
        self._retry = None
        store = self._chain.store
        try:
            # As much as a block needs, so that success means something.
            store.put_durable(PROBE_KEY, bytes(1_000_000))
            store.put_durable(PROBE_KEY, None)
            self._chain.flush()
        except StoreError:
            self._retry = asyncio.get_running_loop().call_later(DISK_RETRY_S, self._try_disk)
            return
        self.trouble = None
        self._log.info("store", "the disk works again: signing resumes")
        try:
            self.start()
        except StoreError as error:  # it takes writes, but reading failed
            self.note_flush_failed(error)
        except EncodingError as error:
            self._halt(error)
        else:
            self._network.send_statuses()  # what came meanwhile was not heard

    def note_flush_failed(self, error: StoreError) -> None:
        """The state could not be written, or the record read: no more blocks until it can."""
        self._disk_failed(error)
        self.feed(self._events.pop())

    # Blocks.

    def _build_block(self, effect: ev.BuildBlock) -> None:
        if self._chain.head.number + 1 != effect.height:
            return  # the head went on since it was asked for
        self._events.append(ev.BlockBuilt(effect.height, effect.round, self._build()))

    def _check_block(self, block: Block) -> None:
        try:
            self._chain.check(block, int(time.time()))
            verdict = ev.Verdict.VALID
        except BlockNotYet as error:
            self._log.seldom("chain", "a proposal is ahead of our clock", why=error)
            verdict = ev.Verdict.NOT_YET
        except (StoreError, UnknownRules):
            raise
        except LedgerError as error:
            self._log.warn("chain", "a proposal is refused", height=block.number, why=error)
            verdict = ev.Verdict.INVALID
        self._events.append(ev.BlockChecked(block.hash, verdict))

    def note_fault(self, error: Exception) -> None:
        """What runs contracts is gone; whoever noticed may have halted already."""
        if self.trouble is None:
            self._halt(error)
            self.feed(self._events.pop())

    def _halt(self, error: Exception) -> None:
        """This machine or our own code, not a contract or a peer, failed: take no further part."""
        self._effects.clear()
        self.trouble = f"this node failed and takes no further part until it is restarted: {error}"
        self._log.error("engine", "halted", why=error)
        self._events.append(ev.PersistFailed(str(error)))

    def _await_upgrade(self, error: UnknownRules) -> None:
        """Here this program's knowledge of the rules ends: reads go on, blocks do not."""
        self._effects.clear()
        if self.trouble is None:
            self._log.error("chain", str(error))
        self.trouble = str(error)
        self._events.append(ev.PersistFailed(str(error)))

    # Time.

    def _wake_at(self, at_ms: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(at_ms / 1_000, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self.feed(ev.Woke())


def now_ms() -> int:
    """Monotonic milliseconds: those of the event loop, whatever the wall clock does."""
    return int(asyncio.get_running_loop().time() * 1_000)
