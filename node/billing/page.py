"""A bill as one HTML page that prints well and needs nothing from the network."""

from html import escape
from importlib import resources
from string import Template

from ledger.crypto.address import to_checksum
from node.billing.bill import Bill
from node.billing.render import (
    bill_notes,
    format_kwh,
    format_money,
    list_lines,
    list_sums,
    total_name,
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
        amount=format_money(abs(bill.statement.total)),
        total=total_name(bill),
        paid="credited below" if bill.credits else "not paid for on this bill",
        import_kwh=format_kwh(bill.import_wh),
        export_kwh=format_kwh(bill.export_wh),
        chart=_day_chart(bill),
        lines=_rows(list_lines(bill)),
        sums=_rows(list_sums(bill)),
        notes="".join(f"<li>{escape(note)}</li>" for note in bill_notes(bill)),
        command=escape(command),
    )


def _rows(lines: list[tuple[str, str, str, str]]) -> str:
    return "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>" for line in lines
    )


def _day_chart(bill: Bill) -> str:
    """A bar for each day of the month, as inline SVG; the text beside it is for who cannot see."""
    month = bill.month
    sums = dict.fromkeys((f"{month.local(period):%Y-%m-%d}" for period in month.periods), 0)
    for reading in month.readings:
        sums[f"{month.local(reading.period):%Y-%m-%d}"] += reading.current.import_wh
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
