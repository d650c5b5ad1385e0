"""From a tree to a ContractModel: what a source declares (rules R6 and R7). Nothing is executed.

What belongs here: the module's and class's static parts - import, constants, records, storage,
decorators, signatures - read as data. What a method's body does is `check`'s.
"""

import ast
from dataclasses import dataclass

from ledger.contract.annotations import (
    EXPORTS,
    SELF_NAMES,
    Declarations,
    check_name,
)
from ledger.contract.constants import parse_constant
from ledger.contract.model import (
    ContractModel,
    MethodModel,
    StorageField,
)
from ledger.contract.records import parse_record, read_field
from ledger.contract.rules import breach, located
from ledger.contract.signatures import (
    check_abi_names,
    parse_method,
    plain_body,
    read_docstring,
)
from ledger.contract.source import find_docstring, read_tree
from ledger.contract.types import RoleType, StorageType


@dataclass(frozen=True, slots=True)
class Parsed:
    model: ContractModel
    declarations: Declarations
    functions: dict[str, ast.FunctionDef]  # by Python name, docstrings taken off


def parse_contract(source: bytes) -> Parsed:
    """Read what `source` declares. ContractRejected names the rule it breaks (R1-R3, R6, R7)."""
    with located(source):
        return parse_module(read_tree(source))


def parse_module(tree: ast.Module) -> Parsed:
    declared = Declarations()
    contract: ast.ClassDef | None = None
    body = tree.body[1:] if find_docstring(tree) else tree.body
    if not body or not isinstance(body[0], ast.ImportFrom):
        raise breach("import", body[0] if body else tree)
    parse_import(body[0], declared)
    for statement in body[1:]:
        if isinstance(statement, ast.ClassDef):
            declared.bind(statement.name, statement)
            base = statement.bases[0] if len(statement.bases) == 1 else statement
            if declared.has(base, "Contract") and contract is None:
                contract = statement
            elif isinstance(base, ast.Name) and base.id in declared.imported:
                parse_record(statement, base.id, declared)
            else:
                raise breach(
                    "class",
                    statement,
                    "one Contract; Event, Revert, Struct, Enum or Interface beside it",
                )
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            parse_constant(statement, declared)
        else:
            raise breach("import" if isinstance(statement, ast.ImportFrom) else "module", statement)
    if contract is None:
        raise breach("module", tree, "declare one class X(Contract)")
    return parse_class(contract, declared, read_docstring(tree))


def parse_import(statement: ast.ImportFrom, declared: Declarations) -> None:
    for alias in statement.names:
        if statement.module != "ledger.contract" or alias.name not in EXPORTS:
            raise breach("import", statement, f"ledger.contract has no {alias.name} for contracts")
        declared.imported.add(alias.name)


def parse_class(node: ast.ClassDef, declared: Declarations, module_doc: str) -> Parsed:
    fields: dict[str, StorageType] = {}
    kind: StorageType | None
    methods: dict[str, MethodModel] = {}
    functions: dict[str, ast.FunctionDef] = {}
    for statement in plain_body(node):
        if isinstance(statement, ast.Pass):
            continue
        if isinstance(statement, ast.FunctionDef):
            name, kind = statement.name, None
            if name != "__init__":
                check_name(name, statement)
        elif isinstance(statement, ast.Assign):
            name, kind = read_role(statement, declared), RoleType()
        else:
            name, annotation = read_field(statement)
            kind = declared.read_storage(annotation)
        if name in fields or name in methods or name in declared.names or name in SELF_NAMES:
            raise breach("binding", statement, f"{name} is taken")
        if isinstance(statement, ast.FunctionDef):
            methods[name] = parse_method(statement, fields, declared)
            functions[name] = statement
        else:
            assert kind is not None
            check_name(name, statement)
            fields[name] = kind
    check_abi_names(methods, functions)
    model = ContractModel(
        name=node.name,
        docstring=read_docstring(node) or module_doc,
        fields=tuple(StorageField(name, kind) for name, kind in fields.items()),
        methods=tuple(methods.values()),
        structs=tuple(declared.structs.values()),
        events=tuple(declared.events.values()),
        errors=tuple(declared.errors.values()),
        enums=tuple(declared.enums.values()),
        interfaces=tuple(declared.interfaces.values()),
        constants=dict(declared.constants),
    )
    return Parsed(model, declared, functions)


def read_role(statement: ast.Assign, declared: Declarations) -> str:
    """`operators = Role()`."""
    call, target = statement.value, statement.targets[0]
    made = isinstance(call, ast.Call) and declared.has(call.func, "Role")
    if made and isinstance(target, ast.Name) and not statement.targets[1:]:
        assert isinstance(call, ast.Call)
        if not call.args and not call.keywords:
            return target.id
    raise breach("class", statement, "storage is `name: type` or `name = Role()`")
