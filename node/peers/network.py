"""All connections of this node: listening, dialling for ever, one connection per peer.

Belongs here: whom to dial and when, who is turned away, which of two connections with one peer
stays, sending to everybody. Not here: what frames mean (`node.gossip`, `node.sync`).

Of two connections with one peer the newer stays, for the older may be a peer that lost power and
came back; but where both ends dialled at once, the one that the lower address dialled stays, or
each end would close the other's.
"""

import asyncio
import random
import ssl
import time
from collections.abc import Callable
from typing import Any, Protocol

import aiohttp
from aiohttp import web

from ledger.crypto.address import to_checksum
from ledger.errors import StoreError
from ledger.store.base import Store
from ledger.types import Address, Hash32
from node.errors import NodeError, PeerError
from node.log import Log
from node.peers.addresses import AddressBook, Endpoint, is_loopback
from node.peers.connection import HEARTBEAT_S, NO_ANSWER, Identity, Peer, shake_hands
from node.peers.discovery import Discovery
from node.peers.frames import (
    ADDRESSES_MAX,
    FRAME_BYTES_MAX,
    SYNC_VERSION,
    Kind,
    encode_frame,
)
from node.peers.identity import read_peer_fingerprint
from node.peers.scores import FAULT, SLOW, Scores
from node.peers.strangers import PeerServer
from node.request_log import make_request_logger

HANDSHAKES_MAX = 16
"""Of strangers at once: each may make us hold a frame of 4 MB."""
TLS_HANDSHAKE_S = 10.0
DIAL_TIMEOUT_S = 10.0
DIAL_PAUSE_S_MIN = 0.25
DIAL_PAUSE_S_MAX = 15.0
"""Between attempts, doubling, with a jitter of half: a peer that returns is found within it."""
STEADY_S = 30.0
"""A connection that lived so long starts the pauses anew."""
DIALED_AT_ONCE_S = 3.0
PLACES_KEY = "node/peer-places"
KEEP_PLACES_S = 600.0
"""Between two writes of where nodes answered: one that comes from ever new hosts wears no card."""


class Host(Protocol):
    """What the network needs of the node."""

    def check_peer(self, address: Address, *, dialed: bool) -> str | None:
        """Why this node may not connect; None where it may."""

    def peer_connected(self, peer: Peer) -> None: ...

    def peer_disconnected(self, peer: Peer) -> None: ...

    async def receive(self, peer: Peer, kind: Kind, fields: list[Any]) -> None: ...


class PeerNetwork:
    """Keeps a connection with every reachable node of the network."""

    def __init__(
        self,
        host: Host,
        identity: Identity,
        own_address: Address,
        endpoints: tuple[Endpoint, ...],
        tls: tuple[ssl.SSLContext, ssl.SSLContext],
        fingerprint: Hash32,
        log: Log,
        connections_max: int = 64,
        *,
        discover: bool = False,
        store: Store | None = None,
    ) -> None:
        self.peers: dict[Address, Peer] = {}
        self._host = host
        self._identity = identity
        self._own_address = own_address
        self.addresses = AddressBook(tuple(one for one in endpoints if one.address != own_address))
        self._dialled = {one.address for one in endpoints} - {own_address}
        self._listening_tls, self._dialling_tls = tls
        self._fingerprint = fingerprint
        self._log = log
        self._connections_max = connections_max
        self._discover = discover
        self._store = store
        self._places_kept_at = -KEEP_PLACES_S
        self._handshakes = 0
        self.scores = Scores()
        self._gone: dict[Address, asyncio.Event] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._server: PeerServer | None = None
        self._listener: asyncio.Server | None = None
        self._session: aiohttp.ClientSession | None = None
        self._stopping = False

    # Life.

    async def start(self, host: str, port: int) -> int:
        """Listen and start dialling; returns the port. Raises NodeError where it is taken."""
        self._server = PeerServer(
            self._accept,
            access_log=None,
            keepalive_timeout=TLS_HANDSHAKE_S,
            logger=make_request_logger(self._log, "peers"),
        )
        try:
            self._listener = await asyncio.get_running_loop().create_server(
                self._server,
                host,
                port,
                ssl=self._listening_tls,
                ssl_handshake_timeout=TLS_HANDSHAKE_S,
            )
        except OSError as error:
            raise NodeError(
                f"cannot listen for peers on {host} port {port}: {error.strerror or error}; "
                "is another node running, or is peers.port taken?"
            ) from error
        # Names are looked up at every dial: an address may have changed since.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(use_dns_cache=False, limit=0)
        )
        self._tasks = [asyncio.create_task(self._keep_dialling(one)) for one in self._dialled]
        kept = self._store.get_meta(PLACES_KEY) if self._store else None
        for place in self.addresses.load(kept) if kept else ():
            self.learn(*place)
        bound = int(self._listener.sockets[0].getsockname()[1])
        if self._discover:
            found = Discovery(
                self._identity.genesis_hash, self._own_address, bound, self.learn, self._log
            )
            self._tasks.append(asyncio.create_task(found.run()))
        return bound

    async def stop(self) -> None:
        """Close every connection, telling why."""
        self._stopping = True
        self._places_kept_at = -KEEP_PLACES_S
        self._keep_places()
        if self._listener is not None:
            self._listener.close()
        for peer in list(self.peers.values()):
            peer.close("this node is stopping")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.shutdown(1.0)
        if self._session is not None:
            await self._session.close()

    # Sending.

    def broadcast(self, kind: Kind, *fields: object, but: Peer | None = None) -> None:
        """Queue one frame for every peer, encoded once."""
        if not self.peers:
            return
        frame = encode_frame(kind, *fields)
        for peer in self.peers.values():
            if peer is not but:
                peer.send_frame(kind, frame)

    def note_fault(self, peer: Peer, reason: str) -> None:
        """Count what an honest peer may do now and then, when heads or sets differ; not often."""
        self._log.seldom("peers", "a peer sent what is refused", peer=peer, reason=reason)
        self.scores.note(peer.address, reason, FAULT)
        if peer.faults.take(1, time.monotonic()) > 0:
            self.penalise(peer, f"too often: {reason}")

    def penalise(self, peer: Peer, reason: str) -> None:
        """Close the connection with a peer that erred and leave it alone for a while."""
        self.scores.penalise(peer.address, reason)
        self._log.seldom("peers", "a peer erred", peer=peer, reason=reason)
        peer.close(reason)

    def note_slow(self, peer: Peer, reason: str) -> None:
        """Count that a peer did not answer in time, which is no crime."""
        self.scores.note(peer.address, reason, SLOW)

    def recheck(self, may_stay: Callable[[Address], bool]) -> None:
        """Close connections with nodes that are no longer allowed."""
        for peer in list(self.peers.values()):
            if not may_stay(peer.address):
                peer.close("this node is no longer on the list of allowed nodes")

    # Listening.

    async def _accept(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._server is not None:
            self._server.note_request(request.protocol)
        if request.method != "GET" or request.headers.get("Upgrade", "").lower() != "websocket":
            return web.Response(status=426, text="this port is for peers of the network only\n")
        if self._handshakes >= HANDSHAKES_MAX or self._stopping:
            return web.Response(status=503, text="busy\n")
        socket = web.WebSocketResponse(
            max_msg_size=FRAME_BYTES_MAX, heartbeat=HEARTBEAT_S, compress=False, timeout=1.0
        )
        await socket.prepare(request)
        peername = request.transport.get_extra_info("peername") if request.transport else None
        endpoint = f"{peername[0]}:{peername[1]}" if peername else "?"
        await self._talk(socket, endpoint, self._fingerprint, dialed=False)
        return socket

    # Dialling.

    def learn(self, address: Address, host: str, port: int) -> None:
        """A node was seen at a host: dial it there too, if it is allowed here at all."""
        if address == self._own_address or self._host.check_peer(address, dialed=True) is not None:
            return
        if self.addresses.note(address, host, port):
            self._log.debug("peers", "a node was seen", host=f"{host}:{port}")
        if address not in self._dialled and len(self._dialled) < self._connections_max:
            self._dialled.add(address)
            self._tasks.append(asyncio.create_task(self._keep_dialling(address)))

    async def _keep_dialling(self, address: Address) -> None:
        """Connect to a node, and again whenever the connection is gone, for ever: at each place
        where it may answer in turn."""
        pause_s = DIAL_PAUSE_S_MIN
        attempt = 0
        while True:
            if address in self.peers:
                await self._gone.setdefault(address, asyncio.Event()).wait()
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
            if address in self.peers:
                continue
            started = time.monotonic()
            places = self.addresses.find(address)
            host, port = places[attempt % len(places)]
            attempt += 1
            if self._host.check_peer(address, dialed=True) is None:
                try:
                    await self._dial(address, host, port)
                except (aiohttp.ClientError, OSError, TimeoutError, PeerError) as error:
                    name = self.addresses.name_of(address) or to_checksum(address)
                    self._log.debug("peers", "no connection", name=name, reason=error)
            steady = time.monotonic() - started > STEADY_S
            if attempt % len(places) == 0 or steady:
                pause_s = DIAL_PAUSE_S_MIN if steady else min(2 * pause_s, DIAL_PAUSE_S_MAX)

    async def _dial(self, address: Address, host: str, port: int) -> None:
        """One connection from its opening to its end."""
        assert self._session is not None
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        async with asyncio.timeout(DIAL_TIMEOUT_S):
            socket = await self._session.ws_connect(
                f"wss://{place}/",
                ssl=self._dialling_tls,
                max_msg_size=FRAME_BYTES_MAX,
                heartbeat=HEARTBEAT_S,
                compress=0,
                timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
            )
        try:
            fingerprint = read_peer_fingerprint(socket.get_extra_info("ssl_object"))
        except PeerError:
            await socket.close()
            raise
        await self._talk(
            socket, place, fingerprint, dialed=True, expected=Endpoint("", address, host, port)
        )

    # Both.

    async def _talk(
        self,
        socket: Any,
        endpoint: str,
        fingerprint: Hash32,
        *,
        dialed: bool,
        expected: Endpoint | None = None,
    ) -> None:
        """Shake hands, then exchange frames until the end."""

        def check_address(address: Address) -> str | None:
            if expected is not None and address != expected.address:
                return (
                    f"the node at {endpoint} is {to_checksum(address)}, "
                    f"the network file says {to_checksum(expected.address)}"
                )
            return self._check_address(address, dialed=dialed)

        peer: Peer | None = None
        self._handshakes += 1
        try:
            try:
                peer = await shake_hands(
                    socket,
                    self._identity,
                    fingerprint,
                    endpoint,
                    dialed=dialed,
                    check_address=check_address,
                )
            finally:
                self._handshakes -= 1
            if expected is not None:
                self.addresses.note_proved(peer.address, expected.host, expected.port)
            if self._register(peer):
                await peer.run(self._host.receive)
        except PeerError as error:
            self._note_error(peer, endpoint, error)
        except (ConnectionError, aiohttp.ClientError) as error:
            self._log.debug("peers", "a connection broke", endpoint=endpoint, reason=error)
        except Exception as error:  # a fault of ours: said in the log, and the peer comes back
            self._log.bug("peers", error, endpoint=endpoint)
        finally:
            if peer is not None:
                self._unregister(peer)
            await socket.close()

    def _check_address(self, address: Address, *, dialed: bool) -> str | None:
        if address == self._own_address:
            return "this is our own key: a key runs on one machine only"
        seconds = self.scores.seconds_left(address)
        if seconds > 0:
            return f"it erred and is left alone for {seconds:.0f} s"
        if len(self.peers) >= self._connections_max and address not in self.peers:
            return f"this node has its {self._connections_max} peers"
        return self._host.check_peer(address, dialed=dialed)

    def _register(self, peer: Peer) -> bool:
        """Make this the connection with its peer, unless the other one is to stay."""
        other = self.peers.get(peer.address)
        if other is not None:
            lower_dials = (self._own_address < peer.address) is other.dialed
            at_once = peer.connected_at - other.connected_at < DIALED_AT_ONCE_S
            if other.dialed is not peer.dialed and at_once and lower_dials:
                peer.close("we have a connection already")
                return False
            other.close("a newer connection takes its place")
            self._unregister(other)
        self.peers[peer.address] = peer
        self._log.info("peers", "connected", peer=peer, address=to_checksum(peer.address))
        host = peer.endpoint.rpartition(":")[0].strip("[]")
        if not peer.dialed and not is_loopback(host):
            self.addresses.note_inbound(peer.address, host)
        self._keep_places()
        if peer.version >= SYNC_VERSION:
            told = [one for one in self.addresses.tell(host) if one[0] != peer.address]
            if told:
                peer.send(Kind.ADDRESSES, told[:ADDRESSES_MAX])
        self._host.peer_connected(peer)
        return True

    def _keep_places(self) -> None:
        """Write down where nodes answered, for the next start."""
        due = time.monotonic() - self._places_kept_at >= KEEP_PLACES_S
        if self._store is None or not due or not self.addresses.changed:
            return
        self._places_kept_at = time.monotonic()
        try:
            self._store.set_meta(PLACES_KEY, self.addresses.dump())
        except StoreError as error:
            self._log.seldom("peers", "where nodes are could not be kept", why=error)

    def _unregister(self, peer: Peer) -> None:
        if self.peers.get(peer.address) is peer:
            del self.peers[peer.address]
            if peer.close_reason == NO_ANSWER:
                self.note_slow(peer, NO_ANSWER)
            self._log.info("peers", "disconnected", peer=peer, reason=peer.close_reason or "closed")
            self._host.peer_disconnected(peer)
            gone = self._gone.pop(peer.address, None)
            if gone is not None:
                gone.set()

    def _note_error(self, peer: Peer | None, endpoint: str, error: PeerError) -> None:
        if peer is not None:
            peer.close_reason = str(error)
            self.scores.penalise(peer.address, str(error))
        self._log.seldom("peers", "turned away", peer=peer or endpoint, reason=error)
