"""Recursive length prefix: byte strings and lists of them, in the one canonical form.

    0x00..0x7f            the byte itself
    0x80 + n, n <= 55     n bytes follow
    0xb7 + m              m bytes of length (big-endian, no leading zero, above 55), then the bytes
    0xc0 + n, 0xf7 + m    the same for a list, the length being that of its encoded items

Meaning (which item is which) belongs to who calls. Source: Yellow Paper, appendix B. Branch nodes
of 17 items, leaves of two and transactions pass here many times a block: the loops are written out.
"""

from collections.abc import Sequence
from typing import TypeAlias

from ledger.errors import EncodingError

Item: TypeAlias = bytes | Sequence["Item"]
"""What is encoded: bytes, or a list or tuple of items."""

Decoded: TypeAlias = bytes | list["Decoded"]
"""What decoding gives: bytes, or a list of such."""

DEPTH_MAX = 64
"""Lists in lists. No format of Ethereum nests deeper than 5, and Python's stack is finite."""

_SHORT_SIZE_MAX = 55
_SINGLE_BYTES = tuple(bytes([value]) for value in range(256))
_SIZES_KEPT = 1_024
"""Prefixes made in advance: of nodes, receipts and most transactions. Three times as fast."""


def encode(item: Item) -> bytes:
    """The RLP of bytes or of a nested list or tuple of them. Raises EncodingError."""
    if isinstance(item, bytes):
        return encode_bytes(item)
    return encode_list_payload(_encode_items(item, 1))


def encode_bytes(data: bytes) -> bytes:
    """The RLP of one byte string."""
    size = len(data)
    if size == 1 and data[0] < 0x80:
        return data
    return (_STRING_PREFIXES[size] if size < _SIZES_KEPT else _prefix(0x80, size)) + data


def encode_list_payload(payload: bytes) -> bytes:
    """The RLP of a list whose items are already encoded and joined."""
    size = len(payload)
    return (_LIST_PREFIXES[size] if size < _SIZES_KEPT else _prefix(0xC0, size)) + payload


def encode_uint(number: int) -> bytes:
    """A non-negative integer as the shortest big-endian bytes; zero is empty."""
    if number < 0:
        raise EncodingError(f"RLP has no negative integers, got {number}")
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def decode_uint(data: Decoded) -> int:
    """The integer of shortest big-endian bytes. Raises EncodingError on any other item."""
    if not isinstance(data, bytes):
        raise EncodingError("RLP: expected an integer, got a list")
    if data and data[0] == 0:
        raise EncodingError("RLP: an integer with a leading zero byte")
    return int.from_bytes(data, "big")


def decode(data: bytes) -> Decoded:
    """The item that `data` is the canonical encoding of, all of it. Raises EncodingError."""
    if not data:
        raise EncodingError("RLP: nothing to decode")
    prefix = data[0]
    if prefix >= 0xC0:
        start, end = _list_bounds(data, 0, len(data))
        if end != len(data):
            raise EncodingError(f"RLP: {len(data) - end} bytes after the list")
        return _decode_items(data, start, end, 1)
    items = _decode_items(data, 0, len(data), 0)
    if len(items) != 1:
        raise EncodingError("RLP: bytes after the first item")
    return items[0]


def decode_list(data: bytes) -> list[Decoded]:
    """As `decode`, where only a list will do."""
    item = decode(data)
    if isinstance(item, bytes):
        raise EncodingError("RLP: expected a list, got bytes")
    return item


def split_list(data: bytes) -> list[bytes]:
    """The items of the list that `data` encodes, each still encoded and not looked into.

    Raises EncodingError where `data` is not one list with whole items.
    """
    if not data or data[0] < 0xC0:
        raise EncodingError("RLP: expected a list")
    position, end = _list_bounds(data, 0, len(data))
    if end != len(data):
        raise EncodingError(f"RLP: {len(data) - end} bytes after the list")
    items: list[bytes] = []
    while position < end:
        start, prefix = position, data[position]
        if prefix < 0xB8:
            position += 1 if prefix < 0x80 else prefix - 0x7F
            if position > end:
                raise EncodingError("RLP: a string runs past the end of what holds it")
        elif prefix < 0xC0:
            _, position = _long_bounds(data, position, end, prefix - 0xB7)
        else:
            _, position = _list_bounds(data, position, end)
        items.append(data[start:position])
    return items


def _encode_items(items: Sequence[Item], depth: int) -> bytes:
    if depth > DEPTH_MAX:
        raise EncodingError(f"RLP: lists nested deeper than {DEPTH_MAX}")
    if not isinstance(items, (list, tuple)):
        raise EncodingError(f"RLP encodes bytes and lists, not {type(items).__name__}")
    parts: list[bytes] = []
    append = parts.append  # a local: this loop runs for every item of every trie node
    for item in items:
        if isinstance(item, bytes):
            size = len(item)
            if size != 1 or item[0] >= 0x80:
                append(_STRING_PREFIXES[size] if size < _SIZES_KEPT else _prefix(0x80, size))
            append(item)
        else:
            append(encode_list_payload(_encode_items(item, depth + 1)))
    return b"".join(parts)


def _prefix(base: int, size: int) -> bytes:
    if size <= _SHORT_SIZE_MAX:
        return _SINGLE_BYTES[base + size]
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return _SINGLE_BYTES[base + _SHORT_SIZE_MAX + len(length)] + length


_STRING_PREFIXES = tuple(_prefix(0x80, size) for size in range(_SIZES_KEPT))
_LIST_PREFIXES = tuple(_prefix(0xC0, size) for size in range(_SIZES_KEPT))


def _decode_items(data: bytes, position: int, end: int, depth: int) -> list[Decoded]:
    if depth > DEPTH_MAX:
        raise EncodingError(f"RLP: lists nested deeper than {DEPTH_MAX}")
    items: list[Decoded] = []
    append = items.append
    while position < end:
        prefix = data[position]
        if prefix < 0x80:
            append(_SINGLE_BYTES[prefix])
            position += 1
        elif prefix < 0xB8:
            start = position + 1
            position = start + prefix - 0x80
            if position > end:
                raise EncodingError("RLP: a string runs past the end of what holds it")
            item = data[start:position]
            if prefix == 0x81 and item[0] < 0x80:
                raise EncodingError("RLP: a single byte below 0x80 with a prefix")
            append(item)
        elif prefix < 0xC0:
            start, position = _long_bounds(data, position, end, prefix - 0xB7)
            append(data[start:position])
        else:
            start, position = _list_bounds(data, position, end)
            append(_decode_items(data, start, position, depth + 1))
    return items


def _list_bounds(data: bytes, position: int, end: int) -> tuple[int, int]:
    """Where the items of the list at `position` start and end."""
    prefix = data[position]
    if prefix >= 0xF8:
        return _long_bounds(data, position, end, prefix - 0xF7)
    item_end = position + 1 + prefix - 0xC0
    if item_end > end:
        raise EncodingError("RLP: a list runs past the end of what holds it")
    return position + 1, item_end


def _long_bounds(data: bytes, position: int, end: int, length_size: int) -> tuple[int, int]:
    start = position + 1 + length_size
    if start > end:
        raise EncodingError("RLP: a length runs past the end")
    length = data[position + 1 : start]
    size = int.from_bytes(length, "big")
    if length[0] == 0 or size <= _SHORT_SIZE_MAX:
        raise EncodingError("RLP: a length that is not in its shortest form")
    if start + size > end:
        raise EncodingError("RLP: an item runs past the end of what holds it")
    return start, start + size
