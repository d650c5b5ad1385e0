"""Bills of Metering by hand: both slab rules, tariffs by day, corrections."""

import pytest

from contracts_py.metering import (
    AlreadyRecorded,
    Corrected,
    Correction,
    InvalidTariff,
    Metering,
    NotRecorded,
    Reading,
    TariffSet,
)
from ledger.contract.testing import ContractPanic
from tests.contracts_py.stories import (
    FIRST,
    HOUR_S,
    HOUSE,
    INDIA_S,
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

# ---- money -------------------------------------------------------------------------------------


def test_the_published_rule_by_hand(metering):
    metering.set_tariff(*PUBLISHED, sender=OPERATOR)
    record_kwh(metering, 100)  # up to 100 at 2.96
    assert metering.bill_of_month(HOUSE, JUNE) == 29_600
    record_kwh(metering, 1, start=FIRST + 1)  # 101 in all, so at 5.56
    assert metering.bill_of_month(HOUSE, JUNE) == 29_600 + 556
    record_kwh(metering, 250, start=FIRST + 2)  # 351, all of it at 9.16
    record_kwh(metering, 149, start=FIRST + 3)  # 500, still at 9.16
    record_kwh(metering, 10, start=FIRST + 4)  # above, at 10.61
    expected = 29_600 + 556 + 250 * 916 + 149 * 916 + 10 * 1_061
    assert metering.bill_of_month(HOUSE, JUNE) == expected


def test_the_published_rule_depends_on_the_order_of_recording(metering, chain):
    totals = []
    for order in ((60, 30, 40), (40, 30, 60)):
        contract = chain.deploy(Metering, HOUR_S, INDIA_S, sender=OPERATOR)
        contract.enrol(METER, HOUSE, sender=OPERATOR)
        contract.set_tariff(*PUBLISHED, sender=OPERATOR)
        record_kwh(contract, *order)
        totals.append(contract.bill_of_month(HOUSE, JUNE))
    assert totals == [90 * 296 + 40 * 556, 70 * 296 + 60 * 556]


def test_the_telescopic_rule_by_hand(metering):
    metering.set_tariff(*TELESCOPIC, sender=OPERATOR)
    record_kwh(metering, 90, 250, 200)
    expected = 100 * 296 + 200 * 556 + 200 * 916 + 40 * 1_061
    assert metering.bill_of_month(HOUSE, JUNE) == expected


def test_two_meters_of_an_account_share_its_slabs(metering):
    metering.enrol(METER_2, HOUSE, sender=OPERATOR)
    metering.set_tariff(*PUBLISHED, sender=OPERATOR)
    record_kwh(metering, 80)
    record_kwh(metering, 80, meter=METER_2)
    assert metering.bill_of_month(HOUSE, JUNE) == 80 * 296 + 80 * 556


def test_totals_restart_each_month_and_a_day_has_its_part(metering):
    metering.set_tariff(*PUBLISHED, sender=OPERATOR)
    end = first_hour(2023, 7)
    record_kwh(metering, 90, 20, 30, start=end - 2)
    assert metering.bill_of_month(HOUSE, JUNE) == 90 * 296 + 20 * 556
    assert metering.bill_of_month(HOUSE, JUNE + 1) == 30 * 296
    day = metering.day_of(end)
    assert metering.usage_of_day(HOUSE, day - 1) == (110_000, 0, 2)
    assert metering.bill_of_day(HOUSE, day - 1) == 90 * 296 + 20 * 556
    assert metering.bill_of_day(HOUSE, day) == 30 * 296


def test_half_a_minor_unit_is_rounded_up_once_a_month(metering):
    metering.set_tariff(0, False, [], [1], sender=OPERATOR)
    for index, expected in enumerate([0, 0, 0, 1, 1]):  # 166, 332, 498, 664 mWh times rate ...
        metering.record(FIRST + index, 166, 0, 1, sender=METER)
        assert metering.bill_of_month(HOUSE, JUNE) == expected
    metering.record(FIRST + 9, 1_500 - 5 * 166, 0, 1, sender=METER)
    assert metering.bill_of_month(HOUSE, JUNE) == 2
    assert metering.bill_of_day(HOUSE, metering.day_of(FIRST)) == 2


def test_tariffs_hold_from_their_day(metering):
    day = metering.day_of(FIRST)
    metering.set_tariff(day, False, [], [100], sender=OPERATOR)
    receipt = metering.set_tariff(day + 1, True, [1], [200, 300], sender=OPERATOR)
    assert receipt.events == [TariffSet(2, day + 1, True, [1], [200, 300])]
    assert metering.tariff_count() == 2
    assert metering.tariff(1) == (day, False, [], [100])
    assert metering.tariff(2) == (day + 1, True, [1], [200, 300])
    metering.record(FIRST - 1, 10_000, 0, 1, sender=METER)  # the month and day before: free
    metering.record(FIRST + 24, 3_000, 0, 1, sender=METER)
    metering.record(FIRST, 1_000, 0, 1, sender=METER)
    assert metering.bill_of_month(HOUSE, JUNE) == 1 * 200 + 2 * 300 + 1 * 100
    assert metering.bill_of_month(HOUSE, JUNE - 1) == 0
    assert [metering.original(METER, FIRST + hour).tariff for hour in (-1, 0, 24)] == [0, 1, 2]
    metering.set_tariff(day + 1, False, [], [7], sender=OPERATOR)  # the newest of one day
    metering.record(FIRST + 25, 1_000, 0, 1, sender=METER)
    assert metering.original(METER, FIRST + 25).tariff == 3
    for number in (0, 4):
        with pytest.raises(ContractPanic):
            metering.tariff(number)


def test_units_keep_the_tariff_of_their_recording_until_they_are_corrected(metering):
    metering.record(FIRST, 1_000, 0, 1, sender=METER)
    metering.set_tariff(0, False, [], [500], sender=OPERATOR)
    assert metering.bill_of_month(HOUSE, JUNE) == 0
    metering.correct(METER, FIRST, 1_000, 0, 1, "recorded before the tariff", sender=OPERATOR)
    assert metering.bill_of_month(HOUSE, JUNE) == 500


def test_all_eight_slabs(metering):
    bounds, rates = [1, 2, 3, 4, 5, 6, 2**32 - 1], [1, 2, 3, 4, 5, 6, 7, 2**32 - 1]
    metering.set_tariff(0, True, bounds, rates, sender=OPERATOR)
    assert metering.tariff(1) == (0, True, bounds, rates)
    record_kwh(metering, 2**32)
    expected = 1 + 2 + 3 + 4 + 5 + 6 + (2**32 - 1 - 6) * 7 + (2**32 - 1)
    assert metering.bill_of_month(HOUSE, JUNE) == expected


@pytest.mark.parametrize(
    ("bounds", "rates"),
    [
        ([], []),
        ([1], [1]),
        ([], [1, 2]),
        ([0], [1, 2]),
        ([2, 2], [1, 2, 3]),
        ([3, 2], [1, 2, 3]),
        ([*range(1, 9)], [1] * 9),
    ],
)
def test_what_is_no_tariff(metering, bounds, rates):
    with pytest.raises(InvalidTariff):
        metering.set_tariff(0, True, bounds, rates, sender=OPERATOR)


def test_tariffs_come_in_the_order_of_their_days(metering):
    metering.set_tariff(100, True, [], [1], sender=OPERATOR)
    with pytest.raises(InvalidTariff):
        metering.set_tariff(99, True, [], [1], sender=OPERATOR)


# ---- corrections -------------------------------------------------------------------------------


def test_a_correction_keeps_the_original_and_says_who_when_and_why(metering, chain):
    metering.record(FIRST, 9_000, 40, 1, sender=METER)
    events = metering.correct(METER, FIRST, 900, 0, 2, "a zero too many", sender=OPERATOR).events
    assert events == [
        Corrected(METER, HOUSE, FIRST, 900, 0, 2, OPERATOR, "a zero too many"),
    ]
    metering.set_operator(STRANGER, True, sender=OPERATOR)
    chain.timestamp += 60
    metering.correct(METER, FIRST, 950, 7, 2, "read on site", sender=STRANGER)
    assert metering.reading(METER, FIRST) == (950, 7, 2, True, 2)
    assert metering.readings(METER, FIRST, 1) == ([950], [7], [2], [True])
    assert metering.original(METER, FIRST) == Reading(9_000, 40, 1, True, 0, 1, 0)
    first, reason = metering.correction(METER, FIRST, 0)
    assert first == Correction(900, 0, 2, 0, 2, OPERATOR, chain.timestamp - 60)
    assert reason == "a zero too many"
    second, reason = metering.correction(METER, FIRST, 1)
    assert second == Correction(950, 7, 2, 0, 3, STRANGER, chain.timestamp)
    assert reason == "read on site"
    assert metering.usage_of_month(HOUSE, JUNE) == (950, 7, 3)
    assert metering.usage_of_day(HOUSE, metering.day_of(FIRST)) == (950, 7, 1)
    with pytest.raises(AlreadyRecorded):
        metering.record(FIRST, 1, 1, 1, sender=METER)
    with pytest.raises(NotRecorded) as caught:
        metering.correct(METER, FIRST + 1, 1, 1, 1, "", sender=OPERATOR)
    assert caught.value == NotRecorded(METER, FIRST + 1)


def test_under_the_telescopic_rule_a_month_costs_what_its_total_costs(metering):
    metering.set_tariff(*TELESCOPIC, sender=OPERATOR)
    record_kwh(metering, 50, 200, 150)
    metering.correct(METER, FIRST, 0, 0, 2, "", sender=OPERATOR)
    assert metering.bill_of_month(HOUSE, JUNE) == 100 * 296 + 200 * 556 + 50 * 916
    metering.correct(METER, FIRST + 1, 400_000, 0, 2, "", sender=OPERATOR)
    expected = 100 * 296 + 200 * 556 + 200 * 916 + 50 * 1_061
    assert metering.bill_of_month(HOUSE, JUNE) == expected


def test_under_the_published_rule_a_corrected_reading_keeps_its_place(metering):
    metering.set_tariff(*PUBLISHED, sender=OPERATOR)
    record_kwh(metering, 50, 200, 150)
    before = 50 * 296 + 200 * 556 + 150 * 916
    assert metering.bill_of_month(HOUSE, JUNE) == before
    metering.correct(METER, FIRST, 100_000, 0, 2, "", sender=OPERATOR)  # still up to 100
    assert metering.bill_of_month(HOUSE, JUNE) == before + 50 * 296
    metering.correct(METER, FIRST + 1, 10_000, 0, 2, "", sender=OPERATOR)  # 60 after it
    assert metering.bill_of_month(HOUSE, JUNE) == 100 * 296 + 10 * 296 + 150 * 916


def test_a_correction_that_changes_nothing_costs_nothing(metering):
    for number, tariff in enumerate((PUBLISHED, TELESCOPIC)):
        metering.set_tariff(*tariff, sender=OPERATOR)
        record_kwh(metering, 90, 250, start=FIRST + 10 * number)
        before = metering.bill_of_month(HOUSE, JUNE)
        for index, kwh in enumerate((90, 250)):
            period = FIRST + 10 * number + index
            metering.correct(METER, period, kwh * 1_000, 0, 3, "seen", sender=OPERATOR)
        assert metering.bill_of_month(HOUSE, JUNE) == before


def test_a_month_never_costs_less_than_nothing(metering):
    """A dear tariff from the second day: what its reading gives back is of a higher slab."""
    day = metering.day_of(FIRST)
    metering.set_tariff(day, False, [], [0], sender=OPERATOR)
    metering.set_tariff(day + 1, True, [100], [1, 900], sender=OPERATOR)
    record_kwh(metering, 100, start=FIRST + 24)
    record_kwh(metering, 200, start=FIRST)
    metering.correct(METER, FIRST + 24, 0, 0, 2, "", sender=OPERATOR)
    assert metering.bill_of_month(HOUSE, JUNE) == 0
    metering.record(FIRST + 25, 5, 0, 1, sender=METER)  # 4,500 Wh times rate: half up, no less
    assert metering.bill_of_month(HOUSE, JUNE) == 5
