"""Charges, tests and helpers woven into checked code, so that it can run among hostile authors.

What belongs here: where a charge stands. Nodes that are certainly evaluated together are one block
and one charge, before the first of them: at a method's entry, in each arm of an `if`, in each turn
of a loop, after anything that may leave. A turn's charge moves out of a `for` that always runs to
its end. Names with `$` cannot be spelled in a source: $g is the gas left, a cell shared with the
host's doors; $out ends the call; $h is the `helpers.Sized` of the call; $t $i $c $k are temporary.
"""

import ast
from collections.abc import Sequence

from ledger.contract.gas import ENTRY_GAS, TURN_GAS, compute_weight
from ledger.contract.lowering import LOAD, STORE, Lowering, call_helper, name, spend_before
from ledger.contract.places import is_self
from ledger.contract.signatures import plain_body

_LEAVES = (ast.Return, ast.Raise)


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


def can_leave(statements: Sequence[ast.stmt], jumps: tuple[type[ast.stmt], ...]) -> bool:
    """Whether these may end in a return, a raise, or one of `jumps` out of the loop they are in."""
    for statement in statements:
        if isinstance(statement, (*_LEAVES, *jumps)):
            return True
        if isinstance(statement, ast.If) and can_leave(statement.body + statement.orelse, jumps):
            return True
        if isinstance(statement, ast.For | ast.While) and can_leave(statement.body, ()):
            return True
        if isinstance(statement, ast.Try):
            parts = [statement.body, *[handler.body for handler in statement.handlers]]
            if any(can_leave(part, jumps) for part in parts):
                return True
    return False


class Instrument(Lowering):
    """Rewrites the methods of one checked contract, in place."""

    def method(self, function: ast.FunctionDef, key: str) -> ast.FunctionDef:
        body, _ = self.block(plain_body(function), ENTRY_GAS)
        function.name = f"self.{key}"
        function.args.defaults = []  # each call passes every argument
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
        """What runs in place of a statement; its weight is added to the block that it stands in."""
        self.cost += compute_weight(node, self.checked.types)
        if isinstance(node, ast.For):
            self.for_loop(node)
        elif isinstance(node, ast.While):
            self.while_loop(node)
        elif isinstance(node, ast.If):
            node.test = self.lower(node.test)
            node.body, _ = self.block(node.body, 0)
            node.orelse, _ = self.block(node.orelse, 0) if node.orelse else ([], 0)
        elif isinstance(node, ast.Try):
            return self.attempt(node)
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
            self.ready[value.left] = ast.Subscript(name("$c"), name("$k"), LOAD)
            target = ast.Subscript(name("$c"), name("$k"), STORE)
        elif isinstance(target, ast.Attribute) and not is_self(target.value):
            before = [ast.Assign([place], self.refer(target.value))]
            self.cost += compute_weight(value.left, self.checked.types)
            self.ready[value.left] = ast.Attribute(name("$c"), target.attr, LOAD)
            target = ast.Attribute(name("$c"), target.attr, STORE)
        after = ast.Assign([target], self.lower(value))
        return [ast.copy_location(item, node) for item in (*before, after)]

    def attempt(self, node: ast.Try) -> list[ast.stmt]:
        """`$r = self.try__(...)`, then an arm for success and one for each error caught."""
        first = node.body[0]
        call = getattr(first, "value", None)
        assert isinstance(call, ast.Call)
        status = ast.Assign([name("$r", store=True)], self.remote_call(call))
        found: ast.expr = ast.Subscript(name("$r"), ast.Constant(1), LOAD)
        outer, self.cost = self.cost, compute_weight(first, self.checked.types)
        if (test := self.checked.find_test(call)) is not None:
            found = self.tested(found, *test)
        if isinstance(first, ast.Assign | ast.AnnAssign):
            target = first.targets[0] if isinstance(first, ast.Assign) else first.target
            body = self.assign(target, found)
        else:
            body = [ast.Return(found)] if isinstance(first, ast.Return) else []
        arms: list[tuple[list[ast.stmt], int]] = [([*spend(self.cost), *body], 0)]
        self.cost = outer
        for handler in node.handlers:
            arm, _ = self.block(handler.body, 1)
            if handler.name:
                error = ast.Subscript(name("$r"), ast.Constant(1), LOAD)
                arm = [ast.Assign([name(handler.name, store=True)], error), *arm]
            arms.append((arm, 0))
        rest: list[ast.stmt] = arms[-1][0]
        for number in range(len(arms) - 2, -1, -1):
            index = ast.Subscript(name("$r"), ast.Constant(0), LOAD)
            test_status = ast.Compare(index, [ast.Eq()], [ast.Constant(number)])
            rest = [ast.If(test_status, arms[number][0], rest)]
        return [ast.copy_location(item, node) for item in (status, *rest)]

    def for_loop(self, node: ast.For) -> None:
        """Each turn is charged in the body, or all before the loop if all of them will run."""
        whole = not can_leave(node.body, (ast.Break,))
        node.body, turn = self.block(node.body, TURN_GAS, charged=whole)
        lowered = self.head(node.iter, self.checked.heads[node])
        method = self.checked.heads[node]
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
