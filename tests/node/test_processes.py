"""Nodes as processes of their own: killed at any moment under load, stopped by signals."""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger.transaction import sign_transaction
from node.client import Client, ClientError, RpcError
from node.devnet import BALANCE_WEI, CHAIN_ID, MNEMONIC, Devnet, run_devnet
from node.errors import NodeError
from node.keys import derive_unlocked
from node.network_files import create_network
from node.ports import free_ports

KEYS = derive_unlocked(MNEMONIC)
ACCOUNTS = list(KEYS)
RECEIPTS_MIN = 11


@pytest.fixture
def devnet(tmp_path: Path) -> Iterator[Devnet]:
    ports = free_ports(8)
    made = create_network(
        tmp_path / "net",
        nodes=4,
        administrator=ACCOUNTS[0],
        anyone_deploys=True,
        alloc=dict.fromkeys(ACCOUNTS, BALANCE_WEI),
        block_period_ms=0,
        round_timeout_ms=1_000,
        rpc_ports=ports[:4],
        peer_ports=ports[4:],
    )
    network = Devnet(made.members)
    network.start()
    try:
        network.wait_ready()
        yield network
    finally:
        network.stop()


def url_of(devnet: Devnet, index: int) -> str:
    return f"http://127.0.0.1:{devnet.members[index].rpc_port}"


class Load:
    """Sends transfers of one account, to any node that answers, and keeps the receipts it saw."""

    def __init__(self, devnet: Devnet, account: int, seed: int) -> None:
        self.urls = [url_of(devnet, index) for index in range(4)]
        self.account = account
        self.random = random.Random(seed)
        self.receipts: dict[str, dict[str, Any]] = {}
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        sender = ACCOUNTS[self.account]
        nonce = 0
        while not self.stopping.is_set():
            raw = sign_transaction(
                KEYS[sender],
                chain_id=CHAIN_ID,
                nonce=nonce,
                to=ACCOUNTS[9],
                value=1,
                gas=21_000,
                gas_price=0,
            )
            if self.send("0x" + raw.raw.hex(), "0x" + raw.hash.hex()):
                nonce += 1

    def send(self, raw: str, transaction_hash: str) -> bool:
        """Send, and again to another node, until a receipt is seen."""
        while not self.stopping.is_set():
            client = Client(self.random.choice(self.urls), timeout_s=2)
            try:
                client.call("eth_sendRawTransaction", raw)
            except RpcError as error:
                taken = "nonce too low" in str(error) or "already known" in str(error)
                if not taken and "syncing" not in str(error) and "catching up" not in str(error):
                    raise
            except ClientError:
                continue
            finally:
                client.close()
            if self.wait(transaction_hash):
                return True
        return False

    def wait(self, transaction_hash: str) -> bool:
        client = Client(self.random.choice(self.urls), timeout_s=2)
        deadline = time.monotonic() + 3
        try:
            while time.monotonic() < deadline and not self.stopping.is_set():
                receipt = client.call("eth_getTransactionReceipt", transaction_hash)
                if receipt is not None:
                    self.receipts[transaction_hash] = receipt
                    return True
                time.sleep(0.01)
        except ClientError:
            pass  # that node was killed: another is asked
        finally:
            client.close()
        return False

    def stop(self) -> None:
        self.stopping.set()
        self.thread.join()


def kill_again_and_again(devnet: Devnet, times: int, seed: int) -> int:
    """How many transactions the load saw become final, and every node still has."""
    print(f"seed {seed}")
    chooser = random.Random(seed)
    loads = [Load(devnet, account, seed + account) for account in range(1, 4)]
    try:
        for _ in range(times):
            index = chooser.randrange(4)
            time.sleep(chooser.uniform(0.2, 1.0))
            os.kill(devnet.processes[index].pid, signal.SIGKILL)
            devnet.processes[index].wait()
            before = sum(len(load.receipts) for load in loads)
            time.sleep(chooser.uniform(0.1, 1.5))
            stdin = devnet.processes[index].stdin
            assert stdin is not None
            stdin.close()
            devnet.processes[index] = devnet.start_node(devnet.members[index])
            devnet.wait_ready()
            await_receipts(loads, before + 1)
        await_receipts(loads, RECEIPTS_MIN)
    finally:
        for load in loads:
            load.stop()
    return check_agreement(devnet, loads)


def await_receipts(loads: list[Load], count: int) -> None:
    deadline = time.monotonic() + 60
    while sum(len(load.receipts) for load in loads) < count:
        assert time.monotonic() < deadline, "the others did not go on"
        time.sleep(0.05)


def check_agreement(devnet: Devnet, loads: list[Load]) -> int:
    """All four end with the same block hash, and every receipt that was seen is still there."""
    clients = [Client(url_of(devnet, index)) for index in range(4)]
    deadline = time.monotonic() + 60
    while (
        len(heads := {c.call("eth_getBlockByNumber", "latest", False)["hash"] for c in clients}) > 1
    ):
        assert time.monotonic() < deadline, f"the heads differ: {heads}"
        time.sleep(0.1)
    seen = {key: receipt for load in loads for key, receipt in load.receipts.items()}
    for client in clients:
        again = client.batch([("eth_getTransactionReceipt", [key]) for key in seen])
        assert again == list(seen.values())
        client.close()
    return len(seen)


@pytest.mark.timeout(600)
def test_a_node_killed_under_load_comes_back_and_nothing_is_lost(devnet: Devnet) -> None:
    assert kill_again_and_again(devnet, 4, int(time.time())) >= RECEIPTS_MIN


@pytest.mark.deep
@pytest.mark.timeout(1_800)
def test_twenty_kills_under_load(devnet: Devnet) -> None:
    assert kill_again_and_again(devnet, 20, int(time.time())) >= RECEIPTS_MIN


def test_a_devnet_says_ready_and_stops_on_a_signal(tmp_path: Path) -> None:
    port = free_ports(1)[0]
    command = [sys.executable, "-m", "node", "devnet", "--nodes", "1", "--port", str(port)]
    for number in (signal.SIGINT, signal.SIGTERM):
        process = subprocess.Popen(
            [*command, "--data", str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        lines = []
        while not (line := process.stdout.readline()).startswith("ready"):
            assert line, "it ended before it was ready"
            lines.append(line)
        assert line == f"ready http://127.0.0.1:{port}\n"
        assert "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266" in lines[0]
        client = Client(f"http://127.0.0.1:{port}")
        accounts = client.call("eth_accounts")
        assert len(accounts) == 10
        sent = client.call("eth_sendTransaction", {"from": accounts[0], "to": accounts[1]})
        client.wait_for_receipt(sent)
        client.close()
        process.send_signal(number)
        assert process.wait(60) == 0
        process.stdout.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
    log = (tmp_path / "node1" / "node.log").read_text()
    assert "stopped head=1" in log
    assert "stopped head=2" in log  # the second run went on with the chain of the first


def test_a_devnet_on_a_taken_port_says_so(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "node", "devnet", "--nodes", "1", "--port", str(port)],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode != 0
    assert f"port {port} is taken" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_devnet_beyond_the_last_port_says_so(tmp_path: Path) -> None:
    with pytest.raises(NodeError, match="need ports above 65535"):
        run_devnet(tmp_path, nodes=2, port=65_535)


def test_a_node_ends_when_its_parent_is_gone(devnet: Devnet) -> None:
    process = devnet.processes[2]
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(60) == 0


def test_bad_files_are_one_line_each(tmp_path: Path) -> None:
    made = create_network(tmp_path / "net", nodes=1)
    member = made.members[0]

    def run() -> str:
        done = subprocess.run(
            [sys.executable, "-m", "node.daemon", str(member.config_file)],
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
        )
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        return done.stderr.strip().splitlines()[-1]

    text = member.config_file.read_text()
    member.config_file.write_text(text + "\n[store]\nflush_block = 3\n")
    assert f"{member.config_file}: store.flush_block: no such setting; did you mean" in run()
    member.config_file.write_text(text)
    network = (member.folder / "network.json").read_text()
    (member.folder / "network.json").write_text(
        network.replace('"chain_id": 1947', '"chain_id": 0')
    )
    assert "chain_id: expected an integer from 1" in run()
    (member.folder / "network.json").write_text(network)
    (member.folder / "node.key").chmod(0o600)
    (member.folder / "node.key").write_text("secret")
    assert "node.key: expected a private key of 64 hex digits" in run()
    assert "secret" not in run()
