"""The newest blocks with their receipts, decoded and with senders recovered.

Clients ask for what has just happened: a receipt, its block, its logs. Read from the store, a
transaction costs decoding its whole block and recovering its sender again. Not here: JSON.
"""

from collections import OrderedDict
from dataclasses import dataclass

from ledger.block import Block
from ledger.chain import Chain
from ledger.receipt import Receipt
from ledger.transaction import Transaction
from ledger.types import Hash32, Height

TRANSACTIONS_KEPT = 500
"""In all blocks kept; with receipts some 2 kB each."""
BLOCKS_KEPT = 256
BLOCKS_KEPT_MIN = 2
"""However large: the newest, whose receipts clients wait for, and the last one that was read."""


@dataclass(frozen=True, slots=True)
class Full:
    """A block and what its transactions did. `log_index` is the first log's, per transaction."""

    block: Block
    receipts: tuple[Receipt, ...]
    log_index: tuple[int, ...]


Withdrawn = tuple[Block, tuple[Receipt, ...]]
"""A block that was on the chain until another branch took its place, and what it did there."""


def make_full(block: Block, receipts: tuple[Receipt, ...]) -> Full:
    """A block with the numbers of its logs."""
    starts: list[int] = []
    count = 0
    for receipt in receipts:
        starts.append(count)
        count += len(receipt.logs)
    return Full(block, receipts, tuple(starts))


class RecentBlocks:
    """Reads blocks with receipts from a chain, keeping the last ones read or committed."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._kept: OrderedDict[Height, Full] = OrderedDict()
        self._hashes: set[Hash32] = set()

    def add(self, block: Block, receipts: tuple[Receipt, ...]) -> Full:
        """Keep a block, let go of the one asked for longest ago; the newest stays."""
        full = make_full(block, receipts)
        self._drop(block.number)
        self._kept[block.number] = full
        self._hashes.update([one.hash for one in block.transactions])
        while len(self._kept) > BLOCKS_KEPT or (
            len(self._hashes) > TRANSACTIONS_KEPT and len(self._kept) > BLOCKS_KEPT_MIN
        ):
            staying = max(self._kept), block.number
            self._drop(next(one for one in self._kept if one not in staying))
        return full

    def _drop(self, height: Height) -> None:
        full = self._kept.pop(height, None)
        if full is not None:
            self._hashes.difference_update([one.hash for one in full.block.transactions])

    def has(self, height: Height) -> bool:
        """Whether a block is at hand."""
        return height in self._kept

    def has_transaction(self, transaction_hash: Hash32) -> bool:
        """Whether the block that includes a transaction is at hand."""
        return transaction_hash in self._hashes

    def get(self, height: Height) -> Full:
        """The block at a height, which must not be above the head. Raises StoreError."""
        full = self._kept.get(height)
        if full is not None:
            self._kept.move_to_end(height)
            return full
        return self.add(self._chain.block(height), self._chain.receipts(height))

    def forget(self, first: Height) -> None:
        """Let go of the blocks from `first` on, which are others now."""
        for height in [one for one in self._kept if one >= first]:
            self._drop(height)

    def find(self, transaction_hash: Hash32) -> tuple[Full, int] | None:
        """The block that includes a transaction and its index there; None where none does."""
        place = self._chain.find_transaction(transaction_hash)
        return None if place is None else (self.get(place[0]), place[1])

    def transaction(self, transaction_hash: Hash32) -> Transaction | None:
        found = self.find(transaction_hash)
        return None if found is None else found[0].block.transactions[found[1]]
