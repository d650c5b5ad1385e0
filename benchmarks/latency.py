"""Milliseconds from submission to finality: four validators, an idle chain, one after the other."""

import asyncio
import time
from typing import Any

import aiohttp

from benchmarks.cluster import OWNER, run_cluster
from benchmarks.throughput import ask, send_and_wait
from benchmarks.workload import creation_data, encode_call, sign_call
from ledger.crypto.address import address_of, contract_address

COUNT = 200
WARM_UP = 20


async def drive(url: str) -> list[float]:
    """Submit a setDebt, be told by newHeads, look for the receipt; then the next."""
    owner = address_of(OWNER)
    contract = contract_address(owner, 0)
    taken = []
    async with aiohttp.ClientSession() as session:
        creation = creation_data("el_dapp", ["string", "string"], "Grid", "Street")
        await send_and_wait(session, url, [sign_call(OWNER, 0, None, creation, 10_000_000)])
        async with session.ws_connect(url.replace("http", "ws")) as socket:
            await socket.send_json(
                {"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]}
            )
            await socket.receive_json()
            for index in range(WARM_UP + COUNT):
                data = encode_call("setDebt(uint256,uint256,address)", index, index, owner)
                one = sign_call(OWNER, 1 + index, contract, data, 300_000)
                began = time.perf_counter()
                await ask(session, url, "eth_sendRawTransaction", "0x" + one.raw.hex())
                while True:
                    await socket.receive_json(timeout=30)
                    if await ask(session, url, "eth_getTransactionReceipt", "0x" + one.hash.hex()):
                        break
                taken.append((time.perf_counter() - began) * 1_000)
                await asyncio.sleep(0.01)  # the chain is idle before the next
    return taken[WARM_UP:]


def run() -> dict[str, Any]:
    with run_cluster(4) as cluster:
        taken = sorted(asyncio.run(drive(cluster.urls[0])))
    return {
        "transactions": len(taken),
        "p50_ms": round(taken[len(taken) // 2], 1),
        "p99_ms": round(taken[len(taken) * 99 // 100], 1),
        "max_ms": round(taken[-1], 1),
    }
