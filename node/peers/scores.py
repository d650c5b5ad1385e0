"""What each peer did that it should not, for how long it is left alone, and why, in words.

A score begins at 0 and halves every ten minutes; a fault adds to it. An honest node has few faults,
when heads or sets differ; a peer that sends what no honest one sends is left alone, twice as long
each time. Kept by address, so that coming back does not wash it off. Not here: what is a fault.
"""

import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field

from ledger.types import Address

PEERS_MAX = 1_024
"""Proved addresses remembered; who had its last fault longest ago is forgotten first."""
REASONS_MAX = 8
REASON_CHARACTERS_MAX = 200
HALF_LIFE_S = 600.0
PENALTY_S = 30.0
"""A peer that sent what no honest peer sends is not talked to for so long at first."""
PENALTY_S_MAX = 120.0
"""An honest node that a liar led to err must be back soon."""
FORGIVEN_S = 3_600.0
"""After so long without one a penalty is the first again."""

SLOW, FAULT, LIE = 1, 5, 50
"""Points: no answer in time; what is refused now and then; what no honest peer sends."""


@dataclass(slots=True)
class _Score:
    points: float = 0.0
    at: float = 0.0
    penalties: int = 0
    penalised_at: float = 0.0
    until: float = 0.0
    reasons: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=REASONS_MAX))


class Scores:
    """The scores of every peer that ever had a fault."""

    def __init__(self) -> None:
        self._scores: OrderedDict[Address, _Score] = OrderedDict()

    def note(self, address: Address, reason: str, points: int) -> None:
        """Count a fault."""
        now = time.monotonic()
        score = self._scores.pop(address, None) or _Score(at=now)
        score.points = _decay(score, now) + points
        score.at = now
        score.reasons.append((now, reason[:REASON_CHARACTERS_MAX]))
        self._scores[address] = score
        if len(self._scores) > PEERS_MAX:
            self._scores.popitem(last=False)

    def penalise(self, address: Address, reason: str) -> None:
        """Count what no honest peer does, and leave it alone for a while."""
        self.note(address, reason, LIE)
        score, now = self._scores[address], time.monotonic()
        if now - score.penalised_at > FORGIVEN_S:
            score.penalties = 0
        score.until = now + min(PENALTY_S * 2**score.penalties, PENALTY_S_MAX)
        score.penalties += 1
        score.penalised_at = now

    def seconds_left(self, address: Address) -> float:
        """For how long a peer is still left alone; 0 for one that is not."""
        score = self._scores.get(address)
        return max(0.0, score.until - time.monotonic()) if score else 0.0

    def describe(self, address: Address) -> dict[str, object]:
        """Score, and the newest reasons with their age, newest first."""
        score, now = self._scores.get(address), time.monotonic()
        if score is None:
            return {"score": 0, "reasons": []}
        return {
            "score": round(_decay(score, now)),
            "reasons": [
                {"reason": reason, "secondsAgo": int(now - at)}
                for at, reason in reversed(score.reasons)
            ],
        }

    def left_alone(self) -> list[Address]:
        """Who is under a penalty now."""
        now = time.monotonic()
        return [address for address, score in self._scores.items() if score.until > now]


def _decay(score: _Score, now: float) -> float:
    return float(score.points * 0.5 ** ((now - score.at) / HALF_LIFE_S))
