"""Which of several branches is the chain: the one with most work, of equals the one seen first.

Difficulty is fixed, so most work is most blocks. A block that follows the head is executed and
becomes it; one of another branch is held to everything that can be seen without its parent's state,
and kept beside the chain. When its branch is longer than ours, it takes our place in one switch: in
a draft of the store the chain is taken back to where they part and the other's blocks are executed;
if each holds, all of it is there at once, and else nothing has happened. Where the state at the
fork is no longer kept, execution begins further back. Not here: from whom blocks come and which are
asked for (`consensus.pow`), what becomes of withdrawn transactions. Source: DESIGN.md section 4.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from ledger.block import Block, Header
from ledger.candidates import check_size
from ledger.chain import Chain, Committed
from ledger.errors import BlockNotYet, BranchesFull, InvalidBlock
from ledger.history import compute_pins
from ledger.receipt import Receipt
from ledger.store.base import SideBlock
from ledger.trie.ordered import transactions_root
from ledger.types import Hash32, Height
from ledger.work import SETTLED_BLOCKS, check_work

SIDE_BLOCKS_MAX = 65_536  # beside the chain, some 300 bytes of memory each
SIDE_BYTES_MAX = 268_435_456  # of their bodies, on disk
SIDE_KEPT_BLOCKS = 1_024  # a side block goes when the chain has grown by so many since it came
INVALID_KEPT = 1_024  # hashes of blocks that did not hold, so that none is executed twice
SWEEP_EVERY = 64  # blocks between two looks for side blocks to let go


class Place(Enum):
    """Where a block came to stand."""

    HEAD = "head"
    SIDE = "side"
    KNOWN = "known"
    ORPHAN = "orphan"


@dataclass(frozen=True, slots=True)
class Added:
    """What adding a block did. From `first` on the blocks up to the head are new; `withdrawn` were
    the chain's before, with their receipts, oldest first."""

    place: Place
    first: Height = 0
    withdrawn: tuple[tuple[Block, tuple[Receipt, ...]], ...] = ()
    committed: Committed | None = None


class Branches:
    """The blocks beside a mined chain, and the one door through which blocks come into it."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._load()
        self._invalid: OrderedDict[Hash32, None] = OrderedDict()

    def __len__(self) -> int:
        """How many blocks stand beside the chain."""
        return len(self._side)

    def add(self, block: Block, now_s: int) -> Added:
        """Find a block its place, which may make another branch the chain.

        Raises InvalidBlock for one that no honest miner makes, BlockNotYet for one ahead of our
        clock, BranchesFull, and StoreError; in each case nothing has changed.
        """
        chain, header = self._chain, block.header
        if block.hash in self._side or chain.height_of(block.hash) is not None:
            return Added(Place.KNOWN)
        if block.hash in self._invalid or header.parent_hash in self._invalid:
            self._condemn(block.hash)
            raise InvalidBlock(f"block {block.number} stands on a block that does not hold")
        parent = self.find_header(header.parent_hash)
        if parent is None:
            check_work(header, chain.genesis.difficulty)  # what is no block is not waited for
            return Added(Place.ORPHAN)
        self._check_form(block, parent, now_s)
        if parent.hash == chain.head.hash:
            return self._extend(block)
        self._keep(block)
        if block.number <= chain.head.number:
            return Added(Place.SIDE)
        return self._switch(block.hash)

    def is_unsettled(self) -> bool:
        """Whether a transaction of the chain has less than SETTLED_BLOCKS on top of it."""
        head = self._chain.head.number
        lowest = max(0, head - SETTLED_BLOCKS)
        return any(self._chain.header(at).gas_used for at in range(head, lowest, -1))

    def list_following(self, locator: Sequence[Hash32], count: int) -> Iterator[Block]:
        """What follows the first of these hashes that stands on the chain, read one by one."""
        for block_hash in locator:
            height = self._chain.height_of(block_hash)
            if height is not None:
                last = min(height + count, self._chain.head.number)
                return map(self._chain.block, range(height + 1, last + 1))
        return iter(())

    def find_header(self, block_hash: Hash32) -> Header | None:
        """A header of the chain or beside it."""
        height = self._chain.height_of(block_hash)
        if height is not None:
            return self._chain.header(height)
        return self._chain.store.branches.get_header(block_hash)

    # Inside.

    def _check_form(self, block: Block, parent: Header, now_s: int) -> None:
        """All that can be seen of a block without the state it runs on."""
        chain, header = self._chain, block.header
        check_work(header, chain.genesis.difficulty)
        if header.number != parent.number + 1 or header.extra_data != chain.genesis_hash:
            raise InvalidBlock(f"block {header.number}: wrong number or extraData")
        if header.timestamp < parent.timestamp:
            raise InvalidBlock(
                f"block time {header.timestamp} is before its parent's, {parent.timestamp}"
            )
        check_size(block)
        root = transactions_root(tuple([one.raw for one in block.transactions]))
        if root != header.transactions_root:
            raise InvalidBlock(f"block {header.number} came with other transactions than its own")
        if header.timestamp > max(parent.timestamp, now_s + chain.genesis.drift_s):
            raise BlockNotYet(header.timestamp, now_s)

    def _extend(self, block: Block) -> Added:
        chain = self._chain
        try:
            chain.check(block, None)
        except InvalidBlock:
            self._condemn(block.hash)
            raise
        committed = chain.commit(block, None, None)
        self._sweep()
        return Added(Place.HEAD, block.number, (), committed)

    def _keep(self, block: Block) -> None:
        """Put a block beside the chain; where there is no room, those go that came first."""
        seen = self._chain.head.number
        size = sum(len(transaction.raw) for transaction in block.transactions)
        while len(self._side) >= SIDE_BLOCKS_MAX or self._bytes + size > SIDE_BYTES_MAX:
            oldest = min(one.seen for one in self._side.values())
            if oldest >= seen:
                raise BranchesFull(len(self._side))
            self._drop([one.hash for one in self._side.values() if one.seen == oldest])
        self._chain.store.branches.put(block, seen)
        parent = block.header.parent_hash
        self._side[block.hash] = SideBlock(block.hash, block.number, parent, seen, size)
        self._bytes += size

    def _switch(self, tip: Hash32) -> Added:
        """Make the branch that ends in `tip` the chain."""
        chain = self._chain
        path: list[Hash32] = []
        while tip in self._side:
            path.append(tip)
            tip = self._side[tip].parent
        path.reverse()
        ancestor = chain.height_of(tip)
        assert ancestor is not None  # a side block is kept only on a parent that is here
        heights = range(ancestor + 1, chain.head.number + 1)
        withdrawn = tuple((chain.block(height), chain.receipts(height)) for height in heights)
        held = 0
        try:
            with chain.store.draft() as draft:
                draft.rewind(ancestor, self._find_state(ancestor))
                fork = chain.fork(draft, ancestor)
                for block_hash in path:
                    block = draft.branches.get(block_hash)
                    assert block is not None  # what is noted is in the store
                    fork.check(block, None)
                    committed = fork.commit(block, None, None)
                    held += 1
                draft.branches.drop(path)
                for block, _ in withdrawn:
                    draft.branches.put(block, fork.head.number)
        except InvalidBlock:
            for block_hash in path[held:]:
                self._condemn(block_hash)
            self._drop(path[held:])
            raise
        chain.adopt(fork)
        self._load()
        self._sweep()
        return Added(Place.HEAD, ancestor + 1, withdrawn, committed)

    def _find_state(self, height: Height) -> Height:
        """The highest state up to `height` that can still be read."""
        oldest = self._chain.store.oldest_state()
        if height >= oldest:
            return height
        return max(pin for pin in compute_pins(oldest) if pin <= height)

    # Bookkeeping.

    def _load(self) -> None:
        self._side = {one.hash: one for one in self._chain.store.branches.load()}
        self._bytes = sum(one.size for one in self._side.values())

    def _drop(self, hashes: list[Hash32]) -> None:
        self._chain.store.branches.drop(hashes)
        for block_hash in hashes:
            self._bytes -= self._side.pop(block_hash).size

    def _sweep(self) -> None:
        """Let go, now and then, of branches that nobody has added to for long."""
        head = self._chain.head.number
        if self._side and head % SWEEP_EVERY == 0:
            self._drop(
                [one.hash for one in self._side.values() if one.seen + SIDE_KEPT_BLOCKS < head]
            )

    def _condemn(self, block_hash: Hash32) -> None:
        self._invalid[block_hash] = None
        if len(self._invalid) > INVALID_KEPT:
            self._invalid.popitem(last=False)
