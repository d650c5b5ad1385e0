"""A store of nodes for tests that is stricter than any real one, and a trie built anew."""

from collections.abc import Mapping

from ledger.trie.nodes import Path
from ledger.trie.trie import EMPTY_ROOT, Trie

Nodes = dict[tuple[bytes, Path], bytes]


class NodesInMemory:
    """The newest version of every node; a change that changes nothing is an error."""

    def __init__(self, nodes: Mapping[tuple[bytes, Path], bytes] | None = None) -> None:
        self.nodes: Nodes = dict(nodes or {})
        self.codes: dict[bytes, bytes] = {}
        self.reads = 0

    def get_node(self, trie: bytes, path: Path) -> bytes | None:
        self.reads += 1
        return self.nodes.get((trie, path))

    def get_code(self, code_hash: bytes) -> bytes | None:
        return self.codes.get(code_hash)

    def apply(self, changes: Mapping[tuple[bytes, Path], bytes | None]) -> None:
        for key, raw in changes.items():
            assert self.nodes.get(key) != raw, f"{key} is said to change and does not"
            if raw is None:
                del self.nodes[key]
            else:
                self.nodes[key] = raw


def rebuilt(values: Mapping[bytes, bytes], trie_id: bytes = b"") -> tuple[bytes, Nodes]:
    """The root and all nodes of a trie that never held anything but these values."""
    trie = Trie(NodesInMemory(), trie_id)
    for key, value in values.items():
        trie.set(key, value)
    root, changes = trie.commit()
    assert (root == EMPTY_ROOT) == (not values)
    return root, {key: raw for key, raw in changes.items() if raw is not None}
