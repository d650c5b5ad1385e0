"""How fast a node catches up: certified headers, bodies, and a chain of 100,000 blocks by snapshot.

Real processes on this machine. Bodies: four validators of five hold the chain, the fifth has an
empty disk. Snapshot: four validators hold a long chain with as many accounts, and let a fifth node
in by their votes; it has an empty disk, joins, is voted a validator, says that it is ready, and a
block is made that needs its vote. The rate at which a node imports its own blocks, by which bodies
are judged, is that of `Chain` in this process over the same store; both are measured in turns, and
of each the best round counts: whatever else the machine does only slows them down. `SYNC_BLOCKS`
shortens the long chain.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.machine import cpu_seconds
from benchmarks.workload import CHAIN_ID, creation_data, encode_call, make_keys, sign_call
from ledger.block import Block, Certificate, commit_digest, decode_block, encode_block
from ledger.chain import FLUSH_BLOCKS_MAX, Chain
from ledger.consensus.signer import SignerRecord
from ledger.crypto.address import address_of, contract_address, to_checksum
from ledger.crypto.keccak import keccak256
from ledger.crypto.secp256k1 import sign_compact
from ledger.store.sqlite import SqliteStore
from ledger.transaction import Transaction, sign_transaction
from ledger.types import Address
from node.client import Client, ClientError
from node.devnet import Devnet
from node.keys import load_node_key
from node.network_files import STORE_FILE, CreatedNetwork, Member, create_network
from node.new_node import create_node
from node.peers.frames import HEADERS_PER_FRAME
from node.ports import free_ports
from node.sync.headers import Link, Trusted, find_proofs, link_headers, verify_links

SYNC_BLOCKS = int(os.environ.get("SYNC_BLOCKS", "100000"))
BODY_BLOCKS, BODY_TRANSACTIONS, BODY_ROUNDS = 150, 200, 3
METERS = 200
FIRST_PERIOD = 400_000
OWNER = make_keys(1, "owner")[0]
READY_S = 300.0
VALIDATORS = 4
HEADERS = 4_096
ROOT = Path(__file__).parents[1]


@contextmanager
def make_network(
    nodes: int, **settings: str | int | bool | tuple[str, ...]
) -> Iterator[CreatedNetwork]:
    folder = Path(tempfile.mkdtemp(prefix="wattledger-sync-", dir=os.environ.get("BENCH_DIR")))
    try:
        yield create_network(
            folder / "network", nodes=nodes, validators_vote=True, administrator=address_of(OWNER),
            deployers=[address_of(OWNER)], alloc={address_of(OWNER): 10**24}, block_period_ms=0,
            timestamp=1_700_000_000, rpc_ports=free_ports(nodes),
            peer_ports=free_ports(nodes), settings=settings,
        )  # fmt: skip
    finally:
        shutil.rmtree(folder)


class Writer:
    """Writes a chain as the first four validators would, in a file that may be lost."""

    def __init__(self, network: CreatedNetwork, store: SqliteStore) -> None:
        for connection in (store._db.main, store._db.large):
            connection.execute("PRAGMA synchronous = OFF")
        keys = [load_node_key(one.folder / "node.key", None) for one in network.members]
        self.keys = keys[:VALIDATORS]
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
    """Give the chain to the first four nodes, each with a signer record of its own."""
    for member in network.members[:VALIDATORS]:
        target = member.folder / "data" / STORE_FILE
        for old in target.parent.glob(STORE_FILE + "*"):
            old.unlink()
        shutil.copy(file, target)
        store = SqliteStore(target)
        store.save_signer(SignerRecord((height + 1, 0), note=()).encode())
        store.put_durable("node/signer-address", None)
        store.close()


def measure_headers(trusted: Trusted, rows: list[list[bytes]], chain: Chain) -> dict[str, Any]:
    """Certified headers a second on one core: proved as a newcomer does, an answer at a time, and
    with every certificate checked, as where bodies follow; that on two threads, too."""

    def verify(links: list[Link]) -> None:
        verify_links(links, chain.genesis.chain_id, chain.genesis_hash)

    began = time.perf_counter()
    after, proved = trusted, []
    for start in range(0, len(rows), HEADERS_PER_FRAME):
        frame = rows[start : start + HEADERS_PER_FRAME]
        links, after = link_headers(after, frame, lambda height: None)
        verify(find_proofs(links))
        proved += links
    newcomer_s = time.perf_counter() - began
    began = time.perf_counter()
    verify(proved)
    one_s = time.perf_counter() - began
    half = len(proved) // 2
    began = time.perf_counter()
    with ThreadPoolExecutor(2) as executor:
        list(executor.map(verify, (proved[:half], proved[half:])))
    two_s = time.perf_counter() - began
    return {
        "signatures_each": len(proved[0].certificate.signatures),
        "per_second": round(len(proved) / newcomer_s),
        "per_second_every_certificate": round(len(proved) / (newcomer_s + one_s)),
        "per_second_every_certificate_two_threads": round(len(proved) / (newcomer_s + two_s)),
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


def measure_join(joiner: Member, height: int) -> tuple[dict[str, Any], Devnet]:
    """Seconds from the start of an empty node's process until it has the head; it runs on."""
    devnet = Devnet((joiner,))
    began = time.perf_counter()
    devnet.start()
    try:
        seen = wait_for(f"http://127.0.0.1:{joiner.rpc_port}", height)
        cpu_s = cpu_seconds(devnet.processes[0].pid)
    except BaseException:
        devnet.stop()
        raise
    first = next((at, head) for at, head in seen if head)
    return {
        "seconds": round(seen[-1][0] - began, 2),
        "cpu_seconds": round(cpu_s, 1),
        "blocks_per_second": round((height - first[1]) / max(0.001, seen[-1][0] - first[0]), 1),
    }, devnet


def measure_bodies() -> dict[str, Any]:
    """Blocks a second that a node imports from its peers, and that one imports of its own."""
    with make_network(VALIDATORS + 1, **{"sync.snapshot_blocks": 0}) as network:
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
        servers = Devnet(network.members[:VALIDATORS])
        own, joined = [], []
        try:
            servers.start()
            servers.wait_ready()
            for number in range(BODY_ROUNDS):
                own.append(import_own(network, folder / f"own-{number}.sqlite", raws))
                joined.append(join_anew(network.members[-1], height))
        finally:
            servers.stop()
        return {
            "transactions_each": BODY_TRANSACTIONS,
            "own_blocks_per_second": round(max(own), 1),
            "from_peers_blocks_per_second": max(joined),
            "ratio": round(max(joined) / max(own), 2),
        }


def join_anew(joiner: Member, height: int) -> float:
    """Blocks a second that a node with an empty disk imports."""
    for old in (joiner.folder / "data").glob(STORE_FILE + "*"):
        old.unlink()
    joined, running = measure_join(joiner, height)
    running.stop()
    rate: float = joined["blocks_per_second"]
    return rate


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


def make_long_chain(network: CreatedNetwork, file: Path) -> tuple[dict[str, Any], float]:
    """Blocks of one payment each to an account of its own; the rate of their headers, and the
    seconds that making them took."""
    began = time.perf_counter()
    writer = Writer(network, SqliteStore(file))
    trusted = Trusted(writer.chain.head, writer.chain.validators)
    rows: list[list[bytes]] = []
    for number in range(SYNC_BLOCKS):
        to = keccak256(number.to_bytes(4, "big"))[:20]
        paid = sign_transaction(
            OWNER, chain_id=CHAIN_ID, nonce=number, to=to, value=1, gas=21_000, gas_price=0
        )
        block, certificate = writer.add([paid])
        if number < HEADERS:
            rows.append([block.header.encode(), certificate.encode(), b""])
    made_s = time.perf_counter() - began
    headers = measure_headers(trusted, rows, writer.chain)
    writer.chain.close()
    return headers, made_s


def vote(network: CreatedNetwork, *change: str) -> None:
    """`wattledger network propose` by the first validator, `vote` by others until it is done."""
    words, outcome = ["propose", *change], {"done": False}
    for member in network.members:
        done = subprocess.run(
            [sys.executable, "-m", "node", "network", *words, "--json",
             "--key-file", str(member.folder / "node.key"),
             "--rpc", f"http://127.0.0.1:{member.rpc_port}"],
            cwd=ROOT, check=True, capture_output=True, text=True,
        )  # fmt: skip
        outcome = json.loads(done.stdout)
        if outcome["done"]:
            return
        words = ["vote", str(outcome["proposal"])]
    raise AssertionError(f"{change} has {outcome['votes']} of {outcome['needed']} votes")


def vote_in(network: CreatedNetwork, joiner: Member, servers: Devnet) -> dict[str, Any]:
    """Seconds until the node that joined is a validator, and whether a block comes that needs its
    vote: of five four have to sign, and one of the old ones is stopped."""
    client = Client(f"http://127.0.0.1:{joiner.rpc_port}", timeout_s=5.0)
    began = time.perf_counter()
    vote(network, "add-validator", to_checksum(joiner.address))
    while not client.call("admin_nodeInfo")["isValidator"]:
        assert time.perf_counter() - began < READY_S, "it did not become a validator"
        time.sleep(0.02)
    became_s = time.perf_counter() - began
    validators = len(client.call("wattledger_networkInfo")["validators"])
    servers.processes[0].kill()
    servers.processes[0].wait()
    head = client.height()
    paid = sign_transaction(
        OWNER, chain_id=CHAIN_ID, nonce=SYNC_BLOCKS, to=bytes(20), value=1, gas=21_000, gas_price=0
    )
    client.call("eth_sendRawTransaction", "0x" + paid.raw.hex())
    wait_for(client.url, head + 1)
    client.close()
    return {
        "voted_in": True,
        "validators": validators,
        "seconds_until_validator": round(became_s, 2),
        "block_with_its_vote": head + 1,
    }


def measure_snapshot() -> dict[str, Any]:
    """Seconds until an empty node has joined a long chain and is a validator of it."""
    with make_network(VALIDATORS) as network:
        folder = network.network_file.parent
        headers, made_s = make_long_chain(network, folder / "made.sqlite")
        hand_out(network, folder / "made.sqlite", SYNC_BLOCKS)
        port, rpc_port = free_ports(2)
        joiner = create_node(
            network.network_file, folder / "fifth", name="fifth", host="127.0.0.1", port=port,
            rpc_port=rpc_port,
        ).member  # fmt: skip
        servers = Devnet(network.members)
        try:
            servers.start()
            servers.wait_ready()
            vote(network, "allow-node", to_checksum(joiner.address))
            head = Client(f"http://127.0.0.1:{network.members[0].rpc_port}").height()
            joined, fifth = measure_join(joiner, head)
            try:
                voted = vote_in(network, joiner, servers)
            finally:
                fifth.stop()
        finally:
            servers.stop()
        assert "joined by a snapshot" in (joiner.folder / "node.log").read_text()
        return {
            "headers": headers,
            "blocks": head,
            "accounts": SYNC_BLOCKS,
            "seconds_to_make_the_chain": round(made_s, 1),
            "seconds_until_joined": joined["seconds"],
            "cpu_seconds": joined["cpu_seconds"],
            **voted,
        }


def run() -> dict[str, Any]:
    return {"bodies": measure_bodies(), "snapshot": measure_snapshot()}
