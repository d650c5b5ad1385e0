"""One question to a peer and its answer, within a time; and which peers were slow lately.

A peer has at most one question of a kind open; an answer that nobody waits for is ignored. While
one says nothing, another is asked the same. A peer that does not answer in time is asked last for a
while, with a reason in its score: slow is no crime. Not here: what is asked (`headers`, `bodies`,
`snapshot`).
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ledger.types import Address
from node.log import Log
from node.peers.connection import Peer
from node.peers.frames import SYNC_VERSION, Kind
from node.peers.network import PeerNetwork

REPLY_S = 15.0
"""For a whole answer of at most 2.5 MB: a peer that sends a byte a second is left alone."""
SILENT_S = 2.0
"""Without an answer for so long others are asked as well: a silent liar costs no more of the time
in which a node catches up. A second at most is asked at once: a slow line is not made slower."""
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

    async def ask(
        self,
        peer: Peer,
        kind: Kind,
        key: int,
        *fields: object,
        silent: Callable[[], None] | None = None,
    ) -> list[Any]:
        """The fields after the key of the peer's answer; [] where it is too slow or goes away.

        `key` is the first field of both frames; `silent` is called every SILENT_S without answer.
        """
        place = (peer.address, ANSWERS[kind])
        reply: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._open[place] = (key, reply)
        peer.send(kind, key, *fields)
        until = time.monotonic() + REPLY_S
        try:
            while (left_s := until - time.monotonic()) > 0:
                await asyncio.wait([reply], timeout=min(left_s, SILENT_S))
                if reply.done():
                    return reply.result()
                if silent is not None:
                    silent()
            self._note_silent(peer, kind, REPLY_S)
            return []
        finally:
            if self._open.get(place, (None, None))[1] is reply:
                del self._open[place]

    async def ask_one_of(
        self, peers: Sequence[Peer], kind: Kind, key: int, *fields: object
    ) -> tuple[Peer, list[Any]]:
        """As `ask`, of the first of `peers`, and of the second where that says nothing for SILENT_S
        or goes away: whoever answers first, and what."""
        pair = [peers[0], *[one for one in peers[1:] if not self.is_busy(one, kind)][:1]]
        asked: dict[asyncio.Task[list[Any]], Peer] = {}
        try:
            for peer in pair:
                asked[asyncio.create_task(self.ask(peer, kind, key, *fields))] = peer
                first = await find_answer(asked, None if peer is pair[-1] else SILENT_S)
                if first is not None:
                    for task, one in asked.items():
                        if not task.done():
                            self._note_silent(one, kind, SILENT_S)
                    return asked[first], first.result()
            return pair[0], []
        finally:
            for task in asked:
                task.cancel()

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

    def _note_silent(self, peer: Peer, kind: Kind, seconds: float) -> None:
        self.note_slow(peer)
        self._log.seldom("sync", "a peer is too slow, another is asked", peer=peer)
        self.network.note_slow(peer, f"no answer to {kind.name} within {seconds:.0f} s")

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


async def find_answer(
    asked: Iterable[asyncio.Task[list[Any]]], seconds: float | None
) -> asyncio.Task[list[Any]] | None:
    """The first that has an answer within a time, or without a bound; None where none has."""
    waiting = set(asked)
    while waiting:
        done, waiting = await asyncio.wait(
            waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
        for task in done:
            if task.result():
                return task
        if not done:
            return None
    return None
