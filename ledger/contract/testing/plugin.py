"""What the kit adds to a run of pytest: a table of the gas that contract calls used.

`pytest -p ledger.contract.testing.plugin` prints it at the end; with `--gas-json FILE` it goes to
a file instead, which is how `wattledger contract gas` reads it.
"""

import json
from pathlib import Path
from typing import Any

from ledger.contract.testing.gas_report import GasReport, share_report

_report = GasReport()


def pytest_addoption(parser: Any) -> None:
    parser.addoption("--gas-json", metavar="FILE", help="write the gas of contract calls as JSON")


def pytest_configure(config: Any) -> None:
    share_report(_report)


def pytest_unconfigure(config: Any) -> None:
    share_report(None)


def pytest_terminal_summary(terminalreporter: Any, config: Any) -> None:
    rows = _report.rows()
    file = config.getoption("--gas-json")
    if file:
        Path(file).write_text(json.dumps([row._asdict() for row in rows]))
    elif rows:
        terminalreporter.section("gas")
        terminalreporter.write_line(str(_report))
