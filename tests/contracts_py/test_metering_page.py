"""docs/metering.md is run, and its tables name what the contract has."""

from contracts_py.metering import Terms
from tests.docs.pages import DOCS, code_blocks, table_rows

PAGE = DOCS / "metering.md"


def test_the_example_runs():
    (example,) = code_blocks(PAGE, "python")
    names: dict = {}
    exec(compile(example, str(PAGE), "exec"), names)
    assert names["found"].total == 9_550 + 750 + 1_957 - 480


def test_the_terms_are_those_of_the_contract():
    names = [name for row in table_rows(PAGE, "field") for name in row[0].split(", ")]
    words = [name.strip("`") for name in names]
    snake = ["".join("_" + c.lower() if c.isupper() else c for c in word) for word in words]
    assert snake == list(Terms.__annotations__)
