"""One machine: the daemon in small. It feeds its engine events and carries effects out in order.

Each write takes its time, and nothing behind it happens before. A crash loses all but the disk,
between any two effects. The chain is a list of certified blocks, valid by construction.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ledger.block import Block, Certificate
from ledger.consensus import events as ev
from ledger.consensus.messages import decode_message, decode_status
from ledger.consensus.qbft import Qbft
from ledger.consensus.signer import initial_record
from tests.simulator.checkers import Violation
from tests.simulator.stand_ins import GENESIS_HASH, KEYS, Recovered, make_block

if TYPE_CHECKING:
    from tests.simulator.world import World

SYNC_BLOCKS = 16  # served per request for certified blocks
STATUS_MS = 1_000
DRIFT_S = 2
DISK_REPAIR_MS = 1_500


@dataclass
class Disk:
    """What survives. `tamper` plants a bug: it sees each write as (old, new) and says what stays;
    `distort` does so with what a start reads."""

    record: bytes | None
    blocks: list[tuple[Block, Certificate]] = field(default_factory=list)
    tamper: Callable[[bytes | None, bytes], bytes] = lambda old, new: new
    distort: Callable[[bytes | None, int], bytes | None] = lambda record, height: record

    def save(self, record: bytes | None) -> None:
        if record is not None:
            self.record = self.tamper(self.record, record)


class Node:
    """An honest node. `crash_in`: power is cut before so many more effects are carried out;
    `fail_disk_in`: so many more writes succeed before one fails."""

    honest = True

    def __init__(self, world: World, index: int) -> None:
        self.world = world
        self.index = index
        self.name = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[index] if index < 26 else f"N{index + 1}"
        self.address = world.addresses[index]
        self.key = KEYS[self.address]
        self.disk = Disk(initial_record())
        self.engine: Qbft | None = None
        self.work: set[int] = set()
        self.clock_skew_s = 0
        self.crash_in: int | None = None
        self.fail_disk_in: int | None = None
        self._life = 0
        self._effects: deque[ev.Effect] = deque()
        self._writing = False
        self._synced: list[tuple[Block, Certificate]] = []

    @property
    def head_height(self) -> int:
        return len(self.disk.blocks)

    @property
    def head_hash(self) -> bytes:
        return self.disk.blocks[-1][0].hash if self.disk.blocks else GENESIS_HASH

    # Life.

    def start(self) -> None:
        if self.engine is None:
            self.world.tell(f"{self.name} starts at height {self.head_height + 1}")
            self.engine = Qbft(self.world.settings, self.key)
            self._begin()

    def crash(self) -> None:
        if self.engine is not None:
            self.world.tell(f"{self.name} loses power at height {self.head_height + 1}")
            self._end()

    def stop(self) -> None:
        """A clean stop: what was queued and the note reach the disk, then the process ends."""
        if self.engine is not None:
            self.world.tell(f"{self.name} stops cleanly at height {self.head_height + 1}")
            self.step(ev.Stopping())
            self.at(0, self._end_when_written)

    def lose_record(self) -> None:
        """Restored from a backup: some of the blocks, no signer record."""
        self.crash()
        kept = self.world.random.randint(0, self.head_height)
        self.world.tell(f"{self.name} loses its signer record, and blocks above {kept}")
        self.disk.record = None
        del self.disk.blocks[kept:]

    def at(self, delay_ms: int, action: Callable[[], None]) -> None:
        """Something this process does later, if it lives until then."""
        life = self._life
        self.world.at(delay_ms, lambda: action() if life == self._life else None)

    def _begin(self) -> None:
        """A start, or going on after the disk has failed and works again."""
        self._life += 1
        self._effects.clear()
        self._synced.clear()
        self._writing = False
        self.crash_in = self.fail_disk_in = None
        record = self.disk.distort(self.disk.record, self.head_height + 1)
        validators = self.world.validators_at(self.head_height + 1)
        self.step(ev.Started(self.head_height, self.head_hash, validators, record))
        self.step(ev.WorkWaiting(bool(self.work)))
        self.send_status()
        self.at(STATUS_MS, self._each_second)

    def _end(self) -> None:
        self.engine = None
        self._life += 1
        self._effects.clear()
        self._writing = False

    def _end_when_written(self) -> None:
        if self._effects or self._writing:
            self.at(1, self._end_when_written)
        else:
            self._end()

    def _each_second(self) -> None:
        """In an open round peers compare each second what they hold."""
        assert self.engine is not None
        if self.engine.failure is None:
            if self.engine.status().open:
                self.send_status()
            self.at(STATUS_MS, self._each_second)

    # Events in, effects out.

    def step(self, event: ev.Event) -> None:
        if self.engine is None:
            return
        before = Recovered.count
        self._effects.extend(self.engine.step(event, self.world.now_ms))
        recovered, n = Recovered.count - before, len(self.world.addresses)
        # A PROPOSAL with its justification, twice over for what was kept for later.
        if recovered > 2 * (2 * n + 1) * (1 + isinstance(event, ev.BlockImported) * 8 * n):
            raise Violation("R", f"{self.name} recovers {recovered} signatures at one event")
        self._drain()

    def _drain(self) -> None:
        while self._effects and not self._writing:
            if self.crash_in is not None:
                if self.crash_in == 0:
                    self.crash()
                    return
                self.crash_in -= 1
            effect = self._effects.popleft()
            if isinstance(effect, ev.Persist | ev.CommitBlock):
                self._writing = True
                delay_ms = self.world.random.randint(0, self.world.weather.disk_ms_max)
                self.at(delay_ms, lambda effect=effect: self._write(effect))  # type: ignore[misc]
            else:
                self.carry_out(effect)

    def _write(self, effect: ev.Persist | ev.CommitBlock) -> None:
        self._writing = False
        if self.fail_disk_in is not None:
            if self.fail_disk_in == 0:
                self.world.tell(f"{self.name}'s disk fails at height {self.head_height + 1}")
                self._effects.clear()
                self.step(ev.PersistFailed("disk full"))
                self.at(DISK_REPAIR_MS, self._begin)
                return
            self.fail_disk_in -= 1
        if isinstance(effect, ev.Persist):
            self.disk.save(effect.record)
        else:
            self._import(effect)
        self._drain()

    def _import(self, effect: ev.CommitBlock) -> None:
        block = effect.block
        if block.header.parent_hash != self.head_hash or block.number != self.head_height + 1:
            raise Violation("S1", f"{self.name} commits a block that does not follow its head")
        self.disk.blocks.append((block, effect.certificate))
        self.disk.save(effect.lease)
        self.world.tell(f"{self.name} imports {block.number} of round {effect.certificate.round}")
        decided_by = self.world.validators_at(block.number)
        self.world.checker.see_import(block, effect.certificate, decided_by)
        self.world.on_import(self)
        self.work -= self.world.contents.get(block.hash, frozenset())
        validators = self.world.validators_at(block.number + 1)
        waiting = bool(self.work)
        self.step(ev.BlockImported(block.number, block.hash, validators, waiting))
        if self._synced:
            self._offer(*self._synced.pop(0))

    def carry_out(self, effect: ev.Effect) -> None:
        """Every effect but writes."""
        match effect:
            case ev.Send(message, to):
                self.send(message, to)
            case ev.Relay(message, origin):
                if self.world.weather.ring:
                    for peer in self.world.peers_of(self.index):
                        if self.world.nodes[peer].address != origin:
                            self._transmit(peer, message)
            case ev.WakeAt(at_ms):
                self.at(max(0, at_ms - self.world.now_ms), lambda: self.step(ev.Woke()))
            case ev.BuildBlock(height, round_):
                self.at(self.world.random.randint(0, 10), lambda: self._build(height, round_))
            case ev.CheckBlock(block):
                self.at(self.world.random.randint(0, 10), lambda: self._check(block))
            case ev.FetchBlock(height, _, peer):
                self._fetch(height, peer)

    # Blocks.

    def _build(self, height: int, round_: int) -> None:
        if height != self.head_height + 1:
            return
        parent_s = self.disk.blocks[-1][0].header.timestamp if self.disk.blocks else 0
        timestamp = max(parent_s, self._clock_s())
        random = self.world.random
        block = make_block(self.head_hash, height, self.address, timestamp, random)
        self.world.contents[block.hash] = frozenset(self.work)
        self.step(ev.BlockBuilt(height, round_, block))

    def _check(self, block: Block) -> None:
        parent_s = self.disk.blocks[-1][0].header.timestamp if self.disk.blocks else 0
        ahead = block.header.timestamp > max(parent_s, self._clock_s() + DRIFT_S)
        verdict = ev.Verdict.NOT_YET if ahead else ev.Verdict.VALID
        if block.hash not in self.world.contents:
            verdict = ev.Verdict.INVALID
        self.step(ev.BlockChecked(block.hash, verdict))

    def _clock_s(self) -> int:
        return max(0, self.world.now_ms // 1_000 + self.clock_skew_s)

    def _fetch(self, height: int, peer: bytes | None) -> None:
        peers = self.world.peers_of(self.index)
        if not peers:
            return
        target = self.world.random.choice(peers)
        for i in peers:
            if self.world.nodes[i].address == peer:
                target = i
        self.world.transmit(self.index, target, lambda node: node.serve(self.index, height))

    def serve(self, asker: int, height: int) -> None:
        """Give certified blocks from a height on."""
        given = self.disk.blocks[height - 1 : height - 1 + SYNC_BLOCKS]
        if given and not self.world.is_spited(self.index, asker, ("blocks", self.world.now_ms)):
            self.world.transmit(self.index, asker, lambda node: node.take_blocks(list(given)))

    def take_blocks(self, blocks: list[tuple[Block, Certificate]]) -> None:
        self._synced = [one for one in blocks if one[0].number > self.head_height]
        if self._synced:
            self._offer(*self._synced.pop(0))

    def _offer(self, block: Block, certificate: Certificate) -> None:
        self.step(ev.CertifiedBlock(None, block, certificate))

    def take_work(self, work: int) -> None:
        self.work.add(work)
        self.step(ev.WorkWaiting(True))

    # Messages.

    def send(self, message: bytes, to: bytes | None) -> None:
        vote = decode_message(message).vote
        own = self.world.authors.author_of(vote) == self.address
        self.world.checker.see_vote(vote, self.disk.record if own else None)
        for peer in self.world.peers_of(self.index):
            if to is None or self.world.nodes[peer].address == to:
                self._transmit(peer, message)

    def _transmit(self, peer: int, message: bytes) -> None:
        sender, vote = self.address, decode_message(message).vote
        if self.world.is_spited(self.index, peer, vote[:3]):
            return
        self.world.transmit(self.index, peer, lambda node: node.step(ev.Received(sender, message)))

    def send_status(self, only: int | None = None) -> None:
        assert self.engine is not None
        if self.engine.failure is not None:
            return
        data = self.engine.status().encode()
        for peer in self.world.peers_of(self.index) if only is None else [only]:
            self.world.transmit(self.index, peer, lambda node: node.take_status(self.index, data))

    def take_status(self, sender: int, data: bytes) -> None:
        """Learn what a peer holds; one behind, or in an open round, is told the same of us."""
        status = decode_status(data)
        address = self.world.nodes[sender].address
        self.step(ev.PeerStatus(address, status, address))
        engine = self.engine
        if engine is not None and engine.failure is None:
            behind = status.height <= self.head_height
            if behind or (status.open and not engine.status().open):
                self.send_status(sender)
