"""Networks of peers on real sockets in TLS, with hosts that only keep what arrives."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from io import StringIO
from pathlib import Path
from typing import Any

from ledger.crypto.address import address_of
from node.errors import PeerError
from node.log import Log
from node.peers.connection import Identity, Peer
from node.peers.frames import Kind
from node.peers.identity import load_or_make_certificate, make_peer_tls
from node.peers.network import Endpoint, PeerNetwork

CHAIN_ID = 1947
GENESIS = b"\x11" * 32
KEYS = [bytes([number]) * 32 for number in range(1, 7)]
ADDRESSES = [address_of(key) for key in KEYS]


class ToyHost:
    """Lets in who is on its list and keeps what arrives."""

    def __init__(self, allowed: list[bytes]) -> None:
        self.allowed = set(allowed)
        self.frames: list[tuple[bytes, Kind, list[Any]]] = []
        self.connected: list[bytes] = []

    def check_peer(self, address: bytes, *, dialed: bool) -> str | None:
        return None if address in self.allowed else "it is not on the list of allowed nodes"

    def peer_connected(self, peer: Peer) -> None:
        self.connected.append(peer.address)

    def peer_disconnected(self, peer: Peer) -> None:
        pass

    async def receive(self, peer: Peer, kind: Kind, fields: list[Any]) -> None:
        self.frames.append((peer.address, kind, fields))
        if kind is Kind.CONSENSUS and fields[0] == b"evil":
            raise PeerError("it sent evil")


class Node:
    """A PeerNetwork on a free port with a toy host."""

    def __init__(self, folder: Path, number: int, *, genesis: bytes = GENESIS) -> None:
        folder = folder / str(number)
        folder.mkdir(exist_ok=True)
        self.key, self.address = KEYS[number], ADDRESSES[number]
        self.host = ToyHost(ADDRESSES)
        certificate, self.fingerprint = load_or_make_certificate(folder)
        self.tls = make_peer_tls(certificate)
        self.identity = Identity(self.key, CHAIN_ID, genesis, f"node{number}")
        self.stream = StringIO()
        self.port = 0

    async def start(self, *others: "Node", port: int = 0, **options: Any) -> None:
        endpoints = tuple(
            Endpoint(one.identity.name, one.address, "127.0.0.1", one.port) for one in others
        )
        self.network = PeerNetwork(
            self.host,
            self.identity,
            self.address,
            endpoints,
            self.tls,
            self.fingerprint,
            Log("debug", self.stream),
            **options,
        )
        self.port = await self.network.start("127.0.0.1", port)

    async def stop(self) -> None:
        await self.network.stop()


PATIENCE_S = 30.0
"""For what takes milliseconds on an idle machine."""


async def until(condition: Callable[[], object], seconds: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)


def play(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 90))  # type: ignore[arg-type]
