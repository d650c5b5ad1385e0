"""What may be called in a method, with what, and what it gives (rules R5, R7, R8, R10).

What belongs here: builtins, structs, events, methods of self, of lists and of storage handles.
Events are made in `self.emit`, reverts in `raise`, so that neither is ever a value.
"""

import ast
from collections.abc import Sequence
from typing import cast

from ledger.contract import ranges
from ledger.contract.expressions import Expressions
from ledger.contract.model import Kind, Parameter
from ledger.contract.places import (
    ARRAY_ITEMS_MAX,
    LIST_ITEMS_MAX,
    TEXT_SIZE_MAX,
    Type,
    describe,
    inside,
    is_self,
)
from ledger.contract.ranges import Range, range_of
from ledger.contract.rules import breach
from ledger.contract.types import (
    ADDRESS,
    BYTES,
    HANDLES,
    SEQUENCES,
    ArrayType,
    EnumType,
    FixedListType,
    IntType,
    ListType,
    MapType,
    RoleType,
    TupleType,
    ValueType,
)


class Calls(Expressions):
    """Types the calls of one contract."""

    def of_Call(self, node: ast.Call) -> Type:
        """A call that gives a value."""
        kind = self.call(node)
        if kind is None:
            raise breach("type", node, "this gives no value")
        return kind

    def call(self, node: ast.Call) -> Type | None:
        """A builtin, a struct, a method of self, or of a list or handle."""
        function = node.func
        if isinstance(function, ast.Name):
            struct = self.parsed.declarations.structs.get(function.id)
            if struct is not None:
                fields = tuple(Parameter(*field) for field in struct.fields)
                self.record(node, fields, door=False)
                return struct
            if len(node.args) == 1 and not node.keywords:
                converted = self.conversion(node, function.id, node.args[0])
                if converted is not None:
                    return converted
            return self.builtin(node, function.id)
        if not isinstance(function, ast.Attribute):
            raise breach("form", node, "call a name or a method")
        if node.keywords:
            raise breach("form", node, "names of arguments are for records only")
        if is_self(function, "emit"):
            self.emit(node)
            return None
        if is_self(function.value):
            return self.internal(node, function.attr)
        return self.on_container(node, function)

    def conversion(self, node: ast.Call, name: str, item: ast.expr) -> Type | None:
        """`uint64(x)` of an integer or enum, `State(x)` of an integer, `list(...)` of a list."""
        declared = self.parsed.declarations
        if name in declared.enums:
            self.integer(item)
            self.helpers[node] = "member"
            return declared.enums[name]
        kind = declared.find_value(name)
        if isinstance(kind, IntType):
            wanted = range_of(kind)
            found = self.value(item)
            if isinstance(found, EnumType):
                self.types[item] = Range(0, len(found.members) - 1)
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

    def record(self, node: ast.Call, fields: Sequence[Parameter], door: bool) -> None:
        """The arguments of a struct, event or revert: by place, then by name, each once."""
        names = [item.name for item in fields]
        given = dict(zip(names, node.args, strict=False))
        for keyword in node.keywords:
            if keyword.arg not in names or keyword.arg in given:
                raise breach("type", node, f"fields are {', '.join(names)}, each once")
            given[keyword.arg] = keyword.value
        if len(given) != len(names) or len(node.args) > len(names):
            raise breach("type", node, f"fields are {', '.join(names)}, each once")
        for item in fields:
            self.expect(given[item.name], item.type, door)

    def emit(self, node: ast.Call) -> None:
        event = node.args[0] if len(node.args) == 1 else None
        name = event.func if isinstance(event, ast.Call) else None
        known = self.parsed.declarations.events.get(getattr(name, "id", ""))
        if known is None or not isinstance(event, ast.Call):
            raise breach("type", node, "self.emit(MyEvent(...)), made in place")
        self.record(event, known.fields, door=True)
        self.writes = self.writes or node

    def internal(self, node: ast.Call, name: str) -> Type | None:
        method = self.methods.get(name)
        if method is None:
            raise breach("attribute", node, f"there is no method {name}")
        if method.kind is Kind.CONSTRUCTOR or method.role or method.payable:
            raise breach("attribute", node, "its door would be passed by: move the body to _helper")
        self.expect_all(node.args, [item.type for item in method.parameters], node, door=False)
        self.calls.setdefault(name, node)
        return None if method.returns is None else inside(method.returns)

    def on_container(self, node: ast.Call, function: ast.Attribute) -> Type | None:
        """append, pop; remove; grant, revoke."""
        owner, name, arguments = self.place(function.value), function.attr, node.args
        result: Type | None = None
        stored = not isinstance(owner, ListType) or function.value in self.stored
        if isinstance(owner, ArrayType) and isinstance(owner.element, HANDLES):
            if name != "append" or arguments:
                raise breach("attribute", node, "append() makes room for one more, [i] is used on")
        elif isinstance(owner, ArrayType | ListType) and name in ("append", "pop"):
            wanted = [owner.element] if name == "append" else []
            self.expect_all(arguments, wanted, node, door=stored)
            result = None if wanted else inside(owner.element)
        elif isinstance(owner, RoleType) and name in ("grant", "revoke"):
            self.expect_all(arguments, [ADDRESS], node, door=True)
        elif isinstance(owner, MapType) and name == "remove" and len(arguments) == 1:
            if isinstance(owner.value, MapType | ArrayType | RoleType):
                raise breach("type", node, "only a single value is removed")
            self.keys(arguments[0], owner)
        else:
            raise breach("attribute", node, f"{describe(owner)} has no such method")
        if stored:
            self.writes = self.writes or node
        else:
            self.check_not_iterated(function.value)
            self.helpers[node] = name
        return result

    def check_not_iterated(self, node: ast.expr) -> None:
        if isinstance(node, ast.Name) and node.id in self.iterated:
            raise breach("iteration", node)

    def builtin(self, node: ast.Call, name: str) -> Type:
        arguments = node.args
        if node.keywords:
            raise breach("form", node, "names of arguments are for records only")
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
        if name in ("min", "max") and len(arguments) > 1:
            found = [self.integer(item) for item in arguments]
            pick = min if name == "min" else max
            return Range(pick(item.low for item in found), pick(item.high for item in found))
        if name in ("range", "enumerate", "zip"):
            raise breach("type", node, f"{name}() is for the head of a for loop")
        if name in self.parsed.declarations.names:
            raise breach("type", node, "events stand in self.emit(...), reverts in raise")
        raise breach("name", node, "not a function of this language")

    def over_list(self, node: ast.Call, name: str) -> Type:
        kind = self.value(node.args[0])
        item = inside(kind.element) if isinstance(kind, SEQUENCES) else None
        if not isinstance(item, Range):
            raise breach("type", node, f"{name} takes a list of integers")
        self.helpers[node] = {"min": "least", "max": "greatest", "sum": "total"}[name]
        if name == "sum":
            return Range(min(0, item.low * LIST_ITEMS_MAX), max(0, item.high * LIST_ITEMS_MAX))
        return item
