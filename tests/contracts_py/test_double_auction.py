"""The market against a slow obvious one: fractions, sorted lists, every price tried."""

from fractions import Fraction
from math import ceil, floor
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
    MeterTaken,
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
from ledger.contract.testing import Chain, make_account
from tests.contracts_py.moving_meters import MovingMeters

HOUR_S = 3_600
GATE_S = 900
GRACE_S = 7_200
STEP_WEI = 1_000_000
PENALTY_WEI = 700_000_000
NOW = 1_700_000_000
PERIOD = NOW // HOUR_S + 2
OPERATOR = make_account("operator")
HOMES = [make_account(f"home {index}") for index in range(8)]
METERS = [make_account(f"meter {index}") for index in range(8)]
COINS = 10**18


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


def clear_slowly(orders: dict[int, tuple[int, int]]) -> tuple[int, int, dict[int, int]]:
    """Price step, volume and what each order gets, by trying every step there is."""
    asks = {i: (-q, s) for i, (q, s) in orders.items() if q < 0}
    bids = {i: (q, s) for i, (q, s) in orders.items() if q > 0}

    def volume_at(step: int) -> int:
        return min(
            sum(q for q, s in asks.values() if s <= step),
            sum(q for q, s in bids.values() if s >= step),
        )

    steps = range(min((s for _, s in orders.values()), default=0),
                  max((s for _, s in orders.values()), default=0) + 1)  # fmt: skip
    volume = max(map(volume_at, steps))
    if volume == 0:
        return 0, 0, dict.fromkeys(orders, 0)
    best = [step for step in steps if volume_at(step) == volume]
    got = {}
    for side, ahead, sign, rounded in (
        (asks, lambda one, other: one < other, -1, floor),
        (bids, lambda one, other: one > other, 1, ceil),
    ):
        for i, (quantity, step) in side.items():
            before = sum(q for q, s in side.values() if ahead(s, step))
            level = sum(q for q, s in side.values() if s == step)
            share = min(max(Fraction(volume - before, level), Fraction(0)), Fraction(1))
            got[i] = sign * rounded(quantity * share)
    return (best[0] + best[-1]) // 2, volume, got


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


def open_moving():
    """Meters that change hands, and a market by them with coins of three homes in it."""
    chain = Chain(timestamp=NOW)
    meters = chain.deploy(MovingMeters, sender=OPERATOR)
    auction = chain.deploy(
        DoubleAuction, meters.address, GATE_S, GRACE_S, STEP_WEI, PENALTY_WEI, sender=OPERATOR
    )
    for home in HOMES[:3]:
        chain.fund(home, COINS)
        auction.deposit(value=COINS, sender=home)
    return meters, auction


def test_the_export_of_a_meter_that_was_handed_over_is_paid_once():
    meters, auction = open_moving()
    first, second, buyer = HOMES[:3]
    for account, meter in ((first, METERS[0]), (second, METERS[1]), (buyer, METERS[2])):
        meters.move(meter, account, sender=OPERATOR)
    auction.place(PERIOD, METERS[0], -1_000, 5, sender=first)
    auction.place(PERIOD, METERS[0], -900, 5, sender=first)  # its own order may be replaced
    meters.move(METERS[0], second, sender=OPERATOR)
    with pytest.raises(MeterTaken) as taken:
        auction.place(PERIOD, METERS[0], -1_000, 5, sender=second)
    assert taken.value == MeterTaken(METERS[0], PERIOD, first)
    with pytest.raises(NotYourMeter):
        auction.place(PERIOD, METERS[0], -1_000, 5, sender=first)
    auction.place(PERIOD + 1, METERS[0], -1_000, 5, sender=second)  # another period is free
    auction.place(PERIOD, METERS[0], 0, 0, sender=first)  # withdrawn, though it is another's now
    auction.place(PERIOD, METERS[0], -1_000, 5, sender=second)
    auction.place(PERIOD, METERS[1], -700, 5, sender=second)  # by its other meter instead
    meters.move(METERS[0], first, sender=OPERATOR)
    auction.place(PERIOD, METERS[0], -1_000, 5, sender=first)
    assert auction.storage._holders[PERIOD, METERS[0]] == first
    assert auction.storage._holders[PERIOD, METERS[1]] == second


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 2), st.sampled_from([-1_000, -400, 0, 500])),
        max_size=12,
    )
)
def test_no_meter_settles_two_orders(steps):
    """Whoever orders by whatever meter is its own at that moment, in any order of hand-overs."""
    meters, auction = open_moving()
    for home, meter, quantity_wh in steps:
        meters.move(METERS[meter], HOMES[home], sender=OPERATOR)
        try:
            auction.place(PERIOD, METERS[meter], quantity_wh, 5, sender=HOMES[home])
        except MeterTaken as taken:
            holder = auction.order_of(taken.account, PERIOD)
            assert holder.meter == METERS[meter] and holder.quantity_wh != 0
        orders = [auction.order_of(each, PERIOD) for each in HOMES[:3]]
        used = [order.meter for order in orders if order.quantity_wh != 0]
        assert len(set(used)) == len(used)
