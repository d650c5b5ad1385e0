"""One connection with one peer: proving who we are, sending in order, receiving at a bounded rate.

Belongs here: the handshake, the send queue and its drop policy, the rate at which frames are taken.
Not here: whom to dial and how often (`network`), what frames mean (`node.gossip`, `node.sync`).

Drop policy: the queue of a peer that reads slowly is bounded. Frames that the next comparison of
heads and pools makes good (transactions, hashes, status) are dropped when it is full. Where a vote
or a block does not fit any more the connection is closed: the peer comes back and compares.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import WebSocketError, WSMessage, WSMsgType

from ledger.crypto.address import to_checksum
from ledger.types import Address, Hash32
from node.errors import PeerError
from node.peers.frames import (
    HANDSHAKE_BYTES_MAX,
    HEIGHT_MAX,
    NAME_CHARACTERS_MAX,
    PROTOCOL_VERSIONS,
    REASON_CHARACTERS_MAX,
    Kind,
    decode_frame,
    encode_frame,
)
from node.peers.identity import (
    DIALER,
    LISTENER,
    NONCE_BYTES,
    compute_proof_digest,
    recover_peer,
    sign_proof,
)
from node.peers.seen import SeenSet

HANDSHAKE_S = 10.0
"""From the open WebSocket to READY; who takes longer is turned away."""
HEARTBEAT_S = 20.0
"""A peer that answers no ping within half of it is gone."""
NO_ANSWER = "it answers no ping, or sends half a frame and no more"
QUIET_S = 150.0
"""Who has said nothing whole for so long is asked something that every node answers, and gone if it
does not within as long again. Bytes of a message that never ends, and pongs between its fragments,
keep a WebSocket's own heartbeat content. 4 MB at 14 kB a second still come through."""
LAST_WORDS_S = 2.0
"""Where we could not write any more: for what the peer said before, and the closing (1 s) of a line
on which it broke the rules. Ours breaks first then, in the midst of what it has to answer for."""
SEND_QUEUE_BYTES_MAX = 16 * 1024 * 1024
SEND_QUEUE_FRAMES_MAX = 8_192
DROPPABLE = frozenset((Kind.STATUS, Kind.TRANSACTIONS, Kind.POOL_HASHES, Kind.GET_TRANSACTIONS))
FRAMES_PER_S_MAX = 2_000
BYTES_PER_S_MAX = 20_000_000
TRANSACTIONS_PER_S_MAX = 10_000
"""What one peer may make us do; more is read later, not refused. A second's worth may burst."""
STATUSES_PER_S_MAX = 20
"""Each may be answered with every vote that its sender says to lack, a block among them."""
FAULTS_PER_S_MAX = 10.0
"""Refused consensus messages: more in one second are no accident."""
KNOWN_TRANSACTIONS = 16_384
"""Hashes remembered of what a peer has (`known`), or should have from a neighbour that we share
(`likely`): some 1 MB each with both generations full."""

Receive = Callable[["Peer", Kind, list[Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this node is to its peers."""

    private_key: bytes
    chain_id: int
    genesis_hash: Hash32
    name: str


class Rate:
    """A token bucket that says how long to wait, never no."""

    __slots__ = ("_per_s", "_spent_until")

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._spent_until = 0.0

    def take(self, amount: float, now: float) -> float:
        """Seconds to wait before going on, 0 while less than a second's worth was taken."""
        self._spent_until = max(self._spent_until, now - 1.0) + amount / self._per_s
        return max(0.0, self._spent_until - now)


class Peer:
    """A peer that has proved its key and is allowed here."""

    def __init__(
        self, socket: Any, address: Address, name: str, version: int, endpoint: str, *, dialed: bool
    ) -> None:
        self.socket = socket
        self.address = address
        self.name = name
        self.version = version
        self.endpoint = endpoint
        self.dialed = dialed
        self.connected_at = self.heard_at = time.monotonic()
        self.head_height = 0
        self.head_hash: Hash32 = bytes(32)
        self.neighbours: frozenset[Address] = frozenset()
        self.status_sent_at = 0.0
        self.told: tuple[Hash32 | None, list[Address] | None] = (None, None)
        """Head and neighbours of ours, as it was last told."""
        self.known = SeenSet(KNOWN_TRANSACTIONS)
        self.likely = SeenSet(KNOWN_TRANSACTIONS)
        self.dropped_frames = 0
        self.faults = Rate(FAULTS_PER_S_MAX)
        self.statuses = Rate(STATUSES_PER_S_MAX)
        self.close_reason = ""
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._ready = asyncio.Event()
        self._closing = False
        self._rates = (
            Rate(FRAMES_PER_S_MAX),
            Rate(BYTES_PER_S_MAX),
            Rate(TRANSACTIONS_PER_S_MAX),
        )

    def __str__(self) -> str:
        return f"{self.name or to_checksum(self.address)[:10]}@{self.endpoint}"

    def send(self, kind: Kind, *fields: object) -> None:
        """Queue a frame."""
        self.send_frame(kind, encode_frame(kind, *fields))

    def send_frame(self, kind: Kind, frame: bytes) -> None:
        """Queue a frame already encoded, by the drop policy above."""
        if self._closing:
            return
        if (
            self._queued_bytes + len(frame) > SEND_QUEUE_BYTES_MAX
            or len(self._queue) >= SEND_QUEUE_FRAMES_MAX
        ):
            self.dropped_frames += 1
            if kind not in DROPPABLE:
                self.close("it reads slower than we send")
            return
        self._queue.append(frame)
        self._queued_bytes += len(frame)
        self._ready.set()

    def close(self, reason: str) -> None:
        """End the connection, after telling why."""
        if not self._closing:
            self._closing = True
            self.close_reason = reason
            self._queue.clear()
            self._queue.append(encode_frame(Kind.REFUSED, reason[:REASON_CHARACTERS_MAX]))
            self._ready.set()

    async def run(self, receive: Receive) -> None:
        """Read and write until either end closes. Raises PeerError where the peer erred."""
        reader = asyncio.create_task(self._read(receive))
        writer = asyncio.create_task(self._write())
        watcher = asyncio.create_task(self._watch())
        tasks = (reader, writer, watcher)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if writer.done() and writer.exception() is not None:
                await asyncio.wait((reader,), timeout=LAST_WORDS_S)
            for task in tasks:  # the reader first: it knows who erred
                if task.done():
                    task.result()
        finally:
            self._closing = True
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, receive: Receive) -> None:
        while True:
            message = await self.socket.receive()
            if message.type is WSMsgType.ERROR and isinstance(message.data, TimeoutError):
                self.close_reason = NO_ANSWER  # amid half a frame it cannot answer either
                return
            data = _frame_of(message)
            if data is None:
                return
            self.heard_at = time.monotonic()
            kind, fields = decode_frame(data)
            if kind is Kind.REFUSED:
                self.close_reason = f"it says: {fields[0]}"
                return
            if kind < Kind.STATUS:
                raise PeerError(f"a {kind.name} frame after the handshake")
            await receive(self, kind, fields)
            await self._pace(len(data), len(fields[0]) if kind is Kind.TRANSACTIONS else 0)

    async def _watch(self) -> None:
        """Until nothing whole came for long, not even the answer to a question."""
        while True:
            await asyncio.sleep(QUIET_S)
            if time.monotonic() - self.heard_at < QUIET_S:
                continue
            asked_at = time.monotonic()
            self.send(Kind.GET_BLOCKS, HEIGHT_MAX - 1, 1)  # the answer is empty
            await asyncio.sleep(QUIET_S)
            if self.heard_at < asked_at:
                self.close_reason = NO_ANSWER
                return

    async def _pace(self, size: int, transactions: int) -> None:
        """Leave what comes too fast in the socket, so that the sender feels it."""
        now = time.monotonic()
        frames_rate, bytes_rate, transactions_rate = self._rates
        pause_s = max(frames_rate.take(1, now), bytes_rate.take(size, now))
        if transactions:
            pause_s = max(pause_s, transactions_rate.take(transactions, now))
        if pause_s > 0:
            await asyncio.sleep(pause_s)

    async def _write(self) -> None:
        while True:
            while self._queue:
                frame = self._queue.popleft()
                self._queued_bytes -= len(frame)
                await self.socket.send_bytes(frame)
            if self._closing:
                return
            self._ready.clear()
            await self._ready.wait()


async def shake_hands(
    socket: Any,
    identity: Identity,
    fingerprint: Hash32,
    endpoint: str,
    *,
    dialed: bool,
    check_address: Callable[[Address], str | None],
) -> Peer:
    """Prove both ends to each other and agree on a version.

    `fingerprint` is that of the listener's certificate as this end sees it; `check_address` says
    why a node may not connect, or None. Raises PeerError with the reason, after telling the peer.
    """
    try:
        async with asyncio.timeout(HANDSHAKE_S):
            return await _shake_hands(
                socket, identity, fingerprint, endpoint, dialed=dialed, check_address=check_address
            )
    except TimeoutError as error:
        raise PeerError(f"no handshake within {HANDSHAKE_S:.0f} s") from error


async def _shake_hands(
    socket: Any,
    identity: Identity,
    fingerprint: Hash32,
    endpoint: str,
    *,
    dialed: bool,
    check_address: Callable[[Address], str | None],
) -> Peer:
    # 1. Both say which network, which versions, and a nonce.
    nonce = os.urandom(NONCE_BYTES)
    hello = (list(PROTOCOL_VERSIONS), identity.chain_id, identity.genesis_hash, nonce)
    await socket.send_bytes(encode_frame(Kind.HELLO, *hello, identity.name[:NAME_CHARACTERS_MAX]))
    versions, chain_id, genesis_hash, peer_nonce, name = await _expect(socket, Kind.HELLO)
    common = set(versions) & set(PROTOCOL_VERSIONS)
    if not common:
        spoken = ", ".join(map(str, PROTOCOL_VERSIONS))
        await _refuse(socket, f"it speaks protocol versions {versions}, we speak {spoken}")
    if genesis_hash != identity.genesis_hash or chain_id != identity.chain_id:
        await _refuse(
            socket,
            f"it is of another network: chain id {chain_id}, genesis 0x{genesis_hash.hex()[:16]}..,"
            f" ours is {identity.chain_id}, 0x{identity.genesis_hash.hex()[:16]}..",
        )
    # 2. Both sign for this connection.
    version = max(common)
    nonces = (nonce, peer_nonce) if dialed else (peer_nonce, nonce)
    claim = (version, identity.chain_id, identity.genesis_hash, *nonces, fingerprint)
    own_role, peer_role = (DIALER, LISTENER) if dialed else (LISTENER, DIALER)
    digest = compute_proof_digest(own_role, *claim)
    await socket.send_bytes(encode_frame(Kind.PROOF, sign_proof(identity.private_key, digest)))
    (signature,) = await _expect(socket, Kind.PROOF)
    address = recover_peer(compute_proof_digest(peer_role, *claim), signature)
    # 3. Each decides whether it wants the other.
    refusal = check_address(address)
    if refusal is not None:
        await _refuse(socket, refusal)
    await socket.send_bytes(encode_frame(Kind.READY))
    await _expect(socket, Kind.READY)
    return Peer(socket, address, name, version, endpoint, dialed=dialed)


async def _expect(socket: Any, expected: Kind) -> list[Any]:
    """The fields of the next frame, which must be of this kind. Raises PeerError."""
    data = _frame_of(await socket.receive())
    if data is None:
        raise PeerError("it closed the connection during the handshake")
    kind, fields = decode_frame(data, HANDSHAKE_BYTES_MAX)
    if kind is Kind.REFUSED:
        raise PeerError(f"it turned us away: {fields[0]}")
    if kind is not expected:
        raise PeerError(f"a {kind.name} frame where {expected.name} was due")
    return fields


async def _refuse(socket: Any, reason: str) -> None:
    """Turn a peer away, telling it why. Always raises PeerError."""
    await socket.send_bytes(encode_frame(Kind.REFUSED, reason[:REASON_CHARACTERS_MAX]))
    raise PeerError(reason)


def _frame_of(message: WSMessage) -> bytes | None:
    """The bytes of a WebSocket message; None where the connection ended. Raises PeerError."""
    if message.type is WSMsgType.BINARY:
        data: bytes = message.data
        return data
    if message.type is WSMsgType.TEXT:
        raise PeerError("a text message; frames are binary")
    if message.type is WSMsgType.ERROR and isinstance(message.data, WebSocketError):
        raise PeerError(f"a broken message: {message.data}")
    return None
