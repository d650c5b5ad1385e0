"""Where one trie's nodes come from: its own uncommitted batch results, the cache, the store."""

from typing import Protocol

from ledger.crypto.keccak import keccak256
from ledger.errors import StoreError
from ledger.trie.cache import NodeCache
from ledger.trie.nodes import Fragment, Node, Path, decode_node

_LIST_MIN = 0xC0  # the first byte of a fragment that is a node itself


class NodeReader(Protocol):
    """A store of nodes by trie and path, as of one state."""

    def get_node(self, trie: bytes, path: Path) -> bytes | None:
        """The RLP of a node; None where there is none."""
        ...


class NodeSource:
    """Reads nodes for one trie and holds each to the hash that its parent names."""

    __slots__ = ("cache", "committed", "reader", "trie_id")

    def __init__(self, reader: NodeReader, trie_id: bytes, cache: NodeCache) -> None:
        self.reader = reader
        self.trie_id = trie_id
        self.cache = cache
        self.committed: dict[Path, bytes | None] = {}
        """What this trie committed since it was made, which the reader need not have yet."""

    def load(self, fragment: Fragment, path: Path, depth: int) -> Node:
        """The node at `path[:depth]`. Raises StoreError where it is missing or another one."""
        if fragment[0] >= _LIST_MIN:
            return decode_node(fragment)
        nodes = self.cache.at_depth(depth)
        node = nodes.get(fragment)
        if node is None:
            node = decode_node(self._read(fragment, path[:depth]))
            nodes.put(fragment, node)
        return node

    def _read(self, fragment: Fragment, path: Path) -> bytes:
        if path in self.committed:
            raw = self.committed[path]
        else:
            raw = self.reader.get_node(self.trie_id, path)
        if raw is None:
            raise StoreError(f"{self._name(path)} is missing; restore the data folder or sync anew")
        if keccak256(raw) != fragment[1:]:
            raise StoreError(
                f"{self._name(path)} is not the one this state has: the state is no longer kept, "
                "or the data folder is damaged"
            )
        return raw

    def _name(self, path: Path) -> str:
        trie = f"storage trie 0x{self.trie_id.hex()}" if self.trie_id else "account trie"
        where = f"path {path.hex()[1::2]}" if path else "its root"
        return f"{trie}: the node at {where}"
