"""A chain of real nodes through random kill -9, SIGSTOP and cuts under load.

CHAOS_S is how long (an hour in the deep run), CHAOS_SEED replays the choices, CHAOS_NODES how many.
"""

import os
import secrets
from pathlib import Path

import pytest

from tests.e2e.chaos import Chaos
from tests.e2e.invariants import check_town
from tests.e2e.networks import until
from tests.e2e.town import HEAL_S, Load, run_town

HOUR_S = 3_600
SHORT_S = 8
DEEP_S = float(os.environ.get("CHAOS_S", HOUR_S))


def play(folder: Path, nodes: int, seconds: float, *, wired: bool) -> int:
    """Chaos for so long, then every invariant; how many votes were held against each other."""
    seed = int(os.environ.get("CHAOS_SEED", secrets.randbelow(2**32)))
    print(f"CHAOS_SEED={seed}", flush=True)
    with run_town(folder / "town", nodes, wired=wired) as town:
        load = Load(town)
        load.start()
        chaos = Chaos(town, load, seed)
        try:
            chaos.play(seconds)
            until(lambda: load.receipts, HEAL_S, "a receipt")
        finally:
            load.stop()
            print(f"{seconds:.0f} s of chaos: {dict(chaos.counts)}", flush=True)
        chaos.check_ends()
        said = chaos.describe()
        print(f"{said}. Now all of it is looked at.", flush=True)
        votes = check_town(town, load)
        print(
            f"After {seconds:.0f} s: {said}. Each of {nodes} nodes has one hash per height, none "
            f"of {len(load.receipts)} receipts is lost, {votes} votes contradict nothing, every "
            "block executes again; no node was restarted by hand.",
            flush=True,
        )
        return votes


@pytest.mark.timeout(300)
def test_a_few_seconds_of_kills_and_freezes(tmp_path: Path) -> None:
    """On loopback, where no rights are needed: no cuts."""
    assert play(tmp_path, 4, SHORT_S, wired=False) > 0


@pytest.mark.deep
@pytest.mark.timeout(0)
def test_an_hour_of_kills_freezes_and_cuts(tmp_path: Path) -> None:
    assert play(tmp_path, int(os.environ.get("CHAOS_NODES", "4")), DEEP_S, wired=True) > 0
