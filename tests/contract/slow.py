"""A slow interpreter of the contract language: it walks the tree and charges node by node.

It stands where compiled code stands, over a stub's storage or a real host's. It knows the prices by
their names in `gas`, and what the checker says of types, and nothing of blocks, of turns paid
before a loop, or of `helpers`: where it and instrumented code agree on value, state and gas, no
charge is missing or doubled. What the doors of a real host charge is not looked at here.
"""

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import CellType
from typing import Any, NoReturn

from ledger.contract import gas as prices
from ledger.contract.check import Checked, check_contract
from ledger.contract.classes import Function
from ledger.contract.functions import HOST_METHODS
from ledger.contract.interface import compute_interface_id
from ledger.contract.parse import parse_module
from ledger.contract.places import is_self
from ledger.contract.ranges import INT_MAX
from ledger.contract.signals import Panicked
from ledger.contract.signatures import plain_body
from ledger.contract.source import read_tree
from ledger.contract.types import SEQUENCES, StructType
from tests.contract.slow_sized import OPERATORS, SlowSized


class Leave(Exception):
    """break, continue or return."""

    def __init__(self, kind: str, value: Any = None) -> None:
        self.kind, self.value = kind, value


class SlowContract:
    """What a CompiledContract is to `execution`: bound to a call, it gives methods by name."""

    def __init__(self, source: bytes) -> None:
        self.checked = check_contract(parse_module(read_tree(source)))

    def bind(
        self, host: Any, env: Mapping[str, Any], gas: int, out: Callable[[], NoReturn]
    ) -> "Interpreter":
        return Interpreter(self.checked, host, env, gas, out)

    def release(self, bound: "Interpreter") -> None:
        """Nothing of it is used again."""


class Interpreter:
    """One call; `gas` holds the gas left, which a real host's doors lower too."""

    def __init__(
        self,
        checked: Checked,
        host: Any,
        env: Mapping[str, Any],
        gas: int,
        out: Callable[[], NoReturn],
    ) -> None:
        self.checked, self.host, self.env, self.out = checked, host, env, out
        self.gas = CellType(gas)
        self.sized = SlowSized(self.charge, host.allocate)
        self.running: list[Function] = []

    def charge(self, amount: int) -> None:
        self.gas.cell_contents -= amount
        if self.gas.cell_contents < 0:
            self.out()

    def weigh(self, node: ast.AST) -> None:
        self.charge(prices.compute_weight(node, self.checked.types))

    def method(self, name: str) -> Callable[..., Any]:
        return lambda *arguments: self.invoke(name, arguments)

    def invoke(self, key: str, arguments: Sequence[Any]) -> Any:
        function = self.checked.parsed.functions[key]
        names = [item.arg for item in function.node.args.args[1:]]
        self.charge(prices.ENTRY_GAS)
        self.running.append(function)
        try:
            self.block(plain_body(function.node), dict(zip(names, arguments, strict=True)))
        except Leave as leave:
            return leave.value
        finally:
            self.running.pop()
        return None

    # -- statements --------------------------------------------------------------------------

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
                self.store(find_target(node), self.read(node.value, scope), scope)
            case ast.AugAssign():
                self.add_to(node, scope)
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
            case ast.Try():
                self.attempt(node, scope)
            case ast.While():
                while True:
                    self.charge(prices.TURN_GAS)
                    if not self.read(node.test, scope) or not self.turn(node.body, scope):
                        return
            case ast.For():
                for bound in self.turns(node, node.target, node.iter, scope):
                    self.charge(prices.TURN_GAS)
                    scope.update(bound)
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

    def turns(
        self, loop: ast.AST, target: ast.expr, head: ast.expr, scope: dict[str, Any]
    ) -> list[dict[str, Any]] | Iterator[dict[str, Any]]:
        """What each turn of a loop or comprehension binds; the list is gone through once."""
        kind = self.checked.heads[loop]
        names = [each.id for each in getattr(target, "elts", [target])]
        if kind == "each":
            items = self.read(head, scope)
            self.charge(prices.price_items(len(items)))
            return [{names[0]: item} for item in items]
        assert isinstance(head, ast.Call)
        self.weigh(head)
        values = [self.read(item, scope) for item in head.args]
        if kind == "span":
            return ({names[0]: number} for number in self.sized.span(*values))
        count = min(map(len, values))
        if kind == "together":
            self.charge(prices.PAIRING_GAS)
        self.charge(prices.price_items(len(values) * count))
        rows = enumerate(values[0]) if kind == "numbered" else zip(*values, strict=False)
        return [dict(zip(names, row, strict=True)) for row in rows]

    def attempt(self, node: ast.Try, scope: dict[str, Any]) -> None:
        """One call of another contract; its status says which arm is gone on with."""
        first = node.body[0]
        call = first.value
        self.weigh(call)
        status, value = self.call_out(call, self.checked.attempts[call], scope)
        if status:
            handler = node.handlers[status - 1]
            self.charge(1)
            if handler.name:
                scope[handler.name] = value
            self.block(handler.body, scope)
            return
        self.weigh(first)
        if self.checked.find_test(call):
            self.charge(prices.TEST_GAS)
        value = self.test(call, value)
        if isinstance(first, ast.Return):
            raise Leave("return", value)
        if isinstance(first, ast.Assign | ast.AnnAssign):
            self.store(find_target(first), value, scope)

    # -- places ------------------------------------------------------------------------------

    def store(self, node: ast.expr, value: Any, scope: dict[str, Any]) -> None:
        if isinstance(node, ast.Name):
            scope[node.id] = value
        elif isinstance(node, ast.Attribute):
            self.weigh(node)
            setattr(self.owner(node, scope), node.attr, value)
        elif isinstance(node, ast.Subscript):
            self.weigh(node)
            owner, key = self.element(node, scope)
            owner[key] = value

    def element(self, node: ast.Subscript, scope: dict[str, Any]) -> tuple[Any, Any]:
        owner, key = self.read(node.value, scope), self.read(node.slice, scope)
        if node not in self.checked.stored and isinstance(owner, list | bytes):
            self.sized.position(owner, key)
        return owner, key

    def add_to(self, node: ast.AugAssign, scope: dict[str, Any]) -> None:
        """The place is found once, read, and written."""
        sum_, target = self.checked.expanded[node], node.target
        if isinstance(target, ast.Name):
            scope[target.id] = self.read(sum_, scope)
            return
        self.weigh(target)
        if isinstance(target, ast.Attribute) and is_self(target.value):
            setattr(self.host, target.attr, self.read(sum_, scope))
            return
        if isinstance(target, ast.Subscript):
            owner, key = self.element(target, scope)
            old, put = (lambda: owner[key]), (lambda value: owner.__setitem__(key, value))
        else:
            place, name = self.owner(target, scope), target.attr
            old, put = (lambda: getattr(place, name)), (lambda value: setattr(place, name, value))
        self.weigh(sum_)
        self.weigh(sum_.left)
        if self.checked.find_test(sum_):
            self.charge(prices.TEST_GAS)
        left = old()
        put(self.test(sum_, self.compute(sum_, left, self.read(sum_.right, scope))))

    def owner(self, node: ast.Attribute, scope: dict[str, Any]) -> Any:
        """What a member in storage is read from or stored to."""
        return self.host if is_self(node.value) else self.refer(node.value, scope)

    def refer(self, node: ast.expr, scope: dict[str, Any]) -> Any:
        """A struct where it stands in storage."""
        self.weigh(node)
        self.charge(prices.GAS_REFERENCE)
        if isinstance(node, ast.Attribute):
            return getattr(self.owner(node, scope), f"{node.attr}__at")
        assert isinstance(node, ast.Subscript)
        return self.read(node.value, scope).at__(self.read(node.slice, scope))

    # -- expressions -------------------------------------------------------------------------

    def test(self, node: ast.expr, value: Any) -> Any:
        """The range a checker asked for; what it did not ask for must hold by itself."""
        allowed = self.checked.tested.get(node)
        if allowed is not None and not allowed.low <= value <= allowed.high:
            raise Panicked(0x11)
        if type(value) is int:
            assert -INT_MAX <= value <= INT_MAX
        return value

    def read(self, node: ast.expr | None, scope: dict[str, Any]) -> Any:
        assert node is not None
        self.weigh(node)
        if self.checked.find_test(node):
            self.charge(prices.TEST_GAS)
        return self.test(node, self.evaluate(node, scope))

    def evaluate(self, node: ast.expr, scope: dict[str, Any]) -> Any:
        match node:
            case ast.Constant():
                return node.value
            case ast.Name():
                constants = self.running[-1].owner.declarations.constants
                if node.id in scope:
                    return scope[node.id]
                return constants[node.id] if node.id in constants else bytes(20)
            case ast.Attribute():
                return self.attribute(node, scope)
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
            case ast.Subscript(slice=ast.Slice()):
                owner = self.read(node.value, scope)
                ends = (node.slice.lower, node.slice.upper)
                first, last = [None if end is None else self.read(end, scope) for end in ends]
                return self.sized.cut(owner, first, last)
            case ast.Subscript():
                owner, key = self.element(node, scope)
                return owner[key]
            case ast.List():
                return self.sized.literal([self.read(item, scope) for item in node.elts])
            case ast.Tuple():
                return tuple([self.read(item, scope) for item in node.elts])
            case ast.ListComp() | ast.GeneratorExp():
                return self.gather(node, scope)
            case ast.Call():
                return self.call(node, scope)
        raise AssertionError(ast.dump(node))

    def attribute(self, node: ast.Attribute, scope: dict[str, Any]) -> Any:
        kind = self.checked.types.get(node)
        if is_self(node.value):
            return getattr(self.host, node.attr)
        enums = self.running[-1].owner.declarations.enums
        if getattr(node.value, "id", "") in enums:
            return enums[node.value.id].members.index(node.attr)
        if node in self.checked.stored:
            whole = not isinstance(kind, SEQUENCES)
            return getattr(
                self.refer(node.value, scope), node.attr if whole else f"{node.attr}__at"
            )
        return getattr(self.read(node.value, scope), node.attr)

    def compute(self, node: ast.BinOp, left: Any, right: Any) -> Any:
        if self.checked.helpers.get(node) is not None:
            return self.sized.compute(node.op, left, right)
        if isinstance(node.op, ast.FloorDiv | ast.Mod) and right == 0:
            raise Panicked(0x12)
        return OPERATORS[type(node.op)](left, right)

    def compare(self, node: ast.Compare, scope: dict[str, Any]) -> bool:
        left = self.read(node.left, scope)
        for op, item in zip(node.ops, node.comparators, strict=True):
            right = self.read(item, scope)
            if isinstance(op, ast.In | ast.NotIn):
                if node in self.checked.helpers:
                    self.charge(prices.price_search(len(right)))
                return (left in right) is isinstance(op, ast.In)
            if node in self.checked.helpers:
                self.charge(prices.price_bytes(min(len(left), len(right))))
            if not OPERATORS[type(op)](left, right):
                return False
            left = right
        return True

    def gather(self, node: ast.ListComp | ast.GeneratorExp, scope: dict[str, Any]) -> list[Any]:
        """A comprehension: room for all of its turns first, and each `if` for itself."""
        loop = node.generators[0]
        turns = self.turns(node, loop.target, loop.iter, scope)
        if not isinstance(turns, list):
            turns = self.sized.take(turns)
        self.sized.reserve(len(turns))
        result = []
        for bound in turns:
            self.charge(prices.TURN_GAS)
            inner = {**scope, **bound}
            if all(self.read(test, inner) for test in loop.ifs):
                result.append(self.read(node.elt, inner))
        return result

    # -- calls -------------------------------------------------------------------------------

    def call(self, node: ast.Call, scope: dict[str, Any]) -> Any:
        function, checked = node.func, self.checked
        name = getattr(function, "id", getattr(function, "attr", ""))
        if node in checked.remotes or is_self(function, "send"):
            return self.call_out(node, None, scope)
        if node in checked.keys_called:
            given = node.args[1:] if node.args and is_self(node.args[0]) else node.args
            key = checked.keys_called[node]
            return self.invoke(key, [self.read(item, scope) for item in given])
        if isinstance(function, ast.Attribute):
            mine = is_self(function.value)  # self.emit
            owner = self.host if mine else self.read(function.value, scope)
            arguments = [self.read(item, scope) for item in node.args]
            if node in checked.helpers:
                return self.sized.on_value(owner, name, arguments)
            return getattr(owner, name)(*arguments)
        if name == "interface_id":
            interfaces = self.running[-1].owner.declarations.interfaces
            return compute_interface_id(interfaces[node.args[0].id].methods)
        if name == "abi_decode":
            data = self.read(node.args[0], scope)
            values = self.host.abi_decode__(checked.codecs[node], data)
            return values if len(node.args) > 2 else values[0]
        rounding = name == "mul_div" and name not in self.env
        arguments = [self.read(item, scope) for item in node.args[: 3 if rounding else None]]
        if name in HOST_METHODS and name not in self.env:
            return self.on_host(node, name, arguments)
        if rounding:
            return self.sized.mul_div(*arguments, node.args[3].id)
        if name in self.env:
            given = {str(each.arg): self.read(each.value, scope) for each in node.keywords}
            return self.env[name](*arguments, **given)
        return self.sized.on_function(
            name, arguments, checked.helpers.get(node), checked.types.get(node)
        )

    def on_host(self, node: ast.Call, name: str, arguments: list[Any]) -> Any:
        method = getattr(self.host, HOST_METHODS[name])
        if name in ("abi_encode", "abi_encode_packed"):
            return method(self.checked.codecs[node], tuple(arguments))
        if name == "hash_struct":
            kind = self.checked.types[node.args[0]]
            assert isinstance(kind, StructType)
            return method(kind.name, *arguments)
        if name == "ecrecover" and len(arguments) > 2:
            digest, v, r, s = arguments
            return method(digest, r + s + bytes([v]))
        return method(*arguments)

    def call_out(
        self, node: ast.Call, caught: tuple[str, ...] | None, scope: dict[str, Any]
    ) -> Any:
        """Coin sent, or a method of another contract; whoever calls this has weighed `node`."""
        names = [] if caught is None else [caught]
        if node not in self.checked.remotes:
            send = self.host.send if caught is None else self.host.try_send__
            return send(*[self.read(item, scope) for item in node.args], *names)
        proxy = node.func.value
        self.weigh(proxy)
        callee = self.read(proxy.args[0], scope)
        sent = self.read_sent(node.args, scope)
        # Keywords are evaluated after the arguments, value before gas.
        options = {each.arg: each.value for each in proxy.keywords}
        value = self.read(options["value"], scope) if "value" in options else 0
        budget = self.read(options["gas"], scope) if "gas" in options else None
        call = self.host.call__ if caught is None else self.host.try__
        return call(*self.checked.remotes[node], callee, sent, value, budget, *names)

    def read_sent(self, nodes: list[ast.expr], scope: dict[str, Any]) -> tuple[Any, ...]:
        return tuple([self.read(item, scope) for item in nodes])


def find_target(node: ast.Assign | ast.AnnAssign) -> ast.expr:
    return node.targets[0] if isinstance(node, ast.Assign) else node.target
