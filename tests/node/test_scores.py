"""Scores: what for, how long, and that neither coming back nor a crowd washes them off."""

import pytest

from node.peers import scores
from node.peers.scores import FAULT, LIE, PEERS_MAX, PENALTY_S, PENALTY_S_MAX, REASONS_MAX, Scores

A, B = b"\1" * 20, b"\2" * 20


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(scores, "time", made)
    return made


def test_reasons_are_shown_newest_first_with_their_age(clock: Clock) -> None:
    kept = Scores()
    assert kept.describe(A) == {"score": 0, "reasons": []}
    kept.note(A, "first", FAULT)
    clock.now += 7
    kept.note(A, "x" * 1_000, FAULT)
    told = kept.describe(A)
    assert told["score"] == 2 * FAULT
    assert told["reasons"] == [
        {"reason": "x" * scores.REASON_CHARACTERS_MAX, "secondsAgo": 0},
        {"reason": "first", "secondsAgo": 7},
    ]


def test_a_score_halves_and_reasons_are_bounded(clock: Clock) -> None:
    kept = Scores()
    for number in range(30):
        kept.note(A, str(number), FAULT)
    reasons = kept.describe(A)["reasons"]
    assert isinstance(reasons, list)
    assert len(reasons) == REASONS_MAX
    clock.now += scores.HALF_LIFE_S
    assert kept.describe(A)["score"] == 15 * FAULT


def test_who_lies_is_left_alone_longer_each_time_and_forgiven_in_the_end(clock: Clock) -> None:
    kept = Scores()
    waits = []
    for _ in range(5):
        kept.penalise(A, "a lie")
        waits.append(kept.seconds_left(A))
        assert kept.left_alone() == [A]
        clock.now += waits[-1]
        assert kept.seconds_left(A) == 0
    assert waits == [PENALTY_S, 2 * PENALTY_S, PENALTY_S_MAX, PENALTY_S_MAX, PENALTY_S_MAX]
    assert kept.left_alone() == []
    clock.now += scores.FORGIVEN_S + 1
    kept.penalise(A, "a lie")
    assert kept.seconds_left(A) == PENALTY_S
    assert kept.describe(A)["score"] >= LIE  # type: ignore[operator]
    assert kept.seconds_left(B) == 0


def test_a_crowd_is_bounded(clock: Clock) -> None:
    kept = Scores()
    for number in range(PEERS_MAX + 50):
        kept.note(number.to_bytes(20, "big"), "fault", FAULT)
    assert len(kept._scores) == PEERS_MAX
    assert kept.describe(bytes(20))["score"] == 0
