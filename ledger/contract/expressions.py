"""Operators: what they take and give, and which of them are sized (rules R5, R7, R11).

What belongs here: arithmetic, comparison, membership and choice. What stands where, and what is
asked of a value, is `places`; calls are `calls`.
"""

import ast

from ledger.contract import ranges
from ledger.contract.annotations import SCALARS
from ledger.contract.lists import Lists
from ledger.contract.places import TEXT_SIZE_MAX, Type
from ledger.contract.ranges import INDEX, INT, Range
from ledger.contract.rules import breach
from ledger.contract.types import (
    ADDRESS,
    BOOL,
    BYTES,
    SEQUENCES,
    STRING,
    AddressType,
    BytesType,
    FixedBytesType,
    ListType,
    MapType,
    OptionalType,
    RoleType,
    StringType,
    StructType,
    TupleType,
)


class Expressions(Lists):
    """Types the operators of one contract."""

    def of_BinOp(self, node: ast.BinOp) -> Type:
        if self.is_repetition(node):
            raise breach("type", node, "say of what: items: list[uint256] = [0] * n")
        left = self.value(node.left)
        if isinstance(left, ListType):
            if not isinstance(node.op, ast.Add) or self.value(node.right) != left:
                raise breach("type", node, "a list is only added to its like")
            self.helpers[node] = "join"
            return left
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
        if isinstance(kind, (StructType, TupleType, *SEQUENCES)):
            raise breach("type", nodes[0], "compare the parts")
        return kind

    def membership(self, node: ast.Compare) -> Type:
        """`item in owner`, which asks only what a contract can answer in bounded work."""
        owner, item = self.place(node.comparators[0]), node.left
        if isinstance(owner, MapType) and isinstance(owner.value, OptionalType):
            self.keys(item, owner)
        elif isinstance(owner, RoleType):
            self.expect(item, ADDRESS)
        elif isinstance(owner, SEQUENCES) and isinstance(owner.element, SCALARS):
            self.value(node.comparators[0])  # no handle
            self.expect(item, owner.element)
            missing = isinstance(node.ops[0], ast.NotIn)
            self.helpers[node] = "lacks" if missing else "contains"
        else:
            raise breach(
                "type", node, "`in` asks a list of scalars, a Role, or a Map of Optional values"
            )
        return BOOL
