"""What time it is for a meter: the wall clock disciplined, a simulated clock, or a line's tick.

Clocks on Pis are wrong: there is no battery, the network sets the time minutes after the start,
and now and then it is set back. `MeterClock` goes by the monotonic clock, follows the wall clock
slowly where they differ a little, and says so where the wall clock jumped. A clock never reads the
system's clocks itself but is given stamps, so that every jump can be played in a test.
"""

import time
from dataclasses import dataclass
from typing import Protocol

JUMP_MS = 10_000  # up to here a meter corrects itself (AS302P manual), above it is a jump
SLEW = 200  # a difference is worked off at 1 ms in 200: 0.5 %, below the error of any clamp
CLOCK_EARLIEST_MS = 1_704_067_200_000  # 2024-01-01: before this program was written


@dataclass(frozen=True, slots=True)
class Stamp:
    """Both clocks, read together when bytes arrived."""

    wall_ms: int
    mono_ms: int

    @staticmethod
    def now() -> "Stamp":
        return Stamp(time.time_ns() // 1_000_000, time.monotonic_ns() // 1_000_000)


class Clock(Protocol):
    jumped: bool  # whether the last `read` found that the wall clock was set

    def read(self, stamp: Stamp) -> int:
        """The meter's time in Unix ms; never decreases unless `jumped`."""


class MeterClock:
    """The wall clock without its small steps. `resume_ms` is where the counter stands."""

    def __init__(self, resume_ms: int | None = None) -> None:
        self.jumped = False
        self._time_ms = resume_ms
        self._stamp: Stamp | None = None
        self._slew_ms = 0  # monotonic time that no correction has used yet

    def read(self, stamp: Stamp) -> int:
        if self._stamp is None:
            return self._start(stamp)
        elapsed_ms = max(0, stamp.mono_ms - self._stamp.mono_ms)
        self._stamp = stamp
        assert self._time_ms is not None
        expected_ms = self._time_ms + elapsed_ms
        error_ms = stamp.wall_ms - expected_ms
        self.jumped = abs(error_ms) > JUMP_MS
        if self.jumped:
            self._time_ms, self._slew_ms = stamp.wall_ms, 0
            return self._time_ms
        self._slew_ms = min(self._slew_ms + elapsed_ms, elapsed_ms + SLEW)
        step_ms = min(abs(error_ms), self._slew_ms // SLEW, elapsed_ms)
        self._slew_ms -= step_ms * SLEW
        self._time_ms = expected_ms + (step_ms if error_ms > 0 else -step_ms)
        return self._time_ms

    def _start(self, stamp: Stamp) -> int:
        """At the start nothing was measured for a while; only a clock set back is a jump."""
        self._stamp = stamp
        behind_ms = 0 if self._time_ms is None else self._time_ms - stamp.wall_ms
        self.jumped = behind_ms > JUMP_MS
        if not 0 < behind_ms <= JUMP_MS:
            self._time_ms = stamp.wall_ms
        assert self._time_ms is not None
        return self._time_ms


class SimulatedClock:
    """`start_ms` at the anchor's wall time, then `speed` times as fast.

    The anchor is kept by the caller, so that a restarted meter goes on in the same simulated day.
    """

    def __init__(self, start_ms: int, speed: int, anchor_wall_ms: int) -> None:
        self.jumped = False
        self._start_ms = start_ms
        self._speed = speed
        self._anchor_wall_ms = anchor_wall_ms
        self._first: Stamp | None = None

    def read(self, stamp: Stamp) -> int:
        if self._first is None:
            self._first = stamp
        elapsed_ms = max(0, self._first.wall_ms - self._anchor_wall_ms)
        elapsed_ms += stamp.mono_ms - self._first.mono_ms
        return self._start_ms + elapsed_ms * self._speed


class LineClock:
    """Each data line is `tick_ms` after the one before; nothing else moves this time."""

    def __init__(self, start_ms: int, tick_ms: int, last_ms: int | None = None) -> None:
        self._tick_ms = tick_ms
        self._next_ms = start_ms if last_ms is None else last_ms + tick_ms

    @property
    def last_ms(self) -> int:
        return self._next_ms - self._tick_ms

    def tick(self) -> int:
        """The time of the next data line."""
        now_ms = self._next_ms
        self._next_ms += self._tick_ms
        return now_ms
