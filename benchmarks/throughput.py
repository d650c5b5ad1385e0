"""Included transactions a second through JSON-RPC: pre-signed setDebt of 200 accounts.

One client process sends batches of 100 over a few connections, to one node, to four, and to anvil:
the same calls, the same concurrency, from the first send to the last inclusion. How fast a machine
is changes from one second to the next, so one node and anvil take turns in short rounds, both up
all the time, and what is reported is the median of the rounds and of their ratios.
"""

import asyncio
import time
from contextlib import ExitStack
from statistics import median
from typing import Any

import aiohttp
import orjson

from benchmarks.cluster import OWNER, Cluster, Unavailable, compile_twin, run_anvil, run_cluster
from benchmarks.machine import cpu_seconds_of_all
from benchmarks.workload import (
    creation_data,
    encode_call,
    make_keys,
    set_debt_transactions,
    sign_call,
)
from ledger.crypto.address import address_of, contract_address
from ledger.encoding import abi
from ledger.transaction import Transaction

ACCOUNTS = 200
COUNT = 20_000
ROUNDS = 7
ROUND_COUNT = 6_000
WARM_UP_COUNT = 1_000
BATCH = 100
CONNECTIONS = 4
WAIT_S = 120.0
CPU = "cpu_us_per_transaction_and_node"


async def post(session: aiohttp.ClientSession, url: str, body: Any) -> Any:
    headers = {"Content-Type": "application/json"}
    async with session.post(url, data=orjson.dumps(body), headers=headers) as reply:
        return orjson.loads(await reply.read())


async def ask(session: aiohttp.ClientSession, url: str, method: str, *params: Any) -> Any:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    answer = await post(session, url, body)
    if "error" in answer:
        raise RuntimeError(f"{method}: {answer['error']}")
    return answer["result"]


async def send_and_wait(
    session: aiohttp.ClientSession, url: str, transactions: list[Transaction]
) -> None:
    """Send one after the other and wait for the last: setting up."""
    for start in range(0, len(transactions), BATCH):
        await post(session, url, make_batch(transactions[start : start + BATCH]))
    last = "0x" + transactions[-1].hash.hex()
    deadline = time.monotonic() + WAIT_S
    while (receipt := await ask(session, url, "eth_getTransactionReceipt", last)) is None:
        if time.monotonic() > deadline:
            raise RuntimeError("setting up took too long")
        await asyncio.sleep(0.05)
    if receipt["status"] != "0x1":
        raise RuntimeError(f"setting up failed: {receipt}")


def make_batch(transactions: list[Transaction]) -> list[dict[str, Any]]:
    return [
        {
            "jsonrpc": "2.0",
            "id": index,
            "method": "eth_sendRawTransaction",
            "params": ["0x" + one.raw.hex()],
        }
        for index, one in enumerate(transactions)
    ]


async def drive(
    cluster: Cluster,
    creation: bytes,
    count: int,
    accounts: str = "bench",
    finish: str | None = None,
) -> dict[str, Any]:
    """Deploy, let the accounts in, send all, wait for all; then look that each succeeded.

    `accounts` names them: they must not have sent anything on this chain yet. `finish` is a method
    that is called once all are sent.
    """
    keys = make_keys(ACCOUNTS, accounts)
    owner = address_of(OWNER)
    url = cluster.urls[0]
    connector = aiohttp.TCPConnector(limit=CONNECTIONS * len(cluster.urls))
    timeout = aiohttp.ClientTimeout(total=WAIT_S)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        nonce = int(
            await ask(session, url, "eth_getTransactionCount", "0x" + owner.hex(), "latest"), 16
        )
        contract = contract_address(owner, nonce)
        setup = [sign_call(OWNER, nonce, None, creation, 10_000_000)]
        setup += [
            sign_call(
                OWNER,
                nonce + 1 + index,
                contract,
                encode_call("addUser(address)", address_of(key)),
                200_000,
            )
            for index, key in enumerate(keys)
        ]
        await send_and_wait(session, url, setup[:1])
        await send_and_wait(session, url, setup[1:])
        transactions = set_debt_transactions(keys, contract, count)
        batches = [
            orjson.dumps(make_batch(transactions[start : start + BATCH]))
            for start in range(0, count, BATCH)
        ]
        cpu_before = list(map(cpu_seconds_of_all, cluster.pids))
        began = time.perf_counter()
        refused = await _send_all(session, cluster.urls, batches)
        if finish is not None:
            await ask(session, url, finish)
        await _await_nonces(session, url, keys, count // ACCOUNTS)
        seconds = time.perf_counter() - began
        cpu_after = map(cpu_seconds_of_all, cluster.pids)
        cpu = [after - before for after, before in zip(cpu_after, cpu_before, strict=True)]
        failed = await _count_failed(session, url, transactions)
    return {
        "nodes": len(cluster.urls),
        "transactions": count,
        "seconds": round(seconds, 2),
        "per_second": round(count / seconds),
        CPU: round(max(cpu) / count * 1e6),
        "refused": refused,
        "failed": failed,
    }


async def _send_all(session: aiohttp.ClientSession, urls: list[str], batches: list[bytes]) -> int:
    """Batches in order over CONNECTIONS senders; an account's nonces may arrive out of order."""
    queue = list(reversed(list(enumerate(batches))))
    refused = 0

    async def sender() -> None:
        nonlocal refused
        while queue:
            index, body = queue.pop()
            headers = {"Content-Type": "application/json"}
            async with session.post(urls[index % len(urls)], data=body, headers=headers) as reply:
                answers = orjson.loads(await reply.read())
            refused += sum("error" in one for one in answers)

    await asyncio.gather(*(sender() for _ in range(CONNECTIONS)))
    return refused


async def _await_nonces(
    session: aiohttp.ClientSession, url: str, keys: list[bytes], nonce: int
) -> None:
    """Until every account's last transaction is in a block."""
    waiting = ["0x" + address_of(key).hex() for key in keys]
    deadline = time.monotonic() + WAIT_S
    while waiting:
        last = waiting[-1]
        if int(await ask(session, url, "eth_getTransactionCount", last, "latest"), 16) >= nonce:
            waiting.pop()
            continue
        if time.monotonic() > deadline:
            raise RuntimeError(f"{len(waiting)} accounts are not done after {WAIT_S} s")
        await asyncio.sleep(0.02)


async def _count_failed(
    session: aiohttp.ClientSession, url: str, transactions: list[Transaction]
) -> int:
    failed = 0
    for start in range(0, len(transactions), BATCH):
        body = [
            {"jsonrpc": "2.0", "id": i, "method": "eth_getTransactionReceipt",
             "params": ["0x" + one.hash.hex()]}
            for i, one in enumerate(transactions[start : start + BATCH])
        ]  # fmt: skip
        answers = await post(session, url, body)
        failed += sum((one.get("result") or {}).get("status") != "0x1" for one in answers)
    return failed


def run(count: int = COUNT) -> dict[str, Any]:
    """One node and anvil in turn, so that both meet the same machine; then four nodes."""
    ours = creation_data("el_dapp", ["string", "string"], "Grid", "Street")
    results: dict[str, Any] = {}
    with ExitStack() as running:
        sides = {"one node": (running.enter_context(run_cluster(1)), ours)}
        try:
            twin = compile_twin() + abi.encode(["string", "string"], ["Grid", "Street"])
            sides["anvil"] = running.enter_context(run_anvil()), twin
        except Unavailable as error:
            results["anvil"] = f"left out: {error}"
        results |= _take_turns(sides)
    with run_cluster(4) as cluster:
        results["four nodes"] = asyncio.run(drive(cluster, ours, count))
    return results


def _take_turns(sides: dict[str, tuple[Cluster, bytes]]) -> dict[str, Any]:
    """Each side's median round, and the median ratio of two rounds that followed each other."""
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    for number in range(ROUNDS + 1):
        # Who goes first changes too: the second of two has the warmer machine.
        for name in sorted(sides, reverse=number % 2 == 0):
            cluster, creation = sides[name]
            count = ROUND_COUNT if number else WARM_UP_COUNT
            # anvil would wait for its second to be over: up to half of a short round.
            finish = "evm_mine" if name == "anvil" else None
            done = asyncio.run(drive(cluster, creation, count, f"round {number}", finish))
            if number:
                rounds[name].append(done)
    results: dict[str, Any] = {name: _summarise(done) for name, done in rounds.items()}
    if len(rounds) == 2:
        pairs = list(zip(rounds["one node"], rounds["anvil"], strict=True))
        for title, key in (("ratio", "per_second"), ("cpu ratio", CPU)):
            ratios = [round(ours[key] / theirs[key], 2) for ours, theirs in pairs]
            results[f"{title} to anvil"] = median(ratios)
            results[f"{title}s"] = ratios
    return results


def _summarise(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """The median of each figure, and every transaction that did not succeed."""
    medians = {key: round(median(one[key] for one in rounds), 2) for key in rounds[0]}
    return medians | {key: sum(one[key] for one in rounds) for key in ("refused", "failed")}
