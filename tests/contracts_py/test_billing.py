"""Bills from registers: every rule, every coin, and months as Python's calendar has them."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import floor

import pytest
from eth_abi import encode
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from contracts_py.billing import (
    AlreadyEnrolled,
    AlreadyFrozen,
    Billed,
    Billing,
    Disconnected,
    Frozen,
    InvalidLengths,
    InvalidSetting,
    NotEnough,
    ReadingRejected,
    Reconnected,
    Rejected,
    Rules,
    TooEarly,
    Verdict,
    ZeroAddress,
)
from ledger.contract.testing import Chain, Unauthorized, make_account
from ledger.contract.testing.machine import ContractMachine
from ledger.crypto.keccak import keccak256

INDIA_S = 19_800
DAY_S = 86_400
RULES = Rules(10_000_000, 10_000, 7 * DAY_S, 60)
RATE = 2_960_000  # wei a kWh
LIMIT = 5_000
NOW = int(datetime(2024, 2, 10, tzinfo=UTC).timestamp())
FEBRUARY = 12 * 2024 + 1
OWNER, GATEWAY, HOUSE, OTHER, METER, METER_2 = (
    make_account(name) for name in ("owner", "gateway", "house", "other", "meter", "meter 2")
)
COINS = 10**12


def found(rate=RATE, limit=LIMIT):
    chain = Chain(timestamp=NOW)
    for account in (HOUSE, OTHER):
        chain.fund(account, COINS)
    billing = chain.deploy(Billing, RULES, rate, limit, INDIA_S, sender=OWNER)
    billing.set_gateway(GATEWAY, True, sender=OWNER)
    billing.enrol(METER, HOUSE, 1_000, 0, sender=OWNER)
    chain.timestamp += 3_600
    return chain, billing


@pytest.fixture
def chain_and_billing():
    return found()


@pytest.fixture
def chain(chain_and_billing):
    return chain_and_billing[0]


@pytest.fixture
def billing(chain_and_billing):
    return chain_and_billing[1]


def test_a_valid_reading_is_billed_at_once(billing, chain):
    billing.deposit(HOUSE, value=10_000, sender=OTHER)
    receipt = billing.submit(METER, 1_001, chain.timestamp, sender=GATEWAY)
    assert receipt.events == [Billed(HOUSE, METER, FEBRUARY, 1, 2_960)]
    assert billing.account(HOUSE).deposit == 7_040
    assert billing.earned() == 2_960


@pytest.mark.parametrize(
    ("meter", "register", "after_s", "verdict"),
    [
        (METER, 1_500, 0, Verdict.VALID),
        (OTHER, 1_500, 0, Verdict.UNKNOWN_METER),
        (METER, 1_500, -7 * DAY_S - 1, Verdict.TOO_OLD),
        (METER, 1_500, 61, Verdict.IN_FUTURE),
        (METER, 1_500, 60, Verdict.VALID),
        (METER, 1_500, -3_600, Verdict.NOT_NEWER),
        (METER, 10_000_001, 0, Verdict.OUT_OF_RANGE),
        (METER, 999, 0, Verdict.REGISTER_FELL),
        (METER, 1_000, 0, Verdict.VALID),
        (METER, 11_000, 0, Verdict.VALID),  # 10 kW for an hour
        (METER, 11_001, 0, Verdict.TOO_FAST),
    ],
)
def test_rules_judge_and_nothing_is_reverted_away(
    billing, chain, meter, register, after_s, verdict
):
    time = chain.timestamp + after_s
    assert billing.check(meter, register, time) == verdict
    before = billing.bill(HOUSE, FEBRUARY)
    receipt = billing.submit(meter, register, time, sender=GATEWAY)
    if verdict == Verdict.VALID:
        assert billing.meter(METER).register_wh == register
        assert billing.rejected_count(meter) == 0
        return
    account = bytes(20) if meter == OTHER else HOUSE
    assert receipt.events == [ReadingRejected(account, meter, register, time, verdict)]
    assert billing.rejected(meter, 0) == Rejected(register, time, verdict, GATEWAY)
    assert billing.bill(HOUSE, FEBRUARY) == before
    assert billing.meter(METER).register_wh == 1_000


def test_energy_of_a_refused_reading_is_billed_by_the_next_valid_one(billing, chain):
    billing.submit(METER, 30_000, chain.timestamp, sender=GATEWAY)
    chain.timestamp += 4 * 3_600
    receipt = billing.submit(METER, 31_000, chain.timestamp, sender=GATEWAY)
    assert receipt.events[0].energy_wh == 30_000


def test_a_meter_may_have_a_greatest_power_of_its_own(billing, chain):
    billing.enrol(METER_2, OTHER, 0, 100, sender=OWNER)
    chain.timestamp += 3_600
    assert billing.check(METER_2, 100, chain.timestamp) == Verdict.VALID
    assert billing.check(METER_2, 101, chain.timestamp) == Verdict.TOO_FAST


def test_arrears_disconnect_and_paying_all_of_them_reconnects(billing, chain):
    receipt = billing.submit(METER, 1_001, chain.timestamp, sender=GATEWAY)
    assert billing.account(HOUSE).arrears == 2_960
    assert billing.is_connected(HOUSE)
    chain.timestamp += 60
    receipt = billing.submit(METER, 1_002, chain.timestamp, sender=GATEWAY)
    assert receipt.events[1:] == [Disconnected(HOUSE, 5_920)]
    chain.timestamp += 60
    receipt = billing.submit(METER, 1_003, chain.timestamp, sender=GATEWAY)
    assert len(receipt.events) == 1  # it is told once
    billing.deposit(HOUSE, value=8_879, sender=OTHER)
    assert not billing.is_connected(HOUSE)
    receipt = billing.deposit(HOUSE, value=100, sender=HOUSE)
    assert receipt.events[1:] == [Reconnected(HOUSE)]
    assert billing.account(HOUSE).deposit == 99
    assert billing.earned() == 8_880


def test_a_gateway_sends_many_and_one_wrong_one_stops_no_other(billing, chain):
    billing.deposit(HOUSE, value=COINS // 2, sender=HOUSE)
    times = [chain.timestamp - 20, chain.timestamp - 30, chain.timestamp - 10]
    receipt = billing.submit_many(
        [METER, METER, METER], [1_001, 1_002, 1_003], times, sender=GATEWAY
    )
    assert [type(event) for event in receipt.events] == [Billed, ReadingRejected, Billed]
    with pytest.raises(InvalidLengths):
        billing.submit_many([METER], [], [], sender=GATEWAY)


def test_a_month_is_frozen_once_and_only_when_no_reading_can_come(billing, chain):
    billing.submit(METER, 1_777, chain.timestamp, sender=GATEWAY)
    march = int(datetime(2024, 3, 1, tzinfo=UTC).timestamp()) - INDIA_S
    chain.timestamp = march + 7 * DAY_S - 1
    assert billing.check(METER, 2_000, march - 1) == Verdict.VALID
    with pytest.raises(TooEarly):
        billing.freeze(HOUSE, FEBRUARY, sender=OTHER)
    chain.timestamp += 1
    energy, amount, readings, frozen, bill_hash = billing.bill(HOUSE, FEBRUARY)
    assert (energy, amount, readings, frozen) == (777, 2_299_920, 1, False)
    link = encode(
        ["bytes32", "address", "uint64", "uint64", "uint64", "uint64"],
        [bytes(32), METER, 1_777, NOW + 3_600, 777, RATE],
    )
    assert bill_hash == keccak256(
        encode(
            ["address", "uint32", "uint64", "uint256", "uint32", "bytes32"],
            [HOUSE, FEBRUARY, 777, 2_299_920, 1, keccak256(link)],
        )
    )
    receipt = billing.freeze(HOUSE, FEBRUARY, sender=OTHER)
    assert receipt.events == [Frozen(HOUSE, FEBRUARY, 2_299_920, 777, bill_hash)]
    with pytest.raises(AlreadyFrozen):
        billing.freeze(HOUSE, FEBRUARY, sender=OTHER)
    billing.set_rules(Rules(10_000_000, 10_000, 30 * DAY_S, 60), sender=OWNER)
    assert billing.check(METER, 2_000, march - 1) == Verdict.MONTH_FROZEN
    assert billing.check(METER, 2_000, march) == Verdict.VALID


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 4_000_000_000))
def test_months_are_those_of_the_calendar(time):
    local = datetime(1970, 1, 1) + timedelta(seconds=time + INDIA_S)
    chain, billing = CALENDAR
    month = billing.month_of(time)
    assert month == 12 * local.year + local.month - 1
    next_month = datetime(local.year + local.month // 12, local.month % 12 + 1, 1)
    until = int((next_month - datetime(1970, 1, 1)).total_seconds()) - INDIA_S + 7 * DAY_S
    with chain.rolled_back():
        chain.timestamp = until - 1
        with pytest.raises(TooEarly) as caught:
            billing.freeze(HOUSE, month, sender=OTHER)
        assert caught.value == TooEarly(month, until)


CALENDAR = found()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 300), max_size=12), st.integers(1, 5_000))
def test_a_months_charges_come_to_one_rounding(steps, rate):
    chain, billing = found(rate)
    register = 1_000
    charged = 0
    for step in steps:
        register += step
        chain.timestamp += 3_600
        charged += (
            billing.submit(METER, register, chain.timestamp, sender=GATEWAY).events[0].charged
        )
    assert charged == floor(Fraction(sum(steps) * rate, 1_000) + Fraction(1, 2))


def test_who_may_not(billing, chain):
    for call in (
        lambda: billing.submit(METER, 1_001, chain.timestamp, sender=OWNER),
        lambda: billing.submit_many([], [], [], sender=HOUSE),
        lambda: billing.set_rate(1, sender=GATEWAY),
        lambda: billing.set_rules(RULES, sender=GATEWAY),
        lambda: billing.enrol(METER_2, HOUSE, 0, 0, sender=GATEWAY),
        lambda: billing.set_gateway(HOUSE, True, sender=HOUSE),
        lambda: billing.withdraw_earned(0, sender=HOUSE),
    ):
        with pytest.raises(Unauthorized):
            call()
    billing.set_gateway(GATEWAY, False, sender=OWNER)
    with pytest.raises(Unauthorized):
        billing.submit(METER, 1_001, chain.timestamp, sender=GATEWAY)


def test_what_makes_no_sense(billing, chain):
    with pytest.raises(AlreadyEnrolled):
        billing.enrol(METER, OTHER, 0, 0, sender=OWNER)
    for meter, account in ((bytes(20), HOUSE), (METER_2, bytes(20))):
        with pytest.raises(ZeroAddress):
            billing.enrol(meter, account, 0, 0, sender=OWNER)
    with pytest.raises(ZeroAddress):
        billing.deposit(bytes(20), value=1, sender=HOUSE)
    with pytest.raises(InvalidSetting):
        billing.set_rules(Rules(0, 1, 1, 1), sender=OWNER)
    with pytest.raises(NotEnough):
        billing.withdraw(1, sender=HOUSE)
    with pytest.raises(NotEnough):
        billing.withdraw_earned(1, sender=OWNER)


class Utility(ContractMachine):
    """Any run: the contract's coin is the deposits and what was earned, what is billed is earned
    or in arrears, and who owes too much is not connected."""

    contract = Billing
    arguments = (RULES, RATE, LIMIT, 0)
    accounts = ("owner", "gateway", "house")

    def start(self):
        self.deployed.set_gateway(GATEWAY, True, sender=OWNER)
        self.deployed.enrol(METER, HOUSE, 0, 0, sender=OWNER)
        self.withdrawn = 0
        self.charged = 0

    @rule(register=st.integers(0, 40), after_s=st.integers(-100, 3_600))
    def submit(self, register, after_s):
        self.chain.timestamp += max(after_s, 0)
        time = self.chain.timestamp + min(after_s, 0)
        done = self.attempt("submit", METER, register, time, sender=GATEWAY)
        assert done, self.failure
        self.charged += sum(getattr(event, "charged", 0) for event in done.events)

    @rule(value=st.integers(0, 50_000))
    def deposit(self, value):
        assert self.attempt("deposit", HOUSE, value=value, sender=HOUSE)

    @rule(amount=st.integers(0, 50_000))
    def withdraw(self, amount):
        there = self.deployed.account(HOUSE).deposit
        done = self.attempt("withdraw", amount, sender=HOUSE)
        assert (done is not None) == (amount <= there)

    @rule(amount=st.integers(0, 50_000))
    def take(self, amount):
        earned = self.deployed.earned()
        done = self.attempt("withdraw_earned", amount, sender=OWNER)
        assert (done is not None) == (amount <= earned)
        if done:
            self.withdrawn += amount

    @invariant()
    def books_balance(self):
        billing, house = self.deployed, self.deployed.account(HOUSE)
        assert self.chain.balance(billing.address) == house.deposit + billing.earned()
        assert self.charged == billing.earned() + self.withdrawn + house.arrears
        assert not house.arrears or not house.deposit
        assert billing.is_connected(HOUSE) or house.arrears > 0
        assert not billing.is_connected(HOUSE) or house.arrears <= LIMIT


class TestUtility(Utility.TestCase):
    settings = settings(max_examples=20, stateful_step_count=30, deadline=None)
