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
    Kind,
    MethodModel,
    Parameter,
    RecordModel,
    StorageField,
    external_name,
)
from ledger.contract.rules import breach, located
from ledger.contract.source import find_docstring, read_tree
from ledger.contract.types import EnumType, RoleType, StorageType, StructType, TupleType

INDEXED_MAX = 3
"""A log has four topics; the first is the event itself."""
ENUM_MEMBERS_MAX = 256
"""What a uint8 counts."""
TAKEN_ERRORS = frozenset(("Error", "Panic", "Unauthorized"))
"""Reverts that every ABI knows already."""


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
                    "class", statement, "one Contract; Event, Revert, Struct or Enum beside it"
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


def read_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> str:
    return (ast.get_docstring(node) or "") if find_docstring(node) else ""


def plain_body(node: ast.ClassDef | ast.FunctionDef) -> list[ast.stmt]:
    """The statements after the docstring."""
    return node.body[1:] if find_docstring(node) else node.body


def parse_record(node: ast.ClassDef, base: str, declared: Declarations) -> None:
    """An event, a revert or a struct: annotated fields and nothing else; or an enum."""
    if base == "Enum":
        declared.enums[node.name] = parse_enum(node)
        return
    fields: list[Parameter] = []
    for statement in plain_body(node):
        if isinstance(statement, ast.Pass):
            continue
        name, annotation = read_field(statement)
        if name.startswith("_") or "__" in name or name in (item.name for item in fields):
            raise breach("binding", statement, "record fields: once each, no leading underscore")
        marked = isinstance(annotation, ast.Subscript) and declared.has(annotation.value, "indexed")
        if marked and base == "Event":
            assert isinstance(annotation, ast.Subscript)
            annotation = annotation.slice
        kind = declared.read_value(annotation)
        if isinstance(kind, TupleType):
            raise breach("type", statement, "a field is one value; of several make a Struct")
        fields.append(Parameter(name, kind, marked))
    if len({external_name(item.name) for item in fields}) < len(fields):
        raise breach("abi-name", node)
    if sum(item.indexed for item in fields) > INDEXED_MAX:
        raise breach("class", node, f"at most {INDEXED_MAX} fields of an event are indexed")
    record = RecordModel(node.name, tuple(fields))
    if base == "Event":
        declared.events[node.name] = record
    elif base == "Revert" and node.name not in TAKEN_ERRORS:
        declared.errors[node.name] = record
    elif base == "Struct" and fields:
        pairs = tuple((item.name, item.type) for item in fields)
        struct = StructType(node.name, pairs)
        declared.bounded(struct, node)
        declared.structs[node.name] = struct
    else:
        raise breach("class", node, "a Struct has fields; Error, Panic, Unauthorized are taken")


def parse_enum(node: ast.ClassDef) -> EnumType:
    """`NAME = number`, from 0 on without gaps, as Solidity counts."""
    members: list[str] = []
    for statement in plain_body(node):
        target = statement.targets[0] if isinstance(statement, ast.Assign) else None
        value = statement.value if isinstance(statement, ast.Assign) else None
        number = value.value if isinstance(value, ast.Constant) else None
        if not isinstance(target, ast.Name) or type(number) is not int or number != len(members):
            raise breach(
                "class", statement, f"members are NAME = number: the next is {len(members)}"
            )
        if not target.id.isupper() or "__" in target.id or target.id in members:
            raise breach("binding", statement, "members are in CAPITALS, once each")
        members.append(target.id)
    if not 0 < len(members) <= ENUM_MEMBERS_MAX:
        raise breach("class", node, f"an Enum has 1 to {ENUM_MEMBERS_MAX} members")
    return EnumType(node.name, tuple(members))


def read_field(statement: ast.stmt) -> tuple[str, ast.expr]:
    """`name: annotation`, as records and storage declare it."""
    if isinstance(statement, ast.AnnAssign) and statement.value is None and statement.simple:
        assert isinstance(statement.target, ast.Name)
        return statement.target.id, statement.annotation
    raise breach("class", statement, "fields are declared as `name: type`")


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


def parse_method(
    node: ast.FunctionDef, fields: dict[str, StorageType], declared: Declarations
) -> MethodModel:
    """The signature of a method; its body is left to `check`."""
    kind, payable, role = read_decorators(node, fields, declared)
    arguments = node.args.args
    if not arguments or arguments[0].arg != "self" or arguments[0].annotation is not None:
        raise breach("class", node, "the first parameter of a method is self")
    parameters = []
    for item in arguments[1:]:
        parameters.append(Parameter(item.arg, declared.read_value(item.annotation or item)))
        if isinstance(parameters[-1].type, TupleType):
            raise breach("type", item, "a parameter is a value, a Struct or a list")
    returns = None
    if not (isinstance(node.returns, ast.Constant) and node.returns.value is None):
        if node.returns is None:
            raise breach("annotation", node, "say what it returns; -> None where nothing is")
        returns = declared.read_value(node.returns)
    if kind is Kind.CONSTRUCTOR and returns is not None:
        raise breach("type", node, "__init__ returns None")
    return MethodModel(
        name=node.name,
        kind=kind,
        parameters=tuple(parameters),
        returns=returns,
        payable=payable,
        role=role,
        docstring=read_docstring(node),
        line=node.lineno,
    )


def read_decorators(
    node: ast.FunctionDef, fields: dict[str, StorageType], declared: Declarations
) -> tuple[Kind, bool, str | None]:
    """What a method's one decorator says: kind, payable, role."""
    constructor, internal = node.name == "__init__", node.name.startswith("_")
    if not node.decorator_list:
        if not internal:
            raise breach("decorator", node, "@view, @write, or a name with a leading underscore")
        return (Kind.CONSTRUCTOR if constructor else Kind.INTERNAL), False, None
    decorator = node.decorator_list[0]
    payable = declared.has(decorator, "payable")
    if len(node.decorator_list) > 1 or (internal and not (constructor and payable)):
        raise breach("decorator", decorator, "one decorator; none where the name begins with _")
    if constructor:
        return Kind.CONSTRUCTOR, True, None
    if declared.has(decorator, "view"):
        return Kind.VIEW, False, None
    if payable or declared.has(decorator, "write"):
        return Kind.WRITE, payable, None
    if isinstance(decorator, ast.Call) and not decorator.args and len(decorator.keywords) == 1:
        by, payable = decorator.keywords[0], declared.has(decorator.func, "payable")
        role = by.value.id if by.arg == "by" and isinstance(by.value, ast.Name) else ""
        known = payable or declared.has(decorator.func, "write")
        if known and isinstance(fields.get(role), RoleType):
            return Kind.WRITE, payable, role
    raise breach("decorator", decorator, "a role is declared above: operators = Role()")


def check_abi_names(methods: dict[str, MethodModel], functions: dict[str, ast.FunctionDef]) -> None:
    """R7: outside, a name is one method, and a parameter's name is used once."""
    outside: set[str] = set()
    for name, method in methods.items():
        if method.kind in (Kind.VIEW, Kind.WRITE):
            if external_name(name) in outside:
                raise breach("abi-name", functions[name])
            outside.add(external_name(name))
        if len({external_name(item.name) for item in method.parameters}) < len(method.parameters):
            raise breach("abi-name", functions[name])
