"""What peers say to each other: msgpack arrays, one per binary WebSocket message.

    HELLO             [0, [versions], chain id, genesis hash, 32-byte nonce, name]
    PROOF             [1, 65-byte signature]                 who I am, see `identity`
    READY             [2]                                    you are welcome
    REFUSED           [3, reason]                            and the connection is closed
    STATUS            [4, head hash, engine status, [address, ...]]   neighbours; see `node.gossip`
    TRANSACTIONS      [5, [raw, ...]]
    POOL_HASHES       [6, [transaction hash, ...]]
    GET_TRANSACTIONS  [7, [transaction hash, ...]]
    CONSENSUS         [8, message]                           bytes that only the engine understands
    GET_BLOCKS        [9, first height, count]
    BLOCKS            [10, first height, [[block, certificate], ...]]

Every frame is checked against SHAPES before anybody acts on it. Not here: sockets (`connection`),
what a node does with a frame (`node.gossip`, `node.sync`). Source: github.com/msgpack/msgpack spec.
"""

from enum import IntEnum
from typing import Any

import msgpack

from node.errors import PeerError

PROTOCOL_VERSIONS = (1,)
"""Spoken here, newest last; two peers use the newest that both speak."""

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
NAME_CHARACTERS_MAX = 64
REASON_CHARACTERS_MAX = 300
HEIGHT_MAX = 2**63


class Kind(IntEnum):
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


def _is_blocks(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= BLOCKS_PER_FRAME
        and all(
            isinstance(item, list) and len(item) == 2 and all(map(_is_bytes, item))
            for item in value
        )
    )


SHAPES = {
    Kind.HELLO: (_is_versions, _is_uint, _is_hash, _is_hash, _is_name),
    Kind.PROOF: (_is_signature,),
    Kind.READY: (),
    Kind.REFUSED: (_is_reason,),
    Kind.STATUS: (_is_hash, _is_bytes, _is_addresses),
    Kind.TRANSACTIONS: (_is_transactions,),
    Kind.POOL_HASHES: (_is_hashes,),
    Kind.GET_TRANSACTIONS: (_is_hashes,),
    Kind.CONSENSUS: (_is_bytes,),
    Kind.GET_BLOCKS: (_is_uint, _is_uint),
    Kind.BLOCKS: (_is_uint, _is_blocks),
}


def encode_frame(kind: Kind, *fields: object) -> bytes:
    """A frame's bytes."""
    packed: bytes = msgpack.packb([int(kind), *fields], use_bin_type=True)
    return packed


def decode_frame(data: bytes, bytes_max: int = FRAME_BYTES_MAX) -> tuple[Kind, list[Any]]:
    """A frame's kind and fields, held to its shape. Raises PeerError."""
    if len(data) > bytes_max:
        raise PeerError(f"a frame of {len(data)} bytes, at most {bytes_max} are allowed")
    try:
        items = msgpack.unpackb(
            data, raw=False, strict_map_key=True, use_list=True, max_array_len=HASHES_PER_FRAME
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
