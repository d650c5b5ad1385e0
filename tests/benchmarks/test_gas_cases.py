"""Each case of the gas benchmark is a contract that is accepted and runs; names tell them apart."""

import pytest

from benchmarks.gas import Bench
from benchmarks.gas_cases import CASES, Case
from benchmarks.gas_doors import DOOR_CASES

ALL = [*CASES, *DOOR_CASES]


@pytest.mark.parametrize("case", ALL, ids=[case.name for case in ALL])
def test_a_case_runs(case: Case) -> None:
    status, gas, _ = Bench(case).call(1)
    assert status == "success"
    assert gas > 0


def test_cases_have_names_of_their_own() -> None:
    assert len({case.name for case in ALL}) == len(ALL)
