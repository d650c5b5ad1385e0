"""The three kinds of trie node, in memory and as RLP, and the paths that lead to them.

A path is one byte per nibble (0 to 15), so that walking and slicing are plain indexing; only on
the wire is it packed ("hex-prefix"). A fragment is a node as it stands inside its parent: nothing
(0x80), 0xa0 and the hash of a node stored by its path, or a node of less than 32 bytes itself. A
branch keeps its fragments encoded, so that encoding one again is a join. Not here: where nodes are
kept, how tries change. Source: Yellow Paper, appendices C and D.
"""

from binascii import hexlify, unhexlify
from re import DOTALL
from re import compile as compile_pattern
from typing import TypeAlias

from ledger.encoding import rlp
from ledger.errors import EncodingError

Path: TypeAlias = bytes
"""One byte per nibble, each 0 to 15."""

Fragment: TypeAlias = bytes
"""A node as its parent holds it: EMPTY, 0xa0 and a hash (33 bytes), or RLP of under 32 bytes."""

Branch: TypeAlias = list[Fragment]
"""16 children, then the RLP of the value that ends here. Shared: copied before it is changed."""

EMPTY: Fragment = b"\x80"
BRANCH_SIZE = 17
VALUE = 16
"""The index of a branch's own value."""

HASH_FRAGMENT_SIZE = 33
EMBEDDED_SIZE_MAX = 31  # what is shorter than a hash stands in its parent

_DIGITS = b"0123456789abcdef"
_DIGIT_OF_NIBBLE = _DIGITS + bytes(240)
_NIBBLE_OF_DIGIT = bytes(max(_DIGITS.find(bytes([digit])), 0) for digit in range(256))

_FLAGS = ((b"\0\0", b"\x01"), (b"\x02\0", b"\x03"))  # by kind (extension, leaf), by odd length

# Sixteen hashes or nothing, and no value: all branches of a secure trie but a few at its bottom.
# Taken apart by a pattern they cost a third; cold reads are mostly that.
_PLAIN_BRANCH = compile_pattern(rb"(\x80|\xa0.{32})" * 16 + rb"\x80", DOTALL)


class Leaf:
    """The end of a key: what is left of its path, and the value, never empty."""

    __slots__ = ("head", "path", "value")

    def __init__(self, path: Path, value: bytes, head: bytes = b"") -> None:
        self.path = path
        self.value = value
        self.head = head
        """The RLP of the packed path once it was needed: it outlives the value."""


class Extension:
    """A stretch of path, never empty, that all keys below share; its child is a branch."""

    __slots__ = ("child", "path")

    def __init__(self, path: Path, child: Fragment) -> None:
        self.path = path
        self.child = child


Node: TypeAlias = Branch | Leaf | Extension


def path_of(key: bytes) -> Path:
    """The nibbles of a key, high one first."""
    return hexlify(key).translate(_NIBBLE_OF_DIGIT)


def pack_path(path: Path, *, is_leaf: bool) -> bytes:
    """Hex-prefix encoding: flags and, if the length is odd, the first nibble in the first byte."""
    return unhexlify((_FLAGS[is_leaf][len(path) % 2] + path).translate(_DIGIT_OF_NIBBLE))


def unpack_path(packed: bytes) -> tuple[Path, bool]:
    """The path and whether it is a leaf's. Raises EncodingError on flags that do not exist."""
    nibbles = path_of(packed)
    if not nibbles or nibbles[0] > 3:
        raise EncodingError("trie: a path without its flags")
    is_leaf = nibbles[0] >= 2
    if nibbles[0] % 2:
        return nibbles[1:], is_leaf
    if nibbles[1]:
        raise EncodingError("trie: a path of even length with a nibble beside its flags")
    return nibbles[2:], is_leaf


def encode_leaf(head: bytes, value: bytes) -> bytes:
    """The RLP of a leaf, whose packed path is encoded already."""
    return rlp.encode_list_payload(head + rlp.encode_bytes(value))


def encode_node(node: Node) -> bytes:
    """The RLP of a node."""
    if type(node) is list:
        payload = b"".join(node)
    elif type(node) is Leaf:
        if not node.head:
            node.head = rlp.encode_bytes(pack_path(node.path, is_leaf=True))
        return encode_leaf(node.head, node.value)
    else:
        assert type(node) is Extension
        payload = rlp.encode_bytes(pack_path(node.path, is_leaf=False)) + node.child
    return rlp.encode_list_payload(payload)


def decode_node(raw: bytes) -> Node:
    """The node that `raw` is the canonical RLP of. Raises EncodingError on anything else."""
    start = 2 if raw[:1] == b"\xf8" else 3
    plain = _PLAIN_BRANCH.fullmatch(raw, start)
    if plain is not None and raw == rlp.encode_list_payload(raw[start:]):
        return [*plain.groups(), EMPTY]
    items = rlp.decode_list(raw)
    if len(items) == BRANCH_SIZE and isinstance(items[VALUE], bytes):
        return [*map(_fragment_of, items[:VALUE]), rlp.encode(items[VALUE])]
    if len(items) != 2 or not isinstance(items[0], bytes):
        raise EncodingError("trie: a node is a branch of 17 items or a path and an item")
    path, is_leaf = unpack_path(items[0])
    if is_leaf:
        if not isinstance(items[1], bytes) or not items[1]:
            raise EncodingError("trie: a leaf without a value")
        return Leaf(path, items[1])
    child = _fragment_of(items[1])
    if not path or child == EMPTY:
        raise EncodingError("trie: an extension that leads nowhere")
    return Extension(path, child)


def value_of(fragment: Fragment) -> bytes | None:
    """The value that a branch holds itself; None where it holds none."""
    value = rlp.decode(fragment)
    assert isinstance(value, bytes)
    return value or None


def _fragment_of(item: rlp.Decoded) -> Fragment:
    """A decoded child as it stood encoded. Raises EncodingError on what cannot be a child."""
    fragment = rlp.encode(item)
    if isinstance(item, bytes):
        if len(item) not in (0, 32):
            raise EncodingError("trie: a child that is neither a hash nor a node")
    elif len(fragment) > EMBEDDED_SIZE_MAX:
        raise EncodingError("trie: a node of 32 bytes or more inside its parent")
    return fragment


def is_stored(fragment: Fragment) -> bool:
    """Whether the node stands in the store under its path, and not in its parent."""
    return len(fragment) == HASH_FRAGMENT_SIZE
