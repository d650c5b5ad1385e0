"""The signatures of methods: decorators, parameters, results (rules R6, R7), read as data.

What belongs here: how a method may be called and with what, for contracts and interfaces alike.
"""

import ast
from collections.abc import Mapping

from ledger.contract.annotations import Declarations, literal_fits
from ledger.contract.model import Kind, MethodModel, Parameter, external_name
from ledger.contract.rules import breach
from ledger.contract.source import find_docstring
from ledger.contract.types import RoleType, StorageType, TupleType

RECEIVE = "receive"
"""The method that plain coin reaches."""
MIGRATE = "migrate"
"""The method that an upgrade to this source runs once."""


def read_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> str:
    return (ast.get_docstring(node) or "") if find_docstring(node) else ""


def plain_body(node: ast.ClassDef | ast.FunctionDef) -> list[ast.stmt]:
    """The statements after the docstring."""
    return node.body[1:] if find_docstring(node) else node.body


def parse_method(
    node: ast.FunctionDef, fields: Mapping[str, StorageType], declared: Declarations
) -> MethodModel:
    """The signature of a method; its body is left to `check`."""
    kind, payable, role, reentrant = read_decorators(node, fields, declared)
    arguments = node.args.args
    if node.args.defaults and kind is not Kind.INTERNAL:
        raise breach("form", node.args.defaults[0], "defaults are for _helpers only")
    if not arguments or arguments[0].arg != "self" or arguments[0].annotation is not None:
        raise breach("class", node, "the first parameter of a method is self")
    parameters = []
    for item in arguments[1:]:
        parameters.append(Parameter(item.arg, declared.read_value(item.annotation or item)))
        if isinstance(parameters[-1].type, TupleType):
            raise breach("type", item, "a parameter is a value, a Struct or a list")
    for parameter, default in zip(parameters[::-1], node.args.defaults[::-1], strict=False):
        if not isinstance(default, ast.Constant) or not literal_fits(default.value, parameter.type):
            raise breach("type", default, "a default is a literal of its parameter's type")
    returns = None
    if not (isinstance(node.returns, ast.Constant) and node.returns.value is None):
        if node.returns is None:
            raise breach("annotation", node, "say what it returns; -> None where nothing is")
        returns = declared.read_value(node.returns)
    outputs = [] if returns is None else [returns]
    declared.check_nodes([*[item.type for item in parameters], *outputs], node)
    if kind in (Kind.CONSTRUCTOR, Kind.MIGRATION) and returns is not None:
        raise breach("type", node, f"{node.name} returns None")
    if kind is Kind.MIGRATION and parameters:
        raise breach("type", node, "an upgrade gives migrate no arguments")
    if node.name == RECEIVE and (not payable or role or parameters or returns is not None):
        raise breach("decorator", node, "@payable def receive(self) -> None: it takes plain coin")
    return MethodModel(
        name=node.name,
        kind=kind,
        parameters=tuple(parameters),
        returns=returns,
        payable=payable,
        role=role,
        docstring=read_docstring(node),
        line=node.lineno,
        reentrant=reentrant,
    )


def read_decorators(
    node: ast.FunctionDef, fields: Mapping[str, StorageType], declared: Declarations
) -> tuple[Kind, bool, str | None, bool]:
    """What a method's one decorator says: kind, payable, role, reentrant."""
    constructor, internal = node.name == "__init__", node.name.startswith("_")
    if not node.decorator_list:
        if node.name == MIGRATE:
            return Kind.MIGRATION, False, None, False
        if not internal:
            raise breach("decorator", node, "@view, @write, or a name with a leading underscore")
        return (Kind.CONSTRUCTOR if constructor else Kind.INTERNAL), False, None, False
    decorator = node.decorator_list[0]
    payable = declared.has(decorator, "payable")
    hidden = (internal and not (constructor and payable)) or node.name == MIGRATE
    if len(node.decorator_list) > 1 or hidden:
        raise breach("decorator", decorator, "one decorator; none on _names and migrate")
    if constructor:
        return Kind.CONSTRUCTOR, True, None, False
    if declared.has(decorator, "view"):
        return Kind.VIEW, False, None, False
    if payable or declared.has(decorator, "write"):
        return Kind.WRITE, payable, None, False
    if isinstance(decorator, ast.Call) and not decorator.args and decorator.keywords:
        payable = declared.has(decorator.func, "payable")
        known = payable or declared.has(decorator.func, "write")
        given = {keyword.arg: keyword.value for keyword in decorator.keywords}
        by, reentrant = given.pop("by", None), given.pop("reentrant", None)
        role = by.id if isinstance(by, ast.Name) else None
        right = by is None or (role is not None and isinstance(fields.get(role), RoleType))
        again = isinstance(reentrant, ast.Constant) and reentrant.value is True
        if known and right and (again or reentrant is None) and not given:
            return Kind.WRITE, payable, role, again
    hint = "view, write, payable; write(by=role), operators = Role() above; write(reentrant=True)"
    raise breach("decorator", decorator, hint)


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
