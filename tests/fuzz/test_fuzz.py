"""A short look for what must not be; `python -m tests.fuzz 3600` is the long one."""

import os
import random

import pytest

from tests.fuzz import __main__ as fuzzer
from tests.fuzz import cases
from tests.fuzz.cases import Finding, run_case, walk

SHORT_S = 12
DEEP_S = int(os.environ.get("FUZZ_S", "3000"))


def test_a_short_look_finds_nothing() -> None:
    findings, results = fuzzer.fuzz(SHORT_S, 0)
    assert not findings, "\n".join(findings)
    given = list(results.values())
    assert len(given) > 50, "too slow to find anything"
    assert given.count("refused") < 0.9 * len(given), "hardly anything is accepted: see grammar"


@pytest.mark.deep
@pytest.mark.timeout(DEEP_S + 300)
def test_a_long_look_finds_nothing() -> None:
    """FUZZ_S seconds, from a seed that is printed."""
    first = random.randrange(10**9)
    print(f"first seed {first}")
    findings, _ = fuzzer.fuzz(DEEP_S, first)
    assert not findings, "\n".join(findings)


@pytest.mark.parametrize("value", [object(), 1.5, [True, (b"", [set()])], {}, type, bytearray(1)])
def test_what_is_not_plain_is_found(value: object) -> None:
    with pytest.raises(Finding):
        walk(value)


def test_a_slow_call_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "IDLE_S", 0.0)
    monkeypatch.setattr(cases, "NS_PER_GAS_MAX", 0.001)
    with pytest.raises(Finding, match="gas took"):
        for seed in range(0, 60, 6):
            run_case(seed)


def test_a_child_that_dies_or_hangs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzzer, "CASE_S_MAX", 1.0)
    monkeypatch.setattr(fuzzer.sys, "executable", "/bin/false")
    _, findings, _ = fuzzer.watch_child(5, 0.1)
    assert "seed 5: the child died (1)" in findings[0]
