"""A bill as one HTML page that prints well and needs nothing from the network."""

from html import escape
from importlib import resources
from string import Template

from ledger.crypto.address import to_checksum
from node.billing.bill import Bill
from node.billing.render import (
    bill_notes,
    format_charge,
    format_kwh,
    format_money,
    format_time,
    slab_name,
)

CHART_WIDTH = 720
CHART_HEIGHT = 120


def render_page(bill: Bill, contract: bytes, command: str) -> str:
    """The page. `command` is the one that proves the bill."""
    month = bill.month
    template = Template(resources.files("node.billing").joinpath("bill.html").read_text("utf-8"))
    return template.substitute(
        account=to_checksum(month.account),
        contract=to_checksum(contract),
        month=month.name,
        amount=format_money(bill.amount),
        import_kwh=format_kwh(bill.import_wh),
        export_kwh=format_kwh(bill.export_wh),
        chart=_day_chart(bill),
        lines="".join(
            f"<tr><td>{escape(slab_name(line))}</td><td>{format_kwh(line.units_wh)}</td>"
            f"<td>{format_money(line.rate)}</td><td>{format_charge(line.charge)}</td></tr>"
            for line in bill.lines
        ),
        notes="".join(f"<li>{escape(note)}</li>" for note in bill_notes(bill)),
        command=escape(command),
    )


def _day_chart(bill: Bill) -> str:
    """A bar for each day of the month, as inline SVG; the text beside it is for who cannot see."""
    month = bill.month
    offset = month.utc_offset_seconds
    sums: dict[str, int] = {}
    for period in range(month.first_period, month.last_period + 1):
        sums.setdefault(format_time(month.start_of(period), offset)[:10], 0)
    for reading in month.readings:
        day = format_time(month.start_of(reading.period), offset)[:10]
        sums[day] += reading.current.import_wh
    most = max(sums.values(), default=0) or 1
    step = CHART_WIDTH / max(1, len(sums))
    bars = []
    for index, (day, wh) in enumerate(sums.items()):
        height = wh * (CHART_HEIGHT - 20) // most
        x = f"{index * step + 2:.1f}"
        bars.append(
            f'<rect x="{x}" y="{CHART_HEIGHT - 16 - height}" width="{step - 4:.1f}" '
            f'height="{height}"><title>{day}: {format_kwh(wh)} kWh</title></rect>'
            f'<text x="{index * step + step / 2:.1f}" y="{CHART_HEIGHT - 3}">{int(day[8:])}</text>'
        )
    return (
        f'<svg viewBox="0 0 {CHART_WIDTH} {CHART_HEIGHT}" role="img" '
        f'aria-label="kWh by day; the highest day has {format_kwh(most)}">{"".join(bars)}</svg>'
    )
