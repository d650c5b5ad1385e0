"""SIGKILL at every durable write of a real node and a real meter, either side of the commit.

Faults 9 and 10 of the table. `witness` kills inside the process, at the commit of a transaction of
the chain's store (blocks, signer record, state) or of the outbox; strace kills between any two
writes of a file, amid a commit, too. After each kill the process is just started again.
"""

import signal
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from node.demo.grid import deploy_metering
from tests.e2e.invariants import check_town, check_votes
from tests.e2e.networks import until
from tests.e2e.test_meter_once import END_S, MeterProcess, check_chain, one_house
from tests.e2e.town import Load, Town, run_town
from tests.e2e.traces import strace

KILL_S = 120.0  # for a process to come to its failpoint, under strace and on a busy machine
WRITES = ("append_block", "flush", "save_signer")
STRICT = {"store.flush_blocks": 2}
"""The state written every second block: many more places to be killed at."""
PLACES = 5  # of each kind of write, the first so many of a life


def order_kill(folder: Path, name: str, side: str, number: int) -> None:
    (folder / "killed").unlink(missing_ok=True)
    (folder / "kill").write_text(f"{name} {side} {number}")


def await_kill(town: Town, name: str) -> str:
    """Until the process has ended at its failpoint; where that was."""
    file = town.supervised.folder(name) / "killed"
    return str(until(lambda: file.exists() and file.read_text().strip(), KILL_S, "the failpoint"))


@pytest.mark.timeout(1_800)
@pytest.mark.parametrize(
    "places", [1, pytest.param(PLACES, marks=pytest.mark.deep)], ids=["first", "all"]
)
def test_fault_09_a_lone_node_killed_at_each_durable_write(tmp_path: Path, places: int) -> None:
    """One validator: whatever it lost or signed twice, nobody else would put right."""
    with run_town(tmp_path / "town", 1, settings=STRICT, round_timeout_ms=300) as town:
        folder = town.supervised.folder("node1")
        load = Load(town, pause_s=0.005)
        load.start()
        met = set()
        for name, side, number in walk(places):
            order_kill(folder, name, side, number)
            town.supervised.send_signal("node1", signal.SIGKILL)
            met.add(await_kill(town, "node1"))
        town.await_progress()
        assert met >= {f"{name} {side}" for name in WRITES for side in ("before", "after")}, met
        assert {code for _, code in town.supervised.ends} == {-signal.SIGKILL}
        check_town(town, load)


def walk(places: int) -> Iterator[tuple[str, str, int]]:
    for name in WRITES:
        for side in ("before", "after"):
            for number in range(1, places + 1):
                if name != "save_signer" or number == 1:  # undisturbed, a lone node writes no more
                    yield name, side, number
    if places > 1:
        for side in ("before", "after"):
            for number in range(1, 3 * places):
                yield "any", side, number


@pytest.mark.deep
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("nodes", [4, 7])
def test_fault_09_each_of_several_killed_at_each_durable_write(tmp_path: Path, nodes: int) -> None:
    with run_town(tmp_path / "town", nodes) as town:
        load = Load(town)
        load.start()
        turns = count()
        for name, number in [("append_block", 1), ("append_block", 3), ("any", 2), ("any", 5)]:
            for side in ("before", "after"):
                victim = next(turns) % nodes
                order_kill(town.supervised.folder(f"node{victim + 1}"), name, side, number)
                town.supervised.send_signal(f"node{victim + 1}", signal.SIGKILL)
                await_kill(town, f"node{victim + 1}")
                town.await_progress()
        assert check_town(town, load) > 0


@pytest.mark.deep
@pytest.mark.timeout(1_800)
def test_fault_09_killed_between_any_two_writes_of_a_file(tmp_path: Path) -> None:
    """strace kills a lone node at its N-th pwrite64 or fdatasync: amid SQLite's commit, too."""
    strace(tmp_path / "trace")  # or skips
    with run_town(tmp_path / "town", 1, settings=STRICT, round_timeout_ms=300) as town:
        load = Load(town, pause_s=0.005)
        load.start()
        for call in ("pwrite64", "fdatasync"):
            for number in (*range(1, 9), 12, 20, 47):
                ends = len(town.supervised.ends)
                town.supervised.wrapper["node1"] = [
                    *("strace", "-D", "-f", "-qq", "-o", "/dev/null"),
                    *("-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={number}"),
                ]
                town.supervised.send_signal("node1", signal.SIGKILL)
                # Its own end, and that of the life under strace.
                until(lambda ends=ends: len(town.supervised.ends) >= ends + 2, KILL_S, "its end")
        del town.supervised.wrapper["node1"]
        town.supervised.send_signal("node1", signal.SIGKILL)
        town.await_progress()
        assert check_town(town, load) > 0


@pytest.mark.deep
@pytest.mark.timeout(600)
def test_fault_10_killed_right_after_signing(tmp_path: Path) -> None:
    """The lease is durable before a vote is signed, so the write after it is the next block's or
    lock's: killed on its near side, the vote is signed and may or may not have been sent."""
    with run_town(tmp_path / "town", 4) as town:
        load = Load(town)
        load.start()
        for turn in range(12):
            name = f"node{turn % 4 + 1}"
            town.supervised.send_signal("node4" if name != "node4" else "node3", signal.SIGSTOP)
            try:  # a proposer is away: rounds change, and every kind of vote is signed
                order_kill(town.supervised.folder(name), "any", "before", turn + 1)
                town.supervised.send_signal(name, signal.SIGKILL)
                time.sleep(3)
            finally:
                town.supervised.send_signal("node4" if name != "node4" else "node3", signal.SIGCONT)
            town.await_progress()
        kinds = set()
        for file in (tmp_path / "town" / "witness").glob("*/votes"):
            kinds |= {line.split()[0] for line in file.read_text().splitlines()}
        assert kinds == {"PROPOSAL", "PREPARE", "COMMIT", "ROUND_CHANGE"}
        assert check_votes(town) > 100
        check_town(town, load)


# The outbox.


@pytest.mark.deep
@pytest.mark.timeout(600)
def test_a_meter_killed_at_each_durable_write(tmp_path: Path) -> None:
    """Whatever was counted is on chain once, however often it died at its outbox."""
    with run_town(tmp_path / "town", 1) as town:
        town.relay_ports = [town.network.members[0].rpc_port]  # no wire to cut here
        deploy_metering(town, [])
        meter = MeterProcess(town, [one_house(tmp_path, 100_000)])
        folder = town.supervised.folder("meter")
        met = set()
        for name in ("save", "save_outgoing", "settle"):
            for side in ("before", "after"):
                for number in range(1, PLACES):
                    order_kill(folder, name, side, number)
                    meter.start()
                    assert town.supervised.await_end("meter") == -signal.SIGKILL
                    met.add((folder / "killed").read_text().strip())
        assert len(met) == 6
        meter.start()
        assert town.supervised.await_end("meter", END_S) == 0
        check_chain(town, meter.keys[0], meter.sources[0].expected)
