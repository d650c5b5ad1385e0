"""What happens in the demo, told as it happens: every number is read from the running processes."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from ledger.crypto.address import to_checksum
from ledger.work import SETTLED_BLOCKS
from node.billing.render import bill_table, format_kwh
from node.billing.sources import follow_chain
from node.client import ClientError
from node.commands.common import make_table
from node.commands.verify import explain_proof, prove_bill
from node.demo.grid import (
    CUT_OFF,
    HOST,
    KILLED,
    NODES,
    READY_S,
    Grid,
    block_at,
    count_recorded,
    count_transactions,
    deploy_metering,
    make_grid,
    start_meter,
    wait_until_connected,
)
from node.demo.households import prepare_households
from node.errors import NodeError

FEED_S = 60.0  # the boards replay their month in about so long
STILL_S = 100.0  # without one hour more on chain; a demo that stands still so long is broken
BAR_CELLS = 16  # what a terminal of 80 columns has room for
# Fractions of the month at which the demo's accidents happen and are mended.
KILL_AT, CUT_AT, RESTART_AT, MEND_AT = 0.20, 0.30, 0.55, 0.65


@dataclass
class Accidents:
    """What has happened so far."""

    killed: bool = False
    cut: bool = False
    restarted: bool = False
    mended: bool = False
    caught_up: bool = False
    waiting_max: int = 0


def run_demo(console: Console, folder: Path, own: Path | None, consensus: str = "qbft") -> None:
    """The whole story in `folder`. Raises NodeError where something is not as it must be."""
    began = time.monotonic()
    households = prepare_households(folder / "readings", own)
    hours = sum(one.hours for one in households)
    console.rule("[bold]1. Four peers form a network")
    grid = make_grid(folder, consensus)
    try:
        for index in range(NODES):
            grid.start_node(index)
        wait_until_connected(grid)
        show_nodes(console, grid)
        console.rule("[bold]2. A contract in Python, a tariff, and a meter for each household")
        deploy_metering(grid, households)
        show_households(console, grid)
        outcome = "settled by work" if grid.is_mined else "final"
        console.rule(
            f"[bold]3. {hours:,} hours of readings, each signed by its meter and {outcome}"
        )
        accidents = watch_month(console, grid)
        console.rule("[bold]4. Every bill proved from the network file alone")
        console.print(
            f"{hours:,} hours in {count_transactions(grid.client(0), grid):,} transactions; "
            "a backlog shares some, up to a hundred hours in each"
        )
        check_nodes_agree(console, grid)
        prove_bills(console, grid)
        write_summary(grid)
    finally:
        grid.close()
    console.print(
        f"[bold green]Done[/bold green] in {time.monotonic() - began:.0f} s. "
        f"One node was killed and came back, one meter was cut off with {accidents.waiting_max} "
        "records waiting and delivered each of them once."
    )


def show_nodes(console: Console, grid: Grid) -> None:
    """Where each node answers and how many peers it has."""
    console.print(f"JSON-RPC at [bold]http://{HOST}[/bold] and each node's port")
    table = make_table("node", "process", "address", ">port", ">peers")  # all that 80 columns take
    for index, member in enumerate(grid.network.members):
        peers = len(grid.client(index).call("admin_peers"))
        table.add_row(
            member.name, str(grid.processes.pid(member.name)), to_checksum(member.address),
            str(member.rpc_port), str(peers),
        )  # fmt: skip
    console.print(table)


def show_households(console: Console, grid: Grid) -> None:
    console.print(f"Metering at [bold]{to_checksum(grid.contract)}[/bold]")
    table = make_table("household", "month", ">rows", ">kWh in the file", "readings from")
    for meter in grid.meters:
        one = meter.household
        table.add_row(one.name, one.month, f"{one.rows:,}", format_kwh(one.import_wh),
                      escape(one.source))  # fmt: skip
    console.print(table)


def watch_month(console: Console, grid: Grid) -> Accidents:
    """Start the meters and keep a table of them until every hour is on chain."""
    for index, meter in enumerate(grid.meters):
        start_meter(grid, index, meter.household.rows / FEED_S)
    accidents = Accidents()
    wanted = [one.household.hours for one in grid.meters]
    deadline, before = time.monotonic() + STILL_S, None
    with Live(console=console, refresh_per_second=4, transient=False) as live:
        while True:
            grid.processes.check()
            recorded = count_recorded(grid.client(0), grid)
            waiting = waiting_records(grid)
            accidents.waiting_max = max(accidents.waiting_max, waiting[CUT_OFF % len(waiting)])
            share = max(done / all_ for (done, _), all_ in zip(recorded, wanted, strict=True))
            cause_accidents(console, grid, accidents, share)
            live.update(progress_table(grid, recorded, wanted, waiting))
            done_all = all(done >= all_ for (done, _), all_ in zip(recorded, wanted, strict=True))
            if done_all and not any(waiting):  # each meter has seen its last receipt, too
                break
            if (recorded, waiting) != before:
                deadline, before = time.monotonic() + STILL_S, (recorded, waiting)
            elif time.monotonic() > deadline:
                raise NodeError(
                    f"{sum(done for done, _ in recorded)} of {sum(wanted)} hours are on chain, and "
                    f"no more came for {STILL_S:.0f} s; see {grid.processes.logs}"
                )
            time.sleep(0.2)
    if not console.is_terminal:
        console.line()
    cause_accidents(console, grid, accidents, 1.0)
    return accidents


def cause_accidents(console: Console, grid: Grid, accidents: Accidents, share: float) -> None:
    """Kill a node, cut off a meter, and mend both, as the month goes on."""
    name = grid.network.members[KILLED].name
    if share >= KILL_AT and not accidents.killed:
        accidents.killed = True
        pid = grid.processes.kill(name)
        console.print(f"[red]{name} is killed[/red] (kill -9 {pid}); the others go on")
    if share >= CUT_AT and not accidents.cut:
        accidents.cut = True
        grid.relay.cut()
        console.print(f"[red]the meter of {grid.meters[CUT_OFF % len(grid.meters)].household.name} "
                      "is cut off[/red] from all nodes; it goes on measuring")  # fmt: skip
    if share >= RESTART_AT and not accidents.restarted:
        accidents.restarted = True
        grid.start_node(KILLED)
        console.print(f"[yellow]{name} is started again[/yellow]")
    if share >= MEND_AT and not accidents.mended:
        accidents.mended = True
        grid.relay.mend()
        console.print("[yellow]the cable is back[/yellow]: the waiting records are sent")
    if accidents.restarted and not accidents.caught_up:
        head = grid.client(0).height()
        try:
            theirs = grid.client(KILLED).height()
        except ClientError:
            return  # it is still starting
        if head - theirs <= 1:
            accidents.caught_up = True
            console.print(f"[green]{name} has caught up[/green] at block {theirs:,}")


def progress_table(
    grid: Grid, recorded: list[tuple[int, int]], wanted: list[int], waiting: list[int]
) -> Table:
    """How much of each household's readings is on chain; redrawn while the demo runs."""
    heights = []
    for index, member in enumerate(grid.network.members):
        try:
            heights.append(f"{member.name} {grid.client(index).height():,}")
        except ClientError:
            heights.append(f"{member.name} down")
    table = make_table("household", ">hours on chain", "", ">kWh on chain", ">waiting",
                       title="blocks: " + ", ".join(heights))  # fmt: skip
    for meter, (done, wh), all_, queued in zip(grid.meters, recorded, wanted, waiting, strict=True):
        bar = ("█" * (BAR_CELLS * done // all_)).ljust(BAR_CELLS)
        table.add_row(meter.household.name, f"{done} of {all_}", bar, format_kwh(wh),
                      str(queued))  # fmt: skip
    return table


def waiting_records(grid: Grid) -> list[int]:
    """How many records each meter has not yet seen on chain, by its own status file."""
    counts = []
    for meter in grid.meters:
        try:
            status = json.loads(meter.status_file.read_text())
            counts.append(sum(one["waiting"] for one in status))
        except (OSError, ValueError):
            counts.append(0)  # not written yet
    return counts


def check_nodes_agree(console: Console, grid: Grid) -> None:
    """All four nodes have one block at one height."""
    deadline = time.monotonic() + READY_S
    while True:
        heights = [grid.client(index).height() for index in range(NODES)]
        if len(set(heights)) == 1 or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    height = max(heights)
    if min(heights) < height:
        behind = [grid.network.members[i].name for i in range(NODES) if heights[i] < height]
        raise NodeError(
            f"{', '.join(behind)} did not reach block {height}; see {grid.processes.logs}"
        )
    if grid.is_mined:  # of two last blocks found at once each node keeps the one it saw first
        height -= SETTLED_BLOCKS
    hashes = {block_at(grid.client(index), height) for index in range(NODES)}
    if len(hashes) != 1:
        raise NodeError(f"the nodes disagree about block {height}: {sorted(hashes)}")
    console.print(f"all {NODES} nodes have block {height:,}: {hashes.pop()}")
    if grid.is_mined:
        calls = [grid.client(index).call("wattledger_status") for index in range(NODES)]
        beside = max(status["sideBlocks"] for status in calls)
        console.print(
            f"{SETTLED_BLOCKS} blocks stand on it; {beside} more were mined beside the chain and "
            "count for nothing, what they held was mined again"
        )


def prove_bills(console: Console, grid: Grid) -> None:
    """Each bill from another node, believing none."""
    last = len(grid.meters) - 1
    for index, meter in enumerate(grid.meters):
        client = grid.client((index + 1) % NODES)
        followed = follow_chain(client, grid.network.genesis)
        bill, words, standard = prove_bill(
            client, followed, grid.contract, meter.account, meter.household.month
        )
        source_wh = meter.household.import_wh
        console.print(f"[bold]{meter.household.name}[/bold]")
        console.print(bill_table(bill))
        if bill.import_wh != source_wh:
            raise NodeError(
                f"{meter.household.name}: the chain has {bill.import_wh} Wh, the file {source_wh}"
            )
        console.print(f"the file has {format_kwh(source_wh)} kWh, to the watt-hour the same")
        if index == last:
            for line in explain_proof(bill, followed, words, grid.contract, standard):
                console.print(line, highlight=False)


def write_summary(grid: Grid) -> None:
    """What a script of one's own needs to compare the files with the chain."""
    document = {
        "contract": to_checksum(grid.contract),
        "network": str(grid.network.network_file),
        "nodes": [str(member.config_file) for member in grid.network.members],
        "rpc": [grid.url(index) for index in range(NODES)],
        "households": [
            {
                "name": meter.household.name,
                "meter": to_checksum(meter.address),
                "account": to_checksum(meter.account),
                "month": meter.household.month,
                "readings": str(meter.household.file),
                "column": meter.household.column,
                "interval_s": meter.household.interval_s,
            }
            for meter in grid.meters
        ],
    }
    (grid.folder / "demo.json").write_text(json.dumps(document, indent=2) + "\n")
