"""Catching up: blocks with certificates, asked of one peer at a time, checked before they are run.

A peer that is ahead is asked for a run of blocks. Each certificate is verified against the
validators that our own chain names for that height, then the engine is handed the block and imports
it. A peer that answers wrongly is penalised, one that answers slowly is left for another. Not here:
whether a block may be imported (the engine and the chain). Source: DESIGN.md section 6.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from ledger.block import (
    Block,
    Certificate,
    decode_block,
    decode_certificate,
    encode_block,
)
from ledger.chain import Chain
from ledger.errors import LedgerError
from ledger.light import verify_certificate
from ledger.transaction import Transaction
from ledger.types import Address, Hash32, Height
from node.log import Log
from node.peers.connection import Peer
from node.peers.frames import BLOCKS_BYTES_MAX, BLOCKS_PER_FRAME, Kind
from node.peers.network import PeerNetwork

REPLY_S = 15.0
"""For a whole answer of at most 2.5 MB: a peer that sends a byte a second is left alone."""
SLOW_S = 60.0
"""How long a peer that did not answer in time is asked last."""
RETRY_S = 0.5
"""After an answer that did not help, before the next peer is asked."""
CATCHING_UP_BLOCKS = 2
"""Behind the best peer by so many blocks is catching up; one less is the pace of consensus."""

ImportBlock = Callable[[Peer, Block, Certificate], bool]
"""Hands a verified block to the engine; whether it is the head now."""


@dataclass(slots=True)
class _Request:
    peer: Peer
    first: Height
    reply: asyncio.Future[list[list[bytes]]]


class Sync:
    """Follows the peers' heads in a task of its own."""

    def __init__(
        self,
        chain: Chain,
        network: PeerNetwork,
        import_block: ImportBlock,
        get_known: Callable[[Hash32], Transaction | None],
        log: Log,
    ) -> None:
        self._chain = chain
        self._network = network
        self._import = import_block
        self._get_known = get_known
        self._log = log
        self._wanted: tuple[Height, Address | None] | None = None
        self._wake = asyncio.Event()
        self._request: _Request | None = None
        self._slow_until: dict[Address, float] = {}

    # What others see.

    def best_height(self) -> Height:
        """The highest head that a connected peer has told of, or our own."""
        heads = [peer.head_height for peer in self._network.peers.values()]
        return max([self._chain.head.number, *heads])

    @property
    def is_behind(self) -> bool:
        """Whether we are catching up rather than following."""
        return self.best_height() - self._chain.head.number >= CATCHING_UP_BLOCKS

    def want(self, height: Height, peer: Address | None) -> None:
        """Fetch from `height` on, from this peer if it can be had (an engine's FetchBlock)."""
        self._wanted = (height, peer)
        self._wake.set()

    def note_status(self) -> None:
        """A peer told of its head: catch up if it is ahead by more than the pace of consensus."""
        if self.is_behind:
            self._wake.set()

    def receive_blocks(self, peer: Peer, first: Height, blocks: list[list[bytes]]) -> None:
        """An answer to our request; one that nobody asked for is ignored."""
        request = self._request
        if request and request.peer is peer and request.first == first and not request.reply.done():
            request.reply.set_result(blocks)

    def forget(self, peer: Peer) -> None:
        """A peer is gone: do not wait for it."""
        request = self._request
        if request and request.peer is peer and not request.reply.done():
            request.reply.set_result([])

    def serve_blocks(self, peer: Peer, first: Height, count: int) -> None:
        """Answer a peer that catches up with what fits one frame."""
        blocks: list[list[bytes]] = []
        size = 0
        last = min(first + min(count, BLOCKS_PER_FRAME) - 1, self._chain.head.number)
        for height in range(max(first, 1), last + 1):
            certificate = self._chain.certificate(height)
            if certificate is None:
                break
            block = encode_block(self._chain.block(height))
            size += len(block)
            if blocks and size > BLOCKS_BYTES_MAX:
                break
            blocks.append([block, certificate.encode()])
        peer.send(Kind.BLOCKS, first, blocks)

    # The task.

    async def run(self) -> None:
        """Catch up whenever there is something to catch up with, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while await self._fetch_some():
                pass

    async def _fetch_some(self) -> bool:
        """Ask one peer for the next blocks and import them; whether to go on at once."""
        first = self._chain.head.number + 1
        peer = self._choose_peer(first)
        if peer is None:
            return False
        blocks = await self._ask(peer, first)
        if not blocks:
            self._leave(peer, first)
            await asyncio.sleep(RETRY_S)
            return self.is_behind
        for raw_block, raw_certificate in blocks:
            if not self._take(peer, raw_block, raw_certificate):
                break
            await asyncio.sleep(0)  # clients and votes have their turn between two blocks
        if self._chain.head.number < first:
            self._leave(peer, first)  # blocks, but none that helped: what we have already, say
            await asyncio.sleep(RETRY_S)
        return self.is_behind

    def _leave(self, peer: Peer, first: Height) -> None:
        """Ask others before this peer, which claims blocks from `first` on and showed none."""
        self._slow_until[peer.address] = time.monotonic() + SLOW_S
        peer.head_height = first - 1  # until its next status

    def _choose_peer(self, first: Height) -> Peer | None:
        """Who is to be asked: the one the engine named, else a quick one, else a slow one."""
        wanted, self._wanted = self._wanted, None
        able = [peer for peer in self._network.peers.values() if peer.head_height >= first]
        if wanted is not None and wanted[0] >= first and wanted[1] is not None:
            named = self._network.peers.get(wanted[1])
            if named is not None:
                return named
        elif wanted is None and not self.is_behind:
            return None
        if not able:
            return None
        now = time.monotonic()
        return min(
            able,
            key=lambda peer: (self._slow_until.get(peer.address, 0.0) > now, -peer.head_height),
        )

    async def _ask(self, peer: Peer, first: Height) -> list[list[bytes]]:
        """The peer's answer; empty where it has none or takes too long."""
        reply: asyncio.Future[list[list[bytes]]] = asyncio.get_running_loop().create_future()
        self._request = _Request(peer, first, reply)
        peer.send(Kind.GET_BLOCKS, first, BLOCKS_PER_FRAME)
        try:
            async with asyncio.timeout(REPLY_S):
                return await reply
        except TimeoutError:
            self._log.seldom("sync", "a peer is too slow, another is asked", peer=peer)
            return []
        finally:
            self._request = None

    def _take(self, peer: Peer, raw_block: bytes, raw_certificate: bytes) -> bool:
        """Verify one block and import it; whether the next one may follow."""
        chain = self._chain
        try:
            block = decode_block(raw_block, self._get_known)
            certificate = decode_certificate(raw_certificate)
            if block.number <= chain.head.number:
                return True  # consensus was quicker
            if block.number != chain.head.number + 1:
                raise LedgerError(f"block {block.number} where {chain.head.number + 1} was due")
            verify_certificate(
                block.header,
                certificate,
                chain.validators,
                chain.genesis.chain_id,
                chain.genesis_hash,
            )
        except LedgerError as error:
            self._network.penalise(peer, f"a block that is not certified: {error}")
            return False
        return self._import(peer, block, certificate)
