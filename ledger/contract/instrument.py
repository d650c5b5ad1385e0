"""Charges, tests and helpers woven into checked code, so that it can run among hostile authors.

What belongs here: where a charge stands. Nodes that are certainly evaluated together are one block
and one charge, before the first of them: at a method's entry, in each arm of an `if`, in each turn
of a loop, after anything that may leave. A turn's charge moves out of a `for` that always runs to
its end. Names with `$` cannot be spelled in a source: $g is the gas left, a cell shared with the
host's doors; $out ends the call; $h is the `helpers.Sized` of the call; $t $i $c $k are temporary.
"""

import ast
from collections.abc import Sequence

from ledger.contract.annotations import VALUE_NAMES
from ledger.contract.check import Checked
from ledger.contract.functions import HOST_METHODS
from ledger.contract.gas import ENTRY_GAS, GAS_REFERENCE, TEST_GAS, TURN_GAS, compute_weight
from ledger.contract.parse import plain_body
from ledger.contract.places import is_self
from ledger.contract.ranges import Range
from ledger.contract.types import BYTES, SEQUENCES, EnumType, StructType

_LEAVES = (ast.Return, ast.Raise)
_LOAD, _STORE = ast.Load(), ast.Store()


def name(text: str, store: bool = False) -> ast.Name:
    return ast.Name(text, _STORE if store else _LOAD)


def call_helper(method: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(ast.Attribute(name("$h"), method, _LOAD), list(arguments), [])


def spend(amount: int) -> list[ast.stmt]:
    """`$g -= amount` and `if $g < 0: $out()`."""
    return [
        ast.AugAssign(name("$g", store=True), ast.Sub(), ast.Constant(amount)),
        ast.If(
            ast.Compare(name("$g"), [ast.Lt()], [ast.Constant(0)]),
            [ast.Expr(ast.Call(name("$out"), [], []))],
            [],
        ),
    ]


def spend_before(amount: int, node: ast.expr) -> ast.expr:
    """`node if ($g := $g - amount) >= 0 else $out()`; what costs nothing stays as it is."""
    if not amount:
        return node
    left = ast.NamedExpr(
        name("$g", store=True), ast.BinOp(name("$g"), ast.Sub(), ast.Constant(amount))
    )
    enough = ast.Compare(left, [ast.GtE()], [ast.Constant(0)])
    return ast.IfExp(enough, node, ast.Call(name("$out"), [], []))


def can_leave(statements: Sequence[ast.stmt], jumps: tuple[type[ast.stmt], ...]) -> bool:
    """Whether these may end in a return, a raise, or one of `jumps` out of the loop they are in."""
    for statement in statements:
        if isinstance(statement, (*_LEAVES, *jumps)):
            return True
        if isinstance(statement, ast.If) and can_leave(statement.body + statement.orelse, jumps):
            return True
        if isinstance(statement, ast.For | ast.While) and can_leave(statement.body, ()):
            return True
    return False


class Instrument:
    """Rewrites the methods of one checked contract, in place."""

    def __init__(self, checked: Checked) -> None:
        self.checked = checked
        self.cost = 0  # of the block at hand, so far
        self.ready: dict[ast.expr, ast.expr] = {}  # rewritten already: the left side of `a[k] += b`

    def method(self, function: ast.FunctionDef) -> ast.FunctionDef:
        body, _ = self.block(plain_body(function), ENTRY_GAS)
        function.name = f"self.{function.name}"
        function.decorator_list, function.returns = [], None
        del function.args.args[0]
        for argument in function.args.args:
            argument.annotation = None
        function.body = [ast.Nonlocal(["$g"]), *body]
        return function

    # -- statements --------------------------------------------------------------------------

    def block(
        self, statements: list[ast.stmt], entry: int, charged: bool = False
    ) -> tuple[list[ast.stmt], int]:
        """Rewritten statements, each part with its charge; the first is left out if `charged`.

        Returns the price of the first part as well; `entry` is added to it.
        """
        outer, self.cost = self.cost, entry
        result: list[ast.stmt] = []
        part: list[ast.stmt] = []
        first: int | None = None
        for statement in statements:
            part += self.statement(statement)
            if statement is not statements[-1] and not can_leave(
                [statement], (ast.Break, ast.Continue)
            ):
                continue
            if self.cost and not (charged and first is None):
                result += [ast.copy_location(item, part[0]) for item in spend(self.cost)]
            first = self.cost if first is None else first
            result += part
            part, self.cost = [], 0
        self.cost = outer
        return result, first or 0

    def statement(self, node: ast.stmt) -> list[ast.stmt]:
        self.cost += compute_weight(node, self.checked.types)
        if isinstance(node, ast.For):
            self.for_loop(node)
        elif isinstance(node, ast.While):
            self.while_loop(node)
        elif isinstance(node, ast.If):
            node.test = self.lower(node.test)
            node.body, _ = self.block(node.body, 0)
            node.orelse, _ = self.block(node.orelse, 0) if node.orelse else ([], 0)
        elif isinstance(node, ast.AugAssign):
            return self.aug_assign(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            value = self.lower(node.value)
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            after = self.assign(target, value)
            return [ast.copy_location(item, node) for item in after]
        elif isinstance(node, ast.Return | ast.Expr) and node.value is not None:
            node.value = self.lower(node.value)
        elif isinstance(node, ast.Raise) and node.exc is not None:
            node.exc = self.lower(node.exc)
        return [node]

    def assign(self, node: ast.expr, value: ast.expr) -> list[ast.stmt]:
        """`node = value`; an index into a list in memory is tested."""
        before: list[ast.stmt] = []
        if isinstance(node, ast.Attribute):
            self.cost += compute_weight(node, self.checked.types)
            node.value = self.owner(node)
        elif isinstance(node, ast.Subscript):
            self.cost += compute_weight(node, self.checked.types)
            if node in self.checked.stored:
                node.value, node.slice = self.lower(node.value), self.lower(node.slice)
            elif isinstance(node.value, ast.Name):
                items = name(node.value.id)
                node.slice = call_helper("position", items, self.lower(node.slice))
            else:  # the value before the place, as Python does
                before = [ast.Assign([name("$v", store=True)], value)]
                before.append(ast.Assign([name("$c", store=True)], self.lower(node.value)))
                value, node.value = name("$v"), name("$c")
                node.slice = call_helper("position", name("$c"), self.lower(node.slice))
        return [*before, ast.Assign([node], value)]

    def owner(self, node: ast.Attribute) -> ast.expr:
        """What a stored member is read from and stored to: the host, or a reference to a struct."""
        return node.value if is_self(node.value) else self.refer(node.value)

    def refer(self, node: ast.expr) -> ast.expr:
        """A struct in storage by reference, so that one member of it is read or written."""
        self.cost += compute_weight(node, self.checked.types) + GAS_REFERENCE
        if isinstance(node, ast.Attribute):
            return ast.Attribute(self.owner(node), f"{node.attr}__at", _LOAD)
        assert isinstance(node, ast.Subscript)
        at = ast.Attribute(self.lower(node.value), "at__", _LOAD)
        return ast.Call(at, [self.lower(node.slice)], [])

    def aug_assign(self, node: ast.AugAssign) -> list[ast.stmt]:
        """`a[k] += b` as `$c = a; $k = k; $c[$k] = $c[$k] + b`, the rest as `a = a + b`."""
        value, target = self.checked.expanded[node], node.target
        before: list[ast.stmt] = []
        if not isinstance(target, ast.Name):
            self.cost += compute_weight(target, self.checked.types)
        place, key = name("$c", store=True), name("$k", store=True)
        if isinstance(target, ast.Subscript):
            index = self.lower(target.slice)
            if target not in self.checked.stored:
                index = call_helper("position", name("$c"), index)
            container = self.lower(target.value)
            before = [ast.Assign([place], container), ast.Assign([key], index)]
            self.cost += compute_weight(value.left, self.checked.types)
            self.ready[value.left] = ast.Subscript(name("$c"), name("$k"), _LOAD)
            target = ast.Subscript(name("$c"), name("$k"), _STORE)
        elif isinstance(target, ast.Attribute) and not is_self(target.value):
            before = [ast.Assign([place], self.refer(target.value))]
            self.cost += compute_weight(value.left, self.checked.types)
            self.ready[value.left] = ast.Attribute(name("$c"), target.attr, _LOAD)
            target = ast.Attribute(name("$c"), target.attr, _STORE)
        after = ast.Assign([target], self.lower(value))
        return [ast.copy_location(item, node) for item in (*before, after)]

    def for_loop(self, node: ast.For) -> None:
        """Each turn is charged in the body, or all before the loop if all of them will run."""
        whole = not can_leave(node.body, (ast.Break,))
        node.body, turn = self.block(node.body, TURN_GAS, charged=whole)
        head = node.iter
        method = self.checked.heads[node]
        arguments = [head]
        if isinstance(head, ast.Call) and method != "each":
            self.cost += compute_weight(head, self.checked.types)
            arguments = head.args
        lowered = [self.lower(item) for item in arguments]
        node.iter = call_helper(method, ast.Constant(turn if whole else 0), *lowered)

    def while_loop(self, node: ast.While) -> None:
        """The test is charged with the block before it and, for the next turn, with the body."""
        outer, self.cost = self.cost, TURN_GAS
        test = self.lower(node.test)
        price, self.cost = self.cost, outer
        if can_leave(node.body, (ast.Break,)):
            node.test = spend_before(price, test)
            node.body, _ = self.block(node.body, 0)
        else:
            self.cost += price
            node.test = test
            node.body, _ = self.block(node.body, price)

    # -- expressions -------------------------------------------------------------------------

    def branch(self, node: ast.expr) -> ast.expr:
        """An operand that may not be evaluated: it pays for itself."""
        outer, self.cost = self.cost, 0
        result = self.lower(node)
        result, self.cost = spend_before(self.cost, result), outer
        return result

    def lower(self, node: ast.expr) -> ast.expr:
        """The expression that runs; what it certainly costs is added to the block."""
        if node in self.ready:
            return self.ready[node]
        self.cost += compute_weight(node, self.checked.types)
        test = self.checked.find_test(node)
        rewrite = getattr(self, "lower_" + type(node).__name__, self.lower_parts)
        result: ast.expr = ast.copy_location(rewrite(node), node)
        return result if test is None else self.tested(result, *test)

    def tested(self, node: ast.expr, low: int | None, high: int | None) -> ast.expr:
        """`$t if low <= ($t := node) <= high else $h.overflow()`."""
        self.cost += TEST_GAS
        value = ast.NamedExpr(name("$t", store=True), node)
        parts = [ast.Constant(low), value, ast.Constant(high)]
        if low is None or high is None:
            parts = parts[1:] if low is None else parts[:2]
        test = ast.Compare(parts[0], [ast.LtE() for _ in parts[1:]], list(parts[1:]))
        return ast.copy_location(ast.IfExp(test, name("$t"), call_helper("overflow")), node)

    def lower_parts(self, node: ast.expr) -> ast.expr:
        for field, value in ast.iter_fields(node):
            if isinstance(value, ast.expr):
                setattr(node, field, self.lower(value))
            elif isinstance(value, list) and value and isinstance(value[0], ast.expr):
                setattr(node, field, [self.lower(item) for item in value])
        if node in self.checked.helpers:
            return call_helper(self.checked.helpers[node], node)
        return node

    def lower_Name(self, node: ast.Name) -> ast.expr:
        declared = self.checked.parsed.declarations
        if node.id in declared.constants:
            return ast.Constant(declared.constants[node.id])
        return ast.Constant(bytes(20)) if node.id == "ZERO_ADDRESS" else node

    def lower_Attribute(self, node: ast.Attribute) -> ast.expr:
        kind = self.checked.types.get(node)
        if isinstance(kind, EnumType) and getattr(node.value, "id", "") == kind.name:
            return ast.Constant(kind.members.index(node.attr))
        if node in self.checked.stored and not is_self(node.value):
            node.value = self.refer(node.value)
            if isinstance(kind, SEQUENCES):
                node.attr += "__at"
        elif not is_self(node.value):
            node.value = self.lower(node.value)
        return node

    def lower_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        node.values = [self.lower(node.values[0]), *map(self.branch, node.values[1:])]
        return node

    def lower_IfExp(self, node: ast.IfExp) -> ast.expr:
        node.test = self.lower(node.test)
        node.body, node.orelse = self.branch(node.body), self.branch(node.orelse)
        return node

    def lower_Compare(self, node: ast.Compare) -> ast.expr:
        helper = self.checked.helpers.get(node)
        node.left = self.lower(node.left)
        first, *rest = node.comparators
        node.comparators = [self.lower(first), *map(self.branch, rest)]
        return call_helper(helper, node.left, *node.comparators) if helper else node

    def lower_BinOp(self, node: ast.BinOp) -> ast.expr:
        divisor = self.checked.types.get(node.right)
        node.left, node.right = self.lower(node.left), self.lower(node.right)
        if helper := self.checked.helpers.get(node):
            return call_helper(helper, node.left, node.right)
        if isinstance(node.op, ast.FloorDiv | ast.Mod):
            assert isinstance(divisor, Range)
            if divisor.low <= 0 <= divisor.high:
                node.right = ast.BoolOp(ast.Or(), [node.right, call_helper("zero")])
        return node

    def lower_Subscript(self, node: ast.Subscript) -> ast.expr:
        owner, index = self.checked.types.get(node.value), node.slice
        node.value = self.lower(node.value)
        if isinstance(index, ast.Slice):
            start = self.lower(index.lower) if index.lower else ast.Constant(0)
            end = self.lower(index.upper) if index.upper else ast.Constant(None)
            return call_helper("slice", node.value, start, end)
        lowest = self.checked.types.get(index)
        node.slice = self.lower(index)
        if node in self.checked.helpers:
            return call_helper("element", node.value, node.slice)
        if node in self.checked.stored:
            return node
        if isinstance(owner, SEQUENCES) or owner == BYTES:
            negative = not isinstance(lowest, Range) or lowest.low < 0
            node.slice = self.index(node.slice, self.copy_name(node.value), negative)
        return node

    def index(self, node: ast.expr, items: ast.expr, negative: bool) -> ast.expr:
        """`$i if -1 < ($i := node) < len(items) else $h.missing()`."""
        value = ast.NamedExpr(name("$i", store=True), node)
        parts = [ast.Constant(-1), value, ast.Call(name("len"), [items], [])]
        parts = parts if negative else parts[1:]
        test = ast.Compare(parts[0], [ast.Lt() for _ in parts[1:]], list(parts[1:]))
        return ast.IfExp(test, name("$i"), call_helper("missing"))

    def copy_name(self, node: ast.expr) -> ast.expr:
        """A list that is named where it is used, once more."""
        assert isinstance(node, ast.Name)
        return name(node.id)

    def lower_Call(self, node: ast.Call) -> ast.expr:
        function, helper = node.func, self.checked.helpers.get(node)
        owner: list[ast.expr] = []
        if isinstance(function, ast.Attribute):
            if is_self(function.value) and function.attr in self.checked.parsed.functions:
                node.func = name(f"self.{function.attr}")
            elif not is_self(function.value):
                function.value = self.lower(function.value)
                owner = [function.value]
        elif isinstance(function, ast.Name) and function.id in HOST_METHODS:
            return self.host_call(node, function.id)
        node.args = [self.lower(item) for item in node.args]
        for keyword in node.keywords:
            keyword.value = self.lower(keyword.value)
        if helper == "member":
            kind = self.checked.types.get(node)
            assert isinstance(kind, EnumType)
            return call_helper(helper, *node.args, ast.Constant(len(kind.members)))
        if helper == "mul_div":
            rounding = node.args[3]
            assert isinstance(rounding, ast.Name)
            node.args[3] = ast.Constant(rounding.id)
        if helper:
            return call_helper(helper, *owner, *node.args)
        if isinstance(function, ast.Name) and function.id == "list":
            return ast.Call(ast.Attribute(node.args[0], "list__", _LOAD), [], [])
        if isinstance(function, ast.Name) and function.id in VALUE_NAMES:
            return node.args[0]  # a conversion: its argument is tested
        return node

    def host_call(self, node: ast.Call, function: str) -> ast.expr:
        """An export that the host does: `keccak256(x)` as `self.keccak256__(x)`."""
        method = ast.Attribute(name("self"), HOST_METHODS[function], _LOAD)
        number = ast.Constant(self.checked.codecs.get(node))
        if function == "abi_decode":
            values = ast.Call(method, [number, self.lower(node.args[0])], [])
            one = len(node.args) == 2
            return ast.Subscript(values, ast.Constant(0), _LOAD) if one else values
        kind = self.checked.types.get(node.args[0])
        arguments = [self.lower(item) for item in node.args]
        if function in ("abi_encode", "abi_encode_packed"):
            return ast.Call(method, [number, ast.Tuple(arguments, _LOAD)], [])
        if function == "hash_struct":
            assert isinstance(kind, StructType)
            return ast.Call(method, [ast.Constant(kind.name), *arguments], [])
        if function == "ecrecover" and len(arguments) > 2:
            arguments[1:] = [call_helper("signature", *arguments[1:])]
        return ast.Call(method, arguments, [])
