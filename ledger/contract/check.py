"""A whole contract held to its rules: each method by `statements`, then who calls whom (R8).

What belongs here: that calls end, that a view reaches no write, and what the instrument is told.
"""

import ast
from dataclasses import dataclass

from ledger.contract.model import Kind
from ledger.contract.parse import Parsed
from ledger.contract.places import Type
from ledger.contract.ranges import Range
from ledger.contract.rules import breach
from ledger.contract.statements import Statements

CALL_DEPTH_MAX = 32
"""Methods on the stack at once: far from where any CPython ends, and nobody nests deeper."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A contract that keeps every rule, and what is known of its expressions."""

    parsed: Parsed
    types: dict[ast.expr, Type]
    tested: dict[ast.expr, Range]
    helpers: dict[ast.expr, str]
    stored: set[ast.expr]
    heads: dict[ast.AST, str]
    codecs: dict[ast.expr, int]
    remotes: dict[ast.expr, tuple[str, str]]
    attempts: dict[ast.expr, tuple[str, ...]]
    keys_called: dict[ast.expr, str]
    expanded: dict[ast.AugAssign, ast.BinOp]
    calls: dict[str, dict[str, ast.expr]]  # by method: the methods it calls, and where
    order: list[str]  # the methods, each after those it calls

    def find_test(self, node: ast.expr) -> tuple[int | None, int | None] | None:
        """The least and greatest value to be tested for at run time; None is not tested."""
        allowed, kind = self.tested.get(node), self.types.get(node)
        if allowed is None or not isinstance(kind, Range) or kind.within(allowed):
            return None
        low = allowed.low if kind.low < allowed.low else None
        return low, allowed.high if kind.high > allowed.high else None


def check_contract(parsed: Parsed) -> Checked:
    """Type every expression of every method; a Breach names the rule that is broken."""
    checked = Checked(parsed, {}, {}, {}, set(), {}, {}, {}, {}, {}, {}, {}, [])
    writes: dict[str, ast.AST | None] = {}
    for key in parsed.functions:
        checker = Statements(parsed, key)
        checker.settle()
        checked.types.update(checker.types)
        checked.tested.update(checker.tested)
        checked.helpers.update(checker.helpers)
        checked.stored.update(checker.stored)
        checked.heads.update(checker.heads)
        checked.codecs.update(checker.codecs)
        checked.remotes.update(checker.remotes)
        checked.attempts.update(checker.attempts)
        checked.expanded.update(checker.expanded)
        checked.keys_called.update(checker.keys_called)
        checked.calls[key], writes[key] = checker.calls, checker.writes
    check_calls(checked, writes)
    check_construction(checked)
    return checked


def check_calls(checked: Checked, writes: dict[str, ast.AST | None]) -> None:
    """R8: no cycle, chains of bounded length, no write below a view. Fills `checked.order`."""
    settled: set[str] = set()
    for _ in range(CALL_DEPTH_MAX):  # each round settles the methods one level further up
        level = [
            name
            for name, called in checked.calls.items()
            if name not in settled and settled.issuperset(called)
        ]
        for name in level:
            for other, at in checked.calls[name].items():
                writes[name] = writes[name] or (writes[other] and at)
        settled.update(level)
        checked.order.extend(level)
    for name, called in checked.calls.items():
        if name not in settled:
            deep = [at for other, at in called.items() if other not in settled]
            raise breach("call-depth", deep[0] if deep else checked.parsed.functions[name].node)
    for key, function in checked.parsed.functions.items():
        at_write = writes[key]
        if function.model.kind is Kind.VIEW and at_write is not None:
            raise breach("view-writes", at_write)


def check_construction(checked: Checked) -> None:
    """R6: each base's constructor runs exactly once, by calls that are written out."""
    functions, top = checked.parsed.functions, checked.parsed.top
    makers = {key: each for key, each in functions.items() if each.model.kind is Kind.CONSTRUCTOR}
    runs: dict[str, int] = dict.fromkeys(makers, 0)
    if top.find("__init__") is not None:
        runs["__init__"] = 1
    for key in reversed(checked.order):  # callers before those they call
        for other in checked.calls[key] if key in makers else ():
            if other in makers:
                runs[other] += runs[key]
    for key, times in runs.items():
        if times != 1:
            name = makers[key].owner.name
            hint = f"{name}.__init__ runs {times} times, call {name}.__init__(self, ...) once"
            raise breach("class", top.node, hint)
