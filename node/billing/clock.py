"""Local time of a grid, as its contract has it: an offset to UTC, and when that changed.

Not here: time zones by name. The contract knows only what its operators set.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

DAY_S = 86_400
MARGIN_S = 2 * DAY_S  # an offset is within a day of UTC, and changes by hours


@dataclass(frozen=True)
class Clock:
    """`changes` are (Unix time from which it holds, offset in seconds), oldest first."""

    first_offset_s: int
    changes: tuple[tuple[int, int], ...] = ()

    def offset_at(self, time_s: int) -> int:
        """How far local time is ahead of UTC, in seconds, at a Unix time."""
        held = self.first_offset_s
        for from_s, offset_s in self.changes:
            if from_s <= time_s:
                held = offset_s
        return held

    def local(self, time_s: int) -> datetime:
        """A Unix time as people of the grid write it."""
        zone = timezone(timedelta(seconds=self.offset_at(time_s)))
        return datetime.fromtimestamp(time_s, zone)

    def day_of(self, time_s: int) -> int:
        """Days since 1970-01-01 in local time."""
        return (time_s + self.offset_at(time_s)) // DAY_S

    def month_periods(self, month: int, period_s: int) -> list[int]:
        """The periods that start in a month (12 * year + month - 1), oldest first."""
        first, after = first_day(month), first_day(month + 1)
        return list(self._periods(first, after, period_s))

    def _periods(self, first_day: int, after_day: int, period_s: int) -> Iterator[int]:
        begin = max(0, (first_day * DAY_S - MARGIN_S) // period_s)
        end = max(0, (after_day * DAY_S + MARGIN_S) // period_s)
        for period in range(begin, end):
            if first_day <= self.day_of(period * period_s) < after_day:
                yield period


def first_day(month: int) -> int:
    """The first day of a month (12 * year + month - 1), counted from 1970-01-01."""
    first = datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)
    return int(first.timestamp()) // DAY_S
