"""Every block of Python on the page about contracts runs, in its order, in one folder."""

import re
import sys
from pathlib import Path

import pytest

from ledger.contract.compile import compile_contract
from node.commands.contracts.describe import describe_allowed
from tests.docs.pages import DOCS, code_blocks, table_rows

PAGE = DOCS / "contracts.md"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the page's reader works: modules are imported from there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        if str(tmp_path) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]


def test_every_block_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    contracts = 0
    for number, block in enumerate(code_blocks(PAGE, "python"), 1):
        declared = re.search(r"^class (\w+)\(Contract\):", block, re.MULTILINE)
        if declared:
            (folder / f"{declared[1].lower()}.py").write_text(block)
            assert compile_contract(block.encode()).model.name == declared[1]
            contracts += 1
        else:
            exec(compile(block, f"docs block {number}", "exec"), {"__name__": f"block_{number}"})
    assert contracts == 2
    said = capsys.readouterr().out
    assert "Put(account=make_account('alice'), amount=5)" in said
    assert "Battery" in said and "withdraw" not in said  # the table of gas of the test


def test_solidity_habits_have_their_row() -> None:
    rows = table_rows(PAGE, "in Solidity")
    assert len(rows) > 20
    assert all(len(row) == 2 and all(row) for row in rows)


def test_all_that_is_allowed_is_on_the_page_and_nothing_else() -> None:
    _, _, rest = PAGE.read_text().partition("<!-- allowed -->\n")
    shown, _, _ = rest.partition("\n<!-- /allowed -->")
    assert shown.splitlines() == describe_allowed(), "see wattledger contract rules"
