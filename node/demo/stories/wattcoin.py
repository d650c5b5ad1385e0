"""Wattcoin: tokens bought, a neighbour's offer accepted, meters that report and use them up.

The air conditioner's account buys too little, takes some more from a neighbour, and runs out: its
use becomes debt, `supplyAllowed` turns false and its relay opens, until the debt is paid. Meters
have keys of their own and no coins; what they sign, EIP-712 typed data, somebody else brings.
"""

import secrets
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.table import Table

from ledger.crypto.keccak import keccak256
from ledger.crypto.secp256k1 import sign_compact
from ledger.encoding import abi
from node.commands.common import make_table
from node.demo.stories.contract import Deployed, Person
from node.demo.stories.figures import NONE_FOUND, Comparison, Figure
from node.demo.stories.stage import Stage, read_energy, tell
from node.errors import NodeError

TOKEN = 10**18
PRICE_WEI = 3_000  # of a token, by the supplier
OFFER_WEI = 2_500  # by the neighbour
RATE = TOKEN  # for a kWh: a token is a kWh
HOURS = 12
BOUGHT = {"air conditioner": 6}  # tokens; the others buy enough
BOUGHT_OTHERS = 40
POLICY_W = 1_380  # the air conditioner passes it in its fourth hour
SOURCE = (
    "Wattcoin's rules as far as they are known here (roles, policy, the calls of its contract); "
    "the air conditioner is the electricity dapp's. No measured figure of Wattcoin was found."
)

_DOMAIN = keccak256(
    b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
_UPDATE = keccak256(b"MeterUpdate(uint256 value,uint64 counter,uint32 powerW)")


@dataclass
class Home:
    """An account, its meter's own key, and what the meter will measure."""

    account: Person
    meter: Person
    energies: list[int]  # Wh of each hour
    hours: int = 0
    value_wh: int = 0
    peak_w: int = 0
    low_w: int = 0
    supply: bool = True
    times_s: list[float] = field(default_factory=list)
    last: tuple[int, bytes] | None = None  # the last value and its signature


def play(stage: Stage, console: Console, hours: int = HOURS) -> Comparison:
    """The story. Raises NodeError where it goes wrong."""
    owner, supplier, relay = (stage.person(name) for name in ("owner", "supplier", "messenger"))
    coin = stage.contract("wattcoin", owner, "Wattcoin", "WATT")
    coin.send(owner, "setSupplier", supplier.address, PRICE_WEI, RATE, True)
    coin.send(supplier, "issue", 1_000 * TOKEN)
    homes = []
    for household in stage.households:
        home = Home(
            stage.person(household.name),
            Person(f"meter of {household.name}", secrets.token_bytes(32)),
            read_energy(household, 3_600, hours),
        )
        homes.append(home)
        coin.send(owner, "enrol", home.meter.address, home.account.address)
        coin.send(home.account, "chooseSupplier", supplier.address)
        tokens = BOUGHT.get(household.name, BOUGHT_OTHERS)
        coin.send(home.account, "buy", tokens * TOKEN, value=tokens * PRICE_WEI)
    short = homes[-1]
    trade_between_neighbours(stage, console, coin, homes[0].account, short.account)
    coin.send(short.account, "setPolicy", True, POLICY_W)
    with Live(console=console, refresh_per_second=4, transient=False) as live:
        for _ in range(hours):
            for home in homes:
                report_hour(stage, coin, home, relay)
            live.update(show_homes(coin, homes))
    if not console.is_terminal:
        console.line()
    return end(console, coin, homes, relay)


def trade_between_neighbours(
    stage: Stage, console: Console, coin: Deployed, seller: Person, buyer: Person
) -> None:
    """Four tokens offered, three accepted, the change back."""
    offer = coin.send(seller, "offer", 4 * TOKEN, OFFER_WEI).event("Offered")["offerId"]
    before = stage.balance(buyer)
    coin.send(buyer, "accept", offer, 3 * TOKEN, value=10_000)
    paid = before - stage.balance(buyer)
    if paid != 3 * OFFER_WEI:
        raise NodeError(f"the buyer paid {paid} wei, not {3 * OFFER_WEI}")
    tell(console, f"{seller.name} offered 4 tokens at {OFFER_WEI:,} wei, {buyer.name} took 3: "
                  f"paid {paid:,} of 10,000 wei sent, the change came back")  # fmt: skip


def report_hour(stage: Stage, coin: Deployed, home: Home, relay: Person) -> None:
    """The meter signs its register, a messenger brings it; then the meter uses tokens up.

    An account in debt has no supply: its relay is open, and the meter measures nothing.
    """
    if not home.supply:
        return
    used_wh = home.energies[home.hours]
    home.hours += 1
    home.value_wh += used_wh
    digest = hash_update(
        stage.network.genesis.chain_id, coin.address, home.value_wh, home.hours, used_wh
    )
    if home.hours == 1 and digest != coin.read("updateDigest", home.value_wh, 1, used_wh):
        raise NodeError("the meter signs something else than the contract checks")
    signed = sign_compact(home.meter.key, digest)
    signature = abi.encode(
        ["bytes32", "bytes32", "uint8", "uint64", "uint32"],
        [signed[:32], signed[32:64], signed[64] + 27, home.hours, used_wh],
    )
    home.last = home.value_wh, signature
    updated = coin.send(relay, "meterUpdate", home.value_wh, signature)
    power_w = updated.event("MeterUpdated")["powerW"]
    home.peak_w = max(home.peak_w, power_w)
    home.low_w = min(home.low_w or power_w, power_w)
    exhausted = coin.send(home.meter, "exhaust", used_wh)
    home.times_s += [updated.seconds, exhausted.seconds]
    home.supply = coin.read("supplyAllowed", home.meter.address)


def hash_update(chain_id: int, contract: bytes, value: int, counter: int, power_w: int) -> bytes:
    """EIP-712: what a meter signs."""
    domain = abi.encode(
        ["bytes32", "bytes32", "bytes32", "uint256", "address"],
        [_DOMAIN, keccak256(b"Wattcoin"), keccak256(b"1"), chain_id, contract],
    )
    update = abi.encode(
        ["bytes32", "uint256", "uint64", "uint32"], [_UPDATE, value, counter, power_w]
    )
    return keccak256(b"\x19\x01" + keccak256(domain) + keccak256(update))


def show_homes(coin: Deployed, homes: list[Home]) -> Table:
    """What each home used, holds and owes by now."""
    table = make_table("account", ">hours", ">kWh used", ">tokens", ">debt", "supply", "saving")
    for home in homes:
        account = home.account.address
        saving = coin.read("powerSaving", home.meter.address)
        table.add_row(
            home.account.name, str(home.hours), f"{home.value_wh / 1_000:.3f}",
            _tokens(coin.read("balanceOf", account)), _tokens(coin.read("debtOf", account)),
            "yes" if home.supply else "[red]no[/red]", "yes" if saving else "no",
        )  # fmt: skip
    return table


def _tokens(amount: int) -> str:
    return f"{amount // 10**15 / 1_000:.3f}"


def end(console: Console, coin: Deployed, homes: list[Home], relay: Person) -> Comparison:
    """What is refused, the debt paid, the policy, and the sums."""
    short, neighbour = homes[-1], homes[0]
    if short.supply or short.last is None:
        raise NodeError(f"{short.account.name} has not run out of tokens")
    replayed = coin.refusal(relay, "meterUpdate", *short.last)
    tell(console, f"the last report brought once more is refused: {replayed.split('(')[0]}")
    debt = coin.read("debtOf", short.account.address)
    saving = coin.read("powerSaving", short.meter.address)
    coin.send(neighbour.account, "payDebt", short.account.address, debt)
    back = coin.read("supplyAllowed", short.meter.address)
    changed = coin.send(short.account, "setPolicy", True, 0).event("PolicyChanged")
    default_w = changed["powerSavingW"]
    calm = coin.read("powerSaving", short.meter.address)
    if not (saving and back) or calm:
        raise NodeError("policy or supply are not as they must be")
    tell(console, f"{neighbour.account.name} paid the debt of {_tokens(debt)} tokens: "
                  "supply is allowed again")  # fmt: skip
    used_wh = sum(coin.read("meter", home.meter.address)[3] for home in homes)
    if used_wh != sum(sum(home.energies[: home.hours]) for home in homes):
        raise NodeError(f"{used_wh} Wh are on chain, the meters measured something else")
    times = sorted(one for home in homes for one in home.times_s)
    figures = (
        Figure("power saving unless one says otherwise", "above 100 kW",
               f"above {default_w // 1_000} kW: off at {short.peak_w:,} W"),
        Figure(f"power saving above {POLICY_W:,} W", NONE_FOUND, f"on at {short.peak_w:,} W"),
        Figure("power of the air conditioner", "1,370.6 to 1,520.2 W",
               f"{short.low_w:,} to {short.peak_w:,} W, means of {short.hours} hours"),
        Figure("report or use, send to final", NONE_FOUND,
               f"{1_000 * times[len(times) // 2]:.0f} ms, the middle of {len(times)}"),
        Figure("energy reported and paid for", NONE_FOUND, f"{used_wh / 1_000:.3f} kWh"),
        Figure("supply cut after", NONE_FOUND, f"{short.hours} hours, debt {_tokens(debt)} tokens"),
        Figure("a report brought twice", NONE_FOUND, f"refused: {replayed.split('(')[0]}"),
    )  # fmt: skip
    return Comparison("wattcoin", "Wattcoin", SOURCE, figures)
