"""What is said of measured block times, on times whose law is known."""

import json
from random import Random
from typing import Any

import pytest

from benchmarks import blocktime_page
from benchmarks.blocktime import describe_intervals
from benchmarks.blocktime_simulated import simulate_miners

MACHINE = {"cores": 2, "cpu": "a CPU", "system": "Linux", "python": "3.11", "date": "2026-11-21"}


def test_exponential_times_are_told_from_others() -> None:
    random = Random(1)
    lawful = describe_intervals([random.expovariate(0.5) for _ in range(400)])
    steady = describe_intervals([random.uniform(1.5, 2.5) for _ in range(400)])
    assert lawful["distance"] < lawful["distance_max"]
    assert steady["distance"] > 2 * steady["distance_max"]
    assert lawful["mean_s"] == pytest.approx(2, rel=0.2)
    assert lawful["deviation_to_mean"] == pytest.approx(1, rel=0.2)


def test_simulated_miners_keep_the_pace_of_their_difficulty(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("benchmarks.blocktime_simulated.BLOCKS", 80)
    told = simulate_miners(4)
    assert told["mean_s"] == pytest.approx(told["expected_s"], rel=0.35)
    assert told["stale_percent"] < 5


def test_tables_hold_every_run() -> None:
    mined: dict[str, Any] = {
        "peers": 2, "blocks": 50, "expected_s": 1.5, "mean_s": 1.6, "error_s": 0.2,
        "deviation_to_mean": 1.0, "distance": 0.1, "distance_max": 0.15, "stale_percent": 1.0,
        "node_cpu_percent": 1.0, "miner_cpu_percent": 3.0, "intervals_s": [1.0, 2.0],
    }  # fmt: skip
    voted = {
        "peers": 4, "send_to_final_ms": 20.0, "rest_cpu_percent": 0.1, "hourly_cpu_percent": 0.1,
        "load_cpu_percent": 12.0, "sent_per_s": 100.0,
    }  # fmt: skip
    result = {
        "hashes_per_s": 20_000,
        "difficulty": 60_000,
        "mined": [mined],
        "voted": [voted],
        "mined_simulated": [{"peers": 2, "expected_s": 9.0, "mean_s": 9.1, "stale_percent": 0.1}],
        "voted_simulated": [{"peers": 2, "send_to_final_ms": 60}],
    }
    text = blocktime_page.make_tables(json.loads(json.dumps(result)), MACHINE)
    assert "| 2 | 50 | 1.5 s | 1.6 ± 0.2 s | 9.6 s | 9 s |" in text
    assert "| 4 | 20.0 ms |" in text
    assert "Taken on 2 cores of a CPU" in text
