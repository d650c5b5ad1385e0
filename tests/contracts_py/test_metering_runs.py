"""Any run of records, corrections and tariffs: equal to the slow model, and to its own storage."""

import calendar
from dataclasses import astuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts_py.metering import AlreadyRecorded, Metering, NothingNew, Statement
from contracts_py.metering import Terms as StoredTerms
from ledger.contract.testing import Chain, make_account
from tests.contracts_py.light_bill import MONTHS, LightBill, bits
from tests.contracts_py.metering_model import Model, Tariff, Terms, round_half_up
from tests.contracts_py.stories import OPERATOR

ACCOUNTS = {"meter": "house", "second meter": "house", "third": "stranger"}
OFFSET_S = -12_345
HOURS = 70
MARCH = calendar.timegm((2024, 3, 1, 0, 0, 0))  # after a leap day
# Forward by an hour at half past one of the 29th of February, back by two on the 1st of March.
CHANGES = [(MARCH - 81_000 - OFFSET_S, OFFSET_S + 3_600), (MARCH + 9_000, OFFSET_S - 3_600)]
NOW = MARCH + 400 * 86_400
METERS = st.sampled_from(sorted(ACCOUNTS))
VALUES = st.tuples(st.integers(0, 4_000), st.integers(0, 4_000))
TARIFFS = st.builds(
    Tariff,
    st.integers(0, 3),
    st.booleans(),
    st.sampled_from([[], [1], [2], [1, 3], [1, 2, 5]]),
    st.lists(st.integers(0, 2_000), min_size=4, max_size=4),
)
TERMS = st.builds(
    Terms,
    st.integers(0, 90),
    st.integers(0, 10_000),
    st.integers(0, 900),
    st.lists(st.integers(0, 7), min_size=48, max_size=48).map(tuple),
    st.lists(st.integers(0, 900), min_size=8, max_size=8).map(tuple),
)
STEPS = st.one_of(
    st.tuples(
        st.just("record"), METERS, st.integers(0, 60), st.lists(VALUES, min_size=1, max_size=8)
    ),
    st.tuples(st.just("correct"), st.integers(0, 50), VALUES),
    st.tuples(st.just("tariff"), TARIFFS),
    st.tuples(st.just("terms"), st.integers(0, 3), TERMS),
    st.tuples(st.just("freeze"), st.sampled_from(["house", "stranger"]), st.booleans()),
)


class Run:
    """A contract and its model, taking the same steps."""

    def __init__(self, chain, contract, period_s, changes):
        self.chain, self.contract = chain, contract
        self.model = Model(period_s, OFFSET_S, ACCOUNTS, offsets=changes)
        self.start = (MARCH - OFFSET_S) // period_s - 25

    def tariff(self, tariff):
        first_day = self.model.day_of(self.start)
        rates = tariff.rates[: len(tariff.bounds_kwh) + 1]
        tariff = Tariff(first_day + tariff.from_day, tariff.telescopic, tariff.bounds_kwh, rates)
        if all(other.from_day <= tariff.from_day for other in self.model.tariffs):
            values = (tariff.from_day, tariff.telescopic, tariff.bounds_kwh, tariff.rates)
            self.contract.set_tariff(*values, sender=OPERATOR)
            self.model.set_tariff(tariff)

    def terms(self, from_day, terms):
        day = self.model.day_of(self.start) + from_day
        if all(other.from_day <= day for other in self.model.tariffs):
            self.contract.set_terms(day, StoredTerms(*terms.words()), sender=OPERATOR)
            self.model.set_terms(day, terms)

    def freeze(self, account, later):
        month = self.model.month_of(self.start) + later
        frozen = self.model.freeze(account, month)
        arguments = make_account(account), month
        if frozen is None:
            with pytest.raises(NothingNew):
                self.contract.freeze(*arguments, sender=OPERATOR)
            return
        self.contract.freeze(*arguments, sender=OPERATOR)

    def correct(self, choice, values):
        recorded = sorted({(entry.meter, entry.period) for entry in self.model.entries})
        if recorded:
            meter, period = recorded[choice % len(recorded)]
            self.contract.correct(make_account(meter), period, *values, 2, "so", sender=OPERATOR)
            self.model.add(meter, period, *values, corrects=True)

    def record(self, meter, offset, values):
        period, sender = self.start + offset, make_account(meter)
        imports, exports = ([value[side] for value in values] for side in range(2))
        arguments = (period, imports, exports, [1] * len(values))
        taken = [
            period + index
            for index in range(len(values))
            if self.model.is_recorded(meter, period + index)
        ]
        if taken:
            with pytest.raises(AlreadyRecorded) as caught:
                self.contract.record_many(*arguments, sender=sender)
            assert caught.value == AlreadyRecorded(sender, taken[0])
            return
        self.contract.record_many(*arguments, sender=sender)
        for index, value in enumerate(values):
            self.model.add(meter, period + index, *value)

    def read_word(self, slot):
        return self.chain.state.get_storage(self.contract.address, slot.to_bytes(32, "big"))

    def months(self):
        """Of each account, the months that a step may have touched."""
        last = self.start + HOURS
        months = {self.model.month_of(self.start), self.model.month_of(last)}
        return [(account, month) for account in ("house", "stranger") for month in sorted(months)]

    def days(self):
        last = self.start + HOURS
        days = range(self.model.day_of(self.start), self.model.day_of(last) + 1)
        return [(account, day) for account in ("house", "stranger") for day in days]

    def check_month(self, account, month):
        imported, exported, charge = self.model.total_of_month(account, month)
        address = make_account(account)
        assert self.contract.usage_of_month(address, month)[:2] == (imported, exported)
        expected = self.model.statement(account, month)
        assert self.contract.statement_of_month(address, month) == Statement(*astuple(expected))
        assert self.contract.bill_of_month(address, month) == max(expected.total, 0)
        self.check_frozen(account, month, expected.total)
        light = LightBill(self.read_word)
        total = self.read_word(light.find(MONTHS, address, month))
        assert bits(total, 9, 16) == charge
        periods = range(self.start, self.start + HOURS)
        of_month = [period for period in periods if self.model.month_of(period) == month]
        assert light.bill(address, of_month, self.model.start_of) == expected.energy

    def check_frozen(self, account, month, total):
        """None was ever changed, and the rest is open."""
        address, frozen = make_account(account), self.model.frozen.get((account, month), [])
        assert self.contract.frozen_count(address, month) == len(frozen)
        for index, expected in enumerate(frozen):
            statement, seal = self.contract.frozen(address, month, index)
            assert statement == Statement(*astuple(expected))
            assert seal.frozen_at == NOW
        opened = total - (frozen[-1].total if frozen else 0)
        assert self.contract.open_of_month(address, month) == opened

    def day_stored(self, account, day):
        """(import Wh, export Wh, how many records), and the bill."""
        address = make_account(account)
        return self.contract.usage_of_day(address, day), self.contract.bill_of_day(address, day)

    def day_expected(self, account, day):
        imported, exported, charge, count = self.model.total_of_day(account, day)
        return (imported, exported, count), round_half_up(charge)


@pytest.mark.parametrize("changes", [[], CHANGES], ids=["steady", "clocks change"])
@pytest.mark.parametrize("period_s", [3_600, 7_200, 5_000])
def test_any_run_equals_the_slow_model_and_its_own_storage(period_s, changes):
    chain = Chain(timestamp=NOW)
    contract = chain.deploy(Metering, period_s, OFFSET_S, sender=OPERATOR)
    for change in changes:
        contract.set_utc_offset(*change, sender=OPERATOR)
    for meter, account in ACCOUNTS.items():
        contract.enrol(make_account(meter), make_account(account), sender=OPERATOR)

    @settings(max_examples=20)
    @given(st.lists(STEPS, max_size=14))
    def check(steps):
        snapshot = chain.state.snapshot()
        try:
            run = Run(chain, contract, period_s, changes)
            for name, *arguments in steps:
                getattr(run, name)(*arguments)
            for account, month in run.months():
                run.check_month(account, month)
            for account, day in run.days():
                assert run.day_stored(account, day) == run.day_expected(account, day)
        finally:
            chain.state.revert(snapshot)

    check()
