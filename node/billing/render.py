"""A bill as text for people: money, energy, tables, and how each is verified."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from rich.table import Table

from ledger.crypto.address import to_checksum
from node.billing.bill import QUALITY_NOMINAL_VOLTAGE, Bill, SlabLine
from node.billing.month import Month
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
        "meters": [to_checksum(meter) for meter in month.meters],
        "readings": len(month.readings),
        "periods": month.last_period - month.first_period + 1,
        "estimated": len(bill.estimated),
        "lines": [
            {
                "tariff": line.tariff,
                "fromKwh": line.from_kwh,
                "toKwh": line.to_kwh,
                "rate": line.rate,
                "unitsWh": line.units_wh,
                "charge": line.charge,
            }
            for line in bill.lines
        ],
        "gaps": [
            {"meter": to_checksum(meter), "firstPeriod": first, "lastPeriod": last}
            for meter, stretches in count_gaps(month).items()
            for first, last in stretches
        ],
        "corrections": [
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
        ],
    }


def bill_table(bill: Bill) -> Table:
    """The slab lines and the total."""
    month = bill.month
    title = f"Bill of {to_checksum(month.account)} for {month.name}"
    table = make_table("slab", ">kWh", ">rate per kWh", ">amount", title=title)
    for line in bill.lines:
        table.add_row(
            slab_name(line), format_kwh(line.units_wh), format_money(line.rate),
            format_charge(line.charge),
        )  # fmt: skip
    if bill.clamped_charge:
        table.add_row("never below zero", "", "", format_charge(bill.clamped_charge))
    table.add_section()
    table.add_row("import", format_kwh(bill.import_wh), "", "")
    if bill.export_wh:
        table.add_row("export (not paid for)", format_kwh(bill.export_wh), "", "")
    table.add_row("[bold]to pay[/bold]", "", "", f"[bold]{format_money(bill.amount)}[/bold]")
    return table


def bill_notes(bill: Bill) -> list[str]:
    """What a resident should know of the readings under the bill."""
    month = bill.month
    periods = month.last_period - month.first_period + 1
    notes = [
        f"{len(month.readings)} {plural('reading', month.readings)} of {len(month.meters)} "
        f"{plural('meter', month.meters)}; the month has {periods} periods of "
        f"{month.period_seconds} s"
    ]
    if not month.meters:
        notes.append("no meter was ever enrolled for this account: is its address right?")
    for meter, stretches in count_gaps(month).items():
        missing = sum(last - first + 1 for first, last in stretches)
        if missing:
            first = format_time(month.start_of(stretches[0][0]), month.utc_offset_seconds)
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
        start = format_time(month.start_of(reading.period), month.utc_offset_seconds)
        for one in reading.corrections:
            notes.append(
                f"the reading of {start} was corrected from {format_kwh(reading.import_wh)} to "
                f"{format_kwh(one.import_wh)} kWh by {to_checksum(one.operator)} on "
                f"{format_time(one.corrected_at)}: {one.reason}"
            )
    return notes


def plural(noun: str, things: Sequence[object]) -> str:
    return noun if len(things) == 1 else noun + "s"
