"""Links between machines: the node's own peer network over sockets that are queues.

What is real: dialling, the handshake, frames, queues, rates, scores, which connection stays. What
is not: TCP and TLS. A connection keeps order and loses nothing, as TCP does, unless the weather is
so bad that frames are dropped, doubled and overtake each other (worse than what TCP allows). A cut
holds back what is on its way; where it lasts, both ends see the connection broken.
"""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import WSMessage, WSMsgType

from node.peers.addresses import Endpoint
from node.peers.frames import Kind
from node.peers.network import PeerNetwork

if TYPE_CHECKING:
    from tests.simulator.realm import Machine, Realm

BROKEN_AFTER_S = 20.0
"""A cut that lasts so long breaks a connection: the heartbeat's."""
FINGERPRINT = bytes(32)
CLOSED = WSMessage(WSMsgType.CLOSED, None, None)


@dataclass
class Weather:
    """Of all links. Percentages are of frames after the handshake."""

    delay_ms_max: int = 10
    loss: int = 0
    duplicates: int = 0
    reordering: int = 0


class Pipe:
    """One direction of one connection."""

    def __init__(self, realm: "Realm", source: "Machine", target: "Machine") -> None:
        self._realm = realm
        self._ends = source, target
        self._life = target.life
        self._inbox: asyncio.Queue[WSMessage] = asyncio.Queue()
        self._held: list[bytes] = []
        self._arrives_s = 0.0
        self.closed = False

    def put(self, frame: bytes) -> None:
        source, target = self._ends
        if self.closed:
            raise ConnectionResetError("the connection is gone")
        if (source.index, target.index) in self._realm.cuts:
            if not self._held:
                self._realm.later(BROKEN_AFTER_S, self._break_if_held)
                self._realm.on_heal(self._release)
            self._held.append(frame)
            return
        random, weather = self._realm.random, self._realm.weather
        if not self._realm.passes(source, target, frame):
            return
        if frame[1] >= Kind.STATUS:  # [array header, kind, ...]
            if random.randrange(100) < weather.loss:
                return
            if random.randrange(100) < weather.duplicates:
                self._carry(frame)
        self._carry(frame)

    def _carry(self, frame: bytes) -> None:
        random, weather = self._realm.random, self._realm.weather
        overtakes = frame[1] >= Kind.STATUS and random.randrange(100) < weather.reordering
        now_s = self._realm.loop.now_s
        arrives_s = now_s + random.uniform(0.0002, weather.delay_ms_max / 1_000)
        if not overtakes:
            arrives_s = self._arrives_s = max(arrives_s, self._arrives_s + 1e-6)
        message = WSMessage(WSMsgType.BINARY, frame, None)
        self._realm.later(arrives_s - now_s, lambda: self._deliver(message))

    def _deliver(self, message: WSMessage) -> None:
        if self._life is not None and (message is CLOSED or not self.closed):
            self._life.do(lambda: self._inbox.put_nowait(message))

    def _release(self) -> None:
        held, self._held = self._held, []
        for frame in held if not self.closed else ():
            self._carry(frame)

    def _break_if_held(self) -> None:
        if self._held:
            self.close()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._realm.later(self._realm.weather.delay_ms_max / 1e3, lambda: self._deliver(CLOSED))

    async def get(self) -> WSMessage:
        return await self._inbox.get()


class FakeSocket:
    """One end of a connection, as `node.peers.connection` uses it."""

    def __init__(self, inward: Pipe, outward: Pipe, source: "Machine") -> None:
        self._inward = inward
        self._outward = outward
        self._life = source.life
        self._source = source

    async def receive(self) -> WSMessage:
        return await self._inward.get()

    async def send_bytes(self, frame: bytes) -> None:
        if self._life is None or not self._life.alive:
            raise ConnectionResetError("this machine is off")
        for one in self._source.distort(frame):
            self._outward.put(one)

    async def close(self) -> None:
        self._inward.close()
        self._outward.close()


class LinkedNetwork(PeerNetwork):
    """The node's peer network, its sockets replaced."""

    realm: "Realm"
    machine: "Machine"

    async def start(self, host: str, port: int) -> int:
        # In order, so that a seed is a run: a set of bytes has another in each process.
        self._tasks = [
            asyncio.create_task(self._keep_dialling(one)) for one in sorted(self._dialled)
        ]
        return port

    async def _dial(self, address: bytes, host: str, port: int) -> None:
        realm = self.realm
        other = realm.by_address.get(address)
        if other is None:
            raise ConnectionRefusedError("nobody has this address")
        await asyncio.sleep(realm.random.uniform(0.001, realm.weather.delay_ms_max / 1_000))
        ways = {(self.machine.index, other.index), (other.index, self.machine.index)}
        if realm.is_apart(self.machine.index, other.index):
            raise ConnectionRefusedError("no link")
        if ways & realm.cuts:
            await asyncio.sleep(3.0)
            raise TimeoutError
        if other.node is None or other.life is None or other.life.asleep:
            raise ConnectionRefusedError("nobody listens")
        there, back = Pipe(realm, self.machine, other), Pipe(realm, other, self.machine)
        realm.connections.append((self.machine, other, there, back))
        listening = FakeSocket(there, back, other)
        network = other.node.network

        def listen() -> None:
            talk = network._talk(listening, f"{self.machine.host}:40000", FINGERPRINT, dialed=False)
            asyncio.ensure_future(talk)  # noqa: RUF006 - the life keeps its tasks

        other.life.do(listen)
        await self._talk(
            FakeSocket(back, there, self.machine),
            f"{host}:{port}",
            FINGERPRINT,
            dialed=True,
            expected=Endpoint("", address, host, port),
        )
