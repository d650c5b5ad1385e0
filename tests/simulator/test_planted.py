"""The checkers can fail: each bug of QBFT.md's last section, planted, is found within few seeds."""

import pytest

from tests.simulator.checkers import Violation
from tests.simulator.planted import PLANTS, lose_prepared_certificate
from tests.simulator.schedule import play

SEEDS_MAX = 40
S1_SEEDS_MAX = 60


@pytest.mark.parametrize("plant", PLANTS.values(), ids=PLANTS.keys())
def test_a_planted_bug_is_found(plant) -> None:  # type: ignore[no-untyped-def]
    for seed in range(SEEDS_MAX):
        try:
            play(seed, "stops", plant=plant)
        except AssertionError:  # a violation, or the engine's own assertion
            return
    pytest.fail(f"not found in {SEEDS_MAX} seeds")


def test_without_the_prepared_certificate_two_blocks_are_certified() -> None:
    """Judged by what it leads to, with the rules about signatures left aside."""
    for seed in range(S1_SEEDS_MAX):
        try:
            play(seed, "blackouts", plant=lose_prepared_certificate, s1_only=True)
        except Violation as violation:
            assert violation.rule == "S1"
            return
    pytest.fail(f"not found in {S1_SEEDS_MAX} seeds")
