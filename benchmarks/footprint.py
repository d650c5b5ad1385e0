"""What a node takes: memory, disk, and CPU while nothing happens."""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.cluster import OWNER, run_cluster
from benchmarks.machine import cpu_seconds_of_all, memory_bytes, written_bytes
from benchmarks.throughput import ask, send_and_wait
from benchmarks.workload import (
    creation_data,
    encode_call,
    make_keys,
    record_transactions,
    sign_call,
)
from ledger.block import Certificate
from ledger.chain import Chain
from ledger.crypto.address import address_of, contract_address
from ledger.genesis import Genesis
from ledger.store.sqlite import SqliteStore

METERS = 100
HOURS = 24  # a day of so many meters
IDLE_S = 20.0
FIRST_PERIOD = 1_700_000_000 // 3_600


def measure_node() -> dict[str, Any]:
    """A node that records a day of 100 meters hour by hour, and then is left alone."""
    with run_cluster(1) as cluster:
        pid = cluster.pids[0]
        empty = memory_bytes(pid)
        asyncio.run(_record_day(cluster.urls[0]))
        time.sleep(3)
        result = {
            "memory_empty_mb": round(empty / 1e6, 1),
            "memory_after_day_mb": round(memory_bytes(pid) / 1e6, 1),
        }
        before = cpu_seconds_of_all(pid)
        time.sleep(IDLE_S)
        result["idle_cpu_percent"] = round((cpu_seconds_of_all(pid) - before) / IDLE_S * 100, 2)
    return result


async def _record_day(url: str) -> None:
    meters = make_keys(METERS, "meter")
    contract = contract_address(address_of(OWNER), 0)
    creation = creation_data("metering", ["uint32", "int32"], 3_600, 0)
    calls = [
        encode_call("enrol(address,address)", address_of(key), address_of(key)) for key in meters
    ]
    async with aiohttp.ClientSession() as session:
        await send_and_wait(session, url, [sign_call(OWNER, 0, None, creation, 15_000_000)])
        await send_and_wait(
            session, url,
            [sign_call(OWNER, 1 + i, contract, call, 500_000) for i, call in enumerate(calls)],
        )  # fmt: skip
        for hour in range(HOURS):
            part = record_transactions(meters, contract, METERS, FIRST_PERIOD + hour, hour)
            await send_and_wait(session, url, part)
        count = await ask(session, url, "eth_blockNumber")
        assert int(count, 16) >= HOURS


def measure_disk(block: int) -> dict[str, Any]:
    """Bytes kept and bytes written for each record, in blocks of so many; in a process apart."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.footprint", str(block)],
        capture_output=True, text=True, check=True, timeout=1_200,
    )  # fmt: skip
    stored, written = map(float, done.stdout.split())
    return {
        "block_of": block,
        "stored_bytes": round(stored),
        "written_bytes": round(written),
        "written_per_stored": round(written / stored, 2),
    }


def _write_chain(block: int) -> None:
    """Print bytes stored and written per record; the setting up is taken away.

    The chain is long enough that old states are pruned on the way, as on one that has run for
    years; it is closed before its file is measured, so that the log of SQLite is in it.
    """
    count = block * (600 if block > 1 else 6_000)
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        path = Path(folder) / "chain.sqlite"
        meters = make_keys(200, "meter")
        owner = address_of(OWNER)
        contract = contract_address(owner, 0)
        chain = Chain(SqliteStore(path), make_genesis(owner))
        creation = creation_data("metering", ["uint32", "int32"], 3_600, 0)
        setup = [sign_call(OWNER, 0, None, creation, 15_000_000)]
        setup += [
            sign_call(
                OWNER, 1 + i, contract,
                encode_call("enrol(address,address)", address_of(key), address_of(key)), 500_000,
            )
            for i, key in enumerate(meters)
        ]  # fmt: skip
        commit_block(chain, setup)
        chain.close()
        size, written = path.stat().st_size, written_bytes(os.getpid())
        chain = Chain(SqliteStore(path), make_genesis(owner))
        transactions = record_transactions(meters, contract, count, FIRST_PERIOD)
        for start in range(0, count, block):
            commit_block(chain, transactions[start : start + block])
        chain.close()
        os.sync()
        stored = (path.stat().st_size - size) / count
        print(stored, (written_bytes(os.getpid()) - written) / count)


def make_genesis(owner: bytes) -> Genesis:
    return Genesis(
        name="bench", chain_id=1947, timestamp=1_700_000_000, validators=(owner,),
        gas_limit=1_000_000_000,
    )  # fmt: skip


def commit_block(chain: Chain, transactions: list[Any]) -> None:
    # A minute between blocks: what is kept for reading old states is then that of 256 blocks.
    built = chain.build(transactions, chain.head.timestamp + 60, chain.validators[0])
    assert not built.refused, built.refused[:1]
    block = built.block
    # Three signatures of four validators, as a certificate has.
    chain.commit(block, Certificate(block.number, 0, block.hash, (os.urandom(65),) * 3), None)


def run() -> dict[str, Any]:
    return {
        "node": measure_node(),
        "disk": [measure_disk(200), measure_disk(1)],
    }


if __name__ == "__main__":
    _write_chain(int(sys.argv[1]))
