"""Everything that `Metering` stores of one account's month, read through `Words`.

The names and order of fields are those of `contracts_py/metering.py`; its source, whose hash the
chain proves, gives the layout. What is owed for it is `bill`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from ledger.contract.layout import slot_after
from ledger.crypto.keccak import keccak256
from ledger.types import Slot
from node.billing.words import (
    Layout,
    Words,
    array_slot,
    decode_struct,
    decode_text,
    struct_of,
    struct_slots,
)
from node.errors import NodeError

EPOCH = date(1970, 1, 1)
DAY_S = 86_400
METERS_MAX = 1_000  # of one account; more is no household but a mistake or an attack
CORRECTIONS_MAX = 1_000  # of one reading
TARIFFS_MAX = 10_000
SLAB_BITS = 32
SLABS_MAX = 8


@dataclass(frozen=True)
class Value:
    """What holds for a period after a reading or a correction."""

    import_wh: int
    export_wh: int
    quality: int
    tariff: int
    order: int


@dataclass(frozen=True)
class Correction(Value):
    operator: bytes
    corrected_at: int
    reason: str


@dataclass(frozen=True)
class Reading(Value):
    """What a meter recorded; `before_wh` is the month's total before it."""

    meter: bytes
    period: int
    before_wh: int
    corrections: tuple[Correction, ...] = ()

    @property
    def current(self) -> Value:
        """What holds now."""
        return self.corrections[-1] if self.corrections else self


@dataclass(frozen=True)
class Tariff:
    """Rates in minor units per kWh; `bounds_kwh` has one entry fewer than `rates`."""

    number: int
    from_day: int
    telescopic: bool
    bounds_kwh: tuple[int, ...]
    rates: tuple[int, ...]


@dataclass(frozen=True)
class Month:
    """One account's month as stored. `total_charge` is the sum of Wh times rate."""

    account: bytes
    month: int
    period_seconds: int
    utc_offset_seconds: int
    first_period: int
    last_period: int
    meters: tuple[bytes, ...]
    readings: tuple[Reading, ...]
    tariffs: dict[int, Tariff]
    total_import_wh: int
    total_charge: int
    total_entries: int
    total_export_wh: int
    missing: dict[bytes, tuple[int, ...]] = field(default_factory=dict)

    def start_of(self, period: int) -> int:
        """When a period starts, in Unix seconds."""
        return period * self.period_seconds

    @property
    def name(self) -> str:
        return f"{self.month // 12:04d}-{self.month % 12 + 1:02d}"


def parse_month(text: str) -> int:
    """YYYY-MM as the contract counts months: 12 * year + month - 1."""
    try:
        first = date.fromisoformat(text + "-01")
    except ValueError as error:
        raise NodeError(f"{text!r} is no month: expected YYYY-MM") from error
    return 12 * first.year + first.month - 1


def month_periods(month: int, period_seconds: int, utc_offset_seconds: int) -> tuple[int, int]:
    """First and last period that start in a month, in local standard time."""
    first, after = (
        (date((month + step) // 12, (month + step) % 12 + 1, 1) - EPOCH).days for step in (0, 1)
    )
    starts = [-(-(day * DAY_S - utc_offset_seconds) // period_seconds) for day in (first, after)]
    return max(0, starts[0]), starts[1] - 1


def read_month(layout: Layout, words: Words, account: bytes, month: int) -> Month:
    """Read a month in five steps, each one request: later slots depend on earlier words."""
    period_seconds = layout.read_scalar(words, "_period_seconds")
    if period_seconds == 0:
        raise NodeError("this address holds no Metering contract: its period is zero")
    offset = layout.read_scalar(words, "_utc_offset_seconds")
    first, last = month_periods(month, period_seconds, offset)
    meters = _read_meters(layout, words, account)
    tariffs = _read_tariffs(layout, words)
    readings, missing = _read_readings(layout, words, meters, range(first, last + 1))
    total_type = struct_of(layout.field_type("_months"))
    base = layout.value_slot("_months", account, month)
    exports = layout.value_slot("_month_exports", account, month)
    read = words.read([*struct_slots(total_type, base), exports])
    total = decode_struct(total_type, base, read)
    return Month(
        account=account,
        month=month,
        period_seconds=period_seconds,
        utc_offset_seconds=offset,
        first_period=first,
        last_period=last,
        meters=tuple(meters),
        readings=tuple(readings),
        tariffs=tariffs,
        total_import_wh=total["import_wh"],
        total_charge=total["charge"],
        total_entries=total["entries"],
        total_export_wh=read[exports],
        missing=missing,
    )


def _read_length(words: Words, base: Slot, limit: int, what: str) -> int:
    length = words.read([base])[base]
    if length > limit:
        raise NodeError(f"{length} {what} are more than the {limit} that are read")
    return length


def _read_meters(layout: Layout, words: Words, account: bytes) -> list[bytes]:
    base = layout.value_slot("_meters_of", account)
    count = _read_length(words, base, METERS_MAX, "meters")
    slots = [slot_after(keccak256(base), index) for index in range(count)]
    read = words.read(slots)
    return [read[slot].to_bytes(32, "big")[12:] for slot in slots]


def _read_tariffs(layout: Layout, words: Words) -> dict[int, Tariff]:
    struct = struct_of(layout.field_type("_tariffs"))
    base = layout.field_slot("_tariffs")
    count = _read_length(words, base, TARIFFS_MAX, "tariffs")
    places = [array_slot(base, struct, index) for index in range(count)]
    read = words.read([slot for place in places for slot in struct_slots(struct, place)])
    tariffs = {}
    for number, place in enumerate(places, 1):
        stored = decode_struct(struct, place, read)
        bounds, rates = _unpack(stored["bounds_kwh"]), _unpack(stored["rates"])
        used = next((i for i, bound in enumerate(bounds) if bound == 0), SLABS_MAX - 1)
        tariffs[number] = Tariff(
            number, stored["from_day"], stored["telescopic"], bounds[:used], rates[: used + 1]
        )
    return tariffs


def _unpack(word: int) -> tuple[int, ...]:
    return tuple(word >> (SLAB_BITS * i) & 0xFFFFFFFF for i in range(SLABS_MAX))


def _read_readings(
    layout: Layout, words: Words, meters: Sequence[bytes], periods: range
) -> tuple[list[Reading], dict[bytes, tuple[int, ...]]]:
    struct = struct_of(layout.field_type("_readings"))
    places = {
        (meter, period): layout.value_slot("_readings", meter, period)
        for meter in meters
        for period in periods
    }
    read = words.read([slot for place in places.values() for slot in struct_slots(struct, place)])
    found: list[Reading] = []
    missing: dict[bytes, list[int]] = {meter: [] for meter in meters}
    corrected: list[tuple[bytes, int]] = []
    for (meter, period), place in places.items():
        stored = decode_struct(struct, place, read)
        if stored["order"] == 0:
            missing[meter].append(period)
            continue
        if stored.pop("corrected"):
            corrected.append((meter, period))
        found.append(Reading(meter=meter, period=period, **stored))
    corrections = _read_corrections(layout, words, corrected)
    readings = [
        Reading(**{**vars(one), "corrections": corrections.get((one.meter, one.period), ())})
        for one in found
    ]
    return readings, {meter: tuple(gaps) for meter, gaps in missing.items()}


def _read_corrections(
    layout: Layout, words: Words, corrected: Sequence[tuple[bytes, int]]
) -> dict[tuple[bytes, int], tuple[Correction, ...]]:
    struct = struct_of(layout.field_type("_corrections"))
    bases = {key: layout.value_slot("_corrections", *key) for key in corrected}
    lengths = words.read(bases.values())
    result: dict[tuple[bytes, int], tuple[Correction, ...]] = {}
    for key, base in bases.items():
        if lengths[base] > CORRECTIONS_MAX:
            raise NodeError(f"{lengths[base]} corrections of one reading are more than are read")
        places = [array_slot(base, struct, index) for index in range(lengths[base])]
        reasons = [layout.value_slot("_reasons", *key, index) for index in range(len(places))]
        slots = [slot for place in places for slot in struct_slots(struct, place)]
        read = words.read([*slots, *reasons])
        done = []
        for place, reason in zip(places, reasons, strict=True):
            stored: dict[str, Any] = decode_struct(struct, place, read)
            text = decode_text(reason, read[reason], words).decode("utf-8", "replace")
            done.append(Correction(**stored, reason=text))
        result[key] = tuple(done)
    return result
