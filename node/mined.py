"""A node of a mined network: how it carries out what the engine of proof of work asks for.

Blocks go to the tree one at a time, each in a turn of the event loop of its own; what a switch of
branches withdraws goes back to the pool, and whoever listens hears of it. Not here: which branch
wins (`ledger.branches`), the effects that all engines share (`interpreter`).
"""

import asyncio
import time
from typing import TYPE_CHECKING, Any

from ledger.block import Block, decode_block
from ledger.branches import Added, Branches
from ledger.chain import Committed
from ledger.consensus import events as ev
from ledger.consensus.pow import Pow, PowSettings
from ledger.consensus.pow_messages import (
    BLOCKS_MAX,
    encode_ask,
    encode_blocks,
    list_locator_heights,
)
from ledger.consensus.qbft import Explanation
from ledger.errors import BlockNotYet, BranchesFull, LedgerError, StoreError, UnknownRules
from ledger.types import Hash32
from ledger.work import SETTLED_BLOCKS
from node.interpreter import Interpreter
from node.mining import Mining
from node.sync import Sync

if TYPE_CHECKING:
    from node.node import Node

WITHDRAWN_TOLD_MAX = 1_000
"""Blocks of one switch whose logs are told as removed: a listener with more to undo starts anew."""


class MinedEngine(Pow):
    """The engine in the words that a node asks every engine for."""

    def __init__(self, node: "Node") -> None:
        genesis = node.chain.genesis
        super().__init__(
            PowSettings(node.config.miner_enabled, genesis.empty_block_period_s),
            lambda data: decode_block(data, node.pool.get),
        )
        self._address = node.address

    def explain(self, now_ms: int) -> Explanation:  # type: ignore[override]
        """No round, no quorum but oneself; `trouble` as it stands."""
        told = super().explain(now_ms)
        height = self.status().height
        return Explanation(height, 0, self._address, 1, (), (), None, told.trouble)


class MinedSync(Sync):
    """Blocks are asked for by the engine, over branches: nothing is fetched by certificates."""

    async def run(self) -> None:
        await asyncio.Event().wait()

    def want(self, *arguments: Any) -> None:
        """Never asked for."""

    def note_status(self) -> None:
        """The engine heard it."""

    def receive(self, *arguments: Any) -> None:
        """An answer to nothing."""


class MinedInterpreter(Interpreter):
    """The interpreter of a mined network; it owns the tree of branches and the miner."""

    def __init__(self, node: "Node", engine: MinedEngine) -> None:
        super().__init__(
            engine, node.chain, node.exchange, node.build, node.commit, node.note_work, node.log
        )
        self.branches = Branches(node.chain)
        self.mining = Mining(node.config.miner_hashes_per_s, self._found, node.log)
        self._node = node
        self._life = 0

    def start(self) -> None:
        self._life += 1
        super().start()
        self.feed(self._head_moved())

    def _start_over(self) -> None:
        self._life += 1
        super()._start_over()
        self._events.append(self._head_moved())

    def _carry_out(self, effect: ev.Effect) -> None:
        match effect:
            case ev.ImportBlock(block):
                loop = asyncio.get_running_loop()
                loop.call_soon(self._import, block, self._life)
            case ev.Mine(header):
                self.mining.mine(header)
            case ev.StopMining():
                self.mining.stop()
            case ev.AskBlocks(after, to):
                self._ask(after, to)
            case ev.SendBlocks(locator, to):
                blocks = self.branches.list_following(locator, BLOCKS_MAX)
                self._network.send_consensus(encode_blocks(blocks), to)
            case _:
                super()._carry_out(effect)

    def _found(self, seal_hash: Hash32, nonce: bytes) -> None:
        self.feed(ev.Mined(seal_hash, nonce))

    def _ask(self, after: Hash32 | None, to: bytes) -> None:
        if to not in self._node.network.peers:
            self._events.append(ev.PeerGone(to))
            return
        heights = list_locator_heights(self._chain.head.number)
        locator = [self._chain.header(height).hash for height in heights]
        self._network.send_consensus(encode_ask([after, *locator] if after else locator), to)

    # Blocks.

    def _import(self, block: Block, life: int) -> None:
        """Find a block its place, tell everybody, then the engine."""
        if life != self._life or self._stopped or self.trouble is not None:
            return  # the engine has begun anew since it asked
        before = self._chain.head.hash
        try:
            placed = self._place(block)
        except StoreError as error:
            self.note_flush_failed(error)
            return
        except UnknownRules as error:
            self._await_upgrade(error)
            self.feed(self._events.pop())
            return
        except Exception as error:  # logged; nothing may follow what went wrong
            self._log.bug("chain", error)
            self._halt(error)
            self.feed(self._events.pop())
            return
        self.feed(placed)
        if self._chain.head.hash != before:
            self.feed(self._head_moved())

    def _place(self, block: Block) -> ev.BlockPlaced:
        now_s = int(time.time())
        try:
            added = self.branches.add(block, now_s)
        except BlockNotYet as error:
            self._log.seldom("chain", "a block is ahead of our clock", why=error)
            wait_s = error.timestamp - now_s - self._chain.genesis.drift_s
            return ev.BlockPlaced(block.hash, ev.Outcome.NOT_YET, "", max(1, wait_s) * 1_000)
        except (StoreError, UnknownRules):
            raise
        except BranchesFull as error:
            self._log.seldom("chain", str(error))
            return ev.BlockPlaced(block.hash, ev.Outcome.ORPHAN)
        except LedgerError as error:
            self._log.warn("chain", "a block is refused", height=block.number, why=error)
            return ev.BlockPlaced(block.hash, ev.Outcome.INVALID, str(error))
        self._tell(added)
        return ev.BlockPlaced(block.hash, ev.Outcome(added.place.value))

    def _tell(self, added: Added) -> None:
        """The node hears first what is gone, then what has come, then what waits again."""
        if added.committed is None:
            return
        node, chain = self._node, self._chain
        if added.withdrawn:
            self._log.info(
                "chain",
                "another branch is longer",
                withdrawn=len(added.withdrawn),
                from_block=added.first,
                head=chain.head.number,
            )
            node.withdraw(added.first, added.withdrawn[-WITHDRAWN_TOLD_MAX:])
        for height in range(added.first, chain.head.number):
            block, receipts = chain.block(height), chain.receipts(height)
            node.commit(Committed(block, receipts, chain.validators))
        node.commit(added.committed)
        returned = [tx for block, _ in added.withdrawn for tx in block.transactions]
        if returned:
            state = node.head_state(len(returned))
            node.pool.take_back(returned, state.get_nonce, state.get_balance)

    def _head_moved(self) -> ev.HeadMoved:
        waiting = self._has_work()
        return ev.HeadMoved(self._chain.head, self.branches.is_unsettled(), waiting)

    # What an operator asks.

    def describe(self) -> dict[str, Any]:
        """What `wattledger_status` adds for a mined network."""
        head, engine = self._chain.head.number, self._engine
        told = Pow.explain(engine, 0) if isinstance(engine, Pow) else None
        return {
            "difficulty": self._chain.genesis.difficulty,
            "mining": self.mining.is_running,
            "hashesPerSecond": self.mining.rate,
            "settledHead": self._chain.safe_height,
            "sideBlocks": len(self.branches),
            "orphans": told.orphans if told else 0,
            "aheadOfClock": told.ahead_of_clock if told else 0,
            "explanation": self._say(head, told.ahead_of_clock if told else 0),
        }

    def _say(self, head: int, ahead_of_clock: int) -> str:
        node = self._node
        if self.mining.is_running:
            doing = f"This node mines block {head + 1} at {self.mining.rate:,} hashes a second."
        elif not node.config.miner_enabled:
            doing = "This node follows and does not mine (miner.enabled)."
            if node.pool.size:
                doing += f" {node.pool.size} transactions wait for a miner."
        else:
            doing = "It rests: nothing waits, and the last transaction is settled."
        said = (
            f"Proof of work: nothing is final here. Settled, with {SETTLED_BLOCKS} blocks on top, "
            f"is what stands up to block {self._chain.safe_height}. {doing}"
        )
        if ahead_of_clock:
            said += f" {ahead_of_clock} blocks are ahead of this machine's clock: check its time."
        return said
