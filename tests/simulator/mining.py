"""A network of miners under one seeded clock: real engines, chains and pools, simulated everything.

A search for a nonce takes exponentially long, difficulty 1 makes any nonce good. Links delay, lose,
repeat and reorder; the network is parted and healed; nodes crash (all but the store is gone) and
come back. Not here: what is asserted.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from ledger.block import Block
from ledger.branches import Branches, Place
from ledger.chain import Chain
from ledger.consensus import events as ev
from ledger.consensus.messages import Status
from ledger.consensus.pow import Pow, PowSettings
from ledger.consensus.pow_messages import (
    BLOCKS_MAX,
    encode_ask,
    encode_blocks,
    list_locator_heights,
)
from ledger.crypto.address import address_of
from ledger.errors import BlockNotYet, InvalidBlock, InvalidTransaction
from ledger.genesis import Genesis
from ledger.pool import Pool
from ledger.store.memory import MemoryStore
from ledger.transaction import Transaction, sign_transaction
from ledger.work import compute_seal_hash

CHAIN_ID = 1947
START_S = 1_700_000_000
STATUS_MS = 1_000
SENDER_KEYS = [bytes([100 + index]) * 32 for index in range(4)]


@dataclass
class Weather:
    """`loss` and `duplicates` in percent; `block_ms` is the mean time of the whole network."""

    delay_ms: tuple[int, int] = (1, 50)
    loss: int = 0
    duplicates: int = 0
    execute_ms: int = 5
    block_ms: int = 2_000


class World:
    """Nodes, links and time. `rates` are the nodes' shares of the work, equal without."""

    def __init__(
        self,
        seed: int,
        count: int,
        weather: Weather | None = None,
        rates: list[float] | None = None,
        **settings: Any,
    ) -> None:
        self.random = Random(seed)
        self.weather = weather or Weather()
        self.now_ms = 0
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self.genesis = Genesis(
            name="mined",
            chain_id=CHAIN_ID,
            timestamp=START_S,
            validators=tuple(address_of(bytes([index + 1]) * 32) for index in range(count)),
            consensus="pow",
            alloc={address_of(key): 10**18 for key in SENDER_KEYS},
            **settings,
        )
        self.groups = [set(range(count))]
        self.rates = rates or [1 / count] * count
        self.nodes = [Node(self, index) for index in range(count)]
        self.mined: dict[bytes, int] = {}
        """Every block ever found, and when."""

    def at(self, delay_ms: float, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (self.now_ms + int(delay_ms), self._count, action))

    def run(self, until_ms: int, done: Callable[[], bool] | None = None) -> bool:
        """Run for so long, or until `done`; whether it was done."""
        end_ms = self.now_ms + until_ms
        while self._events and self._events[0][0] <= end_ms:
            if done is not None and done():
                return True
            self.now_ms, _, action = heapq.heappop(self._events)
            action()
        self.now_ms = end_ms
        return done is not None and done()

    def connected(self, one: int, other: int) -> bool:
        return one != other and any(one in group and other in group for group in self.groups)

    def part(self, *groups: set[int]) -> None:
        self.groups = list(groups)

    def heal(self) -> None:
        self.groups = [set(range(len(self.nodes)))]

    def transmit(self, sender: int, target: int, deliver: Callable[[Node], None]) -> None:
        weather = self.weather
        for _ in range(2 if self.random.randrange(100) < weather.duplicates else 1):
            if self.random.randrange(100) >= weather.loss:
                self.at(self.random.randint(*weather.delay_ms), lambda: arrive())

        def arrive() -> None:
            node = self.nodes[target]
            if self.connected(sender, target) and node.alive:
                deliver(node)

    def heads(self) -> set[bytes]:
        return {node.chain.head.hash for node in self.nodes}

    def agree(self) -> bool:
        return len(self.heads()) == 1


class Node:
    """The daemon in small."""

    def __init__(self, world: World, index: int) -> None:
        self.world, self.index = world, index
        self.address = world.genesis.validators[index]
        self.store = MemoryStore()
        self.alive = False
        self.mining = True
        self.clock_skew_s = 0
        self.withdrawn = 0
        self.life = 0

    # Life.

    def start(self) -> None:
        self.life += 1
        self.alive = True
        world = self.world
        self.chain = Chain(self.store, world.genesis, flush_blocks=8)
        self.branches = Branches(self.chain)
        self.pool = Pool(CHAIN_ID, world.genesis.gas_limit)
        self.engine = Pow(PowSettings(self.mining, world.genesis.empty_block_period_s))
        self._effects: deque[ev.Effect] = deque()
        self._search = 0
        head = self.chain.head
        self.step(ev.Started(head.number, head.hash, (), None))
        self.step(self._head_moved())
        self.send_status()
        self.at(STATUS_MS, self._each_second)

    def crash(self) -> None:
        self.alive = False
        self.life += 1

    def at(self, delay_ms: float, action: Callable[[], None]) -> None:
        life = self.life
        self.world.at(delay_ms, lambda: action() if life == self.life else None)

    def _each_second(self) -> None:
        if self.engine.status().open:
            self.send_status()
            self._compare_pools()
        self.at(STATUS_MS, self._each_second)

    def step(self, event: ev.Event) -> None:
        self._effects.extend(self.engine.step(event, self.world.now_ms))
        while self._effects:
            self._carry_out(self._effects.popleft())

    def _carry_out(self, effect: ev.Effect) -> None:
        world = self.world
        match effect:
            case ev.Send(message, to):
                self._send(message, to)
            case ev.Relay(message, origin):
                for peer in self._peers():
                    if world.nodes[peer].address != origin:
                        self._send(message, world.nodes[peer].address)
            case ev.WakeAt(at_ms):
                self.at(max(0, at_ms - world.now_ms), lambda: self.step(ev.Woke()))
            case ev.BuildBlock(height, round_):
                if height == self.chain.head.number + 1:
                    nonce = self.chain.state_at().get_nonce
                    candidates = self.pool.pending(0, nonce)
                    block = self.chain.build(candidates, self._now_s(), self.address).block
                    self.step(ev.BlockBuilt(height, round_, block))
            case ev.ImportBlock(block):
                self.at(world.weather.execute_ms, lambda: self._import(block))
            case ev.Mine(header):
                self._search += 1
                search, seal_hash = self._search, compute_seal_hash(header)
                mean_ms = world.weather.block_ms / world.rates[self.index]
                wait_ms = world.random.expovariate(1 / mean_ms)
                self.at(wait_ms, lambda: self._find(search, seal_hash))
            case ev.StopMining():
                self._search += 1
            case ev.AskBlocks(after, to):
                heights = list_locator_heights(self.chain.head.number)
                locator = [self.chain.header(height).hash for height in heights]
                self._send(encode_ask([after, *locator] if after else locator), to)
            case ev.SendBlocks(locator, to):
                blocks = self.branches.list_following(locator, BLOCKS_MAX)
                self._send(encode_blocks(blocks), to)
            case ev.Reject(_, reason):
                raise AssertionError(f"an honest peer is rejected: {reason}")

    # Blocks.

    def _find(self, search: int, seal_hash: bytes) -> None:
        if search == self._search:
            self.step(ev.Mined(seal_hash, self.world.random.randbytes(8)))

    def _import(self, block: Block) -> None:
        before = self.chain.head.hash
        outcome, why, wait_ms = ev.Outcome.INVALID, "", 0
        try:
            added = self.branches.add(block, self._now_s())
            outcome = ev.Outcome(added.place.value)
            if block.header.coinbase == self.address and added.place is not Place.KNOWN:
                self.world.mined.setdefault(block.hash, self.world.now_ms)
            if added.place is Place.HEAD:
                self.withdrawn += len(added.withdrawn)
                for height in range(added.first, self.chain.head.number + 1):
                    self.pool.remove_included(self.chain.block(height).transactions)
                state = self.chain.state_at()
                returned = [tx for old, _ in added.withdrawn for tx in old.transactions]
                self.pool.take_back(returned, state.get_nonce, state.get_balance)
        except BlockNotYet as error:
            outcome, wait_ms = ev.Outcome.NOT_YET, (error.timestamp - self._now_s()) * 1_000
        except InvalidBlock as error:
            why = str(error)
        self.step(ev.BlockPlaced(block.hash, outcome, why, wait_ms))
        if self.chain.head.hash != before:
            self.step(self._head_moved())

    def _head_moved(self) -> ev.HeadMoved:
        waiting = self.pool.has_pending(0, self.chain.state_at().get_nonce)
        return ev.HeadMoved(self.chain.head, self.branches.is_unsettled(), waiting)

    def _now_s(self) -> int:
        return START_S + self.world.now_ms // 1_000 + self.clock_skew_s

    # Others.

    def _peers(self) -> list[int]:
        count = len(self.world.nodes)
        return [peer for peer in range(count) if self.world.connected(self.index, peer)]

    def _send(self, message: bytes, to: bytes | None) -> None:
        for peer in self._peers():
            if to is None or self.world.nodes[peer].address == to:
                self.world.transmit(
                    self.index,
                    peer,
                    lambda node: node.step(ev.Received(self.address, message)),
                )

    def send_status(self) -> None:
        data = self.engine.status().encode()
        for peer in self._peers():
            self.world.transmit(self.index, peer, lambda node: node.hear_status(self, data))

    def hear_status(self, sender: Node, data: bytes) -> None:
        from ledger.consensus.messages import decode_status

        status: Status = decode_status(data)
        self.step(ev.PeerStatus(sender.address, status))
        if status.head_height < self.chain.head.number:
            answer = self.engine.status().encode()
            self.world.transmit(
                self.index, sender.index, lambda node: node.hear_status(self, answer)
            )

    def _compare_pools(self) -> None:
        waiting = [self.pool.get(one) for one in self.pool.hashes()]
        for peer in self._peers():
            self.world.transmit(self.index, peer, lambda node: node.take(waiting))

    def take(self, transactions: list[Transaction | None]) -> None:
        state = self.chain.state_at()
        for transaction in transactions:
            if transaction is None:
                continue
            try:
                sender = transaction.sender
                self.pool.add(transaction, state.get_nonce(sender), state.get_balance(sender))
            except InvalidTransaction:
                continue
            for peer in self._peers():
                self.world.transmit(self.index, peer, _give(transaction))
            waiting = self.pool.has_pending(0, state.get_nonce)
            self.step(ev.WorkWaiting(waiting))


def _give(transaction: Transaction) -> Callable[[Node], None]:
    return lambda node: node.take([transaction])


def make_transaction(sender: int, nonce: int) -> Transaction:
    return sign_transaction(
        SENDER_KEYS[sender],
        chain_id=CHAIN_ID,
        nonce=nonce,
        to=bytes(19) + b"\x07",
        value=1,
        gas=21_000,
        gas_price=0,
    )
