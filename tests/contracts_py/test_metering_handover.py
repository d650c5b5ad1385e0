"""A meter is replaced, its register starts anew or runs over: nothing is lost, all is told."""

import pytest

from contracts_py.metering import (
    AlreadyEnrolled,
    AlreadyRecorded,
    Enrolled,
    InvalidPeriod,
    Kind,
    MeterReplaced,
    NotEnrolled,
    RegisterChanged,
    ZeroAddress,
)
from ledger.contract.testing import Unauthorized
from ledger.crypto.address import ZERO_ADDRESS
from tests.contracts_py.stories import (
    FIRST,
    HOUSE,
    JUNE,
    METER,
    METER_2,
    OPERATOR,
    STRANGER,
    TELESCOPIC,
    record_kwh,
)


def replace(metering, old=METER, new=METER_2, last=FIRST + 9, sender=OPERATOR):
    return metering.replace_meter(old, new, last, 123_456, 7, "its seal was broken", sender=sender)


def test_the_new_meter_goes_on_where_the_old_one_ended(metering):
    metering.set_tariff(*TELESCOPIC, sender=OPERATOR)
    record_kwh(metering, 60)
    assert replace(metering).events == [
        Enrolled(METER_2, HOUSE),
        MeterReplaced(
            METER, METER_2, HOUSE, FIRST + 9, 123_456, 7, OPERATOR, "its seal was broken"
        ),
    ]
    record_kwh(metering, 60, meter=METER_2, start=FIRST + 10)
    assert metering.meters_of(HOUSE) == [METER, METER_2]
    assert metering.bill_of_month(HOUSE, JUNE) == 100 * 296 + 20 * 556  # its slabs are the house's


def test_the_old_meter_still_delivers_what_it_measured(metering):
    """No reading is lost in its outbox; none is taken of the time after it."""
    record_kwh(metering, 60)
    replace(metering)
    metering.record_many(FIRST + 1, [5] * 9, [0] * 9, [1] * 9, sender=METER)
    assert metering.usage_of_month(HOUSE, JUNE) == (60_045, 0, 10)
    assert metering.meter(METER).retired
    for period in (FIRST + 10, FIRST + 500):
        with pytest.raises(NotEnrolled):
            metering.record(period, 5, 0, 1, sender=METER)
    with pytest.raises(NotEnrolled):
        metering.record_many(FIRST + 9, [1] * 2, [0] * 2, [1] * 2, sender=METER)
    with pytest.raises(AlreadyRecorded):
        metering.record(FIRST + 9, 5, 0, 1, sender=METER)


def test_what_is_no_replacement(metering):
    with pytest.raises(Unauthorized):
        replace(metering, sender=METER)
    with pytest.raises(NotEnrolled):
        replace(metering, old=STRANGER)
    for new in (METER, ZERO_ADDRESS):
        with pytest.raises(ZeroAddress):
            replace(metering, new=new)
    with pytest.raises(InvalidPeriod):
        replace(metering, last=2**32 - 1)
    metering.enrol(METER_2, STRANGER, sender=OPERATOR)
    with pytest.raises(AlreadyEnrolled):
        replace(metering)
    assert not metering.meter(METER).retired


@pytest.mark.parametrize("kind", list(Kind))
def test_a_meter_says_what_its_register_did(metering, kind):
    receipt = metering.note_register(kind, FIRST, 99_999_900, 12, sender=METER)
    assert receipt.events == [RegisterChanged(METER, HOUSE, kind, FIRST, 99_999_900, 12)]
    with pytest.raises(NotEnrolled):
        metering.note_register(kind, FIRST, 1, 0, sender=STRANGER)
    assert metering.usage_of_month(HOUSE, JUNE) == (0, 0, 0)
