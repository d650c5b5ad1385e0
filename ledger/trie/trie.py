"""The Merkle-Patricia trie: values by key under one hash, nodes stored by their path.

Writes wait in memory until `commit`, which gives the new root and every node that changed; who
stores them is not known here. Callers hash keys themselves (the "secure" trie). Source: Yellow
Paper, appendix D.
"""

from typing import Protocol

from ledger.crypto.keccak import keccak256
from ledger.errors import StoreError
from ledger.trie.batch import Batch, Changes
from ledger.trie.cache import TOP_DEPTH, NodeCache
from ledger.trie.nodes import (
    EMPTY,
    VALUE,
    Extension,
    Fragment,
    Leaf,
    Node,
    Path,
    decode_node,
    encode_node,
    is_stored,
    path_of,
    value_of,
)
from ledger.types import Hash32

EMPTY_ROOT: Hash32 = keccak256(EMPTY)


class NodeReader(Protocol):
    """A store of nodes by trie and path, as of one state."""

    def get_node(self, trie: bytes, path: Path) -> bytes | None:
        """The RLP of a node; None where there is none."""
        ...


class Trie:
    """One trie as of `root`, over the nodes that `reader` has.

    Every method raises StoreError, naming trie and path, where a node it needs is missing or is
    not the one that its parent names.
    """

    __slots__ = ("_committed", "_pending", "_reader", "cache", "root", "superseded", "trie_id")

    def __init__(
        self,
        reader: NodeReader,
        trie_id: bytes = b"",
        root: Hash32 = EMPTY_ROOT,
        cache: NodeCache | None = None,
    ) -> None:
        """`trie_id` names the trie to the reader: empty for accounts, else a contract's address.

        `cache` may be shared by any tries, of this state and of others.
        """
        self._reader = reader
        self._pending: dict[bytes, bytes] = {}
        self._committed: Changes = {}
        self.trie_id = trie_id
        self.cache = cache if cache is not None else NodeCache()
        self.root = root
        """The root as of the last commit."""
        self.superseded: list[Fragment] = []
        """What commits replaced: of no use to the cache once the new root is the head's."""

    def get(self, key: bytes) -> bytes | None:
        """The value at a key, pending writes included; None where there is none."""
        value = self._pending.get(key)
        if value is not None:
            return value or None
        return self._walk(path_of(key), None)

    def set(self, key: bytes, value: bytes) -> None:
        """Write a value with the next commit; b"" deletes."""
        self._pending[key] = value

    def commit(self) -> tuple[Hash32, Changes]:
        """Apply the pending writes: the new root, and every node that changed.

        The trie goes on from the new root and remembers these nodes, so that its reader need not
        have them yet.
        """
        writes = sorted((path_of(key), value) for key, value in self._pending.items())
        batch = Batch(self, writes)
        fragment = batch.apply(self._root_fragment())
        self._pending = {}
        self.root = EMPTY_ROOT if fragment == EMPTY else fragment[1:]
        self._committed.update(batch.changes)
        self.superseded += batch.superseded
        return self.root, batch.changes

    def prove(self, key: bytes) -> list[bytes]:
        """The stored nodes on the way to a key under `root`, from the root: its proof.

        Where the key is absent they prove that. Pending writes are no part of it.
        """
        proof: list[bytes] = []
        self._walk(path_of(key), proof)
        return proof

    def _walk(self, path: Path, proof: list[bytes] | None) -> bytes | None:
        """The value at a path under `root`; the stored nodes passed are added to `proof`."""
        fragment = self._root_fragment()
        depth = 0
        top, rest = self.cache.top.young.get, self.cache.rest.young.get
        # Written out: this loop runs for every level of every cold read.
        while fragment != EMPTY:
            node = (top if depth < TOP_DEPTH else rest)(fragment) or self.load(
                fragment, path, depth
            )
            if proof is not None and is_stored(fragment):
                proof.append(encode_node(node))
            if type(node) is list:
                if depth == len(path):
                    return value_of(node[VALUE])
                fragment = node[path[depth]]
                depth += 1
            elif type(node) is Leaf:
                return node.value if node.path == path[depth:] else None
            else:
                assert type(node) is Extension
                if not path.startswith(node.path, depth):
                    return None
                fragment = node.child
                depth += len(node.path)
        return None

    def load(self, fragment: Fragment, path: Path, depth: int) -> Node:
        """The node at `path[:depth]`, which its parent holds as `fragment`; not to be changed."""
        if fragment[0] >= 0xC0:  # a list: the node itself
            return decode_node(fragment)
        nodes = self.cache.top if depth < TOP_DEPTH else self.cache.rest
        node = nodes.get(fragment)
        if node is None:
            node = decode_node(self._read(fragment, path[:depth]))
            nodes.put(fragment, node)
        return node

    def _read(self, fragment: Fragment, path: Path) -> bytes:
        key = (self.trie_id, path)
        if key in self._committed:
            raw = self._committed[key]
        else:
            raw = self._reader.get_node(*key)
        if raw is None or keccak256(raw) != fragment[1:]:
            trie = f"storage trie 0x{self.trie_id.hex()}" if self.trie_id else "account trie"
            raise StoreError(
                f"{trie}: the node at path '{path.hex()[1::2]}' is "
                + ("missing" if raw is None else "not the one this state has")
                + "; the state is no longer kept, or the data folder is damaged: sync it anew"
            )
        return raw

    def _root_fragment(self) -> Fragment:
        return EMPTY if self.root == EMPTY_ROOT else b"\xa0" + self.root
