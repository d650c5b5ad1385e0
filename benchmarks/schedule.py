"""The schedule of prices as Markdown: `python -m benchmarks.schedule`.

Made of `ledger.contract.gas`, written between the markers of docs/contracts.md; a test holds them
together.
"""

import inspect
import re
from pathlib import Path

from ledger.contract import gas

DOCS = Path(__file__).parents[1] / "docs" / "contracts.md"
BEGIN, END = "<!-- gas -->", "<!-- /gas -->"
_CONSTANT = re.compile(r'^([A-Z_]+) = ([\d_]+)(?:  # ([^\n]+)|\n"""([^"]+)"""|)$', re.MULTILINE)
SIZES = (1, 100, 10_000)
POWER_SIZES = (1, 256, 512)


def make_table() -> str:
    """Rows of name, gas and reason: nodes of the tree, constants, and sized operations."""
    rows = [("price", "gas", "of what"), ("---", "---", "---")]
    for table in (gas.STATEMENT_GAS, gas.EXPRESSION_GAS):
        for price in sorted(set(table.values())):
            names = sorted(kind.__name__ for kind in table if table[kind] == price)
            rows.append((", ".join(names), f"{price}", "each, beside its parts"))
    for name, price, comment, text in _CONSTANT.findall(inspect.getsource(gas)):
        reason = " ".join((comment or text).split()).replace("|", "\\|")
        rows.append((f"`{name}`", f"{int(price.replace('_', '')):,}", reason))
    for name, price_of in sorted(vars(gas).items()):
        if name.startswith("price_") and inspect.isfunction(price_of):
            sizes = POWER_SIZES if name == "price_power" else SIZES
            prices = ", ".join(f"{size:,}: {price_of(size):,}" for size in sizes)
            reason = (price_of.__doc__ or "").split("\n")[0]
            rows.append((f"`{name}`", prices, reason))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def read_documented() -> str:
    """What docs/contracts.md has between the markers."""
    return DOCS.read_text().partition(BEGIN)[2].partition(END)[0].strip()


def main() -> None:
    head, _, rest = DOCS.read_text().partition(BEGIN)
    _, _, tail = rest.partition(END)
    DOCS.write_text(f"{head}{BEGIN}\n{make_table()}\n{END}{tail}")


if __name__ == "__main__":
    main()
