"""What is said of a pace and of memory, on numbers that are known."""

import asyncio
import time
from pathlib import Path

import orjson
import pytest

from benchmarks.sustained import (
    BATCH,
    BEHIND_MAX,
    GROWTH_MAX_MB,
    NODES,
    Pace,
    Sample,
    await_turn,
    describe_memory,
    fit_slope,
    judge,
    main,
    row_of,
    run,
    sign_all,
)
from benchmarks.table import make_table
from benchmarks.workload import make_keys
from ledger.transaction import decode_transaction

METERS = 400
KEYS = make_keys(METERS, "meter")
MACHINE = {"cores": 2, "cpu": "a CPU", "system": "Linux", "python": "3.11", "date": "2026-11-21"}


def make_samples(kb_per_minute: float) -> list[Sample]:
    """Ten minutes; the second node grows, all of them while they are warming up."""
    return [
        {
            "at_s": at_s,
            "per_second": 1_000,
            "waiting": 7,
            "cores_nodes": 1.5,
            "cores_client": 0.25,
            "memory_mb": [
                70 + min(at_s, 120) / 10 + (kb_per_minute * at_s / 60_000 if node == 1 else 0)
                for node in range(NODES)
            ],
        }
        for at_s in range(60, 601, 60)
    ]


def test_the_slope_is_that_of_the_steepest_node_after_it_is_warm() -> None:
    assert describe_memory(make_samples(0))["memory_kb_per_minute"] == 0
    told = describe_memory(make_samples(250))
    assert told["memory_kb_per_minute"] == 250
    assert told["memory_warm_mb"][0] == told["memory_mb"][0] == 82
    assert describe_memory(make_samples(250)[:3])["memory_kb_per_minute"] is None
    assert fit_slope([0, 1, 2, 3], [1, 3, 5, 7]) == 2


def test_each_whole_minute_is_held_to_the_line_and_memory_to_its_bound() -> None:
    assert judge(make_samples(0), 600, 0, 0) == []
    slow = make_samples(0)
    slow[3]["per_second"] = 999
    assert judge(slow, 600, 0, 0) == ["only 999 in the minute up to 240 s"]
    after = [*make_samples(0), {**make_samples(0)[-1], "at_s": 660, "per_second": 20}]
    assert judge(after, 600, 0, 0) == []  # only what was left waiting came in it
    eight_minutes_kb = GROWTH_MAX_MB * 1_000 / 8
    assert judge(make_samples(0.99 * eight_minutes_kb), 600, 0, 0) == []
    assert judge(make_samples(1.01 * eight_minutes_kb), 600, 0, 0) == [
        "a node grew by 10.1 MB after 120 s"
    ]
    assert judge(make_samples(0), 600, 1, 2) == [
        "1 transactions were refused, 2 of those looked at failed"
    ]
    short = ["less than a whole minute was measured"]
    assert judge([], 60, 0, 0) == judge(make_samples(0), 30, 0, 0) == short


def test_meters_come_in_whole_batches_for_each_node() -> None:
    with pytest.raises(ValueError, match="500 meters: it must be a multiple of 400"):
        run(60, "setDebt", 500)
    assert main(["60", "debts"]) == 2


def test_batches_hold_each_meter_in_the_order_of_its_nonces(tmp_path: Path) -> None:
    count = METERS + 3 * BATCH
    for kind in ("record", "setDebt"):
        hashes = sign_all(tmp_path / kind, b"\7" * 20, count, kind, KEYS)
        lines = (tmp_path / kind).read_bytes().splitlines()
        assert len(lines) == len(hashes) == count // BATCH
        sent = [
            decode_transaction(bytes.fromhex(one["params"][0][2:]))
            for line in lines
            for one in orjson.loads(line)
        ]
        assert len(sent) == count
        assert {one.nonce for one in sent[:METERS]} == {0}
        assert {one.nonce for one in sent[METERS:]} == {1}
        assert hashes == ["0x" + one.hash.hex() for one in sent[::BATCH]]


def test_the_client_waits_for_its_time_and_for_nodes_that_are_behind() -> None:
    pace = Pace(10 * BEHIND_MAX, sent=2 * BEHIND_MAX, began=time.monotonic())

    async def play() -> None:
        turn = asyncio.create_task(await_turn(pace, 0.05))
        await asyncio.sleep(0.15)
        assert not turn.done()
        pace.included = BEHIND_MAX
        await asyncio.wait_for(turn, 60)

    asyncio.run(play())
    assert time.monotonic() - pace.began >= 0.15


def test_it_stands_in_the_table() -> None:
    result = {"kind": "setDebt", "seconds": 601.2, "per_second": 999, "memory_mb": [80.5, 81.2],
              "memory_kb_per_minute": 12}  # fmt: skip
    text = make_table({"sustained": {"machine": MACHINE, "result": result}})
    assert "`setDebt` through four validators for 10 minutes" in text
    assert "999 a second; a node takes 81.2 MB at the end, 12 kB more each minute" in text
    row = row_of(make_samples(0)[0])
    assert row.startswith("| 60 | 1,000 | 7 | 1.50 + 0.25 | 76.0, 76.0")


@pytest.mark.parametrize("kind", ["setDebt", "record"])
def test_every_kind_is_made_of_calls(kind: str, tmp_path: Path) -> None:
    sign_all(tmp_path / "signed", b"\7" * 20, BATCH, kind, KEYS)
    (line,) = (tmp_path / "signed").read_bytes().splitlines()
    transaction = decode_transaction(bytes.fromhex(orjson.loads(line)[0]["params"][0][2:]))
    assert transaction.to == b"\7" * 20
    assert len(transaction.data) in (4 + 3 * 32, 4 + 4 * 32)
