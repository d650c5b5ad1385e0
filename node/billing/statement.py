"""What a month comes to beside its energy, and proof that what was frozen was right.

The rules are those of `contracts_py/metering.py`: the standing charge is that of each day of the
month, the tax that of its first day, both settled by the first frozen statement.
"""

from dataclasses import dataclass

from ledger.crypto.keccak import keccak256
from ledger.encoding import abi
from node.billing.clock import first_day
from node.billing.month import Frozen, Month, Statement, Tariff
from node.errors import NodeError

WH_PER_KWH = 1_000
BASIS_POINTS = 10_000
DIGEST_TYPES = ["uint256", "uint256", "address", *["int256"] * 11]


class BillMismatch(NodeError):
    """The contract's own total is not what its readings give."""


@dataclass(frozen=True)
class StandingLine:
    """So many days of one tariff; tariff 0: as settled when the month was frozen."""

    tariff: int
    days: int
    rate: int
    amount: int


@dataclass(frozen=True)
class Sums:
    """Of records and corrections up to some order: Wh, and Wh times rate."""

    import_wh: int = 0
    export_wh: int = 0
    charge: int = 0
    credit: int = 0


def tariff_on(tariffs: dict[int, Tariff], day: int) -> Tariff | None:
    """The newest tariff that holds on a day."""
    holding = [one for number, one in sorted(tariffs.items()) if one.from_day <= day]
    return holding[-1] if holding else None


def list_standing(month: Month) -> tuple[StandingLine, ...]:
    """The month's standing charge by tariff."""
    if month.frozen:
        amount = month.frozen[0].statement.standing
        return (StandingLine(0, 0, 0, amount),) if amount else ()
    if not month.meters:
        return ()
    days: dict[int, int] = {}
    for day in range(first_day(month.month), first_day(month.month + 1)):
        tariff = tariff_on(month.tariffs, day)
        if tariff is not None and tariff.terms.standing:
            days[tariff.number] = days.get(tariff.number, 0) + 1
    rates = {number: month.tariffs[number].terms.standing for number in days}
    return tuple(
        StandingLine(number, count, rates[number], count * rates[number])
        for number, count in days.items()
    )


def find_tax_bp(month: Month) -> int:
    """The month's tax in basis points."""
    if month.frozen:
        return month.frozen[0].statement.tax_bp
    tariff = tariff_on(month.tariffs, first_day(month.month)) if month.meters else None
    return tariff.terms.tax_bp if tariff else 0


def make_statement(sums: Sums, entries: int, standing: int, tax_bp: int) -> Statement:
    """Amounts from sums: energy and tax half up, credit down."""
    energy = (sums.charge + WH_PER_KWH // 2) // WH_PER_KWH
    tax = ((energy + standing) * tax_bp + BASIS_POINTS // 2) // BASIS_POINTS
    credit = sums.credit // WH_PER_KWH
    total = energy + standing + tax - credit
    return Statement(
        sums.import_wh, sums.export_wh, entries, tax_bp, energy, standing, tax, credit, total
    )


def check_frozen(month: Month, frozen: Frozen, sums: Sums) -> None:
    """Raises BillMismatch where a statement is not what its readings gave, or its hash is not its.

    `sums` are those of the first `entries` records and corrections. The standing charge and the tax
    rate of the first one are taken as they were frozen: which tariffs there were then is not kept.
    """
    said, first = frozen.statement, month.frozen[0].statement
    if make_statement(sums, said.entries, first.standing, first.tax_bp) != said:
        raise BillMismatch(
            f"frozen statement {frozen.number} is not what its {said.entries} records and "
            "corrections give"
        )
    values = (
        frozen.number, frozen.frozen_at, month.account, month.month, frozen.index,
        *vars(said).values(),
    )  # fmt: skip
    if keccak256(abi.encode(DIGEST_TYPES, values)) != frozen.digest:
        raise BillMismatch(f"the hash of frozen statement {frozen.number} is not that of its words")
