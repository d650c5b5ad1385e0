"""Statements and control flow of one method (rules R4, R7, R8, R10, R11).

What belongs here: where each local is assigned, on every path; what may be stored to; that what is
declared is returned. The ranges of integer locals that nobody declared are the least fixed point
of the method, widened to 513 bits where they would not settle.
"""

import ast

from ledger.contract.annotations import check_name
from ledger.contract.calls import Calls
from ledger.contract.model import Parameter, RecordModel
from ledger.contract.parse import Parsed
from ledger.contract.places import Type, inside, is_self
from ledger.contract.ranges import INT, TURNS_MAX, Range
from ledger.contract.rules import breach
from ledger.contract.types import (
    ADDRESS,
    BOOL,
    BYTES,
    HANDLES,
    ArrayType,
    FixedListType,
    ListType,
    MapType,
    StorageType,
    StructType,
    TupleType,
)

STORED_TO = (MapType, ArrayType, ListType, FixedListType, StructType)
"""What has elements or members that a statement may store to."""
CALL_FAILED = "CallFailed"
"""What is caught of a callee that fails without an error of its own."""
ROUNDS_NARROW, ROUNDS_WIDE = 3, 4
"""Passes over a method before the locals that still grow, then all, become 513 bits wide."""


class Statements(Calls):
    """Checks one method."""

    def __init__(self, parsed: Parsed, key: str) -> None:
        super().__init__(parsed, key)
        self.function = parsed.functions[key].node
        self.turns = False
        self.find_stored(self.body)
        self.expanded: dict[ast.AugAssign, ast.BinOp] = {}
        self.attempts: dict[ast.expr, tuple[str, ...]] = {}  # by call: the errors that are caught
        self.settled: dict[str, Range] = {}  # of integer locals: what the last round found
        self.found: dict[str, Range] = {}  # in this round: what is stored,
        self.growth: dict[str, Range] = {}  # and what one `+=` or `-=` adds
        self.loops = 0

    def find_stored(self, statements: list[ast.stmt]) -> None:
        """The names that are local, and whether there are loops; only statements store."""
        for node in statements:
            if isinstance(node, ast.If):
                self.find_stored(node.body + node.orelse)
            elif isinstance(node, ast.For | ast.While):
                self.turns = True
                self.find_stored(node.body)
            elif isinstance(node, ast.Try):
                for handler in node.handlers:
                    self.find_stored(handler.body)
                self.find_stored(node.body)
            for target in getattr(node, "targets", None) or [getattr(node, "target", None)]:
                parts = target.elts if isinstance(target, ast.Tuple) else [target]
                self.named.update(part.id for part in parts if isinstance(part, ast.Name))

    def settle(self) -> None:
        """Check the method until the ranges of its integer locals hold for every turn."""
        for turn in range(ROUNDS_WIDE + 2):
            self.check_once()
            found = {name: self.local_range(name) for name in self.found}
            grown = [
                name
                for name, now in found.items()
                if name not in self.settled or not now.within(self.settled[name])
            ]
            if not grown or not self.turns:
                return
            for name in found if turn >= ROUNDS_WIDE else grown:
                known = self.settled.get(name, found[name])
                self.settled[name] = found[name].join(known) if turn < ROUNDS_NARROW else INT

    def check_once(self) -> None:
        """One pass over the method with what is settled of its locals so far."""
        self.types, self.tested, self.helpers, self.calls = {}, {}, {}, {}
        self.stored, self.codecs, self.remotes = set(), {}, {}
        self.keys_called = {}
        self.locals, self.declared, self.assigned = {}, {}, set()
        self.found, self.growth = {}, {}
        self.writes = None
        arguments = self.function.args.args[1:]
        for node, parameter in zip(arguments, self.method.parameters, strict=True):
            self.declare(parameter.name, parameter.type, node)
        if self.block(self.body) and self.method.returns is not None:
            raise breach("missing-return", self.function)

    # -- locals ------------------------------------------------------------------------------

    def bind(self, name: str, at: ast.AST) -> None:
        """R4: what a local may not be called."""
        check_name(name, at)
        if name in self.declarations.names or name in self.fields:
            hint = f"{name} is declared in the contract; {name}_ would be free"
            raise breach("binding", at, hint)
        self.assigned.add(name)

    def declare(self, name: str, kind: StorageType, at: ast.AST) -> None:
        if name in self.locals and self.declared.get(name) != kind:
            raise breach("type", at, f"{name} has another type already")
        self.declared[name], self.locals[name] = kind, inside(kind)
        self.bind(name, at)

    def local_range(self, name: str) -> Range:
        """What is stored, and as many increments as can be paid for."""
        stored, step = self.found[name], self.growth.get(name, Range(0, 0))
        result = Range(stored.low + step.low * TURNS_MAX, stored.high + step.high * TURNS_MAX)
        return result if result.within(INT) else INT

    def store(self, target: ast.expr, kind: Type) -> None:
        """A value of type `kind` into a local."""
        if not isinstance(target, ast.Name):
            raise breach("form", target, "only names are unpacked into")
        name, known = target.id, self.locals.get(target.id)
        if isinstance(kind, TupleType):
            raise breach("type", target, "unpack it: a, b = ...")
        if isinstance(kind, Range) and name not in self.declared:
            self.found[name] = self.found.get(name, kind).join(kind)
            kind = self.settled.get(name) or self.local_range(name)
            fits = known is None or isinstance(known, Range)
        elif isinstance(kind, Range) and isinstance(known, Range):
            fits, kind = kind.within(known), known
        else:
            fits = known is None or known == kind
        if not fits:
            raise breach("type", target, f"{name} has another type already")
        self.locals[name] = kind
        self.bind(name, target)

    def assign(self, target: ast.expr, value: ast.expr) -> None:
        """One target, one value."""
        if isinstance(target, ast.Name) and target.id in self.declared:
            self.expect(value, self.declared[target.id])
            self.assigned.add(target.id)
        elif isinstance(target, ast.Name):
            self.store(target, self.value(value))
        else:
            self.store_place(target, value)

    def store_place(self, target: ast.expr, value: ast.expr) -> None:
        """Into storage, or into an element of a list in memory (R5, R10)."""
        hint = "stores go to locals, self.field, map[key], list[i], a stored struct's member"
        base = target.value if isinstance(target, ast.Attribute | ast.Subscript) else None
        sliced = isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Slice)
        if base is None or sliced or isinstance(base, ast.Call):
            raise breach("attribute", target, hint)
        if is_self(base):
            known = isinstance(target, ast.Attribute) and target.attr in self.fields
        else:
            named = isinstance(base, ast.Name) and base.id in self.declarations.names
            known = not named and isinstance(self.place(base), STORED_TO)
        kind = self.place(target) if known else None
        stored = target in self.stored
        element = isinstance(target, ast.Subscript) and self.types.get(base) != BYTES
        if kind is None or isinstance(kind, HANDLES) or not (stored or element):
            raise breach("attribute", target, hint)
        assert isinstance(target, ast.Attribute | ast.Subscript)
        self.helpers.pop(target, None)
        self.check_not_iterated(base)
        self.expect(value, self.declared_type(target), door=stored)
        if stored:
            self.writes = self.writes or target

    # -- statements: each says whether the next one is reached -------------------------------

    def block(self, statements: list[ast.stmt]) -> bool:
        reached = True
        for statement in statements:
            if not reached:
                raise breach("unreachable", statement)
            check = getattr(self, "on_" + type(statement).__name__, None)
            if check is None:
                raise breach("form", statement, "this does not stand in a method")
            reached = check(statement)
        return reached

    def on_Pass(self, node: ast.Pass) -> bool:
        return True

    def on_Expr(self, node: ast.Expr) -> bool:
        if not isinstance(node.value, ast.Call):
            raise breach("form", node, "a statement is a call or does something")
        kind = self.call(node.value)
        if kind is not None:
            self.types[node.value] = kind
        return True

    def on_Assign(self, node: ast.Assign) -> bool:
        target, value = node.targets[0], node.value
        if len(node.targets) > 1:
            raise breach("form", node, "one target, or a tuple of names")
        if not isinstance(target, ast.Tuple):
            self.assign(target, value)
            return True
        if isinstance(value, ast.Tuple):
            kinds = tuple(self.value(item) for item in value.elts)
        else:
            kind = self.value(value)
            kinds = tuple(map(inside, kind.elements)) if isinstance(kind, TupleType) else ()
        if len(kinds) != len(target.elts):
            raise breach("type", node, f"{len(kinds)} values for {len(target.elts)} names")
        for item, kind in zip(target.elts, kinds, strict=True):
            self.store(item, kind)
        return True

    def on_AnnAssign(self, node: ast.AnnAssign) -> bool:
        if not isinstance(node.target, ast.Name) or not node.simple or node.value is None:
            raise breach("form", node, "name: type = value")
        kind = self.declarations.read_value(node.annotation)
        if isinstance(kind, TupleType):
            raise breach("type", node, "tuples are returned and unpacked, never kept")
        self.expect(node.value, kind)
        self.declare(node.target.id, kind, node)
        return True

    def on_AugAssign(self, node: ast.AugAssign) -> bool:
        """`a += b` is checked, priced and run as `a = a + b`, its place evaluated once."""
        target = node.target
        if node not in self.expanded:
            fields = {**dict(ast.iter_fields(target)), "ctx": ast.Load()}
            left = ast.copy_location(type(target)(**fields), target)
            self.expanded[node] = ast.copy_location(ast.BinOp(left, node.op, node.value), node)
        value = self.expanded[node]
        name = target.id if isinstance(target, ast.Name) else ""
        counts = name and name not in self.declared and isinstance(node.op, ast.Add | ast.Sub)
        if counts and isinstance(self.value(value), Range):
            step = self.integer(node.value)
            step = Range(-step.high, -step.low) if isinstance(node.op, ast.Sub) else step
            self.growth[name] = self.growth.get(name, Range(0, 0)).join(step)
            if name not in self.settled:
                self.locals[name] = self.local_range(name)
        else:
            self.assign(target, value)
        return True

    def on_Return(self, node: ast.Return) -> bool:
        if (node.value is None) != (self.method.returns is None):
            raise breach("type", node, "return what is declared, and nothing where -> None")
        if node.value is not None and self.method.returns is not None:
            self.expect(node.value, self.method.returns)
        return False

    def on_Raise(self, node: ast.Raise) -> bool:
        call = node.exc
        name = call.func if isinstance(call, ast.Call) else None
        known = self.declarations.errors.get(getattr(name, "id", ""))
        if known is None or not isinstance(call, ast.Call):
            raise breach("control", node)
        self.record(call, known.fields, door=True)
        return False

    def on_Break(self, node: ast.stmt) -> bool:
        if not self.loops:
            raise breach("control", node, "this stands in a loop")
        return False

    on_Continue = on_Break

    def on_If(self, node: ast.If) -> bool:
        self.expect(node.test, BOOL)
        before = set(self.assigned)
        first = self.block(node.body)
        after, self.assigned = self.assigned, before
        second = self.block(node.orelse)
        if first:
            self.assigned = self.assigned & after if second else after
        return first or second

    def on_Try(self, node: ast.Try) -> bool:
        """One call of another contract and the errors of it that are answered; nothing else is
        caught, for this becomes a look at the call's status and no `try` of Python's."""
        call = self.attempted(node)
        before = set(self.assigned)
        ends = [self.assigned] if self.block(node.body) else []
        seen: list[str] = []
        for handler in node.handlers:
            self.assigned = set(before)
            error = handler.type.id if isinstance(handler.type, ast.Name) else ""
            known = self.declarations.errors.get(error)
            if error == CALL_FAILED and error in self.declarations.imported:
                known = RecordModel(error, (Parameter("callee", ADDRESS),))
            if known is None or error in seen:
                raise breach("control", handler, "except MyRevert, or CallFailed, once each")
            seen.append(error)
            if handler.name:
                if handler.name in self.named or handler.name in self.locals:
                    raise breach("binding", handler, f"{handler.name} is a local already")
                fields = tuple([(field.name, field.type) for field in known.fields])
                self.bind(handler.name, handler)
                self.locals[handler.name] = StructType(error, fields)
                self.caught.add(error)
            if self.block(handler.body):
                ends.append(self.assigned)
            if handler.name:
                del self.locals[handler.name]
                self.assigned.discard(handler.name)
        self.attempts[call] = tuple(seen)
        self.assigned = set.intersection(*ends) if ends else before
        return bool(ends)

    def attempted(self, node: ast.Try) -> ast.Call:
        """The one call that a `try` is for; its arguments run no code that could raise."""
        first = node.body[0]
        value = getattr(first, "value", None)
        sends = isinstance(value, ast.Call) and is_self(value.func, "send")
        plain = isinstance(first, ast.Expr | ast.Assign | ast.AnnAssign | ast.Return)
        if len(node.body) == 1 and plain and isinstance(value, ast.Call):
            function = value.func
            owner = function.value if isinstance(function, ast.Attribute) else function
            if sends or self.find_interface(owner) is not None:
                parts = [*value.args, *([owner] if isinstance(owner, ast.Call) else [])]
                for each in [each for part in parts for each in ast.walk(part)]:
                    if isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute):
                        raise breach("control", each, "call it before the try")
                return value
        raise breach("control", node, "try holds one statement: one call of another contract")

    def on_While(self, node: ast.While) -> bool:
        self.expect(node.test, BOOL)
        self.turn(node.body)
        return True

    def on_For(self, node: ast.For) -> bool:
        lists, kinds = self.iterable(node, node.iter)
        before = set(self.assigned)
        targets = node.target.elts if isinstance(node.target, ast.Tuple) else [node.target]
        if len(targets) != len(kinds):
            raise breach("type", node.target, f"each turn gives {len(kinds)}")
        for target, kind in zip(targets, kinds, strict=True):
            self.store(target, kind)
        self.iterated += lists
        self.turn(node.body)
        del self.iterated[len(self.iterated) - len(lists) :]
        self.assigned = before
        return True

    def turn(self, body: list[ast.stmt]) -> None:
        """A loop's body; it may never run, so it assigns nothing for what follows."""
        before = set(self.assigned)
        self.loops += 1
        self.block(body)
        self.loops -= 1
        self.assigned = before
