"""What the chain asks of a disk, whichever it is.

Two kinds of writes. `append_block` and the small durable values (signer records, settings) are on
disk when they return: what depends on them may be sent. `flush` brings state, receipts and indexes
of many blocks at once, in one transaction with the height they belong to; what a crash loses of
them is executed again. What a block or a node means is not known here. Source: DESIGN.md section 5.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from ledger.block import Block, Header
from ledger.types import Hash32, Height

NodeKey = tuple[bytes, bytes]
"""(trie, path): trie b"" holds accounts, another is an address; a byte of a path is a nibble."""

SIGNER_KEY = "signer"
"""The durable value that `append_block` raises together with its block."""


@dataclass(frozen=True, slots=True)
class StateBatch:
    """What the blocks up to `height` did since the last flush.

    `nodes` holds for each block in order its height and the nodes it changed (None: gone);
    `receipts` and `transaction_hashes` are by height.
    """

    height: Height
    state_root: Hash32
    nodes: Sequence[tuple[Height, Mapping[NodeKey, bytes | None]]]
    codes: Mapping[Hash32, bytes] = field(default_factory=dict)
    receipts: Mapping[Height, bytes] = field(default_factory=dict)
    transaction_hashes: Mapping[Height, Sequence[Hash32]] = field(default_factory=dict)


class SideBlock(NamedTuple):
    """A block of another branch; `seen` is the head's height when it came, `size` in bytes."""

    hash: Hash32
    number: Height
    parent: Hash32
    seen: Height
    size: int


class Branches(Protocol):
    """Blocks that are checked for their work, are not of the chain and may become so."""

    def put(self, block: Block, seen: Height) -> None: ...
    def get(self, block_hash: Hash32) -> Block | None: ...
    def get_header(self, block_hash: Hash32) -> Header | None: ...
    def drop(self, hashes: Sequence[Hash32]) -> None: ...
    def load(self) -> list[SideBlock]: ...


class Staging(Protocol):
    """What is kept beside the chain until it is whole, and bodies that are let go. Errors: Store's.

    Headers ahead of the head are certified by who appends them and follow each other. A staged
    state is seen only through `get_staged`, until `Store.adopt_staged`.
    """

    def append_headers(self, rows: Sequence[tuple[Height, Hash32, bytes, bytes]]) -> None:
        """Keep (height, hash, header, certificate) durably; a body that is there stays."""

    def ahead_height(self) -> Height:
        """The highest header kept, of the chain or ahead of it; -1 if there is none."""

    def get_ahead(self, height: Height) -> tuple[bytes, bytes] | None:
        """Header and certificate, of the chain or ahead of it."""

    def get_headers(self, first: Height, count: int) -> list[tuple[bytes, bytes]]:
        """Headers and certificates from `first` on, at most `count`."""

    def bodies_from(self) -> Height:
        """From here to the head every block has its body (that of genesis is known to all)."""

    def prune_bodies(self, below: Height, count: int) -> int:
        """Let go of the oldest bodies and receipts below a height, at most `count`; how many."""

    def fill_bodies(self, rows: Sequence[tuple[Height, bytes, bytes]]) -> None:
        """Put (height, body, receipts) back, without a gap below `bodies_from`."""

    def stage(self, nodes: Sequence[tuple[NodeKey, bytes]], codes: Mapping[Hash32, bytes]) -> None:
        """Keep nodes of a state being fetched, durably, and codes, which are never too many."""

    def get_staged(self, trie: bytes, path: bytes) -> bytes | None: ...

    def find_tries(self) -> list[bytes]:
        """The tries of which nodes were ever written: b"" and addresses."""

    def drop_staged(self) -> None:
        """Forget the staged nodes."""


class Store(Protocol):
    """Errors of all methods: StoreError, DiskFull where space is what lacks; nothing was written.

    One caller writes at a time. Reads are allowed from other threads and see whole transactions.
    """

    @property
    def staging(self) -> Staging: ...

    def append_block(
        self,
        height: Height,
        block_hash: Hash32,
        header: bytes,
        body: bytes,
        certificate: bytes,
        lease: bytes | None,
    ) -> None:
        """Write the block after the head, and `lease` as the signer record, durably, as one."""

    def head_height(self) -> Height:
        """The highest block; -1 if there is none."""

    def get_header(self, height: Height) -> bytes | None: ...

    def get_body(self, height: Height) -> bytes | None:
        """None also for a body that was pruned, or never here because a snapshot was."""

    def get_certificate(self, height: Height) -> bytes | None: ...
    def get_height(self, block_hash: Hash32) -> Height | None: ...

    def save_signer(self, record: bytes) -> None:
        """Write the signer record, durably."""

    def load_signer(self) -> bytes | None: ...

    def put_durable(self, key: str, value: bytes | None) -> None:
        """Write a small value, durably; None removes it."""

    def put_durable_many(self, values: Mapping[str, bytes | None]) -> None:
        """Write several small values with one sync."""

    def get_meta(self, key: str) -> bytes | None:
        """A value written by `put_durable` or `set_meta`."""

    def set_meta(self, key: str, value: bytes) -> None: ...

    def flush(self, batch: StateBatch) -> None:
        """Write a batch and its height in one transaction, with what it needs to be undone."""

    def flushed_height(self) -> Height:
        """The height that the written state belongs to; -1 before the first flush."""

    def get_node(self, trie: bytes, path: bytes) -> bytes | None:
        """The node as of the flushed height."""

    def get_node_at(self, trie: bytes, path: bytes, height: Height) -> bytes | None:
        """The node as it was after block `height`, which must not be pruned."""

    def get_code(self, code_hash: Hash32) -> bytes | None: ...
    def get_receipts(self, height: Height) -> bytes | None: ...

    def find_transaction(self, transaction_hash: Hash32) -> tuple[Height, int] | None:
        """Height and index of a transaction that was flushed."""

    def prune(self, below_height: Height, pins: Sequence[Height] = ()) -> None:
        """Forget how to read states below `below_height`, but for those at the pinned heights."""

    def oldest_state(self) -> Height:
        """The lowest height from which on every state can be read."""

    def adopt_staged(self, height: Height, state_root: Hash32, signer: bytes | None) -> None:
        """Replace the state by the staged one, as of a header kept ahead, which becomes the head.

        One transaction with the signer record (None removes it). Older states are gone.
        """

    @property
    def branches(self) -> Branches: ...

    def draft(self) -> AbstractContextManager["Store"]:
        """A store to write to, whose writes are all there when the block ends, and none of them
        where it ends by an exception. Nothing else may be written meanwhile."""

    def rewind(self, height: Height, state: Height) -> None:
        """In a draft: drop the blocks above `height`, and take a state that is later back to the
        one after block `state`, at most `height`, which must be kept or pinned."""

    def size_bytes(self) -> int: ...
    def close(self) -> None: ...
