"""How fast a node catches up: certified headers, bodies, and a chain of 100,000 blocks by snapshot.

Real processes on this machine: four validators of five hold the chain, the fifth has an empty disk.
The rate at which a node imports its own blocks, by which bodies are judged, is that of `Chain` in
this process over the same store. `SYNC_BLOCKS` shortens the long chain.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.machine import cpu_seconds
from benchmarks.workload import creation_data, encode_call, make_keys, sign_call
from ledger.block import Block, Certificate, commit_digest, decode_block, encode_block
from ledger.chain import FLUSH_BLOCKS_MAX, Chain
from ledger.consensus.signer import SignerRecord
from ledger.crypto.address import address_of, contract_address
from ledger.crypto.keccak import keccak256
from ledger.crypto.secp256k1 import sign_compact
from ledger.store.sqlite import SqliteStore
from ledger.transaction import Transaction
from ledger.types import Address
from node.client import Client, ClientError
from node.devnet import Devnet, find_free_ports
from node.keys import load_node_key
from node.network_files import STORE_FILE, CreatedNetwork, create_network
from node.sync.headers import Trusted, link_headers, verify_links

SYNC_BLOCKS = int(os.environ.get("SYNC_BLOCKS", "100000"))
BODY_BLOCKS, BODY_TRANSACTIONS = 150, 200
METERS = 200
FIRST_PERIOD = 400_000
OWNER = make_keys(1, "owner")[0]
READY_S = 300.0
NODES = 5


@contextmanager
def make_network(**settings: str | int | bool | tuple[str, ...]) -> Iterator[CreatedNetwork]:
    folder = Path(tempfile.mkdtemp(prefix="wattledger-sync-", dir=os.environ.get("BENCH_DIR")))
    try:
        yield create_network(
            folder / "network", nodes=NODES, administrator=address_of(OWNER),
            deployers=[address_of(OWNER)], alloc={address_of(OWNER): 10**24}, block_period_ms=0,
            timestamp=1_700_000_000, rpc_ports=find_free_ports(NODES),
            peer_ports=find_free_ports(NODES), settings=settings,
        )  # fmt: skip
    finally:
        shutil.rmtree(folder)


class Writer:
    """Writes a chain as four of the five validators would."""

    def __init__(self, network: CreatedNetwork, store: SqliteStore) -> None:
        keys = [load_node_key(one.folder / "node.key", None) for one in network.members]
        self.keys = keys[: NODES - 1]
        self.chain = Chain(store, network.genesis, flush_blocks=FLUSH_BLOCKS_MAX)

    def add(self, transactions: list[Transaction]) -> tuple[Block, Certificate]:
        chain = self.chain
        built = chain.build(transactions, chain.head.timestamp + 1, chain.validators[0])
        assert not built.refused, built.refused[:1]
        block = built.block
        digest = commit_digest(
            chain.genesis.chain_id, chain.genesis_hash, block.number, 0, block.hash
        )
        seals = tuple(sign_compact(key, digest) for key in self.keys)
        certificate = Certificate(block.number, 0, block.hash, seals)
        chain.commit(block, certificate, None)
        return block, certificate


def hand_out(network: CreatedNetwork, file: Path, height: int) -> None:
    """Give the chain to all but the last node, each with a signer record of its own."""
    for member in network.members[:-1]:
        target = member.folder / "data" / STORE_FILE
        for old in target.parent.glob(STORE_FILE + "*"):
            old.unlink()
        shutil.copy(file, target)
        store = SqliteStore(target)
        store.save_signer(SignerRecord((height + 1, 0), note=()).encode())
        store.put_durable("node/signer-address", None)
        store.close()


def measure_headers(trusted: Trusted, rows: list[list[bytes]], chain: Chain) -> dict[str, Any]:
    """Certified headers a second, on one core and on two threads."""
    genesis = chain.genesis
    began = time.perf_counter()
    cpu = time.process_time()
    links, _ = link_headers(trusted, rows, lambda height: None)
    linked = time.perf_counter()
    verify_links(links, genesis.chain_id, chain.genesis_hash, bytes(20))
    cpu = time.process_time() - cpu
    one = time.perf_counter()
    half = len(links) // 2
    with ThreadPoolExecutor(2) as executor:
        parts = [(links[:half],), (links[half:],)]
        for future in [
            executor.submit(verify_links, part, genesis.chain_id, chain.genesis_hash, bytes(20))
            for (part,) in parts
        ]:
            future.result()
    two = time.perf_counter()
    return {
        "signatures_each": len(links[0].certificate.signatures),
        "per_second_of_cpu": round(len(links) / cpu),
        "per_second_one_core": round(len(links) / (one - began)),
        "per_second_two_threads": round(len(links) / (linked - began + two - one)),
    }


def wait_for(url: str, height: int) -> list[tuple[float, int]]:
    """(seconds since the start of this process's clock, head) until a height is reached."""
    seen: list[tuple[float, int]] = []
    deadline = time.perf_counter() + READY_S
    client = Client(url, timeout_s=5.0)
    while not seen or seen[-1][1] < height:
        assert time.perf_counter() < deadline, f"at {seen[-1:]} after {READY_S} s"
        with suppress(ClientError):  # while it starts
            seen.append((time.perf_counter(), int(client.call("eth_blockNumber"), 16)))
        time.sleep(0.02)
    client.close()
    return seen


def measure_join(network: CreatedNetwork, height: int) -> dict[str, Any]:
    """Seconds from the start of an empty node's process until it has the head."""
    servers = Devnet(network.members[:-1])
    joiner = Devnet(network.members[-1:])
    url = f"http://127.0.0.1:{network.members[-1].rpc_port}"
    try:
        servers.start()
        servers.wait_ready()
        began = time.perf_counter()
        joiner.start()
        seen = wait_for(url, height)
        cpu_s = cpu_seconds(joiner.processes[0].pid)
    finally:
        joiner.stop()
        servers.stop()
    first = next((at, head) for at, head in seen if head)
    return {
        "seconds": round(seen[-1][0] - began, 2),
        "cpu_seconds": round(cpu_s, 1),
        "blocks_per_second": round((height - first[1]) / max(0.001, seen[-1][0] - first[0]), 1),
    }


def measure_bodies() -> dict[str, Any]:
    """Blocks a second that a node imports from its peers, and that one imports of its own."""
    with make_network(**{"sync.snapshot_blocks": 0}) as network:
        folder = network.network_file.parent
        writer = Writer(network, SqliteStore(folder / "made.sqlite"))
        meters = make_keys(METERS, "meter")
        for transactions in set_up(meters):
            writer.add(transactions)
        contract = contract_address(address_of(OWNER), 0)
        for number in range(BODY_BLOCKS):
            writer.add(record(meters, contract, number))
        height = writer.chain.head.number
        raws = [
            (encode_block(writer.chain.block(one)), writer.chain.certificate(one))
            for one in range(1, height + 1)
        ]
        writer.chain.close()
        hand_out(network, folder / "made.sqlite", height)
        own = import_own(network, folder / "own.sqlite", raws)
        joined = measure_join(network, height)
        return {
            "transactions_each": BODY_TRANSACTIONS,
            "own_blocks_per_second": round(own, 1),
            "from_peers_blocks_per_second": joined["blocks_per_second"],
            "ratio": round(joined["blocks_per_second"] / own, 2),
        }


def set_up(meters: list[bytes]) -> list[list[Transaction]]:
    creation = creation_data("metering", ["uint32", "int32"], 3_600, 0)
    contract = contract_address(address_of(OWNER), 0)
    enrol = [
        sign_call(
            OWNER, 1 + i, contract,
            encode_call("enrol(address,address)", address_of(key), address_of(key)), 500_000,
        )
        for i, key in enumerate(meters)
    ]  # fmt: skip
    return [
        [sign_call(OWNER, 0, None, creation, 15_000_000)],
        *(enrol[start : start + 25] for start in range(0, len(enrol), 25)),
    ]


def record(meters: list[bytes], contract: Address, number: int) -> list[Transaction]:
    signature = "record(uint32,uint64,uint64,uint8)"
    return [
        sign_call(
            meters[index], number, contract,
            encode_call(signature, FIRST_PERIOD + number, 100 + index, 0, 1), 75_000,
        )
        for index in range(BODY_TRANSACTIONS)
    ]  # fmt: skip


def import_own(
    network: CreatedNetwork, file: Path, raws: list[tuple[bytes, Certificate | None]]
) -> float:
    """Blocks a second from bytes to durable, as a node imports what it has."""
    with ThreadPoolExecutor(2) as executor:
        chain = Chain(SqliteStore(file), network.genesis, executor=executor, flush_blocks=64)
        began = time.perf_counter()
        for raw, certificate in raws:
            assert certificate is not None
            block = decode_block(raw)
            chain.check(block, None)
            chain.commit(block, certificate, None)
        seconds = time.perf_counter() - began
        chain.close()
    return len(raws) / seconds


def measure_snapshot() -> dict[str, Any]:
    """Seconds until an empty node has joined a long chain, and headers a second."""
    with make_network() as network:
        folder = network.network_file.parent
        file = folder / "made.sqlite"
        writer = Writer(network, SqliteStore(file))
        trusted = Trusted(writer.chain.head, writer.chain.validators)
        rows: list[list[bytes]] = []
        for number in range(SYNC_BLOCKS):
            to = keccak256(number.to_bytes(4, "big"))[:20]
            block, certificate = writer.add([sign_call(OWNER, number, to, b"", 21_000)])
            if number < 4_000:
                rows.append([block.header.encode(), certificate.encode(), b""])
        headers = measure_headers(trusted, rows, writer.chain)
        writer.chain.close()
        hand_out(network, file, SYNC_BLOCKS)
        joined = measure_join(network, SYNC_BLOCKS)
        return {
            "headers": headers,
            "blocks": SYNC_BLOCKS,
            "accounts": SYNC_BLOCKS,
            "seconds_until_joined": joined["seconds"],
            "cpu_seconds": joined["cpu_seconds"],
        }


def run() -> dict[str, Any]:
    return {"bodies": measure_bodies(), "snapshot": measure_snapshot()}
