"""Block time against peer count, as the published Table 2 asks: proof of work beside QBFT.

Real processes first: 1 to 8 miners held to a Pi's rate of hashes at a fixed difficulty, then 1 to
13 QBFT validators. Then up to 100 in simulated time (`blocktime_simulated`). Published with Geth on
Raspberry Pi 3B+: 9, 5 and 3 s a block and 12, 7 and 4.2 % CPU with 2, 3 and 4 peers. Its equation 2
gives D * 2^32 / H for the mean; with a difficulty that counts hashes, as Ethereum's and ours, the
factor 2^32 has no place, and D / H is what is compared with. The plot and the table of
docs/block-time.md are made of the results (`blocktime_page`).
"""

import asyncio
import math
import statistics
import time
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.blocktime_page import write_page
from benchmarks.blocktime_simulated import simulate_mining, simulate_voting
from benchmarks.cluster import OWNER, Cluster, run_cluster
from benchmarks.machine import cpu_seconds, describe_machine
from benchmarks.throughput import ask
from benchmarks.workload import CHAIN_ID
from ledger.crypto.address import address_of
from ledger.transaction import Transaction, sign_transaction
from node.client import Client

MINERS = (1, 2, 3, 4, 5, 6, 7, 8)
VALIDATORS = (1, 2, 3, 4, 7, 10, 13)
HASHES_PER_S = 20_000
"""Of each miner: a fifth of what a Pi 3B+'s core does in Python, a fiftieth of a server's."""
DIFFICULTY = 60_000
"""3 s a block for one miner: a third of the published pace, so that a run has enough blocks."""
MINING_S = 150
"""With one miner, 50 blocks; with n the n-th part of it, but never less than the next."""
MINING_S_MIN = 30
WORK_EVERY_S = 1.0
"""A transaction now and then, so that the chain has something to settle and miners never rest."""
REST_S, LOAD_S = 8.0, 8.0
LOAD_PER_S = 100
LATENCIES = 15
GAS = 21_000
HOUR_S = 3_600


def run() -> dict[str, Any]:
    result = {
        "hashes_per_s": HASHES_PER_S,
        "difficulty": DIFFICULTY,
        "mined": [measure_mining(count) for count in tell("miners", MINERS)],
        "voted": [measure_voting(count) for count in tell("validators", VALIDATORS)],
        "mined_simulated": simulate_mining(),
        "voted_simulated": simulate_voting(),
    }
    write_page(result, describe_machine())
    return result


def tell(what: str, counts: Iterable[int]) -> Iterator[int]:
    """The counts in turn, each said: the whole takes a quarter of an hour."""
    for count in counts:
        print(f"  {count} {what}", flush=True)
        yield count


# Proof of work.


def measure_mining(count: int) -> dict[str, Any]:
    """Blocks of so many miners over some time."""
    seconds = max(MINING_S_MIN, MINING_S / count)
    settings = {"miner.hashes_per_s": HASHES_PER_S}
    with run_cluster(count, consensus="pow", difficulty=DIFFICULTY, settings=settings) as cluster:
        asyncio.run(send_now_and_then(cluster, 2.0))  # miners start with the first transaction
        before = read_cpu(cluster.pids)
        began = time.monotonic()
        times = asyncio.run(watch_heads(cluster, seconds))
        took_s = time.monotonic() - began
        after = read_cpu(cluster.pids)
        statuses = []
        for url in cluster.urls:
            client = Client(url)
            statuses.append(client.call("wattledger_status"))
            client.close()
    intervals = [later - earlier for earlier, later in pairwise(times)]
    stale = max(status["sideBlocks"] for status in statuses)
    head = max(status["head"] for status in statuses)
    rate = sum(status["hashesPerSecond"] for status in statuses)
    node, miner = (sum(after[part]) - sum(before[part]) for part in ("node", "miner"))
    return {
        "peers": count,
        "blocks": len(times),
        "expected_s": round(DIFFICULTY / (HASHES_PER_S * count), 3),
        "by_measured_rate_s": round(DIFFICULTY / rate, 3) if rate else None,
        **describe_intervals(intervals),
        "stale_percent": round(100 * stale / (head + stale), 1),
        "node_cpu_percent": round(100 * node / took_s / count, 2),
        "miner_cpu_percent": round(100 * miner / took_s / count, 2),
        "intervals_s": [round(one, 3) for one in intervals],
    }


def describe_intervals(intervals: list[float]) -> dict[str, Any]:
    """Mean with its error, and how far the distribution is from the exponential one.

    `distance` is Kolmogorov's and Smirnov's; below `distance_max` an exponential law with this mean
    is not refuted at 5 % (Lilliefors 1969: 1.06 / sqrt(n) where the mean is estimated).
    """
    count, mean = len(intervals), statistics.fmean(intervals)
    ordered = sorted(intervals)
    distance = max(
        max(abs((index + step) / count - (1 - math.exp(-one / mean))) for step in (0, 1))
        for index, one in enumerate(ordered)
    )
    return {
        "mean_s": round(mean, 3),
        "error_s": round(statistics.stdev(intervals) / math.sqrt(count), 3),
        "deviation_to_mean": round(statistics.stdev(intervals) / mean, 2),
        "distance": round(distance, 3),
        "distance_max": round(1.06 / math.sqrt(count), 3),
    }


async def watch_heads(cluster: Cluster, seconds: float) -> list[float]:
    """When each height was first told by the first node, while work keeps coming."""
    times: dict[int, float] = {}
    async with aiohttp.ClientSession() as session:
        url = cluster.urls[0].replace("http", "ws")
        async with session.ws_connect(url) as socket:
            await socket.send_json(
                {"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]}
            )
            await socket.receive_json()
            sending = asyncio.create_task(send_now_and_then(cluster, seconds))
            deadline = time.monotonic() + seconds
            while (left_s := deadline - time.monotonic()) > 0:
                try:
                    told = await socket.receive_json(timeout=left_s)
                except TimeoutError:
                    break
                times.setdefault(int(told["params"]["result"]["number"], 16), time.monotonic())
            await sending
    return [times[height] for height in sorted(times)]


async def send_now_and_then(cluster: Cluster, seconds: float) -> None:
    """One transaction each WORK_EVERY_S, from the account's nonce on."""
    owner = "0x" + address_of(OWNER).hex()
    async with aiohttp.ClientSession() as session:
        url = cluster.urls[-1]
        nonce = int(await ask(session, url, "eth_getTransactionCount", owner, "pending"), 16)
        for index in range(max(1, int(seconds / WORK_EVERY_S))):
            raw = make_transfer(nonce + index).raw
            await ask(session, url, "eth_sendRawTransaction", "0x" + raw.hex())
            await asyncio.sleep(WORK_EVERY_S)


def make_transfer(nonce: int) -> Transaction:
    """The cheapest there is: nobody has a coin."""
    return sign_transaction(
        OWNER, chain_id=CHAIN_ID, nonce=nonce, to=bytes(19) + b"\1", gas=GAS, gas_price=0
    )


def read_cpu(pids: list[int]) -> dict[str, list[float]]:
    """CPU seconds of nodes and of their miners so far."""
    miners = [child for pid in pids for child in list_children(pid)]
    return {
        "node": [cpu_seconds(pid) for pid in pids],
        "miner": [cpu_seconds(pid) for pid in miners],
    }


def list_children(pid: int) -> list[int]:
    """Processes that this one started."""
    children = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        children += [int(one) for one in path.read_text().split()]
    return children


# QBFT.


def measure_voting(count: int) -> dict[str, Any]:
    """Send to final, and what a validator costs at rest and under load."""
    with run_cluster(count) as cluster:
        latencies = asyncio.run(time_transfers(cluster))
        rest_cpu = [cpu_seconds(pid) for pid in cluster.pids]
        time.sleep(REST_S)
        rested_cpu = [cpu_seconds(pid) for pid in cluster.pids]
        sent, took_s = asyncio.run(send_steadily(cluster))
        loaded_cpu = [cpu_seconds(pid) for pid in cluster.pids]
    rest = (sum(rested_cpu) - sum(rest_cpu)) / REST_S / count
    load = (sum(loaded_cpu) - sum(rested_cpu)) / took_s / count
    # What one block of one transaction costs, as the run of single transfers showed it.
    return {
        "peers": count,
        "send_to_final_ms": round(statistics.median(latencies["ms"]), 1),
        "rest_cpu_percent": round(100 * rest, 2),
        "hourly_cpu_percent": round(100 * (rest + latencies["cpu_s"] / count / HOUR_S), 2),
        "load_cpu_percent": round(100 * load, 1),
        "sent_per_s": round(sent / took_s, 1),
    }


async def time_transfers(cluster: Cluster) -> dict[str, Any]:
    """One transfer after another; milliseconds to a receipt, CPU seconds of all nodes for each."""
    taken = []
    async with aiohttp.ClientSession() as session:
        url = cluster.urls[0]
        async with session.ws_connect(url.replace("http", "ws")) as socket:
            await socket.send_json(
                {"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]}
            )
            await socket.receive_json()
            before = sum(map(cpu_seconds, cluster.pids))
            for nonce in range(LATENCIES):
                began = time.perf_counter()
                await ask(
                    session, url, "eth_sendRawTransaction", "0x" + make_transfer(nonce).raw.hex()
                )
                await socket.receive_json(timeout=30)
                taken.append((time.perf_counter() - began) * 1_000)
                await asyncio.sleep(0.02)
            spent = sum(map(cpu_seconds, cluster.pids)) - before
    return {"ms": taken, "cpu_s": spent / LATENCIES}


async def send_steadily(cluster: Cluster) -> tuple[int, float]:
    """LOAD_PER_S transfers a second for LOAD_S, round the nodes; how many, and how long it took."""
    made = [make_transfer(LATENCIES + index) for index in range(int(LOAD_PER_S * LOAD_S))]
    began = time.monotonic()
    async with aiohttp.ClientSession() as session:
        for index, one in enumerate(made):
            pause_s = began + index / LOAD_PER_S - time.monotonic()
            if pause_s > 0:
                await asyncio.sleep(pause_s)
            await ask(session, cluster.urls[0], "eth_sendRawTransaction", "0x" + one.raw.hex())
    return len(made), time.monotonic() - began
