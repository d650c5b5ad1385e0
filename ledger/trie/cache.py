"""Decoded nodes kept in memory, by their hash: whatever a trie changes, what is here stays true.

A state that is executed and then dropped can leave nothing wrong behind, since a hash names one
node for ever; entries only take room. Nodes near the top are on every walk and are kept apart from
the many below, so that a burst of cold reads does not push them out.
"""

from collections.abc import Iterable

from ledger.trie.nodes import Fragment, Node

TOP_DEPTH = 4
"""Nibbles from the root. 4,369 branches are above it at most in one trie, and a block of 200
readings written to a million slots goes through a quarter of them."""

TOP_NODES_MAX = 6_144
"""The top of one trie of a million entries and of the others' beside it; 1.3 kB each."""

REST_NODES_MAX = 4_096
"""What a block of 200 readings reads below the top, until it is written; 0.3 to 1.3 kB each."""


class Generations:
    """A bounded map that forgets what was not asked for lately.

    Two generations of at most `size_max` entries: what is asked for moves to the young one, and
    when that is full the old one is dropped. Cheaper than an exact order of use.
    """

    __slots__ = ("_old", "_size_max", "_young")

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._young: dict[Fragment, Node] = {}
        self._old: dict[Fragment, Node] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, fragment: Fragment) -> Node | None:
        node = self._young.get(fragment)
        if node is None:
            node = self._old.pop(fragment, None)
            if node is not None:
                self.put(fragment, node)
        return node

    def put(self, fragment: Fragment, node: Node) -> None:
        if len(self._young) >= self._size_max:
            self._old = self._young
            self._young = {}
        self._young[fragment] = node

    def drop(self, fragment: Fragment) -> None:
        self._young.pop(fragment, None)
        self._old.pop(fragment, None)


class NodeCache:
    """Nodes of any number of tries; those who read must not change them."""

    __slots__ = ("_rest", "_top")

    def __init__(
        self, top_nodes_max: int = TOP_NODES_MAX, rest_nodes_max: int = REST_NODES_MAX
    ) -> None:
        self._top = Generations(top_nodes_max)
        self._rest = Generations(rest_nodes_max)

    def __len__(self) -> int:
        return len(self._top) + len(self._rest)

    def at_depth(self, depth: int) -> Generations:
        """Where nodes so many nibbles from the root are kept."""
        return self._top if depth < TOP_DEPTH else self._rest

    def drop(self, fragments: Iterable[Fragment]) -> None:
        """Forget nodes that the newest state no longer has; asking for one again reads it again."""
        for fragment in fragments:
            self._top.drop(fragment)
            self._rest.drop(fragment)
