"""Who takes part in the stories of `Metering`, and the months they happen in."""

import calendar

from ledger.contract.testing import make_account

OPERATOR, METER, METER_2, HOUSE, STRANGER = map(
    make_account, ("operator", "meter", "second meter", "house", "stranger")
)
HOUR_S = 3_600
INDIA_S = 19_800
PUBLISHED = (0, False, [100, 300, 500], [296, 556, 916, 1061])
TELESCOPIC = (0, True, [100, 300, 500], [296, 556, 916, 1061])
JUNE = 12 * 2023 + 5


def first_hour(year: int, month: int) -> int:
    """The first whole hour since 1970 that starts in a month in Indian Standard Time."""
    return -(-(calendar.timegm((year, month, 1, 0, 0, 0)) - INDIA_S) // HOUR_S)


FIRST = first_hour(2023, 6)


def record_kwh(metering, *readings_kwh, meter=METER, start=FIRST):
    """Record hours one after the other."""
    for index, kwh in enumerate(readings_kwh):
        metering.record(start + index, kwh * 1_000, 0, 1, sender=meter)
