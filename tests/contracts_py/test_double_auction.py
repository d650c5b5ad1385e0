"""The market against a slow obvious one: fractions, sorted lists, every price tried."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts_py.double_auction import (
    Cleared,
    DoubleAuction,
    GateClosed,
    GateOpen,
    InvalidOrder,
    NotCleared,
    NothingToSettle,
    NotMetered,
    NotOperator,
    NotYourMeter,
    Placed,
    Settled,
    Stage,
    TooLittle,
)
from contracts_py.metering import Metering
from ledger.contract.testing import Chain
from tests.contracts_py.slow_market import (
    COINS,
    GATE_S,
    GRACE_S,
    HOMES,
    HOUR_S,
    METERS,
    NOW,
    OPERATOR,
    PENALTY_WEI,
    PERIOD,
    STEP_WEI,
    clear_slowly,
)


class Market:
    """A chain with homes that have meters and coins in the market."""

    def __init__(self) -> None:
        self.chain = Chain(timestamp=NOW)
        self.metering = self.chain.deploy(Metering, HOUR_S, 0, sender=OPERATOR)
        self.auction = self.chain.deploy(
            DoubleAuction, self.metering.address, GATE_S, GRACE_S, STEP_WEI, PENALTY_WEI,
            sender=OPERATOR,
        )  # fmt: skip
        for home, meter in zip(HOMES, METERS, strict=True):
            self.metering.enrol(meter, home, sender=OPERATOR)
            self.chain.fund(home, COINS)
            self.auction.deposit(value=COINS, sender=home)

    def place(self, index: int, quantity_wh: int, step: int) -> object:
        return self.auction.place(PERIOD, METERS[index], quantity_wh, step, sender=HOMES[index])

    def clear(self, levels: int = 10_000) -> int:
        """How many calls it took."""
        self.chain.timestamp = max(self.chain.timestamp, PERIOD * HOUR_S - GATE_S)
        calls = 0
        while True:
            calls += 1
            self.auction.clear(PERIOD, levels, sender=OPERATOR)
            if self.auction.result(PERIOD)[0] == Stage.CLEARED:
                return calls

    def deliver(self, index: int, import_wh: int, export_wh: int) -> None:
        self.metering.record(PERIOD, import_wh, export_wh, 0, sender=METERS[index])

    def traded(self) -> list[int]:
        return [self.auction.traded_by(home, PERIOD) for home in HOMES]

    def held(self) -> int:
        """What the contract owes: free balances, what orders hold, the operator's, the pot."""
        free = sum(self.auction.balance_of(home) for home in HOMES)
        locked = sum(self.auction.order_of(home, PERIOD).locked for home in HOMES)
        pot = self.auction.storage._books[PERIOD].pot
        return free + locked + self.auction.surplus() + pot


@pytest.fixture(scope="module")
def opened():
    return Market()


@pytest.fixture
def market(opened):
    opened.chain.timestamp = NOW
    with opened.chain.rolled_back():
        yield opened


orders_of = st.dictionaries(
    st.integers(0, 7),
    st.tuples(st.integers(-50, 50) | st.integers(-5_000, 5_000), st.integers(0, 12)
              | st.sampled_from([255, 256, 257, 511, 1_024, 4_095])),
    max_size=8,
)  # fmt: skip


@settings(max_examples=60)
@given(orders_of, st.integers(0, 2**32), st.integers(1, 4))
def test_price_and_shares_are_those_of_the_slow_market_in_any_order(opened, orders, seed, levels):
    expected_step, expected_volume, expected = clear_slowly(orders)
    opened.chain.timestamp = NOW
    with opened.chain.rolled_back():
        arrival = list(orders)
        Random(seed).shuffle(arrival)
        for index in arrival:
            if index % 3 == 0:  # some change their mind on the way
                opened.place(index, -orders[index][0], 9)
            opened.place(index, *orders[index])
        opened.clear(levels)
        _, price, volume = opened.auction.result(PERIOD)
        assert (price, volume) == (expected_step * STEP_WEI, expected_volume)
        assert opened.traded() == [expected.get(index, 0) for index in range(8)]


@settings(max_examples=40)
@given(
    orders_of,
    st.randoms(use_true_random=False),
    st.lists(st.integers(0, 6_000), min_size=8, max_size=8),
)
def test_no_coin_is_made_or_lost_whoever_settles_first(opened, orders, random, metered):
    opened.chain.timestamp = NOW
    with opened.chain.rolled_back():
        for index, (quantity, step) in orders.items():
            opened.place(index, quantity, step)
        assert opened.held() == 8 * COINS
        opened.clear()
        opened.chain.timestamp = (PERIOD + 1) * HOUR_S
        for index in orders:
            if metered[index] % 5:
                opened.deliver(index, metered[index], metered[index] // 2)
        opened.chain.timestamp += GRACE_S
        waiting = [index for index, (quantity, _) in orders.items() if quantity]
        random.shuffle(waiting)
        for index in waiting:
            opened.auction.settle(PERIOD, HOMES[index], sender=OPERATOR)
            assert opened.held() == 8 * COINS
            assert opened.auction.surplus() == 0 or index == waiting[-1]
        for home in HOMES:
            opened.auction.withdraw(opened.auction.balance_of(home), sender=home)
        opened.auction.withdraw_surplus(sender=OPERATOR)
        assert opened.chain.balance(opened.auction.address) == 0


def test_a_day_in_the_life_of_two_neighbours(market):
    placed = market.place(0, 2_000, 300)
    assert placed.events == [Placed(HOMES[0], PERIOD, 2_000, 300)]
    market.place(1, -1_500, 100)
    market.clear()
    stage, price, volume = market.auction.result(PERIOD)
    assert (stage, price, volume) == (Stage.CLEARED, 200 * STEP_WEI, 1_500)
    market.chain.timestamp = (PERIOD + 1) * HOUR_S
    market.deliver(0, 1_900, 0)
    market.deliver(1, 0, 1_200)
    bought = market.auction.settle(PERIOD, HOMES[0], sender=OPERATOR)
    paid = 1_500 * 200 * STEP_WEI // 1_000
    assert bought.events == [Settled(HOMES[0], PERIOD, 1_500, 1_900, paid, 0, 0)]
    sold = market.auction.settle(PERIOD, HOMES[1], sender=OPERATOR)
    received = 1_200 * 200 * STEP_WEI // 1_000
    penalty = 300 * PENALTY_WEI // 1_000
    assert sold.events == [Settled(HOMES[1], PERIOD, -1_500, 1_200, 0, received, penalty)]
    assert market.auction.surplus() == paid - received + penalty
    assert market.auction.balance_of(HOMES[1]) == COINS + received - penalty


def test_clearing_goes_on_where_it_stopped(market):
    for index in range(8):
        market.place(index, 1_000 if index % 2 else -1_000, 100 + 300 * (7 - index))
    calls = market.clear(levels=1)
    assert calls == 8
    again = market.auction.clear(PERIOD, 1, sender=HOMES[0])
    assert again.events == []


def test_the_gate(market):
    with pytest.raises(GateOpen):
        market.auction.clear(PERIOD, 1, sender=HOMES[0])
    with pytest.raises(NotCleared):
        market.auction.settle(PERIOD, HOMES[0], sender=OPERATOR)
    market.chain.timestamp = market.auction.gate_of(PERIOD)
    with pytest.raises(GateClosed):
        market.place(0, 1, 1)
    assert market.auction.clear(PERIOD, 1, sender=HOMES[0]).events == [Cleared(PERIOD, 0, 0)]


def test_who_may_not_and_what_is_too_much(market):
    with pytest.raises(NotYourMeter):
        market.auction.place(PERIOD, METERS[1], 1, 1, sender=HOMES[0])
    with pytest.raises(InvalidOrder):
        market.place(0, 1_000_000_001, 1)
    with pytest.raises(InvalidOrder):
        market.place(0, 1, 4_096)
    with pytest.raises(TooLittle):
        market.auction.withdraw(COINS + 1, sender=HOMES[0])
    market.auction.withdraw(COINS, sender=HOMES[0])
    with pytest.raises(TooLittle):
        market.place(0, 1_000, 4_095)
    with pytest.raises(NotOperator):
        market.auction.withdraw_surplus(sender=HOMES[0])


def test_a_silent_meter_is_waited_for_and_then_counts_as_nothing_delivered(market):
    market.place(0, 1_000, 5)
    market.place(1, -1_000, 5)
    market.clear()
    market.chain.timestamp = (PERIOD + 1) * HOUR_S
    with pytest.raises(NotMetered):
        market.auction.settle(PERIOD, HOMES[1], sender=OPERATOR)
    market.chain.timestamp += GRACE_S
    market.auction.settle(PERIOD, HOMES[1], sender=OPERATOR)
    assert market.auction.balance_of(HOMES[1]) == COINS - PENALTY_WEI
    market.auction.settle(PERIOD, HOMES[0], sender=OPERATOR)
    assert market.auction.balance_of(HOMES[0]) == COINS - 5 * STEP_WEI  # it had its energy
    with pytest.raises(NothingToSettle):
        market.auction.settle(PERIOD, HOMES[0], sender=OPERATOR)


def test_a_withdrawn_order_frees_its_coins_and_leaves_the_book(market):
    market.place(0, 1_000, 7)
    market.place(0, 0, 7)
    assert market.auction.balance_of(HOMES[0]) == COINS
    assert market.auction.level(PERIOD, 7).bid_wh == 0
    market.clear()
    with pytest.raises(NothingToSettle):
        market.auction.settle(PERIOD, HOMES[0], sender=OPERATOR)


# What other markets failed on (gridlab-d issues 485, 468 and 487; pymarket issue 25).


def test_equal_sellers_sell_the_same_share_each(market):
    market.place(0, 1_000, 9)
    for seller in (1, 2, 3):
        market.place(seller, -700, 5)
    market.clear()
    assert market.auction.result(PERIOD)[1:] == (7 * STEP_WEI, 1_000)
    assert market.traded()[:4] == [1_000, -333, -333, -333]  # the last watt-hour is the operator's


def test_equal_buyers_buy_the_same_share_each(market):
    market.place(0, -1_000, 5)
    for buyer in (1, 2, 3):
        market.place(buyer, 700, 9)
    market.clear()
    assert market.auction.result(PERIOD)[1:] == (7 * STEP_WEI, 1_000)
    assert market.traded()[:4] == [-1_000, 334, 334, 334]


def test_equal_on_both_sides_at_one_price(market):
    for home in range(4):
        market.place(home, 500 if home < 2 else -500, 6)
    market.clear()
    assert market.auction.result(PERIOD)[1:] == (6 * STEP_WEI, 1_000)
    assert market.traded()[:4] == [500, 500, -500, -500]


@pytest.mark.parametrize("quantity_wh", [800, -800], ids=["only buyers", "only sellers"])
def test_one_side_alone_trades_nothing_and_gets_all_back(market, quantity_wh):
    for home in range(3):
        market.place(home, quantity_wh, 5 + home)
    cleared = (Stage.CLEARED, 0, 0)
    market.clear()
    assert market.auction.result(PERIOD) == cleared
    for home in HOMES[:3]:  # no meter is waited for
        settled = market.auction.settle(PERIOD, home, sender=OPERATOR)
        assert settled.events == [Settled(home, PERIOD, 0, 0, 0, 0, 0)]
        assert market.auction.balance_of(home) == COINS
    assert market.auction.surplus() == 0


def test_prices_that_do_not_cross_trade_nothing(market):
    market.place(0, 1_000, 5)
    market.place(1, -1_000, 6)
    market.clear()
    assert market.auction.result(PERIOD) == (Stage.CLEARED, 0, 0)
    assert market.traded() == [0] * 8


def test_an_hour_without_orders_is_cleared_too(market):
    assert market.clear() == 1
    assert market.auction.result(PERIOD) == (Stage.CLEARED, 0, 0)
