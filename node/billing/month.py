"""Everything that `Metering` stores of one account's month, read through `Words`.

The names and order of fields are those of `contracts_py/metering.py`; its source, whose hash the
chain proves, gives the layout. What is owed for it is `bill`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import MAXYEAR, date, datetime
from typing import Any

from ledger.contract.layout import slot_after
from ledger.crypto.keccak import keccak256
from ledger.types import Slot
from node.billing.clock import Clock
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

METERS_MAX = 1_000  # of one account; more is no household but a mistake or an attack
CORRECTIONS_MAX = 1_000  # of one reading
TARIFFS_MAX = 10_000
SLAB_BITS = 32
SLABS_MAX = 8
CHANGES_MAX = 1_000  # of the clocks: two a year
STATEMENTS_MAX = 1_000  # frozen, of one month
HOURS_OF_DAY = 24
HOUR_BITS = 3


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
    """What an operator put in the place of a reading: its new values, when (Unix s), and why."""

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
class Terms:
    """Of a tariff: minor units a day, basis points, and minor units a kWh.

    `hours` are 24 of a weekday and 24 of a day of the weekend, each an index of `extra_rates`.
    """

    standing: int = 0
    tax_bp: int = 0
    credit_rate: int = 0
    hours: tuple[int, ...] = (0,) * (2 * HOURS_OF_DAY)
    extra_rates: tuple[int, ...] = (0,) * SLABS_MAX

    def rate_at(self, local: datetime) -> int:
        """What a local hour adds to the slab's rate."""
        weekend = local.weekday() >= 5
        return self.extra_rates[self.hours[local.hour + HOURS_OF_DAY * weekend]]


@dataclass(frozen=True)
class Statement:
    """What a month comes to and what it rests on, in the contract's order of fields."""

    import_wh: int
    export_wh: int
    entries: int
    tax_bp: int
    energy: int
    standing: int
    tax: int
    credit: int
    total: int


@dataclass(frozen=True)
class Frozen:
    """A stored statement; `index` 0 is the bill, the others are supplements."""

    index: int
    statement: Statement
    number: int
    frozen_at: int
    digest: bytes


@dataclass(frozen=True)
class Tariff:
    """Rates in minor units per kWh; `bounds_kwh` has one entry fewer than `rates`."""

    number: int
    from_day: int
    telescopic: bool
    bounds_kwh: tuple[int, ...]
    rates: tuple[int, ...]
    terms: Terms = Terms()


@dataclass(frozen=True)
class Month:
    """One account's month as stored. `total_charge` and `_credit` are sums of Wh times rate."""

    account: bytes
    month: int
    period_seconds: int
    clock: Clock
    periods: tuple[int, ...]
    meters: tuple[bytes, ...]
    readings: tuple[Reading, ...]
    tariffs: dict[int, Tariff]
    total_import_wh: int
    total_charge: int
    total_entries: int
    total_export_wh: int
    total_credit: int = 0
    missing: dict[bytes, tuple[int, ...]] = field(default_factory=dict)
    frozen: tuple[Frozen, ...] = ()

    def start_of(self, period: int) -> int:
        """When a period starts, in Unix seconds."""
        return period * self.period_seconds

    def local(self, period: int) -> datetime:
        """When a period starts, in local time."""
        return self.clock.local(self.start_of(period))

    @property
    def name(self) -> str:
        return f"{self.month // 12:04d}-{self.month % 12 + 1:02d}"


def parse_month(text: str) -> int:
    """YYYY-MM as the contract counts months: 12 * year + month - 1."""
    try:
        first = date.fromisoformat(text + "-01")
    except ValueError as error:
        raise NodeError(f"{text!r} is no month: expected YYYY-MM") from error
    if first.year == MAXYEAR:
        raise NodeError(f"{text!r} is no month of a calendar that ends with it")
    return 12 * first.year + first.month - 1


def read_month(layout: Layout, words: Words, account: bytes, month: int) -> Month:
    """Read a month in five steps, each one request: later slots depend on earlier words."""
    period_seconds = layout.read_scalar(words, "_period_seconds")
    if period_seconds == 0:
        raise NodeError("this address holds no Metering contract: its period is zero")
    clock = _read_clock(layout, words)
    periods = clock.month_periods(month, period_seconds)
    meters = _read_meters(layout, words, account)
    tariffs = _read_tariffs(layout, words)
    readings, missing = _read_readings(layout, words, meters, periods)
    total_type = struct_of(layout.field_type("_months"))
    base = layout.value_slot("_months", account, month)
    read = words.read(struct_slots(total_type, base))
    total = decode_struct(total_type, base, read)
    export_wh, credit = _read_export(layout, words, account, month)
    return Month(
        account=account,
        month=month,
        period_seconds=period_seconds,
        clock=clock,
        periods=tuple(periods),
        meters=tuple(meters),
        readings=tuple(readings),
        tariffs=tariffs,
        total_import_wh=total["import_wh"],
        total_charge=total["charge"],
        total_entries=total["entries"],
        total_export_wh=export_wh,
        total_credit=credit,
        missing=missing,
        frozen=_read_frozen(layout, words, account, month),
    )


def _read_clock(layout: Layout, words: Words) -> Clock:
    offset_s = layout.read_scalar(words, "_utc_offset_seconds")
    if not layout.has("_offset_count"):  # a metering.py of before clocks changed
        return Clock(offset_s)
    count = layout.read_scalar(words, "_offset_count")
    if count > CHANGES_MAX:
        raise NodeError(f"{count} changes of the clocks are more than the {CHANGES_MAX} read")
    struct = struct_of(layout.field_type("_offsets"))
    places = [layout.value_slot("_offsets", number) for number in range(1, count + 1)]
    read = words.read([slot for place in places for slot in struct_slots(struct, place)])
    stored = [decode_struct(struct, place, read) for place in places]
    return Clock(offset_s, tuple((one["from_s"], one["offset_s"]) for one in stored))


def _read_export(layout: Layout, words: Words, account: bytes, month: int) -> tuple[int, int]:
    """Wh, and Wh times credit rate."""
    base = layout.value_slot("_month_exports", account, month)
    read = words.read([base])
    if not layout.has("_terms"):  # a metering.py of before export was credited
        return read[base], 0
    stored = decode_struct(struct_of(layout.field_type("_month_exports")), base, read)
    return stored["export_wh"], stored["credit"]


def _read_frozen(layout: Layout, words: Words, account: bytes, month: int) -> tuple[Frozen, ...]:
    if not layout.has("_statements"):
        return ()
    types = [struct_of(layout.field_type(name)) for name in ("_statements", "_seals")]
    bases = [layout.value_slot(name, account, month) for name in ("_statements", "_seals")]
    count = _read_length(words, bases[0], STATEMENTS_MAX, "frozen statements")
    found = []
    for index in range(count):
        places = [array_slot(base, one, index) for base, one in zip(bases, types, strict=True)]
        pairs = list(zip(types, places, strict=True))
        read = words.read([slot for one, place in pairs for slot in struct_slots(one, place)])
        statement, seal = (decode_struct(one, place, read) for one, place in pairs)
        found.append(Frozen(index, Statement(**statement), **seal))
    return tuple(found)


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
    terms = _read_terms(layout, words, count)
    tariffs = {}
    for number, place in enumerate(places, 1):
        stored = decode_struct(struct, place, read)
        bounds, rates = _unpack(stored["bounds_kwh"]), _unpack(stored["rates"])
        used = next((i for i, bound in enumerate(bounds) if bound == 0), SLABS_MAX - 1)
        tariffs[number] = Tariff(
            number, stored["from_day"], stored["telescopic"], bounds[:used], rates[: used + 1],
            terms.get(number, Terms()),
        )  # fmt: skip
    return tariffs


def _read_terms(layout: Layout, words: Words, count: int) -> dict[int, Terms]:
    """Of all tariffs that have any, by number."""
    if not layout.has("_terms"):
        return {}
    since = layout.read_scalar(words, "_terms_since")
    struct = struct_of(layout.field_type("_terms"))
    numbers = range(since, count + 1) if since else range(0)
    places = {number: layout.value_slot("_terms", number) for number in numbers}
    read = words.read([slot for place in places.values() for slot in struct_slots(struct, place)])
    found = {}
    for number, place in places.items():
        stored = decode_struct(struct, place, read)
        hours = tuple(
            stored[half] >> HOUR_BITS * hour & SLABS_MAX - 1
            for half in ("weekday_hours", "weekend_hours")
            for hour in range(HOURS_OF_DAY)
        )
        found[number] = Terms(
            stored["standing"], stored["tax_bp"], stored["credit_rate"], hours,
            _unpack(stored["extra_rates"]),
        )  # fmt: skip
    return found


def _unpack(word: int) -> tuple[int, ...]:
    return tuple(word >> (SLAB_BITS * i) & 0xFFFFFFFF for i in range(SLABS_MAX))


def _read_readings(
    layout: Layout, words: Words, meters: Sequence[bytes], periods: Sequence[int]
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
