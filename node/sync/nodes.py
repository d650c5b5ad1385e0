"""Walking a state from its root: what hangs below a node, across tries and down to codes.

An item names a node still to come: (trie, path, hash); its code stands for a trie of its own. Both
ends of a snapshot walk alike, so paths need not travel, and every node is held to the hash that
the one above it names.
"""

from collections.abc import Callable
from typing import TypeAlias

from ledger.crypto.keccak import keccak256
from ledger.errors import EncodingError, ProofError
from ledger.state.account import EMPTY_CODE_HASH, decode_account
from ledger.trie.nodes import Extension, Leaf, decode_node, is_stored
from ledger.trie.trie import EMPTY_ROOT
from ledger.types import Address, Hash32
from node.peers.frames import CODE_TRIE, PATH_NIBBLES_MAX

Item: TypeAlias = tuple[bytes, bytes, Hash32]
"""Trie, path and the hash of the node there; b"code", the hash and the hash again for a code."""

FindAddress = Callable[[Hash32], Address | None]
_VALUE = 16  # the index of a branch's own value


def find_children(
    trie: bytes, path: bytes, raw: bytes, find_address: FindAddress
) -> tuple[list[Item], list[Address]]:
    """What a node refers to, in order, and the contracts that it names.

    Raises EncodingError for what is no node, ProofError for a contract whose address is not known.
    """
    node = decode_node(raw)
    if isinstance(node, list):
        found = [
            (trie, path + bytes((nibble,)), fragment[1:])
            for nibble, fragment in enumerate(node[:_VALUE])
            if is_stored(fragment)
        ]
        return found, []
    if isinstance(node, Extension):
        return ([(trie, path + node.path, node.child[1:])] if is_stored(node.child) else []), []
    assert isinstance(node, Leaf)
    if trie:
        return [], []
    return _find_below_account(path + node.path, node.value, find_address)


def _find_below_account(
    path: bytes, leaf: bytes, find_address: FindAddress
) -> tuple[list[Item], list[Address]]:
    if len(path) != PATH_NIBBLES_MAX:
        raise EncodingError("an account's key has 64 nibbles")
    account = decode_account(leaf)
    items: list[Item] = []
    named: list[Address] = []
    if account.storage_root != EMPTY_ROOT:
        hashed = bytes(high << 4 | low for high, low in zip(path[::2], path[1::2], strict=True))
        address = find_address(hashed)
        if address is None:
            raise ProofError(f"the contract of the hashed address 0x{hashed.hex()} is not named")
        named.append(address)
        items.append((address, b"", account.storage_root))
    if account.code_hash != EMPTY_CODE_HASH:
        items.append((CODE_TRIE, account.code_hash, account.code_hash))
    return items, named


def replay(
    wanted: list[Item], nodes: list[bytes], addresses: list[Address], *, deep: bool
) -> tuple[list[tuple[Item, bytes]], list[Item]]:
    """Hold an answer to what was asked: each item with its node, and the items left to ask for.

    A shallow answer has the nodes asked for and none below them. Raises ProofError or EncodingError
    at the first node that the root above does not commit to.
    """
    owners = {keccak256(address): address for address in addresses}
    stack = wanted[::-1]
    got: list[tuple[Item, bytes]] = []
    below: list[Item] = []
    for raw in nodes:
        if not stack:
            raise ProofError("more nodes than were asked for")
        item = stack.pop()
        trie, path, digest = item
        if keccak256(raw) != digest:
            raise ProofError(
                "the node at path '" + path.hex()[1::2] + "' is not the one its root commits to"
            )
        got.append((item, raw))
        if trie != CODE_TRIE:
            children, _ = find_children(trie, path, raw, owners.get)
            if deep:
                stack.extend(reversed(children))
            else:
                below += children
    return got, below + stack[::-1]
