"""`wattledger usage` and `wattledger bill`: what a node says; `wattledger verify` proves it."""

from pathlib import Path

import click

from ledger.crypto.address import to_checksum
from node.billing.bill import compute_bill
from node.billing.month import Month, parse_month, read_month
from node.billing.render import bill_json, bill_notes, bill_table, format_kwh
from node.billing.sources import BelievedWords, get_source, make_layout
from node.billing.words import Layout
from node.commands.common import (
    ADDRESS,
    connect,
    console,
    json_option,
    make_table,
    month_option,
    print_json,
    rpc_option,
    say,
)
from node.errors import NodeError

CONTRACT_HELP = "The grid's Metering contract."


def check_is_metering(layout: Layout, contract: bytes) -> None:
    """Raises NodeError for another contract, whose fields mean other things."""
    name = layout.model.name
    if name != "Metering":
        raise NodeError(f"{to_checksum(contract)} holds the contract {name}, not Metering")


def load_month(rpc: str, contract: bytes, account: bytes, month: str) -> Month:
    """An account's month as a node says it is."""
    client = connect(rpc)
    height = client.height()
    layout = make_layout(get_source(client, contract, height), contract)
    check_is_metering(layout, contract)
    return read_month(layout, BelievedWords(client, contract, height), account, parse_month(month))


@click.command()
@click.option("--contract", type=ADDRESS, required=True, help=CONTRACT_HELP)
@click.option("--account", type=ADDRESS, required=True, help="Whose usage.")
@month_option
@rpc_option
@json_option
def usage(contract: bytes, account: bytes, month: str, rpc: str, as_json: bool) -> None:
    """What an account used, day by day of a month.

    \b
    Example:
      wattledger usage --contract 0x5FbD...0aa3 --account 0x7099...79C8 --month 2026-11
    """
    found = load_month(rpc, contract, account, month)
    days: dict[str, list[int]] = {}
    for reading in found.readings:
        sums = days.setdefault(f"{found.local(reading.period):%Y-%m-%d}", [0, 0, 0])
        sums[0] += reading.current.import_wh
        sums[1] += reading.current.export_wh
        sums[2] += 1
    if as_json:
        print_json(
            [
                {"day": day, "importWh": used, "exportWh": given, "readings": count}
                for day, (used, given, count) in sorted(days.items())
            ]
        )
        return
    table = make_table("day", ">import kWh", ">export kWh", ">readings",
                       title=f"Usage of {to_checksum(account)} in {month}")  # fmt: skip
    for day, (used, given, count) in sorted(days.items()):
        table.add_row(day, format_kwh(used), format_kwh(given), str(count))
    table.add_section()
    table.add_row("month", *(format_kwh(sum(d[i] for d in days.values())) for i in (0, 1)),
                  str(len(found.readings)))  # fmt: skip
    console.print(table)


@click.command()
@click.option("--contract", type=ADDRESS, required=True, help=CONTRACT_HELP)
@click.option("--account", type=ADDRESS, required=True, help="Whose bill.")
@month_option
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path),
              help="Write the bill as a page to print or send.")  # fmt: skip
@rpc_option
@json_option
def bill(
    contract: bytes, account: bytes, month: str, html: Path | None, rpc: str, as_json: bool
) -> None:
    """An account's bill for a month: slabs, gaps, estimates, corrections, total.

    \b
    Example:
      wattledger bill --contract 0x5FbD...0aa3 --account 0x7099...79C8 --month 2026-11
    """
    computed = compute_bill(load_month(rpc, contract, account, month))
    command = (
        f"wattledger verify bill --network network.json --rpc {rpc} --month {month} "
        f"--contract {to_checksum(contract)} --account {to_checksum(account)}"
    )
    if html is not None:
        from node.billing.page import render_page

        html.write_text(render_page(computed, contract, command))
    if as_json:
        print_json(bill_json(computed))
        return
    console.print(bill_table(computed))
    for note in bill_notes(computed):
        say(f"- {note}", soft_wrap=False)
    say(f"This is what {rpc} says. To prove it:\n  {command}")
    if html is not None:
        say(f"page written to {html}")
