"""A bill from storage words equals the contract's own, whatever was recorded and corrected."""

import random
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

import pytest

from contracts_py.metering import Metering
from ledger.contract.compile import compile_contract
from ledger.contract.testing import Chain, make_account
from node.billing.bill import BillMismatch, compute_bill
from node.billing.clock import Clock
from node.billing.month import Month, parse_month, read_month
from node.billing.render import bill_json, bill_notes, bill_table, format_charge, format_money
from node.billing.words import Layout

OWNER, HOME = make_account("owner"), make_account("home")
METERS = [make_account(f"meter{index}") for index in range(3)]
INDIA_S = 19_800
SOURCE = resources.files("contracts_py").joinpath("metering.py").read_bytes()
LAYOUT = Layout(compile_contract(SOURCE).model)
MONTH = parse_month("2024-02")


class StateWords:
    """Words straight from the state of the testing kit."""

    def __init__(self, chain: Chain, address: bytes) -> None:
        self.chain, self.address = chain, address

    def read(self, slots: Iterable[bytes]) -> Mapping[bytes, int]:
        return {slot: self.chain.state.get_storage(self.address, slot) for slot in slots}


def make_metering(chain: Chain, period_seconds: int = 3_600) -> Any:
    metering = chain.deploy(Metering, period_seconds, INDIA_S, sender=OWNER)
    for meter in METERS[:2]:
        metering.enrol(meter, HOME, sender=OWNER)
    return metering


def month_bounds() -> tuple[int, int]:
    periods = Clock(INDIA_S).month_periods(MONTH, 3_600)
    return periods[0], periods[-1]


def month_of(chain: Chain, metering: Any) -> Month:
    return read_month(LAYOUT, StateWords(chain, metering.address), HOME, MONTH)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("telescopic", [False, True])
def test_any_month_is_priced_as_the_contract_did(seed: int, telescopic: bool) -> None:
    chance = random.Random(seed)
    chain = Chain()
    metering = make_metering(chain)
    first, last = month_bounds()
    bounds, rates = [100, 300, 500], [296, 556, 916, 1_061]
    metering.set_tariff(0, telescopic, bounds, rates, sender=OWNER)
    metering.set_tariff(19_765, not telescopic, [50], [10, 20], sender=OWNER)
    recorded = []
    for period in chance.sample(range(first - 2, last + 3), 60):
        meter = chance.choice(METERS[:2])
        wh = chance.choice([0, 1, 999, 40_000, chance.randrange(100_000)])
        metering.record(period, wh, wh // 7, chance.choice([1, 16, 129]), sender=meter)
        recorded.append((meter, period))
        if chance.random() < 0.3:
            meter, period = chance.choice(recorded)
            metering.correct(
                meter, period, chance.randrange(90_000), 5, 2, "read again " * chance.randrange(9),
                sender=OWNER,
            )  # fmt: skip
    month = month_of(chain, metering)
    bill = compute_bill(month)
    assert bill.amount == metering.bill_of_month(HOME, MONTH)
    assert (bill.import_wh, bill.export_wh) == tuple(metering.usage_of_month(HOME, MONTH)[:2])
    assert sum(line.charge for line in bill.lines) + bill.clamped_charge == bill.charge
    assert sum(line.units_wh for line in bill.lines) == bill.import_wh
    assert bill_json(bill)["amount"] == bill.amount
    assert bill_table(bill).row_count >= len(bill.lines) + 2
    assert bill_notes(bill)


def test_a_reading_left_out_is_noticed() -> None:
    chain = Chain()
    metering = make_metering(chain)
    first, _ = month_bounds()
    for period in (first, first + 5):
        metering.record(period, 700, 0, 1, sender=METERS[0])
    month = month_of(chain, metering)
    fields = {**vars(month), "readings": month.readings[:1]}
    with pytest.raises(BillMismatch, match="2 records and corrections, 1 were found"):
        compute_bill(Month(**fields))
    wrong = {**vars(month), "total_charge": 5}
    with pytest.raises(BillMismatch, match="the contract has"):
        compute_bill(Month(**wrong))


def test_gaps_are_told_and_not_charged() -> None:
    chain = Chain()
    metering = make_metering(chain)
    first, last = month_bounds()
    metering.record(first + 1, 0, 0, 1, sender=METERS[0])
    bill = compute_bill(month_of(chain, metering))
    assert last - first + 1 == 29 * 24
    assert bill.amount == 0
    gaps = [(gap["firstPeriod"], gap["lastPeriod"]) for gap in bill_json(bill)["gaps"]]
    assert gaps == [(first, first), (first + 2, last), (first, last)]


def test_money_and_charges_read_as_people_write_them() -> None:
    assert format_money(123_456) == "1,234.56"
    assert format_money(-5) == "-0.05"
    assert format_charge(29_600_001) == "296.00001"
