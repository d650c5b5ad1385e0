"""Cuts, one-way cuts, loss, damage and slow links between real processes: faults 1 to 6, and more.

Each node has a network namespace of its own and all packets pass `wires`, so the kernels' TCP and
TLS meet what they meet on a bad router. Skipped by name where namespaces are not allowed.
"""

import time
from pathlib import Path

import pytest

from tests.e2e.invariants import check_town
from tests.e2e.town import Load, Town, run_town
from tests.e2e.wires import Weather, Wires, checksum

CUT_S = 12.0  # longer than some rounds, shorter than a heartbeat finds out
STILL_S = 2.0  # in which what was under way when a link was cut is over

pytestmark = [pytest.mark.deep, pytest.mark.timeout(900)]


def wires_of(town: Town) -> Wires:
    assert town.wires is not None
    return town.wires


def begin(town: Town) -> Load:
    load = Load(town)
    load.start()
    town.await_progress()
    return load


def proposers_above(town: Town, index: int, height: int) -> set[str]:
    client = town.client(index)
    numbers = range(height + 1, client.height() + 1)
    blocks = client.batch([("eth_getBlockByNumber", (hex(one), False)) for one in numbers])
    return {block["miner"].lower() for block in blocks}


@pytest.mark.parametrize("nodes", [4, 7])
def test_fault_01_split_in_two_halves_and_healed(tmp_path: Path, nodes: int) -> None:
    """2/2, or 4/3 of seven: neither side has ceil(2n/3)."""
    with run_town(tmp_path / "town", nodes, wired=True) as town:
        load = begin(town)
        half = (nodes + 1) // 2
        wires_of(town).split(range(1, half + 1), range(half + 1, nodes + 1))
        time.sleep(STILL_S)
        before = max(town.heights())
        time.sleep(CUT_S)
        assert max(town.heights()) == before, "a block without a quorum"
        wires_of(town).heal()
        town.await_progress()
        check_town(town, load)


@pytest.mark.parametrize("nodes", [4, 7])
def test_fault_02_a_minority_is_cut_off_and_comes_back(tmp_path: Path, nodes: int) -> None:
    with run_town(tmp_path / "town", nodes, wired=True) as town:
        load = begin(town)
        away = list(range(nodes - (nodes - 1) // 3, nodes))
        rest = [index for index in range(nodes) if index not in away]
        wires_of(town).split([one + 1 for one in rest], [one + 1 for one in away])
        time.sleep(STILL_S)
        before = town.heights(away)
        town.await_progress(rest)
        time.sleep(CUT_S)
        assert town.heights(away) == before, "it serves what it has, and that alone"
        wires_of(town).heal()
        town.await_progress()
        check_town(town, load)


@pytest.mark.parametrize("nodes", [4, 7])
def test_fault_03_one_hears_and_cannot_send(tmp_path: Path, nodes: int) -> None:
    """Not even its TCP acknowledgements leave; the test still reaches its JSON-RPC."""
    with run_town(tmp_path / "town", nodes, wired=True) as town:
        load = begin(town)
        wires_of(town).cuts = {(1, other) for other in range(2, nodes + 1)}
        time.sleep(STILL_S)
        height = max(town.heights())
        others = list(range(1, nodes))
        town.await_progress(others)
        time.sleep(CUT_S)
        town.await_progress(others)
        mute = "0x" + town.network.members[0].address.hex()
        assert mute not in proposers_above(town, 1, height)
        wires_of(town).heal()
        town.await_progress()
        check_town(town, load)


@pytest.mark.parametrize("shape", ["ring", "bridge"])
def test_fault_04_a_ring_or_one_bridge_node(tmp_path: Path, shape: str) -> None:
    lacking = [(1, 3), (2, 4)] if shape == "ring" else [(1, 3), (1, 4), (3, 4)]
    with run_town(tmp_path / "town", 4, wired=True) as town:
        load = begin(town)
        for one, other in lacking:
            wires_of(town).cut(one, other)
        time.sleep(STILL_S)
        for _ in range(3):
            town.await_progress()
        wires_of(town).heal()
        assert check_town(town, load) > 0


@pytest.mark.parametrize("nodes", [4, 7])
def test_fault_05_loss_duplicates_and_reordering(tmp_path: Path, nodes: int) -> None:
    """Of packets: TCP hides duplicates and order, and pays with time, up to seconds a message."""
    with run_town(tmp_path / "town", nodes, wired=True) as town:
        load = begin(town)
        wires_of(town).weather = Weather(0.005, 0.080, loss=0.1, duplicates=0.2)
        for _ in range(3):
            town.await_progress(seconds=120)
        wires_of(town).weather = Weather(0.005, 0.080, loss=0.3, duplicates=0.2)
        time.sleep(CUT_S)
        wires_of(town).heal()
        town.await_progress()
        assert wires_of(town).dropped > 100
        check_town(town, load)


def test_fault_06_cut_off_again_and_again_amid_blocks(tmp_path: Path) -> None:
    """Cuts at no chosen moment, a hundred of them: some fall between COMMIT and import."""
    with run_town(tmp_path / "town", 4, wired=True) as town:
        load = begin(town)
        for turn in range(100):
            time.sleep(0.05 + turn % 7 * 0.03)
            wires_of(town).split(
                [turn % 4 + 1], [one for one in range(1, 5) if one != turn % 4 + 1]
            )
            time.sleep(0.02 + turn % 5 * 0.05)
            wires_of(town).heal()
        town.await_progress()
        assert check_town(town, load) > 0


def test_fault_16_a_proposer_that_reaches_only_one_of_the_others(tmp_path: Path) -> None:
    """Each in turn: its packets go to one other node, which passes its proposals on, or to none."""
    with run_town(tmp_path / "town", 4, wired=True) as town:
        load = begin(town)
        for proposer in range(1, 5):
            heard_by = proposer % 4 + 1
            others = {1, 2, 3, 4} - {proposer}
            wires_of(town).cuts = {(proposer, other) for other in others - {heard_by}}
            time.sleep(STILL_S)
            town.await_progress()
            wires_of(town).cuts = {(proposer, other) for other in others}
            time.sleep(STILL_S)
            town.await_progress([one - 1 for one in sorted(others)])
            wires_of(town).heal()
            town.await_progress()
        assert check_town(town, load) > 0


def test_damaged_bytes_end_a_connection_and_nothing_else(tmp_path: Path) -> None:
    """One byte in a thousand packets, with TCP's checksum right: TLS notices, nodes dial again."""
    with run_town(tmp_path / "town", 4, wired=True) as town:
        load = begin(town)
        wires_of(town).weather = Weather(damage=0.001)
        for _ in range(5):
            town.await_progress(seconds=120)
            time.sleep(3)
        assert wires_of(town).damaged
        wires_of(town).heal()
        town.await_progress()
        check_town(town, load)


@pytest.mark.parametrize("nodes", [4, 7])
def test_slow_links_make_blocks_slow_and_no_more(tmp_path: Path, nodes: int) -> None:
    """A quarter of a second each way, as over a mobile network, against a timeout of one."""
    with run_town(tmp_path / "town", nodes, wired=True) as town:
        load = begin(town)
        wires_of(town).weather = Weather(0.25, 0.05)
        began, before = time.monotonic(), max(town.heights())
        time.sleep(20)
        made = max(town.heights()) - before
        print(f"{made / (time.monotonic() - began):.2f} blocks a second")
        assert made >= 4
        wires_of(town).heal()
        town.await_progress()
        check_town(town, load)


def test_the_checksum_of_the_wires() -> None:
    """The example of RFC 1071, section 3: 0001 f203 f4f5 f6f7 sum to ddf2."""
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF - 0xDDF2
