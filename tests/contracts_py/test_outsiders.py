"""Who has no part in a contract, no coin in it and no signature of anybody: what it can do.

For each standard contract, as a neighbourhood uses it: an outsider calls any method with arguments
that mean something there. What may succeed is listed below by hand, so that a new method is thought
of here as well; nothing that succeeds moves a coin.
"""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts_py.billing import Billing, Rules
from contracts_py.double_auction import DoubleAuction
from contracts_py.el_dapp import Provider
from contracts_py.metering import Metering
from contracts_py.microgrid import Microgrid
from contracts_py.network import Network
from contracts_py.payment_channel import PaymentChannel
from contracts_py.wattcoin import Wattcoin
from ledger.contract import Revert
from ledger.contract.artifact import build_artifact
from ledger.contract.testing import CallRefused, Chain, ContractPanic, make_account
from tests.contracts_py.sources import read_contract

NOW = 1_700_000_000 // 3_600 * 3_600
DAY_S = 86_400
OWNER, SUPPLIER, HOUSE, NEIGHBOUR, METER, METER_2, OUTSIDER = (
    make_account(name)
    for name in ("owner", "supplier", "house", "neighbour", "meter", "meter 2", "outsider")
)
NOBODY = bytes(20)
PERIOD = NOW // 3_600 + 2
MONTH = 12 * 2023 + 10
COINS = 10**18

# What an outsider may do: with what is its own (nothing), for another's good, or when it is due.
ALLOWED = {
    "wattcoin": {"transfer", "transferFrom", "approve", "chooseSupplier", "buy", "payDebt",
                 "setPolicy"},
    "microgrid": {"claim", "giveAgain"},  # and refund, confirmByMeter: nothing is due here
    "payment_channel": set(),
    "billing": {"deposit", "withdraw"},  # and freeze, which is not due here
    "double_auction": {"deposit", "withdraw", "place", "clear", "settle"},
    "metering": {"freeze"},
    "el_dapp": set(),
    "network": set(),
}  # fmt: skip


def wattcoin(chain: Chain) -> Any:
    coin = chain.deploy(Wattcoin, "Wattcoin", "WATT", sender=OWNER)
    coin.set_supplier(SUPPLIER, 10**18, 1_000, True, sender=OWNER)
    coin.issue(10**6, sender=SUPPLIER)
    for account, meter in ((HOUSE, METER), (NEIGHBOUR, METER_2)):
        coin.enrol(meter, account, sender=OWNER)
        coin.choose_supplier(SUPPLIER, sender=account)
        coin.buy(1_000, value=1_000, sender=account)
    coin.offer(100, 10**18, sender=HOUSE)
    coin.exhaust(2_000, sender=METER_2)  # it owes 1,000
    return coin


def microgrid(chain: Chain) -> Any:
    metering = chain.deploy(Metering, 3_600, 0, sender=OWNER)
    metering.enrol(METER, HOUSE, sender=OWNER)
    grid = chain.deploy(Microgrid, 900, DAY_S, NOBODY, metering.address, sender=OWNER)
    grid.add_regulator(SUPPLIER, sender=OWNER)
    grid.add_producer(HOUSE, "", sender=SUPPLIER)
    grid.add_consumer(NEIGHBOUR, "", sender=SUPPLIER)
    grid.store_energy(5_000, sender=HOUSE)
    grid.available_energy_advert(4_000, 1_000, sender=HOUSE)
    for _ in range(2):
        grid.request_for_energy(1_000, NOW, 1_000, HOUSE, value=1_000, sender=NEIGHBOUR)
    grid.confirm_delivery(0, sender=SUPPLIER)
    return grid


def payment_channel(chain: Chain) -> Any:
    channels = chain.deploy(PaymentChannel, sender=OWNER)
    channels.open_(NEIGHBOUR, NOW + 1, value=1_000, sender=HOUSE)
    chain.timestamp = NOW + 1
    return channels


def billing(chain: Chain) -> Any:
    rules = Rules(10**7, 10_000, DAY_S, 60)
    contract = chain.deploy(Billing, rules, 10**6, 10**9, 0, sender=OWNER)
    contract.set_gateway(SUPPLIER, True, sender=OWNER)
    contract.enrol(METER, HOUSE, 0, 0, sender=OWNER)
    contract.enrol(METER_2, NEIGHBOUR, 0, 0, sender=OWNER)
    contract.deposit(HOUSE, value=10**6, sender=HOUSE)
    chain.timestamp += 3_600
    for meter in (METER, METER_2):
        contract.submit(meter, 500, chain.timestamp, sender=SUPPLIER)
    return contract


def double_auction(chain: Chain) -> Any:
    metering = chain.deploy(Metering, 3_600, 0, sender=OWNER)
    market = chain.deploy(DoubleAuction, metering.address, 900, 0, 1_000, 10**6, sender=OWNER)
    for account, meter, quantity_wh in ((HOUSE, METER, 900), (NEIGHBOUR, METER_2, -900)):
        metering.enrol(meter, account, sender=OWNER)
        market.deposit(value=10**9, sender=account)
        for period in (PERIOD, PERIOD + 30):
            market.place(period, meter, quantity_wh, 5, sender=account)
    chain.timestamp = (PERIOD + 1) * 3_600
    market.clear(PERIOD, 9, sender=OWNER)
    market.settle(PERIOD, NEIGHBOUR, sender=OWNER)
    return market


def metering(chain: Chain) -> Any:
    contract = chain.deploy(Metering, 3_600, 0, sender=OWNER)
    contract.enrol(METER, HOUSE, sender=OWNER)
    contract.set_tariff(0, True, [], [500], sender=OWNER)
    contract.record(NOW // 3_600, 5_000, 9, 1, sender=METER)
    chain.timestamp = NOW + 100 * DAY_S
    return contract


def el_dapp(chain: Chain) -> Any:
    provider = chain.deploy(Provider, "Grid", "Street", sender=OWNER)
    provider.add_user(HOUSE, sender=OWNER)
    return provider


def network(chain: Chain) -> Any:
    chain.number = 1_000
    return chain.deploy(
        Network, [SUPPLIER], [HOUSE], [HOUSE], [HOUSE], [OWNER], False, False, False, 0, DAY_S,
        sender=OWNER,
    )  # fmt: skip


FOUND = (
    wattcoin, microgrid, payment_channel, billing, double_auction, metering, el_dapp, network
)  # fmt: skip
PARTIES = st.sampled_from(
    [OWNER, SUPPLIER, HOUSE, NEIGHBOUR, METER, METER_2, OUTSIDER, OUTSIDER, NOBODY]
)
TELLING = (0, 1, 1, 1, 2, 5, 900, 1_000, NOW, NOW + 1, NOW + DAY_S, PERIOD, PERIOD + 30, MONTH)


def values(kind: str, parts: list[dict[str, Any]]) -> st.SearchStrategy[Any]:
    """Arguments of an ABI type that may mean something to these contracts."""
    if kind.endswith("[]"):
        return st.lists(values(kind[:-2], parts), max_size=3)
    if kind == "address":
        return PARTIES
    if kind == "bool":
        return st.booleans()
    if kind == "uint8":
        return st.integers(0, 1)  # enums are among them
    if kind == "string":
        return st.sampled_from(["", "roof"])
    if kind == "bytes":
        return st.binary(max_size=70) | st.just(bytes(65)) | st.just(bytes(160))
    if kind.startswith("bytes"):
        return st.just(bytes(int(kind[5:])))
    if kind == "tuple":
        return st.tuples(*(values(part["type"], part.get("components", [])) for part in parts))
    bits = int(kind.lstrip("uint")) - (not kind.startswith("u"))
    limit = 2**bits - 1
    return st.sampled_from([number for number in (*TELLING, limit) if number <= limit])


@pytest.mark.parametrize("found", FOUND, ids=lambda found: found.__name__)
def test_an_outsider_changes_nothing_that_is_not_its_own(found: Any) -> None:
    chain = Chain(timestamp=NOW)
    for account in (HOUSE, NEIGHBOUR):
        chain.fund(account, COINS)
    contract = found(chain)
    methods = [
        entry
        for entry in build_artifact(read_contract(found.__name__))["abi"]
        if entry["type"] == "function" and entry["stateMutability"] != "view"
    ]
    named = {name.replace("_", "").lower(): name for name in contract.method_names}
    arguments = {
        method["name"]: values("tuple", [dict(each) for each in method["inputs"]])
        for method in methods
    }
    parties = (contract.address, HOUSE, NEIGHBOUR, OUTSIDER)
    before = [chain.balance(each) for each in parties]

    @settings(max_examples=60)
    @given(st.fixed_dictionaries(arguments))
    def check(calls: dict[str, tuple[Any, ...]]) -> None:
        for name, drawn in calls.items():
            with chain.rolled_back():
                try:
                    getattr(contract, named[name.lower()])(*drawn, sender=OUTSIDER)
                except (Revert, CallRefused, ContractPanic):
                    continue
                assert name in ALLOWED[found.__name__], drawn
                assert [chain.balance(each) for each in parties] == before

    check()
    assert ALLOWED[found.__name__] <= set(arguments), "each is a method that is there"
