"""What engines of proof of work say to each other: msgpack (version, kind, payload).

    BLOCK    1, RLP of a block                  new, passed on once it was found good
    ASK      2, [hash, ...]                     a locator: of the asker's branch, newest first
    BLOCKS   3, [RLP of a block, ...]           what follows the first of them known, oldest first

Not here: whether a block holds (`branches`).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ledger.block import Block, encode_block
from ledger.encoding.packed import pack, unpack
from ledger.errors import EncodingError
from ledger.types import Hash32, Height

VERSION = 1
LOCATOR_MAX = 64  # every power of two back from the head, and some more
BLOCKS_MAX = 64
BLOCKS_BYTES_MAX = 2_500_000  # until they have so many bytes; one always is sent

_BLOCK, _ASK, _BLOCKS = 1, 2, 3


@dataclass(frozen=True, slots=True)
class NewBlock:
    """A block that a peer sealed, or took in from another; who lacks its parent asks."""

    block: Block


@dataclass(frozen=True, slots=True)
class Ask:
    """What follows on the first of these hashes that the peer knows? The newest stands first."""

    locator: tuple[Hash32, ...]


@dataclass(frozen=True, slots=True)
class Blocks:
    """An answer: blocks in order, oldest first; none where nothing follows."""

    blocks: tuple[Block, ...]


def encode_new_block(block: Block) -> bytes:
    return pack((VERSION, _BLOCK, encode_block(block)))


def encode_ask(locator: Sequence[Hash32]) -> bytes:
    return pack((VERSION, _ASK, tuple(locator[:LOCATOR_MAX])))


def encode_blocks(blocks: Iterable[Block]) -> bytes:
    """As many of them as one message holds."""
    chosen: list[bytes] = []
    size = 0
    for block in blocks:
        raw = encode_block(block)
        size += len(raw)
        if len(chosen) == BLOCKS_MAX or (chosen and size > BLOCKS_BYTES_MAX):
            break
        chosen.append(raw)
    return pack((VERSION, _BLOCKS, tuple(chosen)))


def decode_message(message: bytes, decode: Callable[[bytes], Block]) -> NewBlock | Ask | Blocks:
    """What a peer said. Raises EncodingError, and InvalidTransaction of a block's transactions."""
    items = unpack(message, "message")
    if not isinstance(items, tuple) or len(items) != 3:
        raise EncodingError("a message is the list (version, kind, payload)")
    version, kind, payload = items
    if version != VERSION:
        raise EncodingError(f"a message of version {version}, this program speaks {VERSION}")
    if kind == _BLOCK and isinstance(payload, bytes):
        return NewBlock(decode(payload))
    if kind == _ASK and _is_list(payload, LOCATOR_MAX, 32):
        return Ask(payload)
    if kind == _BLOCKS and _is_list(payload, BLOCKS_MAX):
        return Blocks(tuple(map(decode, payload)))
    raise EncodingError(f"a message of kind {kind} with a payload that is none of its own")


def list_locator_heights(head: Height) -> list[Height]:
    """The heights of a locator: ten from the head down, then each twice as far back, genesis."""
    heights: list[Height] = []
    step, height = 1, head
    while height > 0:
        heights.append(height)
        if len(heights) >= 10:
            step *= 2
        height -= step
    return [*heights, 0]


def _is_list(payload: object, count_max: int, size: int | None = None) -> bool:
    return (
        isinstance(payload, tuple)
        and len(payload) <= count_max
        and all(isinstance(one, bytes) and size in (None, len(one)) for one in payload)
    )
