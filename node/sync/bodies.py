"""Blocks under certified headers: bodies asked of several peers at once, imported in order.

A body is held to the transactions root of its header before the engine sees it, so a peer that
sends another pays for it, and this node never takes a certified block for one that fails here.
Decoding and recovering senders runs ahead on threads while earlier blocks are executed.
"""

import asyncio
import heapq
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial

from ledger.block import Block, Certificate, Header, decode_body, decode_certificate, decode_header
from ledger.errors import InvalidBlock, LedgerError, ProofError
from ledger.store.base import Store
from ledger.transaction import Transaction, recover_senders
from ledger.trie.ordered import transactions_root
from ledger.types import Hash32, Height
from node.peers.connection import Peer
from node.peers.frames import BODIES_PER_FRAME, Kind
from node.sync.requests import Requests

AHEAD_FRAMES = 4
"""Answers held that are not imported yet, of 2.5 MB at most: a Pi's node has 80 MB."""

GetKnown = Callable[[Hash32], Transaction | None]
ImportBlock = Callable[[Peer, Block, Certificate], bool]
"""Hands a verified block to the engine; whether it is the head now."""

Ready = tuple[Peer, Block, Certificate]


def check_body(header: Header, transactions: tuple[Transaction, ...]) -> None:
    """Hold a body to its header. Raises InvalidBlock."""
    if transactions_root(tuple([one.raw for one in transactions])) != header.transactions_root:
        raise InvalidBlock(f"the body of block {header.number} is not the one its header names")


def prepare_block(header: Header, body: bytes, get_known: GetKnown) -> Block:
    """A block ready to be executed, senders and all. Raises LedgerError."""
    transactions = decode_body(body, get_known)
    check_body(header, transactions)
    recover_senders(transactions)
    return Block(header, transactions)


class Bodies:
    """Fetches and imports the blocks whose headers the store keeps ahead."""

    def __init__(
        self,
        store: Store,
        requests: Requests,
        import_block: ImportBlock,
        get_known: GetKnown,
        executor: Executor | None,
    ) -> None:
        self._store = store
        self._requests = requests
        self._import = import_block
        self._get_known = get_known
        self._executor = executor

    async def run(self, first: Height, last: Height) -> bool:
        """Import blocks `first` to `last`; False where nobody gives, or the engine takes, more."""
        self._todo = [
            (start, min(BODIES_PER_FRAME, last - start + 1))
            for start in range(first, last + 1, BODIES_PER_FRAME)
        ]
        self._ready: dict[Height, list[Ready]] = {}
        self._held: dict[Height, Peer] = {}
        self._next = first
        self._changed = asyncio.Event()
        able = self._requests.find_able(first)
        quick = [peer for peer in able if not self._requests.is_slow(peer)]
        workers = [asyncio.create_task(self._work(peer)) for peer in quick or able]
        try:
            while self._next <= last:
                if self._next in self._ready:
                    if not await self._import_some(self._ready.pop(self._next)):
                        return False
                elif all(worker.done() for worker in workers):
                    return False
                else:
                    self._changed.clear()
                    await self._changed.wait()
            return True
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _import_some(self, ready: list[Ready]) -> bool:
        for peer, block, certificate in ready:
            if block.number > self._store.head_height() and not self._import(
                peer, block, certificate
            ):
                return False
            self._next = block.number + 1
            await asyncio.sleep(0)  # clients and votes have their turn between two blocks
        self._tell()
        return True

    def _tell(self) -> None:
        """Something is ready, imported or failed: everybody looks again."""
        self._changed.set()

    async def _work(self, peer: Peer) -> None:
        """Ask one peer for range after range until there is none, or it fails."""
        try:
            while self._requests.network.peers.get(peer.address) is peer:
                if not self._todo and not self._held:
                    return
                if (
                    not self._todo
                    or self._todo[0][0] > self._next + AHEAD_FRAMES * BODIES_PER_FRAME
                ):
                    await asyncio.sleep(0.005)
                    continue
                start, count = heapq.heappop(self._todo)
                if start + count <= self._next:
                    continue  # a peer that was silent has answered after all
                self._held[start] = peer
                got = 0
                try:
                    got = await self._fetch(peer, start, count)
                finally:
                    if self._held.get(start) is peer:
                        del self._held[start]
                        if got < count:
                            heapq.heappush(self._todo, (start + got, count - got))
                if not got:
                    return
        finally:
            self._tell()

    def _hand_on(self, peer: Peer, start: Height, count: int) -> None:
        """Let somebody else be asked for what all wait for, as this peer says nothing."""
        if self._next == start and self._held.get(start) is peer:
            del self._held[start]
            heapq.heappush(self._todo, (start, count))
            self._requests.note_slow(peer)

    async def _fetch(self, peer: Peer, start: Height, count: int) -> int:
        """Put an answer's blocks where the importer finds them; how many there were."""
        silent = partial(self._hand_on, peer, start, count)
        answer = await self._requests.ask(peer, Kind.GET_BODIES, start, count, False, silent=silent)
        rows = answer[0][:count] if answer else []
        loop = asyncio.get_running_loop()
        ready: list[Ready] = []
        try:
            for height, (body, _) in enumerate(rows, start):
                kept = self._store.staging.get_ahead(height)
                if kept is None:
                    raise ProofError(f"block {height} has no header here")
                header = decode_header(kept[0])
                block = await loop.run_in_executor(
                    self._executor, prepare_block, header, body, self._get_known
                )
                ready.append((peer, block, decode_certificate(kept[1])))
        except LedgerError as error:
            self._requests.network.penalise(peer, f"a false body: {error}")
            return 0
        if ready:
            self._ready[start] = ready
            self._tell()
        else:
            self._requests.note_slow(peer)  # it says to have blocks and shows none
        return len(ready)
