"""How much gas the calls of a test used, by contract and method.

Each chain has a report of its own; while one is shared (as by the pytest plugin) every new chain
writes into that one.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

DEPLOYMENT = "(deploy)"


class GasRow(NamedTuple):
    """One method; `least`, `median` and `most` in gas of one call, intrinsic gas apart."""

    contract: str
    method: str
    calls: int
    least: int
    median: int
    most: int


@dataclass(slots=True)
class GasReport:
    """What every call of a test run used, for the table at its end."""

    used: dict[tuple[str, str], Counter[int]] = field(default_factory=dict)
    """By (contract, method): how often a call used so much."""

    def note(self, contract: str, method: str, gas: int) -> None:
        self.used.setdefault((contract, method), Counter())[gas] += 1

    def rows(self) -> list[GasRow]:
        """By contract, then method; the deployment stands first."""
        rows = []
        for (contract, method), counter in sorted(self.used.items()):
            sums = sorted(counter.elements())
            rows.append(
                GasRow(contract, method, len(sums), sums[0], sums[len(sums) // 2], sums[-1])
            )
        return rows

    def __str__(self) -> str:
        lines = [f"{'contract':<20} {'method':<28} {'calls':>7} {'least':>10} {'median':>10} "
                 f"{'most':>10}"]  # fmt: skip
        for row in self.rows():
            lines.append(
                f"{row.contract:<20} {row.method:<28} {row.calls:>7,} {row.least:>10,} "
                f"{row.median:>10,} {row.most:>10,}"
            )
        return "\n".join(lines)


_shared: list[GasReport] = []


def share_report(report: GasReport | None) -> None:
    """From now on new chains write into `report`; None: each into its own again."""
    _shared[:] = [] if report is None else [report]


def open_report() -> GasReport:
    return _shared[0] if _shared else GasReport()
