"""The names a contract source may use and bind, and the types its annotations name (R4, R6, R7).

What belongs here: the closed lists of names, what a module has declared so far, and annotations and
literals read against both. Statements are `parse`'s and `check`'s.
"""

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ledger.contract.model import InterfaceModel, RecordModel
from ledger.contract.rules import breach
from ledger.contract.types import (
    ADDRESS,
    BOOL,
    BYTES,
    SEQUENCES,
    STRING,
    AddressType,
    ArrayType,
    BoolType,
    EnumType,
    FixedBytesType,
    FixedListType,
    IntType,
    ListType,
    MapType,
    OptionalType,
    StorageType,
    StructType,
    TupleType,
    ValueType,
    count_levels,
    count_nodes,
    count_parts,
)

if TYPE_CHECKING:
    from ledger.contract.classes import Class

STORAGE_DEPTH_MAX = 16
"""Containers nested in one storage field: more than anybody reads."""
LIST_DEPTH_MAX = 4
"""Lists within lists, in memory or as one value of storage."""
PARTS_MAX = 4_096
"""Values in one struct or fixed list: what is read, written and compared as a whole."""
NODES_MAX = 128
"""Types that a struct, a record's fields or a method's parameters and results spell out to: structs
in structs multiply, and each mention of one is walked through, at deploy and when it is used."""
FIXED_ITEMS_MAX = 1 << 16
"""Of a fixed array that is a storage field, whose elements are used one by one."""

VALUE_NAMES: dict[str, ValueType] = {
    **{f"uint{bits}": IntType(bits, False) for bits in range(8, 257, 8)},
    **{f"int{bits}": IntType(bits, True) for bits in range(8, 257, 8)},
    **{f"bytes{size}": FixedBytesType(size) for size in range(1, 33)},
    **{"address": ADDRESS, "string": STRING},
}
_API_NAMES = """
Contract Interface CallFailed Enum Event Revert Struct Map Array Fixed Role Optional indexed
view write payable override
ZERO_ADDRESS ROUND_FLOOR ROUND_CEILING ROUND_HALF_UP ROUND_HALF_EVEN mul_div
keccak256 ecrecover hash_struct eip712_domain eip712_digest abi_encode abi_encode_packed abi_decode
coin_balance has_code interface_id
"""
_BUILTIN_NAMES = """
abs aiter all anext any ascii bin bool breakpoint bytearray bytes callable chr classmethod compile
complex copyright credits delattr dict dir divmod enumerate eval exec exit filter float format
frozenset getattr globals hasattr hash help hex id input int isinstance issubclass iter len license
list locals map max memoryview min next object oct open ord pow print property quit range repr
reversed round set setattr slice sorted staticmethod str sum super tuple type vars zip
"""
EXPORTS = frozenset(VALUE_NAMES) | frozenset(_API_NAMES.split())
"""What `from ledger.contract import` may name; a test compares it with `api`."""
BUILTINS = frozenset(_BUILTIN_NAMES.split())
"""Frozen: a list read from the running Python would differ by version."""
SELF_NAMES = frozenset(("msg", "block", "address", "balance", "emit", "send", "allocate"))
"""What `self` has besides the contract's own fields and methods; the last is the host's alone."""
SCALARS = (IntType, BoolType, AddressType, FixedBytesType, EnumType)


def check_name(name: str, at: ast.AST) -> None:
    """R4: a name that no store may bind, wherever it stands."""
    if name in BUILTINS or name in EXPORTS or name == "self" or "__" in name:
        hint = f"{name} means something else already"
        raise breach("binding", at, f"{hint}; {name.strip('_')}_ is {name.strip('_')} outside")


def type_of_literal(value: int | str | bytes) -> ValueType:
    """The narrowest type; by exact type, for True is an int."""
    if type(value) is bool:
        return BOOL
    if isinstance(value, int):
        return IntType(value.bit_length() + (value < 0), value < 0)
    return STRING if isinstance(value, str) else BYTES


def literal_fits(value: object, wanted: ValueType) -> bool:
    """Whether a literal can stand where `wanted` is asked for."""
    if isinstance(wanted, IntType):
        low, high = wanted.bounds
        return type(value) is int and low <= value < high
    if isinstance(wanted, FixedBytesType | AddressType):
        size = wanted.size if isinstance(wanted, FixedBytesType) else 20
        return type(value) is bytes and len(value) == size
    return type(value) is {BOOL: bool, STRING: str, BYTES: bytes}.get(wanted)


@dataclass(slots=True, eq=False)
class Declarations:
    """What the module has declared so far; annotations are read against it."""

    imported: set[str] = field(default_factory=set)
    structs: dict[str, StructType] = field(default_factory=dict)
    enums: dict[str, EnumType] = field(default_factory=dict)
    interfaces: dict[str, InterfaceModel] = field(default_factory=dict)
    events: dict[str, RecordModel] = field(default_factory=dict)
    errors: dict[str, RecordModel] = field(default_factory=dict)
    constants: dict[str, int | bool | str | bytes] = field(default_factory=dict)
    constant_types: dict[str, ValueType] = field(default_factory=dict)
    classes: dict[str, "Class"] = field(default_factory=dict)  # contracts, those imported too
    names: set[str] = field(default_factory=set)  # everything a module-level statement binds

    def bind(self, name: str, at: ast.AST) -> None:
        """R4 for a module-level name."""
        check_name(name, at)
        if name in self.names:
            raise breach("binding", at, f"{name} is declared twice")
        self.names.add(name)

    def adopt(self, name: str, module: "Declarations", at: ast.AST) -> None:
        """Import one name that a module of the standard library declares."""
        self.bind(name, at)
        kinds = ("classes", "events", "errors", "structs", "constants", "constant_types")
        for kind in kinds:
            found = getattr(module, kind)
            if name in found:
                getattr(self, kind)[name] = found[name]

    def has(self, node: ast.AST, name: str) -> bool:
        """Whether `node` is the imported export `name`."""
        return isinstance(node, ast.Name) and node.id == name and name in self.imported

    def find_value(self, name: str) -> ValueType | None:
        """The imported type `name`, as it is called to convert."""
        return VALUE_NAMES.get(name) if name in self.imported else None

    def read_value(self, node: ast.expr | ast.arg) -> ValueType:
        """The type an annotation names, of a value inside a method or at a door."""
        if isinstance(node, ast.Name):
            if node.id == "bool" or node.id == "bytes":
                return BOOL if node.id == "bool" else BYTES
            declared = self.structs.get(node.id) or self.enums.get(node.id)
            if declared is not None:
                return declared
            if node.id in VALUE_NAMES:
                if node.id not in self.imported:
                    raise breach("name", node, f"import {node.id} from ledger.contract")
                return VALUE_NAMES[node.id]
        elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            if node.value.id == "list":
                return self.bounded(ListType(self.read_item(node.slice)), node)
            if self.has(node.value, "Fixed"):
                held, size = self.read_fixed(node)
                if isinstance(held, ast.Subscript) and self.is_list(held):
                    return self.bounded(FixedListType(self.read_item(held.slice), size), node)
            if node.value.id == "tuple" and isinstance(node.slice, ast.Tuple):
                return self.read_tuple(node.slice)
        hint = {"int": "say how wide: uint256, int64, ...", "str": "text is `string` here"}
        raise breach("annotation", node, hint.get(getattr(node, "id", "")))

    def read_tuple(self, node: ast.Tuple) -> TupleType:
        if not node.elts:
            raise breach("annotation", node, "tuple[a, b]")
        return TupleType(tuple([self.read_item(item) for item in node.elts]))

    def read_item(self, node: ast.expr) -> ValueType:
        """The element of a list or tuple."""
        value = self.read_value(node)
        if isinstance(value, TupleType):
            raise breach("type", node, "lists and tuples hold values or Structs, not tuples")
        return value

    @staticmethod
    def check_nodes(kinds: Iterable[ValueType], at: ast.AST) -> None:
        """R7: what is declared together, or encoded together, spells out to a bounded size."""
        if sum([count_nodes(kind) for kind in kinds]) > NODES_MAX:
            raise breach("type", at, f"with the members of structs these are over {NODES_MAX}")

    @staticmethod
    def is_list(node: ast.expr) -> bool:
        return isinstance(node, ast.Subscript) and getattr(node.value, "id", "") == "list"

    def read_fixed(self, node: ast.Subscript) -> tuple[ast.expr, int]:
        """`Fixed[list[T], N]`: the list and N, a literal or a constant of the module."""
        if isinstance(node.slice, ast.Tuple) and len(node.slice.elts) == 2:
            held, count = node.slice.elts
            size = self.constants.get(getattr(count, "id", ""), getattr(count, "value", None))
            if type(size) is int and 1 <= size <= FIXED_ITEMS_MAX:
                return held, size
        raise breach("annotation", node, f"Fixed[list[T], N], N from 1 to {FIXED_ITEMS_MAX}")

    def bounded(self, kind: ValueType, at: ast.AST, parts_max: int = PARTS_MAX) -> ValueType:
        """R7: what is handled as a whole has a bounded size."""
        if count_levels(kind) > LIST_DEPTH_MAX:
            raise breach("type", at, f"lists nest at most {LIST_DEPTH_MAX} deep")
        if count_parts(kind) > parts_max:
            raise breach("type", at, f"one value has at most {parts_max} parts")
        return kind

    def read_storage(self, node: ast.expr, depth: int = 1) -> StorageType:
        """The type of a storage field, or of what a container holds when `depth` is above 1."""
        if depth > STORAGE_DEPTH_MAX:
            raise breach("type", node, f"containers nest at most {STORAGE_DEPTH_MAX} deep")
        if isinstance(node, ast.Subscript):
            if self.has(node.value, "Map"):
                if not isinstance(node.slice, ast.Tuple) or len(node.slice.elts) != 2:
                    raise breach("annotation", node, "Map[key, value], Map[tuple[a, b], value]")
                key, value = node.slice.elts
                return MapType(self.read_keys(key), self.read_storage(value, depth + 1))
            if self.has(node.value, "Array"):
                element = self.read_storage(node.slice, depth + 1)
                if isinstance(element, OptionalType):
                    raise breach("type", node, "Optional is for the values of a Map")
                return ArrayType(element)
            if self.has(node.value, "Optional") and depth > 1:
                held = self.read_value(node.slice)
                if isinstance(held, (*SCALARS, StructType)):
                    return OptionalType(held)
                raise breach("type", node, "what is Optional is a scalar or a Struct")
            if self.has(node.value, "Fixed"):
                held_node, size = self.read_fixed(node)
                if isinstance(held_node, ast.Subscript) and self.is_list(held_node):
                    element = self.read_item(held_node.slice)
                    return self.bounded(FixedListType(element, size), node, FIXED_ITEMS_MAX)
        stored = self.read_value(node)
        if isinstance(stored, ListType | TupleType):
            raise breach("type", node, "storage holds an Array, not a list or tuple")
        return stored

    def read_keys(self, node: ast.expr) -> tuple[ValueType, ...]:
        read = self.read_value(node)
        keys = read.elements if isinstance(read, TupleType) else (read,)
        if any(isinstance(key, (StructType, TupleType, *SEQUENCES)) for key in keys):
            raise breach("type", node, "a key is a scalar, string or bytes; or a tuple of these")
        return keys
