"""The table of prices in docs/contracts.md is that of the code."""

from benchmarks.schedule import make_table, read_documented
from ledger.contract import gas


def test_the_documented_schedule_is_that_of_the_code() -> None:
    assert read_documented() == make_table(), "run `python -m benchmarks.schedule`"


def test_every_price_is_in_the_table() -> None:
    table = make_table()
    for name, value in vars(gas).items():
        if isinstance(value, int) and name.isupper():
            assert f"| `{name}` | {value:,} |" in table, name
        elif name.startswith("price_"):
            assert f"| `{name}` |" in table, name
