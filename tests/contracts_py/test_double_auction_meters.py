"""Meters that change hands while an hour is open: one order a meter, and every coin."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts_py.double_auction import (
    DoubleAuction,
    GateClosed,
    NothingToRelease,
    NothingToSettle,
    NotYourMeter,
    Placed,
    Settled,
)
from ledger.contract.testing import Chain
from tests.contracts_py.moving_meters import MovingMeters
from tests.contracts_py.slow_market import (
    COINS,
    GATE_S,
    GRACE_S,
    HOMES,
    METERS,
    NOW,
    OPERATOR,
    PENALTY_WEI,
    PERIOD,
    STEP_WEI,
    clear_slowly,
)

MOVING = HOMES[:3]


class MovingMarket:
    """Meters that change hands, and a market by them with coins of three homes in it."""

    def __init__(self) -> None:
        self.chain = Chain(timestamp=NOW)
        self.meters = self.chain.deploy(MovingMeters, sender=OPERATOR)
        self.auction = self.chain.deploy(
            DoubleAuction, self.meters.address, GATE_S, GRACE_S, STEP_WEI, PENALTY_WEI,
            sender=OPERATOR,
        )  # fmt: skip
        for home in MOVING:
            self.chain.fund(home, COINS)
            self.auction.deposit(value=COINS, sender=home)

    def move(self, meter: int, home: bytes) -> None:
        self.meters.move(METERS[meter], home, sender=OPERATOR)

    def place(self, home: bytes, meter: int, quantity_wh: int, step: int = 5) -> object:
        return self.auction.place(PERIOD, METERS[meter], quantity_wh, step, sender=home)

    def release(self, meter: int) -> object:
        return self.auction.release(PERIOD, METERS[meter], sender=OPERATOR)

    def orders(self) -> dict[int, tuple[int, int]]:
        """Quantity and step of every open order, by the home's number."""
        held = [self.auction.order_of(home, PERIOD) for home in MOVING]
        return {i: (o.quantity_wh, o.step) for i, o in enumerate(held) if o.quantity_wh != 0}


@pytest.fixture(scope="module")
def built():
    return MovingMarket()


@pytest.fixture
def moving(built):
    built.chain.timestamp = NOW
    with built.chain.rolled_back():
        yield built


def test_who_was_given_a_meter_orders_by_it_in_place_of_who_had_it(moving):
    first, second, _ = MOVING
    moving.move(0, first)
    moving.place(first, 0, -1_000)
    moving.place(first, 0, -900)  # its own order may be replaced
    moving.move(0, second)
    placed = moving.place(second, 0, -800, 7)
    assert placed.events == [Placed(first, PERIOD, 0, 0), Placed(second, PERIOD, -800, 7)]
    assert moving.auction.balance_of(first) == COINS  # to be withdrawn at once
    moving.auction.withdraw(COINS, sender=first)
    assert moving.auction.level(PERIOD, 5).ask_wh == 0
    with pytest.raises(NotYourMeter):
        moving.place(first, 0, -1_000)
    moving.place(first, 0, 0)  # nothing of its own is left to withdraw
    assert moving.orders() == {1: (-800, 7)}
    assert moving.auction.storage._holders[PERIOD, METERS[0]] == second


def test_the_export_of_a_meter_that_was_handed_over_is_paid_once(moving):
    first, second, buyer = MOVING
    for meter, home in enumerate(MOVING):
        moving.move(meter, home)
    moving.place(first, 0, -1_000)
    moving.place(second, 1, -700)
    moving.place(buyer, 2, 2_000)
    moving.move(0, second)
    moving.place(second, 0, -1_000)  # it has one order: the other meter's is replaced
    assert moving.orders() == {1: (-1_000, 5), 2: (2_000, 5)}
    moving.chain.timestamp = moving.auction.gate_of(PERIOD)
    with pytest.raises(GateClosed):
        moving.release(0)
    moving.auction.clear(PERIOD, 10, sender=OPERATOR)
    with pytest.raises(NothingToSettle):
        moving.auction.settle(PERIOD, first, sender=OPERATOR)
    sold = moving.auction.settle(PERIOD, second, sender=OPERATOR)
    received = 1_000 * 5 * STEP_WEI // 1_000
    assert sold.events == [Settled(second, PERIOD, -1_000, 1_000, 0, received, 0)]


def test_nobody_sells_by_a_meter_that_it_gave_away(moving):
    first, second, _ = MOVING
    with pytest.raises(NothingToRelease):
        moving.release(0)
    moving.move(0, first)
    moving.place(first, 0, -1_000)
    with pytest.raises(NothingToRelease) as kept:
        moving.release(0)  # of whose it is
    assert kept.value == NothingToRelease(METERS[0], PERIOD)
    moving.move(0, second)
    assert moving.release(0).events == [Placed(first, PERIOD, 0, 0)]
    assert (moving.orders(), moving.auction.balance_of(first)) == ({}, COINS)
    with pytest.raises(NothingToRelease):
        moving.release(0)
    assert moving.auction.storage._books[PERIOD].orders == 0


steps_of_hands = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(0, 2),
        st.sampled_from([None, -1_000, -400, 0, 500]),
        st.integers(4, 6),
    ),
    max_size=12,
)


@settings(max_examples=60)
@given(steps_of_hands, st.randoms(use_true_random=False))
def test_hand_overs_leave_one_order_a_meter_and_every_coin(built, steps, random):
    """Whoever orders by whatever meter is its own then; no quantity: the meter's is released."""
    built.chain.timestamp = NOW
    with built.chain.rolled_back():
        auction = built.auction
        expected: dict[int, tuple[int, int, int]] = {}
        for home, meter, quantity_wh, step in steps:
            built.move(meter, MOVING[home])
            stood = [i for i, order in expected.items() if order[0] == meter and i != home]
            if quantity_wh is None:
                if stood:
                    built.release(meter)
                    del expected[stood[0]]
                else:
                    with pytest.raises(NothingToRelease):
                        built.release(meter)
                continue
            built.place(MOVING[home], meter, quantity_wh, step)
            expected.pop(home, None)
            if quantity_wh:
                expected = {i: order for i, order in expected.items() if i not in stood}
                expected[home] = (meter, quantity_wh, step)
        orders = {i: order[1:] for i, order in expected.items()}
        assert built.orders() == orders
        locked = sum(auction.order_of(home, PERIOD).locked for home in MOVING)
        assert locked + sum(map(auction.balance_of, MOVING)) == 3 * COINS
        built.chain.timestamp = auction.gate_of(PERIOD)
        auction.clear(PERIOD, 10, sender=OPERATOR)
        price, volume, traded = clear_slowly(orders)
        assert auction.result(PERIOD)[1:] == (price * STEP_WEI, volume)
        assert traded == {i: auction.traded_by(MOVING[i], PERIOD) for i in orders}
        for home in random.sample(sorted(orders), len(orders)):
            auction.settle(PERIOD, MOVING[home], sender=OPERATOR)
        for home in MOVING:
            auction.withdraw(auction.balance_of(home), sender=home)
        auction.withdraw_surplus(sender=OPERATOR)
        assert built.chain.balance(auction.address) == 0
