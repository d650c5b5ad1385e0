"""What a trie node was before a block, in as few bytes as lead back to it.

An entry holds a node whole or, where only what it refers to changed, a delta:

    01 . item     a leaf or extension that keeps its path: the old value or child
    02 . hash     a branch of hashes: its old hash; what its children were is in their own entries

A branch's children of old are found again from the children, because nodes are keyed by their
path: the child at nibble x stands at path + x and has an entry for every height at which its hash
changed. So a slot that changes costs a hash for each of the branches above it instead of sixteen,
and a reading some tens of rows, whatever the age. Source: Yellow Paper, appendix D (node formats).
"""

import re
import zlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ledger.crypto.keccak import keccak256
from ledger.encoding.packed import pack, unpack_items
from ledger.encoding.rlp import encode_list_payload
from ledger.types import Height

WHOLE, DELTA = 0, 1
"""Kinds of entries. The first of each above a height is what is needed to read at that height."""

_SECOND_ITEM = b"\x01"
_BRANCH = b"\x02"
_DEFLATED = b"\x78"  # how zlib's format begins; a list in msgpack begins above 0x8f

_WINDOW_BITS, _MEMORY_LEVEL = 12, 4
"""4 kB and tables to match: versions of a value stand beside each other."""

# Sixteen children that are absent or hashes, and no value. The alternatives differ in their first
# byte, so matching never turns back.
_match_branch = re.compile(rb"(?:\x80|\xa0.{32}){16}\x80\Z", re.DOTALL).match
_find_children = re.compile(rb"\x80|\xa0.{32}", re.DOTALL).findall
_ABSENT = b"\x80"
_FULL_BRANCH_BYTES = 3 + 16 * 33 + 1
_FULL_BRANCH_PREFIXES = b"\xa0" * 16 + _ABSENT


class Entry(NamedTuple):
    """How things were before `height`: a node (None: there was none) or a delta."""

    height: Height
    data: bytes | None


FindEntry = Callable[[bytes, int, Height], Entry | None]
"""(path, kind, height) -> the first entry of a kind above a height."""

GetNode = Callable[[bytes], bytes | None]
"""The newest version of the node at a path."""


def encode_undo(old: bytes | None, new: bytes | None) -> tuple[int, bytes | None]:
    """Kind and data of the entry that leads from `new` back to `old`."""
    if old is None or new is None:
        return WHOLE, old
    if _is_branch(old):
        return (DELTA, _BRANCH + keccak256(old)) if _is_branch(new) else (WHOLE, old)
    split, other = _find_second_item(old), _find_second_item(new)
    if split and other and old[_payload_start(old) : split] == new[_payload_start(new) : other]:
        return DELTA, _SECOND_ITEM + old[split:]
    return WHOLE, old


def encode_versions(
    old: bytes | None, versions: Sequence[tuple[Height, bytes | None]]
) -> list[tuple[int, Height, bytes]]:
    """The rows (kind, height of the last, entries) that lead back through a path's versions to
    `old`; genesis is never undone."""
    kinds: list[tuple[list[Height], list[bytes | None]]] = [([], []), ([], [])]
    data: bytes | None
    split, was_branch = 0, False
    for height, new in versions:
        if height > 0 and new != old:
            # Most are a leaf with another value, or a branch of hashes: known from the one before.
            if new and old and split and len(old) == len(new) and old[:split] == new[:split]:
                kind, data = DELTA, _SECOND_ITEM + old[split:]
            elif new and old and was_branch and _is_branch(new):
                kind, data = DELTA, _BRANCH + keccak256(old)
            else:
                kind, data = encode_undo(old, new)
                split = _find_second_item(new) if new and kind == DELTA else 0
                was_branch = kind == DELTA and not split
            kinds[kind][0].append(height)
            kinds[kind][1].append(data)
        old = new
    return [
        (kind, heights[-1], pack_entries(heights, data))
        for kind, (heights, data) in enumerate(kinds)
        if heights
    ]


def pack_entries(heights: Sequence[Height], data: Sequence[bytes | None]) -> bytes:
    """One row: a flush's entries of one path and kind, heights as distances to the last.

    Versions of a value differ in few bytes and are deflated; hashes would only cost the time.
    """
    row = pack(([heights[-1] - height for height in heights], data))
    if len(data) > 1 and (data[0] or b"")[:1] != _BRANCH:
        # What zlib.compress gives, in little memory: to get and give back 270 kB costs 60 us.
        deflate = zlib.compressobj(1, zlib.DEFLATED, -_WINDOW_BITS, _MEMORY_LEVEL)
        plain = deflate.compress(row) + deflate.flush()
        return _DEFLATED + b"\x01" + plain + zlib.adler32(row).to_bytes(4, "big")
    return row


def find_in_row(row: bytes, last: Height, height: Height) -> Entry:
    """The first entry above `height` in a row whose last one is."""
    distances, data = _unpack_row(row)
    index = next(i for i, distance in enumerate(distances) if last - distance > height)
    return Entry(last - distances[index], data[index])


def cut_row(row: bytes, last: Height, height: Height) -> tuple[Height, bytes] | None:
    """The row, and the height of its last entry, without the entries above `height`."""
    distances, data = _unpack_row(row)
    heights = [last - distance for distance in distances if last - distance <= height]
    return (heights[-1], pack_entries(heights, data[: len(heights)])) if heights else None


def read_node_at(
    path: bytes, height: Height, find_entry: FindEntry, get_node: GetNode
) -> bytes | None:
    """The node at `path` as it was after block `height`."""
    whole, delta = find_entry(path, WHOLE, height), find_entry(path, DELTA, height)
    base = get_node(path) if whole is None else whole.data
    if delta is None or (whole is not None and whole.height < delta.height):
        return base
    assert base is not None and delta.data is not None  # a delta leads from a node to a node
    if delta.data[:1] == _SECOND_ITEM:
        first_item = base[_payload_start(base) : _find_second_item(base)]
        return encode_list_payload(first_item + delta.data[1:])
    children = _find_children(base, _payload_start(base))
    for nibble in range(16):
        child_path = path + bytes((nibble,))
        entries = [find_entry(child_path, kind, height) for kind in (WHOLE, DELTA)]
        first = min((entry for entry in entries if entry is not None), default=None)
        if first is None:
            continue  # as it is in the base
        if first.data is None:
            children[nibble] = _ABSENT
        elif first.data[:1] == _BRANCH:
            children[nibble] = b"\xa0" + first.data[1:]
        else:
            child = read_node_at(child_path, height, find_entry, get_node)
            assert child is not None  # its entry says that it was there
            children[nibble] = b"\xa0" + keccak256(child)
    return encode_list_payload(b"".join(children))


def _unpack_row(row: bytes) -> tuple[tuple[int, ...], tuple[bytes | None, ...]]:
    plain = zlib.decompress(row) if row[:1] == _DEFLATED else row
    distances, data = unpack_items(plain, "undo row", tuple, tuple)
    return distances, data


def _payload_start(node: bytes) -> int:
    """Where the items of a node begin, after the prefix of the list."""
    return 1 if node[0] < 0xF8 else node[0] - 0xF6


def _is_branch(node: bytes) -> bool:
    """Whether it is a branch of hashes; a full one, the commonest, shows by its prefixes alone."""
    if len(node) == _FULL_BRANCH_BYTES:
        return node[3::33] == _FULL_BRANCH_PREFIXES
    return _match_branch(node, _payload_start(node)) is not None


def _find_second_item(node: bytes) -> int:
    """Where the second item of a leaf or an extension begins; 0 for a branch."""
    split = _payload_start(node)
    prefix = node[split]
    split += 1 if prefix < 0x80 else prefix - 0x7F  # a path has at most 33 bytes
    size = len(node)
    if prefix >= 0xC0 or split >= size:
        return 0
    prefix = node[split]
    if prefix < 0xB8:
        end = split + (1 if prefix < 0x80 else prefix - 0x7F)
    elif prefix < 0xC0:
        start = split + prefix - 0xB6
        end = start + int.from_bytes(node[split + 1 : start], "big")
    else:
        end = split + prefix - 0xBF  # a child inside its extension
    return split if end == size else 0
