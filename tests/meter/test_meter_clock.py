"""Clocks that jump, run slow, are set by the network, or are simulated."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.clock import CLOCK_EARLIEST_MS, JUMP_MS, LineClock, MeterClock, SimulatedClock, Stamp
from meter.errors import ConfigError
from meter.quality import QUESTIONABLE, VALID
from tests.meter.rigs import PipelineRig, write_config

START = 1_800_000_000_000
HOUR = 3_600_000
LINE = b"1000.0"
METER = {"source": "serial", "port": "loop://", "fields": ["p"], "power_column": "p"}


def test_a_true_clock_is_followed() -> None:
    clock = MeterClock()
    times = [clock.read(Stamp(START + step, 77 + step)) for step in range(0, 60_000, 500)]
    assert times == [START + step for step in range(0, 60_000, 500)]


def test_a_small_step_is_worked_off_without_a_jump() -> None:
    clock = MeterClock()
    clock.read(Stamp(START, 0))
    last = START
    for second in range(1, 3_600):
        now = clock.read(Stamp(START - 5_000 + second * 1_000, second * 1_000))
        assert not clock.jumped
        assert 990 <= now - last <= 1_000
        last = now
    assert last == START - 5_000 + 3_599_000  # five seconds at 0.5 % take 1,000 s


def test_a_small_step_is_worked_off_also_by_quick_readings() -> None:
    clock = MeterClock()
    clock.read(Stamp(START, 0))
    for tick in range(1, 20_001):
        now = clock.read(Stamp(START + 5_000 + tick * 100, tick * 100))
    assert now == START + 5_000 + 2_000_000


@given(st.lists(st.tuples(st.integers(0, 5_000), st.integers(-JUMP_MS, JUMP_MS)), max_size=50))
def test_time_never_decreases_without_a_jump(steps: list[tuple[int, int]]) -> None:
    clock = MeterClock()
    mono, last = 0, clock.read(Stamp(START, 0))
    for elapsed, wander in steps:
        mono += elapsed
        now = clock.read(Stamp(START + mono + wander, mono))
        assert clock.jumped or now >= last
        last = now


@pytest.mark.parametrize("by_ms", [3 * HOUR, -3 * HOUR])
def test_a_jump_is_told_once(by_ms: int) -> None:
    clock = MeterClock()
    clock.read(Stamp(START, 0))
    assert clock.read(Stamp(START + by_ms + 1_000, 1_000)) == START + by_ms + 1_000
    assert clock.jumped
    clock.read(Stamp(START + by_ms + 2_000, 2_000))
    assert not clock.jumped


def test_a_restart_before_the_saved_time_is_a_jump() -> None:
    clock = MeterClock(START)
    assert clock.read(Stamp(START - HOUR, 0)) == START - HOUR
    assert clock.jumped
    clock = MeterClock(START)
    assert clock.read(Stamp(START - 2_000, 0)) == START  # a small step: waits for the wall
    assert not clock.jumped


def live(tmp_path: Path) -> PipelineRig:
    return PipelineRig(tmp_path, METER)


def take(rig: PipelineRig, wall_ms: int, mono_ms: int) -> None:
    rig.pipeline.take_line(LINE, Stamp(wall_ms, mono_ms))
    rig.pipeline.checkpoint()


def test_a_wall_clock_that_jumps_ahead_is_a_gap_and_no_energy(tmp_path: Path) -> None:
    rig = live(tmp_path)
    for second in range(0, 1_805, 5):
        take(rig, START + second * 1_000, second * 1_000)
    for second in range(1_805, 3_605, 5):
        take(rig, START + 5 * HOUR + second * 1_000, second * 1_000)
    assert rig.faults == {"clock_jump": 1}
    assert [(one.import_wh, one.quality) for one in rig.records] == [
        (500, QUESTIONABLE),
        (498, QUESTIONABLE),
    ]
    assert rig.records[1].period - rig.records[0].period == 5
    rig.close()


def test_a_wall_clock_that_jumps_back_records_no_period_twice(tmp_path: Path) -> None:
    rig = live(tmp_path)
    for second in range(0, 5_400, 5):
        take(rig, START + second * 1_000, second * 1_000)
    for second in range(5_400, 12_600, 5):  # an hour back: the first hour is lived again
        take(rig, START - HOUR + second * 1_000, second * 1_000)
    periods = [one.period for one in rig.records]
    assert len(periods) == len(set(periods)) == 2
    assert rig.faults["clock_jump"] == 1 and rig.faults["period_closed"] > 0
    assert rig.records[0].import_wh == 1_000 and rig.records[0].quality == VALID
    rig.close()


def test_a_clock_not_yet_set_counts_nothing(tmp_path: Path) -> None:
    rig = live(tmp_path)
    for second in range(0, 600, 5):
        take(rig, second * 1_000, second * 1_000)  # 1970
    assert rig.faults == {"clock_unset": 120}
    for second in range(600, 7_800, 5):
        take(rig, START + (second - 600) * 1_000, second * 1_000)
    assert [one.import_wh for one in rig.records] == [1_000]
    assert START > CLOCK_EARLIEST_MS
    rig.close()


# Simulated time.


def test_a_simulated_day_goes_on_after_a_restart() -> None:
    clock = SimulatedClock(START, 3_600, 1_000)
    assert clock.read(Stamp(1_000, 50)) == START
    assert clock.read(Stamp(9_999, 1_050)) == START + HOUR  # monotonic, whatever the wall says
    later = SimulatedClock(START, 3_600, 1_000)
    assert later.read(Stamp(11_000, 7)) == START + 10 * HOUR


def test_a_tick_is_exact_and_goes_on_after_a_restart() -> None:
    clock = LineClock(START, 1_800_000)
    assert [clock.tick() for _ in range(3)] == [START, START + 1_800_000, START + HOUR]
    assert LineClock(START, 1_800_000, clock.last_ms).tick() == START + HOUR + 1_800_000


CLOCK = '[clock]\nstart = "2026-01-01T00:00:00Z"\ntick_s = 1800\n'


def test_lines_tick_whatever_the_time_between_them(tmp_path: Path) -> None:
    rig = PipelineRig(tmp_path, METER, top=CLOCK, simulated=True)
    for count in range(7):
        rig.pipeline.take_line(LINE, Stamp(5 + count * count, 5))
        rig.pipeline.take_line(b"noise", Stamp(0, 0))  # no data line: does not tick
        rig.pipeline.pass_time(Stamp(10**15, 10**15))
        rig.pipeline.checkpoint()
        if count == 3:
            rig.pipeline.checkpoint(force=True)
            rig.restart()
    rig.pipeline.take_line(b"NaN", Stamp(0, 0))
    rig.pipeline.checkpoint()
    first = 1_767_225_600 // 3_600
    assert [(one.period, one.import_wh, one.quality) for one in rig.records] == [
        (first + hour, 1_000, VALID) for hour in range(3)
    ]
    rig.close()


@pytest.mark.parametrize("simulated", [None, False])
def test_simulated_time_is_refused_on_a_real_network(
    tmp_path: Path, simulated: bool | None
) -> None:
    file = write_config(tmp_path, METER, top=CLOCK, simulated=simulated)
    if simulated is False:
        file.write_text(file.read_text())
    with pytest.raises(ConfigError, match=r"clock.*\"simulated\": true"):
        PipelineRig(tmp_path, METER, top=CLOCK, simulated=simulated)
