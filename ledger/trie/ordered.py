"""The root over a list, as blocks commit to their transactions and receipts.

The trie that has each value at the RLP of its index, of which nobody needs the nodes: it is folded
into its root without being kept. Not here: tries that change (`trie`). Source: Yellow Paper,
section 4.4 and appendix D.
"""

from collections.abc import Sequence
from functools import lru_cache

from ledger.crypto.keccak import keccak256
from ledger.encoding import rlp
from ledger.trie.batch import common_size
from ledger.trie.nodes import (
    BRANCH_SIZE,
    EMBEDDED_SIZE_MAX,
    EMPTY,
    Extension,
    Fragment,
    Path,
    encode_node,
    pack_path,
    path_of,
)
from ledger.types import Hash32

INDEXES_KEPT = 1_024
"""Paths of indexes, and what is left of them in leaves: as many as most blocks have."""
LISTS_KEPT = 2
"""A proposal's body is held to its header when it comes, when it is judged and when it is run."""


def ordered_root(values: Sequence[bytes]) -> Hash32:
    """The root over values, none empty, at the RLP of their index."""
    if not values:
        return keccak256(EMPTY)
    # In the order of their paths: 0 is 0x80, which stands behind the single bytes 1 to 127.
    order = (*range(1, min(len(values), 128)), 0, *range(128, len(values)))
    entries = [(_path_of_index(index), values[index]) for index in order]
    return keccak256(_fold(entries, 0, len(entries), 0))


@lru_cache(maxsize=LISTS_KEPT)
def transactions_root(raws: tuple[bytes, ...]) -> Hash32:
    """`ordered_root` of a block's transactions; the last ones asked for are remembered."""
    return ordered_root(raws)


def _fold(entries: list[tuple[Path, bytes]], low: int, high: int, depth: int) -> bytes:
    """The RLP of the node over entries[low:high], which share their path up to `depth`.

    No path is the beginning of another, so that no branch has a value of its own.
    """
    path, value = entries[low]
    if high - low == 1:
        return rlp.encode_list_payload(_head_of_leaf(path[depth:]) + rlp.encode_bytes(value))
    split = common_size(path, entries[high - 1][0], depth)
    branch = [EMPTY] * BRANCH_SIZE
    while low < high:
        nibble = entries[low][0][split]
        end = low + 1
        while end < high and entries[end][0][split] == nibble:
            end += 1
        branch[nibble] = _refer(_fold(entries, low, end, split + 1))
        low = end
    raw = encode_node(branch)
    return raw if split == depth else encode_node(Extension(path[depth:split], _refer(raw)))


def _refer(raw: bytes) -> Fragment:
    """A node as its parent holds it."""
    return raw if len(raw) <= EMBEDDED_SIZE_MAX else b"\xa0" + keccak256(raw)


@lru_cache(maxsize=INDEXES_KEPT)
def _path_of_index(index: int) -> Path:
    return path_of(rlp.encode_bytes(rlp.encode_uint(index)))


@lru_cache(maxsize=INDEXES_KEPT)
def _head_of_leaf(path: Path) -> bytes:
    """The first item of a leaf, which depends on what is left of its path alone."""
    return rlp.encode_bytes(pack_path(path, is_leaf=True))
