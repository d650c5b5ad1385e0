"""What stands beside a contract: events, reverts, structs, enums, interfaces (rules R6, R7).

What belongs here: classes of fields or signatures alone, read as data. The contract's own class is
`parse`, the signatures of methods `signatures`.
"""

import ast

from ledger.contract.annotations import Declarations
from ledger.contract.model import (
    InterfaceModel,
    Kind,
    MethodModel,
    Parameter,
    RecordModel,
    external_name,
)
from ledger.contract.rules import breach
from ledger.contract.signatures import check_abi_names, parse_method, plain_body
from ledger.contract.types import EnumType, StructType, TupleType

INDEXED_MAX = 3
"""A log has four topics; the first is the event itself."""
ENUM_MEMBERS_MAX = 256
"""What a uint8 counts."""
TAKEN_ERRORS = frozenset(("Error", "Panic", "Unauthorized", "CallFailed"))
"""Reverts that every ABI knows already."""


def parse_record(node: ast.ClassDef, base: str, declared: Declarations) -> None:
    """An event, a revert or a struct: annotated fields and nothing else; or an enum."""
    if base == "Enum":
        declared.enums[node.name] = parse_enum(node)
        return
    if base == "Interface":
        declared.interfaces[node.name] = parse_interface(node, declared)
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
    declared.check_nodes([item.type for item in fields], node)
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
        raise breach("class", node, "an empty Struct, or a name of every ABI: Error, Panic, ...")


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


def parse_interface(node: ast.ClassDef, declared: Declarations) -> InterfaceModel:
    """Signatures of another contract's methods; their bodies are `...`, or a docstring."""
    methods: dict[str, MethodModel] = {}
    functions: dict[str, ast.FunctionDef] = {}
    for statement in plain_body(node):
        if not isinstance(statement, ast.FunctionDef):
            raise breach("class", statement, "an Interface has methods alone")
        name = statement.name
        method = parse_method(statement, {}, declared)
        if name in methods or "__" in name or method.kind not in (Kind.VIEW, Kind.WRITE):
            raise breach("class", statement, "methods of an Interface: @view, @write, once each")
        body = plain_body(statement)
        empty = [isinstance(item, ast.Expr) and is_ellipsis(item.value) for item in body]
        if len(body) > 1 or not all(empty):
            raise breach("class", statement, "the body of an Interface's method is ...")
        methods[name], functions[name] = method, statement
    if not methods:
        raise breach("class", node, "an Interface has methods")
    check_abi_names(methods, functions)
    return InterfaceModel(node.name, tuple(methods.values()))


def is_ellipsis(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is ...


def read_field(statement: ast.stmt) -> tuple[str, ast.expr]:
    """`name: annotation`, as records and storage declare it."""
    if isinstance(statement, ast.AnnAssign) and statement.value is None and statement.simple:
        assert isinstance(statement.target, ast.Name)
        return statement.target.id, statement.annotation
    raise breach("class", statement, "fields are declared as `name: type`")
