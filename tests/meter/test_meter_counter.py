"""The counter: exact energy whatever the order of splits, gaps, restarts and clock jumps."""

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.counter import Counter, CounterSettings, CounterState
from meter.numbers import NJ_PER_WH
from meter.quality import INTERPOLATED, QUESTIONABLE, VALID
from meter.reading import (
    RESET,
    ROLLOVER,
    Interval,
    PeriodRecord,
    Power,
    Register,
    RegisterChange,
    Unavailable,
)

HOUR = 3_600_000
WATT = 1_000_000  # uW
WH = NJ_PER_WH


class Rig:
    """A counter with everything it says, and the outbox's memory of recorded periods."""

    def __init__(self, period_ms: int = HOUR, gap_ms: int = 60_000, range_wh: int = 0) -> None:
        self.settings = CounterSettings(period_ms, gap_ms, 100_000 * WATT, range_wh * WH)
        self.records: list[PeriodRecord] = []
        self.notes: list[str] = []
        self.events: list[str] = []
        self.counter = self.build(None)

    def build(self, state: CounterState | None) -> Counter:
        return Counter(
            self.settings,
            lambda period: any(one.period == period for one in self.records),
            lambda kind, detail: self.notes.append(kind),
            lambda kind, detail: self.events.append(kind),
            state,
        )

    def save(self) -> None:
        self.records += self.counter.drain()

    def restart(self) -> None:
        """What a crash right after a checkpoint leaves."""
        self.save()
        text = json.dumps(self.counter.state.to_json())
        self.counter = self.build(CounterState.from_json(json.loads(text)))

    def total_nj(self) -> int:
        state = self.counter.state
        recorded = sum(one.import_wh - one.export_wh for one in self.records) * WH
        carried = state.carry_import_nj - state.carry_export_nj
        return recorded + carried + state.import_nj - state.export_nj


def test_a_constant_kilowatt_is_a_kilowatt_hour() -> None:
    rig = Rig()
    for minute in range(61):
        rig.counter.take(Power(minute * 60_000, 1_000 * WATT))
    rig.save()
    assert rig.records == [PeriodRecord(0, 1_000, 0, VALID)]


def test_the_remainder_is_carried_and_not_rounded() -> None:
    rig = Rig()
    for hour in range(4):  # 0.4 W: 0.4, 0.8, 1.2 Wh
        rig.counter.take(Power(hour * HOUR, 400_000))
        rig.counter.state.hold.end_ms = (hour + 1) * HOUR  # type: ignore[union-attr]
    rig.save()
    assert [one.import_wh for one in rig.records] == [0, 0, 1]


def test_export_is_kept_apart_from_import() -> None:
    rig = Rig(gap_ms=HOUR)
    rig.counter.take(Power(0, 500 * WATT))
    rig.counter.take(Power(HOUR // 2, -500 * WATT))
    rig.counter.take(Power(HOUR, 0))
    rig.save()
    assert rig.records == [PeriodRecord(0, 250, 250, VALID)]


def test_a_gap_stays_a_gap_and_its_periods_are_marked_or_absent() -> None:
    rig = Rig()
    rig.counter.take(Power(0, 1_000 * WATT))
    rig.counter.take(Power(2 * HOUR + HOUR // 2, 1_000 * WATT))
    rig.counter.finish()
    rig.save()
    minute = 1_000 // 60
    assert rig.records == [
        PeriodRecord(0, minute, 0, QUESTIONABLE),
        PeriodRecord(2, 2_000 // 60 - minute, 0, QUESTIONABLE),
    ]


def test_not_measured_ends_the_hold_at_once() -> None:
    rig = Rig(gap_ms=HOUR)
    rig.counter.take(Power(0, 1_000 * WATT))
    rig.counter.take(Unavailable(HOUR // 2))
    rig.counter.take(Power(HOUR, 1_000 * WATT))
    rig.save()
    assert rig.records == [PeriodRecord(0, 500, 0, QUESTIONABLE)]


def test_a_measured_zero_is_recorded() -> None:
    rig = Rig(gap_ms=HOUR)
    rig.counter.take(Power(0, 0))
    rig.counter.take(Power(HOUR, 0))
    rig.save()
    assert rig.records == [PeriodRecord(0, 0, 0, VALID)]


def test_time_closes_a_period_without_another_reading() -> None:
    rig = Rig(gap_ms=HOUR)
    rig.counter.take(Power(HOUR // 2, 1_000 * WATT))
    rig.counter.advance(HOUR - 1)
    assert rig.counter.drain() == []
    rig.counter.advance(HOUR)
    rig.save()
    assert rig.records == [PeriodRecord(0, 500, 0, QUESTIONABLE)]


def test_a_dead_line_is_a_silence_and_no_energy() -> None:
    rig = Rig()
    rig.counter.take(Power(0, 1_000 * WATT))
    for minute in range(1, 300):
        rig.counter.advance(minute * 60_000)
    rig.save()
    assert rig.notes == ["silence"]
    assert rig.records == [PeriodRecord(0, 1_000 // 60, 0, QUESTIONABLE)]


def test_a_reading_of_the_past_is_ignored() -> None:
    rig = Rig()
    rig.counter.take(Power(60_000, 1_000 * WATT))
    rig.counter.take(Power(30_000, 90_000 * WATT))
    rig.counter.take(Power(90_000, 1_000 * WATT))
    assert rig.notes == ["out_of_order"]
    assert rig.total_nj() == 30_000 * 1_000 * WATT


# The clock.


def test_a_clock_that_jumps_ahead_leaves_a_gap() -> None:
    rig = Rig()
    rig.counter.take(Power(0, 1_000 * WATT))
    rig.counter.advance(30_000)
    rig.counter.jump(5 * HOUR)
    rig.counter.take(Power(5 * HOUR, 1_000 * WATT))
    rig.counter.advance(5 * HOUR + 30_000)
    rig.save()
    assert rig.total_nj() == 60_000 * 1_000 * WATT
    assert rig.records == [PeriodRecord(0, 8, 0, QUESTIONABLE)]


def test_a_clock_set_back_never_reopens_a_period() -> None:
    rig = Rig()
    for minute in range(61):
        rig.counter.take(Power(minute * 60_000, 600 * WATT))
    rig.save()
    assert rig.records == [PeriodRecord(0, 600, 0, VALID)]
    rig.counter.jump(30 * 60_000)
    for minute in range(30, 121):
        rig.counter.take(Power(minute * 60_000, 600 * WATT))
    rig.save()
    assert "period_closed" in rig.notes
    assert [one.period for one in rig.records] == [0, 1]
    assert rig.records[1] == PeriodRecord(1, 600, 0, VALID)


def test_a_clock_set_back_inside_a_period_marks_it() -> None:
    rig = Rig()
    rig.counter.take(Power(0, 600 * WATT))
    rig.counter.take(Power(60_000, 600 * WATT))
    rig.counter.jump(30_000)
    for minute in range(1, 61):
        rig.counter.take(Power(minute * 60_000, 600 * WATT))
    rig.save()
    assert rig.records[0].quality == QUESTIONABLE


def test_a_clock_corrected_from_the_future_records_the_present() -> None:
    rig = Rig(gap_ms=HOUR)
    rig.counter.take(Power(1_000 * HOUR, 1_000 * WATT))
    rig.counter.take(Power(1_001 * HOUR, 1_000 * WATT))
    rig.counter.jump(10 * HOUR)
    rig.counter.take(Power(10 * HOUR, 1_000 * WATT))
    rig.counter.take(Power(11 * HOUR, 1_000 * WATT))
    rig.save()
    assert [one.period for one in rig.records] == [1_000, 10]


# Registers.


def test_registers_count_the_difference() -> None:
    rig = Rig(gap_ms=HOUR)
    for hour, shown in enumerate((5_000, 5_400, 5_900)):
        rig.counter.take(Register(hour * HOUR, shown * WH))
    rig.save()
    assert rig.records == [PeriodRecord(0, 400, 0, VALID), PeriodRecord(1, 500, 0, VALID)]


def test_a_register_that_was_away_is_interpolated_and_says_so() -> None:
    rig = Rig()
    rig.counter.take(Register(0, 0))
    rig.counter.take(Register(2 * HOUR, 1_000 * WH))
    rig.save()
    assert rig.records == [
        PeriodRecord(0, 500, 0, INTERPOLATED),
        PeriodRecord(1, 500, 0, INTERPOLATED),
    ]


def test_time_alone_closes_no_period_of_a_register() -> None:
    rig = Rig(gap_ms=HOUR)
    rig.counter.take(Register(0, 0))
    rig.counter.advance(3 * HOUR)
    rig.counter.take(Register(3 * HOUR, 300 * WH))
    rig.save()
    assert sum(one.import_wh for one in rig.records) == 300


def test_a_roll_over_near_the_end_of_the_range_is_energy() -> None:
    rig = Rig(gap_ms=HOUR, range_wh=10_000_000)
    rig.counter.take(Register(0, 9_999_990 * WH))
    rig.counter.take(Register(HOUR, 40 * WH))
    rig.save()
    assert rig.records == [PeriodRecord(0, 50, 0, VALID)]
    assert rig.counter.drain_changes() == [RegisterChange(ROLLOVER, 1, 9_999_990, 40)]
    assert rig.counter.drain_changes() == []


def test_a_fall_far_from_the_end_of_the_range_is_a_reset_and_no_energy() -> None:
    rig = Rig(gap_ms=HOUR, range_wh=10_000_000)
    minute = 60_000
    rig.counter.take(Register(0, 5_000_000 * WH))
    rig.counter.take(Register(30 * minute, 0))
    assert rig.notes == ["register_step_back"]
    rig.counter.take(Register(45 * minute, 10 * WH))
    rig.counter.take(Register(60 * minute, 20 * WH))
    rig.save()
    assert rig.events == ["register_reset"]
    assert rig.records == [PeriodRecord(0, 20, 0, QUESTIONABLE)]
    assert rig.counter.drain_changes() == [RegisterChange(RESET, 0, 5_000_000, 0)]


def test_one_false_zero_books_nothing() -> None:
    rig = Rig(gap_ms=HOUR)
    minute = 60_000
    rig.counter.take(Register(0, 5_000_000 * WH))
    rig.counter.take(Register(20 * minute, 0))
    rig.counter.take(Register(40 * minute, 5_000_300 * WH))
    rig.counter.take(Register(60 * minute, 5_000_500 * WH))
    rig.save()
    assert rig.events == []
    assert rig.records == [PeriodRecord(0, 500, 0, VALID)]
    assert rig.counter.drain_changes() == []


def test_a_leap_of_a_register_is_believed_only_twice_and_never_energy() -> None:
    rig = Rig(gap_ms=HOUR)
    minute = 60_000
    rig.counter.take(Register(0, 1_000 * WH))
    rig.counter.take(Register(20 * minute, 900_000_000 * WH))
    rig.counter.take(Register(40 * minute, 900_000_050 * WH))
    rig.counter.take(Register(60 * minute, 900_000_100 * WH))
    rig.save()
    assert rig.events == ["register_reset"]
    assert rig.records == [PeriodRecord(0, 100, 0, QUESTIONABLE)]


def test_an_unavailable_register_goes_on_counting() -> None:
    rig = Rig(gap_ms=HOUR)
    rig.counter.take(Register(0, 0))
    rig.counter.take(Unavailable(HOUR // 2))
    rig.counter.take(Register(HOUR, 700 * WH))
    rig.save()
    assert rig.records == [PeriodRecord(0, 700, 0, VALID)]


def test_a_register_away_for_months_is_an_event() -> None:
    rig = Rig()
    rig.counter.take(Register(0, 0))
    rig.counter.advance(40 * 24 * HOUR)
    rig.counter.take(Register(40 * 24 * HOUR, 1_000 * WH))
    rig.save()
    assert rig.events == ["register_gap"]
    assert rig.records == []


# Intervals.


def test_intervals_fill_their_periods() -> None:
    rig = Rig()
    for half in range(4):
        rig.counter.take(Interval(half * HOUR // 2, HOUR // 2, 123 * WH, 7 * WH))
    rig.save()
    assert rig.records == [PeriodRecord(0, 246, 14, VALID), PeriodRecord(1, 246, 14, VALID)]


def test_an_interval_over_a_boundary_is_interpolated() -> None:
    rig = Rig(period_ms=HOUR // 2)
    rig.counter.take(Interval(0, HOUR, 101 * WH))
    rig.save()
    assert rig.records == [
        PeriodRecord(0, 50, 0, INTERPOLATED),
        PeriodRecord(1, 51, 0, INTERPOLATED),
    ]


def test_a_repeated_interval_counts_once() -> None:
    rig = Rig()
    rig.counter.take(Interval(0, HOUR, 100 * WH))
    rig.counter.take(Interval(0, HOUR, 100 * WH))
    rig.counter.take(Interval(HOUR // 2, HOUR, 100 * WH))
    rig.save()
    assert rig.records == [PeriodRecord(0, 100, 0, VALID)]
    assert rig.notes == ["out_of_order", "out_of_order"]


def test_an_implausible_interval_is_a_gap() -> None:
    rig = Rig()
    rig.counter.take(Interval(0, HOUR // 2, 100 * WH))
    rig.counter.take(Interval(HOUR // 2, HOUR // 2, 900_000_000 * WH))
    rig.counter.take(Interval(HOUR, HOUR // 2, 100 * WH))
    rig.save()
    assert rig.notes == ["out_of_range"]
    assert rig.records == [PeriodRecord(0, 100, 0, QUESTIONABLE)]


# Any sequence.

steps = st.lists(
    st.one_of(
        st.tuples(st.just("power"), st.integers(1, 400_000), st.integers(-(10**11), 10**11)),
        st.tuples(st.just("none"), st.integers(1, 400_000), st.just(0)),
        st.tuples(st.just("time"), st.integers(1, 4_000_000), st.just(0)),
        st.tuples(st.just("restart"), st.just(0), st.just(0)),
    ),
    max_size=60,
)


@given(steps, st.sampled_from([60_000, 900_000, HOUR]), st.integers(1, 500_000))
def test_recorded_and_carried_is_the_exact_integral(
    sequence: list[tuple[str, int, int]], period_ms: int, gap_ms: int
) -> None:
    rig = Rig(period_ms, gap_ms)
    now_ms, expected_nj = 10**12, 0
    held: tuple[int, int] | None = None  # power, until
    for kind, step_ms, power_uw in sequence:
        if kind == "restart":
            rig.restart()
            continue
        before_ms, now_ms = now_ms, now_ms + step_ms
        if held is not None:
            expected_nj += held[0] * max(0, min(now_ms, held[1]) - before_ms)
        if kind == "power":
            rig.counter.take(Power(now_ms, power_uw))
            held = (power_uw, now_ms + gap_ms)
        elif kind == "none":
            rig.counter.take(Unavailable(now_ms))
            held = None
        else:
            rig.counter.advance(now_ms)
    rig.save()
    assert rig.total_nj() == expected_nj
    periods = [one.period for one in rig.records]
    assert periods == sorted(set(periods))


@given(
    st.lists(st.tuples(st.integers(1, 9 * HOUR), st.integers(0, 10_000)), max_size=40), st.data()
)
def test_registers_lose_nothing_to_splits_and_restarts(
    deltas: list[tuple[int, int]], data: st.DataObject
) -> None:
    rig = Rig(gap_ms=30 * 60_000)
    now_ms, shown_nj = 0, 0
    rig.counter.take(Register(0, 0))
    for step_ms, milliwatt_hours in deltas:
        now_ms += step_ms
        shown_nj += milliwatt_hours * WH // 1_000
        rig.counter.take(Register(now_ms, shown_nj))
        if data.draw(st.booleans()):
            rig.restart()
    rig.save()
    assert rig.events == []
    assert rig.total_nj() == shown_nj


@given(st.integers(1, 10**7), st.integers(1, 10**13), st.integers(0, 10**8))
def test_a_span_is_split_by_time(length_ms: int, energy_nj: int, start_ms: int) -> None:
    rig = Rig(period_ms=60_000)
    rig.settings = CounterSettings(60_000, 60_000, 10**15)
    rig.counter = rig.build(None)
    rig.counter.take(Interval(start_ms, length_ms, energy_nj))
    rig.counter.finish()
    rig.save()
    end_ms, done = start_ms + length_ms, Fraction(0)
    recorded = 0
    for one in rig.records:
        overlap = min(end_ms, (one.period + 1) * 60_000) - max(start_ms, one.period * 60_000)
        done += Fraction(energy_nj * overlap, length_ms * WH)
        recorded += one.import_wh
        assert abs(recorded - done) <= 1
    assert rig.total_nj() == energy_nj


def test_where_nothing_was_measured_nothing_is_recorded() -> None:
    rig = Rig()
    rig.counter.finish()
    rig.counter.advance(HOUR)
    rig.counter.jump(HOUR)
    rig.save()
    assert rig.records == []
    with pytest.raises(TypeError):
        CounterState.from_json({**CounterState().to_json(), "unknown": 1})
