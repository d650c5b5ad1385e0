"""The metering contract as slowly and obviously as it can be said: the oracle of its tests.

Every watt-hour is priced by itself, dates are those of `datetime`, and the bill of a month is made
by going through everything that was ever recorded or corrected, from the start.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import floor

EPOCH = datetime(1970, 1, 1)


@dataclass(frozen=True)
class Terms:
    """`hours` are 24 of a weekday and 24 of the weekend: which of the extra rates each has."""

    standing: int = 0
    tax_bp: int = 0
    credit_rate: int = 0
    hours: tuple[int, ...] = (0,) * 48
    extra_rates: tuple[int, ...] = (0,)

    def rate_at(self, start: datetime) -> int:
        weekend = start.strftime("%a") in ("Sat", "Sun")
        return self.extra_rates[self.hours[start.hour + 24 * weekend]]

    def words(self) -> tuple[int, ...]:
        """The fields of the contract's struct."""
        weekday, weekend = (
            int("".join(str(place) for place in reversed(half)), 8)
            for half in (self.hours[:24], self.hours[24:])
        )
        rates = b"".join(rate.to_bytes(4, "big") for rate in reversed(self.extra_rates))
        packed = int.from_bytes(rates, "big")
        return self.standing, self.tax_bp, self.credit_rate, weekday, weekend, packed


NO_TERMS = Terms()


@dataclass
class Tariff:
    from_day: int
    telescopic: bool
    bounds_kwh: list[int]
    rates: list[int]
    terms: Terms = NO_TERMS

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

    def price_at(self, start: datetime, before: int, units: int) -> int:
        """With what the hour adds."""
        return self.price(before, units) + units * self.terms.rate_at(start)


@dataclass(frozen=True)
class Statement:
    """What a month comes to, in the contract's order of fields."""

    import_wh: int
    export_wh: int
    entries: int
    tax_bp: int
    energy: int
    standing: int
    tax: int
    credit: int
    total: int


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
    offsets: list[tuple[int, int]] = field(default_factory=list)  # from a Unix time, seconds
    frozen: dict[tuple[str, int], list[Statement]] = field(default_factory=dict)

    def start_of(self, period: int) -> datetime:
        start_s = period * self.period_s
        held = [self.offset_s] + [offset for since, offset in self.offsets if since <= start_s]
        return EPOCH + timedelta(seconds=start_s) + timedelta(seconds=held[-1])

    def day_of(self, period: int) -> int:
        return (self.start_of(period) - EPOCH).days

    def month_of(self, period: int) -> int:
        start = self.start_of(period)
        return 12 * start.year + start.month - 1

    def set_tariff(self, tariff: Tariff) -> None:
        """Slabs change, and terms stay."""
        terms = self.tariffs[-1].terms if self.tariffs else NO_TERMS
        self.tariffs.append(replace(tariff, terms=terms))

    def set_terms(self, from_day: int, terms: Terms) -> None:
        """Terms change, and slabs stay."""
        last = self.tariffs[-1] if self.tariffs else FREE
        self.tariffs.append(replace(last, from_day=from_day, terms=terms))

    def tariff_of(self, period: int) -> Tariff:
        return self.tariff_on(self.day_of(period))

    def tariff_on(self, day: int) -> Tariff:
        return ([FREE] + [tariff for tariff in self.tariffs if tariff.from_day <= day])[-1]

    def is_recorded(self, meter: str, period: int) -> bool:
        return any((each.meter, each.period) == (meter, period) for each in self.entries)

    def add(self, meter: str, period: int, import_wh: int, export_wh: int, corrects=False) -> None:
        tariff = self.tariff_of(period)
        account, month = self.accounts[meter], self.month_of(period)
        if corrects and (account, month) in self.frozen:
            tariff = self.replay(account, month)[0][meter, period].tariff
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
            start = self.start_of(entry.period)
            if entry.corrects:
                old = holds[key]
                rest = running - old.import_wh
                change = self.again(entry.tariff, start, before[key], rest, entry.import_wh)
                change -= self.again(old.tariff, start, before[key], rest, old.import_wh)
                charge += max(change, -charge)
                running = rest + entry.import_wh
            else:
                before[key] = running
                charge += entry.tariff.price_at(start, running, entry.import_wh)
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
        charge = sum(
            each.tariff.price_at(self.start_of(each.period), before[key], each.import_wh)
            for key, each in kept.items()
        )
        imported = sum(each.import_wh for each in kept.values())
        return imported, sum(each.export_wh for each in kept.values()), charge, len(kept)

    def again(self, tariff: Tariff, start: datetime, before: int, rest: int, units: int) -> int:
        return tariff.price_at(start, rest if tariff.telescopic else before, units)

    def statement(self, account: str, month: int) -> Statement:
        """What a month comes to now."""
        imported, exported, charge = self.total_of_month(account, month)
        kept = self.replay(account, month)[0].values()
        credit = sum(each.export_wh * each.tariff.terms.credit_rate for each in kept)
        standing, tax_bp = self.standing(account, month)
        energy = round_half_up(charge)
        tax = floor(Fraction((energy + standing) * tax_bp, 10_000) + Fraction(1, 2))
        entries = [
            each
            for each in self.entries
            if (self.accounts[each.meter], self.month_of(each.period)) == (account, month)
        ]
        total = energy + standing + tax - credit // 1_000
        return Statement(
            imported, exported, len(entries), tax_bp,
            energy, standing, tax, credit // 1_000, total,
        )  # fmt: skip

    def standing(self, account: str, month: int) -> tuple[int, int]:
        """The standing charge, day by day, and the tax of the month's first day."""
        if (account, month) in self.frozen:
            first = self.frozen[account, month][0]
            return first.standing, first.tax_bp
        if account not in self.accounts.values():
            return 0, 0
        day = (datetime(month // 12, month % 12 + 1, 1) - EPOCH).days
        tax_bp, standing = self.tariff_on(day).terms.tax_bp, 0
        while self.month_of_day(day) == month:
            standing += self.tariff_on(day).terms.standing
            day += 1
        return standing, tax_bp

    def freeze(self, account: str, month: int) -> Statement | None:
        """A further statement of a month; None where nothing is new."""
        now, past = self.statement(account, month), self.frozen.get((account, month), [])
        if (past and past[-1].entries == now.entries) or (
            not past and now.entries == now.total == 0
        ):
            return None
        self.frozen.setdefault((account, month), []).append(now)
        return now

    def month_of_day(self, day: int) -> int:
        date = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)
        return 12 * date.year + date.month - 1


def round_half_up(charge: int) -> int:
    """Minor units of a sum of Wh times rate."""
    return (2 * charge + 1000) // 2000
