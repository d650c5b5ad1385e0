"""Who is paid calls back before the payment is booked: nothing is taken twice, of any contract.

The runtime refuses a call of a contract that is on the stack; each contract books before it pays as
well. Both hold in what is asserted here: no call back succeeds, and every coin is accounted for.
"""

from pathlib import Path
from typing import Any

import pytest

from contracts_py.billing import Billing, Rules
from contracts_py.double_auction import DoubleAuction
from contracts_py.metering import Metering
from contracts_py.microgrid import Microgrid, Stage
from contracts_py.payment_channel import PaymentChannel
from contracts_py.wattcoin import Wattcoin
from ledger.contract.testing import Chain, make_account

NOW = 1_700_000_000
DAY_S = 86_400
NOBODY = bytes(20)
OWNER, HOUSE, OTHER = (make_account(name) for name in ("owner", "house", "other"))
COINS = 10**9

HOSTILE = '''
"""It takes coin, and while it does so asks for more by every door there is."""

from ledger.contract import (
    CallFailed,
    Contract,
    Interface,
    address,
    payable,
    uint64,
    uint128,
    uint256,
    view,
    write,
)


class Market(Interface):
    @payable
    def deposit(self) -> None: ...

    @write
    def withdraw(self, amount: uint256) -> None: ...

    @write
    def withdraw_surplus(self) -> None: ...


class Bills(Interface):
    @payable
    def deposit(self, account: address) -> None: ...

    @write
    def withdraw(self, amount: uint128) -> None: ...


class Channels(Interface):
    @payable
    def open_(self, recipient: address, valid_until: uint256) -> uint256: ...

    @write
    def reclaim(self, id_: uint256) -> None: ...


class Coin(Interface):
    @write
    def offer(self, amount: uint256, price: uint256) -> uint256: ...

    @write
    def cancel(self, number: uint256) -> None: ...


class Grid(Interface):
    @payable
    def request_for_energy(
        self, energy_wh: uint256, time: uint256, price: uint256, producer: address
    ) -> uint256: ...

    @write
    def refund(self, number: uint256) -> None: ...

    @write
    def claim(self, to: address) -> None: ...


class Hostile(Contract):
    _target: address
    _number: uint256
    _asked: uint256
    _got: uint256

    @view
    def asked(self) -> uint256:
        return self._asked

    @view
    def got(self) -> uint256:
        return self._got

    @write
    def aim(self, target: address, number: uint256) -> None:
        self._target = target
        self._number = number

    @payable(reentrant=True)
    def receive(self) -> None:
        if self._target == self.address:
            return
        self._asked += 1
        refused = 0
        try:
            Market(self._target).withdraw(self._number)
        except CallFailed:
            refused += 1
        try:
            Bills(self._target).withdraw(1)
        except CallFailed:
            refused += 1
        try:
            Channels(self._target).reclaim(self._number)
        except CallFailed:
            refused += 1
        try:
            Coin(self._target).cancel(self._number)
        except CallFailed:
            refused += 1
        try:
            Grid(self._target).refund(self._number)
        except CallFailed:
            refused += 1
        try:
            Grid(self._target).claim(self.address)
        except CallFailed:
            refused += 1
        self._got += 6 - refused

    @payable
    def deposit(self) -> None:
        Market(self._target, value=self.msg.value).deposit()

    @write
    def withdraw(self, amount: uint256) -> None:
        Market(self._target).withdraw(amount)

    @payable
    def pay_in(self) -> None:
        Bills(self._target, value=self.msg.value).deposit(self.address)

    @write
    def pay_out(self, amount: uint128) -> None:
        Bills(self._target).withdraw(amount)

    @payable
    def open_channel(self, recipient: address, until: uint64) -> None:
        Channels(self._target, value=self.msg.value).open_(recipient, until)

    @write
    def reclaim(self, number: uint256) -> None:
        Channels(self._target).reclaim(number)

    @write
    def offer(self, amount: uint256, price: uint256) -> None:
        Coin(self._target).offer(amount, price)

    @payable
    def buy(self, energy_wh: uint256, time: uint64, producer: address) -> None:
        Grid(self._target, value=self.msg.value).request_for_energy(
            energy_wh, time, 10_000, producer
        )
'''


@pytest.fixture
def chain() -> Chain:
    chain = Chain(timestamp=NOW)
    for account in (HOUSE, OTHER):
        chain.fund(account, COINS)
    return chain


@pytest.fixture
def hostile(chain: Chain, tmp_path: Path) -> Any:
    file = tmp_path / "hostile.py"
    file.write_text(HOSTILE.lstrip())
    return chain.deploy(file, sender=OTHER)


def test_the_markets_deposits(chain: Chain, hostile: Any) -> None:
    metering = chain.deploy(Metering, 3_600, 0, sender=OWNER)
    market = chain.deploy(DoubleAuction, metering.address, 900, 0, 1, 1, sender=OWNER)
    market.deposit(value=100, sender=HOUSE)
    hostile.aim(market.address, 10, sender=OTHER)
    hostile.deposit(value=50, sender=OTHER)
    hostile.withdraw(20, sender=OTHER)
    assert (hostile.asked(), hostile.got()) == (1, 0)
    assert market.balance_of(hostile.address) == 30
    assert chain.balance(market.address) == 130


def test_the_deposits_of_bills(chain: Chain, hostile: Any) -> None:
    rules = Rules(10**7, 10_000, DAY_S, 60)
    billing = chain.deploy(Billing, rules, 1, 1, 0, sender=OWNER)
    billing.deposit(HOUSE, value=100, sender=HOUSE)
    hostile.aim(billing.address, 10, sender=OTHER)
    hostile.pay_in(value=50, sender=OTHER)
    hostile.pay_out(20, sender=OTHER)
    assert (hostile.asked(), hostile.got()) == (1, 0)
    assert billing.account(hostile.address).deposit == 30
    assert chain.balance(billing.address) == 130


def test_channels(chain: Chain, hostile: Any) -> None:
    channels = chain.deploy(PaymentChannel, sender=OWNER)
    hostile.aim(channels.address, 2, sender=OTHER)
    for number in (1, 2):
        hostile.open_channel(HOUSE, NOW + 1, value=40, sender=OTHER)
        assert channels.channel(number).payer == hostile.address
    chain.timestamp = NOW + 1
    hostile.reclaim(1, sender=OTHER)  # and the other one while it is paid
    assert (hostile.asked(), hostile.got()) == (1, 0)
    assert channels.channel(2).balance == chain.balance(channels.address) == 40
    channels.close(2, 0, b"", sender=HOUSE)  # returned; nothing is left to ask for
    assert (hostile.asked(), hostile.got()) == (2, 0)
    assert chain.balance(hostile.address) == 80


def test_offers(chain: Chain, hostile: Any) -> None:
    coin = chain.deploy(Wattcoin, "Wattcoin", "WATT", sender=OWNER)
    coin.set_supplier(HOUSE, 1, 1, True, sender=OWNER)
    coin.issue(1_000, sender=HOUSE)
    coin.transfer(hostile.address, 100, sender=HOUSE)
    hostile.aim(coin.address, 1, sender=OTHER)
    hostile.offer(60, 10**18, sender=OTHER)
    coin.accept(1, 20, value=25, sender=HOUSE)  # the seller is paid, and would cancel
    assert (hostile.asked(), hostile.got()) == (1, 0)
    assert coin.offer_of(1).amount == coin.balance_of(coin.address) == 40
    assert (chain.balance(hostile.address), chain.balance(HOUSE)) == (20, COINS - 20)


def test_the_microgrids_refunds_and_change(chain: Chain, hostile: Any) -> None:
    grid = chain.deploy(Microgrid, 900, DAY_S, NOBODY, NOBODY, sender=OWNER)
    grid.add_regulator(OTHER, sender=OWNER)
    grid.add_producer(HOUSE, "", sender=OTHER)
    grid.add_consumer(hostile.address, "", sender=OTHER)
    grid.store_energy(9_000, sender=HOUSE)
    grid.available_energy_advert(9_000, 1_000, sender=HOUSE)
    hostile.aim(grid.address, 1, sender=OTHER)
    for _ in range(2):
        hostile.buy(2_000, NOW, HOUSE, value=2_500, sender=OTHER)
    assert (hostile.asked(), hostile.got()) == (2, 0)  # as its change came
    chain.timestamp = NOW + DAY_S
    grid.refund(0, sender=OTHER)  # and the other one while it is paid
    assert (hostile.asked(), hostile.got()) == (3, 0)
    assert (grid.purchase(0).stage, grid.purchase(1).stage) == (Stage.REFUNDED, Stage.PAID)
    assert (chain.balance(grid.address), grid.unclaimed(hostile.address)) == (2_000, 0)
    assert chain.balance(hostile.address) == 3_000
