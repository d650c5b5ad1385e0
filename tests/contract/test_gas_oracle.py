"""A slow interpreter that walks the tree and charges node by node agrees with instrumented code.

It knows the prices (`gas`) and what the checker says of types, and nothing of blocks, hoisted turns
or helpers: where the two agree on value, state and gas, no charge is missing or doubled.
"""

import ast
import operator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.contract import gas as prices
from ledger.contract import instrument, lowering
from ledger.contract.check import Checked, check_contract
from ledger.contract.compile import compile_contract
from ledger.contract.parse import parse_module
from ledger.contract.ranges import INT_MAX
from ledger.contract.signals import OutOfGas, Panicked
from ledger.contract.signatures import plain_body
from ledger.contract.source import read_tree
from tests.contract.programs import ENV, PRELUDE, Refused, StubHost, run, write_program

OPERATORS = {
    **{ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul},
    **{ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.BitAnd: operator.and_},
    **{ast.BitOr: operator.or_, ast.BitXor: operator.xor, ast.RShift: operator.rshift},
    **{ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le},
    **{ast.Gt: operator.gt, ast.GtE: operator.ge},
    **{ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Invert: operator.invert},
    ast.Not: operator.not_,
}


class Leave(Exception):
    """break, continue or return."""

    def __init__(self, kind: str, value: Any = None) -> None:
        self.kind, self.value = kind, value


class Interpreter:
    def __init__(self, checked: Checked, gas: int) -> None:
        self.checked, self.gas, self.host = checked, gas, StubHost()

    def charge(self, amount: int) -> None:
        self.gas -= amount
        if self.gas < 0:
            raise OutOfGas

    def weigh(self, node: ast.AST) -> None:
        self.charge(prices.compute_weight(node, self.checked.types))

    def invoke(self, name: str, arguments: list[Any]) -> Any:
        function = self.checked.parsed.functions[name].node
        names = [item.arg for item in function.args.args[1:]]
        self.charge(prices.ENTRY_GAS)
        try:
            self.block(plain_body(function), dict(zip(names, arguments, strict=True)))
        except Leave as leave:
            return leave.value

    def block(self, statements: list[ast.stmt], scope: dict[str, Any]) -> None:
        for statement in statements:
            self.statement(statement, scope)

    def statement(self, node: ast.stmt, scope: dict[str, Any]) -> None:
        self.weigh(node)
        match node:
            case ast.Assign(targets=[ast.Tuple(elts=names)]):
                for name, value in zip(names, self.read(node.value, scope), strict=True):
                    scope[name.id] = value
            case ast.Assign() | ast.AnnAssign():
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                value = self.read(node.value, scope)
                if not isinstance(target, ast.Name):
                    self.weigh(target)
                self.place(target, scope)(value)
            case ast.AugAssign():
                binop = self.checked.expanded[node]
                if not isinstance(node.target, ast.Name):
                    self.weigh(node.target)
                if isinstance(node.target, ast.Subscript):
                    put = self.place(node.target, scope)
                    self.charge_binop(binop)
                    self.weigh(binop.left)
                    owner, key = put.owner, put.key
                    new = self.compute(binop, owner[key], self.read(binop.right, scope))
                    put(self.test(binop, new))
                else:
                    self.place(node.target, scope)(self.read(binop, scope))
            case ast.Return():
                raise Leave("return", None if node.value is None else self.read(node.value, scope))
            case ast.Break():
                raise Leave("break")
            case ast.Continue():
                raise Leave("continue")
            case ast.Raise():
                raise self.read(node.exc, scope)
            case ast.Expr():
                self.read(node.value, scope)
            case ast.If():
                self.block(node.body if self.read(node.test, scope) else node.orelse, scope)
            case ast.While():
                while True:
                    self.charge(prices.TURN_GAS)
                    if not self.read(node.test, scope) or not self.turn(node.body, scope):
                        return
            case ast.For():
                for items in self.turns(node, scope):
                    self.charge(prices.TURN_GAS)
                    names = getattr(node.target, "elts", [node.target])
                    values = items if len(names) > 1 else [items]
                    scope.update({n.id: v for n, v in zip(names, values, strict=True)})
                    if not self.turn(node.body, scope):
                        return

    def turn(self, body: list[ast.stmt], scope: dict[str, Any]) -> bool:
        try:
            self.block(body, scope)
        except Leave as leave:
            if leave.kind == "return":
                raise
            return leave.kind == "continue"
        return True

    def turns(self, node: ast.For, scope: dict[str, Any]) -> Any:
        head = node.iter
        if isinstance(head, ast.Call) and isinstance(head.func, ast.Name):
            self.weigh(head)
            values = [self.read(item, scope) for item in head.args]
            if head.func.id == "range":
                return range(*values)
            if head.func.id == "zip":
                shortest = min(map(len, values))
                self.charge(prices.PAIRING_GAS + prices.price_items(len(values) * shortest))
                return list(zip(*values, strict=False))
            self.charge(prices.price_items(len(values[0])))
            return list(enumerate(values[0]))
        items = self.read(head, scope)
        self.charge(prices.price_items(len(items)))
        return list(items)

    def place(self, node: ast.expr, scope: dict[str, Any]) -> Any:
        """Evaluates where a store goes to, once; returns what stores there."""

        class Put:
            owner: Any = scope
            key: Any = getattr(node, "id", None)

            def __call__(self, value: Any) -> None:
                if isinstance(node, ast.Attribute):
                    setattr(self.owner, node.attr, value)
                else:
                    self.owner[self.key] = value

        put = Put()
        if isinstance(node, ast.Attribute):
            put.owner = self.host
        elif isinstance(node, ast.Subscript):
            put.owner, put.key = self.read(node.value, scope), self.read(node.slice, scope)
            if isinstance(put.owner, list) and not 0 <= put.key < len(put.owner):
                raise Panicked(0x32)
        return put

    def charge_binop(self, node: ast.BinOp) -> None:
        self.weigh(node)
        if self.checked.find_test(node):
            self.charge(prices.TEST_GAS)

    def test(self, node: ast.expr, value: Any) -> Any:
        """The range a checker asked for; what it did not ask for must hold by itself."""
        allowed = self.checked.tested.get(node)
        if allowed is not None and not allowed.low <= value <= allowed.high:
            raise Panicked(0x11)
        if type(value) is int:
            assert -INT_MAX <= value <= INT_MAX
        return value

    def read(self, node: ast.expr, scope: dict[str, Any]) -> Any:
        self.weigh(node)
        if self.checked.find_test(node):
            self.charge(prices.TEST_GAS)
        return self.test(node, self.evaluate(node, scope))

    def compute(self, node: ast.BinOp, left: Any, right: Any) -> Any:
        if isinstance(node.op, ast.FloorDiv | ast.Mod) and right == 0:
            raise Panicked(0x12)
        if isinstance(node.op, ast.Pow | ast.LShift):
            if self.checked.helpers.get(node) is None:
                return left**right if isinstance(node.op, ast.Pow) else left << right
            bits = left.bit_length()
            if isinstance(node.op, ast.LShift):
                if bits + right > 512:
                    raise Panicked(0x11)
                self.charge(prices.price_power(bits + right))
                return left << right
            self.charge(prices.price_power(bits * right if bits > 1 else 512))
            if abs(left**right) > INT_MAX:
                raise Panicked(0x11)
            return left**right
        return OPERATORS[type(node.op)](left, right)

    def evaluate(self, node: ast.expr, scope: dict[str, Any]) -> Any:
        match node:
            case ast.Constant():
                return node.value
            case ast.Name():
                constants = self.checked.parsed.declarations.constants
                return scope[node.id] if node.id in scope else constants[node.id]
            case ast.Attribute(value=ast.Name(id="self")):
                return getattr(self.host, node.attr)
            case ast.Attribute():
                return getattr(self.read(node.value, scope), node.attr)
            case ast.BinOp():
                left, right = self.read(node.left, scope), self.read(node.right, scope)
                return self.compute(node, left, right)
            case ast.UnaryOp():
                return OPERATORS[type(node.op)](self.read(node.operand, scope))
            case ast.BoolOp():
                for operand in node.values:
                    value = self.read(operand, scope)
                    if value is isinstance(node.op, ast.Or):
                        break
                return value
            case ast.IfExp():
                return self.read(node.body if self.read(node.test, scope) else node.orelse, scope)
            case ast.Compare():
                return self.compare(node, scope)
            case ast.Subscript():
                owner, key = self.read(node.value, scope), self.read(node.slice, scope)
                if isinstance(owner, list) and not 0 <= key < len(owner):
                    raise Panicked(0x32)
                return owner[key]
            case ast.List():
                items = [self.read(item, scope) for item in node.elts]
                self.host.allocate(64 * len(items))
                return items
            case ast.Tuple():
                return tuple(self.read(item, scope) for item in node.elts)
            case ast.Call():
                return self.call(node, scope)
        raise AssertionError(ast.dump(node))

    def compare(self, node: ast.Compare, scope: dict[str, Any]) -> bool:
        left = self.read(node.left, scope)
        for op, item in zip(node.ops, node.comparators, strict=True):
            right = self.read(item, scope)
            if isinstance(op, ast.In | ast.NotIn):
                if node in self.checked.helpers:
                    self.charge(prices.price_search(len(right)))
                return (left in right) is isinstance(op, ast.In)
            if not OPERATORS[type(op)](left, right):
                return False
            left = right
        return True

    def call(self, node: ast.Call, scope: dict[str, Any]) -> Any:
        owner, name = None, getattr(node.func, "id", getattr(node.func, "attr", ""))
        if isinstance(node.func, ast.Attribute):
            mine = isinstance(node.func.value, ast.Name) and node.func.value.id == "self"
            owner = self.host if mine else self.read(node.func.value, scope)
        arguments = [self.read(item, scope) for item in node.args]
        if owner is self.host and name != "emit":
            return self.invoke(name, arguments)
        if owner is not None:
            if type(owner) is list and name == "append":
                self.host.allocate(64)
            return getattr(owner, name)(*arguments)
        if name in ("sum", "min", "max") and isinstance(arguments[0], list):
            self.charge(prices.price_fold(len(arguments[0])))
        builtins: dict[str, Any] = {"len": len, "abs": abs, "min": min, "max": max, "sum": sum}
        return {**ENV, **builtins}[name](*arguments)


def interpret(source: bytes, arguments: tuple[Any, ...], gas: int) -> tuple[Any, ...]:
    """What `programs.run` gives, slowly."""
    slow = Interpreter(check_contract(parse_module(read_tree(source))), gas)
    try:
        outcome, value = "success", slow.invoke("run", list(arguments))
    except OutOfGas:
        return "out of gas", None, gas, None
    except Panicked as panic:
        outcome, value = "panic", panic.code
    except Refused as revert:
        outcome, value = "revert", revert.args
    return outcome, value, gas - slow.gas, slow.host.state()


GAS = 100_000


def check_program(source: str, arguments: tuple[Any, ...]) -> None:
    data = source.encode()
    compiled = compile_contract(data)
    fast = run(compiled, tuple(map(copy, arguments)), GAS)
    slow = interpret(data, tuple(map(copy, arguments)), GAS)
    if fast[0] == "success":
        assert fast == slow
        assert run(compiled, tuple(map(copy, arguments)), fast[2]) == fast
        for less in {1, 2, 1 + fast[2] // 3, fast[2]}:
            short = run(compiled, tuple(map(copy, arguments)), fast[2] - less)
            assert short[0] == "out of gas"
    elif fast[0] == "out of gas":
        # A block is paid before it runs, so what fails inside one may have run out before it.
        assert slow[0] != "success"
    else:
        assert (fast[0], fast[1], fast[3]) == (slow[0], slow[1], slow[3])
        assert fast[2] >= slow[2]


def copy(value: Any) -> Any:
    return list(value) if isinstance(value, list) else value


EVERY_CHARGE = (
    PRELUDE
    + """\
    def _helper(self, x: uint256) -> uint256:
        if x > 3:
            return x
        return x + 1
    @write
    def run(self, a: uint256, b: int64, n: uint8, data: list[uint64]) -> int256:
        seen = 0
        for x in data:
            if x == 2:
                continue
            elif x == 3:
                seen += x
            else:
                seen -= 1
            seen += 1
        for i in range(5):
            if i > n:
                break
            seen += i
        while seen > 2:
            seen -= 2
        while seen < 9:
            seen += 2
            if seen > 7 and a + 1 > 3 or b + 2 < 1:
                break
        c = a + 1 if a < 9 else a - 1
        d = a - 1 if a > 9 else a + 1
        e = 1 < a < 9 < b + 100
        if e:
            return c + self._helper(seen) + self._helper(1)
        return d
"""
)


def count_charges(compile_it: Any, skipped: int) -> int:
    """Compile with charge number `skipped` left out; how many there are."""
    count = 0

    def numbered(original: Any, stripped: Any) -> Any:
        def charge(amount: int, *node: Any) -> Any:
            nonlocal count
            if amount == 0:
                return original(amount, *node)
            count += 1
            return stripped(*node) if count == skipped else original(amount, *node)

        return charge

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            instrument, "spend", numbered(instrument.spend, lambda: [ast.Pass(), ast.Pass()])
        )
        before = numbered(lowering.spend_before, lambda node: node)
        patch.setattr(lowering, "spend_before", before)
        patch.setattr(instrument, "spend_before", before)
        compile_it()
    return count


def test_every_charge_is_missed_when_it_is_left_out() -> None:
    source, compiled = EVERY_CHARGE.encode(), []
    inputs = [(5, 3, 2, [1, 2, 3, 4]), (12, -9, 9, []), (1, 200, 2, [2, 3]), (9, 0, 0, [1] * 9)]
    true_gas = [interpret(source, given, GAS)[2] for given in inputs]
    total = count_charges(lambda: compile_contract(source), 0)
    assert total > 20
    for skipped in range(total + 1):
        count_charges(lambda: compiled.append(compile_contract(source)), skipped)
        gas = [run(compiled[-1], given, GAS)[2] for given in inputs]
        assert (gas == true_gas) is (skipped == 0), skipped


ARGUMENTS = st.tuples(
    st.integers(0, 2**256 - 1) | st.integers(0, 50),
    st.integers(-(2**63), 2**63 - 1) | st.integers(-9, 9),
    st.integers(0, 255),
    st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 9), max_size=6),
)


@given(st.randoms(use_true_random=False), ARGUMENTS)
def test_generated_programs_cost_and_do_what_the_interpreter_says(random: Any, given: Any) -> None:
    check_program(write_program(random.randrange), given)


@pytest.mark.deep
@given(st.data(), ARGUMENTS)
def test_drawn_programs_cost_and_do_what_the_interpreter_says(data: Any, given: Any) -> None:
    check_program(write_program(lambda n: data.draw(st.integers(0, n - 1))), given)
