"""The store without a disk: for chains in memory, and a plain model to hold the SQLite store to."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence

from ledger.errors import StoreError
from ledger.store.base import SIGNER_KEY, NodeKey, StateBatch
from ledger.types import Hash32, Height


class MemoryStore:
    """Dictionaries; `Store` in form. Nothing survives the process."""

    def __init__(self) -> None:
        self._blocks: list[tuple[Hash32, bytes, bytes, bytes]] = []
        self._heights: dict[Hash32, Height] = {}
        self._meta: dict[str, bytes] = {}
        self._nodes: dict[NodeKey, bytes] = {}
        self._undo: dict[NodeKey, list[tuple[Height, bytes | None]]] = {}
        self._codes: dict[Hash32, bytes] = {}
        self._receipts: dict[Height, bytes] = {}
        self._places: dict[Hash32, tuple[Height, int]] = {}
        self._flushed: Height = -1
        self._oldest: Height = 0

    def append_block(
        self,
        height: Height,
        block_hash: Hash32,
        header: bytes,
        body: bytes,
        certificate: bytes,
        lease: bytes | None,
    ) -> None:
        if height != len(self._blocks):
            raise StoreError(f"block {height} does not follow block {self.head_height()}")
        self._blocks.append((block_hash, header, body, certificate))
        self._heights[block_hash] = height
        if lease is not None:
            self._meta[SIGNER_KEY] = lease

    def head_height(self) -> Height:
        return len(self._blocks) - 1

    def get_header(self, height: Height) -> bytes | None:
        return self._blocks[height][1] if 0 <= height < len(self._blocks) else None

    def get_body(self, height: Height) -> bytes | None:
        return self._blocks[height][2] if 0 <= height < len(self._blocks) else None

    def get_certificate(self, height: Height) -> bytes | None:
        return self._blocks[height][3] if 0 <= height < len(self._blocks) else None

    def get_height(self, block_hash: Hash32) -> Height | None:
        return self._heights.get(block_hash)

    def save_signer(self, record: bytes) -> None:
        self._meta[SIGNER_KEY] = record

    def load_signer(self) -> bytes | None:
        return self._meta.get(SIGNER_KEY)

    def put_durable(self, key: str, value: bytes | None) -> None:
        self.put_durable_many({key: value})

    def put_durable_many(self, values: Mapping[str, bytes | None]) -> None:
        for key, value in values.items():
            if value is None:
                self._meta.pop(key, None)
            else:
                self._meta[key] = value

    def get_meta(self, key: str) -> bytes | None:
        return self._meta.get(key)

    def set_meta(self, key: str, value: bytes) -> None:
        self._meta[key] = value

    def flush(self, batch: StateBatch) -> None:
        for height, nodes in batch.nodes:
            for key, node in nodes.items():
                self._undo.setdefault(key, []).append((height, self._nodes.get(key)))
                if node is None:
                    self._nodes.pop(key, None)
                else:
                    self._nodes[key] = node
        self._codes.update(batch.codes)
        self._receipts.update(batch.receipts)
        for height, hashes in batch.transaction_hashes.items():
            for index, transaction_hash in enumerate(hashes):
                self._places[transaction_hash] = (height, index)
        self._flushed = batch.height

    def flushed_height(self) -> Height:
        return self._flushed

    def get_node(self, trie: bytes, path: bytes) -> bytes | None:
        return self._nodes.get((trie, path))

    def get_node_at(self, trie: bytes, path: bytes, height: Height) -> bytes | None:
        rows = self._undo.get((trie, path), [])
        index = bisect_right(rows, height, key=lambda row: row[0])
        return rows[index][1] if index < len(rows) else self._nodes.get((trie, path))

    def get_code(self, code_hash: Hash32) -> bytes | None:
        return self._codes.get(code_hash)

    def get_receipts(self, height: Height) -> bytes | None:
        return self._receipts.get(height)

    def find_transaction(self, transaction_hash: Hash32) -> tuple[Height, int] | None:
        return self._places.get(transaction_hash)

    def prune(self, below_height: Height, pins: Sequence[Height] = ()) -> None:
        kept = sorted({pin for pin in pins if pin < below_height})
        for key, rows in list(self._undo.items()):
            needed = {bisect_right(rows, pin, key=lambda row: row[0]) for pin in kept}
            rows[:] = [
                row for index, row in enumerate(rows) if row[0] > below_height or index in needed
            ]
            if not rows:
                del self._undo[key]
        self._oldest = max(self._oldest, below_height)

    def oldest_state(self) -> Height:
        return self._oldest

    def size_bytes(self) -> int:
        return sum(map(len, self._nodes.values())) + sum(
            len(body) for _, _, body, _ in self._blocks
        )

    def close(self) -> None:
        """Nothing to do: what was written was never kept."""
