"""Terms of tariffs, statements and frozen months of Metering by hand."""

from dataclasses import fields

import pytest

from contracts_py.metering import (
    FREEZE_DAYS,
    InvalidTariff,
    MonthFrozen,
    MonthOpen,
    NothingNew,
    Seal,
    Statement,
    Terms,
    TermsSet,
)
from ledger.contract.testing import Unauthorized
from ledger.crypto.keccak import keccak256
from ledger.encoding import abi
from ledger.genesis import Genesis
from tests.contracts_py import metering_model as model
from tests.contracts_py.sources import read_contract
from tests.contracts_py.stories import (
    FIRST,
    HOUSE,
    JUNE,
    METER,
    METER_2,
    OPERATOR,
    PUBLISHED,
    STRANGER,
    TELESCOPIC,
    first_hour,
    record_kwh,
)

DAY_S = 86_400
JUNE_2023_DAY = 19_509  # the 1st, a Thursday
# Night 0 to 6 h, day, and evening 17 to 22 h; at the weekend night and day only.
HOURS = (0,) * 6 + (1,) * 11 + (2,) * 5 + (0,) * 2 + (0,) * 8 + (1,) * 16
NIGHT, DAY, EVENING = 400, 700, 1_500


def make_terms(standing=0, tax_bp=0, credit_rate=0, hours=(0,) * 48, rates=(0,)):
    return Terms(*model.Terms(standing, tax_bp, credit_rate, tuple(hours), tuple(rates)).words())


TIME_OF_USE = make_terms(hours=HOURS, rates=(NIGHT, DAY, EVENING))


def set_free(metering, terms, from_day=0):
    """Slabs of rate 0, so that only the terms cost."""
    metering.set_tariff(from_day, False, [], [0], sender=OPERATOR)
    return metering.set_terms(from_day, terms, sender=OPERATOR)


# ---- terms -------------------------------------------------------------------------------------


def test_terms_are_told_and_readable(metering):
    assert metering.terms(1) == make_terms()
    events = set_free(metering, TIME_OF_USE).events
    assert events == [TermsSet(2, 0, TIME_OF_USE)]
    assert metering.terms(2) == TIME_OF_USE
    assert (metering.terms(1), metering.tariff_count()) == (make_terms(), 2)
    assert oct(TIME_OF_USE.weekday_hours) == "0o2222211111111111000000"


def test_terms_keep_the_slabs_and_slabs_keep_the_terms(metering):
    metering.set_tariff(*TELESCOPIC, sender=OPERATOR)
    metering.set_terms(5, make_terms(standing=7), sender=OPERATOR)
    metering.set_tariff(9, True, [50], [1, 2], sender=OPERATOR)
    assert metering.tariff(2) == (5, True, *TELESCOPIC[2:])
    assert metering.terms(3) == make_terms(standing=7)


def test_what_are_no_terms(metering):
    metering.set_tariff(100, True, [], [1], sender=OPERATOR)
    for day, terms in ((99, make_terms()), (100, make_terms(tax_bp=10_001))):
        with pytest.raises(InvalidTariff):
            metering.set_terms(day, terms, sender=OPERATOR)
    with pytest.raises(Unauthorized):
        metering.set_terms(100, make_terms(), sender=HOUSE)
    metering.set_terms(100, make_terms(tax_bp=10_000), sender=OPERATOR)


def test_peak_fees_by_hour_and_cheap_weekends(metering):
    """Each hour from Thursday the 1st to Monday the 5th has its own rate."""
    set_free(metering, TIME_OF_USE)
    expected = 0
    for day, rates in enumerate((HOURS[:24], HOURS[:24], HOURS[24:], HOURS[24:], HOURS[:24])):
        assert metering.day_of(FIRST + 24 * day) == JUNE_2023_DAY + day
        for hour in range(24):
            metering.record(FIRST + 24 * day + hour, 1_000, 0, 1, sender=METER)
            expected += (NIGHT, DAY, EVENING)[rates[hour]]
        assert metering.bill_of_month(HOUSE, JUNE) == expected
    assert expected == 3 * (8 * NIGHT + 11 * DAY + 5 * EVENING) + 2 * (8 * NIGHT + 16 * DAY)


def test_half_hours_are_priced_by_the_hour_in_which_they_start(chain):
    from contracts_py.metering import Metering

    half_hourly = chain.deploy(Metering, 1_800, 19_800, sender=OPERATOR)
    half_hourly.enrol(METER, HOUSE, sender=OPERATOR)
    set_free(half_hourly, TIME_OF_USE)
    five_to_seven = (JUNE_2023_DAY * DAY_S - 19_800) // 1_800 + 10
    half_hourly.record_many(five_to_seven, [500] * 4, [0] * 4, [1] * 4, sender=METER)
    assert half_hourly.bill_of_month(HOUSE, JUNE) == NIGHT + DAY


def test_time_of_use_comes_on_top_of_slabs(metering):
    metering.set_tariff(*PUBLISHED, sender=OPERATOR)
    metering.set_terms(0, TIME_OF_USE, sender=OPERATOR)
    record_kwh(metering, 100, 10)  # the 10 at the second slab, and all of it at night
    assert metering.bill_of_month(HOUSE, JUNE) == 100 * 296 + 10 * 556 + 110 * NIGHT
    assert metering.bill_of_day(HOUSE, JUNE_2023_DAY) == 100 * 296 + 10 * 556 + 110 * NIGHT
    metering.correct(METER, FIRST, 90_000, 0, 2, "", sender=OPERATOR)
    assert metering.bill_of_month(HOUSE, JUNE) == 90 * 296 + 10 * 556 + 100 * NIGHT


def test_the_first_bound_is_a_leap_for_who_passes_it(metering):
    """Under the published rule, read once a month: all units at the slab reached, as in Kerala."""
    metering.set_tariff(0, False, [250, 300, 350], [500, 580, 660, 760], sender=OPERATOR)
    record_kwh(metering, 250)
    assert metering.bill_of_month(HOUSE, JUNE) == 250 * 500
    metering.correct(METER, FIRST, 251_000, 0, 2, "read again", sender=OPERATOR)
    assert metering.bill_of_month(HOUSE, JUNE) == 251 * 580  # 20,580 more for one unit


# ---- statements --------------------------------------------------------------------------------


def test_a_statement_by_hand(metering):
    metering.set_tariff(*TELESCOPIC, sender=OPERATOR)
    metering.set_terms(0, make_terms(standing=150, tax_bp=1_850, credit_rate=333), sender=OPERATOR)
    metering.record(FIRST, 120_000, 7_500, 1, sender=METER)
    energy, standing = 100 * 296 + 20 * 556, 30 * 150
    tax, credit = 8_366, 2_497  # 18.5 % of 45,220 is 8,365.7; 7.5 times 333 is 2,497.5
    assert metering.statement_of_month(HOUSE, JUNE) == Statement(
        120_000, 7_500, 1, 1_850, energy, standing, tax, credit, 45_220 + tax - credit
    )
    assert metering.bill_of_month(HOUSE, JUNE) == 45_220 + tax - credit
    assert metering.open_of_month(HOUSE, JUNE) == 45_220 + tax - credit


def test_export_is_apart_and_may_be_worth_more_than_all_else(metering):
    metering.set_tariff(*TELESCOPIC, sender=OPERATOR)
    metering.set_terms(0, make_terms(credit_rate=400), sender=OPERATOR)
    metering.record(FIRST, 1_000, 5_000, 1, sender=METER)
    assert metering.usage_of_month(HOUSE, JUNE) == (1_000, 5_000, 1)
    assert metering.statement_of_month(HOUSE, JUNE).total == 296 - 2_000
    assert metering.bill_of_month(HOUSE, JUNE) == 0
    metering.correct(METER, FIRST, 1_000, 500, 2, "a digit too many", sender=OPERATOR)
    assert metering.statement_of_month(HOUSE, JUNE).total == 296 - 200


def test_the_standing_charge_needs_a_meter_but_no_reading(metering):
    set_free(metering, make_terms(standing=10), from_day=JUNE_2023_DAY + 10)
    metering.set_terms(JUNE_2023_DAY + 25, make_terms(standing=100), sender=OPERATOR)
    statement = metering.statement_of_month(HOUSE, JUNE)
    assert (statement.standing, statement.total) == (15 * 10 + 5 * 100, 650)
    assert metering.statement_of_month(HOUSE, JUNE + 1).standing == 3_100
    assert metering.statement_of_month(HOUSE, JUNE - 1).total == 0
    assert metering.bill_of_month(STRANGER, JUNE) == 0


def test_tax_is_that_of_the_first_day(metering):
    set_free(metering, make_terms(standing=10, tax_bp=1_000), from_day=JUNE_2023_DAY)
    metering.set_terms(JUNE_2023_DAY + 1, make_terms(tax_bp=2_000), sender=OPERATOR)
    june, july = (metering.statement_of_month(HOUSE, JUNE + step) for step in (0, 1))
    assert (june.tax_bp, june.tax, june.total) == (1_000, 1, 11)
    assert (july.tax_bp, july.total) == (2_000, 0)


def test_recorded_units_keep_their_tariff_whatever_comes_later(metering):
    set_free(metering, TIME_OF_USE)
    record_kwh(metering, 4)
    metering.set_terms(0, make_terms(rates=(9_999,)), sender=OPERATOR)
    assert metering.bill_of_month(HOUSE, JUNE) == 4 * NIGHT
    record_kwh(metering, 1, start=FIRST + 1)
    assert metering.bill_of_month(HOUSE, JUNE) == 4 * NIGHT + 9_999
    metering.correct(METER, FIRST, 2_000, 0, 2, "", sender=OPERATOR)  # now it is priced anew
    assert metering.bill_of_month(HOUSE, JUNE) == 3 * 9_999


def test_months_before_1970_and_far_away_are_free(metering):
    set_free(metering, make_terms(standing=10, tax_bp=1), from_day=0)
    assert metering.bill_of_month(HOUSE, 12 * 1970) == 310
    for month in (0, 1, 12 * 1969 + 11):
        assert metering.bill_of_month(HOUSE, month) == 0
    assert metering.bill_of_month(HOUSE, 2**32 - 1) in (280, 290, 300, 310)


# ---- freezing ----------------------------------------------------------------------------------


def test_a_frozen_month_has_a_number_and_a_hash_that_anybody_can_make(metering, chain):
    metering.set_tariff(*TELESCOPIC, sender=OPERATOR)
    record_kwh(metering, 90)
    receipt = metering.freeze(HOUSE, JUNE, sender=OPERATOR)
    statement = metering.statement_of_month(HOUSE, JUNE)
    words = (1, chain.timestamp, HOUSE, JUNE, 0, *vars(statement).values())
    digest = keccak256(abi.encode(["uint256"] * 2 + ["address"] + ["int256"] * 11, words))
    assert receipt.returned == digest
    assert receipt.events == [MonthFrozen(HOUSE, JUNE, 1, 0, 90 * 296, digest)]
    assert metering.frozen(HOUSE, JUNE, 0) == (statement, Seal(1, chain.timestamp, digest))
    assert (metering.frozen_count(HOUSE, JUNE), metering.open_of_month(HOUSE, JUNE)) == (1, 0)
    with pytest.raises(NothingNew):
        metering.freeze(HOUSE, JUNE, sender=OPERATOR)
    with pytest.raises(NothingNew):
        metering.freeze(STRANGER, JUNE, sender=OPERATOR)


def test_a_late_reading_and_a_correction_make_a_supplement(metering):
    metering.set_tariff(*TELESCOPIC, sender=OPERATOR)
    record_kwh(metering, 90, start=FIRST + 1)
    metering.freeze(HOUSE, JUNE, sender=OPERATOR)
    bill = metering.frozen(HOUSE, JUNE, 0)
    record_kwh(metering, 20)  # late
    assert metering.usage_of_month(HOUSE, JUNE) == (110_000, 0, 2)
    assert metering.open_of_month(HOUSE, JUNE) == 10 * 296 + 10 * 556
    metering.freeze(HOUSE, JUNE, sender=OPERATOR)
    metering.correct(METER, FIRST + 1, 60_000, 0, 2, "", sender=OPERATOR)
    assert metering.open_of_month(HOUSE, JUNE) == 80 * 296 - (100 * 296 + 10 * 556)
    receipt = metering.freeze(HOUSE, JUNE, sender=OPERATOR)
    assert receipt.events[0].index == 2
    assert [metering.frozen(HOUSE, JUNE, index)[1].number for index in range(3)] == [1, 2, 3]
    assert metering.frozen(HOUSE, JUNE, 0) == bill
    assert metering.open_of_month(HOUSE, JUNE) == 0


def test_no_later_tariff_changes_a_frozen_month(metering):
    set_free(metering, make_terms(standing=10, tax_bp=1_000, credit_rate=5, rates=(50,)))
    metering.record(FIRST, 4_000, 4_000, 1, sender=METER)
    metering.freeze(HOUSE, JUNE, sender=OPERATOR)
    metering.set_tariff(0, True, [], [7_777], sender=OPERATOR)
    metering.set_terms(0, make_terms(standing=999, tax_bp=9_000, credit_rate=1_000, rates=(900,)),
                       sender=OPERATOR)  # fmt: skip
    assert metering.open_of_month(HOUSE, JUNE) == 0
    metering.correct(METER, FIRST, 2_000, 2_000, 2, "", sender=OPERATOR)
    assert metering.open_of_month(HOUSE, JUNE) == -2 * 50 - 10 + 2 * 5
    assert metering.statement_of_month(HOUSE, JUNE + 1).standing == 31 * 999


def test_who_may_freeze_when(metering, chain):
    record_kwh(metering, 1)
    july = (JUNE_2023_DAY + 30) * DAY_S - 19_800  # its first second in India
    with chain.rolled_back():
        chain.timestamp = july - 1
        with pytest.raises(MonthOpen) as caught:
            metering.freeze(HOUSE, JUNE, sender=OPERATOR)
        assert caught.value == MonthOpen(JUNE, JUNE_2023_DAY + 30)
        chain.timestamp = july
        with pytest.raises(MonthOpen) as caught:
            metering.freeze(HOUSE, JUNE, sender=STRANGER)
        assert caught.value == MonthOpen(JUNE, JUNE_2023_DAY + 30 + FREEZE_DAYS)
        metering.freeze(HOUSE, JUNE, sender=OPERATOR)
    with chain.rolled_back():
        chain.timestamp = july + FREEZE_DAYS * DAY_S
        metering.freeze(HOUSE, JUNE, sender=STRANGER)


def test_two_meters_are_one_statement(metering):
    metering.enrol(METER_2, HOUSE, sender=OPERATOR)
    metering.set_tariff(*PUBLISHED, sender=OPERATOR)
    metering.set_terms(0, make_terms(standing=1), sender=OPERATOR)
    record_kwh(metering, 80)
    record_kwh(metering, 80, meter=METER_2)
    assert metering.statement_of_month(HOUSE, JUNE).total == 80 * 296 + 80 * 556 + 30


def test_a_batch_over_the_end_of_a_month_has_both_months_terms(metering):
    end = first_hour(2023, 7)
    set_free(metering, make_terms(rates=(100,)))
    metering.set_terms(JUNE_2023_DAY + 30, make_terms(credit_rate=1, rates=(200,)), sender=OPERATOR)
    metering.record_many(end - 2, [1_000] * 5, [2_000] * 5, [1] * 5, sender=METER)
    assert metering.statement_of_month(HOUSE, JUNE).total == 200
    assert metering.statement_of_month(HOUSE, JUNE + 1).total == 3 * 200 - 6


def test_it_can_be_deployed_within_a_block(metering):
    """With a quarter to spare. Beside the source stands its call data, and each transaction's."""
    gas_limit = next(one.default for one in fields(Genesis) if one.name == "gas_limit")
    data = sum(16 if byte else 4 for byte in read_contract("metering"))
    assert metering.deploy_receipt.gas_used + data + 60_000 < gas_limit * 3 // 4
