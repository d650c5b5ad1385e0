"""What stands in an expression and which type it has: names, attributes, elements.

What belongs here (R4, R5, R7, R10): what is asked of a value, and where it stands. A place in
storage is read and written member by member through the host's references; a map, array or list
there is a handle, used where it is written. Operators are `expressions`, calls `calls`.
"""

import ast
from collections.abc import Sequence
from typing import TypeAlias, cast

from ledger.contract.annotations import literal_fits, type_of_literal
from ledger.contract.parse import Parsed
from ledger.contract.ranges import INT, Range, range_of
from ledger.contract.rules import breach
from ledger.contract.signatures import plain_body
from ledger.contract.types import (
    ADDRESS,
    BYTES,
    HANDLES,
    SEQUENCES,
    AddressType,
    ArrayType,
    EnumType,
    FixedBytesType,
    FixedListType,
    IntType,
    ListType,
    MapType,
    StorageType,
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
    ("block", "chain_id"): _WORD,
}


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
    if isinstance(kind, StructType | EnumType | AddressType):
        return "an address" if isinstance(kind, AddressType) else kind.name
    if isinstance(kind, FixedBytesType):
        return f"bytes{kind.size}"
    if isinstance(kind, SEQUENCES):
        size = f" {kind.size}" if isinstance(kind, FixedListType) else ""
        return f"a list of{size} [{describe(inside(kind.element))}]"
    names = {Range: "an integer", IntType: "an integer", MapType: "a Map", ArrayType: "an Array"}
    return names.get(type(kind)) or "a " + type(kind).__name__.removesuffix("Type").lower()


class Places:
    """Types expressions of one contract; what it finds out is keyed by the tree's nodes."""

    def __init__(self, parsed: Parsed, key: str) -> None:
        self.parsed = parsed
        self.owner = parsed.functions[key].owner
        self.method = parsed.functions[key].model
        self.declarations = self.owner.declarations
        self.fields = self.owner.list_fields()
        self.body = plain_body(parsed.functions[key].node)
        self.keys_called: dict[ast.expr, str] = {}  # calls of methods: which function is meant
        self.types: dict[ast.expr, Type] = {}
        self.tested: dict[ast.expr, Range] = {}  # the values a node may have at run time
        self.helpers: dict[ast.expr, str] = {}  # sized operations: the method of `helpers.Sized`
        self.stored: set[ast.expr] = set()  # expressions that name a place in storage
        self.remotes: dict[
            ast.expr, tuple[str, str]
        ] = {}  # interface and method of each proxy call
        self.heads: dict[ast.AST, str] = {}  # loops: the method of `Sized` that begins them
        self.gathering = 0  # comprehensions around this place
        self.codecs: dict[ast.expr, int] = {}  # of abi_encode and abi_decode: their types' number
        self.locals: dict[str, Type] = {}  # of the method at hand
        self.declared: dict[str, StorageType] = {}  # the annotated ones
        self.assigned: set[str] = set()
        self.named: set[str] = set()  # every name the method stores to
        self.calls: dict[str, ast.expr] = {}  # methods it calls, and where
        self.writes: ast.AST | None = None  # where it writes, if it does
        self.caught: set[str] = set()  # the errors that are a local in an `except`
        self.iterated: list[str] = []  # lists that loops around this place go through

    # -- what is asked for ------------------------------------------------------------------

    def value(self, node: ast.expr) -> Type:
        """The type of a value; a handle is none (R10), nor is an error that was caught."""
        kind = self.place(node)
        if isinstance(kind, StructType) and kind.name in self.caught:
            raise breach("handle", node, f"{kind.name} is used by its fields")
        if isinstance(kind, HANDLES):
            raise breach("handle", node)
        if isinstance(kind, SEQUENCES) and node in self.stored:
            raise breach("handle", node, "list(...) copies a list out of storage")
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
        if isinstance(wanted, ListType | FixedListType) and isinstance(node, ast.List):
            if isinstance(wanted, FixedListType) and len(node.elts) != wanted.size:
                raise breach("type", node, f"{wanted.size} items are needed")
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
        if value is ...:
            raise breach("form", node, "... is the body of an Interface's method")
        raise breach("type", node, "there is no None: use Optional in a Map, and `in`")

    def of_Name(self, node: ast.Name) -> Type:
        name, declared = node.id, self.declarations
        kind: StorageType
        if name in self.named or name in self.locals:
            if name not in self.assigned:
                raise breach("unassigned", node)
            return self.locals[name]
        if name in declared.constants:
            value, kind = declared.constants[name], declared.constant_types[name]
            return Range(int(value), int(value)) if isinstance(kind, IntType) else kind
        if name == "ZERO_ADDRESS" and name in declared.imported:
            return ADDRESS
        raise breach("handle" if name == "self" else "name", node)

    def of_Attribute(self, node: ast.Attribute) -> Type:
        owner, name = node.value, node.attr
        if is_self(owner) and name in self.fields:
            self.stored.add(node)
            return inside(self.fields[name])
        if is_self(owner) or is_self(owner, "msg") or is_self(owner, "block"):
            known = ENVIRONMENT.get((owner.attr if isinstance(owner, ast.Attribute) else "", name))
            if known is None:
                raise breach("attribute", node, f"there is no such value: {name}")
            return inside(known)
        if isinstance(owner, ast.Name) and owner.id in self.declarations.enums:
            enum = self.declarations.enums[owner.id]
            if name not in enum.members:
                raise breach("attribute", node, f"{enum.name} has no {name}")
            return enum
        kind = self.place(owner)
        fields = dict(kind.fields) if isinstance(kind, StructType) else {}
        if name not in fields:
            rule = "handle" if isinstance(kind, HANDLES) else "attribute"
            raise breach(rule, node, f"{describe(kind)} has no {name}")
        if owner in self.stored:
            self.stored.add(node)
        return inside(fields[name])

    def of_Subscript(self, node: ast.Subscript) -> Type:
        owner = self.place(node.value)
        if isinstance(owner, MapType):
            self.stored.add(node)
            self.keys(node.slice, owner)
            return inside(owner.plain_value)
        if isinstance(node.slice, ast.Slice):
            return self.slice(node, node.slice, owner)
        kind: StorageType
        if isinstance(owner, ArrayType | ListType | FixedListType):
            kind = owner.element
        elif owner == BYTES:
            kind = IntType(8, False)
        else:
            raise breach("type", node, f"{describe(owner)} has no elements")
        self.integer(node.slice)
        if isinstance(owner, ArrayType) or (node.value in self.stored and owner != BYTES):
            self.stored.add(node)
        elif not isinstance(node.value, ast.Name):
            self.helpers[node] = "element"
        return inside(kind)

    def declared_type(self, node: ast.Attribute | ast.Subscript) -> StorageType:
        """What a place was declared as; `place` gives integers as ranges."""
        base = node.value
        if isinstance(node, ast.Attribute) and is_self(base):
            return self.fields[node.attr]
        owner = self.types[base]
        if isinstance(node, ast.Attribute):
            assert isinstance(owner, StructType)
            return dict(owner.fields)[node.attr]
        if isinstance(owner, MapType):
            return owner.plain_value
        assert isinstance(owner, ArrayType | ListType | FixedListType)
        return owner.element

    def slice(self, node: ast.Subscript, part: ast.Slice, owner: Type) -> Type:
        if owner != BYTES and (not isinstance(owner, SEQUENCES) or node.value in self.stored):
            raise breach("type", node, "bytes and lists are sliced")
        for end in (part.lower, part.upper):
            if end is not None:
                self.integer(end)
        if isinstance(owner, SEQUENCES):
            self.helpers[node] = "part"
            return ListType(owner.element)
        self.helpers[node] = "slice"
        return BYTES

    def keys(self, node: ast.expr, owner: MapType) -> None:
        """`m[a]`, or `m[a, b]` of a map with a tuple of keys."""
        several = len(owner.keys) > 1
        nodes = node.elts if several and isinstance(node, ast.Tuple) else [node]
        self.expect_all(nodes, owner.keys, node, door=True)
