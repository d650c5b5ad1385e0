"""A bill as text for people: money, energy, tables, and how each is verified."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from rich.table import Table

from ledger.crypto.address import to_checksum
from node.billing.bill import QUALITY_NOMINAL_VOLTAGE, Bill, SlabLine
from node.billing.month import HOURS_OF_DAY, Frozen, Month, Statement, Terms
from node.billing.statement import StandingLine
from node.commands.common import make_table

MINOR_PER_MAJOR = 100  # paise, cents: every currency that a small grid bills in has two decimals


def format_money(minor: int) -> str:
    """Minor units as units with two decimals."""
    sign = "-" if minor < 0 else ""
    whole, cents = divmod(abs(minor), MINOR_PER_MAJOR)
    return f"{sign}{whole:,}.{cents:02d}"


def format_kwh(wh: int) -> str:
    sign = "-" if wh < 0 else ""
    return f"{sign}{abs(wh) // 1_000:,}.{abs(wh) % 1_000:03d}"


def format_charge(charge: int) -> str:
    """A sum of Wh times rate in units, with what rounding will take away."""
    sign = "-" if charge < 0 else ""
    whole, rest = divmod(abs(charge), 1_000 * MINOR_PER_MAJOR)
    return f"{sign}{whole:,}.{rest:05d}"


def format_time(seconds: int, offset_s: int = 0) -> str:
    zone = timezone(timedelta(seconds=offset_s)) if offset_s else UTC
    return datetime.fromtimestamp(seconds, zone).strftime("%Y-%m-%d %H:%M")


def slab_name(line: SlabLine) -> str:
    if line.tariff == 0:
        return "no tariff held"
    upper = f"to {line.to_kwh} kWh" if line.to_kwh is not None else "and above"
    return f"tariff {line.tariff}: from {line.from_kwh} {upper}"


def hours_name(terms: Terms, rate: int) -> str:
    """The hours that have an extra rate: "Mon-Fri 17-22, Sat-Sun 0-24"."""
    parts = []
    for days, start in (("Mon-Fri", 0), ("Sat-Sun", HOURS_OF_DAY)):
        half = terms.hours[start : start + HOURS_OF_DAY]
        having = [hour for hour in range(HOURS_OF_DAY) if terms.extra_rates[half[hour]] == rate]
        stretches: list[list[int]] = []
        for hour in having:
            if stretches and stretches[-1][1] == hour:
                stretches[-1][1] = hour + 1
            else:
                stretches.append([hour, hour + 1])
        if stretches:
            parts.append(f"{days} " + " ".join(f"{first}-{last}" for first, last in stretches))
    return ", ".join(parts)


def standing_name(line: StandingLine) -> str:
    if line.tariff == 0:
        return "standing charge, as frozen"
    days = "day" if line.days == 1 else "days"
    return f"standing charge: {line.days} {days} of tariff {line.tariff}"


def list_lines(bill: Bill) -> list[tuple[str, str, str, str]]:
    """What the energy costs: name, kWh, rate and amount of each line."""
    lines = [
        (slab_name(line), format_kwh(line.units_wh), format_money(line.rate),
         format_charge(line.charge))
        for line in bill.lines
    ]  # fmt: skip
    for extra in bill.extras:
        hours = hours_name(bill.month.tariffs[extra.tariff].terms, extra.rate)
        name = f"tariff {extra.tariff}, on top: {hours}"
        lines.append((name, format_kwh(extra.units_wh), format_money(extra.rate),
                      format_charge(extra.charge)))  # fmt: skip
    if bill.clamped_charge:
        lines.append(("never below zero", "", "", format_charge(bill.clamped_charge)))
    return lines


def list_sums(bill: Bill) -> list[tuple[str, str, str, str]]:
    """What comes beside the energy, if anything does: the same four columns."""
    said = bill.statement
    if not (bill.standing or said.tax_bp or bill.credits):
        return []
    lines = [("energy, rounded half up", format_kwh(bill.import_wh), "", format_money(said.energy))]
    for line in bill.standing:
        rate = format_money(line.rate) if line.tariff else ""
        lines.append((standing_name(line), "", rate, format_money(line.amount)))
    if said.tax_bp:
        percent = f"{said.tax_bp // 100}.{said.tax_bp % 100:02d} %"
        lines.append(("tax on both", "", percent, format_money(said.tax)))
    for credit in bill.credits:
        lines.append((f"fed in, tariff {credit.tariff}", format_kwh(credit.units_wh),
                      format_money(credit.rate), "-" + format_charge(credit.charge)))  # fmt: skip
    if bill.credits:
        lines.append(("fed in, rounded down", "", "", format_money(-said.credit)))
    return lines


def total_name(bill: Bill) -> str:
    return "to pay" if bill.statement.total >= 0 else "owed to you"


def count_gaps(month: Month) -> dict[bytes, list[tuple[int, int]]]:
    """For each meter the stretches of periods without a reading, first and last period."""
    gaps: dict[bytes, list[tuple[int, int]]] = {}
    for meter, missing in month.missing.items():
        stretches: list[tuple[int, int]] = []
        for period in missing:
            if stretches and stretches[-1][1] == period - 1:
                stretches[-1] = (stretches[-1][0], period)
            else:
                stretches.append((period, period))
        gaps[meter] = stretches
    return gaps


def bill_json(bill: Bill) -> dict[str, Any]:
    """A bill for scripts: integers in Wh, minor units, and Wh times rate."""
    month = bill.month
    return {
        "account": to_checksum(month.account),
        "month": month.name,
        "importWh": bill.import_wh,
        "exportWh": bill.export_wh,
        "charge": bill.charge,
        "amount": bill.amount,
        "statement": statement_json(bill.statement),
        "open": bill.open,
        "meters": [to_checksum(meter) for meter in month.meters],
        "readings": len(month.readings),
        "periods": len(month.periods),
        "estimated": len(bill.estimated),
        "lines": _lines_json(bill),
        "extras": [
            {"tariff": one.tariff, "rate": one.rate, "unitsWh": one.units_wh} for one in bill.extras
        ],
        "credits": [
            {"tariff": one.tariff, "rate": one.rate, "unitsWh": one.units_wh}
            for one in bill.credits
        ],
        "standing": [
            {"tariff": one.tariff, "days": one.days, "amount": one.amount} for one in bill.standing
        ],
        "frozen": [_frozen_json(one) for one in month.frozen],
        "gaps": [
            {"meter": to_checksum(meter), "firstPeriod": first, "lastPeriod": last}
            for meter, stretches in count_gaps(month).items()
            for first, last in stretches
        ],
        "corrections": _corrections_json(bill),
    }


def _lines_json(bill: Bill) -> list[dict[str, Any]]:
    return [
        {
            "tariff": line.tariff,
            "fromKwh": line.from_kwh,
            "toKwh": line.to_kwh,
            "rate": line.rate,
            "unitsWh": line.units_wh,
            "charge": line.charge,
        }
        for line in bill.lines
    ]


def _frozen_json(frozen: Frozen) -> dict[str, Any]:
    return {
        **statement_json(frozen.statement),
        "number": frozen.number,
        "frozenAt": frozen.frozen_at,
        "hash": "0x" + frozen.digest.hex(),
    }


def _corrections_json(bill: Bill) -> list[dict[str, Any]]:
    """Each correction beside the reading that the meter itself sent."""
    return [
        {
            "meter": to_checksum(reading.meter),
            "period": reading.period,
            "originalImportWh": reading.import_wh,
            "importWh": one.import_wh,
            "originalExportWh": reading.export_wh,
            "exportWh": one.export_wh,
            "operator": to_checksum(one.operator),
            "correctedAt": one.corrected_at,
            "reason": one.reason,
        }
        for reading in bill.corrected
        for one in reading.corrections
    ]


def statement_json(statement: Statement) -> dict[str, int]:
    """Wh, minor units and basis points."""
    return {
        "importWh": statement.import_wh,
        "exportWh": statement.export_wh,
        "entries": statement.entries,
        "taxBasisPoints": statement.tax_bp,
        "energy": statement.energy,
        "standing": statement.standing,
        "tax": statement.tax,
        "credit": statement.credit,
        "total": statement.total,
    }


def bill_table(bill: Bill) -> Table:
    """The slab lines and the total."""
    month = bill.month
    title = f"Bill of {to_checksum(month.account)} for {month.name}"
    table = make_table("slab", ">kWh", ">rate per kWh", ">amount", title=title)
    for line in list_lines(bill):
        table.add_row(*line)
    table.add_section()
    sums = list_sums(bill)
    for line in sums:
        table.add_row(*line)
    if not sums:
        table.add_row("import", format_kwh(bill.import_wh), "", "")
    if bill.export_wh and not bill.credits:
        table.add_row("export (not paid for)", format_kwh(bill.export_wh), "", "")
    total = format_money(abs(bill.statement.total))
    table.add_row(f"[bold]{total_name(bill)}[/bold]", "", "", f"[bold]{total}[/bold]")
    return table


def frozen_notes(bill: Bill) -> list[str]:
    """The month's frozen statements, and what is open since."""
    notes = []
    before: Frozen | None = None
    for one in bill.month.frozen:
        said = one.statement
        what = "bill" if before is None else "supplement"
        rise = said.total - (before.statement.total if before else 0)
        notes.append(
            f"{what} {one.number}, frozen on {format_time(one.frozen_at)}: {format_money(rise)}, "
            f"after {said.entries} readings and corrections; hash 0x{one.digest.hex()}"
        )
        before = one
    if before is not None:
        notes.append(
            f"open since then: {format_money(bill.open)}"
            if bill.month.total_entries != before.statement.entries
            else "nothing came since then"
        )
    return notes


def bill_notes(bill: Bill) -> list[str]:
    """What a resident should know of the readings under the bill."""
    month = bill.month
    notes = [
        f"{len(month.readings)} {plural('reading', month.readings)} of {len(month.meters)} "
        f"{plural('meter', month.meters)}; the month has {len(month.periods)} periods of "
        f"{month.period_seconds} s"
    ]
    if not month.meters:
        notes.append("no meter was ever enrolled for this account: is its address right?")
    for meter, stretches in count_gaps(month).items():
        missing = sum(last - first + 1 for first, last in stretches)
        if missing:
            first = f"{month.local(stretches[0][0]):%Y-%m-%d %H:%M}"
            notes.append(
                f"{missing} periods without a reading of {to_checksum(meter)}, in "
                f"{len(stretches)} {plural('gap', stretches)}, the first from {first}; "
                "nothing is charged for them"
            )
    nominal = sum(bool(one.current.quality & QUALITY_NOMINAL_VOLTAGE) for one in bill.estimated)
    if bill.estimated:
        notes.append(
            f"{len(bill.estimated)} {plural('reading', bill.estimated)} estimated or incomplete"
            + (f", {nominal} of them with the nominal, not a measured, voltage" if nominal else "")
        )
    for reading in bill.corrected:
        start = f"{month.local(reading.period):%Y-%m-%d %H:%M}"
        for one in reading.corrections:
            notes.append(
                f"the reading of {start} was corrected from {format_kwh(reading.import_wh)} to "
                f"{format_kwh(one.import_wh)} kWh by {to_checksum(one.operator)} on "
                f"{format_time(one.corrected_at)}: {one.reason}"
            )
    return notes + frozen_notes(bill)


def plural(noun: str, things: Sequence[object]) -> str:
    return noun if len(things) == 1 else noun + "s"
