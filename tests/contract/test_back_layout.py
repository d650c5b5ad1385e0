"""The storage layout against solc's own `storageLayout`, declaration by declaration."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.contract.layout import describe_layout, name_value_type
from ledger.contract.model import ContractModel, StorageField
from ledger.contract.types import (
    ADDRESS,
    BOOL,
    BYTES,
    STRING,
    ArrayType,
    BytesType,
    EnumType,
    FixedBytesType,
    FixedListType,
    IntType,
    ListType,
    MapType,
    OptionalType,
    RoleType,
    StringType,
    StructType,
)

NODE_MODULES = Path(__file__).parents[2] / ".tools" / "node" / "node_modules"
COMPILE = """
const solc = require("solc");
let text = "";
process.stdin.on("data", (chunk) => (text += chunk));
process.stdin.on("end", () => {
  const output = JSON.parse(solc.compile(text));
  const wrong = (output.errors || []).filter((each) => each.severity === "error");
  if (wrong.length) throw new Error(JSON.stringify(wrong));
  process.stdout.write(JSON.stringify(output.contracts["a.sol"]));
});
"""


def run_solc(source: str) -> Any:
    """Every contract of a source with its storage layout, as solc has it."""
    if not (NODE_MODULES / "solc").is_dir() or shutil.which("node") is None:
        pytest.skip("solc: npm install --prefix .tools/node solc ethers")
    request = {
        "language": "Solidity",
        "sources": {"a.sol": {"content": source}},
        "settings": {"outputSelection": {"*": {"*": ["storageLayout"]}}},
    }
    done = subprocess.run(
        ["node", "-e", COMPILE],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        env={"NODE_PATH": str(NODE_MODULES), "PATH": "/usr/bin:/bin:/usr/local/bin"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Twin:
    """The same declarations in Solidity; structs and Optionals become named structs."""

    def __init__(self) -> None:
        self.structs: dict[str, str] = {}

    def name(self, type: Any) -> str:
        match type:
            case StringType():
                return "string"
            case BytesType():
                return "bytes"
            case ArrayType() | ListType():
                return f"{self.name(type.element)}[]"
            case FixedListType():
                return f"{self.name(type.element)}[{type.size}]"
            case EnumType():
                self.structs[type.name] = f"enum {type.name} {{ {', '.join(type.members)} }}"
                return type.name
            case RoleType():
                return "mapping(address => bool)"
            case MapType():
                text = self.name(type.value)
                for key in reversed(type.keys):
                    text = f"mapping({self.name(key)} => {text})"
                return text
            case OptionalType():
                inner = self.name(type.value)
                name = f"Optional_{inner}"
                self.structs[name] = f"struct {name} {{ bool present; {inner} value; }}"
                return name
            case StructType():
                members = "".join(f" {self.name(member)} {name};" for name, member in type.fields)
                self.structs[type.name] = f"struct {type.name} {{{members} }}"
                return type.name
        return name_value_type(type)

    def contract(self, name: str, fields: list[Any]) -> str:
        lines = [f"{self.name(type)} field{index};" for index, type in enumerate(fields)]
        return f"contract {name} {{ {' '.join([*self.structs.values(), *lines])} }}"


def describe(name: str, fields: list[Any]) -> Any:
    declared = [StorageField(f"field{index}", type) for index, type in enumerate(fields)]
    model = ContractModel(name, "", tuple(declared), (), (), (), ())
    return describe_layout(model)


def normalize(layout: Any) -> Any:
    """Without what belongs to solc alone: numbers of the syntax tree, and the file's name."""
    text = re.sub(r"Optional\[(\w+)\]", r"Optional_\1", json.dumps(layout))
    loaded = json.loads(re.sub(r"(\(\w+\))\d+(?=[_)\",])", r"\1", text))

    def clean(entry: Any) -> Any:
        if isinstance(entry, list):
            return [clean(each) for each in entry]
        if isinstance(entry, dict):
            dropped = ("astId", "contract")
            return {key: clean(value) for key, value in entry.items() if key not in dropped}
        return entry

    return clean(loaded)


def lay_out(declarations: list[list[Any]]) -> list[Any]:
    """A layout for each list of fields."""
    return [normalize(describe(f"C{index}", fields)) for index, fields in enumerate(declarations)]


def lay_out_by_solc(declarations: list[list[Any]]) -> list[Any]:
    sources = [Twin().contract(f"C{index}", fields) for index, fields in enumerate(declarations)]
    compiled = run_solc(
        "// SPDX-License-Identifier: MIT\npragma solidity ^0.8.0;" + "".join(sources)
    )
    layouts = [normalize(compiled[f"C{index}"]["storageLayout"]) for index in range(len(sources))]
    return [layout | {"types": layout["types"] or {}} for layout in layouts]


def uint(bits: int) -> IntType:
    return IntType(bits, False)


READING = StructType(
    "Reading",
    (("import_wh", uint(64)), ("export_wh", uint(64)), ("quality", uint(8)), ("set", BOOL)),
)
WIDE = StructType(
    "Wide",
    (("who", ADDRESS), ("total", uint(256)), ("why", STRING), ("flag", BOOL), ("day", uint(32))),
)
STAGE = EnumType("Stage", ("IDLE", "OPEN", "CLOSED"))
NESTED = StructType(
    "Nested",
    (
        ("stage", STAGE),
        ("first", READING),
        ("shares", FixedListType(uint(16), 24)),
        ("names", FixedListType(STRING, 2)),
        ("meters", ListType(ADDRESS)),
        ("last", BOOL),
    ),
)
EXAMPLES: list[list[Any]] = [
    [BOOL, STAGE, FixedListType(STAGE, 33), STAGE, FixedListType(uint(128), 3), BOOL],
    [FixedListType(FixedListType(uint(64), 3), 2), FixedListType(READING, 2), NESTED, BOOL],
    [MapType((STAGE, ADDRESS), MapType((STRING,), ArrayType(NESTED))), FixedListType(STRING, 2)],
    [ArrayType(ArrayType(uint(8))), ArrayType(MapType((ADDRESS,), ArrayType(BOOL))), STAGE],
    [ArrayType(FixedListType(uint(40), 7)), MapType((ADDRESS,), FixedListType(ADDRESS, 3)), BOOL],
    [uint(8), uint(8), uint(256), uint(8)],
    [ADDRESS, BOOL, uint(88), uint(8)],
    [ArrayType(ADDRESS), MapType((ADDRESS,), BOOL), MapType((ADDRESS,), BOOL), ADDRESS, BOOL],
    [RoleType(), RoleType(), MapType((ADDRESS, uint(32)), OptionalType(uint(64)))],
    [BOOL, READING, BOOL, WIDE, BOOL],
    [MapType((ADDRESS, uint(32)), READING), MapType((uint(16),), MapType((BOOL,), WIDE))],
    [
        MapType((uint(8),), OptionalType(type))
        for type in (uint(248), uint(256), STRING, READING, BOOL)
    ],
    [STRING, BYTES, BOOL, STRING, IntType(128, True), IntType(136, True)],
    [ArrayType(type) for type in (uint(8), uint(24), uint(256), STRING, READING, WIDE, BOOL)],
    [
        MapType((key,), uint(8))
        for key in (STRING, BYTES, BOOL, FixedBytesType(4), IntType(8, True))
    ],
    [MapType((ADDRESS,), ArrayType(uint(64))), FixedBytesType(31), uint(8), FixedBytesType(1)],
]


def test_the_layout_is_that_of_solc():
    assert lay_out(EXAMPLES) == lay_out_by_solc(EXAMPLES)


words = st.one_of(
    st.builds(IntType, st.integers(1, 32).map(lambda n: 8 * n), st.booleans()),
    st.just(BOOL),
    st.just(ADDRESS),
    st.builds(FixedBytesType, st.integers(1, 32)),
)
words = words | st.just(STAGE)
named = words | st.sampled_from([STRING, BYTES, READING, WIDE, NESTED])
values = named | st.builds(FixedListType, named, st.integers(1, 40))
fields = st.one_of(
    words,
    values,
    values.map(ArrayType),
    st.just(RoleType()),
    st.builds(
        MapType,
        st.lists(words | st.sampled_from([STRING, BYTES]), min_size=1, max_size=3).map(tuple),
        values | named.map(OptionalType),
    ),
)


@settings(max_examples=1)
@given(st.lists(st.lists(fields, min_size=1, max_size=12), min_size=60, max_size=60))
def test_generated_declarations_are_laid_out_as_by_solc(declarations):
    assert lay_out(declarations) == lay_out_by_solc(declarations)
