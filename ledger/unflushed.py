"""What blocks did since the last flush, in memory, over what the store holds.

Blocks are durable one by one; the state, receipts and indexes they give are kept here and written
in batches, so that a Pi's card is written seldom. After a crash the missing ones are executed
again. Not here: which blocks there are (`chain`), how rows are written (`store`).
"""

from dataclasses import dataclass, field

from ledger.errors import StoreError
from ledger.state.state import StateChanges
from ledger.store.base import StateBatch, Store
from ledger.types import Address, Hash32, Height

NodeKey = tuple[bytes, bytes]
Nodes = dict[NodeKey, bytes | None]
NODE_BYTES, TRANSACTION_BYTES = 200, 300  # of memory beside the node and the receipts themselves


@dataclass(frozen=True, slots=True)
class Layer:
    """One block's effects."""

    height: Height
    changes: StateChanges
    receipts: bytes  # as the store takes them, which is a fourth of what they are decoded
    hashes: tuple[Hash32, ...]  # of its transactions


@dataclass(slots=True)
class Unflushed:
    """The layers above the store's flushed height, and reads through them."""

    store: Store
    flushed_height: Height = -1
    layers: list[Layer] = field(default_factory=list)
    size_bytes: int = 0  # of memory, roughly, for what came since the last flush
    _nodes: Nodes = field(default_factory=dict)
    _codes: dict[Hash32, bytes] = field(default_factory=dict)
    _places: dict[Hash32, tuple[Height, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.flushed_height = self.store.flushed_height()

    def add(self, layer: Layer) -> None:
        """Put a committed block's effects on top."""
        self.layers.append(layer)
        nodes = layer.changes.nodes
        self.size_bytes += NODE_BYTES * len(nodes) + sum(len(one or b"") for one in nodes.values())
        self.size_bytes += TRANSACTION_BYTES * len(layer.hashes) + len(layer.receipts)
        self._nodes.update(nodes)
        self._codes.update(layer.changes.codes)
        for index, transaction_hash in enumerate(layer.hashes):
            self._places[transaction_hash] = (layer.height, index)

    def flush(self, keep: int = 0) -> None:
        """Write all layers but the newest `keep` in one transaction and forget them."""
        kept = self.layers[len(self.layers) - keep :] if keep else []
        if len(self.layers) <= len(kept):
            return
        del self.layers[len(self.layers) - len(kept) :]
        last = self.layers[-1]
        self.store.flush(
            StateBatch(
                height=last.height,
                state_root=last.changes.root,
                nodes=[(layer.height, layer.changes.nodes) for layer in self.layers],
                codes={key: code for one in self.layers for key, code in one.changes.codes.items()},
                receipts={one.height: one.receipts for one in self.layers},
                transaction_hashes={one.height: list(one.hashes) for one in self.layers},
            )
        )
        self.flushed_height = last.height
        self.layers.clear()
        self._nodes.clear()
        self._codes.clear()
        self._places.clear()
        for layer in kept:
            self.add(layer)
        self.size_bytes = 0

    # The reader of the newest state.

    def get_node(self, trie: bytes, path: bytes) -> bytes | None:
        key = (trie, path)
        if key in self._nodes:
            return self._nodes[key]
        return self.store.get_node(trie, path)

    def get_code(self, code_hash: Hash32) -> bytes | None:
        return self._codes.get(code_hash) or self.store.get_code(code_hash)

    def find_contracts(self) -> set[Address]:
        """Every account that has, or had, storage."""
        tries = {trie for trie, _ in self._nodes} | set(self.store.staging.find_tries())
        return tries - {b""}

    # Receipts and places of transactions.

    def get_receipts(self, height: Height) -> bytes | None:
        if self.layers and height >= self.layers[0].height:
            return self.layers[height - self.layers[0].height].receipts
        return self.store.get_receipts(height)

    def find_transaction(self, transaction_hash: Hash32) -> tuple[Height, int] | None:
        return self._places.get(transaction_hash) or self.store.find_transaction(transaction_hash)


@dataclass(slots=True)
class PastReader:
    """Reads nodes as they were after `height`.

    `reads_left`, where given, bounds how many are put together from the store's undo: each takes
    some tens of rows. Raises StoreError beyond it.
    """

    unflushed: Unflushed
    height: Height
    reads_left: int | None = None

    def get_node(self, trie: bytes, path: bytes) -> bytes | None:
        unflushed = self.unflushed
        key = (trie, path)
        above_store = self.height - unflushed.flushed_height
        for layer in reversed(unflushed.layers[: max(0, above_store)]):
            if key in layer.changes.nodes:
                return layer.changes.nodes[key]
        if above_store >= 0:
            return unflushed.store.get_node(trie, path)
        if self.reads_left is not None:
            if self.reads_left == 0:
                raise StoreError(
                    "this reads too much of an old state at once: ask for less, or at a newer block"
                )
            self.reads_left -= 1
        return unflushed.store.get_node_at(trie, path, self.height)

    def get_code(self, code_hash: Hash32) -> bytes | None:
        return self.unflushed.get_code(code_hash)
