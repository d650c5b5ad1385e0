"""One meter from its source to its outbox: rows become readings, readings energy, energy records.

What arrives is counted at once; `checkpoint` saves the counter, the records of periods that ended
and the source's position in one durable transaction, by default when a period has ended. So after
a power cut a replay goes on exactly where it was, and a serial meter has lost at most what it
counted since the last checkpoint: that time is a gap, and its period gets the incomplete bit.

A full disk: records wait here, at most RECORDS_WAITING_MAX of them, and are saved when there is
room. Not here: where bytes come from (`meter.serial_port`, `meter.replay`), what is sent when.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

from meter.clock import CLOCK_EARLIEST_MS, Clock, LineClock, MeterClock, SimulatedClock, Stamp
from meter.config import ClockConfig, MeterConfig
from meter.counter import Counter, CounterState
from meter.errors import OutboxFull
from meter.faults import Faults
from meter.lines import LineParser
from meter.measure import Measure
from meter.outbox import Event, Outbox
from meter.reading import Interval, PeriodRecord, Reading, RegisterChange
from meter.replay import Row

RECORDS_WAITING_MAX = 10_000  # over a year of hours, under 2 MB
EVENTS_WAITING_MAX = 1_000
LATE_DIVISOR = 10  # an interval may come a tenth of its length late and still be on time
SAVE_RETRY_S = 10  # between two attempts on a full disk


class Pipeline:
    """Restores itself from the outbox. `saved` is called when records were added to it."""

    def __init__(
        self,
        config: MeterConfig,
        clock: ClockConfig | None,
        outbox: Outbox,
        log: logging.Logger,
        saved: Callable[[], None],
    ) -> None:
        self.config = config
        self.faults = Faults(config.name, log)
        self._outbox = outbox
        self._saved = saved
        self._records: list[PeriodRecord] = []  # ended, and not yet saved
        self._events: list[Event] = []
        self._changes: list[RegisterChange] = []
        stored = outbox.load_state()
        state = None if stored is None else CounterState.from_json(stored["counter"])
        self.position: dict[str, Any] = {} if stored is None else stored["position"]
        self.counter = Counter(
            config.counter, self._is_closed, self.faults.count, self._add_event, state
        )
        self.measure = Measure(config.measure, self.faults.count)
        self.clock: Clock | LineClock = self._make_clock(clock, state)
        self._parser: LineParser | None = None
        if config.lines is not None:
            self._parser = LineParser(config.lines.names, config.lines.node_id, self.faults.count)
        self._saved_s = time.monotonic()
        self._retry_s = 0.0
        self._first_line = False

    # Lines of a live source.

    def opened(self) -> None:
        """The port was opened anew: the next line may be half a line."""
        self._first_line = True

    def take_line(self, line: bytes, stamp: Stamp) -> None:
        """Count one line that arrived at `stamp`."""
        assert self._parser is not None
        row = self._parser.parse(line, self._first_line)
        self._first_line = False
        if row is None:
            return
        at_ms = self._time_of_line(stamp)
        if at_ms is not None:
            self.counter.take(self._align(self.measure.read(row, at_ms)))

    def pass_time(self, stamp: Stamp) -> None:
        """No line came: a held power goes on, a period may end. A ticking clock stands still."""
        if isinstance(self.clock, LineClock):
            return
        at_ms = self._time_of_line(stamp)
        if at_ms is not None:
            self.counter.advance(at_ms)

    def _time_of_line(self, stamp: Stamp) -> int | None:
        clock = self.clock
        if isinstance(clock, LineClock):
            at_ms = clock.tick()
            self.position["line_ms"] = at_ms
            return at_ms
        at_ms = clock.read(stamp)
        if isinstance(clock, MeterClock) and at_ms < CLOCK_EARLIEST_MS:
            self.faults.count("clock_unset", f"{at_ms} ms")
            return None
        if clock.jumped:
            before_ms = self.counter.state.time_ms
            self.faults.count("clock_jump", f"from {before_ms} to {at_ms} ms")
            self.counter.jump(at_ms)
        return at_ms

    def _align(self, reading: Reading) -> Reading:
        """An interval that came by line ended just now, and began where the last one ended.

        Devices send a quarter of an hour some seconds late: close to the clock's own it is that.
        """
        if not isinstance(reading, Interval):
            return reading
        length_ms = reading.length_ms
        nearest_ms = (reading.at_ms + length_ms // 2) // length_ms * length_ms
        close = abs(nearest_ms - reading.at_ms) * LATE_DIVISOR <= length_ms
        end_ms = nearest_ms if close else reading.at_ms
        start_ms, last_ms = end_ms - length_ms, self.counter.state.time_ms
        if last_ms is not None and abs(last_ms - start_ms) * 2 < length_ms:
            start_ms = last_ms
        return Interval(
            start_ms, end_ms - start_ms, reading.import_nj, reading.export_nj, reading.flags
        )

    # Rows of a replay.

    @property
    def rows_done(self) -> int:
        """How many rows of its file are counted and saved."""
        replay = self.config.replay
        if replay is None or self.position.get("file") != str(replay.file):
            return 0
        return int(self.position["row"])

    @property
    def replay_ended(self) -> bool:
        return self.rows_done > 0 and bool(self.position.get("ended"))

    def take_row(self, row: Row) -> None:
        """Count one row of the file."""
        assert self.config.replay is not None
        self.counter.take(self.measure.read(row.fields, row.at_ms))
        self.position = {"file": str(self.config.replay.file), "row": row.position}

    def finish(self) -> None:
        """The source has ended for good."""
        self.counter.finish()
        self.position["ended"] = True
        self.checkpoint(force=True)

    # Saving.

    def checkpoint(self, force: bool = False) -> bool:
        """Save if a period ended, if it is time to, or if forced; whether nothing is unsaved."""
        self._gather()
        now_s = time.monotonic()
        due = self.config.checkpoint_s and now_s - self._saved_s >= self.config.checkpoint_s
        if not (force or due or self._records or self._events or self._changes):
            return True
        if not force and now_s < self._retry_s:
            return False
        state = {"counter": self.counter.state.to_json(), "position": self.position}
        try:
            self._outbox.save(state, self._records, self._events, self._changes)
        except OutboxFull as error:
            self.faults.count("disk_full", str(error))
            self._retry_s = now_s + SAVE_RETRY_S
            return False
        had_work = bool(self._records or self._changes)
        self._records, self._events, self._changes = [], [], []
        self._saved_s = now_s
        if had_work:
            self._saved()
        return True

    def status(self) -> dict[str, Any]:
        """Counters for a log or a status file."""
        state = self.counter.state
        return {
            "meter": self.config.name,
            "time_ms": state.time_ms,
            "open_period": state.period,
            "waiting": self._outbox.count_waiting(),
            "unsaved": len(self._records),
            "on_chain": self._outbox.count_settled(),
            "faults": dict(self.faults.counts),
        }

    # Inside.

    def _gather(self) -> None:
        for record in self.counter.drain():
            if len(self._records) >= RECORDS_WAITING_MAX:
                self.faults.count("records_lost", f"period {record.period}")
            else:
                self._records.append(record)
        room = EVENTS_WAITING_MAX - len(self._changes)
        self._changes.extend(self.counter.drain_changes()[:room])

    def _is_closed(self, period: int) -> bool:
        waiting = any(record.period == period for record in self._records)
        return waiting or self._outbox.has_period(period)

    def _add_event(self, kind: str, detail: str) -> None:
        if len(self._events) < EVENTS_WAITING_MAX:
            self._events.append(Event(time.time_ns() // 1_000_000, kind, detail))

    def _make_clock(
        self, clock: ClockConfig | None, state: CounterState | None
    ) -> Clock | LineClock:
        resume_ms = None if state is None else state.time_ms
        if clock is None:
            return MeterClock(resume_ms)
        if clock.tick_ms:
            return LineClock(clock.start_ms, clock.tick_ms, self.position.get("line_ms"))
        key = f"anchor {clock.start_ms} {clock.speed}"
        anchor = self._outbox.get_meta(key)
        if anchor is None:
            anchor = str(Stamp.now().wall_ms)
            self._outbox.set_meta(key, anchor)
        return SimulatedClock(clock.start_ms, clock.speed, int(anchor))
