"""From the bytes of a source to code that runs: read, checked, instrumented, compiled.

What belongs here: the one entrance of the front, and what binds compiled code to a call. The same
source gives the same verdict, code and prices on every node; the caller keeps the result by code
hash and `rules.RULES_VERSION`.
"""

import ast
from collections.abc import Callable, Mapping
from types import CellType
from typing import Any, NoReturn

from ledger.contract.check import check_contract
from ledger.contract.helpers import Host, Sized
from ledger.contract.instrument import Instrument, name
from ledger.contract.model import ContractModel
from ledger.contract.parse import parse_module
from ledger.contract.ranges import TURNS_MAX
from ledger.contract.rules import located
from ledger.contract.source import read_tree

_BUILTINS = {"len": len, "min": min, "max": max, "abs": abs}
"""All that contract code finds outside itself; the rest of its language is syntax and helpers."""


class Bound:
    """The methods of a contract, bound to one call."""

    __slots__ = ("gas", "methods")

    def __init__(self, methods: dict[str, Callable[..., Any]], gas: CellType) -> None:
        self.methods = methods
        self.gas = gas


class CompiledContract:
    """Code without state; may be bound any number of times."""

    __slots__ = ("_factory", "_methods", "_records", "model")

    def __init__(
        self, model: ContractModel, records: tuple[str, ...], factory: Callable[..., Any]
    ) -> None:
        self.model = model
        self._records = records
        self._methods = tuple(method.name for method in model.methods)
        self._factory = factory

    def bind(
        self, host: Host, env: Mapping[str, object], gas: int, out: Callable[[], NoReturn]
    ) -> Bound:
        """Functions over one call's storage and gas, by Python name, without `self`.

        `host` is what `self` means in the source; `env` constructs events, errors and structs by
        name; `out` ends the call for good. The gas left stands in the cell of the result, which
        the host's doors lower too. `gas` is below 2**63, on which loop counters rely.
        """
        assert 0 <= gas < TURNS_MAX
        sized = Sized(host, out)
        records = [env[record] for record in self._records]
        *functions, probe = self._factory(host, sized, out, gas, *records)
        sized.gas = probe.__closure__[0]
        return Bound(dict(zip(self._methods, functions, strict=True)), sized.gas)


def compile_contract(source: bytes, filename: str = "<contract>") -> CompiledContract:
    """Compile a contract; ContractRejected names the rule that `source` breaks, and where."""
    with located(source):
        parsed = parse_module(read_tree(source))
        checked = check_contract(parsed)
    model = parsed.model
    named = [item.name for item in model.structs], [item.name for item in model.events]
    records = (*named[0], *named[1], *(item.name for item in model.errors))
    instrument = Instrument(checked)
    functions = [instrument.method(parsed.functions[method.name]) for method in model.methods]
    tree = build_module(functions, records)
    code = compile(tree, filename, "exec", flags=0, dont_inherit=True, optimize=0)
    namespace: dict[str, Any] = {"__builtins__": dict(_BUILTINS)}
    exec(code, namespace)  # defines the factory; runs nothing of the author's
    return CompiledContract(model, records, namespace["$factory"])


def build_module(functions: list[ast.FunctionDef], records: tuple[str, ...]) -> ast.Module:
    """`def $factory(self, $h, $out, $g, *records)` around the methods and a probe of $g's cell."""
    tree = ast.parse("def factory():\n    def probe(): return 0")
    factory = tree.body[0]
    assert isinstance(factory, ast.FunctionDef)
    probe = factory.body[0]
    assert isinstance(probe, ast.FunctionDef)
    probe.body = [ast.Return(name("$g"))]
    factory.name = "$factory"
    factory.args.args = [ast.arg(item) for item in ("self", "$h", "$out", "$g", *records)]
    made = [name(function.name) for function in (*functions, probe)]
    factory.body = [*functions, probe, ast.Return(ast.Tuple(list(made), ast.Load()))]
    return ast.fix_missing_locations(tree)
