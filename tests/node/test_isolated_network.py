"""Two validators, one with the second wall: they agree, and its worker's death halts it alone."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.workload import creation_data
from ledger.encoding import abi
from ledger.encoding.hexadecimal import encode_data
from ledger.transaction import sign_transaction
from node.client import Client, RpcError
from node.devnet import BALANCE_WEI, CHAIN_ID, MNEMONIC, Devnet
from node.keys import derive_unlocked
from node.network_files import create_network
from node.ports import free_ports
from tests.node.local import until

KEYS = derive_unlocked(MNEMONIC)
OWNER = next(iter(KEYS))


@pytest.fixture
def devnet(tmp_path: Path) -> Iterator[Devnet]:
    ports = free_ports(4)
    made = create_network(
        tmp_path / "net",
        nodes=2,
        administrator=OWNER,
        anyone_deploys=True,
        alloc=dict.fromkeys(KEYS, BALANCE_WEI),
        block_period_ms=0,
        rpc_ports=ports[:2],
        peer_ports=ports[2:],
    )
    config = made.members[0].config_file
    config.write_text(config.read_text() + '\n[contracts]\nisolation = "process"\n')
    network = Devnet(made.members)
    network.start()
    try:
        network.wait_ready()
        yield network
    finally:
        network.stop()


def children(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(") ", 1)[1].split()
        except OSError:
            continue  # it has ended meanwhile
        if int(fields[1]) == pid:
            found.append(int(path.parent.name))
    return found


def send(client: Client, nonce: int, to: bytes | None, data: bytes) -> str:
    made = sign_transaction(
        KEYS[OWNER], chain_id=CHAIN_ID, nonce=nonce, to=to, data=data, gas=9_000_000, gas_price=0
    )
    sent: str = client.call("eth_sendRawTransaction", encode_data(made.raw))
    return sent


def test_the_isolated_validator_agrees_and_halts_with_its_worker(devnet: Devnet) -> None:
    clients = [Client(f"http://127.0.0.1:{one.rpc_port}") for one in devnet.members]
    data = creation_data("el_dapp", ["string", "string"], "Grid", "Street")
    receipt = clients[0].wait_for_receipt(send(clients[0], 0, None, data))
    assert receipt["status"] == "0x1"
    until(lambda: clients[0].height() == clients[1].height() > 0)
    heads = [client.call("eth_getBlockByNumber", "latest", False)["hash"] for client in clients]
    assert heads[0] == heads[1]

    (worker,) = children(devnet.processes[0].pid)
    os.kill(worker, signal.SIGKILL)
    height = clients[0].height()
    call = {"to": receipt["contractAddress"], "data": encode_data(abi.selector("owner()"))}
    with pytest.raises(RpcError):
        clients[0].call("eth_call", call, "latest")
    until(lambda: trouble(clients[0]))
    assert "killed by SIGKILL" in trouble(clients[0])
    assert "until it is restarted" in trouble(clients[0])
    send(clients[1], 1, None, data)
    time.sleep(1.0)
    assert clients[0].height() == height  # it decides nothing, and answers reads
    assert clients[1].call("eth_call", call, "latest")
    for client in clients:
        client.close()


def trouble(client: Client) -> str:
    found: str = client.call("wattledger_status")["trouble"] or ""
    return found
