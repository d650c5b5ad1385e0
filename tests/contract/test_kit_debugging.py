"""Failures point into the contract's own lines; coverage, tracing and pdb see them too."""

import io
import pdb
import subprocess
import sys
import textwrap
import traceback
from pathlib import Path

import coverage
import pytest

from ledger.contract.testing import (
    Chain,
    ContractOutOfGas,
    ContractPanic,
    Unauthorized,
    make_account,
)

ROOT = Path(__file__).parents[2]
JAR = Path(__file__).parent / "kit" / "jar.py"
LINES = JAR.read_text().splitlines()
OWNER, ALICE = make_account("owner"), make_account("alice")


def line_of(text: str) -> int:
    """Where a line with this text stands in the contract."""
    (number,) = [index for index, line in enumerate(LINES, 1) if text in line]
    return number


@pytest.fixture
def jar():
    return Chain().deploy(JAR, "pickles", sender=OWNER)


def contract_lines(error: BaseException) -> list[int]:
    found = traceback.extract_tb(error.__traceback__)
    return [frame.lineno for frame in found if frame.filename == str(JAR)]


def test_a_revert_points_at_its_raise_and_at_who_called(jar):
    with pytest.raises(Exception, match="101") as caught:
        jar.put(101, sender=ALICE)
    assert type(caught.value).__name__ == "TooMuch"
    assert contract_lines(caught.value) == [
        line_of("self._check(amount)"),
        line_of("raise TooMuch"),
    ]
    told = "".join(traceback.format_exception(caught.value))
    assert "raise TooMuch(amount, most)" in told and "execution.py" not in told


@pytest.mark.parametrize(
    ("call", "kind", "line"),
    [
        (lambda jar: jar.share(0), ContractPanic, "self.total // parts"),
        (lambda jar: jar.nth(5), ContractPanic, "self.notes[index]"),
        (lambda jar: jar.spin(gas=50_000), ContractOutOfGas, "turns"),
    ],
)
def test_a_panic_and_the_end_of_gas_point_at_their_line(jar, call, kind, line):
    with pytest.raises(kind) as caught:
        call(jar)
    assert contract_lines(caught.value)
    assert line in LINES[contract_lines(caught.value)[-1] - 1]


def test_lines_of_what_a_contract_builds_on_are_shown_too(tmp_path):
    path = tmp_path / "owned.py"
    path.write_text(
        "from ledger.contract import Ownable, write\n\n\nclass Owned(Ownable):\n"
        "    @write\n    def bump(self) -> None:\n        self._check_owner()\n"
    )
    owned = Chain().deploy(path, OWNER, sender=OWNER)
    with pytest.raises(Exception, match=r"make_account\('alice'\)") as caught:
        owned.bump(sender=ALICE)
    assert type(caught.value).__name__ == "OwnableUnauthorizedAccount"
    *_, own, base = traceback.extract_tb(caught.value.__traceback__)
    assert (own.filename, own.line) == (str(path), "self._check_owner()")
    assert base.filename.endswith("standard/ownable.py")
    assert base.line.startswith("raise OwnableUnauthorizedAccount")
    assert owned.transfer_ownership(ALICE, sender=OWNER).events[0].new_owner == ALICE


def test_what_no_line_did_has_no_line(jar):
    with pytest.raises(Unauthorized) as caught:
        jar.leak(1, sender=ALICE)
    assert contract_lines(caught.value) == []


def test_the_variables_of_the_line_are_there_after_it_failed(jar):
    with pytest.raises(Exception, match="101") as caught:
        jar.put(101, sender=ALICE)
    *_, put, check = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    assert check.f_code.co_filename == put.f_code.co_filename == str(JAR)
    assert (check.f_locals["amount"], check.f_locals["most"]) == (101, 100)
    assert put.f_locals["self"].msg.sender == ALICE


def test_pdb_stops_at_a_breakpoint_in_the_contract(jar):
    out = io.StringIO()
    debugger = pdb.Pdb(
        stdin=io.StringIO("continue\np amount\np most\nup\np self.msg.value\ncontinue\n"),
        stdout=out,
        nosigint=True,
        readrc=False,
    )
    debugger.use_rawinput = False
    assert debugger.set_break(str(JAR), line_of("if amount > most")) is None
    receipt = debugger.runcall(jar.put, 42, sender=ALICE)
    told = out.getvalue()
    assert receipt.returned == 42
    assert "if amount > most" in told
    assert told.count("(Pdb) 42") == 1 and "(Pdb) 100" in told and "(Pdb) 0" in told


def test_coverage_counts_the_lines_that_ran(jar):
    measured = coverage.Coverage(data_file=None, include=[str(JAR)], config_file=False)
    measured.start()
    try:
        jar.put(42, sender=ALICE)
    finally:
        measured.stop()
    ran = set(measured.get_data().lines(str(JAR)))
    assert {line_of("self._check(amount)"), line_of("if amount > most")} <= ran
    assert line_of("raise TooMuch") not in ran
    assert line_of("self.total // parts") not in ran
    assert all(LINES[number - 1].strip() for number in ran)


def test_pytest_shows_an_author_the_contracts_line(tmp_path):
    (tmp_path / "jar.py").write_text(JAR.read_text())
    (tmp_path / "test_jar.py").write_text(
        textwrap.dedent("""
        from ledger.contract.testing import Chain

        def test_put():
            jar = Chain().deploy("jar.py", "pickles")
            jar.put(101)
        """)
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
         "-p", "ledger.contract.testing.plugin", "."],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"jar.py:{line_of('raise TooMuch')}: TooMuch" in done.stdout
    assert ">           raise TooMuch(amount, most)" in done.stdout
    assert "deployed.py" not in done.stdout and "execution.py" not in done.stdout
    assert "(deploy)" in done.stdout  # the table of gas
