"""Lists: literals, comprehensions, what a loop goes through (rules R4, R7, R11).

What belongs here: what gives a list or goes through one. A comprehension calls no method, for it
costs a frame of Python's stack on some versions and none on others.
"""

import ast

from ledger.contract.annotations import check_name
from ledger.contract.places import LIST_ITEMS_MAX, Places, Type, inside
from ledger.contract.ranges import INDEX, Range
from ledger.contract.rules import breach
from ledger.contract.types import (
    BOOL,
    INT256,
    UINT256,
    FixedListType,
    ListType,
    StorageType,
    TupleType,
    ValueType,
)


class Lists(Places):
    """Types the lists of one contract."""

    def expect(self, node: ast.expr, wanted: StorageType, door: bool = False) -> None:
        """A value of the declared type `wanted`; a list takes its element's type from there."""
        if isinstance(wanted, ListType) and isinstance(node, ast.ListComp):
            self.comprehension(node, wanted.element)
            self.types[node] = wanted
        elif isinstance(wanted, ListType | FixedListType) and self.is_repetition(node):
            assert isinstance(node, ast.BinOp) and isinstance(node.left, ast.List)
            self.expect(node.left, ListType(wanted.element))
            times = self.integer(node.right, INDEX)
            count = len(node.left.elts)
            exact = times.low == times.high and count * times.low == getattr(wanted, "size", 0)
            if isinstance(wanted, FixedListType) and not exact:
                raise breach("type", node, f"{wanted.size} items are needed")
            self.types[node], self.helpers[node] = wanted, "repeat"
        else:
            super().expect(node, wanted, door)

    def is_repetition(self, node: ast.expr) -> bool:
        """`[0] * n`."""
        return (
            isinstance(node, ast.BinOp)
            and isinstance(node.op, ast.Mult)
            and isinstance(node.left, ast.List)
        )

    def of_List(self, node: ast.List) -> Type:
        """A literal where nobody says of what: integers are uint256, or int256."""
        if not node.elts:
            raise breach("type", node, "say of what: items: list[uint256] = []")
        wanted = ListType(self.declare_element(node, self.same(node.elts)))
        for item in node.elts:
            self.expect(item, wanted.element)
        self.helpers[node] = "literal"
        return wanted

    def of_ListComp(self, node: ast.ListComp) -> Type:
        return ListType(self.declare_element(node, self.comprehension(node, None)))

    def declare_element(self, node: ast.expr, kind: Type) -> ValueType:
        if isinstance(kind, Range):
            return UINT256 if kind.low >= 0 else INT256
        return self.plain_value(node, kind)

    def plain_value(self, node: ast.expr, kind: Type) -> ValueType:
        """A type that a list may hold."""
        if isinstance(kind, TupleType | Range) or not isinstance(kind, ValueType):
            raise breach("type", node, "a list holds values, not tuples")
        return self.declarations.bounded(kind, node)

    # -- what is gone through ----------------------------------------------------------------

    def comprehension(
        self, node: ast.ListComp | ast.GeneratorExp, wanted: ValueType | None
    ) -> Type:
        """The type of the elements; `wanted`, if that is given."""
        loop = node.generators[0]
        if len(node.generators) > 1:
            raise breach("form", node, "one `for` in a comprehension")
        lists, kinds = self.iterable(node, loop.iter)
        targets = loop.target.elts if isinstance(loop.target, ast.Tuple) else [loop.target]
        if len(targets) != len(kinds):
            raise breach("type", loop.target, f"each turn gives {len(kinds)}")
        names: list[str] = []
        for target, kind in zip(targets, kinds, strict=True):
            name = target.id if isinstance(target, ast.Name) else ""
            check_name(name, target)
            known = name in self.locals or name in self.named or name in self.fields
            if not name or known or name in self.declarations.names or name in names:
                raise breach("binding", target, "a name of its own, used nowhere else")
            names.append(name)
            self.locals[name] = kind
            self.assigned.add(name)
        self.iterated += lists
        self.gathering += 1
        for test in loop.ifs:
            self.expect(test, BOOL)
        result = self.value(node.elt) if wanted is None else inside(wanted)
        if wanted is not None:
            self.expect(node.elt, wanted)
        self.gathering -= 1
        del self.iterated[len(self.iterated) - len(lists) :]
        for name in names:
            del self.locals[name]
            self.assigned.discard(name)
        return result

    def iterable(self, loop: ast.AST, node: ast.expr) -> tuple[list[str], list[Type]]:
        """The lists a loop goes through, and the types each turn gives."""
        function = node.func if isinstance(node, ast.Call) else None
        name = function.id if isinstance(function, ast.Name) else ""
        if not isinstance(node, ast.Call) or name not in ("range", "enumerate", "zip"):
            self.heads[loop] = "each"
            return self.listed([node])
        if node.keywords or not 1 <= len(node.args) <= (3 if name == "range" else 8):
            raise breach("type", node)
        if name == "range":
            self.heads[loop] = "span"
            ends = [self.integer(item) for item in node.args]
            start, stop = (Range(0, 0), ends[0]) if len(ends) == 1 else (ends[0], ends[1])
            if len(ends) == 3:
                return [], [start.join(stop)]
            return [], [Range(start.low, max(start.low, stop.high - 1))]
        lists, kinds = self.listed(node.args)
        if name == "zip" and len(kinds) > 1:
            self.heads[loop] = "together"
            return lists, kinds
        if name == "enumerate" and len(kinds) == 1:
            self.heads[loop] = "numbered"
            return lists, [Range(0, LIST_ITEMS_MAX - 1), *kinds]
        raise breach("type", node, "enumerate(list), zip(list, list)")

    def listed(self, nodes: list[ast.expr]) -> tuple[list[str], list[Type]]:
        kinds: list[Type] = []
        for node in nodes:
            kind = self.value(node)
            if not isinstance(kind, ListType | FixedListType):
                raise breach("type", node, "a list, range(...), enumerate(...) or zip(...)")
            kinds.append(inside(kind.element))
        return [node.id for node in nodes if isinstance(node, ast.Name)], kinds
