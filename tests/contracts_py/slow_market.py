"""The double auction, slowly: who takes part in its stories, and how an hour is cleared."""

from fractions import Fraction
from math import ceil, floor

from ledger.contract.testing import make_account

HOUR_S = 3_600
GATE_S = 900
GRACE_S = 7_200
STEP_WEI = 1_000_000
PENALTY_WEI = 700_000_000
NOW = 1_700_000_000
PERIOD = NOW // HOUR_S + 2
OPERATOR = make_account("operator")
HOMES = [make_account(f"home {index}") for index in range(8)]
METERS = [make_account(f"meter {index}") for index in range(8)]
COINS = 10**18


def clear_slowly(orders: dict[int, tuple[int, int]]) -> tuple[int, int, dict[int, int]]:
    """Price step, volume and what each order gets, by trying every step there is."""
    asks = {i: (-q, s) for i, (q, s) in orders.items() if q < 0}
    bids = {i: (q, s) for i, (q, s) in orders.items() if q > 0}

    def volume_at(step: int) -> int:
        return min(
            sum(q for q, s in asks.values() if s <= step),
            sum(q for q, s in bids.values() if s >= step),
        )

    steps = range(min((s for _, s in orders.values()), default=0),
                  max((s for _, s in orders.values()), default=0) + 1)  # fmt: skip
    volume = max(map(volume_at, steps))
    if volume == 0:
        return 0, 0, dict.fromkeys(orders, 0)
    best = [step for step in steps if volume_at(step) == volume]
    got = {}
    for side, ahead, sign, rounded in (
        (asks, lambda one, other: one < other, -1, floor),
        (bids, lambda one, other: one > other, 1, ceil),
    ):
        for i, (quantity, step) in side.items():
            before = sum(q for q, s in side.values() if ahead(s, step))
            level = sum(q for q, s in side.values() if s == step)
            share = min(max(Fraction(volume - before, level), Fraction(0)), Fraction(1))
            got[i] = sign * rounded(quantity * share)
    return (best[0] + best[-1]) // 2, volume, got
