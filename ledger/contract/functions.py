"""The functions a source imports or finds built in: what they take and give (rules R5, R7, R11).

What belongs here: conversions, arithmetic over lists, hashes and encodings. Those of the host are
methods of it whose names no source can spell; the sized ones are methods of `helpers.Sized`.
"""

import ast
from typing import cast

from ledger.contract import ranges
from ledger.contract.annotations import SCALARS
from ledger.contract.expressions import Expressions
from ledger.contract.places import (
    ARRAY_ITEMS_MAX,
    LIST_ITEMS_MAX,
    TEXT_SIZE_MAX,
    Type,
    describe,
    inside,
)
from ledger.contract.ranges import INT, Range, range_of
from ledger.contract.rules import breach
from ledger.contract.types import (
    ADDRESS,
    BOOL,
    BYTES,
    BYTES32,
    HANDLES,
    INT256,
    SEQUENCES,
    STRING,
    UINT256,
    AddressType,
    ArrayType,
    EnumType,
    FixedBytesType,
    FixedListType,
    IntType,
    ListType,
    StorageType,
    StructType,
    TupleType,
    ValueType,
)

ROUNDINGS = ("ROUND_FLOOR", "ROUND_CEILING", "ROUND_HALF_UP", "ROUND_HALF_EVEN")
"""Of `mul_div`, in decimal's words: HALF_UP goes away from zero, FLOOR towards minus infinity."""
HOST_FUNCTIONS: dict[str, tuple[tuple[ValueType, ...], ValueType]] = {
    "eip712_domain": ((STRING, STRING), BYTES32),
    "eip712_digest": ((BYTES32, BYTES32), BYTES32),
    "coin_balance": ((ADDRESS,), UINT256),
    "has_code": ((ADDRESS,), BOOL),
}
"""Exports with one signature."""
HOST_METHODS = {
    name: f"{name}__" for name in (*HOST_FUNCTIONS, "keccak256", "ecrecover", "hash_struct")
} | {
    "coin_balance": "balance_of__",
    "abi_encode": "abi_encode__",
    "abi_encode_packed": "abi_packed__",
    "abi_decode": "abi_decode__",
}
"""The host's methods behind exports; no source can spell their names."""
SIGNATURE_PARTS = (BYTES32, IntType(8, False), BYTES32, BYTES32)


class Functions(Expressions):
    """Types calls of plain names, but for records and proxies."""

    def by_name(self, node: ast.Call, name: str) -> Type:
        """An export, a conversion or a builtin."""
        if node.keywords:
            raise breach("form", node, "names of arguments are for records only")
        declared = self.declarations
        if len(node.args) == 1:
            converted = self.conversion(node, name, node.args[0])
            if converted is not None:
                return converted
        if name in declared.imported:
            return self.exported(node, name)
        if name in declared.names:
            raise breach("type", node, "events stand in self.emit(...), reverts in raise")
        return self.builtin(node, name)

    def exported(self, node: ast.Call, name: str) -> Type:
        """What a source imports; a method of the host but for `mul_div`."""
        arguments = node.args
        if name in HOST_FUNCTIONS:
            wanted, result = HOST_FUNCTIONS[name]
            self.expect_all(arguments, wanted, node, door=False)
            return inside(result)
        if name == "keccak256" and len(arguments) == 1:
            self.expect_bytes(arguments[0])
            return BYTES32
        if name == "ecrecover":
            if len(arguments) == len(SIGNATURE_PARTS):
                self.expect_all(arguments, SIGNATURE_PARTS, node, door=False)
            else:
                self.expect_all(arguments, (BYTES32, BYTES), node, door=False)
            return ADDRESS
        if name == "hash_struct" and len(arguments) == 1:
            if isinstance(self.value(arguments[0]), StructType):
                return BYTES32
        elif name in ("abi_encode", "abi_encode_packed") and arguments:
            packed = name == "abi_encode_packed"
            self.number_codec(node, tuple([self.encoded(item, packed) for item in arguments]))
            return BYTES
        elif name == "abi_decode" and len(arguments) > 1:
            self.expect_bytes(arguments[0])
            types = tuple([self.declarations.read_item(item) for item in arguments[1:]])
            self.number_codec(node, types)
            return inside(types[0]) if len(types) == 1 else TupleType(types)
        elif name == "interface_id" and len(arguments) == 1:
            if getattr(arguments[0], "id", "") in self.declarations.interfaces:
                return FixedBytesType(4)
        elif name == "mul_div" and len(arguments) == 4:
            return self.mul_div(node)
        raise breach("type", node, f"{name} is not called like this")

    def expect_bytes(self, node: ast.expr) -> None:
        """bytes, or a bytesN, which are the same inside."""
        kind = self.value(node)
        if kind != BYTES and not isinstance(kind, FixedBytesType):
            raise breach("type", node, f"bytes are needed, this is {describe(kind)}")

    def number_codec(self, node: ast.Call, types: tuple[ValueType, ...]) -> None:
        self.declarations.check_nodes(types, node)
        known = self.parsed.codecs
        self.codecs[node] = known.setdefault(types, len(known))

    def encoded(self, node: ast.expr, packed: bool) -> ValueType:
        """The type a value is encoded as; packed, an integer must have said its width."""
        kind = self.value(node)
        if isinstance(kind, Range):
            declared = self.width_of(node)
            if declared is None and packed:
                raise breach("type", node, "say how wide: uint256(...), uint8(...)")
            return declared or (UINT256 if kind.low >= 0 else INT256)
        if isinstance(kind, TupleType):
            raise breach("type", node, "unpack it before")
        element = kind.element if isinstance(kind, ListType | FixedListType) else ADDRESS
        if packed and (isinstance(kind, StructType) or not isinstance(element, SCALARS)):
            raise breach("type", node, "only scalars, text and lists of scalars are packed")
        return cast(ValueType, kind)

    def width_of(self, node: ast.expr) -> IntType | None:
        """The declared type of an integer: of a conversion, an annotated local, a stored place."""
        kind: StorageType | None = None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            kind = self.declarations.find_value(node.func.id)
        elif isinstance(node, ast.Name):
            kind = self.declared.get(node.id)
        elif node in self.stored and isinstance(node, ast.Attribute | ast.Subscript):
            kind = self.declared_type(node)
        return kind if isinstance(kind, IntType) else None

    def mul_div(self, node: ast.Call) -> Type:
        """a * b // c without overflow between, rounded as the fourth argument says."""
        a, b, c = [self.integer(item) for item in node.args[:3]]
        mode = node.args[3]
        if not (isinstance(mode, ast.Name) and mode.id in ROUNDINGS):
            raise breach("type", mode, "say how to round: " + ", ".join(ROUNDINGS))
        if mode.id not in self.declarations.imported:
            raise breach("name", mode)
        self.helpers[node] = "mul_div"
        product = ranges.compute_binary(ast.Mult(), a, b)
        assert product is not None
        low = ranges.compute_quotient(product, c)
        return Range(low.low - 1, low.high + 1).clip(INT) if low.low < 0 else Range(0, low.high + 1)

    def conversion(self, node: ast.Call, name: str, item: ast.expr) -> Type | None:
        """`uint64(x)` of an integer or enum, `State(x)` of an integer, `list(...)` of a list."""
        declared = self.declarations
        if name in declared.enums:
            self.integer(item)
            self.helpers[node] = "member"
            return declared.enums[name]
        kind = declared.find_value(name)
        if name == "bytes":
            return self.to_bytes(node, BYTES, item)
        if isinstance(kind, AddressType | FixedBytesType):
            return self.to_bytes(node, kind, item)
        if isinstance(kind, IntType):
            wanted = range_of(kind)
            found = self.value(item)
            if isinstance(found, FixedBytesType) and not kind.signed:
                if found.size * 8 != kind.bits:
                    raise breach("type", node, f"bytes{found.size} is a uint{found.size * 8}")
                self.helpers[node] = "number"
                return wanted
            if isinstance(found, EnumType):
                numbers = Range(0, len(found.members) - 1)
                if not numbers.within(wanted):
                    self.tested[node] = wanted
                return numbers
            return self.integer(item, wanted)
        if name == "list":
            held = self.place(item)
            if isinstance(held, ArrayType) and not isinstance(held.element, HANDLES):
                return ListType(held.element)
            if isinstance(held, SEQUENCES):
                if item not in self.stored:
                    self.helpers[node] = "copy"
                return held
            raise breach("type", item, "list(...) copies a list, or an Array of values")
        return None

    def to_bytes(self, node: ast.Call, wanted: ValueType, item: ast.expr) -> Type:
        """`bytes32(x)` of a uint256 or of bytes with just that size; `bytes(x)` of any bytesN."""
        found = self.value(item)
        binary = found in (BYTES, ADDRESS) or isinstance(found, FixedBytesType)
        if wanted == BYTES and binary:
            return BYTES
        if isinstance(wanted, FixedBytesType) and isinstance(found, Range):
            self.integer(item, Range(0, (1 << 8 * wanted.size) - 1))
            self.helpers[node] = "spell"
            return wanted
        if binary and wanted != BYTES:
            self.helpers[node] = "sized"
            return wanted
        raise breach("type", node, f"{describe(found)} is no {describe(wanted)}")

    def builtin(self, node: ast.Call, name: str) -> Type:
        """A call of a function of Python: the type of its result. Raises a breach of R7."""
        arguments = node.args
        if name == "len" and len(arguments) == 1:
            kind = self.place(arguments[0])
            if isinstance(kind, FixedListType):
                return Range(kind.size, kind.size)
            if kind == BYTES or isinstance(kind, ListType | ArrayType):
                stored = isinstance(kind, ArrayType) or arguments[0] in self.stored
                return Range(0, ARRAY_ITEMS_MAX if stored else TEXT_SIZE_MAX)
            raise breach("type", node, f"{describe(kind)} has no length")
        if name == "abs" and len(arguments) == 1:
            return ranges.compute_abs(self.integer(arguments[0]))
        if name == "divmod" and len(arguments) == 2:
            a, b = self.integer(arguments[0]), self.integer(arguments[1])
            self.helpers[node] = "divide"
            quotient = ranges.compute_binary(ast.FloorDiv(), a, b)
            remainder = ranges.compute_binary(ast.Mod(), a, b)
            return TupleType(cast(tuple[ValueType, ...], (quotient, remainder)))
        if name in ("min", "max", "sum") and len(arguments) == 1:
            return self.over_list(node, name)
        if name in ("any", "all") and len(arguments) == 1:
            held = self.value(arguments[0]) if not self.is_generator(arguments[0]) else None
            one = self.generated(arguments[0]) if held is None else BOOL
            if one != BOOL or (isinstance(held, SEQUENCES) and held.element != BOOL):
                raise breach("type", node, f"{name} takes a list of bool")
            if held is not None and not isinstance(held, SEQUENCES):
                raise breach("type", node, f"{name} takes a list of bool")
            self.helpers[node] = {"any": "some", "all": "every"}[name]
            return BOOL
        if name == "sorted" and len(arguments) == 1:
            held = self.value(arguments[0])
            if isinstance(held, SEQUENCES) and isinstance(held.element, SCALARS):
                self.helpers[node] = "arrange"
                return ListType(held.element)
            raise breach("type", node, "sorted takes a list of scalars")
        if name in ("min", "max") and len(arguments) > 1:
            found = [self.integer(item) for item in arguments]
            pick = min if name == "min" else max
            return Range(pick(item.low for item in found), pick(item.high for item in found))
        if name in ("range", "enumerate", "zip"):
            raise breach("type", node, f"{name}() is for the head of a for loop")
        raise breach("name", node, "not a function of this language")

    def is_generator(self, node: ast.expr) -> bool:
        return isinstance(node, ast.GeneratorExp)

    def generated(self, node: ast.expr) -> Type:
        """The elements of a generator that stands alone in a call: it becomes a list."""
        assert isinstance(node, ast.GeneratorExp)
        if node not in self.types:
            self.types[node] = self.comprehension(node, None)
        return self.types[node]

    def over_list(self, node: ast.Call, name: str) -> Type:
        """min, max or sum of one list of integers; a sum is as wide as the longest list."""
        if self.is_generator(node.args[0]):
            item: Type | None = self.generated(node.args[0])
        else:
            kind = self.value(node.args[0])
            item = inside(kind.element) if isinstance(kind, SEQUENCES) else None
        if not isinstance(item, Range):
            raise breach("type", node, f"{name} takes a list of integers")
        self.helpers[node] = {"min": "least", "max": "greatest", "sum": "total"}[name]
        if name == "sum":
            return Range(min(0, item.low * LIST_ITEMS_MAX), max(0, item.high * LIST_ITEMS_MAX))
        return item
