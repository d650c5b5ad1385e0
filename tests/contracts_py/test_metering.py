"""Metering: the story of a meter and its readings, and what a period's day and month are."""

import calendar

import pytest
from eth_abi import encode
from hypothesis import given
from hypothesis import strategies as st

from contracts_py.metering import (
    AlreadyEnrolled,
    AlreadyRecorded,
    Enrolled,
    Gap,
    Implausible,
    InvalidLengths,
    InvalidPeriod,
    InvalidSetting,
    Meter,
    Metering,
    MeterSet,
    NotEnrolled,
    NotYourself,
    OperatorSet,
    Recorded,
    ZeroAddress,
)
from ledger.contract.artifact import build_artifact
from ledger.contract.execution import execute_call
from ledger.contract.messages import Message
from ledger.contract.testing import Chain, Unauthorized
from ledger.crypto.address import ZERO_ADDRESS
from ledger.encoding.abi import selector
from tests.contracts_py.metering_model import Model, round_half_up
from tests.contracts_py.sources import read_contract
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
)

# ---- meters and operators ----------------------------------------------------------------------


def test_settings_are_readable_and_bounded(metering, chain):
    assert metering.period_seconds() == HOUR_S
    assert metering.utc_offset_seconds() == INDIA_S
    for period_s, offset_s in ((0, 0), (86_401, 0), (60, 86_400), (60, -86_400)):
        with pytest.raises(InvalidSetting):
            chain.deploy(Metering, period_s, offset_s)
    chain.deploy(Metering, 86_400, -86_399)


def test_a_meter_is_enrolled_for_one_account(metering):
    assert metering.enrol(METER, HOUSE, sender=OPERATOR).events == [Enrolled(METER, HOUSE)]
    metering.enrol(METER_2, HOUSE, sender=OPERATOR)
    assert metering.meters_of(HOUSE) == [METER, METER_2]
    assert metering.meters_of(STRANGER) == []
    assert metering.meter(METER) == Meter(HOUSE, 0, 0, False)
    with pytest.raises(AlreadyEnrolled) as caught:
        metering.enrol(METER, STRANGER, sender=OPERATOR)
    assert caught.value == AlreadyEnrolled(METER, HOUSE)
    for pair in ((ZERO_ADDRESS, HOUSE), (METER, ZERO_ADDRESS)):
        with pytest.raises(ZeroAddress):
            metering.enrol(*pair, sender=OPERATOR)


def test_a_retired_meter_records_no_more_until_it_is_back(metering):
    metering.record(FIRST, 5, 0, 1, sender=METER)
    events = metering.set_meter(METER, 9_000, True, sender=OPERATOR).events
    assert events == [MeterSet(METER, 9_000, True)]
    with pytest.raises(NotEnrolled) as caught:
        metering.record(FIRST + 1, 5, 0, 1, sender=METER)
    assert caught.value == NotEnrolled(METER)
    assert metering.reading(METER, FIRST) == (5, 0, 1, True, 0)
    metering.set_meter(METER, 9_000, False, sender=OPERATOR)
    metering.record(FIRST + 1, 5, 0, 1, sender=METER)
    assert metering.meter(METER) == Meter(HOUSE, 9_000, FIRST + 2, False)
    with pytest.raises(NotEnrolled):
        metering.set_meter(STRANGER, 1, False, sender=OPERATOR)
    with pytest.raises(NotEnrolled):
        metering.record(FIRST, 5, 0, 1, sender=STRANGER)


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("enrol", (METER_2, HOUSE)),
        ("set_meter", (METER, 1, False)),
        ("set_operator", (STRANGER, True)),
        ("set_tariff", PUBLISHED),
        ("correct", (METER, FIRST, 1, 1, 1, "")),
    ],
)
def test_only_operators_do_what_operators_do(metering, method, arguments):
    for sender in (STRANGER, METER, HOUSE):
        with pytest.raises(Unauthorized) as caught:
            getattr(metering, method)(*arguments, sender=sender)
        assert caught.value == Unauthorized(sender, "operators")


def test_operators_are_made_and_unmade_by_another(metering):
    events = metering.set_operator(STRANGER, True, sender=OPERATOR).events
    assert events == [OperatorSet(STRANGER, True)]
    assert metering.is_operator(STRANGER)
    metering.set_operator(OPERATOR, False, sender=STRANGER)
    assert not metering.is_operator(OPERATOR)
    with pytest.raises(NotYourself):
        metering.set_operator(STRANGER, False, sender=STRANGER)


# ---- readings ----------------------------------------------------------------------------------


def test_a_meter_reports_each_period_once_and_zero_is_a_reading(metering):
    assert metering.reading(METER, FIRST) == (0, 0, 0, False, 0)
    receipt = metering.record(FIRST, 0, 0, 1, sender=METER)
    assert receipt.events == [Recorded(METER, HOUSE, FIRST, 0, 0, 1)]
    assert metering.reading(METER, FIRST) == (0, 0, 1, True, 0)
    for value in (0, 1_250):
        with pytest.raises(AlreadyRecorded) as caught:
            metering.record(FIRST, value, 0, 1, sender=METER)
        assert caught.value == AlreadyRecorded(METER, FIRST)
    assert metering.usage_of_month(HOUSE, JUNE) == (0, 0, 1)


def test_a_gap_is_told_when_it_is_passed_and_late_readings_fill_it(metering):
    metering.record(FIRST + 3, 7, 0, 1, sender=METER)
    receipt = metering.record(FIRST + 6, 7, 0, 1, sender=METER)
    assert receipt.events[0] == Gap(METER, FIRST + 4, FIRST + 5)
    assert len(receipt.events) == 2
    for late in (FIRST + 4, FIRST, FIRST + 5):
        events = metering.record(late, 1, 0, 1, sender=METER).events
        assert events == [Recorded(METER, HOUSE, late, 1, 0, 1)]
    assert metering.meter(METER).next_period == FIRST + 7
    assert len(metering.record(FIRST + 7, 1, 0, 1, sender=METER).events) == 1
    assert metering.readings(METER, FIRST, 5) == (
        [1, 0, 0, 7, 1],
        [0] * 5,
        [1, 0, 0, 1, 1],
        [True, False, False, True, True],
    )


def test_an_outage_leaves_hours_unrecorded_and_no_energy_is_negative(metering, chain):
    """An hour that nobody measured is no zero, and a total never falls after it."""
    metering.record(FIRST, 1_200, 0, 1, sender=METER)
    metering.record(FIRST + 5, 300, 0, 1, sender=METER)
    assert metering.readings(METER, FIRST, 6)[3] == [True, False, False, False, False, True]
    for imported, exported in ((-900, 0), (0, -1)):
        words = ["uint32", "int256", "int256", "uint8"]
        data = encode(words, [FIRST + 6, imported, exported, 1])
        signature = selector("record(uint32,uint64,uint64,uint8)")
        message = Message(METER, metering.address, 0, signature + data, 10**6, False, METER, 0)
        assert chain.execute(execute_call, message).status == "revert"
    assert metering.usage_of_month(HOUSE, JUNE) == (1_500, 0, 2)


def test_an_implausible_reading_is_kept_counted_and_told(metering):
    metering.set_meter(METER, 10_000, False, sender=OPERATOR)
    assert len(metering.record(FIRST, 10_000, 10_000, 1, sender=METER).events) == 1
    events = metering.record(FIRST + 1, 10_001, 3, 1, sender=METER).events
    assert events[1] == Implausible(METER, FIRST + 1, 10_001, 3, 10_000)
    events = metering.record(FIRST + 2, 3, 10_001, 1, sender=METER).events
    assert events[1] == Implausible(METER, FIRST + 2, 3, 10_001, 10_000)
    assert metering.usage_of_month(HOUSE, JUNE) == (20_004, 20_004, 3)


def test_the_largest_values_are_kept_too(metering):
    largest = 2**64 - 1
    metering.set_tariff(0, True, [2**32 - 1], [2**32 - 1] * 2, sender=OPERATOR)
    metering.record_many(FIRST, [largest] * 24, [largest] * 24, [255] * 24, sender=METER)
    assert metering.usage_of_month(HOUSE, JUNE) == (24 * largest, 24 * largest, 24)
    charge = 24 * largest * (2**32 - 1)
    assert metering.bill_of_month(HOUSE, JUNE) == round_half_up(charge)
    assert metering.reading(METER, FIRST) == (largest, largest, 255, True, 0)


def test_many_readings_at_once_are_the_same_as_one_by_one(metering, chain):
    other = chain.deploy(Metering, HOUR_S, INDIA_S, sender=OPERATOR)
    for contract in (metering, other):
        contract.enrol(METER, HOUSE, sender=OPERATOR)
        contract.set_meter(METER, 150, False, sender=OPERATOR)
        contract.set_tariff(*TELESCOPIC, sender=OPERATOR)
    start = first_hour(2023, 7) - 30  # over two midnights and the end of a month
    imports = [5_000 * index for index in range(40)]
    exports = [index % 3 for index in range(40)]
    qualities = list(range(40))
    many = metering.record_many(start, imports, exports, qualities, sender=METER)
    single = []
    for index in range(40):
        receipt = other.record(
            start + index, imports[index], exports[index], qualities[index], sender=METER
        )
        single += receipt.events
    assert many.events == single
    assert metering.readings(METER, start, 40) == (imports, exports, qualities, [True] * 40)
    for contract in (metering, other):
        assert contract.meter(METER).next_period == start + 40
    for month in (JUNE, JUNE + 1):
        assert metering.usage_of_month(HOUSE, month) == other.usage_of_month(HOUSE, month)
        assert metering.bill_of_month(HOUSE, month) == other.bill_of_month(HOUSE, month)
        assert metering.bill_of_month(HOUSE, month) > 0
    for index in range(40):
        assert metering.original(METER, start + index) == other.original(METER, start + index)


def test_many_readings_are_all_or_nothing(metering):
    metering.record(FIRST + 30, 5, 0, 1, sender=METER)
    with pytest.raises(AlreadyRecorded) as caught:
        metering.record_many(FIRST, [1] * 31, [1] * 31, [1] * 31, sender=METER)
    assert caught.value == AlreadyRecorded(METER, FIRST + 30)
    assert metering.readings(METER, FIRST, 30)[3] == [False] * 30
    assert metering.usage_of_month(HOUSE, JUNE) == (5, 0, 1)
    for lists in (([], [], []), ([1], [1], []), ([1], [], [1]), ([1], [1, 2], [1])):
        with pytest.raises(InvalidLengths):
            metering.record_many(FIRST, *lists, sender=METER)


def test_periods_have_bounds(metering, chain):
    west = chain.deploy(Metering, HOUR_S, -18_000, sender=OPERATOR)
    west.enrol(METER, HOUSE, sender=OPERATOR)
    with pytest.raises(InvalidPeriod) as caught:
        west.record(4, 1, 0, 1, sender=METER)  # still 1969 in New York
    assert caught.value == InvalidPeriod(4)
    west.record(5, 1, 0, 1, sender=METER)
    assert west.usage_of_day(HOUSE, 0) == (1, 0, 1)
    metering.record(2**32 - 2, 1, 0, 1, sender=METER)
    with pytest.raises(InvalidPeriod):
        metering.record(2**32 - 1, 1, 0, 1, sender=METER)
    with pytest.raises(InvalidPeriod):
        metering.record_many(2**32 - 2, [1, 1], [1, 1], [1, 1], sender=METER)


def test_a_record_is_cheap(metering):
    metering.set_tariff(*PUBLISHED, sender=OPERATOR)
    metering.record(FIRST, 500, 0, 1, sender=METER)
    assert metering.record(FIRST + 1, 500, 0, 1, sender=METER).gas_used < 100_000
    many = metering.record_many(FIRST + 2, [500] * 20, [0] * 20, [1] * 20, sender=METER)
    assert many.gas_used < 20 * 27_000


# ---- days and months ---------------------------------------------------------------------------


SETTINGS = [(3_600, INDIA_S), (86_400, -86_399), (1, 86_399), (900, 20_700), (77_777, -12_345)]


@pytest.mark.parametrize(("period_s", "offset_s"), SETTINGS)
def test_days_and_months_are_those_of_the_calendar(period_s, offset_s):
    contract = Chain().deploy(Metering, period_s, offset_s)
    model = Model(period_s, offset_s)

    @given(st.integers(0, 200_000_000_000))  # to the year 8307; datetime ends at 9999
    def check(start_s):
        period = min(start_s // period_s, 2**32 - 2)
        if period * period_s + offset_s < 0:
            return
        day = contract.day_of(period)
        assert day == model.day_of(period)
        assert contract.month_of(day) == model.month_of(period)

    check()


def test_every_month_has_its_first_and_last_day(metering):
    for year in (1970, 1999, 2000, 2024, 2099, 2100, 2101, 2369, 2400):
        for month in range(1, 13):
            first = calendar.timegm((year, month, 1, 0, 0, 0)) // 86_400
            last = first + calendar.monthrange(year, month)[1] - 1
            assert metering.month_of(first) == metering.month_of(last) == 12 * year + month - 1


def test_the_clock_of_the_block_does_not_matter(metering, chain):
    chain.timestamp = 4_000_000_000
    metering.record(FIRST, 5, 0, 1, sender=METER)
    metering.record(FIRST - 1, 6, 0, 1, sender=METER)
    assert metering.usage_of_month(HOUSE, JUNE) == (5, 0, 1)
    assert metering.usage_of_month(HOUSE, JUNE - 1) == (6, 0, 1)


# ---- the interface -----------------------------------------------------------------------------


def test_the_signatures_that_meters_use():
    entries = build_artifact(read_contract("metering"))["abi"]
    types = {
        (entry["type"], entry.get("name")): [item["type"] for item in entry["inputs"]]
        for entry in entries
    }
    assert types["constructor", None] == ["uint32", "int32"]
    assert types["function", "enrol"] == ["address", "address"]
    assert types["function", "record"] == ["uint32", "uint64", "uint64", "uint8"]
    assert types["function", "recordMany"] == ["uint32", "uint64[]", "uint64[]", "uint8[]"]
    assert types["error", "AlreadyRecorded"] == ["address", "uint32"]
