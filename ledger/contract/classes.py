"""Classes of contracts: one read on its own, and several laid over each other (rules R4, R6, R7).

What belongs here: the fields and methods that a class declares, the order of its bases, and the one
flat contract that is deployed. Storage stands in Solidity's linearised order, most basic first;
which method is meant follows Python's order, and where the two could differ an override is asked
for. Source: Solidity, "Multiple Inheritance and Linearization"; Python's C3.
"""

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field

from ledger.contract.annotations import SELF_NAMES, Declarations, check_name
from ledger.contract.model import Kind, MethodModel
from ledger.contract.records import read_field
from ledger.contract.rules import breach
from ledger.contract.signatures import check_abi_names, parse_method, plain_body
from ledger.contract.types import RoleType, StorageType

ANCESTORS_MAX = 16
"""Classes that one contract is made of."""
FIELDS_MAX = 256
"""Of storage: each costs whoever makes a program ready 2 us, for a source of ten bytes."""


@dataclass(frozen=True, slots=True)
class Function:
    """A method as some class declares it; `node` is instrumented in place."""

    node: ast.FunctionDef
    model: MethodModel
    owner: "Class"


@dataclass(eq=False, slots=True)
class Class:
    """A contract class. `mro` and `layout` begin with it, resp. end with it."""

    name: str
    node: ast.ClassDef
    declarations: Declarations
    bases: tuple["Class", ...]
    file: str
    """Where it stands: "" is the deployed source, else a module of the standard library."""
    mro: tuple["Class", ...] = ()
    layout: tuple["Class", ...] = ()
    fields: dict[str, StorageType] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)

    def find(self, name: str) -> Function | None:
        """The method that `name` means in an instance of this class."""
        return next((each.functions[name] for each in self.mro if name in each.functions), None)

    def list_fields(self) -> dict[str, StorageType]:
        return {name: kind for each in self.layout for name, kind in each.fields.items()}


def linearise(
    owner: Class, bases: Sequence[Class], orders: Sequence[tuple[Class, ...]]
) -> list[Class]:
    """C3: each class before its bases, bases in the order given."""
    rest = [list(order) for order in orders] + [list(bases)]
    result = [owner]
    while any(rest):
        rest = [order for order in rest if order]
        heads = [order[0] for order in rest]
        free = [head for head in heads if not any(head in order[1:] for order in rest)]
        if not free or len(result) > ANCESTORS_MAX:
            hint = f"at most {ANCESTORS_MAX} classes, bases in an order that all of them share"
            raise breach("class", owner.node, hint)
        result.append(free[0])
        rest = [[each for each in order if each is not free[0]] for order in rest]
    return result


def parse_contract_class(
    node: ast.ClassDef, bases: tuple[Class, ...], declared: Declarations, file: str
) -> Class:
    """The class that a statement declares; its methods' bodies are left to `check`."""
    made = Class(node.name, node, declared, bases, file)
    made.mro = tuple(linearise(made, bases, [base.mro for base in bases]))
    backwards = bases[::-1]
    above = [base.layout[::-1] for base in backwards]
    made.layout = tuple(linearise(made, backwards, above)[::-1])
    inherited = check_bases(made)
    kind: StorageType | None
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
        taken = name in made.fields or name in made.functions or name in inherited
        if taken or name in declared.names or name in SELF_NAMES:
            raise breach("binding", statement, f"{name} is taken")
        if isinstance(statement, ast.FunctionDef):
            fields = {**inherited, **made.fields}
            made.functions[name] = parse_override(statement, made, fields)
        elif made.find(name) is not None:
            raise breach("binding", statement, f"{name} is a method of a base")
        else:
            assert kind is not None
            check_name(name, statement)
            made.fields[name] = kind
    if len(inherited) + len(made.fields) > FIELDS_MAX:
        raise breach(
            "class", node, f"a contract has at most {FIELDS_MAX} fields; use a Map or Array"
        )
    check_ambiguous(made)
    return made


def check_bases(made: Class) -> dict[str, StorageType]:
    """The fields of all bases, which may not share a name with another's field or method."""
    inherited: dict[str, StorageType] = {}
    for base in made.mro[1:]:
        for name, kind in base.fields.items():
            if name in inherited or any(name in each.functions for each in made.mro[1:]):
                raise breach("binding", made.node, f"two bases declare {name}")
            inherited[name] = kind
    return inherited


def parse_override(node: ast.FunctionDef, owner: Class, fields: dict[str, StorageType]) -> Function:
    """A method; marked `@override` exactly where a base has one of its name and signature."""
    declared, decorators = owner.declarations, node.decorator_list
    marked = bool(decorators) and declared.has(decorators[0], "override")
    if marked:
        node.decorator_list = decorators[1:]
    model = parse_method(node, fields, declared)
    hidden = next((each for each in owner.mro[1:] if node.name in each.functions), None)
    if model.kind is Kind.CONSTRUCTOR:
        hidden = None
    if marked != (hidden is not None):
        hint = (
            f"{hidden.name} has a {node.name}: mark this @override" if hidden else "no base has it"
        )
        raise breach("override", node, hint)
    if hidden is not None:
        other = hidden.functions[node.name].model
        types = [each.type for each in model.parameters]
        same = types == [each.type for each in other.parameters] and model.returns == other.returns
        if not same or (model.kind, model.payable) != (other.kind, other.payable):
            raise breach("override", node, f"{hidden.name} declares it with another signature")
    return Function(node, model, owner)


def check_ambiguous(made: Class) -> None:
    """R7: of two bases that know nothing of each other only one declares a method's name."""
    for name in sorted({name for base in made.mro[1:] for name in base.functions}):
        if name in made.functions or name == "__init__":
            continue
        owners = [base for base in made.mro[1:] if name in base.functions]
        if any(other not in owners[0].mro for other in owners):
            names = " and ".join([each.name for each in owners])
            raise breach("override", made.node, f"{names} have a {name}: override it here")


def flatten(top: Class) -> dict[str, Function]:
    """The methods of a contract by key: `name`, or `Base.name` of one that is overridden."""
    functions: dict[str, Function] = {}
    for owner in top.layout:
        for function in owner.functions.values():
            functions[get_key(top, function)] = function
    outside = {key: each for key, each in functions.items() if key == each.model.name}
    models = {name: each.model for name, each in outside.items()}
    check_abi_names(models, {name: each.node for name, each in outside.items()})
    return functions


def get_key(top: Class, function: Function) -> str:
    name = function.model.name
    return name if top.find(name) is function else f"{function.owner.name}.{name}"


def read_role(statement: ast.Assign, declared: Declarations) -> str:
    """`operators = Role()`."""
    call, target = statement.value, statement.targets[0]
    made = isinstance(call, ast.Call) and declared.has(call.func, "Role")
    if made and isinstance(target, ast.Name) and not statement.targets[1:]:
        assert isinstance(call, ast.Call)
        if not call.args and not call.keywords:
            return target.id
    raise breach("class", statement, "storage is `name: type` or `name = Role()`")
