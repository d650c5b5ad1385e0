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

    def replay(self, account: str, month: int):
        """What holds for each reading of a month, where it stands, and Wh times rate in all."""
        before: dict[tuple[str, int], int] = {}
        holds: dict[tuple[str, int], Entry] = {}
        running = charge = 0
        for entry in self.entries:
            if self.accounts[entry.meter] != account or self.month_of(entry.period) != month:
                continue
            key = entry.meter, entry.period
            if entry.corrects:
                old = holds[key]
                rest = running - old.import_wh
                change = self.again(entry.tariff, before[key], rest, entry.import_wh)
                change -= self.again(old.tariff, before[key], rest, old.import_wh)
                charge += max(change, -charge)
                running = rest + entry.import_wh
            else:
                before[key] = running
                charge += entry.tariff.price(running, entry.import_wh)
                running += entry.import_wh
            holds[key] = entry
        return holds, before, charge

    def total_of_month(self, account: str, month: int) -> tuple[int, int, int]:
        """importWh, exportWh, and Wh times rate."""
        holds, _, charge = self.replay(account, month)
        kept = holds.values()
        return sum(e.import_wh for e in kept), sum(e.export_wh for e in kept), charge

    def total_of_day(self, account: str, day: int) -> tuple[int, int, int, int]:
        """importWh, exportWh, Wh times rate, and how many readings."""
        holds, before, _ = self.replay(account, self.month_of_day(day))
        kept = {key: each for key, each in holds.items() if self.day_of(each.period) == day}
        charge = sum(each.tariff.price(before[key], each.import_wh) for key, each in kept.items())
        imported = sum(each.import_wh for each in kept.values())
        return imported, sum(each.export_wh for each in kept.values()), charge, len(kept)

    def again(self, tariff: Tariff, before: int, rest: int, units: int) -> int:
        return tariff.price(rest if tariff.telescopic else before, units)

    def month_of_day(self, day: int) -> int:
        date = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)
        return 12 * date.year + date.month - 1


def round_half_up(charge: int) -> int:
    """Minor units of a sum of Wh times rate."""
    return (2 * charge + 1000) // 2000
