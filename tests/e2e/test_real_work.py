"""Bad clients, a bad machine, an empty disk and a rolling upgrade, under load: real processes.

Faults 26, 31, 33 to 38 and 40 of the table. Rubbish on the ports is in `test_garbage`.
"""

import secrets
import shutil
import signal
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ledger.crypto.address import address_of
from ledger.transaction import sign_transaction
from node.client import RpcError
from tests.e2e.invariants import check_town
from tests.e2e.networks import await_ready, until
from tests.e2e.test_bad_days import proposed_since, trouble_of
from tests.e2e.test_real_days import begin, take_down
from tests.e2e.town import Town, run_town

pytestmark = [pytest.mark.deep, pytest.mark.timeout(900)]

FINAL_S = 20.0
CLIENTS = 1_000
FLOOD = 3_000
FUEL = 0x2000_0000  # the gas asked for, more than a call may have


def raw_of(town: Town, key: bytes, nonce: int, price: int = 0, value: int = 0) -> str:
    transaction = sign_transaction(
        key, chain_id=town.network.genesis.chain_id, nonce=nonce, to=address_of(key), gas=21_000,
        gas_price=price, value=value,
    )  # fmt: skip
    return "0x" + transaction.raw.hex()


def send(town: Town, index: int, raw: str) -> str:
    return str(town.client(index).call("eth_sendRawTransaction", raw))


def test_fault_26_a_validator_with_an_empty_disk_is_needed(tmp_path: Path) -> None:
    """Its card was replaced, the key kept. It follows, signs again, and then another is missing."""
    with run_town(tmp_path / "town", 4) as town:
        load = begin(town)
        load.turned_back.add(3)
        take_down(town, 3)
        shutil.rmtree(town.store_file(3).parent)
        for _ in range(3):
            town.await_progress([0, 1, 2])
        top = max(town.heights([0, 1, 2]))
        town.start_node(3)
        until(lambda: proposed_since(town, 3, top), 60, "a block that node4 proposed")
        take_down(town, 2)
        town.await_progress([0, 1, 3])
        town.start_node(2)
        town.await_progress()
        assert check_town(town, load) > 0


def test_fault_31_a_thousand_idle_and_slow_clients(tmp_path: Path) -> None:
    with run_town(tmp_path / "town", 4) as town, ExitStack() as stack:
        load = begin(town)
        place = ("127.0.0.1", town.network.members[0].rpc_port)
        for index in range(CLIENTS):
            one = stack.enter_context(socket.create_connection(place, 10))
            if index % 2:
                one.sendall(b"POST / HTTP/1.1\r\nX-Slow: ")
        for _ in range(3):
            town.await_progress([1, 2, 3])
        stack.close()
        town.await_progress()
        assert check_town(town, load) > 0


def test_fault_33_and_34_heavy_reads_in_a_loop(tmp_path: Path) -> None:
    """Logs of everything for a thousand topics, and calls that ask for more gas than there is."""
    with run_town(tmp_path / "town", 4) as town:
        load = begin(town)
        client = town.client(0)
        everything: dict[str, Any] = {"fromBlock": "0x0", "toBlock": "0xffffff"}
        topics = ["0x" + secrets.token_hex(32) for _ in range(CLIENTS)]
        for query in (everything, everything | {"topics": [topics] * 4}):
            began = time.monotonic()
            try:
                client.call("eth_getLogs", query)
            except RpcError as error:
                assert error.code < 0
            assert time.monotonic() - began < FINAL_S
        call = {"to": "0x" + "00" * 18 + "1001", "data": "0x" + "00" * 4, "gas": hex(FUEL)}
        for _ in range(200):
            for method in ("eth_call", "eth_estimateGas"):
                with pytest.raises(RpcError):
                    client.call(method, call)
        town.await_progress()
        check_town(town, load)


def test_fault_35_and_36_gaps_replacements_and_a_flood(tmp_path: Path) -> None:
    with run_town(tmp_path / "town", 4) as town:
        load = begin(town)
        key = secrets.token_bytes(32)
        waits = [send(town, nonce % 4, raw_of(town, key, nonce)) for nonce in (3, 1, 2)]
        with pytest.raises(RpcError, match="insufficient funds"):
            send(town, 0, raw_of(town, secrets.token_bytes(32), 0, value=1))
        flooder, taken = secrets.token_bytes(32), 0
        for nonce in range(FLOOD):
            try:
                send(town, 0, raw_of(town, flooder, nonce + 1))  # all behind a gap
                taken += 1
            except RpcError as error:
                assert error.code < 0
        assert 0 < taken < FLOOD
        assert all(town.client(1).call("eth_getTransactionReceipt", one) is None for one in waits)
        waits.append(send(town, 0, raw_of(town, key, 0)))
        receipts = [town.client(2).wait_for_receipt(one, FINAL_S) for one in waits]
        places = [
            (int(one["blockNumber"], 16), int(one["transactionIndex"], 16)) for one in receipts
        ]
        assert sorted(places) == [places[3], places[1], places[2], places[0]]
        check_town(town, load)


def test_fault_37_valid_when_taken_in_and_not_in_a_block_and_full_blocks(tmp_path: Path) -> None:
    """An account that spends its last coins twice, at two nodes; and five who fill a block each."""
    keys = [secrets.token_bytes(32) for _ in range(6)]
    spender = keys[0]
    with run_town(tmp_path / "town", 4, alloc={address_of(spender): 10}) as town:
        load = begin(town)
        chain_id = town.network.genesis.chain_id

        def pay(key: bytes, nonce: int, value: int, gas: int) -> str:
            raw = sign_transaction(
                key, chain_id=chain_id, nonce=nonce, to=bytes(19) + b"\7", value=value, gas=gas,
                gas_price=0,
            ).raw  # fmt: skip
            return send(town, nonce, "0x" + raw.hex())

        later = pay(spender, 1, 10, 21_000)  # it has as much, and a gap before it
        first = pay(spender, 0, 10, 21_000)
        full = [pay(key, 0, 0, town.network.genesis.gas_limit) for key in keys[1:]]
        client = town.client(2)
        assert client.wait_for_receipt(first, FINAL_S)["status"] == "0x1"
        blocks = {client.wait_for_receipt(one, FINAL_S)["blockNumber"] for one in full}
        assert len(blocks) == len(full), "two that each may take a whole block are in one"
        for _ in range(2):
            town.await_progress()
        assert client.call("eth_getTransactionReceipt", later) is None
        check_town(town, load)


def test_fault_38_one_machine_computes_something_else(tmp_path: Path) -> None:
    with run_town(tmp_path / "town", 4) as town:
        load = begin(town)
        wrong = town.supervised.folder("node3") / "wrong"
        wrong.touch()
        until(lambda: "does not execute here" in (trouble_of(town, 2) or ""), 60, "it to halt")
        stuck = town.heights([2])
        for _ in range(3):
            town.await_progress([0, 1, 3])
        assert town.heights([2]) == stuck
        wrong.unlink()
        town.supervised.send_signal("node3", signal.SIGTERM)
        town.await_progress()
        check_town(town, load)


@pytest.mark.parametrize("nodes", [4, 7])
def test_fault_40_a_rolling_upgrade(tmp_path: Path, nodes: int) -> None:
    """Every second node speaks the oldest wire alone, then all are stopped and started in turn."""
    with run_town(tmp_path / "town", nodes, start=False) as town:
        names = [member.name for member in town.network.members]
        for name in names[::2]:
            (town.supervised.folder(name) / "wire").write_text("1")
        for index in range(nodes):
            town.start_node(index)
        await_ready(town)
        caps = {peer["caps"][0] for peer in town.client(1).call("admin_peers")}
        assert len(caps) == 2, caps
        load = begin(town)
        for name in names:
            (town.supervised.folder(name) / "wire").unlink(missing_ok=True)
            starts = town.supervised.starts[name]
            town.supervised.send_signal(name, signal.SIGTERM)
            until(lambda name=name, n=starts: town.supervised.starts[name] > n, 30, "its restart")
            town.await_progress()
        assert {code for _, code in town.supervised.ends} == {0}
        await_ready(town)
        assert len({peer["caps"][0] for peer in town.client(1).call("admin_peers")}) == 1
        check_town(town, load)
