"""One question to a peer and its answer, within a time; and which peers were slow lately.

A peer has at most one question of a kind open; an answer that nobody waits for is ignored. A peer
that does not answer in time is asked last for a while, with a reason in its score: slow is no
crime. Not here: what is asked (`headers`, `bodies`, `snapshot`).
"""

import asyncio
import time
from typing import Any

from ledger.types import Address
from node.log import Log
from node.peers.connection import Peer
from node.peers.frames import SYNC_VERSION, Kind
from node.peers.network import PeerNetwork

REPLY_S = 15.0
"""For a whole answer of at most 2.5 MB: a peer that sends a byte a second is left alone."""
SLOW_S = 60.0
"""How long a peer that did not answer in time is asked last."""

ANSWERS = {
    Kind.GET_BLOCKS: Kind.BLOCKS,
    Kind.GET_HEADERS: Kind.HEADERS,
    Kind.GET_BODIES: Kind.BODIES,
    Kind.GET_STATE: Kind.STATE,
}


class Requests:
    """The open questions of this node."""

    def __init__(self, network: PeerNetwork, log: Log) -> None:
        self.network = network
        self._log = log
        self._open: dict[tuple[Address, Kind], tuple[Any, asyncio.Future[list[Any]]]] = {}
        self._slow_until: dict[Address, float] = {}

    async def ask(self, peer: Peer, kind: Kind, key: int, *fields: object) -> list[Any]:
        """The fields after the key of the peer's answer; [] where it is too slow or goes away.

        `key` is the first field of both frames.
        """
        place = (peer.address, ANSWERS[kind])
        reply: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._open[place] = (key, reply)
        peer.send(kind, key, *fields)
        try:
            async with asyncio.timeout(REPLY_S):
                return await reply
        except TimeoutError:
            self.note_slow(peer)
            self._log.seldom("sync", "a peer is too slow, another is asked", peer=peer)
            self.network.note_slow(peer, f"no answer to {kind.name} within {REPLY_S:.0f} s")
            return []
        finally:
            if self._open.get(place, (None, None))[1] is reply:
                del self._open[place]

    def is_busy(self, peer: Peer, kind: Kind) -> bool:
        return (peer.address, ANSWERS[kind]) in self._open

    def deliver(self, peer: Peer, kind: Kind, key: int, fields: list[Any]) -> None:
        """An answer; one that nobody asked for is ignored."""
        wanted, reply = self._open.get((peer.address, kind), (None, None))
        if reply is not None and wanted == key and not reply.done():
            reply.set_result(fields)

    def forget(self, peer: Peer) -> None:
        """A peer is gone: do not wait for it."""
        for (address, _), (_, reply) in self._open.items():
            if address == peer.address and not reply.done():
                reply.set_result([])

    def note_slow(self, peer: Peer) -> None:
        """Ask others before this peer for a while."""
        self._slow_until[peer.address] = time.monotonic() + SLOW_S

    def is_slow(self, peer: Peer) -> bool:
        return self._slow_until.get(peer.address, 0.0) > time.monotonic()

    def find_credible(self) -> list[Peer]:
        """Whose word on its head counts: not of who claimed blocks lately and showed none, where
        there are others. A false height must not keep us from what is there."""
        peers = list(self.network.peers.values())
        return [peer for peer in peers if not self.is_slow(peer)] or peers

    def find_able(self, height: int) -> list[Peer]:
        """Who says to have a block and knows what version 2 asks; quick ones first."""
        able = [
            peer
            for peer in self.network.peers.values()
            if peer.head_height >= height and peer.version >= SYNC_VERSION
        ]
        return sorted(able, key=lambda peer: (self.is_slow(peer), -peer.head_height))
