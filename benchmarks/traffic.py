"""What a metering transaction costs on the wire, for networks of 4, 7, 13 and 21 validators.

Real nodes with sockets in TLS, all in this process; each frame is counted where it is queued for
its peer, so retransmission and TLS (some 22 bytes a frame and 60 bytes of TCP and IP a packet) come
on top. Clients send to different nodes; blocks of about BLOCK transactions, then a quiet chain with
a transaction at a time. With `TRAFFIC_WHOLE=1` proposals travel whole, as before wire version 2.
"""

import asyncio
import os
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.workload import make_keys, sign_call
from ledger.crypto.address import address_of
from ledger.store.sqlite import SqliteStore
from ledger.transaction import Transaction
from node import compact
from node.config import load_config
from node.keys import load_node_key
from node.log import Log
from node.network_files import STORE_FILE, create_network, load_network_file
from node.node import Node
from node.peers.connection import Peer
from node.peers.frames import SYNC_VERSION, Kind
from node.ports import free_ports

SIZES = (4, 7, 13, 21)
SENDERS, BLOCK, BLOCKS, SINGLES = 50, 50, 6, 5
DATA_BYTES = 132
"""Of `record(uint32,uint64,uint64,uint8)`."""
READY_S = 120.0
PEOPLE = make_keys(SENDERS, "sender")


class Counted:
    """Bytes and frames queued, by kind, of all nodes."""

    def __init__(self) -> None:
        self.bytes: Counter[str] = Counter()
        self.frames: Counter[str] = Counter()

    def note(self, kind: Kind, size: int) -> None:
        self.bytes[kind.name] += size
        self.frames[kind.name] += 1


async def measure(nodes: int, folder: Path) -> dict[str, Any]:
    made = create_network(
        folder, nodes=nodes, block_period_ms=1_000, round_timeout_ms=20_000,
        alloc={address_of(key): 10**20 for key in PEOPLE},
        peer_ports=free_ports(nodes), rpc_ports=free_ports(nodes),
    )  # fmt: skip
    running: list[Node] = []
    original = Peer.send_frame
    counted = Counted()

    def send_frame(peer: Peer, kind: Kind, frame: bytes) -> None:
        counted.note(kind, len(frame))
        original(peer, kind, frame)

    Peer.send_frame = send_frame  # type: ignore[method-assign]
    try:
        for member in made.members:
            config = load_config(member.config_file)
            node = Node(
                config, load_network_file(config.network), load_node_key(config.key_file, None),
                SqliteStore(config.data / STORE_FILE), Log("error"),
            )  # fmt: skip
            await node.start()
            running.append(node)
        await until(lambda: all(len(node.network.peers) == nodes - 1 for node in running))
        busy = await send(running, counted, [[n] * SENDERS for n in range(BLOCKS)])
        quiet = await send(running, counted, [[BLOCKS + n] for n in range(SINGLES)])
    finally:
        Peer.send_frame = original  # type: ignore[method-assign]
        for node in running:
            await node.stop()
    return {"nodes": nodes, "blocks_of_50": busy, "one_at_a_time": quiet}


async def send(running: list[Node], counted: Counted, rounds: list[list[int]]) -> dict[str, Any]:
    """Send each round's transactions, one per sender, and wait until all nodes have them."""
    counted.bytes.clear()
    counted.frames.clear()
    count = 0
    size = 0
    first = running[0].chain.head.number
    for nonces in rounds:
        made = [make(key, nonce) for key, nonce in zip(PEOPLE, nonces, strict=False)]
        for index, one in enumerate(made):
            await running[index % len(running)].submit([one.raw])
            size += len(one.raw)
            count += 1
        last = made[-1].hash
        await until(lambda last=last: all(n.chain.find_transaction(last) for n in running))  # type: ignore[misc]
    total = sum(counted.bytes.values())
    return {
        "transactions": count,
        "blocks": running[0].chain.head.number - first,
        "bytes_of_a_transaction": round(size / count),
        "bytes_sent_per_transaction": round(total / count),
        "bytes_received_per_transaction_and_node": round(total / count / len(running)),
        "by_kind": {
            kind: {"bytes": round(amount / count), "frames": round(counted.frames[kind] / count, 2)}
            for kind, amount in counted.bytes.most_common()
        },
    }


def make(key: bytes, nonce: int) -> Transaction:
    return sign_call(key, nonce, b"\x77" * 20, b"\x01" * DATA_BYTES, 60_000)


async def until(condition: Any) -> None:
    deadline = time.monotonic() + READY_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


def run() -> list[dict[str, Any]]:
    if os.environ.get("TRAFFIC_WHOLE"):
        compact.SYNC_VERSION = SYNC_VERSION + 1
    results = []
    for nodes in SIZES:
        folder = Path(tempfile.mkdtemp(prefix="wattledger-traffic-"))
        try:
            results.append(asyncio.run(measure(nodes, folder / "network")))
        finally:
            shutil.rmtree(folder)
    return results
