"""Bad days of real processes: wrong folders, signals under load, frozen, a disk without room."""

import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ledger.crypto.address import address_of
from ledger.transaction import sign_transaction
from node.client import Client
from node.demo.grid import Grid
from node.network_files import STORE_FILE
from tests.e2e.networks import await_ready, patience, read_log, run_network, until, watched
from tests.e2e.test_four_nodes import Load, await_height, check_agreement

FROZEN_S = 10.0
FINAL_S = 20.0  # for one transaction with a member away: a few round changes of 1, 2, 4 s
RESUME_S = 60.0  # the disk is tried again every 5 s, then blocks are fetched
DISK_BYTES = 8_000_000
CHUNK_BYTES = 4_096


class Sender:
    """Transactions of one account, one after another."""

    def __init__(self, grid: Grid, key: bytes) -> None:
        self.chain_id = grid.network.genesis.chain_id
        self.key = key
        self.nonce = 0

    def send(self, client: Client) -> str:
        """The hash of the next transaction, taken by a node."""
        transaction = sign_transaction(
            self.key,
            chain_id=self.chain_id,
            nonce=self.nonce,
            to=address_of(self.key),
            gas=21_000,
            gas_price=0,
        )
        self.nonce += 1
        return str(client.call("eth_sendRawTransaction", "0x" + transaction.raw.hex()))

    def settle(self, client: Client) -> int:
        """Send one and wait until it is final; its block."""
        receipt = client.wait_for_receipt(self.send(client), FINAL_S * patience())
        return int(receipt["blockNumber"], 16)


def check_logs(grid: Grid) -> None:
    for file in grid.processes.logs.glob("*.log"):
        text = file.read_text(errors="replace")
        assert "internal error" not in text, text
        assert "Traceback" not in text, text


def trouble_of(grid: Grid, index: int) -> str | None:
    trouble: str | None = grid.client(index).call("wattledger_status")["trouble"]
    return trouble


# Folders.


def test_wrong_folders_are_refused_by_name(tmp_path: Path) -> None:
    """A folder in use, and one of another network; whoever runs already is not disturbed."""
    with (
        run_network(tmp_path / "one", 1) as one,
        run_network(tmp_path / "other", 1, start=False) as other,
    ):
        sender = Sender(one, b"\1" * 32)
        sender.settle(one.client(0))
        again = run_to_end(one)
        assert "is in use by another process; two nodes must never share a folder" in again
        assert str(one.network.members[0].folder / "data" / STORE_FILE) in again
        sender.settle(one.client(0))
        one.processes.stop("node1")
        ours, theirs = (grid.network.members[0].folder / "data" for grid in (one, other))
        shutil.rmtree(theirs)
        shutil.copytree(ours, theirs)
        refused = run_to_end(other)
        assert "belongs to network 0x" in refused
        assert one.network.genesis.name in refused
        assert other.network.genesis.name in refused
        check_logs(one)


def run_to_end(grid: Grid) -> str:
    """Start a node that refuses to run; the one line that says why."""
    watched(grid).start(
        "refused", "node", "node", "run", "--config", str(grid.network.members[0].config_file)
    )
    assert watched(grid).await_end("refused") == 1
    text = read_log(grid, "refused")
    assert "Traceback" not in text
    return text.strip().splitlines()[-1]


# Signals.


@pytest.mark.timeout(300)
def test_a_clean_stop_under_load_and_a_frozen_node(tmp_path: Path) -> None:
    with run_network(tmp_path / "grid", 4) as grid:
        load = Load(grid)
        load.start()
        try:
            stop_and_start_again(grid)
        finally:
            load.stopping.set()
            load.join(120)
            assert not load.is_alive()
        freeze(grid)
        assert load.receipts
        assert not load.unexpected
        check_agreement(grid, load)
        check_logs(grid)


def stop_and_start_again(grid: Grid) -> None:
    """SIGTERM amid blocks: a clean end, and the node signs again as soon as it is back."""
    time.sleep(1)
    watched(grid).send_signal("node2", signal.SIGTERM)
    assert watched(grid).await_end("node2") == 0
    assert " stopped head=" in read_log(grid, "node2").splitlines()[-1]
    height = grid.client(0).height()
    await_height(grid, 0, height + 2)  # the others go on
    grid.start_node(1)
    await_height(grid, 1, grid.client(0).height())
    until(lambda: proposed_since(grid, 1, height), RESUME_S, "a block that node2 proposed")
    assert trouble_of(grid, 1) is None


def proposed_since(grid: Grid, index: int, height: int) -> bool:
    """Whether a node has proposed one of the blocks above this height."""
    client = grid.client(0)
    blocks = client.batch(
        [
            ("eth_getBlockByNumber", (hex(one), False))
            for one in range(height + 1, client.height() + 1)
        ]
    )
    address = "0x" + grid.network.members[index].address.hex()
    return any(block["miner"].lower() == address for block in blocks)


def freeze(grid: Grid) -> None:
    """SIGSTOP, as by a debugger or a host that swaps: the others go on, then it follows."""
    sender, client = Sender(grid, b"\2" * 32), grid.client(0)
    watched(grid).send_signal("node3", signal.SIGSTOP)
    try:
        frozen_at = time.monotonic()
        before = client.height()
        while time.monotonic() < frozen_at + FROZEN_S:
            sender.settle(client)
        assert client.height() > before
    finally:
        watched(grid).send_signal("node3", signal.SIGCONT)
    await_height(grid, 2, client.height())

    def proposes_again(height: int = client.height()) -> bool:
        sender.settle(client)
        return proposed_since(grid, 2, height)

    until(proposes_again, RESUME_S, "a block that node3 proposed")
    assert trouble_of(grid, 2) is None


# Disks.


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of DISK_BYTES until the block ends; skips where none can be mounted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    if (
        shutil.which("mount") is None
        or subprocess.run(mount, capture_output=True, check=False).returncode
    ):
        pytest.skip("mounting a small disk needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """A file that takes all the room that is left."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(CHUNK_BYTES))
        except OSError:
            return filler


@pytest.mark.timeout(300)
def test_a_node_without_room_reads_on_and_takes_part_again(tmp_path: Path) -> None:
    """One of four: the others need it not; it serves what it has, and comes back by itself."""
    with (
        small_disk(tmp_path / "disk") as disk,
        run_network(tmp_path / "grid", 4, start=False) as grid,
    ):
        move_data(grid, disk)
        for index in range(4):
            grid.start_node(index)
        await_ready(grid)
        sender = Sender(grid, b"\3" * 32)
        first = sender.settle(grid.client(1))
        await_height(grid, 0, first)
        filler = fill(disk)

        def notices() -> str | None:
            sender.settle(grid.client(1))
            return trouble_of(grid, 0)

        trouble = until(notices, RESUME_S, "node1 to notice that its disk is full")
        assert "is full" in trouble
        assert "free some space" in trouble
        check_full(grid, first, sender)
        filler.unlink()
        await_height(grid, 0, grid.client(1).height())
        until(lambda: trouble_of(grid, 0) is None, RESUME_S, "node1 to take part again")

        def proposes_again(height: int = grid.client(1).height()) -> bool:
            sender.settle(grid.client(1))
            return proposed_since(grid, 0, height)

        until(proposes_again, RESUME_S, "a block that node1 proposed")
        assert "the disk works again: signing resumes" in read_log(grid, "node1")
        check_logs(grid)


def move_data(grid: Grid, disk: Path) -> None:
    """Let the first node keep its data on another disk."""
    member = grid.network.members[0]
    shutil.copytree(member.folder / "data", disk / "data")
    settings = member.config_file.read_text()
    assert 'data = "data"' in settings
    member.config_file.write_text(settings.replace('data = "data"', f'data = "{disk}/data"'))


def check_full(grid: Grid, first: int, sender: Sender) -> None:
    """It says so, stays where it is and serves what it has, while the others go on."""
    client = grid.client(0)
    stuck = client.height()
    for _ in range(3):
        sender.settle(grid.client(1))
    assert client.height() == stuck < grid.client(1).height()
    assert client.call("eth_getBlockByNumber", hex(first), True)["transactions"]
    assert client.call("eth_getBalance", "0x" + address_of(sender.key).hex(), "latest") == "0x0"
    status = client.call("wattledger_status")
    assert "This node does not sign: the disk failed" in status["explanation"]
    assert "the disk failed: signing stops, reads go on" in read_log(grid, "node1")


@pytest.mark.timeout(200)
def test_a_lone_node_whose_disk_fails_makes_no_block_until_it_works(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: writes fail, nothing is mounted."""
    with run_network(tmp_path / "grid", 1) as grid:
        client, sender = grid.client(0), Sender(grid, b"\4" * 32)
        first = sender.settle(client)
        pid = watched(grid).pid("node1")
        files = (grid.network.members[0].folder / "data").glob(STORE_FILE + "*")
        most = max(file.stat().st_size for file in files)
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, hard))
        waiting = sender.send(client)
        trouble = until(lambda: trouble_of(grid, 0), RESUME_S, "the node to notice")
        assert "the disk failed" in trouble
        time.sleep(6)  # beyond the first attempt to write again
        assert client.height() == first
        assert client.call("eth_getTransactionReceipt", waiting) is None
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
        assert client.wait_for_receipt(waiting, RESUME_S * patience())["status"] == "0x1"
        until(lambda: trouble_of(grid, 0) is None, RESUME_S, "the trouble to be over")
        sender.settle(client)
        check_logs(grid)
