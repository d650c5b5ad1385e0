"""Random schedules: two hundred seeds on each `make test`, thousands in `make test-deep`.

A failure names the seed, the command that replays it and the end of its story.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ledger.consensus.signer import SignerRecord
from tests.simulator import trouble
from tests.simulator.checkers import Violation
from tests.simulator.schedule import (
    PAUSE_MS_MAX,
    check_seed,
    command,
    find_round,
    make_world,
    run,
)
from tests.simulator.shrink import shrink
from tests.simulator.stand_ins import cheap_signatures

CHUNK = 10  # seeds a test, so that many processors can share them
QUICK = {"mixed": 50, "spite": 30, "blackouts": 20, "stops": 20, "byzantine": 20}
DEEP = 1_600
WHOLE = 60
WHOLE_DEEP = 2_000
"""Seeds of engines alone, and of whole nodes: 200 in all, and 10,000 in the deep run."""


@pytest.mark.parametrize(
    ("kind", "first"),
    [(kind, first) for kind, count in QUICK.items() for first in range(0, count, CHUNK)],
)
def test_one_hash_per_height_and_progress_after_healing(kind: str, first: int) -> None:
    for seed in range(first, first + CHUNK):
        assert check_seed(seed, kind).bottom() > 0


@pytest.mark.deep
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("kind", PAUSE_MS_MAX)
def test_thousands_of_seeds(kind: str) -> None:
    for seed in range(1_000, 1_000 + DEEP):
        assert check_seed(seed, kind).bottom() > 0


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


def test_a_failing_seed_says_how_to_replay_it_and_what_it_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tests.simulator.schedule.LIVE_TIMEOUTS", 0)
    monkeypatch.setattr("tests.simulator.schedule.HEAL_MS_MIN", 0)
    with pytest.raises(AssertionError) as failure:
        check_seed(3, "mixed", 4)
    replay, shrunk, story = failure.value.__notes__
    assert replay == "replay: python -m tests.simulator.schedule --seed 3 --kind mixed --n 4"
    assert shrunk == f"shrunk: {command(3, 'mixed', 4, [])}", "it fails without any disturbance"
    assert "the world heals" in story


def test_the_bound_of_healing_counts_the_round_in_which_a_start_goes_on() -> None:
    with cheap_signatures():
        world = make_world(1, 4)
        node = world.nodes[0]
        assert find_round(node) == 0
        node.disk.record = SignerRecord((1, 5)).encode()
        assert find_round(node) == 5
        node.start()
        assert node.engine is not None and node.engine.status().round == 0, "it listens first"
        assert find_round(node) == 5
        node.disk.record = None
        assert find_round(node) == 0


def test_shrinking_finds_what_is_needed() -> None:
    runs = []

    def fails(keep: list[int]) -> bool:
        runs.append(keep)
        return {3, 17} <= set(keep)

    assert shrink(40, fails, 200) == [3, 17]
    assert len(runs) < 60
    assert len(shrink(40, fails, 5)) < 40, "as far as so few runs get"
    assert shrink(0, fails, 10) == []


def written_after_healing(story: list[str]) -> list[str]:
    """What is told of blocks since all links work for good."""
    healed = max(at for at, line in enumerate(story) if line.endswith("all links work"))
    return [line for line in story[healed:] if " writes " in line]


@pytest.mark.parametrize("first", range(0, WHOLE, CHUNK))
def test_whole_nodes_keep_every_invariant_and_heal(first: int) -> None:
    for seed in range(first, first + CHUNK):
        assert written_after_healing(trouble.check_seed(seed))


@pytest.mark.deep
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("first", range(1_000, 1_000 + WHOLE_DEEP, WHOLE_DEEP // 4))
def test_thousands_of_seeds_of_whole_nodes(first: int) -> None:
    for seed in range(first, first + WHOLE_DEEP // 4):
        assert written_after_healing(trouble.check_seed(seed))


def test_a_seed_is_a_run_of_whole_nodes_in_any_process() -> None:
    """Nothing of it depends on the order of a set or on this machine."""
    here = trouble.play(21)
    run = [sys.executable, "-m", "tests.simulator.trouble", "--seed", "21"]
    other = subprocess.run(
        run,
        env={**os.environ, "PYTHONHASHSEED": "12345"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout.splitlines() == here


def test_a_failing_seed_of_whole_nodes_says_how_to_replay_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tests.simulator.trouble.LIVE_TIMEOUTS", 0)
    monkeypatch.setattr("tests.simulator.trouble.REPAIR_S", 0.0)
    with pytest.raises(Violation) as failure:
        trouble.check_seed(4)
    notes = failure.value.__notes__
    assert f"replay: {trouble.command(4)}" in notes
    assert f"shrunk: {trouble.command(4, [])}" in notes
    assert "all links work" in notes[-1]
