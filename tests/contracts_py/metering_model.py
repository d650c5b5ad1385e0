"""The metering contract as slowly and obviously as it can be said: the oracle of its tests.

Every watt-hour is priced by itself, dates are those of `datetime`, and the bill of a month is made
by going through everything that was ever recorded or corrected, from the start.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta


@dataclass
class Tariff:
    from_day: int
    telescopic: bool
    bounds_kwh: list[int]
    rates: list[int]

    def rate_of(self, wh: int) -> int:
        """The rate for the slab in which the wh-th watt-hour of a month lies, from 1."""
        for bound, rate in zip(self.bounds_kwh, self.rates, strict=False):
            if wh <= bound * 1000:
                return rate
        return self.rates[-1]

    def price(self, before: int, units: int) -> int:
        if self.telescopic:
            return sum(self.rate_of(wh) for wh in range(before + 1, before + units + 1))
        return units * self.rate_of(before + units)


FREE = Tariff(0, False, [], [0])


@dataclass
class Entry:
    """A record, or a correction of one."""

    meter: str
    period: int
    import_wh: int
    export_wh: int
    tariff: Tariff
    corrects: bool = False


@dataclass
class Model:
    period_s: int
    offset_s: int
    accounts: dict[str, str] = field(default_factory=dict)  # meter to account
    tariffs: list[Tariff] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)

    def start_of(self, period: int) -> datetime:
        local = timedelta(seconds=self.offset_s)
        return datetime(1970, 1, 1) + timedelta(seconds=period * self.period_s) + local

    def day_of(self, period: int) -> int:
        return (self.start_of(period) - datetime(1970, 1, 1)).days

    def month_of(self, period: int) -> int:
        start = self.start_of(period)
        return 12 * start.year + start.month - 1

    def tariff_of(self, period: int) -> Tariff:
        day = self.day_of(period)
        return ([FREE] + [tariff for tariff in self.tariffs if tariff.from_day <= day])[-1]

    def is_recorded(self, meter: str, period: int) -> bool:
        return any((each.meter, each.period) == (meter, period) for each in self.entries)

    def add(self, meter: str, period: int, import_wh: int, export_wh: int, corrects=False) -> None:
        tariff = self.tariff_of(period)
        self.entries.append(Entry(meter, period, import_wh, export_wh, tariff, corrects))

    def total(self, account: str, *, month: int | None = None, day: int | None = None):
        """(importWh, exportWh, charge in Wh times rate) of a month, or of a day's part of it."""
        before: dict[tuple[str, int], int] = {}
        holds: dict[tuple[str, int], Entry] = {}
        charges: dict[int, int] = {}
        running = 0
        for entry in self.entries:
            if self.accounts[entry.meter] != account:
                continue
            of_month = self.month_of(entry.period)
            if of_month != (month if day is None else self.month_of_day(day)):
                continue
            key = entry.meter, entry.period
            if entry.corrects:
                old = holds[key]
                rest = running - old.import_wh
                change = self.again(entry.tariff, before[key], rest, entry.import_wh)
                change -= self.again(old.tariff, before[key], rest, old.import_wh)
                change = max(change, -sum(charges.values()))
                running = rest + entry.import_wh
            else:
                before[key] = running
                change = entry.tariff.price(running, entry.import_wh)
                running += entry.import_wh
            holds[key] = entry
            of_day = self.day_of(entry.period)
            charges[of_day] = charges.get(of_day, 0) + change
        if day is None:
            kept = list(holds.values())
            charge = sum(charges.values())
        else:
            kept = [each for each in holds.values() if self.day_of(each.period) == day]
            charge = charges.get(day, 0)
        return sum(e.import_wh for e in kept), sum(e.export_wh for e in kept), charge

    def count_readings(self, account: str, day: int) -> int:
        return sum(
            not each.corrects
            for each in self.entries
            if self.accounts[each.meter] == account and self.day_of(each.period) == day
        )

    def again(self, tariff: Tariff, before: int, rest: int, units: int) -> int:
        return tariff.price(rest if tariff.telescopic else before, units)

    def month_of_day(self, day: int) -> int:
        date = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)
        return 12 * date.year + date.month - 1


def round_half_up(charge: int) -> int:
    """Minor units of a sum of Wh times rate."""
    return (2 * charge + 1000) // 2000
