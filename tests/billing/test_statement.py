"""Terms, changing clocks and frozen statements: proved words give what the contract's views say."""

import json
import random
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from contracts_py.metering import Metering, Terms
from ledger.contract.testing import Chain, make_account
from node.billing.bill import Bill, BillMismatch, compute_bill
from node.billing.clock import Clock, first_day
from node.billing.month import Month, read_month
from node.billing.page import render_page
from node.billing.render import bill_json, bill_notes, bill_table, hours_name
from tests.billing.test_bill import LAYOUT, StateWords

OWNER, HOME = make_account("owner"), make_account("home")
METERS = [make_account(f"meter{index}") for index in range(2)]
CET_S, CEST_S = 3_600, 7_200
FORWARD_S = int(datetime(2024, 3, 31, 1, tzinfo=UTC).timestamp())
BACK_S = int(datetime(2024, 10, 27, 1, tzinfo=UTC).timestamp())
CLOCK = Clock(CET_S, ((FORWARD_S, CEST_S), (BACK_S, CET_S)))
MARCH = 12 * 2024 + 2
OCTOBER = MARCH + 7
RATES = 900 << 64 | 300 << 32  # of the three in use the first is 0
WEEKDAY = int("002222211111111111000000", 8)


def make_terms(standing: int = 0, tax_bp: int = 0, credit_rate: int = 0) -> Any:
    return Terms(standing, tax_bp, credit_rate, WEEKDAY, 0, RATES)


def make_metering(chain: Chain, period_s: int = 3_600) -> Any:
    metering = chain.deploy(Metering, period_s, CET_S, sender=OWNER)
    for change in CLOCK.changes:
        metering.set_utc_offset(*change, sender=OWNER)
    for meter in METERS:
        metering.enrol(meter, HOME, sender=OWNER)
    return metering


def month_of(chain: Chain, metering: Any, month: int = MARCH) -> Month:
    return read_month(LAYOUT, StateWords(chain, metering.address), HOME, month)


def show(bill: Bill) -> str:
    console = Console(width=200, force_terminal=False)
    with console.capture() as captured:
        console.print(bill_table(bill))
    return "\n".join([captured.get(), *bill_notes(bill)])


@pytest.mark.parametrize("month", [MARCH, OCTOBER])
def test_a_month_whose_clocks_change_has_the_contracts_periods(month: int) -> None:
    hours = {MARCH: 31 * 24 - 1, OCTOBER: 31 * 24 + 1}[month]
    periods = CLOCK.month_periods(month, 3_600)
    assert len(periods) == hours
    assert len(CLOCK.month_periods(month, 1_800)) == 2 * hours
    chain = Chain()
    metering = make_metering(chain)
    for period in (periods[0], periods[-1]):
        assert metering.month_of(metering.day_of(period)) == month
    for period in (periods[0] - 1, periods[-1] + 1):
        assert metering.month_of(metering.day_of(period)) != month
    assert month_of(chain, metering, month).clock == CLOCK


@pytest.mark.parametrize("seed", range(8))
def test_any_statement_and_whatever_was_frozen_is_proved(seed: int) -> None:
    chance = random.Random(seed)
    chain = Chain(timestamp=BACK_S)
    metering = make_metering(chain)
    periods = CLOCK.month_periods(MARCH, 3_600)
    metering.set_tariff(0, chance.random() < 0.5, [100, 300], [296, 556, 916], sender=OWNER)
    recorded: list[tuple[bytes, int]] = []
    for step, period in enumerate(chance.sample(range(periods[0] - 3, periods[-1] + 4), 60)):
        meter, wh = chance.choice(METERS), chance.randrange(30_000)
        metering.record(period, wh, chance.choice([0, wh]), 1, sender=meter)
        recorded.append((meter, period))
        if chance.random() < 0.4:
            meter, period = chance.choice(recorded)
            metering.correct(
                meter, period, chance.randrange(9_000), chance.randrange(9_000), 2, "", sender=OWNER
            )
        if step % 10 == 5:
            day = first_day(MARCH) + step // 2
            terms = make_terms(*(chance.randrange(900) for _ in range(3)))
            metering.set_terms(day, terms, sender=OWNER)
        if step in (35, 50):
            metering.freeze(HOME, MARCH, sender=OWNER)
    month = month_of(chain, metering)
    bill = compute_bill(month)
    assert vars(bill.statement) == vars(metering.statement_of_month(HOME, MARCH))
    assert bill.amount == metering.bill_of_month(HOME, MARCH)
    assert bill.open == metering.open_of_month(HOME, MARCH)
    assert [vars(one.statement) for one in month.frozen] == [
        vars(metering.frozen(HOME, MARCH, index)[0]) for index in range(2)
    ]
    charged = sum(line.charge for line in (*bill.lines, *bill.extras))
    assert charged + bill.clamped_charge == bill.charge
    assert sum(line.charge for line in bill.credits) // 1_000 == bill.statement.credit
    assert json.loads(json.dumps(bill_json(bill)))["frozen"][1]["number"] == 2
    assert show(bill)


@pytest.mark.parametrize("month", [MARCH, OCTOBER])
def test_the_standing_charge_has_the_days_of_the_contract(month: int) -> None:
    chain = Chain()
    metering = make_metering(chain)
    metering.set_terms(first_day(MARCH) + 20, make_terms(standing=35, tax_bp=2_000), sender=OWNER)
    metering.set_terms(first_day(OCTOBER) + 30, make_terms(standing=50), sender=OWNER)
    bill = compute_bill(month_of(chain, metering, month))
    assert vars(bill.statement) == vars(metering.statement_of_month(HOME, month))
    lines = [(line.tariff, line.days, line.amount) for line in bill.standing]
    assert lines == {MARCH: [(1, 11, 385)], OCTOBER: [(1, 30, 1_050), (2, 1, 50)]}[month]


def freeze_one(chain: Chain) -> Month:
    metering = make_metering(chain)
    metering.set_terms(0, make_terms(10, 100, 5), sender=OWNER)
    first = CLOCK.month_periods(MARCH, 3_600)[0]
    metering.record(first, 5_000, 700, 1, sender=METERS[0])
    metering.freeze(HOME, MARCH, sender=OWNER)
    metering.record(first + 10, 5_000, 700, 1, sender=METERS[0])
    return month_of(chain, metering)


@pytest.mark.parametrize(
    ("name", "step", "expected"),
    [
        ("energy", 1, "is not what its 1 records and corrections give"),
        ("import_wh", 1, "is not what its 1 records"),
        ("total", -1, "is not what its 1 records"),
        ("entries", 2, "counts readings of later"),
        ("entries", 1, "is not what its 2 records"),
    ],
)
def test_a_frozen_statement_that_is_not_its_readings(name: str, step: int, expected: str) -> None:
    month = freeze_one(Chain(timestamp=BACK_S))
    compute_bill(month)
    (frozen,) = month.frozen
    said = replace(frozen.statement, **{name: getattr(frozen.statement, name) + step})
    with pytest.raises(BillMismatch, match=expected):
        compute_bill(replace(month, frozen=(replace(frozen, statement=said),)))


@pytest.mark.parametrize("change", [{"digest": bytes(32)}, {"number": 2}, {"frozen_at": 5}])
def test_a_frozen_statement_whose_hash_is_another(change: dict[str, Any]) -> None:
    month = freeze_one(Chain(timestamp=BACK_S))
    changed = replace(month, frozen=(replace(month.frozen[0], **change),))
    with pytest.raises(BillMismatch, match=r"hash of frozen statement \d is not that"):
        compute_bill(changed)


def test_a_credit_that_is_not_the_exports() -> None:
    month = freeze_one(Chain(timestamp=BACK_S))
    with pytest.raises(BillMismatch, match="worth 7000 Wh x rate, the contract has 1400 and 7001"):
        compute_bill(replace(month, total_credit=7_001))


def test_a_bill_says_what_it_is_made_of() -> None:
    chain = Chain(timestamp=BACK_S)
    metering = make_metering(chain)
    metering.set_tariff(0, False, [], [100], sender=OWNER)
    metering.set_terms(0, make_terms(10, 1_000, 50), sender=OWNER)
    friday = CLOCK.month_periods(MARCH, 3_600)[0]
    metering.record_many(friday, [1_000] * 24, [0] * 23 + [2_000], [1] * 24, sender=METERS[0])
    text = show(compute_bill(month_of(chain, metering)))
    for words in (
        "tariff 2: from 0 and above", "tariff 2, on top: Mon-Fri 6-17", "Mon-Fri 17-22",
        "standing charge: 31 days of tariff 2", "10.00 %", "fed in, tariff 2", "to pay",
    ):  # fmt: skip
        assert words in text, words
    assert "frozen" not in text
    metering.freeze(HOME, MARCH, sender=OWNER)
    assert "nothing came since then" in show(compute_bill(month_of(chain, metering)))
    metering.record(friday + 24, 0, 900_000, 1, sender=METERS[0])
    bill = compute_bill(month_of(chain, metering))
    text = show(bill)
    for words in ("bill 1, frozen on 2024-10-27", "open since then: -450.00", "owed to you"):
        assert words in text, words
    page = render_page(bill, metering.address, "wattledger verify <bill>")
    assert "owed to you" in page
    assert "credited below" in page
    assert "verify &lt;bill&gt;" in page
    assert (bill.amount, bill.statement.total < 0) == (0, True)


def test_hours_read_as_people_say_them() -> None:
    chain = Chain()
    metering = make_metering(chain)
    metering.set_terms(0, make_terms(), sender=OWNER)
    terms = month_of(chain, metering).tariffs[1].terms
    assert hours_name(terms, 900) == "Mon-Fri 17-22"
    assert hours_name(terms, 0) == "Mon-Fri 0-6 22-24, Sat-Sun 0-24"
