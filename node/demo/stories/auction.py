"""The double auction: an hour of the households cleared at one price, settled by what was metered.

Each home bids for what it used in the hour before, and is settled by what it used in the hour: both
are the readings'. What two batteries sell is made up, as the readings have none; one of them
delivers less than it sold. An hour lasts HOUR_S seconds of the network's time,
so that a person need not wait for the gate. The same orders are placed for two hours in a row, the
second time in another order of arrival: price, volume and every share must be the same.
"""

import random
import secrets
import statistics
import time
from dataclasses import dataclass

from rich.console import Console

from node.commands.common import make_table
from node.demo.stories.contract import Deployed, Person
from node.demo.stories.figures import NONE_FOUND, Comparison, Figure
from node.demo.stories.stage import Stage, read_energy, tell
from node.errors import NodeError

HOUR_S = 2  # of the network's time, for an hour of the readings
SLACK = 2.5  # times as long as the deposits took, for as many orders in both hours
SLACK_S_MIN = 2.0
GRACE_S = 3_600
STEP_WEI = 1_000
PENALTY_WEI = 50_000  # a kWh
DEPOSIT_WEI = 10**9
EVENING = 20  # the hour that is cleared, of the first day without a gap
LIMITS = (300, 260, 260, 200)  # steps that the homes bid at: two of them tie
BATTERIES = (("battery of house 7", 1_600, 1_600, 180), ("battery of house 9", 600, 450, 220))
SOURCE = (
    "Foti and Vavalis, [Blockchain based uniform price double auctions for energy markets]"
    "(https://doi.org/10.1016/j.apenergy.2019.113604), 2019: block time should be several "
    "magnitudes below the auction's period. The text of its measurements was not to be had."
)


@dataclass
class Trader:
    """Who orders: above zero it buys; `metered_wh` is what its meter will record."""

    person: Person
    meter: Person
    quantity_wh: int
    metered_wh: int
    step: int


@dataclass(frozen=True)
class Hour:
    """A cleared hour: the price in wei a kWh, the volume, what each trader got."""

    period: int
    price: int
    volume_wh: int
    traded: tuple[int, ...]


def play(stage: Stage, console: Console) -> Comparison:
    """The story. Raises NodeError where it goes wrong."""
    operator = stage.person("operator")
    metering = stage.contract("metering", operator, HOUR_S, 0)
    auction = stage.contract(
        "double_auction", operator, metering.address, 0, GRACE_S, STEP_WEI, PENALTY_WEI
    )
    traders = gather(stage)
    began = time.monotonic()
    for one in traders:
        metering.send(operator, "enrol", one.meter.address, one.person.address)
        auction.send(one.person, "deposit", value=DEPOSIT_WEI)
    slack_s = max(SLACK_S_MIN, SLACK * (time.monotonic() - began))
    first = int(time.time() + slack_s) // HOUR_S + 1
    shuffled = shuffle(traders)
    seconds = place_all(auction, first, traders) + place_all(auction, first + 1, shuffled)
    early = auction.refusal(operator, "clear", first, 100).split("(")[0]
    tell(console, f"{len(seconds)} orders placed for two hours; the second time in another order: "
                  f"{', '.join(one.person.name for one in shuffled)}")  # fmt: skip
    tell(console, f"to clear while the gate is open is refused: {early}")
    await_time(stage, (first + 1) * HOUR_S)
    hours, steps = [], 0
    for period in (first, first + 1):
        hour, steps = clear(auction, operator, traders, period)
        hours.append(hour)
    if hours[0].traded != hours[1].traded or hours[0].price != hours[1].price:
        raise NodeError(f"the order of arrival changed the result: {hours}")
    show_hour(console, traders, hours[0])
    settled = settle(console, metering, auction, traders, hours[0])
    return compare(auction, traders, hours[0], steps, seconds, settled)


def gather(stage: Stage) -> list[Trader]:
    traders = []
    for household, step in zip(stage.households, LIMITS, strict=True):
        day = read_energy(household, 3_600, 24)
        traders.append(
            Trader(stage.person(household.name), _meter(household.name), day[EVENING - 1],
                   day[EVENING], step)
        )  # fmt: skip
    for name, sold_wh, delivered_wh, step in BATTERIES:
        traders.append(Trader(stage.person(name), _meter(name), -sold_wh, delivered_wh, step))
    return traders


def _meter(name: str) -> Person:
    return Person(f"meter of {name}", secrets.token_bytes(32))


def shuffle(traders: list[Trader]) -> list[Trader]:
    """Another order than the first one, drawn by lot."""
    shuffled = list(traders)
    while shuffled == traders:
        random.shuffle(shuffled)
    return shuffled


def place_all(auction: Deployed, period: int, traders: list[Trader]) -> list[float]:
    """Orders in this order, each final before the next; the seconds each one took."""
    return [
        auction.send(
            one.person, "place", period, one.meter.address, one.quantity_wh, one.step
        ).seconds
        for one in traders
    ]


def await_time(stage: Stage, time_s: int) -> None:
    time.sleep(max(0.0, time_s + 1 - time.time()))
    stage.processes.check()


def clear(
    auction: Deployed, operator: Person, traders: list[Trader], period: int
) -> tuple[Hour, int]:
    """Clear two price steps at a time, as a block too small for more would have it."""
    transactions = 0
    while True:
        done = auction.send(operator, "clear", period, 2)
        transactions += 1
        if done.events:
            break
    _, price, volume_wh = auction.read("result", period)
    traded = tuple(auction.read("tradedBy", one.person.address, period) for one in traders)
    bought = sum(one for one in traded if one > 0)
    if not 0 <= bought + sum(one for one in traded if one < 0) < len(traders):
        raise NodeError(f"bought and sold do not meet: {traded}")
    return Hour(period, price, volume_wh, traded), transactions


def show_hour(console: Console, traders: list[Trader], hour: Hour) -> None:
    """What each trader ordered and what it got, and the one price."""
    table = make_table("trader", ">ordered Wh", ">limit, wei/kWh", ">traded Wh")
    for one, traded in zip(traders, hour.traded, strict=True):
        table.add_row(one.person.name, f"{one.quantity_wh:+,}", f"{one.step * STEP_WEI:,}",
                      f"{traded:+,}")  # fmt: skip
    tell(console, table)
    tell(
        console,
        f"one price for all, whoever came first: {hour.price:,} wei a kWh, {hour.volume_wh:,} Wh",
    )


def settle(
    console: Console, metering: Deployed, auction: Deployed, traders: list[Trader], hour: Hour
) -> list[dict[str, int]]:
    """The meters record the hour, then anybody settles."""
    silent = auction.refusal(traders[0].person, "settle", hour.period, traders[0].person.address)
    tell(console, f"to settle before the meters have spoken is refused: {silent.split('(')[0]}")
    table = make_table("trader", ">metered Wh", ">paid, wei", ">received", ">penalty")
    settled = []
    for one in traders:
        import_wh = one.metered_wh if one.quantity_wh > 0 else 0
        export_wh = one.metered_wh - import_wh
        metering.send(one.meter, "record", hour.period, import_wh, export_wh, 1)
        told = auction.send(traders[0].person, "settle", hour.period, one.person.address)
        event = told.event("Settled")
        settled.append(event)
        table.add_row(one.person.name, f"{one.metered_wh:,}", f"{event['paid']:,}",
                      f"{event['received']:,}", f"{event['penalty']:,}")  # fmt: skip
    tell(console, table)
    return settled


def compare(
    auction: Deployed,
    traders: list[Trader],
    hour: Hour,
    transactions: int,
    seconds: list[float],
    settled: list[dict[str, int]],
) -> Comparison:
    surplus = auction.read("surplus")
    held = sum(
        auction.read("balanceOf", one.person.address)
        + auction.read("orderOf", one.person.address, hour.period + 1)[3]
        for one in traders
    )
    if held + surplus != len(traders) * DEPOSIT_WEI:
        raise NodeError(f"{held} and {surplus} wei are not what was deposited")
    place_s = statistics.median(seconds)
    figures = (
        Figure("block time against the auction's period", "several magnitudes below",
               f"{1_000 * place_s:.0f} ms against 1 h: 1 to {3_600 / place_s:,.0f}"),
        Figure("price of the hour", NONE_FOUND, f"{hour.price:,} wei a kWh for all"),
        Figure("energy traded", NONE_FOUND, f"{hour.volume_wh:,} Wh by {len(traders)} traders"),
        Figure("orders shuffled", NONE_FOUND, "same price, volume and shares"),
        Figure("clearing, 2 price steps each", NONE_FOUND, f"{transactions} transactions"),
        Figure("settled by metered energy", NONE_FOUND, f"{len(settled)} of {len(traders)}, "
               f"{sum(one['penalty'] for one in settled):,} wei of penalties"),
        Figure("coins", NONE_FOUND, "all accounted for, to the wei"),
    )  # fmt: skip
    return Comparison("auction", "The double auction", SOURCE, figures)
