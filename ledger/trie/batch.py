"""Many writes to a trie at once: every node that changes is encoded and hashed a single time.

The writes are sorted by path and handed down the trie together. A node that came from above is
never changed: what differs is a new object, so the state before stays readable. A node gets its
place in the store ("sealed") only when nothing can move it any more: whoever holds a child decides
first whether it has to be joined with it. Source: Yellow Paper, appendix D, restated for batches.
"""

from bisect import bisect_left, insort
from typing import Protocol, TypeAlias

from ledger.crypto.keccak import keccak256
from ledger.encoding import rlp
from ledger.trie.cache import TOP_DEPTH, NodeCache
from ledger.trie.nodes import (
    BRANCH_SIZE,
    EMBEDDED_SIZE_MAX,
    EMPTY,
    VALUE,
    Branch,
    Extension,
    Fragment,
    Leaf,
    Node,
    Path,
    encode_leaf,
    encode_node,
    is_stored,
    value_of,
)

Write: TypeAlias = tuple[Path, bytes]
"""A path from the root and the value there; b"" deletes."""

Changes: TypeAlias = dict[tuple[bytes, Path], bytes | None]
"""The RLP of every node that changed, by trie and path; None where there is none any more."""

Entry: TypeAlias = tuple[Path, bytes | Extension]
"""What a new subtree is built from: a value, or an existing child that an extension led to."""


class NodeSource(Protocol):
    """Where nodes come from, and where decoded ones are kept: a trie."""

    trie_id: bytes
    cache: NodeCache

    def load(self, fragment: Fragment, path: Path, depth: int) -> Node: ...


class Batch:
    """One batch of writes; `changes` and `superseded` are complete after `apply`."""

    __slots__ = (
        "_cache", "_load", "_put_rest", "_put_top", "_trie_id", "_writes", "changes", "superseded"
    )  # fmt: skip

    def __init__(self, source: NodeSource, writes: list[Write]) -> None:
        """`writes` are sorted, each path once."""
        self._load = source.load
        self._cache = source.cache
        self._put_top, self._put_rest = source.cache.top.put, source.cache.rest.put
        self._trie_id = source.trie_id
        self._writes = writes
        self.changes: Changes = {}
        self.superseded: list[Fragment] = []
        """What stood at these paths before."""

    def apply(self, root: Fragment) -> Fragment:
        """The root after the writes: EMPTY, or 0xa0 and a hash."""
        if not self._writes:
            return root
        old = None if root == EMPTY else self._load(root, b"", 0)
        new = self._update(old, 0, 0, len(self._writes))
        return root if new is old else self._seal(new, b"", root)

    def _update(self, node: Node | None, depth: int, low: int, high: int) -> Node | None:
        """The node at `depth` after writes[low:high], which all pass there; itself if the same."""
        if type(node) is list:
            if high - low == 1 and depth < len(self._writes[low][0]):
                return self._update_one(node, depth, low)
            return self._update_branch(node, depth, low, high)
        if type(node) is Extension:
            return self._update_extension(node, depth, low, high)
        assert node is None or type(node) is Leaf
        return self._update_leaf(node, depth, low, high)

    def _update_one(self, branch: Branch, depth: int, low: int) -> Node | None:
        """As `_update_branch`, for a single write below: down and up again in one loop.

        Below the top of a large trie nearly every write walks alone.
        """
        path = self._writes[low][0]
        top, rest = self._cache.top.young.get, self._cache.rest.young.get
        passed: list[tuple[Branch, Fragment]] = []
        node: Node | None = branch
        while type(node) is list and depth < len(path):
            fragment = node[path[depth]]
            passed.append((node, fragment))
            depth += 1
            if fragment == EMPTY:
                node = None
            else:
                node = (top if depth < TOP_DEPTH else rest)(fragment)
                node = node or self._load(fragment, path, depth)
        new = self._update(node, depth, low, low + 1)
        if new is node:
            return branch
        while passed:
            branch, fragment = passed.pop()
            depth -= 1
            if new is None:
                new = self._shrink(branch, path[:depth], {path[depth]: None}, branch[VALUE])
            else:
                filled = branch.copy()
                filled[path[depth]] = self._seal(new, path[: depth + 1], fragment)
                new = filled
        return new

    def _update_branch(self, branch: Branch, depth: int, low: int, high: int) -> Node | None:
        writes = self._writes
        below = depth + 1
        prefix = writes[low][0][:depth]
        value = branch[VALUE]
        if len(writes[low][0]) == depth:
            value = rlp.encode_bytes(writes[low][1])
            low += 1
        changed: dict[int, Node | None] = {}
        old: Node | None
        new: Node | None
        known = (self._cache.top if below < TOP_DEPTH else self._cache.rest).young.get
        while low < high:
            path = writes[low][0]
            nibble = path[depth]
            end = low + 1
            while end < high and writes[end][0][depth] == nibble:
                end += 1
            fragment = branch[nibble]
            if fragment == EMPTY:
                old = None
            else:
                old = known(fragment) or self._load(fragment, path, below)
            if type(old) is Leaf and end - low == 1 and old.path == path[below:]:
                item = writes[low][1]  # most writes of a meter end here
                new = old if item == old.value else Leaf(old.path, item, old.head) if item else None
            else:
                new = self._update(old, below, low, end)
            if new is not old:
                changed[nibble] = new
            low = end
        if None in changed.values() or (value != branch[VALUE] and value == EMPTY):
            return self._shrink(branch, prefix, changed, value)
        if not changed and value == branch[VALUE]:
            return branch
        return self._fill(branch, prefix, changed, value)

    def _fill(
        self, branch: Branch, prefix: Path, changed: dict[int, Node | None], value: Fragment
    ) -> Branch:
        """The branch with these children and this value in place."""
        filled = branch.copy()
        filled[VALUE] = value
        put = self._put_top if len(prefix) + 1 < TOP_DEPTH else self._put_rest
        for nibble, node in changed.items():
            path = prefix + _NIBBLES[nibble]
            if type(node) is Leaf and node.head:  # `_seal` written out: most nodes are these
                raw = encode_leaf(node.head, node.value)
                if len(raw) > EMBEDDED_SIZE_MAX:
                    fragment = filled[nibble] = b"\xa0" + keccak256(raw)
                    self.changes[self._trie_id, path] = raw
                    self.superseded.append(branch[nibble])
                    put(fragment, node)
                    continue
            filled[nibble] = self._seal(node, path, branch[nibble])
        return filled

    def _shrink(
        self, branch: Branch, prefix: Path, changed: dict[int, Node | None], value: Fragment
    ) -> Node | None:
        """The branch after deletions in it, or what replaces it where too little is left."""
        alive = [
            nibble
            for nibble in range(VALUE)
            if changed.get(nibble, branch[nibble]) not in (None, EMPTY)
        ]
        if len(alive) > 1 or (alive and value != EMPTY):
            return self._fill(branch, prefix, changed, value)
        for nibble, node in changed.items():
            if node is None:
                self._vanish(prefix + _NIBBLES[nibble], branch[nibble])
        if not alive:
            rest = value_of(value)
            return None if rest is None else Leaf(b"", rest)
        stretch = _NIBBLES[alive[0]]
        path = prefix + stretch
        fragment = branch[alive[0]]
        child = changed.get(alive[0])
        if child is None:
            child = self._load(fragment, path, len(path))
            if type(child) is list:
                return Extension(stretch, fragment)
        return self._join(stretch, child, path, fragment)

    def _join(self, stretch: Path, child: Node, path: Path, old: Fragment) -> Node:
        """A new child at `path` and the stretch of path above it, in as few nodes as there can be.

        `old` is what stood at `path` before.
        """
        if type(child) is list:
            return Extension(stretch, self._seal(child, path, old))
        self._vanish(path, old)
        if type(child) is Leaf:
            return Leaf(stretch + child.path, child.value)
        assert type(child) is Extension
        return Extension(stretch + child.path, child.child)

    def _update_leaf(self, leaf: Leaf | None, depth: int, low: int, high: int) -> Node | None:
        """A leaf, or nothing, after writes: whatever comes of it is built anew."""
        path, value = self._writes[low]
        if high - low == 1:
            if leaf is None:
                return Leaf(path[depth:], value) if value else None
            if leaf.path == path[depth:]:
                if value == leaf.value:
                    return leaf
                return Leaf(leaf.path, value, leaf.head) if value else None
        entries: list[Entry] = [write for write in self._writes[low:high] if write[1]]
        if leaf is not None:
            own = path[:depth] + leaf.path
            if all(write[0] != own for write in self._writes[low:high]):
                insort(entries, (own, leaf.value))
            if entries == [(own, leaf.value)]:
                return leaf
        return self._build(entries, 0, len(entries), depth) if entries else None

    def _update_extension(
        self, extension: Extension, depth: int, low: int, high: int
    ) -> Node | None:
        """First the writes that follow the extension to its end, then those that leave it."""
        writes = self._writes
        prefix = writes[low][0][:depth]
        end = prefix + extension.path
        first = last = bisect_left(writes, (end, b""), low, high)
        while last < high and writes[last][0].startswith(end):
            last += 1
        result: Node | None = extension
        if first < last:
            old = self._load(extension.child, end, len(end))
            new = self._update(old, len(end), first, last)
            if new is None:
                self._vanish(end, extension.child)
                result = None
            elif new is not old:
                result = self._join(extension.path, new, end, extension.child)
        entries: list[Entry] = [
            write for write in writes[low:first] + writes[last:high] if write[1]
        ]
        if not entries:
            return result
        if type(result) is Extension:
            insort(entries, (prefix + result.path, result))
        elif type(result) is Leaf:
            insort(entries, (prefix + result.path, result.value))
        return self._build(entries, 0, len(entries), depth)

    def _build(self, entries: list[Entry], low: int, high: int, depth: int) -> Node:
        """A subtree where nothing was stored; entries[low:high] share the path up to `depth`.

        An entry that is an extension stands for the child it led to, which keeps its place. What
        is left of the path to that may be nothing: the caller then takes the child itself.
        """
        path, value = entries[low]
        if high - low == 1:
            if isinstance(value, bytes):
                return Leaf(path[depth:], value)
            return Extension(path[depth:], value.child)
        split = common_size(path, entries[high - 1][0], depth)
        branch: list[Fragment] = [EMPTY] * BRANCH_SIZE
        if len(path) == split and isinstance(value, bytes):
            branch[VALUE] = rlp.encode_bytes(value)
            low += 1
        while low < high:
            path = entries[low][0]
            end = low + 1
            while end < high and entries[end][0][split] == path[split]:
                end += 1
            child = self._build(entries, low, end, split + 1)
            if type(child) is Extension and not child.path:
                branch[path[split]] = child.child
            else:
                branch[path[split]] = self._seal(child, path[: split + 1], EMPTY)
            low = end
        if split == depth:
            return branch
        return Extension(path[depth:split], self._seal(branch, path[:split], EMPTY))

    def _seal(self, node: Node | None, path: Path, old: Fragment) -> Fragment:
        """Give a node its place; `old` is what stood there before, EMPTY for nothing."""
        raw = b"" if node is None else encode_node(node)
        if node is None or (len(raw) <= EMBEDDED_SIZE_MAX and path):
            self._vanish(path, old)
            return raw or EMPTY
        fragment = b"\xa0" + keccak256(raw)
        self.changes[self._trie_id, path] = raw
        self.superseded.append(old)
        (self._put_top if len(path) < TOP_DEPTH else self._put_rest)(fragment, node)
        return fragment

    def _vanish(self, path: Path, old: Fragment) -> None:
        """Nothing is stored at `path` any more."""
        if is_stored(old):
            self.superseded.append(old)
            self.changes[self._trie_id, path] = None


_NIBBLES = tuple(bytes([nibble]) for nibble in range(16))


def common_size(first: Path, last: Path, start: int) -> int:
    """How many nibbles two different paths share, which is at least `start`."""
    end = min(len(first), len(last))
    while start < end and first[start] == last[start]:
        start += 1
    return start
