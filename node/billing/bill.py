"""A bill, priced again from the readings of a month, apart from the contract that made it.

The rules are those in the docstring of `contracts_py/metering.py`. Money is whole minor units: the
sum of Wh times rate, divided by 1,000 half up, once for the month. `recompute` also proves that no
reading was left out: the contract numbers records and corrections of a month from 1 on.
"""

from collections import defaultdict
from dataclasses import dataclass

from node.billing.month import Correction, Month, Reading, Tariff
from node.errors import NodeError

WH_PER_KWH = 1_000
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
class Bill:
    """What an account owes for a month, and what it rests on."""

    month: Month
    lines: tuple[SlabLine, ...]
    clamped_charge: int  # what corrections may not take back below zero
    import_wh: int
    export_wh: int
    charge: int
    amount: int
    estimated: tuple[Reading, ...]
    corrected: tuple[Reading, ...]


class BillMismatch(NodeError):
    """The contract's own total is not what its readings give."""


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
    for order, reading, correction in _list_entries(month):
        if correction is None:
            pricing.add_reading(order, reading)
        else:
            pricing.add_correction(reading, correction)
    export_wh = sum(reading.current.export_wh for reading in month.readings)
    _check_totals(month, pricing.total_wh, pricing.charge, export_wh)
    uncertain = QUALITY_ESTIMATED | QUALITY_NOMINAL_VOLTAGE
    return Bill(
        month=month,
        lines=_make_lines(month, pricing.units),
        clamped_charge=pricing.clamped,
        import_wh=pricing.total_wh,
        export_wh=export_wh,
        charge=pricing.charge,
        amount=(pricing.charge + WH_PER_KWH // 2) // WH_PER_KWH,
        estimated=tuple(one for one in month.readings if one.current.quality & uncertain),
        corrected=tuple(one for one in month.readings if one.corrections),
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
    """The running total of a month: Wh, and Wh times rate, by tariff and slab."""

    def __init__(self, month: Month) -> None:
        self.month = month
        self.units: dict[tuple[int, int], int] = defaultdict(int)
        self.total_wh = self.charge = self.clamped = 0
        self._current: dict[tuple[bytes, int], tuple[int, int]] = {}

    def add_reading(self, order: int, reading: Reading) -> None:
        if reading.before_wh != self.total_wh:
            raise BillMismatch(
                f"reading {order} was priced after {reading.before_wh} Wh, "
                f"the readings before it sum to {self.total_wh}"
            )
        self.charge += self._price(reading.tariff, self.total_wh, reading.import_wh, 1)
        self.total_wh += reading.import_wh
        self._current[reading.meter, reading.period] = (reading.import_wh, reading.tariff)

    def add_correction(self, reading: Reading, correction: Correction) -> None:
        """The old value's price is taken back, the new one's added, never below zero in all."""
        key = (reading.meter, reading.period)
        old_wh, old_tariff = self._current[key]
        rest_wh = self.total_wh - old_wh
        change = self._price_again(correction.tariff, reading, rest_wh, correction.import_wh, 1)
        change += self._price_again(old_tariff, reading, rest_wh, old_wh, -1)
        if change < -self.charge:
            self.clamped += -self.charge - change
            change = -self.charge
        self.charge += change
        self.total_wh = rest_wh + correction.import_wh
        self._current[key] = (correction.import_wh, correction.tariff)

    def _price_again(
        self, number: int, reading: Reading, rest_wh: int, units_wh: int, sign: int
    ) -> int:
        """Telescopic units come on top of the rest, others stand at the reading's own place."""
        telescopic = month_tariff(self.month, number).telescopic
        before_wh = rest_wh if telescopic else reading.before_wh
        return self._price(number, before_wh, units_wh, sign)

    def _price(self, number: int, before_wh: int, units_wh: int, sign: int) -> int:
        tariff = month_tariff(self.month, number)
        charge = 0
        for slab, part_wh in compute_lines(tariff, before_wh, units_wh):
            self.units[number, slab] += sign * part_wh
            charge += sign * part_wh * tariff.rates[slab]
        return charge


def _check_totals(month: Month, total_wh: int, charge: int, export_wh: int) -> None:
    if (total_wh, charge) != (month.total_import_wh, month.total_charge):
        raise BillMismatch(
            f"the readings give {total_wh} Wh and {charge} Wh x rate, the contract has "
            f"{month.total_import_wh} and {month.total_charge}"
        )
    if export_wh != month.total_export_wh:
        raise BillMismatch(
            f"the readings export {export_wh} Wh, the contract has {month.total_export_wh}"
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
