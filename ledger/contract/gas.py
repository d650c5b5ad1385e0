"""What a contract's own work costs: one frozen table. 1 gas is about 7 ns of a server core.

What belongs here: the price of each node of the tree, of each sized operation from the sizes of its
operands, and of each door to the host (storage, logs, calls). What a node costs is known at deploy
(integers by the widest value their type admits), so a block is charged in one sum; what a sized
operation costs, its helper charges before it works. `python -m benchmarks gas` measures them all.
"""

import ast
from collections.abc import Mapping

from ledger.contract.ranges import INT, Range, compute_power
from ledger.contract.types import StructType

STATEMENT_GAS: dict[type[ast.AST], int] = {
    **dict.fromkeys((ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Expr, ast.Pass), 1),
    **dict.fromkeys((ast.Return, ast.Break, ast.Continue, ast.While), 1),
    ast.If: 4,  # with the charge of its arm
    ast.Raise: 3,
    ast.Try: 10,  # a status looked at
    ast.For: 40,  # 300 ns for the call that bounds and pays its turns
}
"""Names and literals cost nothing: what uses them is priced with its loads."""
EXPRESSION_GAS: dict[type[ast.AST], int] = {
    ast.Tuple: 1,
    **dict.fromkeys((ast.BoolOp, ast.IfExp), 2),
    **dict.fromkeys((ast.Attribute, ast.UnaryOp, ast.Compare), 3),
    ast.BinOp: 4,
    ast.Subscript: 5,
    ast.Call: 10,
    ast.List: 26,
    **dict.fromkeys((ast.ListComp, ast.GeneratorExp), 80),  # a call, a frame, a tuple
}
BRANCH_GAS = 4
"""The charge of each operand of `and`, `or` and a chain of comparisons after the first."""
MULTIPLY_GAS = 4
"""`*`, beside the square of the words."""
DIVIDE_GAS = 8
"""`//`, `%` and divmod, beside the square of the words."""
BUILTIN_GAS = {"min": 8, "max": 8, "divmod": 8 + DIVIDE_GAS}
"""Beside the call: a look through several arguments, a tuple."""
METHOD_GAS = 4
"""Of a list or of what is in storage, beside the call."""
SELF_GAS = 12
"""A value, handle or address out of `self`: a property."""
STORE_GAS = 5
"""An index that is stored to goes through a helper."""
ENTRY_GAS = 4
"""Of a method, beside the call."""
TURN_GAS = 3
"""The head of a loop, each time it turns."""
TEST_GAS = 6
"""That an integer lies where its type says."""
PAIRING_GAS = 350
"""zip: copies of its lists, held together."""
RECORD_GAS = 20
"""Making a struct."""

# Doors to the host.
GAS_LOAD = 8_000  # a word first touched in a call: its path in a trie on the disk, 86 to 96 us
GAS_LOAD_AGAIN = 30  # a look into a dict, a cell
GAS_STORE = 11_000  # and first written: hashes, 200 bytes on the disk, 105 to 150 us more
GAS_STORE_AGAIN = 90  # and its place in the journal
GAS_HASH = 150  # a mapping key or the start of an array: one Keccak, 1.6 us
GAS_TEXT = 90  # bytes or a string out of its first word, or into it: 600 ns
GAS_TEXT_WORD = 50  # each further word of it, beside its load or store
GAS_KEY_BYTE = 1  # of a key that is text, beside its hash
GAS_TOPIC = 375  # Ethereum's: bloom bits, an index, bytes kept for ever
GAS_LOG_WORD = 300  # 8 a byte as on Ethereum, and its encoding
GAS_CALL = 600  # binding a program to a call and finding its method: 6 us
GAS_DATA_WORD = 40  # a word decoded or encoded at a door: at most 0.4 us
GAS_COUNT_ITEM = 150  # an item of a list of lists, texts or structs, as its words are counted
GAS_BALANCE = 100  # the account of the running contract was read to find its code
GAS_REFERENCE = 30  # a struct in storage by reference, beside what its slot costs
GAS_ACCOUNT = 9_000  # another account is read: its leaf from the disk, 100 us
GAS_CODE_BYTE = 6  # of another contract's source, once in a transaction: 10 to 50 ns
GAS_CODE_RECORD = 2_000  # a record, struct member, field or 4 types of one it declares: 15 to 35 us
GAS_VALUE = 13_000  # coin moves: two accounts are written, 170 us more
GAS_CALL_OUT = 400  # a call of another contract: encoding, a mark in the journal, an outcome
GAS_ECRECOVER = 9_000  # 41 to 90 us
GAS_MUL_DIV = 90  # 512 by 512 bits, divided by 512
GAS_CODEC = 600  # abi_encode or abi_decode, beside its words: 3 to 6 us
GAS_CODEC_NODE = 300  # and each type named there, or at the call of a contract: 3 us if not kept
GAS_HASH_STRUCT = 900  # the spelling of a struct's type is made: 10 us
GAS_HASH_WORD = 12  # 32 bytes more into Keccak
GAS_SOURCE_BYTE = 100  # kept by every node for ever
GAS_SOURCE_TOKEN = 1_500  # a word or sign read, checked and compiled: 9 us, at worst 25


def compute_weight(node: ast.AST, types: Mapping[ast.expr, object]) -> int:
    """What one node costs beside its children, whatever values it meets."""
    weight = EXPRESSION_GAS.get(type(node)) or STATEMENT_GAS.get(type(node), 0)
    match node:
        case ast.BinOp():
            words = max(words_of(node.left, types), words_of(node.right, types))
            if isinstance(node.op, ast.Mult):
                return weight + MULTIPLY_GAS + words * words
            if isinstance(node.op, ast.FloorDiv | ast.Mod):
                return weight + DIVIDE_GAS + words * words
            if isinstance(node.op, ast.Pow):
                return weight + compute_known_power(node, types)
            return weight + (words > 1)
        case ast.Compare():
            return weight + BRANCH_GAS * (len(node.ops) - 1)
        case ast.BoolOp():
            return weight + BRANCH_GAS * (len(node.values) - 1)
        case ast.Attribute(value=ast.Name(id="self"), attr=name):
            return 1 if name in ("msg", "block") else SELF_GAS
        case ast.Subscript(ctx=ast.Store()):
            return weight + STORE_GAS
        case ast.Call():
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            words = max((words_of(item, types) for item in node.args), default=1)
            weight += BUILTIN_GAS.get(name, 0) + (words * words if name == "divmod" else 0)
            weight += METHOD_GAS if name == "" else 0
            makes = RECORD_GAS if isinstance(types.get(node), StructType) else 0
            return weight + makes + len(node.args)
        case ast.List() | ast.Tuple():
            return weight + len(node.elts)
    return weight


def compute_known_power(node: ast.BinOp, types: Mapping[ast.expr, object]) -> int:
    """Of `a ** b` where both are known at deploy, past what Python works out when it compiles; a
    helper charges for all others as they run."""
    a, b = types.get(node.left), types.get(node.right)
    found = compute_power(node.op, a, b) if isinstance(a, Range) and isinstance(b, Range) else None
    return price_power(64 * found.words) if found is not None and found.words > 2 else 0


def words_of(node: ast.expr, types: Mapping[ast.expr, object]) -> int:
    kind = types.get(node)
    return min(kind.words, INT.words) if isinstance(kind, Range) else 1


def price_bytes(size: int) -> int:
    """Bytes or characters made or compared: 400 ns, and 0.03 to 0.1 ns each."""
    return 60 + size // 32


def price_items(count: int) -> int:
    """Items of a list gone through once: 300 ns, and 4 to 10 ns each."""
    return 40 + count


def price_fold(count: int) -> int:
    """Integers of a list added or compared: 400 ns, and 25 to 60 ns each."""
    return 60 + 6 * count


def price_search(count: int) -> int:
    """Items of a list compared: 350 ns, and 10 to 25 ns each."""
    return 50 + 3 * count


def price_sort(count: int) -> int:
    """Scalars of a list put in order: 10 to 60 ns for each comparison."""
    return 60 + 4 * count * max(1, count.bit_length())


def price_power(bits: int) -> int:
    """`**` and `<<` with a result of so many bits: 300 ns; 370 to 730 at 256."""
    words = (bits + 63) // 64
    return 45 + 4 * words * words


def price_hash(size: int) -> int:
    """Keccak of so many bytes."""
    return GAS_HASH + GAS_HASH_WORD * (size // 32)
