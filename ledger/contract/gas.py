"""What a contract's own work costs: one frozen table. 1 gas is about 10 ns of a server core.

What belongs here: the price of each node of the tree, of each sized operation from the sizes of its
operands, and of each door to the host (storage, logs, calls). What a node costs is known at deploy
(integers by the widest value their type admits), so a block is charged in one sum; what a sized
operation costs, its helper charges before it works. `python -m benchmarks gas` measures them all.
"""

import ast
from collections.abc import Mapping

from ledger.contract.ranges import INT, Range
from ledger.contract.types import StructType

STATEMENT_GAS: dict[type[ast.AST], int] = {
    **dict.fromkeys((ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Expr, ast.Pass), 1),
    **dict.fromkeys((ast.If, ast.Return, ast.Break, ast.Continue, ast.While), 1),
    ast.Raise: 3,
    ast.For: 20,
}
"""Names and literals cost nothing: what uses them is priced with its loads."""
EXPRESSION_GAS: dict[type[ast.AST], int] = {
    **dict.fromkeys((ast.BoolOp, ast.UnaryOp, ast.IfExp, ast.Attribute, ast.Tuple), 1),
    **dict.fromkeys((ast.BinOp, ast.Compare, ast.Subscript), 2),
    **dict.fromkeys((ast.Call, ast.List), 6),
}
ENTRY_GAS = 4
"""Of a method, beside the call."""
TURN_GAS = 3
"""The head of a loop, each time it turns."""
TEST_GAS = 2
"""That an integer lies where its type says."""
RECORD_GAS = 15
"""Making a struct."""

# Doors to the host.
GAS_LOAD = 2_000  # a word not yet seen in this call: five trie levels from the disk, 20 to 50 us
GAS_LOAD_AGAIN = 20
GAS_STORE = 5_000  # a word first written in this call: hashing its path and 200 bytes on the disk
GAS_STORE_AGAIN = 50
GAS_HASH = 150  # a mapping key or the start of an array: one Keccak, 1.6 us
GAS_KEY_BYTE = 1
GAS_TOPIC = 375  # Ethereum's: bloom bits, an index, bytes kept for ever
GAS_LOG_WORD = 300  # 8 a byte as on Ethereum, and its encoding
GAS_CALL = 600  # binding a program to a call and finding its method: 6 us
GAS_DATA_WORD = 40  # a word decoded or encoded at a door: at most 0.4 us
GAS_BALANCE = 100  # the account of the running contract was read to find its code
GAS_SOURCE_BYTE = 100  # kept by every node for ever
GAS_SOURCE_TOKEN = 1_500  # a word or sign read, checked and compiled: 9 us, at worst 25


def compute_weight(node: ast.AST, types: Mapping[ast.expr, object]) -> int:
    """What one node costs beside its children, whatever values it meets."""
    weight = EXPRESSION_GAS.get(type(node)) or STATEMENT_GAS.get(type(node), 0)
    if isinstance(node, ast.BinOp):
        words = max(words_of(node.left, types), words_of(node.right, types))
        if isinstance(node.op, ast.Mult | ast.FloorDiv | ast.Mod):
            return weight + words * words
        return weight + (words > 1)
    if isinstance(node, ast.Compare):
        return weight + len(node.ops) - 1
    if isinstance(node, ast.Call):
        words = max((words_of(item, types) for item in node.args), default=1)
        divides = isinstance(node.func, ast.Name) and node.func.id == "divmod"
        makes = RECORD_GAS if isinstance(types.get(node), StructType) else 0
        return weight + makes + len(node.args) + (words * words if divides else 0)
    return weight + len(node.elts) if isinstance(node, ast.List | ast.Tuple) else weight


def words_of(node: ast.expr, types: Mapping[ast.expr, object]) -> int:
    kind = types.get(node)
    return min(kind.words, INT.words) if isinstance(kind, Range) else 1


def price_bytes(size: int) -> int:
    """Bytes or characters made or compared: 0.03 to 0.1 ns each."""
    return 20 + size // 64


def price_items(count: int) -> int:
    """Items of a list gone through once: 4 to 10 ns each."""
    return 5 + count


def price_search(count: int) -> int:
    """Items of a list compared: 10 to 15 ns each."""
    return 8 + 2 * count


def price_power(bits: int) -> int:
    """`**` and `<<` with a result of so many bits: 370 to 730 ns at 256."""
    words = (bits + 63) // 64
    return 25 + 4 * words * words
