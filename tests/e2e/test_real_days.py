"""Wrong clocks, full disks, old backups, one key twice, frozen and missing nodes: real processes.

Faults 7, 8, 11 to 14, 23, 24 and 39 of the table, with four and seven nodes under load. The wall
clock of a node is bent by `witness`, in that process alone.
"""

import random
import secrets
import shutil
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from node.demo.processes import Processes
from tests.e2e.invariants import check_town, check_votes
from tests.e2e.networks import await_ready, read_log, until
from tests.e2e.test_bad_days import fill, proposed_since, small_disk, trouble_of
from tests.e2e.town import Load, Town, run_town

pytestmark = [pytest.mark.deep, pytest.mark.timeout(900)]

HOUR_S = 3_600
FROZEN_S = 10.0


def begin(town: Town) -> Load:
    load = Load(town)
    load.start()
    town.await_progress()
    return load


def set_clock(town: Town, index: int, offset_s: float | str) -> None:
    """Off by so many seconds, or standing at "=T"."""
    folder = town.supervised.folder(town.network.members[index].name)
    (folder / "clock.new").write_text(str(offset_s))
    (folder / "clock.new").replace(folder / "clock")


def kill(town: Town, *indices: int) -> None:
    for index in indices:
        town.supervised.send_signal(town.network.members[index].name, signal.SIGKILL)


def take_down(town: Town, *indices: int) -> None:
    """SIGKILL, and nobody starts them again for now."""
    for index in indices:
        name = town.network.members[index].name
        town.supervised.let_go(name)
        town.supervised.kill(name)


def timestamps(town: Town, index: int, first: int) -> list[int]:
    client = town.client(index)
    calls = [
        ("eth_getBlockByNumber", (hex(one), False)) for one in range(first, client.height() + 1)
    ]
    return [int(block["timestamp"], 16) for block in client.batch(calls)]


# Clocks.


@pytest.mark.parametrize("nodes", [4, 7])
@pytest.mark.parametrize("skew_s", [10, -10])
def test_fault_07_a_clock_is_wrong_jumps_and_stops(tmp_path: Path, nodes: int, skew_s: int) -> None:
    with run_town(tmp_path / "town", nodes) as town:
        load = begin(town)
        set_clock(town, 0, skew_s)
        for _ in range(3):
            town.await_progress()
        set_clock(town, 0, 100 * skew_s)  # a jump
        for _ in range(2):
            town.await_progress()
        set_clock(town, 0, f"={time.time()}")  # it stands
        for _ in range(3):
            town.await_progress()
        set_clock(town, 0, 0)
        town.await_progress()
        assert (times := timestamps(town, 1, 1)) == sorted(times)
        check_town(town, load)


def test_fault_08_all_clocks_step_back_an_hour(tmp_path: Path) -> None:
    with run_town(tmp_path / "town", 4) as town:
        load = begin(town)
        for index in range(4):
            set_clock(town, index, -HOUR_S)
        kill(town, 0, 1)
        town.await_progress()
        kill(town, *range(4))
        town.await_progress()
        times = timestamps(town, 1, 1)
        assert times == sorted(times)
        assert times[-1] > time.time() - HOUR_S / 2, "a timestamp went back with the clocks"
        check_town(town, load)


# Disks and files.


def test_fault_11_a_torn_or_flipped_store_is_found_out(tmp_path: Path) -> None:
    """A log cut short is only lost blocks, fetched again; a damaged file stops that node alone."""
    with run_town(tmp_path / "town", 4) as town:
        load = begin(town)
        load.turned_back.add(3)
        take_down(town, 3)
        log = town.store_file(3).with_name(town.store_file(3).name + "-wal")
        whole = log.read_bytes()
        log.write_bytes(whole[: len(whole) * 2 // 3])  # also cuts the signer record's last writes
        town.start_node(3)
        town.await_progress()
        take_down(town, 3)
        file = town.store_file(3)
        saved = file.read_bytes()
        spoiled = bytearray(saved)
        for place in range(4_096, len(spoiled), 64):
            spoiled[place] ^= 0xFF
        file.write_bytes(spoiled)
        log.unlink()
        plain = Processes(town.processes.logs)
        plain.start("spoiled", "node", "node", "run", "--config",
                    str(town.network.members[3].config_file))  # fmt: skip
        assert plain._running.pop("spoiled").wait(60) == 1
        assert "damaged" in read_log(town, "spoiled")
        town.await_progress([0, 1, 2])
        shutil.rmtree(file.parent)  # what the message says: move it away
        town.start_node(3)
        town.await_progress()
        check_votes(town)
        check_town(town, load)


@pytest.mark.parametrize("nodes", [4, 7])
def test_fault_12_a_full_disk_under_load(tmp_path: Path, nodes: int) -> None:
    with (
        small_disk(tmp_path / "disk") as disk,
        run_town(tmp_path / "town", nodes, start=False) as town,
    ):
        member = town.network.members[0]
        shutil.copytree(member.folder / "data", disk / "data")
        settings = member.config_file.read_text()
        member.config_file.write_text(settings.replace('data = "data"', f'data = "{disk}/data"'))
        shutil.rmtree(member.folder / "data")
        (member.folder / "data").symlink_to(disk / "data")
        for index in range(nodes):
            town.start_node(index)
        await_ready(town)
        load = begin(town)
        for _ in range(2):
            filler = fill(disk)
            until(lambda: "is full" in (trouble_of(town, 0) or ""), 30, "its disk to be full")
            stuck = town.heights([0])
            town.await_progress(range(1, nodes))
            assert town.heights([0]) == stuck
            filler.unlink()
            until(lambda: trouble_of(town, 0) is None, 60, "node1 to take part again")
            town.await_progress()
        load.stop()
        check_town(town, load)


def test_fault_13_a_backup_is_restored_over_a_node(tmp_path: Path) -> None:
    """The file as it was: its signer record is old, and it may not trust it."""
    with run_town(tmp_path / "town", 4) as town:
        load = begin(town)
        load.turned_back.add(1)
        copy = tmp_path / "copy.sqlite"
        with closing(sqlite3.connect(town.store_file(1))) as live, sqlite3.connect(copy) as kept:
            live.backup(kept)
        kept.close()
        for _ in range(3):
            town.await_progress()
        top = max(town.heights())
        take_down(town, 1)
        for file in town.store_file(1).parent.glob("*.sqlite*"):
            file.unlink()
        shutil.copy(copy, town.store_file(1))
        votes = town.supervised.folder("node2") / "votes"
        before = len(votes.read_text().splitlines())
        town.start_node(1)
        town.await_progress()
        until(lambda: proposed_since(town, 1, top), 60, "a block that node2 proposed")
        later = [line.split()[:2] for line in votes.read_text().splitlines()[before:]]
        # The block after the copy's is over for all others: it asks them before it signs anything.
        assert [one for one in later if int(one[1]) <= top] == []
        check_town(town, load)


def test_fault_14_one_key_on_two_machines(tmp_path: Path) -> None:
    """The twin has the key and no record; peers keep one connection with a key, the chain goes on
    with one hash per height, and where the two signed differently that is evidence."""
    with run_town(tmp_path / "town", 4) as town:
        load = begin(town)
        member = town.network.members[3]
        twin = tmp_path / "twin"
        shutil.copytree(member.folder, twin, ignore=shutil.ignore_patterns("data"))
        settings = (twin / "node.toml").read_text()
        for port in (member.port, member.rpc_port):
            assert f"port = {port}" in settings
            settings = settings.replace(f"port = {port}", f"port = {port + 1_000}")
        (twin / "node.toml").write_text(settings)
        plain = Processes(town.processes.logs)
        plain.start("twin", "node", "node", "run", "--config", str(twin / "node.toml"))
        try:
            for _ in range(5):
                town.await_progress([0, 1, 2])
                time.sleep(1)
        finally:
            plain.stop()
        town.await_progress()
        check_town(town, load, evidence=True)


# Away.


@pytest.mark.parametrize("nodes", [4, 7])
def test_fault_23_all_restart_at_scattered_rounds(tmp_path: Path, nodes: int) -> None:
    chance = random.Random(seed := secrets.randbelow(2**32))
    print(f"seed {seed}")
    with run_town(tmp_path / "town", nodes) as town:
        load = begin(town)
        for _ in range(3):
            for index in chance.sample(range(nodes), nodes):
                kill(town, index)
                time.sleep(chance.uniform(0, 1.5))
            town.await_progress()
        assert check_town(town, load) > 0


@pytest.mark.parametrize("nodes", [4, 7])
def test_fault_24_more_than_f_are_down_for_a_while(tmp_path: Path, nodes: int) -> None:
    """A minute; the simulator lets it be hours."""
    with run_town(tmp_path / "town", nodes, round_timeout_ms=500) as town:
        load = begin(town)
        away = list(range((nodes - 1) // 3 + 1))
        rest = [index for index in range(nodes) if index not in away]
        take_down(town, *away)
        time.sleep(2)
        height = max(town.heights(rest))
        time.sleep(60)
        assert max(town.heights(rest)) == height
        said = town.client(rest[0]).call("wattledger_status")
        assert said["waitingFor"], said["explanation"]
        assert all(town.network.members[one].name in said["explanation"] for one in away)
        for index in away:
            town.start_node(index)
        town.await_progress()
        check_town(town, load)


@pytest.mark.parametrize("nodes", [4, 7])
def test_fault_39_frozen_for_ten_seconds(tmp_path: Path, nodes: int) -> None:
    """One in turn, then so many that nothing is decided meanwhile."""
    with run_town(tmp_path / "town", nodes) as town:
        load = begin(town)
        names = [member.name for member in town.network.members]
        for group in (names[:1], names[1:2], names[: nodes // 2]):
            for name in group:
                town.supervised.send_signal(name, signal.SIGSTOP)
            time.sleep(FROZEN_S)
            for name in group:
                town.supervised.send_signal(name, signal.SIGCONT)
            town.await_progress()
        assert check_town(town, load) > 0
