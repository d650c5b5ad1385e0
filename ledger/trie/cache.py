"""Decoded nodes kept in memory, by their hash: whatever a trie changes, what is here stays true.

A state that is executed and then dropped can leave nothing wrong behind, since a hash names one
node for ever; entries only take room. Nodes near the top are on every walk and are kept apart from
the many below, so that a burst of cold reads does not push them out.
"""

from collections.abc import Iterable

from ledger.trie.nodes import Fragment, Node

TOP_DEPTH = 4
"""Nibbles from the root: above are at most 4,369 branches of one trie, and a block of 200 readings
written to a million slots goes through a quarter of them."""

TOP_NODES_MAX = 6_144  # the top of one trie of a million slots and of others; 1.3 kB each
REST_NODES_MAX = 12_288  # what a block of 1,000 readings reads below, and writes; 0.4 kB each


class Generations:
    """A bounded map that forgets what was not asked for lately.

    Two generations of at most `size_max` entries: what is asked for moves to the young one, and
    when that is full it takes the old one's place. Cheaper than an exact order of use.
    """

    __slots__ = ("old", "size_max", "young")

    def __init__(self, size_max: int) -> None:
        self.size_max = size_max
        self.young: dict[Fragment, Node] = {}  # the same object for ever: hot loops hold it
        self.old: dict[Fragment, Node] = {}

    def get(self, fragment: Fragment) -> Node | None:
        node = self.young.get(fragment)
        if node is None:
            node = self.old.pop(fragment, None)
            if node is not None:
                self.put(fragment, node)
        return node

    def put(self, fragment: Fragment, node: Node) -> None:
        if len(self.young) >= self.size_max:
            self.old = self.young.copy()
            self.young.clear()
        self.young[fragment] = node


class NodeCache:
    """Nodes of any number of tries, less than TOP_DEPTH nibbles from the root and below."""

    __slots__ = ("rest", "top")

    def __init__(self, top_nodes_max: int = TOP_NODES_MAX, rest_max: int = REST_NODES_MAX) -> None:
        self.top = Generations(top_nodes_max)
        self.rest = Generations(rest_max)

    def drop(self, fragments: Iterable[Fragment]) -> None:
        """Forget nodes that the newest state no longer has, to make room.

        They were asked for when they were replaced: the old generation need not be searched.
        """
        drop_top, drop_rest = self.top.young.pop, self.rest.young.pop
        for fragment in fragments:
            if drop_top(fragment, None) is None:
                drop_rest(fragment, None)
