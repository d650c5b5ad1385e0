"""msgpack, strictly: what goes between nodes and on disk and is not one of Ethereum's formats.

Lists come back as tuples, bytes as bytes, text as str; nothing else of msgpack (extensions,
timestamps) is used. What an item means belongs to who calls. Source: the MessagePack specification.
"""

from typing import Any

import msgpack

from ledger.errors import EncodingError


def pack(item: Any) -> bytes:
    """The msgpack of nested lists, tuples, dicts, bytes, text, integers, booleans and None."""
    packed: bytes = msgpack.packb(item)
    return packed


def unpack(data: bytes, what: str) -> Any:
    """The item that `data` packs, all of it. Raises EncodingError naming `what` was expected.

    Memory is bounded by the size of `data`: msgpack refuses a length that is not there.
    """
    try:
        return msgpack.unpackb(data, use_list=False)
    except (ValueError, TypeError, RecursionError) as error:
        raise EncodingError(f"this is not a {what} in msgpack: {error}") from error


def unpack_items(data: bytes, what: str, *types: type) -> tuple[Any, ...]:
    """The items of a packed list that must be of exactly these types, in this order."""
    items = unpack(data, what)
    if not isinstance(items, tuple) or tuple(type(item) for item in items) != types:
        names = ", ".join(kind.__name__ for kind in types)
        raise EncodingError(f"a {what} is the list ({names}), this is something else")
    return items
