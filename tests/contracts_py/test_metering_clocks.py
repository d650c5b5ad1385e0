"""Days of 23 and 25 hours, against the time zones of the world as Python knows them."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from contracts_py.metering import InvalidSetting, Metering, OffsetChange, OffsetSet
from ledger.contract.testing import Unauthorized
from tests.contracts_py.stories import HOUSE, METER, OPERATOR

DAY_S = 86_400


def find_changes(zone, year):
    """(Unix time, new offset) of each change in a year, to the quarter of an hour."""
    times = [
        datetime(year, 1, 1, tzinfo=UTC) + timedelta(minutes=15 * step) for step in range(366 * 96)
    ]
    offsets = [int(time.astimezone(zone).utcoffset().total_seconds()) for time in times]
    changes = [
        (int(time.timestamp()), after)
        for time, before, after in zip(times[1:], offsets, offsets[1:], strict=False)
        if before != after
    ]
    return offsets[0], changes


def deploy(chain, zone, period_s):
    first, changes = find_changes(zone, 2024)
    contract = chain.deploy(Metering, period_s, first, sender=OPERATOR)
    for change in changes:
        assert contract.set_utc_offset(*change, sender=OPERATOR).events == [OffsetSet(*change)]
    contract.enrol(METER, HOUSE, sender=OPERATOR)
    return contract, changes


@pytest.mark.parametrize("period_s", [3_600, 1_800, 5_000])
@pytest.mark.parametrize("name", ["Europe/Paris", "America/St_Johns", "Australia/Lord_Howe"])
def test_days_and_their_sums_are_those_of_the_zone(chain, name, period_s):
    zone = ZoneInfo(name)
    contract, changes = deploy(chain, zone, period_s)
    assert len(changes) == 2
    for at_s, _ in changes:
        start = at_s // period_s - 2 * DAY_S // period_s
        count = 4 * DAY_S // period_s
        contract.record_many(start, [1] * count, [0] * count, [1] * count, sender=METER)
        days, months = {}, {}
        for period in range(start, start + count):
            local = datetime.fromtimestamp(period * period_s, zone)
            day = (local.date() - datetime(1970, 1, 1).date()).days
            assert contract.day_of(period) == day
            days[day] = days.get(day, 0) + 1
            month = 12 * local.year + local.month - 1
            months[month] = months.get(month, 0) + 1
        for day, expected in days.items():
            assert contract.usage_of_day(HOUSE, day) == (expected, 0, expected)
        for month, expected in months.items():
            assert contract.usage_of_month(HOUSE, month) == (expected, 0, expected)


@pytest.mark.parametrize(
    ("date", "hours"), [((2024, 3, 31), 23), ((2024, 10, 27), 25), ((2024, 6, 1), 24)]
)
@pytest.mark.parametrize("period_s", [3_600, 1_800])
def test_a_day_of_paris_has_23_24_or_25_hours(chain, date, hours, period_s):
    paris = ZoneInfo("Europe/Paris")
    contract, _ = deploy(chain, paris, period_s)
    midnight_s = int(datetime(*date, tzinfo=paris).timestamp())
    count = hours * 3_600 // period_s
    contract.record_many(
        midnight_s // period_s - 1, [9, *([1] * count), 9], [0] * (count + 2), [1] * (count + 2),
        sender=METER,
    )  # fmt: skip
    day = (datetime(*date) - datetime(1970, 1, 1)).days
    assert contract.usage_of_day(HOUSE, day) == (count, 0, count)


def test_time_of_use_follows_the_clock_on_the_wall(chain):
    """On the 27th of October the hour from two to three comes twice, and both are dear."""
    from tests.contracts_py.test_metering_statements import make_terms, set_free

    paris = ZoneInfo("Europe/Paris")
    contract, _ = deploy(chain, paris, 3_600)
    dear = [int(hour == 2) for hour in range(24)] * 2
    set_free(contract, make_terms(hours=dear, rates=(1, 1_000)))
    midnight = int(datetime(2024, 10, 27, tzinfo=paris).timestamp()) // 3_600
    contract.record_many(midnight, [1_000] * 25, [0] * 25, [1] * 25, sender=METER)
    assert contract.bill_of_month(HOUSE, 12 * 2024 + 9) == 23 + 2 * 1_000


def test_changes_are_set_in_order_and_before_they_come(metering, chain):
    """Recorded days stay what they are: once there is a meter, clocks change in the future."""
    now = chain.timestamp
    assert metering.offset_change(1) == OffsetChange(0, 0)
    for at_s, offset_s in ((now, 19_800), (now + 1, 19_800 + 10_801), (now + 1, 19_800 - 10_801)):
        with pytest.raises(InvalidSetting):
            metering.set_utc_offset(at_s, offset_s, sender=OPERATOR)
    with pytest.raises(Unauthorized):
        metering.set_utc_offset(now + 1, 0, sender=HOUSE)
    metering.set_utc_offset(now + 1, 19_800 + 3_600, sender=OPERATOR)
    with pytest.raises(InvalidSetting):
        metering.set_utc_offset(now + 1, 19_800, sender=OPERATOR)
    metering.set_utc_offset(now + 2, 19_800, sender=OPERATOR)
    assert metering.offset_change(2) == OffsetChange(now + 2, 19_800)
    assert metering.utc_offset_seconds() == 19_800


def test_a_record_is_as_cheap_where_clocks_change(chain):
    contract, _ = deploy(chain, ZoneInfo("Europe/Paris"), 3_600)
    after = int(datetime(2024, 11, 5, tzinfo=UTC).timestamp()) // 3_600
    contract.record(after, 1, 0, 1, sender=METER)
    assert contract.record(after + 1, 1, 0, 1, sender=METER).gas_used < 105_000
