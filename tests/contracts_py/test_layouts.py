"""Where each standard contract keeps its fields: what is deployed can be upgraded while it stays.

`layouts.txt` beside this was written when the contracts were released. A field that moves, or is
made wider, refuses the upgrade of every contract in use. Appending one is fine: then add its line.
"""

from pathlib import Path

import pytest

from ledger.contract.layout import describe_layout
from ledger.contract.parse import parse_contract
from tests.contracts_py.sources import read_contract

RELEASED = Path(__file__).with_name("layouts.txt").read_text().split("# ")[1:]


def write_layout(name: str) -> str:
    """A line a field, `slot offset name type`, then one a struct with its members."""
    layout = describe_layout(parse_contract(read_contract(name)).model)
    types = {key: entry["label"] for key, entry in layout["types"].items()}
    lines = [name]
    for entry in layout["storage"]:
        place = f"{entry['slot']} {entry['offset']}"
        lines.append(f"{place} {entry['label']} {types[entry['type']]}")
    for entry in layout["types"].values():
        for each in entry.get("members", ()):
            place = f"{entry['label']} {each['slot']} {each['offset']}"
            lines.append(f"{place} {each['label']} {types[each['type']]}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("released", RELEASED, ids=lambda text: text.split()[0])
def test_what_is_in_use_can_be_upgraded(released: str) -> None:
    assert write_layout(released.split()[0]) == released


def test_every_contract_has_its_layout() -> None:
    folder = Path(__file__).parents[2] / "contracts_py"
    names = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert {text.split()[0] for text in RELEASED} == names
