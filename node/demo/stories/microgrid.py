"""The microgrid: producers advertise, the price rises each hour, consumers buy, regulators confirm.

The consumers are the homes of the readings, each buys what it used in an hour. What the two roofs
have in store is made up: the readings have no solar panels. Clocks of nodes are real, and nobody
waits three hours here: what an advert costs in an hour, and that it has run out in three, is asked
of a node by eth_call with the block's time set ahead. Every purchase, confirmation and refund is a
transaction.
"""

import time
from dataclasses import dataclass

from rich.console import Console

from node.billing.render import format_kwh
from node.commands.common import make_table
from node.demo.stories.contract import Deployed, Person, Refusal
from node.demo.stories.figures import NONE_FOUND, Comparison, Figure
from node.demo.stories.stage import Stage, read_energy, tell
from node.errors import NodeError

NOBODY = bytes(20)
PRODUCER_PERMILLE = 900  # the rest is tax
DELIVERY_S = 6
STORED_WH = {"roof of house 7": 5_000, "roof of house 9": 8_000}
PRICE_WEI = 1_000_000  # of a kWh, as proposed
SENT_WEI = 10**8  # with each purchase: the change comes back
HOUR_S = 3_600
LIFE_S = 3 * HOUR_S
TIMES = (
    ("the advert's", 0),
    ("59 min 59 s later", HOUR_S - 1),
    ("1 h later", HOUR_S),
    ("2 h later", 2 * HOUR_S),
    ("2 h 59 min 59 s later", LIFE_S - 1),
    ("3 h later", LIFE_S),
)
SOURCE = (
    "the microgrid trading contracts' rules (availableEnergyAdvert, requestForEnergy) as far as "
    "they are known here. No measured figure of that system was found."
)


@dataclass(frozen=True)
class Purchase:
    """Energy that a consumer bought: `price` in wei a kWh, `paid` in wei, `seconds` until final."""

    number: int
    consumer: Person
    producer: Person
    energy_wh: int
    price: int
    paid: int
    seconds: float


@dataclass(frozen=True)
class Advert:
    """Energy that a producer stored, known by the block time (Unix s) at which it was."""

    producer: Person
    time_s: int
    energy_wh: int


def play(stage: Stage, console: Console) -> Comparison:
    """The story. Raises NodeError where it goes wrong."""
    owner, regulator = stage.person("owner"), stage.person("regulator")
    grid = stage.contract("microgrid", owner, PRODUCER_PERMILLE, DELIVERY_S, NOBODY, NOBODY)
    grid.send(owner, "addRegulator", regulator.address)
    adverts = [advertise(stage, grid, regulator, *one) for one in STORED_WH.items()]
    consumers = []
    for household in stage.households:
        consumers.append(stage.person(household.name))
        grid.send(regulator, "addConsumer", consumers[-1].address, household.name)
    tell(console, f"{len(adverts)} producers (their energy is made up), {len(consumers)} consumers "
                  "(their use is real), 1 regulator")  # fmt: skip
    second = grid.refusal(regulator, "addConsumer", adverts[0].producer.address, "")
    too_much = grid.refusal(adverts[0].producer, "storeEnergy", 1_000_001)
    tell(console, f"refused: a producer as consumer, {second.split('(')[0]}; more than 1,000 kWh "
                  f"in store, {too_much.split('(')[0]}")  # fmt: skip
    prices = watch_price(console, grid, adverts[-1], consumers[0])
    wanted = [read_energy(household, HOUR_S, 1)[0] for household in stage.households]
    bought = [
        buy(stage, grid, consumer, adverts, energy_wh)
        for consumer, energy_wh in zip(consumers, wanted, strict=True)
    ]
    show_purchases(console, bought)
    refunded = deliver(stage, console, grid, regulator, bought)
    return compare(stage, grid, owner, prices, bought, refunded, adverts)


def advertise(stage: Stage, grid: Deployed, regulator: Person, name: str, energy_wh: int) -> Advert:
    """Admit a producer, fill its store, advertise all of it."""
    producer = stage.person(name)
    grid.send(regulator, "addProducer", producer.address, name)
    grid.send(producer, "storeEnergy", energy_wh)
    told = grid.send(producer, "availableEnergyAdvert", energy_wh, PRICE_WEI)
    event = told.event("EnergyAdvertised")
    return Advert(producer, event["advertTime"], event["energyWh"])


def watch_price(
    console: Console, grid: Deployed, advert: Advert, consumer: Person
) -> list[tuple[int, int]]:
    """(seconds ahead, wei a kWh): what a node says of times that are still to come."""
    table = make_table("block's time", ">wei a kWh", "requestForEnergy at the old price")
    told = []
    asked = 1_000, advert.time_s, PRICE_WEI, advert.producer.address
    for words, ahead_s in TIMES:
        at_s = advert.time_s + ahead_s
        price = "-"
        if ahead_s < LIFE_S:
            _, wei = grid.read("advert", advert.producer.address, advert.time_s, at_s=at_s)
            told.append((ahead_s, wei))
            price = f"{wei:,}"
        try:
            grid.read("requestForEnergy", *asked, sender=consumer, value=SENT_WEI, at_s=at_s)
            answer = "is taken"
        except Refusal as error:
            answer = f"is refused: {error.words.split('(')[0]}"
        table.add_row(words, price, answer)
    tell(console, "what node 1 answers for times to come (eth_call with the block's time):")
    tell(console, table)
    stored = grid.read("storeOf", advert.producer.address, at_s=advert.time_s + LIFE_S)[1]
    if stored != advert.energy_wh:
        raise NodeError(f"{stored} Wh are in store after three hours, not {advert.energy_wh}")
    tell(console, f"after 3 h all {advert.energy_wh:,} Wh are {advert.producer.name}'s again")
    return told


def buy(
    stage: Stage, grid: Deployed, consumer: Person, adverts: list[Advert], energy_wh: int
) -> Purchase:
    """A part of the first advert that still has so much; more coin than needed comes back."""
    for advert in adverts:
        left, price = grid.read("advert", advert.producer.address, advert.time_s)
        if left >= energy_wh:
            break
    else:
        raise NodeError(f"no advert has {energy_wh} Wh left for {consumer.name}")
    before = stage.balance(consumer)
    done = grid.send(consumer, "requestForEnergy", energy_wh, advert.time_s, price,
                     advert.producer.address, value=SENT_WEI)  # fmt: skip
    told, paid = done.event("EnergyRequested"), before - stage.balance(consumer)
    if paid != told["total"] or paid != -(-energy_wh * price // 1_000):
        raise NodeError(f"{consumer.name} paid {paid} wei for {energy_wh} Wh")
    return Purchase(told["purchaseId"], consumer, advert.producer, energy_wh, told["price"], paid,
                    done.seconds)  # fmt: skip


def show_purchases(console: Console, bought: list[Purchase]) -> None:
    table = make_table("consumer", "producer", ">kWh", ">wei", ">change")
    for one in bought:
        table.add_row(one.consumer.name, one.producer.name, format_kwh(one.energy_wh),
                      f"{one.paid:,}", f"{SENT_WEI - one.paid:,}")  # fmt: skip
    tell(console, table)


def deliver(
    stage: Stage, console: Console, grid: Deployed, regulator: Person, bought: list[Purchase]
) -> Purchase:
    """The regulator confirms all but the last; that one is given back when its time is over."""
    for one in bought[:-1]:
        before = stage.balance(one.producer)
        told = grid.send(regulator, "confirmDelivery", one.number).event("EnergyDelivered")
        got = stage.balance(one.producer) - before
        if got != told["producerShare"] or got + told["tax"] != one.paid:
            raise NodeError(f"purchase {one.number} was not shared out as paid")
    last = bought[-1]
    early = grid.refusal(last.consumer, "refund", last.number).split("(")[0]
    tell(console, f"{len(bought) - 1} deliveries confirmed; a refund of the last is refused before "
                  f"its time: {early}")  # fmt: skip
    due_s = grid.read("purchase", last.number)[4] + DELIVERY_S
    time.sleep(max(0.0, due_s + 1 - time.time()))
    before = stage.balance(last.consumer)
    grid.send(last.consumer, "refund", last.number)
    if stage.balance(last.consumer) - before != last.paid:
        raise NodeError("the refund is not what was paid")
    tell(console, f"{DELIVERY_S} s later {last.consumer.name} has its {last.paid:,} wei back")
    return last


def compare(
    stage: Stage,
    grid: Deployed,
    owner: Person,
    prices: list[tuple[int, int]],
    bought: list[Purchase],
    refunded: Purchase,
    adverts: list[Advert],
) -> Comparison:
    delivered = [one for one in bought if one is not refunded]
    total, tax = sum(one.paid for one in delivered), grid.read("tax")
    before = stage.balance(owner)
    grid.send(owner, "withdrawTax")
    if stage.balance(owner) - before != tax:
        raise NodeError("the owner did not get the tax")
    left = int(grid.client.call("eth_getBalance", "0x" + grid.address.hex(), "latest"), 16)
    hours = ", ".join(f"{wei:,}" for ahead_s, wei in prices if ahead_s % HOUR_S == 0)
    times = sorted(one.seconds for one in bought)
    figures = (
        Figure("price, by full hours", "10 % of the proposed price more each", f"{hours} wei"),
        Figure("life of an advert", "3 hours", "runs at 2:59:59, is over at 3:00:00"),
        Figure("store of a producer", "1 to 1,000 kWh", "1,000.001 kWh refused"),
        Figure("tax", "total less producer's share",
               f"{tax:,} of {total:,} wei: {100 * tax / total:.1f} %"),
        Figure("energy bought", NONE_FOUND, f"{format_kwh(sum(one.energy_wh for one in bought))} "
               f"of {format_kwh(sum(one.energy_wh for one in adverts))} kWh, "
               f"{len(bought)} part purchases"),
        Figure("not delivered", NONE_FOUND, f"{refunded.paid:,} wei refunded"),
        Figure("purchase, send to final", NONE_FOUND, f"{1_000 * times[len(times) // 2]:.0f} ms"),
        Figure("coins left in the contract", NONE_FOUND, f"{left:,}"),
    )  # fmt: skip
    return Comparison("microgrid", "The microgrid", SOURCE, figures)
