"""Module constants: literals, and what is worked out of them when a contract is read (R2, R6).

What belongs here: arithmetic on integers, `keccak256(b"...")`, conversions, members of enums, names
of constants above. A constant has at most 256 bits, what leads to it 512, and sizes are bounded
before the work is done.
"""

import ast

from ledger.contract.annotations import Declarations, literal_fits, type_of_literal
from ledger.contract.ranges import INT, Range, compute_binary, compute_unary
from ledger.contract.rules import breach
from ledger.contract.source import INT_LITERAL_BITS_MAX
from ledger.contract.types import BYTES32, IntType, ValueType
from ledger.crypto.keccak import keccak256

Constant = int | bool | str | bytes


def parse_constant(statement: ast.Assign | ast.AnnAssign, declared: Declarations) -> None:
    """`RATE = 3 * 10**18`, `LIMIT: uint64 = 5`."""
    target = statement.target if isinstance(statement, ast.AnnAssign) else statement.targets[0]
    if not isinstance(target, ast.Name) or getattr(statement, "targets", [0])[1:]:
        raise breach("constant", statement)
    declared.bind(target.id, target)
    if statement.value is None:
        raise breach("constant", statement)
    value, kind = read_constant(statement.value, declared)
    if isinstance(kind, IntType) and kind.magnitude > INT_LITERAL_BITS_MAX:
        raise breach("literal", statement.value)
    if isinstance(statement, ast.AnnAssign):
        wanted = declared.read_value(statement.annotation)
        if kind != wanted and not literal_fits(value, wanted):
            raise breach("type", statement, "the value is not of that type")
        kind = wanted
    declared.constants[target.id] = value
    declared.constant_types[target.id] = kind


def read_constant(node: ast.expr, declared: Declarations) -> tuple[Constant, ValueType]:
    """The value of an expression of constants, and its type."""
    match node:
        case ast.Constant(value=int() | str() | bytes() as value):
            return value, type_of_literal(value)
        case ast.Name(id=name) if name in declared.constants:
            return declared.constants[name], declared.constant_types[name]
        case ast.Attribute(value=ast.Name(id=name), attr=attr) if name in declared.enums:
            enum = declared.enums[name]
            if attr in enum.members:
                return enum.members.index(attr), enum
        case ast.UnaryOp(op=ast.USub() | ast.Invert(), operand=operand):
            number = read_integer(operand, declared)
            return bounded(compute_unary(node.op, Range(number, number)), node)
        case ast.BinOp(left=left, right=right):
            a, b = read_integer(left, declared), read_integer(right, declared)
            if b == 0 and isinstance(node.op, ast.FloorDiv | ast.Mod):
                raise breach("constant", node, "it divides by zero")
            return fold(node, a, b)
        case ast.Call(func=ast.Name(id="keccak256"), args=[argument], keywords=[]):
            data, _ = read_constant(argument, declared)
            if "keccak256" in declared.imported and isinstance(data, bytes):
                return keccak256(data), BYTES32
    raise breach("constant", node)


def read_integer(node: ast.expr, declared: Declarations) -> int:
    value, kind = read_constant(node, declared)
    if not isinstance(kind, IntType):
        raise breach("constant", node, "only integers are reckoned with")
    return int(value)


def fold(node: ast.BinOp, a: int, b: int) -> tuple[int, IntType]:
    """a op b, exactly."""
    found: Range | None
    match node.op:
        case ast.Mod():
            found = Range(a % b, a % b)
        case ast.RShift():
            found = Range(a >> b, a >> b) if b >= 0 else None
        case ast.BitAnd() | ast.BitOr() | ast.BitXor():
            parts = {ast.BitAnd: a & b, ast.BitOr: a | b, ast.BitXor: a ^ b}
            found = Range(parts[type(node.op)], parts[type(node.op)])
        case _:
            found = compute_binary(node.op, Range(a, a), Range(b, b))
    if found is None:
        raise breach("literal", node)
    return bounded(found, node)


def bounded(found: Range, node: ast.expr) -> tuple[int, IntType]:
    assert found.low == found.high
    kind = type_of_literal(found.low)
    if not isinstance(kind, IntType) or not found.within(INT):
        raise breach("literal", node)
    return found.low, kind
