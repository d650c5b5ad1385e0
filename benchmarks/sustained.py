"""A pace held for ten minutes: 1,000 metering transactions a second, four validators, their memory.

All is signed beforehand. One client process sends a batch of 100 each tenth of a second, a meter
always to the same node, and waits where the nodes are far behind: a network that cannot hold the
pace shows it by its rate. Every minute: what was included, how much of the processors that took,
and the memory of each node, with the process that recovers senders for it. Then a verdict.

    python -m benchmarks.sustained [SECONDS [setDebt | record [METERS]]]

prints the same without writing a result, and exits with 1 where the line was not held.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import aiohttp
import orjson

from benchmarks.cluster import OWNER, Cluster, run_cluster
from benchmarks.machine import cpu_seconds, cpu_seconds_of_all, memory_bytes
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
LINE_PER_S = 1_000
PER_S = 1_030
"""Sent: so much above the line that a block more or less at its end does not decide a minute."""
SECONDS = 600
BATCH = 100
METERS = 400
"""Twice the accounts of `throughput`, a batch for each node. A transaction costs the more the more
meters there are, for so much deeper is what it changes: 1,200 take a third more in each node."""
CONNECTIONS = 8
BEHIND_MAX = 5_000
"""Sent and in no block: a quarter of a node's pool. The client then waits for the nodes."""
SAMPLE_S = 60.0
WARM_S = 120.0
"""Caches fill first; what memory does after it is judged."""
GROWTH_MAX_MB = 10.0
"""From then to the end: in eight minutes a hash kept of each transaction would be 31 MB."""
TAIL_S = 5
"""Sent beyond the time that was asked for, so that the last minute is a whole one."""
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


def run(seconds: int = SECONDS, kind: str = "setDebt", meters: int = METERS) -> dict[str, Any]:
    """Raises ValueError for meters that are not as many at each node, in whole batches."""
    if meters <= 0 or meters % (BATCH * NODES):
        raise ValueError(f"{meters} meters: it must be a multiple of {BATCH * NODES}")
    with run_cluster(NODES) as cluster:
        return asyncio.run(drive(cluster, seconds, kind, make_keys(meters, "meter")))


async def drive(cluster: Cluster, seconds: int, kind: str, keys: list[bytes]) -> dict[str, Any]:
    """Set up, sign all, hold the pace, and look at what became of one transaction of each batch."""
    url = cluster.urls[0]
    limit = aiohttp.TCPConnector(limit=CONNECTIONS * NODES)
    timeout = aiohttp.ClientTimeout(total=END_S)
    async with aiohttp.ClientSession(connector=limit, timeout=timeout) as session:
        contract = await set_up(session, url, kind, keys)
        file = cluster.folder / "signed"
        total = -(-(seconds + TAIL_S) * PER_S // BATCH) * BATCH
        hashes = sign_all(file, contract, total, kind, keys)
        pace = Pace(total, height=int(await ask(session, url, "eth_blockNumber"), 16))
        first = pace.height
        before = [cpu_seconds_of_all(pid) for pid in cluster.pids]
        tell(HEADER)
        pace.began = time.monotonic()
        watcher = asyncio.create_task(watch(session, cluster, pace))
        with file.open("rb") as lines:
            batches = len(keys) // BATCH
            await asyncio.gather(*send_all(session, cluster.urls, lines, pace, batches))
        try:
            await asyncio.wait_for(watcher, END_S)
        except TimeoutError as error:
            waiting = pace.sent - pace.refused - pace.included
            raise RuntimeError(f"{waiting} transactions are in no block") from error
        took_s = time.monotonic() - pace.began
        cpu = [cpu_seconds_of_all(pid) - b for pid, b in zip(cluster.pids, before, strict=True)]
        failed = await count_failed(session, url, hashes)
    faults = judge(pace.samples, seconds, pace.refused, failed)
    tell(f"{LINE_PER_S:,} a second: " + ("; ".join(faults) or "held in each minute, no growth"))
    return {
        "kind": kind,
        "nodes": NODES,
        "meters": len(keys),
        "transactions": pace.included,
        "seconds": round(took_s, 1),
        "per_second": round(pace.included / took_s),
        "blocks": pace.height - first,
        "refused": pace.refused,
        "failed": failed,
        "cpu_us_per_transaction_and_node": round(max(cpu) / pace.included * 1e6),
        **describe_memory(pace.samples),
        "faults": faults,
        "samples": pace.samples,
    }


async def set_up(session: aiohttp.ClientSession, url: str, kind: str, keys: list[bytes]) -> bytes:
    """Deploy the contract and let the meters in; its address."""
    contract = contract_address(address_of(OWNER), 0)
    addresses = [address_of(key) for key in keys]
    if kind == "record":
        creation = creation_data("metering", ["uint32", "int32"], 3_600, 0)
        calls = [encode_call("enrol(address,address)", one, one) for one in addresses]
    else:
        creation = creation_data("el_dapp", ["string", "string"], "Grid", "Street")
        calls = [encode_call("addUser(address)", one) for one in addresses]
    await send_and_wait(session, url, [sign_call(OWNER, 0, None, creation, 15_000_000)])
    for start in range(0, len(keys), BATCH):
        part = [
            sign_call(OWNER, 1 + start + index, contract, call, 500_000)
            for index, call in enumerate(calls[start : start + BATCH])
        ]
        await send_and_wait(session, url, part)
    return contract


def sign_all(file: Path, contract: bytes, count: int, kind: str, keys: list[bytes]) -> list[str]:
    """Write each batch as a line, ready to be sent; the hash of the first of each batch."""
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
    session: aiohttp.ClientSession, urls: list[str], lines: BinaryIO, pace: Pace, batches: int
) -> list[Any]:
    """Senders that take the lines in order, each at its time; every meter is in one of `batches`
    lines."""
    taken = 0

    async def sender() -> None:
        nonlocal taken
        while body := lines.readline():
            number, taken = taken, taken + 1
            await await_turn(pace, number * BATCH / PER_S)
            pace.sent += BATCH
            headers = {"Content-Type": "application/json"}
            url = urls[number % batches % len(urls)]
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
    last_s, included, cpu = 0.0, 0, measure_cpu(cluster)
    while pace.included + pace.refused < pace.total:
        await asyncio.sleep(0.5)
        await count_included(session, cluster.urls[0], pace)
        at_s = time.monotonic() - pace.began
        if at_s < (len(pace.samples) + 1) * SAMPLE_S:
            continue
        took_s, now = at_s - last_s, measure_cpu(cluster)
        sample = {
            "at_s": round(at_s),
            "per_second": round((pace.included - included) / took_s),
            "waiting": pace.sent - pace.refused - pace.included,
            "cores_nodes": round((now[0] - cpu[0]) / took_s, 2),
            "cores_client": round((now[1] - cpu[1]) / took_s, 2),
            "memory_mb": [round(memory_bytes(pid) / 1e6, 1) for pid in cluster.pids],
        }
        last_s, included, cpu = at_s, pace.included, now
        pace.samples.append(sample)
        tell(row_of(sample))


def measure_cpu(cluster: Cluster) -> tuple[float, float]:
    """Seconds of CPU of all nodes so far, and of this client."""
    return sum(map(cpu_seconds_of_all, cluster.pids)), cpu_seconds(os.getpid())


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


def judge(samples: list[Sample], seconds: int, refused: int, failed: int) -> list[str]:
    """What keeps a run from having held the line, in words; nothing where it did.

    Every whole minute must have had LINE_PER_S, and no node GROWTH_MAX_MB more at the end than
    when it was warm; a run of less than two minutes after that says nothing of memory.
    """
    faults = [
        f"only {one['per_second']:,} in the minute up to {one['at_s']} s"
        for one in samples[: int(seconds // SAMPLE_S)]
        if one["per_second"] < LINE_PER_S
    ]
    if not samples or seconds < SAMPLE_S:
        faults.append("less than a whole minute was measured")
    if refused or failed:
        faults.append(f"{refused} transactions were refused, {failed} of those looked at failed")
    warm = [one["memory_mb"] for one in samples if one["at_s"] >= WARM_S]
    if warm:
        growth = max(last - first for first, last in zip(warm[0], warm[-1], strict=True))
        if growth > GROWTH_MAX_MB:
            faults.append(f"a node grew by {growth:.1f} MB after {WARM_S:.0f} s")
    return faults


NO_SLOPE = {"memory_kb_per_minute": None}


def fit_slope(xs: list[float], ys: list[float]) -> float:
    """Of the straight line with the least squares of its distances in y."""
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    over = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True))
    return over / sum((x - mean_x) ** 2 for x in xs)


HEADER = (
    "| s | included a second | waiting | cores: nodes + client | MB of each node |\n"
    "|---|---|---|---|---|"
)


def row_of(sample: Sample) -> str:
    memory = ", ".join(f"{one:.1f}" for one in sample["memory_mb"])
    cores = f"{sample['cores_nodes']:.2f} + {sample['cores_client']:.2f}"
    return (
        f"| {sample['at_s']} | {sample['per_second']:,} | {sample['waiting']:,} | {cores} "
        f"| {memory} |"
    )


def tell(line: str) -> None:
    print(line, flush=True)


def main(arguments: list[str]) -> int:
    seconds = int(arguments[0]) if arguments else SECONDS
    kind = arguments[1] if len(arguments) > 1 else KINDS[0]
    if kind not in KINDS:
        print(f"no kind {kind!r}; there are: {', '.join(KINDS)}", file=sys.stderr)
        return 2
    found = run(seconds, kind, int(arguments[2]) if len(arguments) > 2 else METERS)
    print(json.dumps({name: one for name, one in found.items() if name != "samples"}, indent=2))
    return 1 if found["faults"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
