"""The market by advert: parts, store, price by the hour, escrow, tax."""

from pathlib import Path

import pytest

from contracts_py.metering import Metering
from contracts_py.microgrid import (
    AdvertExpired,
    AlreadyMember,
    CapacityExceeded,
    CapacitySet,
    Claimed,
    CoinNotTaken,
    ConsumerAdded,
    EnergyAdvertised,
    EnergyDelivered,
    EnergyRequested,
    EnergyStored,
    InvalidEnergy,
    InvalidSetting,
    Microgrid,
    NoSuchAdvert,
    NotAllowed,
    NotDelivered,
    NotDue,
    NotEnoughEnergy,
    NotEnoughPaid,
    NotMember,
    NotOpen,
    Part,
    PriceAbove,
    ProducerAdded,
    Refunded,
    RegulatorAdded,
    RegulatorRemoved,
    Stage,
    TokenRefused,
    TooManyAdverts,
)
from ledger.contract import CallFailed, Revert
from ledger.contract.testing import Chain, make_account

NOW = 1_700_000_000 // 3_600 * 3_600
HOUR_S = 3_600
DELIVERY_S = 6 * HOUR_S
OWNER, REGULATOR, PRODUCER, CONSUMER, OTHER, METER = (
    make_account(name) for name in ("owner", "regulator", "producer", "consumer", "other", "meter")
)
COINS = 10**9
PRICE = 1_000  # wei a kWh
NOBODY = bytes(20)

TOKEN = '''
"""A token as bare as it can be."""

from ledger.contract import Contract, Map, Revert, address, uint256, view, write


class Refused(Revert):
    account: address


class Bare(Contract):
    _owned: Map[address, uint256]
    _broken: bool
    _refused: Map[address, bool]

    @write
    def refuse(self, account: address, refused: bool) -> None:
        self._refused[account] = refused

    @write
    def mint(self, to: address, amount: uint256) -> None:
        self._owned[to] += amount

    @write
    def break_(self) -> None:
        self._broken = True

    @view
    def balance_of(self, account: address) -> uint256:
        return self._owned[account]

    @write
    def transfer(self, to: address, amount: uint256) -> bool:
        if self._refused[to]:
            raise Refused(to)
        self._owned[self.msg.sender] -= amount
        self._owned[to] += amount
        return not self._broken

    @write
    def transfer_from(self, sender: address, to: address, amount: uint256) -> bool:
        self._owned[sender] -= amount
        self._owned[to] += amount
        return not self._broken
'''


@pytest.fixture
def chain():
    chain = Chain(timestamp=NOW)
    chain.fund(CONSUMER, COINS)
    return chain


def found(chain, token=NOBODY, meters=NOBODY):
    grid = chain.deploy(Microgrid, 900, DELIVERY_S, token, meters, sender=OWNER)
    grid.add_regulator(REGULATOR, sender=OWNER)
    grid.add_producer(PRODUCER, "roof 7", sender=REGULATOR)
    grid.add_consumer(CONSUMER, "flat 3", sender=REGULATOR)
    return grid


@pytest.fixture
def grid(chain):
    return found(chain)


@pytest.fixture
def offered(grid):
    grid.store_energy(10_000, sender=PRODUCER)
    grid.available_energy_advert(8_000, PRICE, sender=PRODUCER)
    return grid


def buy(grid, energy_wh=2_000, proposed=PRICE, value=COINS // 10):
    return grid.request_for_energy(energy_wh, NOW, proposed, PRODUCER, value=value, sender=CONSUMER)


def test_parts_are_given_by_the_part_above_and_one_at_a_time(chain):
    grid = chain.deploy(Microgrid, 900, DELIVERY_S, NOBODY, NOBODY, sender=OWNER)
    assert grid.add_regulator(REGULATOR, sender=OWNER).events == [RegulatorAdded(REGULATOR)]
    added = grid.add_producer(PRODUCER, "roof 7", sender=REGULATOR)
    assert added.events == [ProducerAdded(PRODUCER, "roof 7")]
    added = grid.add_consumer(CONSUMER, "flat 3", sender=REGULATOR)
    assert added.events == [ConsumerAdded(CONSUMER, "flat 3")]
    assert grid.part_of(CONSUMER) == Part.CONSUMER
    assert grid.site_of(PRODUCER) == "roof 7"
    for account in (REGULATOR, PRODUCER, CONSUMER, OWNER):
        with pytest.raises(AlreadyMember):
            grid.add_consumer(account, "", sender=REGULATOR)
    for sender in (OTHER, PRODUCER, CONSUMER, REGULATOR):
        with pytest.raises(NotAllowed):
            grid.add_regulator(OTHER, sender=sender)
    for sender in (OTHER, PRODUCER, CONSUMER, OWNER):
        for method in ("add_producer", "add_consumer"):
            with pytest.raises(NotAllowed):
                getattr(grid, method)(OTHER, "", sender=sender)
        for method, account in (("remove_producer", PRODUCER), ("remove_consumer", CONSUMER)):
            with pytest.raises(NotAllowed):
                getattr(grid, method)(account, sender=sender)
    with pytest.raises(NotMember):
        grid.remove_producer(CONSUMER, sender=REGULATOR)
    grid.remove_consumer(CONSUMER, sender=REGULATOR)
    grid.add_producer(CONSUMER, "now it sells", sender=REGULATOR)
    assert grid.remove_regulator(REGULATOR, sender=OWNER).events == [RegulatorRemoved(REGULATOR)]
    with pytest.raises(NotAllowed):
        grid.remove_producer(PRODUCER, sender=REGULATOR)


def test_settings_that_make_no_sense(chain):
    for share, seconds in ((1_001, DELIVERY_S), (900, 0), (900, 2_592_001)):
        with pytest.raises(InvalidSetting):
            chain.deploy(Microgrid, share, seconds, NOBODY, NOBODY, sender=OWNER)


def test_a_store_holds_what_a_regulator_allows(grid):
    assert grid.store_energy(1_000_000, sender=PRODUCER).events == [
        EnergyStored(PRODUCER, 1_000_000, 1_000_000)
    ]
    with pytest.raises(CapacityExceeded):
        grid.store_energy(1, sender=PRODUCER)
    for capacity in (999, 1_000_001):
        with pytest.raises(CapacityExceeded):
            grid.set_capacity(PRODUCER, capacity, sender=REGULATOR)
    assert grid.set_capacity(PRODUCER, 5_000, sender=REGULATOR).events == [
        CapacitySet(PRODUCER, 5_000)
    ]
    assert grid.store_of(PRODUCER).stored_wh == 1_000_000  # nothing is taken away


def test_what_is_advertised_takes_room_in_the_store(grid):
    grid.set_capacity(PRODUCER, 5_000, sender=REGULATOR)
    grid.store_energy(5_000, sender=PRODUCER)
    grid.available_energy_advert(4_000, PRICE, sender=PRODUCER)
    with pytest.raises(CapacityExceeded):
        grid.store_energy(1, sender=PRODUCER)


def test_only_energy_in_store_is_advertised(grid, chain):
    with pytest.raises(NotEnoughEnergy):
        grid.available_energy_advert(1, PRICE, sender=PRODUCER)
    grid.store_energy(1_000, sender=PRODUCER)
    for energy, price in ((0, PRICE), (1, 0)):
        with pytest.raises(InvalidEnergy):
            grid.available_energy_advert(energy, price, sender=PRODUCER)
    receipt = grid.available_energy_advert(10, PRICE, sender=PRODUCER)
    assert receipt.events == [EnergyAdvertised(PRODUCER, NOW, 10, PRICE)]
    with pytest.raises(TooManyAdverts):
        grid.available_energy_advert(10, PRICE, sender=PRODUCER)
    for _ in range(7):
        chain.timestamp += 1
        grid.available_energy_advert(10, PRICE, sender=PRODUCER)
    chain.timestamp += 1
    with pytest.raises(TooManyAdverts):
        grid.available_energy_advert(10, PRICE, sender=PRODUCER)
    with pytest.raises(NotAllowed):
        grid.available_energy_advert(10, PRICE, sender=CONSUMER)


@pytest.mark.parametrize(
    ("after_s", "price"),
    [(0, 1_000), (3_599, 1_000), (3_600, 1_100), (7_199, 1_100), (7_200, 1_200), (10_799, 1_200)],
)
def test_the_price_rises_by_a_tenth_of_the_proposed_one_each_full_hour(
    offered, chain, after_s, price
):
    chain.timestamp = NOW + after_s
    assert offered.advert(PRODUCER, NOW) == (8_000, price)
    with pytest.raises(PriceAbove):
        buy(offered, proposed=price - 1)
    bought = buy(offered, 2_500, proposed=price + 5)
    assert bought.events == [EnergyRequested(0, CONSUMER, PRODUCER, 2_500, price, 5 * price // 2)]


def test_after_three_hours_it_is_the_producers_again_and_can_be_advertised_again(offered, chain):
    buy(offered, 3_000)
    chain.timestamp = NOW + 3 * HOUR_S
    with pytest.raises(NoSuchAdvert):
        buy(offered)
    assert offered.adverts_of(PRODUCER) == []
    assert offered.store_of(PRODUCER).stored_wh == 7_000
    receipt = offered.available_energy_advert(7_000, PRICE, sender=PRODUCER)
    assert receipt.events == [
        AdvertExpired(PRODUCER, NOW, 5_000),
        EnergyAdvertised(PRODUCER, chain.timestamp, 7_000, PRICE),
    ]
    assert offered.adverts_of(PRODUCER) == [chain.timestamp]


def test_parts_of_an_advert_are_bought_and_change_comes_back(offered, chain):
    buy(offered, 2_001)  # 2.001 kWh at 1,000 are 2,001
    assert chain.balance(CONSUMER) == COINS - 2_001
    buy(offered, 5_999)
    with pytest.raises(NotEnoughEnergy):
        buy(offered, 1)
    assert offered.purchase_count() == 2
    assert chain.balance(offered.address) == 8_000


def test_a_total_is_rounded_up(chain):
    grid = found(chain)
    grid.store_energy(10, sender=PRODUCER)
    grid.available_energy_advert(10, 1, sender=PRODUCER)
    buy(grid, 1)
    assert grid.purchase(0).total == 1


def test_purchases_that_cannot_be(offered):
    with pytest.raises(NotEnoughPaid):
        buy(offered, value=1_999)
    with pytest.raises(InvalidEnergy):
        buy(offered, 0)
    with pytest.raises(NoSuchAdvert):
        offered.request_for_energy(1, NOW + 1, PRICE, PRODUCER, value=1, sender=CONSUMER)
    with pytest.raises(NotAllowed):
        offered.request_for_energy(1, NOW, PRICE, PRODUCER, sender=PRODUCER)


def test_a_regulator_confirms_and_producer_and_tax_are_paid(offered, chain):
    buy(offered, 2_005)
    for sender in (PRODUCER, CONSUMER, OWNER):
        with pytest.raises(NotAllowed):
            offered.confirm_delivery(0, sender=sender)
    receipt = offered.confirm_delivery(0, sender=REGULATOR)
    assert receipt.events == [EnergyDelivered(0, REGULATOR, 1_804, 201)]
    assert chain.balance(PRODUCER) == 1_804
    with pytest.raises(NotOpen):
        offered.confirm_delivery(0, sender=REGULATOR)
    with pytest.raises(NotOpen):
        offered.confirm_delivery(1, sender=REGULATOR)
    with pytest.raises(NotAllowed):
        offered.withdraw_tax(sender=REGULATOR)
    offered.withdraw_tax(sender=OWNER)
    assert (chain.balance(OWNER), offered.tax()) == (201, 0)


def test_what_is_not_confirmed_in_time_goes_back(offered, chain):
    buy(offered, 2_000)
    with pytest.raises(NotDue):
        offered.refund(0, sender=OTHER)
    chain.timestamp = NOW + DELIVERY_S
    assert offered.refund(0, sender=OTHER).events == [Refunded(0, 2_000)]
    assert chain.balance(CONSUMER) == COINS
    assert offered.store_of(PRODUCER).stored_wh == 10_000
    with pytest.raises(NotOpen):
        offered.refund(0, sender=OTHER)
    assert offered.purchase(0).stage == Stage.REFUNDED


def test_a_removed_producers_adverts_are_not_sold_and_its_debts_stay(offered):
    buy(offered, 1_000)
    offered.remove_producer(PRODUCER, sender=REGULATOR)
    with pytest.raises(NoSuchAdvert):
        buy(offered, 1_000)
    offered.confirm_delivery(0, sender=REGULATOR)
    assert offered.purchase(0).stage == Stage.DELIVERED


def test_the_producers_meter_confirms_each_watt_hour_once(chain):
    metering = chain.deploy(Metering, HOUR_S, 0, sender=OWNER)
    metering.enrol(METER, PRODUCER, sender=OWNER)
    grid = found(chain, meters=metering.address)
    grid.store_energy(10_000, sender=PRODUCER)
    grid.available_energy_advert(8_000, PRICE, sender=PRODUCER)
    for _ in range(2):
        buy(grid, 2_000)
    period = NOW // HOUR_S
    with pytest.raises(NotDelivered):  # not recorded
        grid.confirm_by_meter(0, METER, period, sender=OTHER)
    metering.record(period - 1, 0, 9_000, 0, sender=METER)
    with pytest.raises(NotDelivered):  # before the purchase
        grid.confirm_by_meter(0, METER, period - 1, sender=OTHER)
    metering.record(period, 0, 3_999, 0, sender=METER)
    receipt = grid.confirm_by_meter(0, METER, period, sender=OTHER)
    assert receipt.events == [EnergyDelivered(0, METER, 1_800, 200)]
    with pytest.raises(NotDelivered):  # 1,999 Wh are left of that period
        grid.confirm_by_meter(1, METER, period, sender=OTHER)
    metering.record(period + 1, 0, 2_000, 0, sender=METER)
    grid.confirm_by_meter(1, METER, period + 1, sender=OTHER)
    metering.enrol(OTHER, CONSUMER, sender=OWNER)
    buy(grid, 1_000)
    metering.record(period + 1, 0, 2_000, 0, sender=OTHER)
    with pytest.raises(NotDelivered):  # another account's meter
        grid.confirm_by_meter(2, OTHER, period + 1, sender=OTHER)


REFUSING = '''
"""A consumer that takes no coin back."""

from ledger.contract import Contract, Interface, address, payable, uint64, uint256, write


class Grid(Interface):
    @payable
    def request_for_energy(
        self, energy_wh: uint256, advert_time: uint256, proposed_price: uint256, producer: address
    ) -> uint256: ...

    @write
    def claim(self, to: address) -> None: ...


class Refusing(Contract):
    @payable
    def buy(self, grid: address, energy_wh: uint256, time: uint64, producer: address) -> None:
        Grid(grid, value=self.msg.value).request_for_energy(energy_wh, time, 10_000, producer)

    @write
    def claim(self, grid: address, to: address) -> None:
        Grid(grid).claim(to)
'''


def test_a_consumer_that_refuses_its_coin_locks_nobodys_energy(offered, chain, tmp_path: Path):
    file = tmp_path / "refusing.py"
    file.write_text(REFUSING.lstrip())
    refusing = chain.deploy(file, sender=OTHER)
    offered.add_consumer(refusing.address, "", sender=REGULATOR)
    refusing.buy(offered.address, 2_000, NOW, PRODUCER, value=2_000, sender=CONSUMER)
    chain.timestamp = NOW + DELIVERY_S
    assert offered.refund(0, sender=OTHER).events == [Refunded(0, 2_000)]
    assert offered.store_of(PRODUCER).stored_wh == 10_000
    assert chain.balance(offered.address) == 2_000
    assert offered.unclaimed(refusing.address) == 2_000
    with pytest.raises(CallFailed):  # it still refuses
        offered.give_again(refusing.address, sender=OTHER)
    claimed = refusing.claim(offered.address, OTHER, sender=OTHER)
    assert claimed.events == [Claimed(refusing.address, OTHER, 2_000)]
    assert (chain.balance(OTHER), chain.balance(offered.address)) == (2_000, 0)
    offered.claim(OTHER, sender=CONSUMER)  # nothing is nothing
    assert chain.balance(OTHER) == 2_000


RELAY = '''
"""Calls the next of a row of its like; the last one asks for the refund."""

from ledger.contract import Contract, Interface, address, uint256, write


class Grid(Interface):
    @write
    def refund(self, purchase_id: uint256) -> None: ...


class Next(Interface):
    @write
    def go(self, grid: address) -> None: ...


class Relay(Contract):
    _next: address

    def __init__(self, next_: address) -> None:
        self._next = next_

    @write
    def go(self, grid: address) -> None:
        if self._next == grid:
            Grid(grid).refund(0)
        else:
            Next(self._next).go(grid)
'''


def test_who_asks_from_ten_contracts_deep_takes_nobodys_refund(offered, chain, tmp_path: Path):
    """There the coin cannot be sent: it waits, and whose it is need not know how to fetch it."""
    file = tmp_path / "relay.py"
    file.write_text(RELAY.lstrip())
    first = offered
    for _ in range(9):
        first = chain.deploy(file, first.address, sender=OTHER)
    buy(offered, 2_000)
    chain.timestamp = NOW + DELIVERY_S
    first.go(offered.address, sender=OTHER)
    assert offered.purchase(0).stage == Stage.REFUNDED
    assert (chain.balance(CONSUMER), offered.unclaimed(CONSUMER)) == (COINS - 2_000, 2_000)
    assert offered.give_again(CONSUMER, sender=OTHER).events == [Claimed(CONSUMER, CONSUMER, 2_000)]
    assert chain.balance(CONSUMER) == COINS


@pytest.fixture
def token(chain, tmp_path: Path):
    file = tmp_path / "bare.py"
    file.write_text(TOKEN.lstrip())
    token = chain.deploy(file, sender=OWNER)
    token.mint(CONSUMER, COINS, sender=OWNER)
    return token


def test_a_market_paid_in_a_token(chain, token):
    grid = found(chain, token=token.address)
    grid.store_energy(10_000, sender=PRODUCER)
    grid.available_energy_advert(8_000, PRICE, sender=PRODUCER)
    with pytest.raises(CoinNotTaken):
        buy(grid, value=1)
    buy(grid, 2_000, value=0)
    assert token.balance_of(grid.address) == 2_000
    grid.confirm_delivery(0, sender=REGULATOR)
    grid.withdraw_tax(sender=OWNER)
    assert (token.balance_of(PRODUCER), token.balance_of(OWNER)) == (1_800, 200)
    buy(grid, 1_000, value=0)
    chain.timestamp += DELIVERY_S
    grid.refund(1, sender=OTHER)
    assert token.balance_of(CONSUMER) == COINS - 2_000


def test_a_consumer_that_the_token_refuses_locks_nobodys_energy(chain, token):
    grid = found(chain, token=token.address)
    grid.store_energy(10_000, sender=PRODUCER)
    grid.available_energy_advert(8_000, PRICE, sender=PRODUCER)
    buy(grid, 2_000, value=0)
    token.refuse(CONSUMER, True, sender=OWNER)
    chain.timestamp += DELIVERY_S
    assert grid.refund(0, sender=OTHER).events == [Refunded(0, 2_000)]
    assert (grid.store_of(PRODUCER).stored_wh, grid.unclaimed(CONSUMER)) == (10_000, 2_000)
    with pytest.raises(Revert):
        grid.give_again(CONSUMER, sender=OTHER)
    token.refuse(CONSUMER, False, sender=OWNER)
    assert grid.give_again(CONSUMER, sender=OTHER).events == [Claimed(CONSUMER, CONSUMER, 2_000)]
    assert (token.balance_of(CONSUMER), grid.unclaimed(CONSUMER)) == (COINS, 0)


def test_a_token_that_says_no_moves_nothing(chain, token):
    grid = found(chain, token=token.address)
    grid.store_energy(10_000, sender=PRODUCER)
    grid.available_energy_advert(8_000, PRICE, sender=PRODUCER)
    buy(grid, 2_000, value=0)
    token.break_(sender=OWNER)
    chain.timestamp += DELIVERY_S
    for call in (
        lambda: grid.refund(0, sender=OTHER),
        lambda: grid.confirm_delivery(0, sender=REGULATOR),
        lambda: buy(grid, 1_000, value=0),
    ):
        with pytest.raises((TokenRefused, NoSuchAdvert)):
            call()
    assert grid.purchase(0).stage == Stage.PAID and grid.unclaimed(CONSUMER) == 0


def test_what_is_sold_out_takes_no_place_of_an_advert(grid, chain):
    grid.store_energy(10_000, sender=PRODUCER)
    for second in range(20):
        chain.timestamp = NOW + second
        advertised = grid.available_energy_advert(100, PRICE, sender=PRODUCER)
        assert len(advertised.events) == 1
        grid.request_for_energy(
            100, chain.timestamp, PRICE, PRODUCER, value=COINS // 100, sender=CONSUMER
        )
        with pytest.raises(TooManyAdverts):  # its second is taken
            grid.available_energy_advert(100, PRICE, sender=PRODUCER)
    assert grid.adverts_of(PRODUCER) == [NOW + 19]


def test_arguments_as_published_are_refused_where_no_advert_can_have_them(offered, chain):
    with pytest.raises(InvalidEnergy):
        offered.available_energy_advert(1, 2**128, sender=PRODUCER)
    with pytest.raises(NoSuchAdvert) as missing:
        offered.request_for_energy(1, 2**64 + NOW, PRICE, PRODUCER, value=1, sender=CONSUMER)
    assert missing.value == NoSuchAdvert(PRODUCER, 2**64 + NOW)
    with pytest.raises(NotEnoughEnergy):
        offered.request_for_energy(2**256 - 1, NOW, PRICE, PRODUCER, sender=CONSUMER)
    with pytest.raises(NotEnoughEnergy):
        offered.available_energy_advert(2**256 - 1, PRICE, sender=PRODUCER)
    with pytest.raises(CapacityExceeded):
        offered.store_energy(2**256 - 1, sender=PRODUCER)
    chain.timestamp += 1
    offered.available_energy_advert(1, 2**128 - 1, sender=PRODUCER)


def test_what_is_set_can_be_read(chain, token):
    grid = found(chain, token=token.address, meters=OTHER)
    assert (grid.producer_share(), grid.delivery_seconds()) == (900, DELIVERY_S)
    assert (grid.token(), grid.meters()) == (token.address, OTHER)
