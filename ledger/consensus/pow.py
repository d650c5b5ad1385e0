"""Proof of work as a state machine without I/O: `step(event, now_ms) -> effects`.

It decides what is mined and when, which blocks go to the chain in which order, who is asked for
what is missing, and what is passed on. Blocks are mined while work waits and until the last
transaction has SETTLED_BLOCKS on top; then a quiet chain rests, or makes an empty block each
`empty_block_period_s`. A block whose parent is not here, or that is ahead of our clock, is held for
a while; whoever sent it is asked for what lies between. A peer whose answers do not help is asked
last for a minute, so that a false height costs one question. Not here: which branch is the chain
(`ledger.branches`), the search for nonces. Source: DESIGN.md section 4.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from ledger.block import Block, Header, decode_block
from ledger.consensus import events as ev
from ledger.consensus.messages import Status
from ledger.consensus.pow_messages import Ask, Blocks, NewBlock, decode_message, encode_new_block
from ledger.consensus.pow_peers import Peers, make_status
from ledger.errors import LedgerError
from ledger.types import Hash32
from ledger.work import compute_seal_hash, seal

REBUILD_MS = 3_000  # between two templates on one head: building one runs all that waits
REFRESH_MS = 30_000  # a template gets the time of the day anew
ASK_MS = 15_000  # for a whole answer of 2.5 MB, as catching up by certificates allows
SERVE_MS = 50  # between two answers to one peer, each up to 2.5 MB
BEHIND_BLOCKS = 2  # so far behind the best peer, work on our own head is wasted
HELD_MAX = 32  # orphans, and blocks ahead of our clock, each
HELD_BYTES_MAX = 8_000_000  # of orphans: four full blocks, on a Pi of 1 GB
ORPHAN_MS = 60_000  # an orphan that nobody had a parent for by then has none
QUEUE_MAX = 128  # blocks waiting to be executed: an answer of 64 and as many new ones
SEEN_MAX = 1_024  # hashes of blocks that came, each from several peers


@dataclass(frozen=True, slots=True)
class PowSettings:
    """`mining`: whether this node looks for blocks, or follows alone."""

    mining: bool
    empty_block_period_s: int = 0


@dataclass(frozen=True, slots=True)
class PowExplanation:
    """How the engine stands. `asked` is the peer that owes us blocks; the rest counts."""

    mining: bool
    orphans: int
    ahead_of_clock: int
    queued: int
    asked: bytes | None
    trouble: str | None


@dataclass(slots=True)
class _Item:
    """A block on its way into the chain. `live`: it was flooded, not asked for."""

    block: Block
    peer: bytes | None
    live: bool
    due_ms: int = 0


class Pow:
    """The engine of one node. `decode` makes a block of its RLP. `failure` says why it does
    nothing, if so, and `trouble` why it does not mine."""

    def __init__(
        self, settings: PowSettings, decode: Callable[[bytes], Block] = decode_block
    ) -> None:
        self.failure: str | None = "it has not started"
        self.trouble: str | None = None
        self._settings = settings
        self._decode = decode
        self._seen: OrderedDict[Hash32, None] = OrderedDict()
        self._handlers: dict[type, Callable[..., None]] = {
            ev.Stopping: self._stop,
            ev.Woke: self._wake,
            ev.Received: self._receive,
            ev.PeerStatus: self._compare,
            ev.WorkWaiting: self._note_work,
            ev.BlockBuilt: self._note_built,
            ev.PersistFailed: self._fail,
            ev.BlockPlaced: self._note_placed,
            ev.HeadMoved: self._note_head,
            ev.Mined: self._note_mined,
            ev.PeerGone: self._note_gone,
        }

    def step(self, event: ev.Event, now_ms: int) -> list[ev.Effect]:
        """Take one event in; what to do about it, in this order."""
        self._effects: list[ev.Effect] = []
        self._now_ms = now_ms
        if isinstance(event, ev.Started):
            self._start(event)
        elif self.failure is not None:
            return []
        elif type(event) in self._handlers:
            self._handlers[type(event)](event)
        if self.failure is None and self._head is not None:
            self._take_due()
            self._ask_for_more()
            self._decide_mining()
            self._ask_to_wake()
        return self._effects

    def status(self) -> Status:
        """What peers compare each second while it is open. Its round and votes mean nothing."""
        busy = self._asked is not None or bool(self._queue) or bool(self._orphans)
        return make_status(self._height, self._head_hash, busy or self._wants_block())

    def explain(self, now_ms: int) -> PowExplanation:
        asked = self._asked[0] if self._asked else None
        return PowExplanation(
            self._mining is not None,
            len(self._orphans),
            len(self._early),
            len(self._queue),
            asked,
            self.failure or self.trouble,
        )

    # Starting and stopping.

    def _start(self, event: ev.Started) -> None:
        """Begin anew; the head itself is told by the `HeadMoved` that follows."""
        self.failure = None
        self._height, self._head_hash = event.head_height, event.head_hash
        self._head: Header | None = None
        self._work = self._unsettled = self._stale = self._building = False
        self._template: Block | None = None
        self._mining: Hash32 | None = None
        self._built_ms = self._quiet_ms = self._now_ms
        self._queue: deque[_Item] = deque()
        self._placing: _Item | None = None
        self._orphans: OrderedDict[Hash32, _Item] = OrderedDict()
        self._early: OrderedDict[Hash32, _Item] = OrderedDict()
        self._peers = Peers()
        self._asked: tuple[bytes, int] | None = None
        self._answer: tuple[bytes, Hash32] | None = None  # of whom, and how far it reached
        self._helped = False
        self._serve: dict[bytes, tuple[int, tuple[Hash32, ...]]] = {}
        self._wake_at_ms: int | None = None

    def _stop(self, event: ev.Stopping) -> None:
        self._effects.append(ev.StopMining())
        self.failure = "it was stopped"

    def _fail(self, event: ev.PersistFailed) -> None:
        self._effects.append(ev.StopMining())
        self.failure = f"its disk failed: {event.reason}"

    # Mining.

    def _wants_block(self) -> bool:
        """Whether a block should be looked for, by somebody."""
        period_ms = self._settings.empty_block_period_s * 1_000
        overdue = period_ms > 0 and self._now_ms - self._quiet_ms >= period_ms
        contested = self._peers.is_contested(self._height, self._head_hash)
        return self._work or self._unsettled or overdue or contested

    def _decide_mining(self) -> None:
        behind = self._peers.is_behind(self._height, BEHIND_BLOCKS, self._now_ms)
        able = self._settings.mining and self.trouble is None
        if not able or behind or not self._wants_block():
            if self._mining is not None:
                self._effects.append(ev.StopMining())
            self._mining = self._template = None
            self._building = False
            return
        age_ms = self._now_ms - self._built_ms
        old = age_ms >= (REBUILD_MS if self._stale else REFRESH_MS)
        if not self._building and (self._template is None or old):
            self._building, self._stale = True, False
            self._effects.append(ev.BuildBlock(self._height + 1, 0))

    def _note_work(self, event: ev.WorkWaiting) -> None:
        self._work = event.waiting
        self._stale = True

    def _note_built(self, event: ev.BlockBuilt) -> None:
        header = event.block.header
        if self._head is None or header.parent_hash != self._head.hash or not self._building:
            return
        self._building = False
        self._built_ms = self._now_ms
        self._template, self._mining = event.block, compute_seal_hash(header)
        self._effects.append(ev.Mine(header))

    def _note_mined(self, event: ev.Mined) -> None:
        if self._template is None or event.seal_hash != self._mining:
            return  # of a head that is no more
        header = seal(self._template.header, event.nonce)
        self._queue.appendleft(_Item(Block(header, self._template.transactions), None, True))
        self._place_next()

    def _note_head(self, event: ev.HeadMoved) -> None:
        if self._head is None or event.header.hash != self._head.hash:
            self._template, self._building = None, False
            self._quiet_ms = self._now_ms
        self._head, self._head_hash = event.header, event.header.hash
        self._height = event.header.number
        self._work, self._unsettled = event.work_waiting, event.unsettled

    # Blocks on their way into the chain.

    def _queue_block(self, item: _Item) -> None:
        block_hash = item.block.hash
        known = block_hash in self._seen or block_hash in self._orphans or block_hash in self._early
        if not known and len(self._queue) < QUEUE_MAX:
            self._remember(block_hash)
            self._queue.append(item)
            self._place_next()

    def _place_next(self) -> None:
        """One at a time, so that clients and peers have their turn between two."""
        if self._placing is None and self._queue:
            self._placing = self._queue.popleft()
            self._effects.append(ev.ImportBlock(self._placing.block))

    def _note_placed(self, event: ev.BlockPlaced) -> None:
        item, self._placing = self._placing, None
        assert item is not None and item.block.hash == event.block_hash
        match event.outcome:
            case ev.Outcome.HEAD | ev.Outcome.SIDE:
                self._helped = True
                if item.peer is not None:
                    self._peers.note_block(item.peer, item.block.number, event.block_hash)
                self._pass_on(item, event.outcome)
                self._adopt_orphans(event.block_hash)
            case ev.Outcome.ORPHAN:
                self._hold_orphan(item)
            case ev.Outcome.NOT_YET:
                item.due_ms = self._now_ms + event.wait_ms
                self._forget(event.block_hash)
                self._hold(self._early, item)
            case ev.Outcome.INVALID:
                self._refuse(item.peer, event)
        self._place_next()

    def _refuse(self, peer: bytes | None, event: ev.BlockPlaced) -> None:
        """What came with it falls with it; another may give the same block with its own body."""
        if peer is None:
            self.trouble = f"a block it mined does not hold: {event.why}"
            return
        self._forget(event.block_hash)
        self._effects.append(ev.Reject(peer, event.why))
        self._peers.note_useless(peer, self._now_ms)
        self._answer = None
        for item in [one for one in self._queue if one.peer == peer and not one.live]:
            self._queue.remove(item)
            self._forget(item.block.hash)

    def _pass_on(self, item: _Item, outcome: ev.Outcome) -> None:
        """Flood what is new: the head, and its rivals of the same height."""
        fresh = outcome is ev.Outcome.HEAD or item.block.number >= self._height
        if fresh and (item.live or not self._queue):
            message = encode_new_block(item.block)
            own = item.peer is None
            self._effects.append(ev.Send(message) if own else ev.Relay(message, item.peer))

    def _adopt_orphans(self, parent: Hash32) -> None:
        for block_hash, item in list(self._orphans.items()):
            if item.block.header.parent_hash == parent:
                del self._orphans[block_hash]
                self._queue.append(item)

    def _hold_orphan(self, item: _Item) -> None:
        self._forget(item.block.hash)
        item.due_ms = self._now_ms + ORPHAN_MS
        self._hold(self._orphans, item)
        sizes = [
            sum(len(tx.raw) for tx in one.block.transactions) for one in self._orphans.values()
        ]
        if sum(sizes) > HELD_BYTES_MAX:
            self._orphans.popitem(last=False)
        if item.peer is not None:
            self._peers.note_block(item.peer, item.block.number, item.block.hash)

    def _hold(self, held: OrderedDict[Hash32, _Item], item: _Item) -> None:
        held[item.block.hash] = item
        if len(held) > HELD_MAX:
            held.popitem(last=False)

    def _take_due(self) -> None:
        for block_hash, item in list(self._early.items()):
            if item.due_ms <= self._now_ms:
                del self._early[block_hash]
                self._queue_block(item)
        for block_hash, item in list(self._orphans.items()):
            if item.due_ms <= self._now_ms or item.block.number <= self._height:
                del self._orphans[block_hash]
        for peer, (due_ms, locator) in list(self._serve.items()):
            if due_ms <= self._now_ms and locator:
                self._serve[peer] = (self._now_ms + SERVE_MS, ())
                self._effects.append(ev.SendBlocks(locator, peer))
            elif due_ms <= self._now_ms:
                del self._serve[peer]

    def _remember(self, block_hash: Hash32) -> None:
        self._seen[block_hash] = None
        if len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)

    def _forget(self, block_hash: Hash32) -> None:
        self._seen.pop(block_hash, None)

    # Peers.

    def _receive(self, event: ev.Received) -> None:
        assert event.peer is not None
        try:
            message = decode_message(event.message, self._decode)
        except LedgerError as error:
            self._effects.append(ev.Reject(event.peer, str(error)))
            return
        match message:
            case NewBlock(block):
                self._queue_block(_Item(block, event.peer, live=True))
            case Ask(locator):
                due_ms, _ = self._serve.get(event.peer, (self._now_ms, ()))
                self._serve[event.peer] = (due_ms, locator)
            case Blocks(blocks) if self._asked and self._asked[0] == event.peer:
                self._take_answer(event.peer, blocks)

    def _take_answer(self, peer: bytes, blocks: tuple[Block, ...]) -> None:
        self._asked = None
        self._helped = False
        self._answer = (peer, blocks[-1].hash) if blocks else None
        if not blocks:
            self._peers.note_useless(peer, self._now_ms)
        for block in blocks:
            self._queue_block(_Item(block, peer, live=False))

    def _compare(self, event: ev.PeerStatus) -> None:
        self._peers.hear(event.peer, event.status)

    def _note_gone(self, event: ev.PeerGone) -> None:
        self._peers.remove(event.peer)
        if self._asked is not None and self._asked[0] == event.peer:
            self._asked = None

    def _ask_for_more(self) -> None:
        """Ask who is ahead for what follows our head, or what that peer gave last."""
        if self._asked is not None:
            peer, due_ms = self._asked
            if due_ms > self._now_ms:
                return
            self._asked = None
            self._peers.note_useless(peer, self._now_ms)
        if self._placing is not None or self._queue:
            return
        last, after = self._answer or (None, None)
        self._answer = None
        if last is not None and not self._helped:  # blocks, but none that we did not have
            self._peers.note_useless(last, self._now_ms)
        ahead = self._peers.find_ahead(self._height, self._now_ms)
        if not ahead:
            return
        asked = last if last in ahead else ahead[0]
        self._asked = (asked, self._now_ms + ASK_MS)
        self._effects.append(ev.AskBlocks(after if asked == last else None, asked))

    # Time.

    def _wake(self, event: ev.Woke) -> None:
        self._wake_at_ms = None

    def _ask_to_wake(self) -> None:
        times = [item.due_ms for held in (self._early, self._orphans) for item in held.values()]
        times += [due_ms for due_ms, _ in self._serve.values()]
        if self._asked is not None:
            times.append(self._asked[1])
        if self._mining is not None:
            times.append(self._built_ms + (REBUILD_MS if self._stale else REFRESH_MS))
        elif self._settings.empty_block_period_s and not self._wants_block():
            times.append(self._quiet_ms + self._settings.empty_block_period_s * 1_000)
        times += self._peers.list_times()
        at_ms = min((time for time in times if time > self._now_ms), default=None)
        if at_ms is not None and at_ms != self._wake_at_ms:
            self._effects.append(ev.WakeAt(at_ms))
        self._wake_at_ms = at_ms
