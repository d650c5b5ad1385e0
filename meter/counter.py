"""From readings to period records: integer energy, split at period boundaries, nothing invented.

Rules, in the order in which they apply:

1. Energy is added only for a *span* [start, end) that was measured. A power holds from its reading
   to the next one, at most for the longest gap. Registers give the span between two readings, an
   interval its own. A span is split at boundaries in proportion to time, so that the parts sum to
   the whole to the nanojoule.
2. A period whose span is covered from end to end is valid, one covered in part is questionable, one
   not covered at all is absent: no record, and no zero.
3. At its end a period is closed for ever. Whole watt-hours are recorded and the remainder, import
   and export apart, is carried into the next recorded period. Hence over any run

       sum of recorded Wh * NJ_PER_WH + carry + what is in the open period = energy of all spans.
4. A register that falls, or leaps further than the highest power allows, is believed only if the
   next reading confirms it; then the energy between is unknown and an event says so. A fall near
   the end of the range is a roll-over. Both are told on chain as well (`drain_changes`).

Not here: clocks, files, what a field of a line means. The counter is pure: the caller saves
`state` and the drained records in one durable transaction.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from meter.numbers import NJ_PER_WH
from meter.quality import INTERPOLATED, QUESTIONABLE, VALID
from meter.reading import (
    RESET,
    ROLLOVER,
    Interval,
    PeriodRecord,
    Power,
    Reading,
    Register,
    RegisterChange,
    Unavailable,
)

# Up to here a register's silence is filled by linear interpolation; a longer one is for a person.
INTERPOLATION_MS_MAX = 31 * 86_400_000
# The coarsest register shows 0.1 kWh; one step of it may fall between two quick readings.
REGISTER_STEP_NJ = 100 * NJ_PER_WH
PERIOD_MAX = 2**32 - 2  # a period index is a uint32 on chain, and so is the next


@dataclass(slots=True)
class Hold:
    """A power that holds until `end_ms` unless a reading comes first."""

    power_uw: int
    end_ms: int
    flags: int


@dataclass(slots=True)
class CounterState:
    """All that the counter remembers; integers only, saved as JSON.

    `time_ms` is how far the time line is counted. The open `period` has so much energy, so many
    milliseconds covered, these quality flags. `base` and `candidate` are register readings
    (time, import, export); the candidate is a surprising one that awaits confirmation.
    """

    time_ms: int | None = None
    period: int | None = None
    import_nj: int = 0
    export_nj: int = 0
    covered_ms: int = 0
    flags: int = 0
    carry_import_nj: int = 0
    carry_export_nj: int = 0
    period_highest: int = -1
    hold: Hold | None = None
    base: tuple[int, int, int] | None = None
    candidate: tuple[int, int, int] | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(values: dict[str, Any]) -> "CounterState":
        values = dict(values)
        if values["hold"] is not None:
            values["hold"] = Hold(**values["hold"])
        for name in ("base", "candidate"):
            if values[name] is not None:
                values[name] = tuple(values[name])
        return CounterState(**values)


@dataclass(frozen=True, slots=True)
class CounterSettings:
    """`register_range_nj` is 0 where registers never roll over."""

    period_ms: int
    longest_gap_ms: int
    power_uw_max: int
    register_range_nj: int = 0


class Counter:
    """One meter's energy. `closed` says whether a drained record has the period (asked seldom).

    `note(kind, detail)` counts a fault; `event(kind, detail)` keeps one durably.
    """

    def __init__(
        self,
        settings: CounterSettings,
        closed: Callable[[int], bool],
        note: Callable[[str, str], None],
        event: Callable[[str, str], None],
        state: CounterState | None = None,
    ) -> None:
        self.settings = settings
        self.state = state or CounterState()
        self._closed = closed
        self._note = note
        self._event = event
        self._records: list[PeriodRecord] = []
        self._changes: list[RegisterChange] = []

    def drain_changes(self) -> list[RegisterChange]:
        """What the import register did since the last call, oldest first."""
        changes, self._changes = self._changes, []
        return changes

    def drain(self) -> list[PeriodRecord]:
        """The records of periods closed since the last call, oldest first."""
        records, self._records = self._records, []
        return records

    def take(self, reading: Reading) -> None:
        """Count one reading; those of one source come in the order of their times."""
        if isinstance(reading, Power):
            self._take_power(reading)
        elif isinstance(reading, Register):
            self._take_register(reading)
        elif isinstance(reading, Interval):
            self._take_interval(reading)
        else:
            self._take_unavailable(reading)

    def advance(self, now_ms: int) -> None:
        """Time has passed without a reading: a held power goes on, periods may end."""
        state = self.state
        if state.time_ms is None or now_ms <= state.time_ms:
            return
        if state.base is not None:
            # The next register reading still has energy for the open period: wait for it.
            if now_ms - state.base[0] <= INTERPOLATION_MS_MAX:
                return
            self._event("register_gap", f"no reading since {state.base[0]} ms")
            self._note("register_gap", "")
            state.base = state.candidate = None
        if state.hold is not None:
            if self._hold_until(now_ms):
                self._note("silence", "")
            return
        # Not at once: an interval that ends with the period may still come.
        closes_ms = self._open_end_ms() + self.settings.longest_gap_ms
        if state.period is not None and now_ms >= closes_ms:
            self._close()

    def jump(self, to_ms: int) -> None:
        """The clock was set to `to_ms`: nothing between is energy; the open period is suspect."""
        state = self.state
        if state.time_ms is None:
            return
        state.hold = None
        if state.period is not None:
            state.flags |= QUESTIONABLE
            if to_ms // self.settings.period_ms != state.period:
                self._close()
        if state.base is not None:
            state.base = (to_ms, *state.base[1:])
            state.candidate = None
        state.time_ms = to_ms

    def finish(self) -> None:
        """The source has ended for good: the last power holds for the longest gap, then it ends."""
        state = self.state
        if state.hold is not None:
            end_ms = state.hold.end_ms
            self._hold_until(end_ms)
            self._move_to(end_ms)
        if state.period is not None:
            self._close()

    # Kinds of reading.

    def _take_power(self, reading: Power) -> None:
        state = self.state
        if state.time_ms is not None and reading.at_ms < state.time_ms:
            self._note("out_of_order", "")
            return
        self._hold_until(reading.at_ms)
        self._move_to(reading.at_ms)
        end_ms = reading.at_ms + self.settings.longest_gap_ms
        state.hold = Hold(reading.power_uw, end_ms, reading.flags)

    def _take_unavailable(self, reading: Unavailable) -> None:
        state = self.state
        if state.base is not None or (state.time_ms is not None and reading.at_ms < state.time_ms):
            return  # a register goes on counting while nobody reads it
        self._hold_until(reading.at_ms)
        state.hold = None
        if state.time_ms is not None:
            self._move_to(reading.at_ms)

    def _take_interval(self, reading: Interval) -> None:
        state, end_ms = self.state, reading.at_ms + reading.length_ms
        if state.time_ms is not None and reading.at_ms < state.time_ms:
            self._note("out_of_order", "")
            return
        limit_nj = self.settings.power_uw_max * reading.length_ms
        if max(abs(reading.import_nj), abs(reading.export_nj)) > limit_nj:
            self._note("out_of_range", "energy of an interval above power_max_w")
            self._move_to(reading.at_ms)
            return
        flags = reading.flags
        if reading.at_ms // self.settings.period_ms != (end_ms - 1) // self.settings.period_ms:
            flags |= INTERPOLATED
        self._add_span(reading.at_ms, end_ms, reading.import_nj, reading.export_nj, flags)

    def _take_register(self, reading: Register) -> None:
        state, now = self.state, (reading.at_ms, reading.import_nj, reading.export_nj)
        if state.base is None:
            state.base = now
            self._move_to(max(reading.at_ms, state.time_ms or 0))
            return
        if now[0] <= max(state.base[0], state.candidate[0] if state.candidate else 0):
            self._note("out_of_order", "")
            return
        steps = self._register_steps(state.base, now)
        if steps is None:
            self._take_surprise(now)
            return
        state.candidate = None
        if now[1] < state.base[1]:
            self._tell(ROLLOVER, state.base, now)
        self._add_register_span(state.base[0], now[0], *steps)
        state.base = now

    def _take_surprise(self, now: tuple[int, int, int]) -> None:
        """A register that fell or leapt: wait for the next reading, then believe two that agree."""
        state = self.state
        assert state.base is not None
        steps = None if state.candidate is None else self._register_steps(state.candidate, now)
        if steps is None or state.candidate is None:
            self._note("register_step_back", "")
            state.candidate = now
            return
        old_wh, new_wh = state.base[1] // NJ_PER_WH, state.candidate[1] // NJ_PER_WH
        self._event(
            "register_reset",
            f"import register from {old_wh} Wh at {state.base[0]} ms "
            f"to {new_wh} Wh at {state.candidate[0]} ms",
        )
        self._note("register_reset", f"{old_wh} Wh to {new_wh} Wh")
        self._tell(RESET, state.base, state.candidate)
        self._move_to(state.candidate[0])
        self._add_register_span(state.candidate[0], now[0], *steps)
        state.base, state.candidate = now, None

    def _tell(self, kind: int, before: tuple[int, int, int], after: tuple[int, int, int]) -> None:
        period = after[0] // self.settings.period_ms
        if 0 <= period <= PERIOD_MAX and before[1] >= 0:
            values = (before[1] // NJ_PER_WH, after[1] // NJ_PER_WH)
            self._changes.append(RegisterChange(kind, period, *values))

    def _register_steps(
        self, before: tuple[int, int, int], after: tuple[int, int, int]
    ) -> tuple[int, int] | None:
        """Import and export between two register readings; None where that cannot be energy."""
        limit_nj = self.settings.power_uw_max * (after[0] - before[0]) + REGISTER_STEP_NJ
        steps = []
        for old_nj, new_nj in zip(before[1:], after[1:], strict=True):
            step_nj = new_nj - old_nj
            if step_nj < 0:  # a roll-over, if so little energy lies over the end of the range
                step_nj += self.settings.register_range_nj
            if not 0 <= step_nj <= limit_nj or new_nj < 0:
                return None
            steps.append(step_nj)
        return steps[0], steps[1]

    def _add_register_span(
        self, start_ms: int, end_ms: int, import_nj: int, export_nj: int
    ) -> None:
        if end_ms - start_ms > INTERPOLATION_MS_MAX:
            self._event("register_gap", f"{import_nj // NJ_PER_WH} Wh since {start_ms} ms")
            self._note("register_gap", "")
            self._move_to(end_ms)
            return
        flags = INTERPOLATED if end_ms - start_ms > self.settings.longest_gap_ms else 0
        self._add_span(start_ms, end_ms, import_nj, export_nj, flags)

    # The time line.

    def _hold_until(self, to_ms: int) -> bool:
        """Add what the held power gave up to `to_ms` or its end; whether it ended."""
        state, hold = self.state, self.state.hold
        if hold is None or state.time_ms is None:
            return False
        start_ms, end_ms = state.time_ms, min(to_ms, hold.end_ms)
        if end_ms > start_ms:
            energy_nj = abs(hold.power_uw) * (end_ms - start_ms)
            import_nj, export_nj = (energy_nj, 0) if hold.power_uw >= 0 else (0, energy_nj)
            self._add_span(start_ms, end_ms, import_nj, export_nj, hold.flags)
        if to_ms < hold.end_ms:
            return False
        state.hold = None
        return True

    def _add_span(
        self, start_ms: int, end_ms: int, import_nj: int, export_nj: int, flags: int
    ) -> None:
        """Add measured energy over [start, end), split at period boundaries by time."""
        state, period_ms, length_ms = self.state, self.settings.period_ms, end_ms - start_ms
        position_ms = start_ms
        while position_ms < end_ms:
            period = position_ms // period_ms
            stop_ms = min(end_ms, (period + 1) * period_ms)
            if self._enter(period):
                before, after = position_ms - start_ms, stop_ms - start_ms
                state.import_nj += import_nj * after // length_ms - import_nj * before // length_ms
                state.export_nj += export_nj * after // length_ms - export_nj * before // length_ms
                state.covered_ms += stop_ms - position_ms
                state.flags |= flags
            position_ms = stop_ms
        self._move_to(end_ms)

    def _move_to(self, time_ms: int) -> None:
        self.state.time_ms = time_ms
        if self.state.period is not None and time_ms >= self._open_end_ms():
            self._close()

    def _open_end_ms(self) -> int:
        """When the open period ends; now, where none is open."""
        period = self.state.period
        return (
            (self.state.time_ms or 0) if period is None else (period + 1) * self.settings.period_ms
        )

    def _enter(self, period: int) -> bool:
        """Make `period` the open one. False if it is recorded already: nothing is added to it."""
        state = self.state
        if state.period == period:
            return True
        if state.period is not None:
            self._close()
        if period <= state.period_highest and (
            any(record.period == period for record in self._records) or self._closed(period)
        ):
            self._note("period_closed", f"period {period}")
            return False
        if not 0 <= period <= PERIOD_MAX:
            self._note("bad_time", f"period {period} is past what the contract holds")
            return False
        state.period = period
        return True

    def _close(self) -> None:
        """Record the open period, if any of it was measured, and carry the remainders."""
        state = self.state
        assert state.period is not None
        if state.covered_ms > 0:
            import_wh, state.carry_import_nj = divmod(
                state.carry_import_nj + state.import_nj, NJ_PER_WH
            )
            export_wh, state.carry_export_nj = divmod(
                state.carry_export_nj + state.export_nj, NJ_PER_WH
            )
            whole = state.covered_ms == self.settings.period_ms
            quality = state.flags if whole else state.flags | QUESTIONABLE
            if not quality & (QUESTIONABLE | INTERPOLATED):
                quality |= VALID
            self._records.append(PeriodRecord(state.period, import_wh, export_wh, quality))
            state.period_highest = max(state.period_highest, state.period)
        state.period = None
        state.import_nj = state.export_nj = state.covered_ms = state.flags = 0
