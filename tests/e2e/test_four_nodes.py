"""Four real processes under load, one after another killed with SIGKILL: nothing final is lost."""

import random
import secrets
import threading
import time
from pathlib import Path

import pytest

from ledger.crypto.address import address_of
from ledger.encoding.hexadecimal import decode_quantity, encode_data
from ledger.transaction import sign_transaction
from node.client import Client, ClientError, RpcError
from node.demo.grid import Grid, block_at, make_grid, wait_until_connected
from node.ports import free_ports
from tests.e2e.networks import patience

ACCOUNTS = 8
WAITING_MAX = 30 * ACCOUNTS  # a node keeps 64 of an account
CATCH_UP_S = 60.0
"""On a machine of our own, see `patience`."""


class Load(threading.Thread):
    """Sends transactions of a few accounts to whichever node answers; keeps every receipt seen."""

    def __init__(self, grid: Grid) -> None:
        super().__init__(daemon=True)
        self.grid = grid
        self.receipts: dict[str, tuple[int, str]] = {}
        self.stopping = threading.Event()
        self.keys = [secrets.token_bytes(32) for _ in range(ACCOUNTS)]
        self.unexpected: list[str] = []

    def run(self) -> None:
        nonces = [0] * ACCOUNTS
        clients = [Client(self.grid.url(index)) for index in range(4)]
        waiting: dict[str, int] = {}
        turn = 0
        while not self.stopping.is_set():
            turn += 1
            client = clients[turn % 4]
            account = turn % ACCOUNTS
            transaction = sign_transaction(
                self.keys[account], chain_id=1947, nonce=nonces[account],
                to=address_of(self.keys[account]), gas=21_000, gas_price=0,
            )  # fmt: skip
            try:
                if len(waiting) < WAITING_MAX:
                    sent = client.call("eth_sendRawTransaction", encode_data(transaction.raw))
                    waiting[sent] = turn
                    nonces[account] += 1
                for one in list(waiting)[:20]:
                    receipt = client.call("eth_getTransactionReceipt", one)
                    if receipt is not None:
                        number = decode_quantity(receipt["blockNumber"])
                        self.receipts[one] = (number, receipt["blockHash"])
                        del waiting[one]
            except RpcError as error:
                if "nonce too low" in str(error) or "already known" in str(error):
                    nonces[account] += 1  # it was taken before the node died
                elif "syncing" not in str(error):
                    self.unexpected.append(str(error))
            except ClientError:
                pass  # this node is down just now
            time.sleep(0.01)
        for client in clients:
            client.close()


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "kills", [3, pytest.param(20, marks=pytest.mark.deep)], ids=["three", "twenty"]
)
def test_kill_9_of_any_node_loses_nothing(tmp_path: Path, kills: int) -> None:
    seed = secrets.randbelow(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    grid = make_grid(tmp_path / "grid")
    load = Load(grid)
    try:
        for index in range(4):
            grid.start_node(index)
        wait_until_connected(grid)
        load.start()
        for _ in range(kills):
            time.sleep(chance.uniform(0.2, 1.5))
            victim = chance.randrange(4)
            witness = (victim + 1) % 4
            before = grid.client(witness).height()
            grid.processes.kill(grid.network.members[victim].name)
            await_height(grid, witness, before + 2)
            grid.start_node(victim)
            await_height(grid, victim, grid.client(witness).height())
        load.stopping.set()
        load.join(120)
        assert not load.is_alive()
        assert load.receipts, "the load saw no receipt"
        assert not load.unexpected
        check_agreement(grid, load)
    finally:
        load.stopping.set()
        grid.close()


def await_height(grid: Grid, index: int, height: int) -> None:
    """Until a node has this height; the load keeps blocks coming."""
    deadline = time.monotonic() + CATCH_UP_S * patience()
    while time.monotonic() < deadline:
        try:
            if grid.client(index).height() >= height:
                return
        except ClientError:
            pass  # it is starting
        time.sleep(0.05)
    raise AssertionError(
        f"node {index + 1} did not reach block {height} in {CATCH_UP_S} s:\n"
        + (grid.processes.logs / f"node{index + 1}.log").read_text()[-3_000:]
    )


def check_agreement(grid: Grid, load: Load) -> None:
    """One hash per height on all four, and every receipt seen is still where it was."""
    time.sleep(2)  # the last transactions become final
    top = max(grid.client(index).height() for index in range(4))
    for index in range(4):
        await_height(grid, index, top)
    for height in range(top + 1):
        assert len({block_at(grid.client(index), height) for index in range(4)}) == 1, height
    for index in range(4):
        answers = grid.client(index).batch(
            [("eth_getTransactionReceipt", (one,)) for one in load.receipts]
        )
        for one, receipt in zip(load.receipts, answers, strict=True):
            assert receipt is not None, f"{one} vanished from node {index + 1}"
            found = (decode_quantity(receipt["blockNumber"]), receipt["blockHash"])
            assert found == load.receipts[one]


def test_free_ports_are_in_a_row() -> None:
    ports = free_ports(5)
    assert ports == list(range(ports[0], ports[0] + 5))
    assert Client(f"http://127.0.0.1:{ports[0]}").url.endswith(str(ports[0]))
