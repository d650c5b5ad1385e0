"""A short look for what must not be; `python -m tests.fuzz 3600` is the long one."""

import json
import os
import random
import re
from pathlib import Path

import pytest

from tests.fuzz import __main__ as program
from tests.fuzz import cases, versions
from tests.fuzz.__main__ import Fuzzer
from tests.fuzz.cases import Finding, make_source, run_case, walk

SHORT_S = 12
DEEP_S = int(os.environ.get("FUZZ_S", "3000"))


def look(seconds: float, first: int, kept: Path, alone: bool = False) -> Fuzzer:
    fuzzer = Fuzzer(seconds, first, kept)
    fuzzer.versions = {} if alone else fuzzer.versions
    fuzzer.run()
    return fuzzer


def test_a_short_look_finds_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fuzzer = look(SHORT_S, 0, tmp_path, alone=True)
    assert not fuzzer.findings, "\n".join(fuzzer.findings)
    given = list(fuzzer.results.values())
    assert len(given) > 40, "too slow to find anything"
    assert given.count("refused") < 0.9 * len(given), "hardly anything is accepted: see grammar"
    summary = capsys.readouterr().out.splitlines()[-1]
    assert f" SUMMARY {fuzzer.describe().split(' s: ')[0]}" in summary
    assert summary == (tmp_path / "0.log").read_text().splitlines()[-1]
    assert 20 < fuzzer.memory_mb < 200 and fuzzer.calls > fuzzer.agreed > 10


@pytest.mark.deep
@pytest.mark.timeout(DEEP_S + 900)
def test_a_long_look_finds_nothing(tmp_path: Path) -> None:
    """FUZZ_S seconds, from a seed that is printed."""
    first = random.randrange(10**9)
    print(f"first seed {first}")
    fuzzer = look(DEEP_S, first, tmp_path)
    assert not fuzzer.findings, "\n".join(fuzzer.findings)


def test_every_standard_contract_is_mutated() -> None:
    names = {re.search(r"class (\w+)\((?:Contract|Token|Own)", text) for text in cases.STANDARD}
    found = {match[1] for match in names if match}
    assert found >= {"Wattcoin", "Metering", "Network", "Microgrid", "Token", "Roles", "Billing"}
    assert len(cases.STANDARD) == 12
    per_round = cases.KINDS * len(cases.STANDARD)
    texts = {make_source(seed).splitlines()[0] for seed in range(4, 4 + per_round, cases.KINDS)}
    assert len(texts) > 9, "each in turn, most with their first line as it was"


@pytest.mark.parametrize("name", sorted(versions.list_versions()) or [""])
def test_another_version_is_compared(tmp_path: Path, name: str) -> None:
    """One seed here; the long look goes on with all versions in turn."""
    if not name.startswith("CPython"):
        pytest.skip("no other CPython is here" if not name else "WebAssembly: test_wasm has it")
    fuzzer = Fuzzer(0, 0, tmp_path)
    fuzzer.results = {seed: cases.digest_case(seed) for seed in (0, 1, 4)}
    fuzzer.results[4] = "spoilt"
    fuzzer.batch_name, fuzzer.batch_seeds = name, [0, 1, 4]
    batch = versions.start(fuzzer.versions[name], fuzzer.batch_seeds)
    fuzzer.read_batch(batch)
    assert fuzzer.compared == {name: 3}
    assert len(fuzzer.findings) == 1 and f"seed 4: {name} differs" in fuzzer.findings[0]
    assert json.loads((tmp_path / "4.json").read_text())["seed"] == 4


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


def test_a_child_that_dies_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(program.sys, "executable", "/bin/false")
    fuzzer = Fuzzer(1, 5, tmp_path)
    fuzzer.watch_child(0.1)
    assert "seed 5: the child died (1)" in fuzzer.findings[0] and fuzzer.seed == 6


def test_a_child_that_hangs_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\necho '{\"begin\": 9}'\nexec sleep 60\n")
    silent.chmod(0o755)
    monkeypatch.setattr(program.sys, "executable", str(silent))
    monkeypatch.setattr(program, "CASE_S_MAX", 1.0)
    fuzzer = Fuzzer(1, 5, tmp_path)
    fuzzer.watch_child(0.1)
    assert "seed 9: the child died (-9): it hung" in fuzzer.findings[0]


def test_a_child_that_somebody_stops_is_run_again_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stopped = tmp_path / "stopped"
    stopped.write_text("#!/bin/sh\necho '{\"begin\": 9}'\nkill -TERM $$\n")
    stopped.chmod(0o755)
    monkeypatch.setattr(program.sys, "executable", str(stopped))
    fuzzer = Fuzzer(1, 5, tmp_path)
    fuzzer.watch_child(0.1)
    assert not fuzzer.findings and fuzzer.seed == 9 and "stopped from outside" in fuzzer.describe()
    fuzzer.watch_child(0.1)
    assert "seed 9: the child died (-15)" in fuzzer.findings[0] and fuzzer.seed == 10
