"""A meter on a branch that a heavier one replaces: each period is on chain once all the same.

Real nodes that mine, the real meter process, real readings. What must be on chain is counted by
`test_meter_once`; receipts and logs are read through JSON-RPC as any client would.
"""

import time
from pathlib import Path
from typing import Any

import pytest

from ledger.crypto.address import address_of
from ledger.transaction import sign_transaction
from ledger.work import SETTLED_BLOCKS
from node.demo.grid import Grid, deploy_metering
from tests.e2e.networks import (
    RECORDED,
    ask,
    height_of,
    recorded_by,
    run_network,
    until,
    watched,
)
from tests.e2e.test_meter_once import MeterProcess, check_chain, one_house
from tests.e2e.town import Town, run_town

FAST, SLOW = 20_000, 2_000  # hashes a second
DIFFICULTY = 6_000  # a block in 0.3 s of a fast miner, in 3 s of a slow one
SETTINGS = {"miner.hashes_per_s": FAST}
SPEED = 200_000  # of the replayed readings: a month in 11 s
BLOCK_S = 120.0  # for what one block brings, were the miner ten times as unlucky as is usual


def send_to_nobody(grid: Grid, index: int, nonce: int) -> str:
    """A transaction of the operator to itself, so that a node has something to mine; its hash."""
    raw = sign_transaction(
        grid.operator, chain_id=grid.network.genesis.chain_id, nonce=nonce,
        to=address_of(grid.operator), gas=21_000, gas_price=0,
    ).raw  # fmt: skip
    return str(grid.client(index).call("eth_sendRawTransaction", "0x" + raw.hex()))


def is_settled(grid: Grid, index: int, sent: str) -> bool:
    receipt = grid.client(index).call("eth_getTransactionReceipt", sent)
    if receipt is None:
        return False
    return grid.client(index).height() >= int(receipt["blockNumber"], 16) + SETTLED_BLOCKS


def await_one_branch(grid: Grid, *indices: int) -> int:
    """Until these nodes rest at one height, with one block below the last ones; that height."""

    def one() -> int:
        heights = {height_of(grid.url(index)) for index in indices}
        time.sleep(1)
        later = {height_of(grid.url(index)) for index in indices}
        return max(heights) if heights == later and len(heights) == 1 else 0

    height = int(until(one, BLOCK_S, "rest"))
    below = hex(max(height - SETTLED_BLOCKS, 0))  # a fast network rests on its first few blocks
    calls: list[Any] = [("eth_getBlockByNumber", [below, False])]
    assert len({ask(grid.url(index), calls)[0]["hash"] for index in indices}) == 1
    return height


def set_rate(grid: Grid, index: int, rate: int) -> None:
    file = grid.network.members[index].config_file
    text = file.read_text()
    assert f"hashes_per_s = {FAST}" in text
    file.write_text(text.replace(f"hashes_per_s = {FAST}", f"hashes_per_s = {rate}"))


def receipts_of_meter(grid: Grid, index: int, meter: MeterProcess) -> dict[str, str]:
    """Transaction -> block, of what the meter has on a node's branch."""
    query = watch_query(grid, meter) | {"fromBlock": "0x0"}
    logs = ask(grid.url(index), [("eth_getLogs", [query])])[0]
    return {log["transactionHash"]: log["blockHash"] for log in logs}


def watch_query(grid: Grid, meter: MeterProcess) -> dict[str, Any]:
    topics = [RECORDED, "0x" + address_of(meter.keys[0]).rjust(32, b"\0").hex()]
    return {"address": "0x" + grid.contract.hex(), "topics": topics}


def hear(grid: Grid, watch: str, before: dict[str, str]) -> None:
    """Node 1 tells who listens of these; what it told, it takes back later."""
    told = grid.client(0).call("eth_getFilterChanges", watch)
    assert set(before.items()) <= {(one["transactionHash"], one["blockHash"]) for one in told}


def check_withdrawn(grid: Grid, watch: str, before: dict[str, str]) -> None:
    """Node 1 has another branch now: no receipt is of a block of the old one, and who listens is
    told of each log that is gone."""
    client = grid.client(0)

    def gone() -> bool:
        receipts = [client.call("eth_getTransactionReceipt", one) for one in before]
        blocks = [one and one["blockHash"] for one in receipts]
        return all(new != old for new, old in zip(blocks, before.values(), strict=True))

    until(gone, BLOCK_S, "the receipts of the lighter branch to be withdrawn")
    for old in before.values():
        assert client.call("eth_getBlockByHash", old, False) is None
    told = client.call("eth_getFilterChanges", watch)
    removed = {(one["transactionHash"], one["blockHash"]) for one in told if one["removed"]}
    assert set(before.items()) <= removed


@pytest.mark.timeout(600)
def test_records_on_a_lighter_branch_are_on_chain_once(tmp_path: Path) -> None:
    """Two nodes were never up together while the branches grew: neither could know the other's."""
    with run_network(
        tmp_path / "grid", 2, consensus="pow", difficulty=DIFFICULTY, settings=SETTINGS
    ) as grid:
        deploy_metering(grid, [])
        meter = MeterProcess(grid, [one_house(tmp_path, SPEED)])
        common = await_one_branch(grid, 0, 1)
        first, second = (member.name for member in grid.network.members)
        nonce = grid.client(1).next_nonce(address_of(grid.operator))

        grid.processes.stop(first)
        sent = send_to_nobody(grid, 1, nonce)
        until(lambda: is_settled(grid, 1, sent), BLOCK_S, "a longer branch of node 2")
        heavier = height_of(grid.url(1))
        grid.processes.stop(second)

        set_rate(grid, 0, SLOW)
        grid.start_node(0)
        until(lambda: height_of(grid.url(0)) == common, 60, "node 1 with the common chain")
        watch = grid.client(0).call("eth_newFilter", watch_query(grid, meter))
        meter.start()
        before = until(lambda: receipts_of_meter(grid, 0, meter), BLOCK_S, "records on its branch")
        hear(grid, watch, before)
        lighter = height_of(grid.url(0))
        assert common < lighter < heavier
        assert until(
            lambda: sum(one["waiting"] for one in meter.status()),
            60,
            "what waits, said by the meter",
        ), "nothing is settled on so few blocks"

        grid.start_node(1)
        check_withdrawn(grid, watch, before)
        until(lambda: height_of(grid.url(0)) >= heavier, BLOCK_S, "the rest of the heavier branch")
        meter.await_end()
        for index in (0, 1):
            assert receipts_of_meter(grid, index, meter).keys() >= before.keys(), "the same bytes"
        check_chain(grid, meter.keys[0], meter.sources[0].expected)
        await_one_branch(grid, 0, 1)
        assert grid.client(0).call("wattledger_status")["sideBlocks"] >= lighter - common
        assert watched(grid).is_running(first) and watched(grid).is_running(second)


@pytest.mark.deep
@pytest.mark.timeout(900)
def test_a_meter_beside_the_smaller_part_of_a_cut_network(tmp_path: Path) -> None:
    """Four miners on wires; the meter's node is cut off from three that mine three times as fast,
    again and again while it records."""
    with run_town(
        tmp_path / "town", 4, wired=True, consensus="pow", difficulty=8 * DIFFICULTY,
        settings=SETTINGS,
    ) as town:  # fmt: skip
        deploy_metering(town, [])
        meter = MeterProcess(town, [one_house(tmp_path, SPEED)], [town.url(0)])
        nonce = town.client(1).next_nonce(address_of(town.operator))
        watch = town.client(0).call("eth_newFilter", watch_query(town, meter))
        meter.start()
        for turn in range(3):
            play_cut(town, meter, watch, nonce + turn)
        assert town.supervised.await_end("meter", 300) == 0
        await_one_branch(town, *range(4))
        check_chain(town, meter.keys[0], meter.sources[0].expected)
        counts = {
            len(recorded_by(town.url(index), town.contract, address_of(meter.keys[0])))
            for index in range(4)
        }
        assert counts == {len(meter.sources[0].expected)}


def play_cut(town: Town, meter: MeterProcess, watch: str, nonce: int) -> None:
    """Cut, until the meter has a record that only its own side has; mend; see it withdrawn."""
    assert town.wires is not None
    known = receipts_of_meter(town, 0, meter)
    town.wires.split([1], [2, 3, 4])
    send_to_nobody(town, 1, nonce)

    def only_here() -> dict[str, str]:
        others = receipts_of_meter(town, 1, meter)
        here = receipts_of_meter(town, 0, meter)
        return {one: block for one, block in here.items() if others.get(one) != block}

    before = until(lambda: only_here().keys() - known.keys() and only_here(), BLOCK_S, "a record")
    until(lambda: height_of(town.url(1)) > height_of(town.url(0)) + 1, BLOCK_S, "more work there")
    hear(town, watch, before)
    town.wires.heal()
    check_withdrawn(town, watch, before)
