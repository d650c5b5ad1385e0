"""A pace held for ten minutes: 1,000 metering transactions a second, four validators, their memory.

All is signed beforehand. One client process sends a batch of 100 each tenth of a second, a meter
always to the same node, and waits where the nodes are far behind: a network that cannot hold the
pace shows it by its rate. Every half minute: what was included, and the memory of each node.

    python -m benchmarks.sustained [SECONDS [setDebt | record]]

prints the same without writing a result.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import aiohttp
import orjson

from benchmarks.cluster import OWNER, Cluster, run_cluster
from benchmarks.machine import cpu_seconds, memory_bytes
from benchmarks.throughput import ask, make_batch, post, send_and_wait
from benchmarks.workload import (
    creation_data,
    encode_call,
    make_keys,
    record_transactions,
    set_debt_transactions,
    sign_call,
)
from ledger.crypto.address import address_of, contract_address
from ledger.transaction import Transaction

NODES = 4
PER_S = 1_000
SECONDS = 600
BATCH = 100
METERS = 1_200  # twelve batches, three for each node
CONNECTIONS = 8
BEHIND_MAX = 5_000
"""Sent and in no block: a quarter of a node's pool. The client then waits for the nodes."""
SAMPLE_S = 30.0
WARM_S = 120.0
"""Caches fill first; what memory does after it is its slope."""
END_S = 120.0
FIRST_PERIOD = 1_700_000_000 // 3_600
KINDS = ("setDebt", "record")
Sample = dict[str, Any]


@dataclass
class Pace:
    """What the sender and the watcher of one run tell each other."""

    total: int
    sent: int = 0
    included: int = 0
    height: int = 0
    refused: int = 0
    began: float = 0.0
    samples: list[Sample] = field(default_factory=list)


def run(seconds: int = SECONDS, kind: str = "setDebt") -> dict[str, Any]:
    with run_cluster(NODES) as cluster:
        return asyncio.run(drive(cluster, seconds, kind))


async def drive(cluster: Cluster, seconds: int, kind: str) -> dict[str, Any]:
    """Set up, sign all, hold the pace, and look at what became of one transaction of each batch."""
    url = cluster.urls[0]
    limit = aiohttp.TCPConnector(limit=CONNECTIONS * NODES)
    timeout = aiohttp.ClientTimeout(total=END_S)
    async with aiohttp.ClientSession(connector=limit, timeout=timeout) as session:
        contract = await set_up(session, url, kind)
        file = cluster.folder / "signed"
        hashes = sign_all(file, contract, seconds * PER_S, kind)
        pace = Pace(seconds * PER_S, height=int(await ask(session, url, "eth_blockNumber"), 16))
        first = pace.height
        before = [cpu_seconds(pid) for pid in cluster.pids]
        tell(HEADER)
        pace.began = time.monotonic()
        watcher = asyncio.create_task(watch(session, cluster, pace))
        with file.open("rb") as lines:
            await asyncio.gather(*send_all(session, cluster.urls, lines, pace))
        try:
            await asyncio.wait_for(watcher, END_S)
        except TimeoutError as error:
            waiting = pace.sent - pace.refused - pace.included
            raise RuntimeError(f"{waiting} transactions are in no block") from error
        took_s = time.monotonic() - pace.began
        cpu = [cpu_seconds(pid) - b for pid, b in zip(cluster.pids, before, strict=True)]
        failed = await count_failed(session, url, hashes)
    return {
        "kind": kind,
        "nodes": NODES,
        "transactions": pace.included,
        "seconds": round(took_s, 1),
        "per_second": round(pace.included / took_s),
        "blocks": pace.height - first,
        "refused": pace.refused,
        "failed": failed,
        "cpu_us_per_transaction_and_node": round(max(cpu) / pace.included * 1e6),
        **describe_memory(pace.samples),
        "samples": pace.samples,
    }


async def set_up(session: aiohttp.ClientSession, url: str, kind: str) -> bytes:
    """Deploy the contract and let the meters in; its address."""
    contract = contract_address(address_of(OWNER), 0)
    addresses = [address_of(key) for key in make_keys(METERS, "meter")]
    if kind == "record":
        creation = creation_data("metering", ["uint32", "int32"], 3_600, 0)
        calls = [encode_call("enrol(address,address)", one, one) for one in addresses]
    else:
        creation = creation_data("el_dapp", ["string", "string"], "Grid", "Street")
        calls = [encode_call("addUser(address)", one) for one in addresses]
    await send_and_wait(session, url, [sign_call(OWNER, 0, None, creation, 15_000_000)])
    for start in range(0, METERS, BATCH):
        part = [
            sign_call(OWNER, 1 + start + index, contract, call, 500_000)
            for index, call in enumerate(calls[start : start + BATCH])
        ]
        await send_and_wait(session, url, part)
    return contract


def sign_all(file: Path, contract: bytes, count: int, kind: str) -> list[str]:
    """Write each batch as a line, ready to be sent; the hash of the first of each batch."""
    keys = make_keys(METERS, "meter")
    hashes = []
    with file.open("wb") as lines:
        for batch in make_batches(keys, contract, count, kind):
            lines.write(orjson.dumps(make_batch(batch)) + b"\n")
            hashes.append("0x" + batch[0].hash.hex())
    return hashes


def make_batches(
    keys: list[bytes], contract: bytes, count: int, kind: str
) -> Iterator[list[Transaction]]:
    """Each meter in turn, in its nonces' order; a turn of all meters at a time is in memory."""
    for turn in range(-(-count // len(keys))):
        if kind == "record":
            made = record_transactions(keys, contract, len(keys), FIRST_PERIOD + turn, turn)
        else:
            made = set_debt_transactions(keys, contract, len(keys), first=turn * len(keys))
        for start in range(0, min(len(keys), count - turn * len(keys)), BATCH):
            yield made[start : start + BATCH]


def send_all(
    session: aiohttp.ClientSession, urls: list[str], lines: BinaryIO, pace: Pace
) -> list[Any]:
    """Senders that take the lines in order, each at its time."""
    taken = 0

    async def sender() -> None:
        nonlocal taken
        while body := lines.readline():
            number, taken = taken, taken + 1
            await await_turn(pace, number * BATCH / PER_S)
            pace.sent += BATCH
            headers = {"Content-Type": "application/json"}
            url = urls[number % (METERS // BATCH) % len(urls)]
            async with session.post(url, data=body, headers=headers) as reply:
                answers = orjson.loads(await reply.read())
            pace.refused += sum("error" in one for one in answers)

    return [sender() for _ in range(CONNECTIONS)]


async def await_turn(pace: Pace, at_s: float) -> None:
    """Until so long after the beginning, and until the nodes are not too far behind."""
    await asyncio.sleep(max(0.0, pace.began + at_s - time.monotonic()))
    while pace.sent - pace.refused - pace.included > BEHIND_MAX:
        await asyncio.sleep(0.05)


# What is seen of it.


async def watch(session: aiohttp.ClientSession, cluster: Cluster, pace: Pace) -> None:
    """Count what is included, and take samples, until all of it is."""
    due_s, before = SAMPLE_S, 0
    while pace.included + pace.refused < pace.total:
        await asyncio.sleep(0.5)
        await count_included(session, cluster.urls[0], pace)
        at_s = time.monotonic() - pace.began
        if at_s >= due_s:
            sample = {
                "at_s": round(at_s),
                "per_second": round((pace.included - before) / (at_s - due_s + SAMPLE_S)),
                "waiting": pace.sent - pace.refused - pace.included,
                "memory_mb": [round(memory_bytes(pid) / 1e6, 1) for pid in cluster.pids],
            }
            due_s, before = at_s + SAMPLE_S, pace.included
            pace.samples.append(sample)
            tell(row_of(sample))


async def count_included(session: aiohttp.ClientSession, url: str, pace: Pace) -> None:
    """Add up the transactions of the blocks that have come."""
    head = int(await ask(session, url, "eth_blockNumber"), 16)
    if head == pace.height:
        return
    body = [
        {"jsonrpc": "2.0", "id": height, "method": "eth_getBlockTransactionCountByNumber",
         "params": [hex(height)]}
        for height in range(pace.height + 1, head + 1)
    ]  # fmt: skip
    answers = await post(session, url, body)
    pace.included += sum(int(one["result"], 16) for one in answers)
    pace.height = head


async def count_failed(session: aiohttp.ClientSession, url: str, hashes: list[str]) -> int:
    """How many of these are not in a block, or failed."""
    failed = 0
    for start in range(0, len(hashes), BATCH):
        body = [
            {"jsonrpc": "2.0", "id": index, "method": "eth_getTransactionReceipt", "params": [one]}
            for index, one in enumerate(hashes[start : start + BATCH])
        ]
        answers = await post(session, url, body)
        failed += sum((one.get("result") or {}).get("status") != "0x1" for one in answers)
    return failed


def describe_memory(samples: list[Sample]) -> dict[str, Any]:
    """Memory at the first sample after the warming up and at the last one, and the slope between.

    `memory_kb_per_minute` is that of the straight line nearest to the samples (least squares), of
    the node where it is steepest; None where there are not three samples.
    """
    warm = [one for one in samples if one["at_s"] >= WARM_S]
    if len(warm) < 3:
        return {"memory_mb": samples[-1]["memory_mb"] if samples else [], **NO_SLOPE}
    times = [one["at_s"] / 60 for one in warm]
    slopes = [
        fit_slope(times, [one["memory_mb"][node] * 1_000 for one in warm]) for node in range(NODES)
    ]
    return {
        "memory_warm_mb": warm[0]["memory_mb"],
        "memory_mb": warm[-1]["memory_mb"],
        "memory_kb_per_minute": round(max(slopes)),
    }


NO_SLOPE = {"memory_kb_per_minute": None}


def fit_slope(xs: list[float], ys: list[float]) -> float:
    """Of the straight line with the least squares of its distances in y."""
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    over = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True))
    return over / sum((x - mean_x) ** 2 for x in xs)


HEADER = "| s | included a second | waiting | MB of each node |\n|---|---|---|---|"


def row_of(sample: Sample) -> str:
    memory = ", ".join(f"{one:.1f}" for one in sample["memory_mb"])
    return f"| {sample['at_s']} | {sample['per_second']:,} | {sample['waiting']:,} | {memory} |"


def tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    chosen = int(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    found = run(chosen, sys.argv[2] if len(sys.argv) > 2 else KINDS[0])
    print(json.dumps({name: one for name, one in found.items() if name != "samples"}, indent=2))
