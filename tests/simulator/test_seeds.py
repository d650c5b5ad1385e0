"""Random schedules: two hundred seeds on each `make test`, thousands in `make test-deep`.

A failure names the seed, the command that replays it and the end of its story.
"""

import pytest

from tests.simulator.schedule import PAUSE_MS_MAX, check_seed, command, make_world, run
from tests.simulator.stand_ins import cheap_signatures

CHUNK = 10  # seeds a test, so that many processors can share them
QUICK = {"mixed": 80, "spite": 40, "blackouts": 40, "stops": 20, "byzantine": 20}
DEEP = 2_000


@pytest.mark.parametrize(
    ("kind", "first"),
    [(kind, first) for kind, count in QUICK.items() for first in range(0, count, CHUNK)],
)
def test_one_hash_per_height_and_progress_after_healing(kind: str, first: int) -> None:
    for seed in range(first, first + CHUNK):
        check_seed(seed, kind)


@pytest.mark.deep
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("kind", PAUSE_MS_MAX)
def test_thousands_of_seeds(kind: str) -> None:
    for seed in range(1_000, 1_000 + DEEP):
        check_seed(seed, kind)


@pytest.mark.parametrize("kind", ["mixed", "byzantine"])
def test_the_stand_in_signatures_stand_for_real_ones(kind: str) -> None:
    with cheap_signatures():
        cheap = make_world(5, 4, kind)
        run(cheap, kind)
    real = make_world(5, 4, kind)
    run(real, kind)
    assert real.story == cheap.story


def test_a_seed_is_a_run() -> None:
    assert check_seed(11, "mixed").story == check_seed(11, "mixed").story
    assert check_seed(11, "mixed").story != check_seed(12, "mixed").story


def test_a_failing_seed_says_how_to_replay_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.simulator.schedule.LIVE_TIMEOUTS", 0)
    monkeypatch.setattr("tests.simulator.schedule.HEAL_MS_MIN", 0)
    with pytest.raises(AssertionError) as failure:
        check_seed(3, "mixed", 4)
    notes = failure.value.__notes__
    assert notes[0] == f"replay: {command(3, 'mixed', 4)}"
    assert command(3, "mixed", 4) == (
        "python -m tests.simulator.schedule --seed 3 --kind mixed --n 4"
    )
    assert "the world heals" in notes[1]
