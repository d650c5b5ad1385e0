"""The table of the forty faults is complete, and each test that it names is there."""

from pathlib import Path

import pytest

from tests.e2e.faults import FAULTS, NOT_REAL, OTHERS, TESTS, names_in, played_by, table

ONLY_REAL = {31, 32, 33, 34}
"""JSON-RPC's: there are no sockets in the simulator."""


def test_there_are_forty() -> None:
    assert list(FAULTS) == list(range(1, 41))


@pytest.mark.parametrize("number", FAULTS)
def test_each_is_played_or_it_says_why_not(number: int) -> None:
    simulated, real = played_by(number)
    assert bool(simulated) is (number not in ONLY_REAL)
    assert bool(real) is (number not in NOT_REAL)


@pytest.mark.parametrize("number", OTHERS)
def test_the_others_are_there(number: int) -> None:
    for one in OTHERS[number]:
        file, _, name = one.partition("::")
        assert name in names_in(TESTS / file), one


def test_results_stand_in_the_table(tmp_path: Path) -> None:
    file = tmp_path / "junit.xml"
    first = "test_fault_01_a_partition_2_2"
    clocks = "test_fault_07_a_clock_is_wrong_jumps_and_stops"
    cases = [
        ("simulator.test_faults", first, ""),
        ("simulator.test_faults", f"{clocks}[10]", ""),
        ("simulator.test_faults", f"{clocks}[-10]", "<failure/>"),
        ("another", first, "<failure/>"),
    ]
    inside = "".join(
        f'<testcase classname="tests.{module}" name="{name}">{end}</testcase>'
        for module, name, end in cases
    )
    file.write_text(f"<testsuites><testsuite>{inside}</testsuite></testsuites>")
    text = table([str(file)])
    assert f"`{first}`: 1 passed |" in text
    assert f"`{clocks}`: 1 failure, 1 passed |" in text
    assert len(text.splitlines()) == 42
