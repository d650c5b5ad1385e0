"""The store without a disk: for chains in memory, and a plain model to hold the SQLite store to."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy

from ledger.block import Block, Header
from ledger.crypto.keccak import keccak256
from ledger.encoding.packed import unpack
from ledger.errors import StoreError
from ledger.store.base import SIGNER_KEY, NodeKey, SideBlock, StateBatch
from ledger.types import Hash32, Height


class MemoryStore:
    """Dictionaries; `Store` in form. Nothing survives the process."""

    def __init__(self) -> None:
        self._blocks: dict[Height, tuple[Hash32, bytes, bytes | None, bytes]] = {}
        self._head: Height = -1
        self._heights: dict[Hash32, Height] = {}
        self._meta: dict[str, bytes] = {}
        self._nodes: dict[NodeKey, bytes] = {}
        self._undo: dict[NodeKey, list[tuple[Height, bytes | None]]] = {}
        self._codes: dict[Hash32, bytes] = {}
        self._receipts: dict[Height, bytes] = {}
        self._places: dict[Hash32, tuple[Height, int]] = {}
        self._flushed: Height = -1
        self._oldest: Height = 0
        self.staging = _Staging(self)
        self.branches = _Branches()

    def append_block(
        self,
        height: Height,
        block_hash: Hash32,
        header: bytes,
        body: bytes,
        certificate: bytes,
        lease: bytes | None,
    ) -> None:
        if height != self._head + 1:
            raise StoreError(f"block {height} does not follow block {self._head}")
        self._blocks[height] = (block_hash, header, body, certificate)
        self._heights[block_hash] = self._head = height
        if lease is not None:
            self._meta[SIGNER_KEY] = lease

    def head_height(self) -> Height:
        return self._head

    def get_header(self, height: Height) -> bytes | None:
        return self._blocks[height][1] if 0 <= height <= self._head else None

    def get_body(self, height: Height) -> bytes | None:
        return self._blocks[height][2] if 0 <= height <= self._head else None

    def get_certificate(self, height: Height) -> bytes | None:
        return self._blocks[height][3] if 0 <= height <= self._head else None

    def get_height(self, block_hash: Hash32) -> Height | None:
        height = self._heights.get(block_hash)
        return height if height is None or height <= self._head else None

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
        place = self._places.get(transaction_hash)
        return place if place and self.get_body(place[0]) is not None else None

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

    def adopt_staged(self, height: Height, state_root: Hash32, signer: bytes | None) -> None:
        self._nodes, self.staging.nodes = self.staging.nodes, {}
        self._undo.clear()
        self._head = self._flushed = self._oldest = height
        self.staging.first_body = height + 1
        self.put_durable(SIGNER_KEY, signer)

    @contextmanager
    def draft(self) -> Iterator["MemoryStore"]:
        draft = deepcopy(self)
        yield draft
        self.__dict__.update(draft.__dict__)
        self.staging._store = self

    def rewind(self, height: Height, state: Height) -> None:
        for above in [one for one in self._blocks if one > height]:
            del self._heights[self._blocks.pop(above)[0]]
        self._head = height
        if self._flushed <= state:
            return
        for (trie, path), rows in self._undo.items():
            node = self.get_node_at(trie, path, state)
            if node is None:
                self._nodes.pop((trie, path), None)
            else:
                self._nodes[trie, path] = node
            rows[:] = [row for row in rows if row[0] <= state]
        self._receipts = {at: kept for at, kept in self._receipts.items() if at <= state}
        self._places = {key: place for key, place in self._places.items() if place[0] <= state}
        self._flushed, self._oldest = state, min(self._oldest, state)

    def size_bytes(self) -> int:
        return sum(map(len, self._nodes.values())) + sum(
            len(body or b"") for _, _, body, _ in self._blocks.values()
        )

    def close(self) -> None:
        """Nothing to do: what was written was never kept."""


class _Staging:
    """`Staging` in form, over the dictionaries of a store."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.nodes: dict[NodeKey, bytes] = {}
        self.first_body: Height = 0

    def append_headers(self, rows: Sequence[tuple[Height, Hash32, bytes, bytes]]) -> None:
        for height, block_hash, header, certificate in rows:
            _, _, body, _ = self._store._blocks.get(height, (b"", b"", None, b""))
            self._store._blocks[height] = (block_hash, header, body, certificate)
            self._store._heights[block_hash] = height

    def ahead_height(self) -> Height:
        return max(self._store._blocks, default=-1)

    def get_ahead(self, height: Height) -> tuple[bytes, bytes] | None:
        block = self._store._blocks.get(height)
        return block and (block[1], block[3])

    def get_headers(self, first: Height, count: int) -> list[tuple[bytes, bytes]]:
        blocks = self._store._blocks
        heights = range(first, min(first + count, self.ahead_height() + 1))
        return [(blocks[height][1], blocks[height][3]) for height in heights if height in blocks]

    def bodies_from(self) -> Height:
        return self.first_body

    def prune_bodies(self, below: Height, count: int) -> int:
        first = max(1, self.first_body)
        last = min(below, first + count)
        for height in range(first, last):
            block_hash, header, _, certificate = self._store._blocks[height]
            self._store._blocks[height] = (block_hash, header, None, certificate)
            self._store._receipts.pop(height, None)
        self.first_body = max(first, last) if last > first else self.first_body
        return max(0, last - first)

    def fill_bodies(self, rows: Sequence[tuple[Height, bytes, bytes]]) -> None:
        for height, body, receipts in rows:
            block_hash, header, _, certificate = self._store._blocks[height]
            self._store._blocks[height] = (block_hash, header, body, certificate)
            self._store._receipts[height] = receipts
            for index, raw in enumerate(unpack(body, "block body")):
                self._store._places[keccak256(raw)] = (height, index)
        self.first_body = min(height for height, _, _ in rows)

    def stage(self, nodes: Sequence[tuple[NodeKey, bytes]], codes: Mapping[Hash32, bytes]) -> None:
        self.nodes.update(nodes)
        self._store._codes.update(codes)

    def get_staged(self, trie: bytes, path: bytes) -> bytes | None:
        return self.nodes.get((trie, path))

    def find_tries(self) -> list[bytes]:
        return list({trie for trie, _ in [*self.nodes, *self._store._nodes]})

    def drop_staged(self) -> None:
        self.nodes.clear()


class _Branches:
    """`Branches` in form."""

    def __init__(self) -> None:
        self._blocks: dict[Hash32, tuple[Block, Height]] = {}

    def put(self, block: Block, seen: Height) -> None:
        self._blocks[block.hash] = (block, seen)

    def get(self, block_hash: Hash32) -> Block | None:
        return self._blocks[block_hash][0] if block_hash in self._blocks else None

    def get_header(self, block_hash: Hash32) -> Header | None:
        block = self.get(block_hash)
        return None if block is None else block.header

    def drop(self, hashes: Sequence[Hash32]) -> None:
        for block_hash in hashes:
            self._blocks.pop(block_hash, None)

    def load(self) -> list[SideBlock]:
        return [
            SideBlock(key, block.number, block.header.parent_hash, seen, 0)
            for key, (block, seen) in self._blocks.items()
        ]
