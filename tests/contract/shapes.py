"""One contract with a bit of everything, in which a test puts a line or two."""

import pytest

from ledger.contract.compile import compile_contract
from ledger.contract.rules import RULES
from ledger.errors import ContractRejected

IMPORT = (
    "from ledger.contract import (Array, Contract, Enum, Event, Fixed, Map, Optional, Revert,\n"
    "    Role, Struct, address, bytes4, bytes32, indexed, int64, payable, string, uint8, uint64,\n"
    "    uint256, view, write, ZERO_ADDRESS)\n"
)
RECORDS = (
    "class Seen(Event):\n    what: uint256\n"
    "class Refused(Revert):\n    why: uint256\n"
    "class Pair(Struct):\n    first: uint64\n    good: bool\n"
)
FIELDS = (
    "    operators = Role()\n"
    "    total: uint256\n"
    "    text: string\n"
    "    blob: bytes\n"
    "    kept: Pair\n"
    "    values: Map[uint256, uint256]\n"
    "    nested: Map[address, Map[uint64, uint256]]\n"
    "    maybe: Map[uint256, Optional[uint64]]\n"
    "    queue: Array[uint64]\n"
    "    lists: Map[uint256, Array[uint64]]\n"
)


def module(body: str = "", head: str = "", tail: str = "", fields: str = "") -> bytes:
    """A contract whose method `run(a, b, xs, data)` has `body`."""
    lines = "\n".join(" " * 8 + line for line in (body or "return a").split("\n"))
    return (
        f"{IMPORT}{head}{RECORDS}class C(Contract):\n{FIELDS}{fields}"
        f"    @write\n    def run(self, a: uint256, b: int64, xs: list[uint64], data: bytes)"
        f" -> uint256:\n{lines}\n{tail}"
    ).encode()


def refusal(source: bytes) -> str:
    with pytest.raises(ContractRejected) as caught:
        compile_contract(source)
    assert caught.value.rule in RULES and caught.value.hint and caught.value.line >= 1
    return caught.value.rule
