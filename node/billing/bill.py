"""A bill, priced again from the readings of a month, apart from the contract that made it.

The rules are those in the docstring of `contracts_py/metering.py`. Money is whole minor units: the
sum of Wh times rate, divided by 1,000 half up, once for the month. `compute_bill` also proves that
no reading was left out: the contract numbers records and corrections of a month from 1 on.
"""

from collections import defaultdict
from dataclasses import dataclass

from node.billing.month import Correction, Month, Reading, Statement, Tariff, Value
from node.billing.statement import (
    WH_PER_KWH,
    BillMismatch,
    StandingLine,
    Sums,
    check_frozen,
    find_tax_bp,
    list_standing,
    make_statement,
)

__all__ = ["Bill", "BillMismatch", "RateLine", "SlabLine", "compute_bill"]

QUALITY_VALID = 1
QUALITY_ESTIMATED = 2 | 4 | 8 | 16 | 32 | 64  # IEEE 2030.5: edited, estimated, ... projected
QUALITY_NOMINAL_VOLTAGE = 128
FREE = Tariff(0, 0, False, (), (0,))


@dataclass(frozen=True)
class SlabLine:
    """Units of one slab of one tariff; from 0 kWh to None is all units."""

    tariff: int
    from_kwh: int
    to_kwh: int | None
    rate: int
    units_wh: int

    @property
    def charge(self) -> int:
        """Wh times rate."""
        return self.units_wh * self.rate


@dataclass(frozen=True)
class RateLine:
    """Units of one tariff at an extra rate of some hours, or exported at a credit rate."""

    tariff: int
    rate: int
    units_wh: int

    @property
    def charge(self) -> int:
        """Wh times rate."""
        return self.units_wh * self.rate


@dataclass(frozen=True)
class Bill:
    """What an account owes for a month, and what it rests on."""

    month: Month
    lines: tuple[SlabLine, ...]
    clamped_charge: int  # what corrections may not take back below zero
    import_wh: int
    export_wh: int
    charge: int
    estimated: tuple[Reading, ...]
    corrected: tuple[Reading, ...]
    extras: tuple[RateLine, ...]
    credits: tuple[RateLine, ...]
    standing: tuple[StandingLine, ...]
    statement: Statement

    @property
    def amount(self) -> int:
        """What is to be paid; nothing, where the grid owes the account."""
        return max(self.statement.total, 0)

    @property
    def open(self) -> int:
        """What changed since the month was last frozen; all, if it never was."""
        frozen = self.month.frozen
        return self.statement.total - (frozen[-1].statement.total if frozen else 0)


def compute_lines(tariff: Tariff, before_wh: int, units_wh: int) -> list[tuple[int, int]]:
    """(slab, Wh) of units that come after `before_wh` of the month."""
    after = before_wh + units_wh
    bounds = [bound * WH_PER_KWH for bound in tariff.bounds_kwh]
    if not tariff.telescopic:
        return [(sum(after > bound for bound in bounds), units_wh)]
    lines = []
    low = 0
    for slab, high in enumerate([*bounds, None]):
        part = (after if high is None else min(after, high)) - max(before_wh, low)
        if part > 0:
            lines.append((slab, part))
        low = high or 0
    return lines


def compute_bill(month: Month) -> Bill:
    """Price the month's records and corrections in their order.

    Raises BillMismatch where one is missing, or the result is not what the contract has.
    """
    pricing = _Pricing(month)
    sums = [Sums()]  # after each entry
    for order, reading, correction in _list_entries(month):
        if correction is None:
            pricing.add_reading(order, reading)
        else:
            pricing.add_correction(reading, correction)
        sums.append(pricing.sums)
    _check_totals(month, sums[-1])
    for frozen in month.frozen:
        if frozen.statement.entries >= len(sums):
            raise BillMismatch(f"frozen statement {frozen.number} counts readings of later")
        check_frozen(month, frozen, sums[frozen.statement.entries])
    standing = list_standing(month)
    charged = sum(line.amount for line in standing)
    uncertain = QUALITY_ESTIMATED | QUALITY_NOMINAL_VOLTAGE
    return Bill(
        month=month,
        lines=_make_lines(month, pricing.units),
        clamped_charge=pricing.clamped,
        import_wh=pricing.total_wh,
        export_wh=pricing.export_wh,
        charge=pricing.charge,
        estimated=tuple(one for one in month.readings if one.current.quality & uncertain),
        corrected=tuple(one for one in month.readings if one.corrections),
        extras=_make_rate_lines(pricing.extras),
        credits=_make_rate_lines(pricing.credits),
        standing=standing,
        statement=make_statement(sums[-1], month.total_entries, charged, find_tax_bp(month)),
    )


def _list_entries(month: Month) -> list[tuple[int, Reading, Correction | None]]:
    """Records and corrections in their order. Raises BillMismatch where a number is missing."""
    entries: list[tuple[int, Reading, Correction | None]] = []
    for reading in month.readings:
        entries.append((reading.order, reading, None))
        entries.extend((one.order, reading, one) for one in reading.corrections)
    entries.sort(key=lambda entry: entry[0])
    if [order for order, _, _ in entries] != list(range(1, month.total_entries + 1)):
        raise BillMismatch(
            f"the month has {month.total_entries} records and corrections, "
            f"{len(entries)} were found under the account's meters"
        )
    return entries


class _Pricing:
    """The running sums of a month, and its units by tariff and slab or rate."""

    def __init__(self, month: Month) -> None:
        self.month = month
        self.units: dict[tuple[int, int], int] = defaultdict(int)
        self.extras: dict[tuple[int, int], int] = defaultdict(int)
        self.credits: dict[tuple[int, int], int] = defaultdict(int)
        self.total_wh = self.export_wh = self.charge = self.credit = self.clamped = 0
        self._current: dict[tuple[bytes, int], Value] = {}

    @property
    def sums(self) -> Sums:
        return Sums(self.total_wh, self.export_wh, self.charge, self.credit)

    def add_reading(self, order: int, reading: Reading) -> None:
        if reading.before_wh != self.total_wh:
            raise BillMismatch(
                f"reading {order} was priced after {reading.before_wh} Wh, "
                f"the readings before it sum to {self.total_wh}"
            )
        self.charge += self._price(reading, reading, self.total_wh, 1)
        self._add_units(reading, reading, 1)

    def add_correction(self, reading: Reading, correction: Correction) -> None:
        """The old value's price is taken back, the new one's added, never below zero in all."""
        old = self._current[reading.meter, reading.period]
        rest_wh = self.total_wh - old.import_wh
        change = self._price_again(reading, correction, rest_wh, 1)
        change += self._price_again(reading, old, rest_wh, -1)
        if change < -self.charge:
            self.clamped += -self.charge - change
            change = -self.charge
        self.charge += change
        self._add_units(reading, old, -1)
        self._add_units(reading, correction, 1)

    def _add_units(self, reading: Reading, value: Value, sign: int) -> None:
        """Import, export and its credit of one value."""
        self.total_wh += sign * value.import_wh
        self.export_wh += sign * value.export_wh
        rate = month_tariff(self.month, value.tariff).terms.credit_rate
        if rate:
            self.credits[value.tariff, rate] += sign * value.export_wh
            self.credit += sign * value.export_wh * rate
        self._current[reading.meter, reading.period] = value

    def _price_again(self, reading: Reading, value: Value, rest_wh: int, sign: int) -> int:
        """Telescopic units come on top of the rest, others stand at the reading's own place."""
        telescopic = month_tariff(self.month, value.tariff).telescopic
        return self._price(reading, value, rest_wh if telescopic else reading.before_wh, sign)

    def _price(self, reading: Reading, value: Value, before_wh: int, sign: int) -> int:
        number, tariff = value.tariff, month_tariff(self.month, value.tariff)
        charge = 0
        for slab, part_wh in compute_lines(tariff, before_wh, value.import_wh):
            self.units[number, slab] += sign * part_wh
            charge += sign * part_wh * tariff.rates[slab]
        if any(tariff.terms.extra_rates):
            rate = tariff.terms.rate_at(self.month.local(reading.period))
            self.extras[number, rate] += sign * value.import_wh
            charge += sign * value.import_wh * rate
        return charge


def _check_totals(month: Month, sums: Sums) -> None:
    if (sums.import_wh, sums.charge) != (month.total_import_wh, month.total_charge):
        raise BillMismatch(
            f"the readings give {sums.import_wh} Wh and {sums.charge} Wh x rate, the contract has "
            f"{month.total_import_wh} and {month.total_charge}"
        )
    if (sums.export_wh, sums.credit) != (month.total_export_wh, month.total_credit):
        raise BillMismatch(
            f"the readings export {sums.export_wh} Wh, worth {sums.credit} Wh x rate, the contract "
            f"has {month.total_export_wh} and {month.total_credit}"
        )


def _make_rate_lines(units: dict[tuple[int, int], int]) -> tuple[RateLine, ...]:
    return tuple(
        RateLine(number, rate, units_wh)
        for (number, rate), units_wh in sorted(units.items())
        if units_wh and rate
    )


def month_tariff(month: Month, number: int) -> Tariff:
    """Tariff `number`; number 0 is the time before any, when units are free."""
    return month.tariffs[number] if number else FREE


def _make_lines(month: Month, units: dict[tuple[int, int], int]) -> tuple[SlabLine, ...]:
    lines = []
    for (number, slab), units_wh in sorted(units.items()):
        if units_wh == 0:
            continue
        tariff = month_tariff(month, number)
        bounds = (0, *tariff.bounds_kwh)
        upper = tariff.bounds_kwh[slab] if slab < len(tariff.bounds_kwh) else None
        lines.append(SlabLine(number, bounds[slab], upper, tariff.rates[slab], units_wh))
    return tuple(lines)
