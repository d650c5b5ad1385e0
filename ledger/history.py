"""What a chain tells of itself: blocks, receipts, every state that is kept, calls on any of them.

Reading only: `Chain` adds what makes it grow. Not here: how rows are written (`store`).
"""

from collections import OrderedDict
from collections.abc import Callable

from ledger.block import Block, Certificate, Header, decode_body, decode_certificate, decode_header
from ledger.contract.execution import BlockContext, Message, Outcome
from ledger.contract.messages import Runner
from ledger.contract.rules import RULES_VERSION
from ledger.errors import BlockPruned, StoreError, UnknownRules
from ledger.genesis import Genesis
from ledger.permissions import find_rules_version, read_rules
from ledger.receipt import Receipt, decode_receipts
from ledger.state.state import State, StateCache
from ledger.store.base import Store
from ledger.store.members import load_validators
from ledger.transition import run_message
from ledger.types import Address, Hash32, Height
from ledger.unflushed import PastReader, Unflushed
from ledger.work import SETTLED_BLOCKS

CALL_READS_MAX = 2_000  # nodes of an old state in one call: up to 1 ms each, on a Pi several
HEADERS_CACHED = 1_024  # about 600 bytes each
PIN_EVERY = 1_024  # between the newest two states kept for deep reorganisations


class History:
    """The blocks from genesis to `head` over a store."""

    store: Store
    genesis: Genesis
    head: Header
    runner: Runner | None
    _unflushed: Unflushed
    _cache: StateCache
    _headers: OrderedDict[Height, Header]
    _rules: tuple[Hash32, tuple[tuple[Height, int], ...]] | None = None  # as of a state root

    def state_at(self, height: Height | None = None) -> State:
        """The state after a block; the head's without one. Raises StoreError if it was pruned."""
        if height is None or height == self.head.number:
            return self._head_state()
        return State(self.reader_at(height), self.header(height).state_root)

    def reader_at(self, height: Height) -> PastReader:
        """The nodes of a state, read one by one."""
        return PastReader(self._unflushed, height)

    def height_of(self, block_hash: Hash32) -> Height | None:
        """Where the block with this hash stands on the chain; None where it does not."""
        return self.store.get_height(block_hash)

    def block(self, height: Height) -> Block:
        """Raises StoreError for a height that is not there, BlockPruned where no body is kept."""
        body = self.store.get_body(height)
        if body is None:
            raise BlockPruned(self.header(height).number)
        return Block(self.header(height), decode_body(body))

    def certificate(self, height: Height) -> Certificate | None:
        """The certificate kept here; None for genesis and for a height that is not there."""
        raw = self.store.get_certificate(height)
        return decode_certificate(raw) if raw else None

    def receipts(self, height: Height) -> tuple[Receipt, ...]:
        """Of a block's transactions, in order; none for a block that is not here, or was pruned."""
        raw = self._unflushed.get_receipts(height)
        return decode_receipts(raw) if raw else ()

    def find_transaction(self, transaction_hash: Hash32) -> tuple[Height, int] | None:
        """Where a transaction stands: height and index."""
        return self._unflushed.find_transaction(transaction_hash)

    def validators_of(self, digest: Hash32) -> tuple[Address, ...] | None:
        """The validator set with this hash (a header's extraData or mixHash), if ever in force."""
        return load_validators(self.store, digest)

    def call(
        self,
        message: Message,
        height: Height | None = None,
        *,
        creation: bool = False,
        now_s: int | None = None,
        prepare: Callable[[State, BlockContext], BlockContext] | None = None,
    ) -> Outcome:
        """Run a message on the state of a block and forget what it did. Raises StoreError for a
        state that was pruned, and for reading more than CALL_READS_MAX of an old one.

        With `now_s` and without a height it runs as in the next block, proposed at that time: a
        quiet chain's head can be days old. `prepare` may change the state, which is forgotten, and
        gives the block to run in.
        """
        header = self.head if height is None else self.header(height)
        state = self._head_state()
        if header is not self.head:
            # Gas prices what the head costs to read; an old state costs ten times as much.
            reader = PastReader(self._unflushed, header.number, CALL_READS_MAX)
            state = State(reader, header.state_root)
        if now_s is None or height is not None:
            context = self._context(header.timestamp, header.coinbase, header.number)
        else:
            context = self._context(max(header.timestamp, now_s), header.coinbase)
        if prepare is not None:
            context = prepare(state, context)
        return run_message(state, context, message, creation=creation)

    def header(self, height: Height) -> Header:
        """The header at a height. Raises StoreError for a height that is not there."""
        header = self._headers.get(height)
        if header is None:
            if (raw := self.store.get_header(height)) is None:
                raise StoreError(f"block {height} is not in the store")
            header = self._headers[height] = decode_header(raw)
            if len(self._headers) > HEADERS_CACHED:
                self._headers.popitem(last=False)
        return header

    @property
    def is_mined(self) -> bool:
        """Whether blocks are sealed by work, so that no block is ever final."""
        return self.genesis.consensus == "pow"

    @property
    def safe_height(self) -> Height:
        """Up to here blocks are settled: final, or with SETTLED_BLOCKS on top."""
        return max(0, self.head.number - SETTLED_BLOCKS) if self.is_mined else self.head.number

    @property
    def final_height(self) -> Height:
        """Up to here no block is ever withdrawn: of a mined chain that holds for genesis alone."""
        return 0 if self.is_mined else self.head.number

    # Inside.

    def _head_state(self) -> State:
        return State(self._unflushed, self.head.state_root, self._cache)

    def _context(
        self, timestamp: int, coinbase: Address, height: Height | None = None
    ) -> BlockContext:
        height = self.head.number + 1 if height is None else height
        return BlockContext(
            height=height,
            timestamp=timestamp,
            coinbase=coinbase,
            gas_limit=self.genesis.gas_limit,
            base_fee=self.genesis.base_fee,
            chain_id=self.genesis.chain_id,
            rules_version=self.rules_version(height),
            runner=self.runner,
        )

    def rules_version(self, height: Height) -> int:
        """The version of the rules for a block, as the head's state schedules it.

        Raises UnknownRules where this program lacks it.
        """
        root = self.head.state_root
        if self._rules is None or self._rules[0] != root:  # asked several times for each block
            self._rules = root, read_rules(self._head_state())
        version = find_rules_version(self._rules[1], height)
        if version > RULES_VERSION:
            raise UnknownRules(height, version, RULES_VERSION)
        return version


def compute_pins(oldest: Height) -> set[Height]:
    """Below the oldest state that is kept: the highest multiples of PIN_EVERY, of twice that and so
    on down to genesis. A height that is pinned once has been ever since it was reached."""
    pins, step = {0}, PIN_EVERY
    while step <= oldest:
        pins.add(oldest - oldest % step)
        step *= 2
    return pins
