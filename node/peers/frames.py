"""What peers say to each other: msgpack arrays, one per binary WebSocket message.

    HELLO             [0, [versions], chain id, genesis hash, 32-byte nonce, name]
    PROOF             [1, 65-byte signature]                 who I am, see `identity`
    READY             [2]                                    you are welcome
    REFUSED           [3, reason]                            and the connection is closed
    STATUS            [4, head hash, engine status, [address, ...]]   neighbours; see `node.gossip`
                      from version 3 on hash and neighbours are nil where they are as the last time
    TRANSACTIONS      [5, [raw, ...]]
    POOL_HASHES       [6, [transaction hash, ...]]
    GET_TRANSACTIONS  [7, [transaction hash, ...]]
    CONSENSUS         [8, message]                           bytes that only the engine understands
    GET_BLOCKS        [9, first height, count]
    BLOCKS            [10, first height, [[block, certificate], ...]]
                      from version 2 on:
    GET_HEADERS       [11, first height, count]
    HEADERS           [12, first height, [[header, certificate, new validators], ...]]
    GET_BODIES        [13, first height, count, with receipts]
    BODIES            [14, first height, [[body, receipts], ...]]
    GET_STATE         [15, height, deep, [[trie, path], ...]]     b"code": path is a code's hash
    STATE             [16, height, [node, ...], [address, ...]]       see `node.sync.snapshot`
    COMPACT           [17, message, header, [transaction hash or raw, ...]]    see `node.compact`
    GET_PARTS         [18, block hash, [index, ...]]
    PARTS             [19, block hash, [raw, ...]]
    ADDRESSES         [20, [[address, host, port], ...]]     where other nodes were seen

Every frame is checked against SHAPES before anybody acts on it. Not here: sockets (`connection`),
what a node does with a frame (`node.gossip`, `node.sync`). Source: github.com/msgpack/msgpack spec.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Any

import msgpack

from node.errors import PeerError

PROTOCOL_VERSIONS = (1, 2, 3)
"""Spoken here, newest last; two peers use the newest that both speak."""
SYNC_VERSION = 2
"""From here on peers know headers, bodies, states, compact proposals and addresses."""
STATUS_VERSION = 3
"""From here on a STATUS leaves out what has not changed: of 21 nodes 440 of its 480 bytes."""

FRAME_BYTES_MAX = 4 * 1024 * 1024
"""A block's body has at most 2 MB; the frame that carries it has room for its justification."""
HANDSHAKE_BYTES_MAX = 2_048
"""Of a stranger's frame. Four megabytes of empty lists take 300 MB and seconds to unpack."""
TRANSACTIONS_PER_FRAME = 1_000
HASHES_PER_FRAME = 20_480
"""As many as a pool holds: it is compared in one frame."""
NEIGHBOURS_MAX = 1_000
"""As many as connections can be configured."""
BLOCKS_PER_FRAME = 64
BLOCKS_BYTES_MAX = 2_500_000
"""Blocks are put into one frame until they have so many bytes; one always is."""
HEADERS_PER_FRAME = 512
HEADERS_BYTES_MAX = 2_500_000
LISTS_PER_FRAME = HEADERS_PER_FRAME + 2
"""As many as any frame has. Four megabytes of empty lists would take 300 MB to unpack."""
BODIES_PER_FRAME = 64
STATE_ITEMS_MAX = 256
"""Places asked for at once; a deep answer goes down each of them in turn until it is full."""
STATE_NODES_MAX = 1_000
STATE_BYTES_MAX = 300_000
"""Of one answer: some 30 ms of a server's processor, so that votes wait no longer."""
PATH_NIBBLES_MAX = 64
CODE_TRIE = b"code"
BLOCK_TRANSACTIONS_MAX = 10_000
"""As many as a block may have."""
ADDRESSES_MAX = 256
HOST_CHARACTERS_MAX = 253
PORT_MAX = 65_535
NAME_CHARACTERS_MAX = 64
REASON_CHARACTERS_MAX = 300
HEIGHT_MAX = 2**63


class Kind(IntEnum):
    """The kinds of frames; the number is a frame's first item and never changes its meaning."""

    HELLO = 0
    PROOF = 1
    READY = 2
    REFUSED = 3
    STATUS = 4
    TRANSACTIONS = 5
    POOL_HASHES = 6
    GET_TRANSACTIONS = 7
    CONSENSUS = 8
    GET_BLOCKS = 9
    BLOCKS = 10
    GET_HEADERS = 11
    HEADERS = 12
    GET_BODIES = 13
    BODIES = 14
    GET_STATE = 15
    STATE = 16
    COMPACT = 17
    GET_PARTS = 18
    PARTS = 19
    ADDRESSES = 20


def _is_uint(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < HEIGHT_MAX


def _is_bytes(value: object) -> bool:
    return isinstance(value, bytes)


def _is_hash(value: object) -> bool:
    return isinstance(value, bytes) and len(value) == 32


def _is_signature(value: object) -> bool:
    return isinstance(value, bytes) and len(value) == 65


def _is_name(value: object) -> bool:
    return isinstance(value, str) and len(value) <= NAME_CHARACTERS_MAX


def _is_reason(value: object) -> bool:
    return isinstance(value, str) and len(value) <= REASON_CHARACTERS_MAX


def _is_versions(value: object) -> bool:
    return isinstance(value, list) and len(value) <= 16 and all(map(_is_uint, value))


def _is_transactions(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= TRANSACTIONS_PER_FRAME
        and all(map(_is_bytes, value))
    )


def _is_hashes(value: object) -> bool:
    return isinstance(value, list) and len(value) <= HASHES_PER_FRAME and all(map(_is_hash, value))


def _is_addresses(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= NEIGHBOURS_MAX
        and all(isinstance(item, bytes) and len(item) == 20 for item in value)
    )


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_rows(value: object, rows_max: int, size: int) -> bool:
    """A bounded list of lists of so many byte strings each."""
    return (
        isinstance(value, list)
        and len(value) <= rows_max
        and all(
            isinstance(item, list) and len(item) == size and all(map(_is_bytes, item))
            for item in value
        )
    )


def _is_blocks(value: object) -> bool:
    return _is_rows(value, BLOCKS_PER_FRAME, 2)


def _is_headers(value: object) -> bool:
    return _is_rows(value, HEADERS_PER_FRAME, 3)


def _is_bodies(value: object) -> bool:
    return _is_rows(value, BODIES_PER_FRAME, 2)


def _is_places(value: object) -> bool:
    """What GET_STATE asks for: a trie and a path in it, or a code."""
    if not _is_rows(value, STATE_ITEMS_MAX, 2) or not isinstance(value, list):
        return False
    return all(
        len(path) == 32
        if trie == CODE_TRIE
        else len(trie) in (0, 20) and len(path) <= PATH_NIBBLES_MAX and max(path, default=0) < 16
        for trie, path in value
    )


def _is_nodes(value: object) -> bool:
    return isinstance(value, list) and len(value) <= STATE_NODES_MAX and all(map(_is_bytes, value))


def _is_parts(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= BLOCK_TRANSACTIONS_MAX
        and all(map(_is_bytes, value))
    )


def _is_indexes(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= BLOCK_TRANSACTIONS_MAX
        and all(isinstance(item, int) and 0 <= item < BLOCK_TRANSACTIONS_MAX for item in value)
    )


def _is_endpoints(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= ADDRESSES_MAX
        and all(
            isinstance(item, list)
            and len(item) == 3
            and isinstance(item[0], bytes)
            and len(item[0]) == 20
            and isinstance(item[1], str)
            and 0 < len(item[1]) <= HOST_CHARACTERS_MAX
            and _is_uint(item[2])
            and 0 < item[2] <= PORT_MAX
            for item in value
        )
    )


def _or_nil(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or fits(value)


SHAPES: dict[Kind, tuple[Callable[[object], bool], ...]] = {
    Kind.HELLO: (_is_versions, _is_uint, _is_hash, _is_hash, _is_name),
    Kind.PROOF: (_is_signature,),
    Kind.READY: (),
    Kind.REFUSED: (_is_reason,),
    Kind.STATUS: (_or_nil(_is_hash), _is_bytes, _or_nil(_is_addresses)),
    Kind.TRANSACTIONS: (_is_transactions,),
    Kind.POOL_HASHES: (_is_hashes,),
    Kind.GET_TRANSACTIONS: (_is_hashes,),
    Kind.CONSENSUS: (_is_bytes,),
    Kind.GET_BLOCKS: (_is_uint, _is_uint),
    Kind.BLOCKS: (_is_uint, _is_blocks),
    Kind.GET_HEADERS: (_is_uint, _is_uint),
    Kind.HEADERS: (_is_uint, _is_headers),
    Kind.GET_BODIES: (_is_uint, _is_uint, _is_flag),
    Kind.BODIES: (_is_uint, _is_bodies),
    Kind.GET_STATE: (_is_uint, _is_flag, _is_places),
    Kind.STATE: (_is_uint, _is_nodes, _is_addresses),
    Kind.COMPACT: (_is_bytes, _is_bytes, _is_parts),
    Kind.GET_PARTS: (_is_hash, _is_indexes),
    Kind.PARTS: (_is_hash, _is_parts),
    Kind.ADDRESSES: (_is_endpoints,),
}


def encode_frame(kind: Kind, *fields: object) -> bytes:
    """A frame's bytes."""
    packed: bytes = msgpack.packb([int(kind), *fields], use_bin_type=True)
    return packed


def _refuse(*_: object) -> None:
    raise ValueError("neither maps nor extensions stand in a frame")


def decode_frame(data: bytes, bytes_max: int = FRAME_BYTES_MAX) -> tuple[Kind, list[Any]]:
    """A frame's kind and fields, held to its shape. Raises PeerError."""
    if len(data) > bytes_max:
        raise PeerError(f"a frame of {len(data)} bytes, at most {bytes_max} are allowed")
    lists = 0

    def count(items: list[Any]) -> list[Any]:
        nonlocal lists
        lists += 1
        if lists > LISTS_PER_FRAME:
            raise ValueError("too many lists")
        return items

    try:
        items = msgpack.unpackb(
            data,
            raw=False,
            max_array_len=HASHES_PER_FRAME,
            list_hook=count,
            object_hook=_refuse,
            ext_hook=_refuse,
        )
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise PeerError(f"a frame that is no msgpack: {type(error).__name__}") from error
    if not isinstance(items, list) or not items or not _is_uint(items[0]):
        raise PeerError("a frame that is no array with a kind")
    try:
        kind = Kind(items[0])
    except ValueError as error:
        raise PeerError(f"a frame of the unknown kind {items[0]}") from error
    shape, fields = SHAPES[kind], items[1:]
    if len(fields) != len(shape) or not all(
        fits(field) for fits, field in zip(shape, fields, strict=True)
    ):
        raise PeerError(f"a {kind.name} frame of a wrong shape")
    return kind, fields
