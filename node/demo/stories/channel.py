"""Payment channels: a household pays its supplier watt-hour by watt-hour with two transactions.

A home of the readings pays for every watt-hour of a day by a signed message; the supplier parses
and checks each (`node.channels`) before it gives the next. Published demonstrations: Raiden on
SolarNetwork (a payment each 2,000 watt-seconds), Distributed Charge on Lightning (each 25 Wh).
"""

import json
import time

from rich.console import Console
from rich.progress import Progress

from node.channels import (
    Payment,
    PaymentRefused,
    Till,
    check_payment,
    read_channel,
    read_payment,
    sign_payment,
)
from node.demo.stories.contract import Deployed, Person
from node.demo.stories.figures import NONE_FOUND, Comparison, Figure
from node.demo.stories.stage import Stage, read_energy, tell
from node.errors import NodeError

PAYMENTS_MAX = 10_000  # a home of the readings uses about so many watt-hours in a day
WEI_PER_WH = 2_960
DAY_S = 86_400
STEP = 250  # payments between two looks at the progress bar
SOURCE = (
    "Raiden on [SolarNetwork](https://www.solarnetwork.nz/raiden-network-powers-micro-payments-for-"
    "power/); [Distributed Charge](http://andyschroder.com/DistributedCharge/EV/HowItWorks/) on "
    "Lightning; CSIRO's [payment channel pattern](https://research.csiro.au/blockchainpatterns/"
    "general-patterns/blockchain-payment-patterns/payment-channel/)."
)


def play(stage: Stage, console: Console, payments: int = PAYMENTS_MAX) -> Comparison:
    """The story. Raises NodeError where it goes wrong."""
    home, supplier = stage.person("payer"), stage.person("payee")
    household = stage.households[0]
    count = min(payments, sum(read_energy(household, 3_600, 24)))
    contract = stage.contract("payment_channel", stage.person("operator"))
    deposit = (count + 1_000) * WEI_PER_WH
    until = int(time.time()) + DAY_S
    opened = contract.send(home, "open", supplier.address, until, value=deposit)
    number = opened.event("Opened")["channelId"]
    tell(console, f"channel {number}: {deposit:,} wei locked in block {opened.block}, "
                  f"{1_000 * opened.seconds:.0f} ms")  # fmt: skip
    height = contract.client.height()
    messages, sign_s = sign_all(stage, console, contract, home, number, count)
    newest, check_s, bytes_each = check_all(stage, console, contract, supplier, number, messages)
    if contract.client.height() != height:
        raise NodeError("payments off the chain made blocks")
    till = Till(stage.folder / "till.json")
    till.keep(newest)
    error = refuse_changed(contract, supplier, newest)
    tell(console, f"a message changed on the way is refused: by the library, and with {error}")
    before = stage.balance(supplier)
    kept = Till(stage.folder / "till.json").newest(newest.chain_id, newest.contract, number)
    if kept is None:
        raise NodeError("the till has lost the newest payment")
    closed = contract.send(supplier, "close", number, kept.amount, kept.signature)
    told = closed.event("Closed")
    if stage.balance(supplier) - before != count * WEI_PER_WH or told["paid"] != kept.amount:
        raise NodeError("the supplier did not get what was signed for")
    tell(console, f"closed in block {closed.block}: {told['paid']:,} wei paid, "
                  f"{told['returned']:,} returned")  # fmt: skip
    return compare(stage, home, supplier, count, sign_s, check_s, bytes_each)


def sign_all(
    stage: Stage, console: Console, contract: Deployed, home: Person, number: int, count: int
) -> tuple[list[str], float]:
    """A message for each watt-hour, as it is sent; and the processor time that took."""
    chain_id = stage.network.genesis.chain_id
    messages: list[str] = []
    began = time.process_time()
    with Progress(console=console) as progress:
        task = progress.add_task("signed", total=count)
        for paid_wh in range(1, count + 1):
            payment = sign_payment(
                home.key, chain_id, contract.address, number, paid_wh * WEI_PER_WH
            )
            messages.append(json.dumps(payment.to_json()))
            if paid_wh % STEP == 0 or paid_wh == count:
                progress.update(task, completed=paid_wh)
    return messages, time.process_time() - began


def check_all(
    stage: Stage,
    console: Console,
    contract: Deployed,
    supplier: Person,
    number: int,
    messages: list[str],
) -> tuple[Payment, float, int]:
    """The supplier's side: the newest good message, processor time, the bytes of a message."""
    channel = read_channel(contract.client, contract.address, number)
    chain_id, now_s, taken = stage.network.genesis.chain_id, int(time.time()), 0
    began = time.process_time()
    with Progress(console=console) as progress:
        task = progress.add_task("checked", total=len(messages))
        for index, text in enumerate(messages, 1):
            payment = read_payment(text)
            taken += check_payment(
                payment, channel, chain_id=chain_id, contract=contract.address,
                recipient=supplier.address, taken=taken, now_s=now_s,
            )  # fmt: skip
            if index % STEP == 0 or index == len(messages):
                progress.update(task, completed=index)
    return payment, time.process_time() - began, len(messages[-1])


def refuse_changed(contract: Deployed, supplier: Person, newest: Payment) -> str:
    """The contract's error for the newest message with a wei more; the library refuses it too."""
    channel = read_channel(contract.client, contract.address, newest.channel_id)
    changed = Payment(newest.chain_id, newest.contract, newest.channel_id, newest.amount + 1,
                      newest.signature)  # fmt: skip
    try:
        check_payment(
            changed, channel, chain_id=newest.chain_id, contract=contract.address,
            recipient=supplier.address, taken=0, now_s=int(time.time()),
        )  # fmt: skip
    except PaymentRefused:
        return contract.refusal(supplier, "close", newest.channel_id, changed.amount,
                                changed.signature).split("(")[0]  # fmt: skip
    raise NodeError("a changed payment was accepted")


def compare(
    stage: Stage,
    home: Person,
    supplier: Person,
    count: int,
    sign_s: float,
    check_s: float,
    bytes_each: int,
) -> Comparison:
    client = stage.client(0)
    transactions = sum(
        int(client.call("eth_getTransactionCount", "0x" + one.address.hex(), "latest"), 16)
        for one in (home, supplier)
    )
    figures = [
        Figure("energy of a payment", "0.56 Wh (Raiden), 25 Wh (Distributed Charge)", "1 Wh"),
        Figure("time between payments", "3 s (Raiden)",
               f"{1e6 * (sign_s + check_s) / count:.0f} us to sign and check one"),
        Figure("payments off the chain", NONE_FOUND, f"{count:,}"),
        Figure("signed in a second of a core", NONE_FOUND, f"{count / sign_s:,.0f}"),
        Figure("parsed and checked in a second of a core", NONE_FOUND, f"{count / check_s:,.0f}"),
        Figure("bytes of a message", NONE_FOUND, f"{bytes_each}"),
        Figure("transactions on chain", "2: open, settle (pattern)", f"{transactions}"),
    ]  # fmt: skip
    return Comparison("channel", "Payment channels", SOURCE, tuple(figures))
