"""The forty faults of FIELD_NOTES.md section 4, and the tests that play each: a table.

    python -m tests.e2e.faults [JUNIT.xml ...]

prints it, with the results in files that `pytest --junitxml FILE` wrote. A test named test_fault_NN
(or test_fault_NN_and_MM) plays those faults; which others do stands in OTHERS, and why a fault is
not played by real processes in NOT_REAL.
"""

import ast
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

TESTS = Path(__file__).parents[1]
SIMULATED = ("simulator/test_faults.py", "simulator/test_more_faults.py")

FAULTS = {
    1: "2/2 partition, heal",
    2: "3/1 partition",
    3: "one hears and cannot send",
    4: "ring, or one bridge node",
    5: "loss, duplicates, reordering",
    6: "partition between COMMIT and import",
    7: "one clock wrong, jumping, stopped",
    8: "all clocks step back 1 h",
    9: "SIGKILL at each durable write",
    10: "SIGKILL between signing and sending",
    11: "torn or truncated record, bit flip",
    12: "fsync error, disk full",
    13: "backup with older signer state",
    14: "one key on two hosts",
    15: "proposer equivocates",
    16: "proposer sends to few or withholds",
    17: "prepared in r, decided in r+1",
    18: "different prepared certificates",
    19: "forged or doubled justification",
    20: "expiry queued behind q COMMITs",
    21: "replay of old and foreign messages",
    22: "n=5,6 with one Byzantine node",
    23: "all restart at scattered rounds",
    24: "more than f down for hours",
    25: "votes remove the proposer",
    26: "new validator with empty disk needed",
    27: "long-range sync from a lying peer",
    28: "sync peer stalls",
    29: "oversized, deep, non-canonical input",
    30: "flood of future heights and rounds",
    31: "slow-loris, idle sockets, 1,000 clients",
    32: "batch bomb, huge body",
    33: "eth_getLogs over everything",
    34: "eth_call in a loop",
    35: "nonce gaps, replacements, no funds",
    36: "mempool flood",
    37: "valid at admission, invalid in block",
    38: "one node computes something else",
    39: "paused 10 s",
    40: "rolling upgrade, mixed wires",
}

OTHERS = {
    9: (
        "e2e/test_four_nodes.py::test_kill_9_of_any_node_loses_nothing",
        "e2e/test_real_failpoints.py::test_a_meter_killed_at_each_durable_write",
        "e2e/test_meter_once.py::test_a_meter_killed_and_cut_off_records_each_period_once",
    ),
    10: ("e2e/test_synced_first.py::test_what_a_validator_says_is_on_its_disk",),
    11: (
        "store/test_durability.py::test_a_log_cut_anywhere_leaves_whole_blocks",
        "store/test_durability.py::test_a_flipped_bit_in_the_log_never_shows_as_data",
        "store/test_durability.py::test_a_damaged_file_is_named_with_what_to_do",
    ),
    12: (
        "e2e/test_bad_days.py::test_a_node_without_room_reads_on_and_takes_part_again",
        "e2e/test_bad_days.py::test_a_lone_node_whose_disk_fails_makes_no_block_until_it_works",
    ),
    19: ("node/test_hostile.py::test_what_no_honest_peer_sends_costs_little_and_ends_it",),
    21: (
        "node/test_hostile.py::test_what_may_happen_to_an_honest_peer_is_borne_and_the_chain_"
        "goes_on",
        "node/test_strangers.py::test_a_recorded_handshake_cannot_be_replayed",
    ),
    25: (
        "node/test_validators.py::test_a_fifth_validator_joins_and_another_leaves_under_load",
        "node/test_validators.py::test_a_lone_validator_gets_a_second_and_leaves_it_alone",
    ),
    26: ("node/test_validators.py::test_a_fifth_validator_joins_and_another_leaves_under_load",),
    27: ("node/test_sync.py::test_a_lying_peer_is_left_at_its_first_bad_block_and_another_asked",),
    28: ("node/test_sync.py::test_a_silent_peer_is_left_for_another",),
    29: (
        "e2e/test_garbage.py::test_rubbish_on_both_ports_stops_no_block",
        "node/test_hostile.py::test_what_no_honest_peer_sends_costs_little_and_ends_it",
    ),
    30: ("node/test_hostile.py::test_what_may_happen_to_an_honest_peer_is_borne_and_the_chain_"
         "goes_on",),
    31: ("e2e/test_garbage.py::test_rubbish_on_both_ports_stops_no_block",),
    32: (
        "e2e/test_garbage.py::test_rubbish_on_both_ports_stops_no_block",
        "node/test_rpc_server.py::test_batches_bodies_and_replies_are_bounded",
    ),
    33: ("node/test_rpc_contracts.py::test_log_queries_are_bounded",),
    34: ("node/test_rpc_server.py::test_heavy_calls_leave_half_of_the_time_to_the_rest",),
    36: (
        "pool/test_pool_bounds.py::"
        "test_a_flood_of_new_accounts_gives_way_to_those_the_chain_knows",
    ),
    39: ("e2e/test_bad_days.py::test_a_clean_stop_under_load_and_a_frozen_node",),
}  # fmt: skip

A_LIE = (
    "a signed lie, which no kill, cut or disk makes a real node tell: liars are in the simulator"
)
HIDDEN = "which votes pass is chosen by their round, which TLS hides from a wire"
NOT_REAL = {
    15: A_LIE + "; nearest is fault 14, two honest nodes with one key",
    17: HIDDEN,
    18: HIDDEN,
    20: "an order of two events within one process: the engine's tests and the simulator choose it",
    22: A_LIE,
}
"""Faults with no test of real processes or sockets, and why."""


def names_in(file: Path) -> list[str]:
    return [
        one.name
        for one in ast.walk(ast.parse(file.read_text()))
        if isinstance(one, ast.FunctionDef) and one.name.startswith("test_")
    ]


def played_by(number: int) -> tuple[list[str], list[str]]:
    """(simulated, with real processes, files or sockets) tests of a fault, as path::name."""
    simulated: list[str] = []
    real = list(OTHERS.get(number, ()))
    for file in (*SIMULATED, *(f"e2e/{one.name}" for one in (TESTS / "e2e").glob("test_real_*"))):
        for name in names_in(TESTS / file):
            numbers = re.match(r"test_fault_(\d\d)(?:_and_(\d\d))?_", name)
            if numbers and f"{number:02}" in numbers.groups():
                (simulated if file in SIMULATED else real).append(f"{file}::{name}")
    return simulated, real


def read_results(files: list[str]) -> dict[str, list[str]]:
    """module::name without parameters -> what became of each of its runs."""
    results: dict[str, list[str]] = {}
    for file in files:
        for case in ElementTree.parse(file).iter("testcase"):
            ends = {child.tag for child in case} & {"failure", "error", "skipped"}
            name = (case.get("name") or "").partition("[")[0]
            module = (case.get("classname") or "").rpartition(".")[2]
            results.setdefault(f"{module}::{name}", []).append(ends.pop() if ends else "passed")
    return results


def table(files: list[str]) -> str:
    """Markdown: each fault with its tests, and how many runs of each came to which end."""
    results = read_results(files)
    lines = ["| # | fault | simulator | real processes |", "|---|---|---|---|"]
    for number, title in FAULTS.items():
        cells = [
            "; ".join(_cell(one, results) for one in some) or NOT_REAL.get(number, "-")
            for some in played_by(number)
        ]
        lines.append(f"| {number} | {title} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def _cell(test: str, results: dict[str, list[str]]) -> str:
    path, _, name = test.partition("::")
    runs = results.get(f"{Path(path).stem}::{name}", [])
    said = ", ".join(f"{runs.count(end)} {end}" for end in sorted(set(runs)))
    return f"`{name}`" + (f": {said}" if said else "")


if __name__ == "__main__":
    print(table(sys.argv[1:]))
