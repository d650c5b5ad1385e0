"""From a tree to a ContractModel: what a source declares (rules R6 and R7). Nothing is executed.

What belongs here: a module's statements - import, constants, records, classes - read as data, and
which class is the one that is deployed. What a method's body does is `check`'s.
"""

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from ledger.contract.annotations import EXPORTS, Declarations
from ledger.contract.classes import Class, Function, flatten, parse_contract_class
from ledger.contract.constants import parse_constant
from ledger.contract.library import LIBRARY, read_library
from ledger.contract.model import ContractModel, StorageField
from ledger.contract.records import parse_record
from ledger.contract.rules import breach, located
from ledger.contract.signatures import read_docstring
from ledger.contract.source import find_docstring, read_tree
from ledger.contract.types import ValueType

T = TypeVar("T")


@dataclass(slots=True)
class Parsed:
    """A contract laid flat; `codecs` and `sends` are filled while its methods are checked."""

    model: ContractModel
    top: Class
    functions: dict[str, Function]
    """By key: `name`, or `Base.name` of a method that is overridden."""
    codecs: dict[tuple[ValueType, ...], int] = field(default_factory=dict)
    sends: bool = False

    @property
    def declarations(self) -> Declarations:
        return self.top.declarations


def parse_contract(source: bytes) -> Parsed:
    """Read what `source` declares. ContractRejected names the rule it breaks (R1-R3, R6, R7)."""
    with located(source):
        return parse_module(read_tree(source))


def parse_module(tree: ast.Module) -> Parsed:
    """The contract that a source deploys: its class that no other is built on."""
    declared = read_module(tree, "", {})
    own = [each for each in declared.classes.values() if each.declarations is declared]
    tops = [each for each in own if not any(each in other.mro[1:] for other in own)]
    if len(tops) != 1:
        hint = "declare one class X(Contract), and beside it only what it is built on"
        raise breach("module", tops[1].node if tops else tree, hint)
    return lay_flat(tops[0], read_docstring(tree))


def read_module(tree: ast.Module, file: str, modules: dict[str, Declarations]) -> Declarations:
    """What a module declares; `modules` are those of the standard library read so far."""
    declared = Declarations()
    body = tree.body[1:] if find_docstring(tree) else tree.body
    if not body or not isinstance(body[0], ast.ImportFrom):
        raise breach("import", body[0] if body else tree)
    parse_import(body[0], declared, modules)
    for statement in body[1:]:
        if isinstance(statement, ast.ClassDef):
            parse_class(statement, declared, file)
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            parse_constant(statement, declared)
        else:
            raise breach("import" if isinstance(statement, ast.ImportFrom) else "module", statement)
    return declared


def parse_import(
    statement: ast.ImportFrom, declared: Declarations, modules: dict[str, Declarations]
) -> None:
    """`from ledger.contract import ...`: names of the language, or of contracts to build on."""
    for alias in statement.names:
        name = alias.name
        known = name in EXPORTS or name in LIBRARY
        if statement.module != "ledger.contract" or not known:
            raise breach("import", statement, f"ledger.contract has no {name} for contracts")
        if name in EXPORTS:
            declared.imported.add(name)
            continue
        module = LIBRARY[name]
        if module not in modules:
            text, path = read_library(module)
            modules[module] = read_module(read_tree(text), path, modules)
        declared.adopt(name, modules[module], alias)


def parse_class(node: ast.ClassDef, declared: Declarations, file: str) -> None:
    """A record, or a contract: its bases are Contract or contracts above."""
    names = [base.id if isinstance(base, ast.Name) else "" for base in node.bases]
    bases = tuple([declared.classes[name] for name in names if name in declared.classes])
    contract = len(names) == 1 and declared.has(node.bases[0], "Contract")
    if contract or (bases and len(bases) == len(set(names)) == len(names)):
        declared.bind(node.name, node)
        declared.classes[node.name] = parse_contract_class(node, bases, declared, file)
    elif len(names) == 1 and names[0] in declared.imported:
        declared.bind(node.name, node)
        parse_record(node, names[0], declared)
    else:
        raise breach("class", node, "a base: Contract, a contract above, Event, Revert, Struct")


def lay_flat(top: Class, module_doc: str) -> Parsed:
    """One contract of a class and all that it inherits, as if it were written in one place."""
    functions = flatten(top)
    sources = list(dict.fromkeys([*[each.declarations for each in top.layout], top.declarations]))
    methods = [each.model for key, each in functions.items() if key == each.model.name]
    model = ContractModel(
        name=top.name,
        docstring=read_docstring(top.node) or module_doc,
        fields=tuple([StorageField(*item) for item in top.list_fields().items()]),
        methods=tuple(methods),
        structs=merge(top, [each.structs for each in sources]),
        events=merge(top, [each.events for each in sources]),
        errors=merge(top, [each.errors for each in sources]),
        enums=merge(top, [each.enums for each in sources]),
        interfaces=merge(top, [each.interfaces for each in sources]),
        constants=dict(top.declarations.constants),
    )
    records = (model.structs, model.events, model.errors)
    names = [record.name for each in records for record in each]
    if len(set(names)) < len(names):
        raise breach("binding", top.node, "a name is declared here and in the standard library")
    return Parsed(model, top, functions)


def merge(top: Class, declared: Iterable[Mapping[str, T]]) -> tuple[T, ...]:
    """What several modules declare; one name is one thing."""
    merged: dict[str, T] = {}
    for each in declared:
        for name, item in each.items():
            if merged.setdefault(name, item) is not item:
                raise breach("binding", top.node, f"{name} is in the standard library: import it")
    return tuple(merged.values())
