"""From the bytes of a source to code that runs: read, checked, instrumented, compiled.

What belongs here: the one entrance of the front, and what binds compiled code to a call. The same
source gives the same verdict, code and prices on every node; the caller keeps the result by code
hash and `rules.RULES_VERSION`.
"""

import ast
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import CellType, CodeType, FunctionType
from typing import Any, NoReturn

from ledger.contract.check import check_contract
from ledger.contract.helpers import Host, Sized
from ledger.contract.instrument import Instrument
from ledger.contract.made import Made
from ledger.contract.model import ContractModel
from ledger.contract.parse import parse_module
from ledger.contract.ranges import TURNS_MAX
from ledger.contract.rules import located
from ledger.contract.source import read_tree

_BUILTINS = {"len": len, "min": min, "max": max, "abs": abs}
"""All that contract code finds outside itself; the rest of its language is syntax and helpers."""


class CompiledContract:
    """Code without state; may be bound any number of times."""

    __slots__ = ("_env", "_idle", "_records", "model", "needs", "scope")

    def __init__(self, model: ContractModel, needs: dict[str, tuple[CodeType, ...]]) -> None:
        self.model = model
        self.needs = needs
        """By method, the code it reaches: called before caller, itself last."""
        self.scope: dict[str, Any] = {"__builtins__": dict(_BUILTINS)}
        self._env: Mapping[str, object] = {}
        self._records: Made[str, CellType]
        self._idle: list[Bound] = []

    def bind(
        self, host: Host, env: Mapping[str, object], gas: int, out: Callable[[], NoReturn]
    ) -> "Bound":
        """The contract over one call's storage and gas.

        `host` is what `self` means in the source; `env` constructs events, errors and structs by
        name; `out` ends the call for good. `gas` is below 2**63, on which loop counters rely.
        """
        assert 0 <= gas < TURNS_MAX
        if env is not self._env:
            self._env, self._records = env, Made(lambda name: CellType(env[name]))
            self._idle.clear()
        bound = self._idle.pop() if self._idle else Bound(self, self._records)
        bound.gas.cell_contents = gas
        bound.host.cell_contents = host
        bound.out.cell_contents = bound.sized.out = out
        bound.sized.allocate = host.allocate
        return bound

    def release(self, bound: "Bound") -> None:
        """Take back what the call that `bind` made it for, now ended, needs no more.

        Contract code cannot outlive its call: it has no generators, and functions are no values.
        """
        del bound.host.cell_contents, bound.out.cell_contents  # or the state would live on here
        del bound.sized.out, bound.sized.allocate
        self._idle.append(bound)


class Bound:
    """A contract for one call at a time. `gas` holds the gas left; the host's doors lower it too.

    Making the functions takes longer than a short method runs, so they are used again.
    """

    __slots__ = ("_cells", "_compiled", "_methods", "_records", "gas", "host", "out", "sized")

    def __init__(self, compiled: CompiledContract, records: Made[str, CellType]) -> None:
        self._compiled, self._records = compiled, records
        self._methods: dict[str, Callable[..., Any]] = {}
        self.sized = Sized()
        self.sized.gas = self.gas = CellType(0)
        self.host, self.out = CellType(), CellType()
        own = {"self": self.host, "$h": CellType(self.sized), "$out": self.out, "$g": self.gas}
        self._cells = own

    def method(self, name: str) -> Callable[..., Any]:
        """A function of the method's parameters, without `self`.

        Only the functions it reaches are made, so a call costs what it uses.
        """
        function = self._methods.get(name)
        if function is None:
            cells, records, scope = self._cells, self._records, self._compiled.scope
            for code in self._compiled.needs[name]:
                closure = tuple([cells.get(free) or records[free] for free in code.co_freevars])
                function = FunctionType(code, scope, code.co_name, None, closure)
                cells[code.co_name] = CellType(function)
            assert function is not None
            self._methods[name] = function
        return function


def compile_contract(source: bytes, filename: str = "<contract>") -> CompiledContract:
    """Compile a contract; ContractRejected names the rule that `source` breaks, and where.

    The caller stands on a shallow stack (fewer than 500 frames): Python's parser counts from there.
    """
    with located(source):
        parsed = parse_module(read_tree(source))
        checked = check_contract(parsed)
    model = replace(parsed.model, codecs=tuple(parsed.codecs), sends=parsed.sends)
    codes: dict[str, CodeType] = {}
    files = {
        function.owner.file: function.owner.declarations for function in parsed.functions.values()
    }
    for file, declared in files.items():
        instrument = Instrument(checked, declared)
        functions = [
            instrument.method(function.node, key)
            for key, function in parsed.functions.items()
            if function.owner.file == file
        ]
        others = [f"self.{key}" for key in parsed.functions]
        tree = build_module(functions, [*sorted(declared.names), *others])
        code = compile(tree, file or filename, "exec", flags=0, dont_inherit=True, optimize=0)
        codes.update({item.co_name: item for item in inner_code(inner_code(code)[0])})
    needs: dict[str, tuple[CodeType, ...]] = {}
    for key in checked.order:
        below = [item for other in checked.calls[key] for item in needs[other]]
        needs[key] = (*dict.fromkeys(below), codes[f"self.{key}"])
    return CompiledContract(model, needs)


def inner_code(code: CodeType) -> list[CodeType]:
    """The functions defined directly in `code`."""
    return [item for item in code.co_consts if isinstance(item, CodeType)]


def build_module(functions: list[ast.FunctionDef], records: list[str]) -> ast.Module:
    """`def factory(self, $h, $out, $g, *records)` around the methods: it is compiled, never run.

    Inside it the methods see each other, those of other modules and the call's objects as free
    variables: `records` are the names of them all.
    """
    tree = ast.parse("def factory(): pass")
    factory = tree.body[0]
    assert isinstance(factory, ast.FunctionDef)
    factory.args.args = [ast.arg(item) for item in ("self", "$h", "$out", "$g", *records)]
    factory.body = list(functions) or [ast.Pass()]
    fill_locations(tree)
    return tree


def fill_locations(tree: ast.Module) -> None:
    """`ast.fix_missing_locations` in half its time: a node without a place takes its parent's."""
    stack: list[tuple[ast.AST, tuple[int, int, int, int]]] = [(tree, (1, 0, 1, 0))]
    while stack:
        node, place = stack.pop()
        if node._attributes:
            line = getattr(node, "lineno", None)
            if line is None:
                node.lineno, node.col_offset = place[:2]  # type: ignore[attr-defined]
                node.end_lineno, node.end_col_offset = place[2:]  # type: ignore[attr-defined]
            else:
                column = node.col_offset  # type: ignore[attr-defined]
                end = getattr(node, "end_lineno", None) or line
                end_column = getattr(node, "end_col_offset", None)
                place = line, column, end, column if end_column is None else end_column
        for name in node._fields:
            value = getattr(node, name, None)
            if isinstance(value, list):
                stack += [(each, place) for each in value if isinstance(each, ast.AST)]
            elif isinstance(value, ast.AST) and (value._fields or value._attributes):
                stack.append((value, place))
