"""Expressions as they run: with their tests, the charges of their branches, and helpers in place.

What belongs here: rewriting one checked expression and adding what it certainly costs to the block
at hand. Names with `$` cannot be spelled in a source: $h is the `helpers.Sized` of the call, $g the
gas left, $out ends the call, $t and $i are temporary. Where charges of blocks stand is
`instrument`'s.
"""

import ast

from ledger.contract.annotations import VALUE_NAMES, Declarations
from ledger.contract.check import Checked
from ledger.contract.functions import HOST_METHODS
from ledger.contract.gas import GAS_REFERENCE, TEST_GAS, TURN_GAS, compute_weight
from ledger.contract.interface import compute_interface_id
from ledger.contract.places import is_self
from ledger.contract.ranges import Range
from ledger.contract.types import BYTES, SEQUENCES, EnumType, StructType

LOAD, STORE = ast.Load(), ast.Store()


def name(text: str, store: bool = False) -> ast.Name:
    return ast.Name(text, STORE if store else LOAD)


def call_helper(method: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(ast.Attribute(name("$h"), method, LOAD), list(arguments), [])


def spend_before(amount: int, node: ast.expr) -> ast.expr:
    """`node if ($g := $g - amount) >= 0 else $out()`; what costs nothing stays as it is."""
    if not amount:
        return node
    left = ast.NamedExpr(
        name("$g", store=True), ast.BinOp(name("$g"), ast.Sub(), ast.Constant(amount))
    )
    enough = ast.Compare(left, [ast.GtE()], [ast.Constant(0)])
    return ast.IfExp(enough, node, ast.Call(name("$out"), [], []))


class Lowering:
    """Rewrites the expressions of one checked contract, in place."""

    def __init__(self, checked: Checked, declarations: Declarations) -> None:
        self.checked = checked
        self.declarations = declarations  # of the module that the methods stand in
        self.cost = 0  # of the block at hand, so far
        self.ready: dict[ast.expr, ast.expr] = {}  # rewritten already: the left side of `a[k] += b`
        self.interface_ids: dict[str, bytes] = {}

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
        declared = self.declarations
        if node.id in declared.constants:
            return ast.Constant(declared.constants[node.id])
        return ast.Constant(bytes(20)) if node.id == "ZERO_ADDRESS" else node

    def lower_Attribute(self, node: ast.Attribute) -> ast.expr:
        kind = self.checked.types.get(node)
        enum = self.declarations.enums.get(getattr(node.value, "id", ""))
        if enum is not None:
            return ast.Constant(enum.members.index(node.attr))
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

    def head(self, node: ast.expr, method: str) -> list[ast.expr]:
        """What a loop's helper is given: a list, or the arguments of range, enumerate, zip."""
        arguments = [node]
        if isinstance(node, ast.Call) and method != "each":
            self.cost += compute_weight(node, self.checked.types)
            arguments = node.args
        return [self.lower(item) for item in arguments]

    def lower_ListComp(self, node: ast.ListComp | ast.GeneratorExp) -> ast.expr:
        """Its turns are paid before the first; what an `if` lets through pays for itself.

        No `:=` may stand in the iterable, so that is `$m` of a tuple, whose second part is taken.
        """
        loop, method = node.generators[0], self.checked.heads[node]
        given = self.head(loop.iter, method)
        outer, self.cost = self.cost, TURN_GAS
        if loop.ifs:
            loop.ifs = [self.lower(loop.ifs[0]), *map(self.branch, loop.ifs[1:])]
            element = self.branch(node.elt)
        else:
            element = self.lower(node.elt)
        turn, self.cost = self.cost, outer
        items = call_helper("gather", ast.Constant(turn), ast.Constant(method), *given)
        loop.iter = name("$m")
        made = ast.copy_location(ast.ListComp(element, [loop]), node)
        both = ast.Tuple([ast.NamedExpr(name("$m", store=True), items), made], LOAD)
        return ast.Subscript(both, ast.Constant(1), LOAD)

    lower_GeneratorExp = lower_ListComp

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
            return call_helper(self.checked.helpers[node], node.value, start, end)
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
        if node in self.checked.remotes or is_self(function, "send"):
            self.cost -= compute_weight(node, self.checked.types)  # `lower` has added it
            return self.remote_call(node)
        if isinstance(function, ast.Attribute):
            if node in self.checked.keys_called:
                node.func = name(f"self.{self.checked.keys_called[node]}")
                if node.args and is_self(node.args[0]):
                    del node.args[0]
            elif not is_self(function.value):
                function.value = self.lower(function.value)
                owner = [function.value]
        elif isinstance(function, ast.Name) and function.id == "interface_id":
            return self.interface_id(node.args[0])
        elif isinstance(function, ast.Name) and function.id in HOST_METHODS:
            return self.host_call(node, function.id)
        node.args = [self.lower(item) for item in node.args]
        for keyword in node.keywords:
            keyword.value = self.lower(keyword.value)
        if helper == "member":
            kind = self.checked.types.get(node)
            assert isinstance(kind, EnumType)
            return call_helper(helper, *node.args, ast.Constant(len(kind.members)))
        if helper in ("spell", "sized"):
            size = getattr(self.checked.types.get(node), "size", 20)
            return call_helper(helper, *node.args, ast.Constant(size))
        if helper == "mul_div":
            rounding = node.args[3]
            assert isinstance(rounding, ast.Name)
            node.args[3] = ast.Constant(rounding.id)
        if helper:
            return call_helper(helper, *owner, *node.args)
        if isinstance(function, ast.Name) and function.id == "list":
            return ast.Call(ast.Attribute(node.args[0], "list__", LOAD), [], [])
        if isinstance(function, ast.Name) and function.id in (*VALUE_NAMES, "bytes"):
            return node.args[0]  # a conversion: its argument is tested
        return node

    def host_call(self, node: ast.Call, function: str) -> ast.expr:
        """An export that the host does: `keccak256(x)` as `self.keccak256__(x)`."""
        method = ast.Attribute(name("self"), HOST_METHODS[function], LOAD)
        number = ast.Constant(self.checked.codecs.get(node))
        if function == "abi_decode":
            values = ast.Call(method, [number, self.lower(node.args[0])], [])
            one = len(node.args) == 2
            return ast.Subscript(values, ast.Constant(0), LOAD) if one else values
        kind = self.checked.types.get(node.args[0])
        arguments = [self.lower(item) for item in node.args]
        if function in ("abi_encode", "abi_encode_packed"):
            return ast.Call(method, [number, ast.Tuple(arguments, LOAD)], [])
        if function == "hash_struct":
            assert isinstance(kind, StructType)
            return ast.Call(method, [ast.Constant(kind.name), *arguments], [])
        if function == "ecrecover" and len(arguments) > 2:
            arguments[1:] = [call_helper("signature", *arguments[1:])]
        return ast.Call(method, arguments, [])

    def interface_id(self, node: ast.expr) -> ast.expr:
        """ERC-165: the exclusive or of the selectors."""
        key = getattr(node, "id", "")
        if key not in self.interface_ids:  # a source may ask a thousand times
            methods = self.declarations.interfaces[key].methods
            self.interface_ids[key] = compute_interface_id(methods)
        return ast.Constant(self.interface_ids[key])

    def owner(self, node: ast.Attribute) -> ast.expr:
        """What a stored member is read from and stored to: the host, or a reference to a struct."""
        return node.value if is_self(node.value) else self.refer(node.value)

    def refer(self, node: ast.expr) -> ast.expr:
        """A struct in storage by reference, so that one member of it is read or written."""
        self.cost += compute_weight(node, self.checked.types) + GAS_REFERENCE
        if isinstance(node, ast.Attribute):
            return ast.Attribute(self.owner(node), f"{node.attr}__at", LOAD)
        assert isinstance(node, ast.Subscript)
        at = ast.Attribute(self.lower(node.value), "at__", LOAD)
        return ast.Call(at, [self.lower(node.slice)], [])

    def remote_call(self, node: ast.Call) -> ast.expr:
        """A call of another contract; with the errors to be caught, its status and result."""
        names = self.checked.attempts.get(node)
        caught: list[ast.expr] = []
        if names is not None:
            caught = [ast.Tuple([ast.Constant(each) for each in names], LOAD)]
        self.cost += compute_weight(node, self.checked.types)
        function = node.func
        assert isinstance(function, ast.Attribute)
        if node not in self.checked.remotes:
            arguments = [self.lower(item) for item in node.args]
            method = "send" if names is None else "try_send__"
            return ast.Call(ast.Attribute(name("self"), method, LOAD), [*arguments, *caught], [])
        proxy = function.value
        assert isinstance(proxy, ast.Call)
        self.cost += compute_weight(proxy, self.checked.types)
        callee = self.lower(proxy.args[0])
        given = {each.arg: self.lower(each.value) for each in proxy.keywords}
        sent = ast.Tuple([self.lower(item) for item in node.args], LOAD)
        value = given.get("value", ast.Constant(0))
        target = [ast.Constant(each) for each in self.checked.remotes[node]]
        budget = given.get("gas", ast.Constant(None))
        method = "call__" if names is None else "try__"
        arguments = [*target, callee, sent, value, budget, *caught]
        return ast.Call(ast.Attribute(name("self"), method, LOAD), arguments, [])
