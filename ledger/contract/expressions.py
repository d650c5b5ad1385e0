"""The one static type of every expression of a method (rules R4, R5, R7, R10).

What belongs here: what an expression may be, what it gives, which of its integers must be tested
when it runs, and which operations are sized, so that a helper charges before it works. Statements,
control flow and the call graph are `check`'s.
"""

import ast
from collections.abc import Sequence
from typing import TypeAlias, cast

from ledger.contract import ranges
from ledger.contract.annotations import literal_fits, type_of_literal
from ledger.contract.parse import Parsed
from ledger.contract.ranges import INDEX, INT, Range, range_of
from ledger.contract.rules import breach
from ledger.contract.types import (
    ADDRESS,
    BOOL,
    BYTES,
    STRING,
    AddressType,
    ArrayType,
    BytesType,
    FixedBytesType,
    IntType,
    ListType,
    MapType,
    OptionalType,
    RoleType,
    StorageType,
    StringType,
    StructType,
    TupleType,
)

Type: TypeAlias = Range | StorageType
"""A type inside a method: integers are a Range; a map, array or role is a handle, not a value."""

LIST_ITEMS_MAX = 16_384
TEXT_SIZE_MAX = 65_536
"""Bytes, or characters of a string: longer ones are never made."""
ARRAY_ITEMS_MAX = 1 << 64
"""More appends than anybody can pay for."""

_WORD, _TIME = IntType(256, False), IntType(64, False)
ENVIRONMENT: dict[tuple[str, str], StorageType] = {
    ("", "address"): ADDRESS,
    ("", "balance"): _WORD,
    ("msg", "sender"): ADDRESS,
    ("msg", "value"): _WORD,
    ("block", "timestamp"): _TIME,
    ("block", "number"): _TIME,
}
_HANDLES = (MapType, ArrayType, RoleType, OptionalType)


def inside(kind: StorageType | Range) -> Type:
    """The type a declared value has inside a method."""
    return range_of(kind) if isinstance(kind, IntType) else kind


def is_self(node: ast.expr, attribute: str = "") -> bool:
    """Whether `node` is self, or self.attribute."""
    if attribute:
        return isinstance(node, ast.Attribute) and node.attr == attribute and is_self(node.value)
    return isinstance(node, ast.Name) and node.id == "self"


def describe(kind: Type) -> str:
    """A type in the author's words."""
    if isinstance(kind, StructType | AddressType):
        return kind.name if isinstance(kind, StructType) else "an address"
    names = {Range: "an integer", IntType: "an integer", MapType: "a Map", ArrayType: "an Array"}
    return names.get(type(kind)) or "a " + type(kind).__name__.removesuffix("Type").lower()


class Expressions:
    """Types expressions of one contract; what it finds out is keyed by the tree's nodes."""

    def __init__(self, parsed: Parsed) -> None:
        self.parsed = parsed
        self.fields: dict[str, StorageType] = {f.name: f.type for f in parsed.model.fields}
        self.methods = {method.name: method for method in parsed.model.methods}
        self.types: dict[ast.expr, Type] = {}
        self.tested: dict[ast.expr, Range] = {}  # the values a node may have at run time
        self.helpers: dict[ast.expr, str] = {}  # sized operations: the method of `helpers.Sized`
        self.locals: dict[str, Type] = {}  # of the method at hand
        self.assigned: set[str] = set()
        self.stored: set[str] = set()  # every name the method stores to
        self.calls: dict[str, ast.expr] = {}  # methods it calls, and where
        self.writes: ast.AST | None = None  # where it writes, if it does
        self.iterated: list[str] = []  # lists that loops around this place go through

    # -- what is asked for ------------------------------------------------------------------

    def value(self, node: ast.expr) -> Type:
        """The type of a value; a handle is none (R10)."""
        kind = self.place(node)
        if isinstance(kind, _HANDLES):
            raise breach("handle", node)
        return kind

    def integer(self, node: ast.expr, allowed: Range = INT) -> Range:
        """An integer; it is tested at run time where it may leave `allowed`."""
        kind = self.value(node)
        if not isinstance(kind, Range):
            raise breach("type", node, f"an integer is needed, this is {describe(kind)}")
        if not kind.within(allowed):
            self.tested[node] = allowed
        return kind.clip(allowed)

    def expect(self, node: ast.expr, wanted: StorageType, door: bool = False) -> None:
        """A value of the declared type `wanted`. A `door` of the host tests ranges itself."""
        if isinstance(wanted, ListType) and isinstance(node, ast.List):
            for item in node.elts:
                self.expect(item, wanted.element)
            self.types[node], self.helpers[node] = wanted, "literal"
        elif isinstance(wanted, TupleType) and isinstance(node, ast.Tuple):
            self.expect_all(node.elts, wanted.elements, node, door)
            self.types[node] = wanted
        elif isinstance(wanted, IntType):
            self.integer(node, INT if door else range_of(wanted))
        elif isinstance(wanted, FixedBytesType | AddressType) and isinstance(node, ast.Constant):
            if not literal_fits(node.value, wanted):
                raise breach("type", node, f"{describe(wanted)} is needed")
            self.types[node] = wanted
        elif (found := self.value(node)) != wanted:
            raise breach("type", node, f"this is {describe(found)}, not {describe(wanted)}")

    def expect_all(
        self, nodes: Sequence[ast.expr], wanted: Sequence[StorageType], at: ast.AST, door: bool
    ) -> None:
        if len(nodes) != len(wanted):
            raise breach("type", at, f"{len(wanted)} values are needed, not {len(nodes)}")
        for node, kind in zip(nodes, wanted, strict=True):
            self.expect(node, kind, door)

    def same(self, nodes: Sequence[ast.expr]) -> Type:
        """The one type of several values; of integers, the range that holds them all."""
        kinds = [self.value(node) for node in nodes]
        result = kinds[0]
        for node, kind in zip(nodes, kinds, strict=True):
            if isinstance(kind, Range) and isinstance(result, Range):
                result = result.join(kind)
            elif kind != result:
                raise breach("type", node, f"{describe(kind)} beside {describe(result)}")
        return result

    def place(self, node: ast.expr) -> Type:
        """The type of what stands here, a handle included."""
        kind: Type | None = self.types.get(node)
        if kind is None:
            read = getattr(self, "of_" + type(node).__name__, None)
            if read is None:
                raise breach("form", node, "this cannot stand here")
            self.types[node] = kind = cast(Type, read(node))
        if isinstance(kind, Range) and not kind.within(INT):
            self.tested.setdefault(node, INT)
            return kind.clip(INT)
        return kind

    # -- names, attributes, places -----------------------------------------------------------

    def of_Constant(self, node: ast.Constant) -> Type:
        value = node.value
        if type(value) is int:
            return Range(value, value)
        if isinstance(value, bool | str | bytes):
            return type_of_literal(value)
        raise breach("type", node, "there is no None: use Optional in a Map, and `in`")

    def of_Name(self, node: ast.Name) -> Type:
        name, declared = node.id, self.parsed.declarations
        if name in self.stored or name in self.locals:
            if name not in self.assigned:
                raise breach("unassigned", node)
            return self.locals[name]
        if name in declared.constants:
            value = declared.constants[name]
            return Range(value, value) if type(value) is int else declared.constant_types[name]
        if name == "ZERO_ADDRESS" and name in declared.imported:
            return ADDRESS
        raise breach("handle" if name == "self" else "name", node)

    def of_Attribute(self, node: ast.Attribute) -> Type:
        owner, name = node.value, node.attr
        if is_self(owner) and name in self.fields:
            return inside(self.fields[name])
        if is_self(owner) or is_self(owner, "msg") or is_self(owner, "block"):
            known = ENVIRONMENT.get((owner.attr if isinstance(owner, ast.Attribute) else "", name))
            if known is None:
                raise breach("attribute", node, f"there is no such value: {name}")
            return inside(known)
        kind = self.value(owner)
        fields = dict(kind.fields) if isinstance(kind, StructType) else {}
        if name not in fields:
            raise breach("attribute", node, f"{describe(kind)} has no {name}")
        return inside(fields[name])

    def of_Subscript(self, node: ast.Subscript) -> Type:
        owner = self.place(node.value)
        if isinstance(owner, MapType):
            self.keys(node.slice, owner)
            return inside(owner.plain_value)
        if isinstance(node.slice, ast.Slice):
            if owner != BYTES:
                raise breach("type", node, "only bytes are sliced")
            for end in (node.slice.lower, node.slice.upper):
                if end is not None:
                    self.integer(end)
            self.helpers[node] = "slice"
            return BYTES
        if isinstance(owner, ArrayType):
            self.integer(node.slice)
            return inside(owner.element)
        if not isinstance(owner, ListType) and owner != BYTES:
            raise breach("type", node, f"{describe(owner)} has no elements")
        self.integer(node.slice)
        if not isinstance(node.value, ast.Name):
            self.helpers[node] = "element"
        return inside(owner.element) if isinstance(owner, ListType) else Range(0, 255)

    def keys(self, node: ast.expr, owner: MapType) -> None:
        """`m[a]`, or `m[a, b]` of a map with a tuple of keys."""
        several = len(owner.keys) > 1
        nodes = node.elts if several and isinstance(node, ast.Tuple) else [node]
        self.expect_all(nodes, owner.keys, node, door=True)

    # -- operators ---------------------------------------------------------------------------

    def of_BinOp(self, node: ast.BinOp) -> Type:
        left = self.value(node.left)
        if left in (BYTES, STRING):
            if not isinstance(node.op, ast.Add) or self.value(node.right) != left:
                raise breach("type", node, "text is only added to its like")
            self.helpers[node] = "concat"
            return left
        a = self.integer(node.left)
        if isinstance(node.op, ast.LShift | ast.RShift | ast.Pow):
            b = self.integer(node.right, INDEX)
        else:
            b = self.integer(node.right)
        result = ranges.compute_binary(node.op, a, b)
        if isinstance(node.op, ast.RShift) and b.high > TEXT_SIZE_MAX:
            self.helpers[node] = "shift_right"
        if result is None:
            self.helpers[node] = "power" if isinstance(node.op, ast.Pow) else "shift_left"
            return Range(0 if a.low >= 0 else INT.low, INT.high)
        return result

    def of_UnaryOp(self, node: ast.UnaryOp) -> Type:
        if isinstance(node.op, ast.Not):
            self.expect(node.operand, BOOL)
            return BOOL
        return ranges.compute_unary(node.op, self.integer(node.operand))

    def of_BoolOp(self, node: ast.BoolOp) -> Type:
        for operand in node.values:
            self.expect(operand, BOOL)
        return BOOL

    def of_IfExp(self, node: ast.IfExp) -> Type:
        self.expect(node.test, BOOL)
        return self.same([node.body, node.orelse])

    def of_Compare(self, node: ast.Compare) -> Type:
        values = [node.left, *node.comparators]
        if isinstance(node.ops[0], ast.In | ast.NotIn) and len(node.ops) == 1:
            return self.membership(node)
        kind = self.comparable(values)
        for op in node.ops:
            if isinstance(op, ast.In | ast.NotIn):
                raise breach("type", node, "`in` stands alone")
            if not isinstance(op, ast.Eq | ast.NotEq) and not isinstance(kind, Range):
                raise breach("type", node, "only integers have an order")
        if isinstance(kind, BytesType | StringType):
            if len(node.ops) > 1:
                raise breach("type", node, "compare text two at a time")
            self.helpers[node] = "equal" if isinstance(node.ops[0], ast.Eq) else "differ"
        return BOOL

    def comparable(self, nodes: list[ast.expr]) -> Type:
        """One type; a literal of bytes takes that of the bytesN or address beside it."""
        for node in nodes:
            if not isinstance(node, ast.Constant):
                kind = self.value(node)
                if isinstance(kind, FixedBytesType | AddressType):
                    for other in nodes:
                        self.expect(other, kind)
                    return kind
        kind = self.same(nodes)
        if isinstance(kind, StructType | ListType | TupleType):
            raise breach("type", nodes[0], "compare the parts")
        return kind

    def membership(self, node: ast.Compare) -> Type:
        owner, item = self.place(node.comparators[0]), node.left
        if isinstance(owner, MapType) and isinstance(owner.value, OptionalType):
            self.keys(item, owner)
        elif isinstance(owner, RoleType):
            self.expect(item, ADDRESS)
        elif isinstance(owner, ListType) and not isinstance(owner.element, StructType):
            self.expect(item, owner.element)
            missing = isinstance(node.ops[0], ast.NotIn)
            self.helpers[node] = "lacks" if missing else "contains"
        else:
            raise breach("type", node, "`in` asks a list, a Role, or a Map of Optional values")
        return BOOL
