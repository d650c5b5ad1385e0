"""The electricity dapp: each household's Pi tells a provider's contract what it used and owes.

The published experiment ran Geth with proof of work on Raspberry Pi 3B+ and reported the time to a
block and the processor's load for two, three and four peers. Here the same contract (`el_dapp`)
runs on four nodes, and each reading goes the way of Listing 4 (`examples/listing4.py`): estimate,
nonce, sign with the Pi's own key, send, wait for the receipt.
"""

import statistics
import time
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import Progress

from node.billing.render import format_kwh
from node.commands.common import make_table
from node.demo.households import Household
from node.demo.stories.contract import Deployed, Done, Person
from node.demo.stories.figures import NONE_FOUND, Comparison, Figure
from node.demo.stories.stage import Stage, read_energy, tell
from node.errors import NodeError

HOURS = 36  # the air conditioner goes through its whole range in 35
QUIET_S = 3.0
RATE = 296  # hundredths of a rupee a kWh, as Listing 4 has it
HALF_HOUR_S = 1_800
SOURCE = (
    "the electricity dapp's Listing 4 and Table 2 (Geth, proof of work, Raspberry Pi 3B+). Its "
    "blocks are mined, ours are voted on: a block there is not final, and this machine is no Pi; "
    "[block-time.md](block-time.md) has 1 to 13 peers with both engines."
)


@dataclass
class Pi:
    """A household's Raspberry Pi: its key, what it will measure, what it has sent."""

    household: Household
    user: Person
    energies: list[int]  # Wh of each reading
    each_hour: int
    sent: int = 0
    usage_wh: int = 0
    watts: list[int] = field(default_factory=list)  # as the chain's events tell them


def play(stage: Stage, console: Console, hours: int = HOURS, rest_s: float = 0.15) -> Comparison:
    """The story; `rest_s` after each hour's readings. Raises NodeError where it goes wrong."""
    provider = stage.person("provider")
    contract = stage.contract("el_dapp", provider, "Wattledger Energy", "a story with four homes")
    pis = []
    for household in stage.households:
        user = stage.person(household.name)
        interval_s = min(household.interval_s, 3_600)
        each_hour = 3_600 // interval_s
        pis.append(Pi(household, user, read_energy(household, interval_s, hours * each_hour),
                      each_hour))  # fmt: skip
        contract.send(provider, "addUser", user.address)
    tell(console, f"{len(pis)} users added; each reading is setDebt(usage, bill, user), signed by "
                  "its own Pi")  # fmt: skip
    quiet = measure_quiet(stage)
    began, before = time.monotonic(), stage.cpu_seconds()
    sent = send_readings(console, contract, pis, hours, rest_s)
    spent_s, after = time.monotonic() - began, stage.cpu_seconds()
    load = None if before is None or after is None else _mean_percent(before, after, spent_s)
    show_bills(console, contract, pis)
    gone = pis[0].user
    contract.send(provider, "removeUser", gone.address)
    refused = contract.refusal(gone, "setDebt", 1, 1, gone.address)
    tell(console, f"removed by the provider, {gone.name} is refused: {refused.split('(')[0]}")
    return compare(pis, sent, len(sent) / spent_s, quiet, load)


def measure_quiet(stage: Stage) -> float | None:
    """Percent of a core that a node takes while nothing is sent."""
    before = stage.cpu_seconds()
    time.sleep(QUIET_S)
    after = stage.cpu_seconds()
    if before is None or after is None:
        return None
    return _mean_percent(before, after, QUIET_S)


def _mean_percent(before: list[float], after: list[float], seconds: float) -> float:
    used = statistics.mean(last - first for first, last in zip(before, after, strict=True))
    return 100 * used / seconds


def send_readings(
    console: Console, contract: Deployed, pis: list[Pi], hours: int, rest_s: float
) -> list[Done]:
    """Every Pi's readings, hour by hour, each one final before the next is sent."""
    done: list[Done] = []
    with Progress(console=console) as progress:
        task = progress.add_task("readings", total=sum(len(pi.energies) for pi in pis))
        for _ in range(hours):
            for pi in pis:
                for _ in range(pi.each_hour):
                    done.append(send_reading(contract, pi))
                    progress.advance(task)
            time.sleep(rest_s)
    return done


def send_reading(contract: Deployed, pi: Pi) -> Done:
    """One run of Listing 4."""
    used_wh = pi.energies[pi.sent]
    usage_wh = pi.usage_wh + used_wh
    bill = usage_wh * RATE // 1_000
    done = contract.send(pi.user, "setDebt", usage_wh, bill, pi.user.address)
    told = done.event("DebtSet")
    pi.watts.append((told["usage"] - pi.usage_wh) * pi.each_hour)
    pi.usage_wh, pi.sent = told["usage"], pi.sent + 1
    return done


def show_bills(console: Console, contract: Deployed, pis: list[Pi]) -> None:
    """What the contract has, against what was measured."""
    table = make_table("user", ">readings", ">kWh on chain", ">bill", ">lowest W", ">highest W")
    for pi in pis:
        usage_wh = contract.read("getUsage", pi.user.address)
        bill = contract.read("getBill", pi.user.address)
        if usage_wh != sum(pi.energies) or bill != usage_wh * RATE // 1_000:
            raise NodeError(f"{pi.user.name}: {usage_wh} Wh on chain, {sum(pi.energies)} measured")
        table.add_row(pi.user.name, str(pi.sent), format_kwh(usage_wh), f"{bill / 100:,.2f}",
                      f"{min(pi.watts):,}", f"{max(pi.watts):,}")  # fmt: skip
    tell(console, table)


def compare(
    pis: list[Pi], sent: list[Done], per_s: float, quiet: float | None, load: float | None
) -> Comparison:
    times = sorted(1_000 * one.seconds for one in sent)
    p50, p95 = times[len(times) // 2], times[len(times) * 95 // 100]
    blocks = len({one.block for one in sent})
    conditioner = pis[-1].watts
    final = f"{p50:.0f} ms from send to final (95 %: {p95:.0f} ms)"
    all_ = sum(len(pi.energies) for pi in pis)
    busy = "not told by this system"
    if load is not None and quiet is not None:
        rest = f"{quiet:.1f}" if quiet >= 0.1 else "under 0.1"
        busy = f"{load:.1f} % at {per_s:.0f} readings/s, {rest} % at rest"
    power = f"{min(conditioner):,} to {max(conditioner):,} W, of whole Wh"
    figures = (
        Figure("time to a block, 4 peers", "3 s", final),
        Figure("the same, 3 and 2 peers", "5 s, 9 s", "docs/block-time.md"),
        Figure("processor of a peer, 4 peers", "4.2 %", busy),
        Figure("the same, 3 and 2 peers", "7 %, 12 %", "docs/block-time.md"),
        Figure("power of the air conditioner", "1,370.6 to 1,520.2 W", power),
        Figure("readings final", NONE_FOUND, f"{len(sent)} of {all_}, in {blocks} blocks"),
        Figure("gas of setDebt", NONE_FOUND, f"{max(one.gas_used for one in sent):,} at most"),
    )
    return Comparison("el-dapp", "The electricity dapp", SOURCE, figures)
