"""What comes from peers and what goes to them: one frame, one action.

Belongs here: who may connect, what each kind of frame sets off, statuses, and what the engine asks
of the network. Not here: sockets (`peers`), flooding (`gossip`), catching up (`sync`).
"""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ledger.consensus import events as ev
from ledger.consensus.messages import decode_status
from ledger.errors import EncodingError
from ledger.permissions import is_permissioned, may_connect
from ledger.types import Address
from node.errors import PeerError
from node.peers.connection import Peer
from node.peers.frames import STATUS_VERSION, Kind
from node.sync.requests import ANSWERS

if TYPE_CHECKING:
    from node.node import Node

STATUS_ANSWER_S = 1.0
"""A status that tells of an open round, or of a head below ours, is answered at most so often."""


class Exchange:
    """The Host of `peers.network` and the Network of `interpreter`, for one node."""

    def __init__(self, node: "Node") -> None:
        self._node = node

    # The Host of `peers.network`.

    def check_peer(self, address: Address, *, dialed: bool) -> str | None:
        """Members by the chain's state may connect; and whom we dial is named by the network file,
        for a node long away must reach those who joined since its last block."""
        node = self._node
        state = node.chain.state_at()
        listed = any(endpoint.address == address for endpoint in node.endpoints)
        if is_permissioned(state):
            if may_connect(state, address) or (dialed and listed):
                return None
        elif listed or address in node.chain.validators:
            return None
        return "it is not on the network's list of allowed nodes"

    def peer_connected(self, peer: Peer) -> None:
        # To who is new, and to the others because we have one more neighbour.
        self.send_statuses()
        self._node.gossip.compare_pools(peer, self._node.pool.hashes())

    def peer_disconnected(self, peer: Peer) -> None:
        self._node.sync.forget(peer)
        if self._node.chain.is_mined:
            self._node.interpreter.feed(ev.PeerGone(peer.address))
        self._node.compact.forget(peer)
        self.send_statuses()

    async def receive(self, peer: Peer, kind: Kind, fields: list[Any]) -> None:
        """Act on a frame; the commonest first. Raises PeerError for what no honest peer sends."""
        node = self._node
        if kind is Kind.CONSENSUS:
            node.interpreter.feed(ev.Received(peer.address, fields[0]))
        elif kind is Kind.TRANSACTIONS:
            await node.gossip.receive_transactions(peer, fields[0], node.intake)
        elif kind is Kind.COMPACT:
            node.compact.receive(peer, *fields)
        elif kind is Kind.GET_PARTS:
            await serve(node.compact.serve_parts, peer, *fields)
        elif kind is Kind.PARTS:
            node.compact.receive_parts(peer, *fields)
        elif kind is Kind.STATUS:
            self._receive_status(peer, *fields)
            await asyncio.sleep(peer.statuses.take(1, time.monotonic()))
        elif kind is Kind.POOL_HASHES:
            node.gossip.receive_hashes(peer, fields[0])
        elif kind is Kind.GET_TRANSACTIONS:
            await serve(node.gossip.serve_transactions, peer, fields[0])
        elif kind is Kind.ADDRESSES:
            await serve(self._learn, fields[0])
        elif kind in ANSWERS:
            await serve(node.sync_server.answer, peer, kind, fields)
        elif kind in ANSWERS.values():
            node.sync.receive(peer, kind, fields)

    def send_statuses(self) -> None:
        for peer in self._node.network.peers.values():
            self.send_status(peer)

    def send_status(self, peer: Peer) -> None:
        """Tell a peer where we stand and who our other neighbours are."""
        node, (old_head, old_neighbours) = self._node, peer.told
        peer.status_sent_at = time.monotonic()
        head_hash = node.chain.head.hash
        neighbours = [address for address in node.network.peers if address != peer.address]
        brief, dropped = peer.version >= STATUS_VERSION, peer.dropped_frames
        peer.send(
            Kind.STATUS,
            None if brief and head_hash == old_head else head_hash,
            node.engine.status().encode(),
            None if brief and neighbours == old_neighbours else neighbours,
        )
        if peer.dropped_frames == dropped:
            peer.told = head_hash, neighbours

    def _receive_status(
        self,
        peer: Peer,
        head_hash: bytes | None,
        encoded: bytes,
        neighbours: list[Address] | None,
    ) -> None:
        node = self._node
        try:
            status = decode_status(encoded)
        except EncodingError as error:
            raise PeerError(f"its status: {error}") from error
        peer.head_height, peer.head_hash = status.head_height, head_hash or peer.head_hash
        if neighbours is not None:
            peer.neighbours = frozenset(neighbours)
        member = peer.address if peer.address in node.chain.validators else None
        node.interpreter.feed(ev.PeerStatus(peer.address, status, member))
        node.sync.note_status()
        behind = status.head_height < node.chain.head.number
        rested = time.monotonic() - peer.status_sent_at > STATUS_ANSWER_S
        if (status.open or behind) and rested:
            self.send_status(peer)

    def deliver(self, address: Address, message: bytes) -> None:
        """A consensus message of a peer, to the engine."""
        self._node.interpreter.feed(ev.Received(address, message))

    def _learn(self, endpoints: list[tuple[Address, str, int]]) -> None:
        for address, host, port in endpoints:
            self._node.network.learn(address, host, port)

    # The Network of `interpreter`.

    def send_consensus(self, message: bytes, to: Address | None) -> None:
        network = self._node.network
        if to is None:
            self._node.gossip.relay(message, None)
        elif to in network.peers:
            self._node.compact.send(network.peers[to], message, again=True)

    def relay_consensus(self, message: bytes, origin: Address | None) -> None:
        node = self._node
        node.gossip.relay(message, node.network.peers.get(origin) if origin else None)

    def reject_peer(self, peer: Address | None, reason: str) -> None:
        network = self._node.network
        if peer in network.peers:
            network.note_fault(network.peers[peer], reason)

    def penalise_peer(self, peer: Address | None, reason: str) -> None:
        network = self._node.network
        if peer in network.peers:
            network.penalise(network.peers[peer], reason)

    def fetch_block(self, height: int, peer: Address | None) -> None:
        self._node.sync.want(height, peer)


async def serve(answer: Callable[..., None], *arguments: Any) -> None:
    """Answer, and read on from this peer after a rest as long as that took: a request of twenty
    bytes may be for 64 blocks, and one peer must not have all of the processor."""
    started = time.perf_counter()
    answer(*arguments)
    await asyncio.sleep(time.perf_counter() - started)
