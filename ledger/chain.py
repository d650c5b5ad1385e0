"""The chain: which blocks there are, what the next one may be, and every state that is kept.

A block is executed once: `build` and `check` keep what it did by its hash, `commit` makes it the
head, durable, and never runs it again. Callers pass the time. Not here: who decides (an engine in
`consensus`), who waits (`pool`), how rows are written (`store`).
"""

from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import Executor
from dataclasses import dataclass

from ledger.block import (
    Block,
    Certificate,
    Header,
    decode_body,
    decode_certificate,
    decode_header,
    encode_body,
    validators_hash,
)
from ledger.candidates import Refused, check_size, choose_transactions
from ledger.contract.execution import BlockContext, Message, Outcome
from ledger.contract.rules import RULES_VERSION
from ledger.errors import (
    BlockNotYet,
    BlockPruned,
    InvalidBlock,
    StoreError,
    UnknownRules,
    WrongNetwork,
)
from ledger.genesis import Genesis
from ledger.genesis_block import make_genesis_block
from ledger.overrides import apply_override, check_overrides, find_validators
from ledger.permissions import read_rules_version, read_validators
from ledger.receipt import Receipt, decode_receipts
from ledger.state.state import State, StateCache
from ledger.store.base import Store
from ledger.store.members import load_changes, load_validators, save_changes, save_validators
from ledger.transaction import Transaction, recover_senders
from ledger.transition import Execution, execute_block, run_message
from ledger.types import Address, Hash32, Height
from ledger.unflushed import Layer, PastReader, Unflushed

EXECUTIONS_MAX = 8  # proposals of one height worth keeping: one a round, and rounds are few
FLUSH_BLOCKS_MAX = 512  # layers held in memory; a start executes at most so many blocks
STATES_KEPT_MIN = 256  # wallets ask for the state of blocks a little old
STATES_KEPT_S = 600
CALL_READS_MAX = 2_000  # nodes of an old state in one call: up to 1 ms each, on a Pi several
HEADERS_CACHED = 1_024  # about 600 bytes each


@dataclass(frozen=True, slots=True)
class Committed:
    """A block that is final here, with what it did and who decides the next one."""

    block: Block
    receipts: tuple[Receipt, ...]
    validators: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class Built:
    """A proposal, and the transactions that could not stand in it."""

    block: Block
    refused: tuple[Refused, ...]


class Chain:
    """Blocks from genesis to the head over a store.

    `flush_blocks` is how many blocks' state is held in memory before it is written (1 is the
    strictest), `states_kept` how many states stay readable at least. `executor`, where given,
    recovers senders in bulk. Raises WrongNetwork for a store of another genesis.
    """

    def __init__(
        self,
        store: Store,
        genesis: Genesis,
        *,
        executor: Executor | None = None,
        flush_blocks: int = 64,
        states_kept: int = STATES_KEPT_MIN,
    ) -> None:
        self.store = store
        self.genesis = genesis
        self.executor = executor
        self.flush_blocks = min(max(1, flush_blocks), FLUSH_BLOCKS_MAX)
        self.states_kept = max(states_kept, STATES_KEPT_MIN)
        self.pins: set[Height] = set()  # whose states stay readable: peers fetch snapshots
        self.reopen()

    # Opening.

    def reopen(self) -> None:
        """Take up what the store holds: at first, and after a snapshot was put into it."""
        self._unflushed = Unflushed(self.store)
        self._cache = StateCache()
        self._executions: OrderedDict[Hash32, Execution] = OrderedDict()
        self._headers: OrderedDict[Height, Header] = OrderedDict()
        self.head, self.validators = self._open()

    def _open(self) -> tuple[Header, tuple[Address, ...]]:
        """Make genesis on an empty store, or execute what the last flush had not written."""
        execution, header = make_genesis_block(self.genesis)
        self.genesis_hash = header.hash
        found = self.store.get_meta("genesis")
        if found is None:
            name = self.genesis.name.encode()
            self.store.put_durable_many({"genesis": header.hash, "network": name})
        elif found != header.hash:
            name = self.store.get_meta("network") or b""
            raise WrongNetwork(
                f'0x{found.hex()} "{name.decode()}"', f'0x{header.hash.hex()} "{self.genesis.name}"'
            )
        if self.store.head_height() < 0:  # also where the power went before it was written
            self.store.append_block(0, header.hash, header.encode(), encode_body(()), b"", None)
        if self.store.flushed_height() < 0:
            self._unflushed.add(Layer(0, execution.changes, (), ()))
            self._unflushed.flush()
        flushed = self.store.flushed_height()
        self.head = self.header(flushed)
        # Those in force, which an ill-formed list in the state leaves as they are.
        kept = self.validators_of(self.head.mix_hash) or self.genesis.validators
        self.validators = self._next_validators(self._head_state(), kept)
        save_validators(self.store, self.validators)
        check_overrides(self.genesis, self.store.head_height(), self.header)
        self._take_override()
        for height in range(flushed + 1, self.store.head_height() + 1):
            block = self.block(height)
            execution = self._execute(block)
            self._advance(block, execution)
        return self.head, self.validators

    # The next block.

    def build(self, candidates: Iterable[Transaction], now_s: int, coinbase: Address) -> Built:
        """Run candidates in their order until the block is full, and seal what they did.

        The time is `now_s`, or the parent's where our clock is behind it. A candidate that cannot
        stand in this block is passed over and named in the result; what its sender sent after it
        cannot either, and is passed over without a word, or one account could fill SKIPPED_MAX.
        """
        context = self._context(max(self.head.timestamp, now_s), coinbase)
        state = apply_override(self.genesis, self._head_state(), context.height)
        chosen, receipts, refused = choose_transactions(state, context, candidates)
        execution = execute_block(state, context, chosen, receipts)
        block = Block(self._seal(context, execution, state), tuple(chosen))
        self._keep_execution(block.hash, execution)
        return Built(block, tuple(refused))

    def check(self, block: Block, now_s: int | None) -> None:
        """Whether a block may follow the head; keeps what it did for `commit`.

        `now_s` None skips the test of the clock, for certified blocks. Raises BlockNotYet for a
        block ahead of our clock, and InvalidBlock with what is wrong.
        """
        header = block.header
        if header.parent_hash != self.head.hash or header.number != self.head.number + 1:
            raise InvalidBlock(
                f"block {header.number} does not follow our head, block {self.head.number}"
            )
        if header.timestamp < self.head.timestamp:
            raise InvalidBlock(
                f"block time {header.timestamp} is before its parent's, {self.head.timestamp}"
            )
        if now_s is not None:
            latest = max(self.head.timestamp, now_s + self.genesis.drift_s)
            if header.timestamp > latest:
                raise BlockNotYet(header.timestamp, now_s)
        if header.coinbase not in self.validators:
            raise InvalidBlock(f"coinbase 0x{header.coinbase.hex()} is no validator of this height")
        check_size(block)
        if block.hash not in self._executions:
            self._execute(block)

    def commit(self, block: Block, certificate: Certificate, lease: bytes | None) -> Committed:
        """Make a checked or certified block the head: durable when this returns.

        `lease` is the signer record for the next height, written in the same transaction. Raises
        InvalidBlock, and changes nothing, where the block does not follow the head.
        """
        if block.header.parent_hash != self.head.hash:
            raise InvalidBlock(f"block {block.number} does not follow our head")
        execution = self._executions.get(block.hash) or self._execute(block)
        self.store.append_block(
            block.number,
            block.hash,
            block.header.encode(),
            encode_body(block.transactions),
            certificate.encode(),
            lease,
        )
        self._advance(block, execution)
        if len(self._unflushed.layers) >= self.flush_blocks:
            self.flush()
        return Committed(block, execution.receipts, self.validators)

    def flush(self) -> None:
        """Write the state, receipts and indexes held in memory, and prune what is too old."""
        if not self._unflushed.layers:
            return
        self._unflushed.flush()
        oldest = self.head.number - self.states_kept
        while oldest > 0 and self.head.timestamp - self.header(oldest).timestamp < STATES_KEPT_S:
            oldest -= self.states_kept
        if oldest > 0:
            self.store.prune(oldest, tuple(self.pins))

    def close(self) -> None:
        self.flush()
        self.store.close()

    # Reading.

    def state_at(self, height: Height | None = None) -> State:
        """The state after a block; the head's without one. Raises StoreError if it was pruned."""
        if height is None or height == self.head.number:
            return self._head_state()
        root = self.header(height).state_root
        return State(PastReader(self._unflushed, height), root)

    def height_of(self, block_hash: Hash32) -> Height | None:
        return self.store.get_height(block_hash)

    def block(self, height: Height) -> Block:
        body = self.store.get_body(height)
        if body is None:
            raise BlockPruned(self.header(height).number)
        return Block(self.header(height), decode_body(body))

    def certificate(self, height: Height) -> Certificate | None:
        """The certificate kept here; None for genesis and for a height that is not there."""
        raw = self.store.get_certificate(height)
        return decode_certificate(raw) if raw else None

    def receipts(self, height: Height) -> tuple[Receipt, ...]:
        receipts = self._unflushed.get_receipts(height)
        if receipts is not None:
            return receipts
        raw = self.store.get_receipts(height)
        return decode_receipts(raw) if raw else ()

    def find_transaction(self, transaction_hash: Hash32) -> tuple[Height, int] | None:
        """Where a transaction stands: height and index."""
        return self._unflushed.find_transaction(transaction_hash)

    def validators_of(self, digest: Hash32) -> tuple[Address, ...] | None:
        """The validator set with this hash (a header's extraData or mixHash), if ever in force."""
        return load_validators(self.store, digest)

    def validator_changes(self) -> tuple[Height, ...]:
        """The heights whose block changed the validators: what a light client walks."""
        return load_changes(self.store)

    def call(
        self, message: Message, height: Height | None = None, *, creation: bool = False
    ) -> Outcome:
        """Run a message on the state of a block and forget what it did. Raises StoreError for a
        state that was pruned, and for reading more than CALL_READS_MAX of an old one."""
        header = self.head if height is None else self.header(height)
        state = self._head_state()
        if header is not self.head:
            # Gas prices what the head costs to read; an old state costs ten times as much.
            reader = PastReader(self._unflushed, header.number, CALL_READS_MAX)
            state = State(reader, header.state_root)
        return run_message(
            state,
            self._context(header.timestamp, header.coinbase, header.number),
            message,
            creation=creation,
        )

    # Inside.

    def _execute(self, block: Block) -> Execution:
        """Run a block on the head's state and hold every field of its header to what it did."""
        header = block.header
        recover_senders(block.transactions, self.executor)
        context = self._context(header.timestamp, header.coinbase)
        state = apply_override(self.genesis, self._head_state(), context.height)
        execution = execute_block(state, context, block.transactions)
        expected = self._seal(context, execution, state)
        if expected.hash != header.hash:
            wrong = [
                name for name in Header.FIELDS if getattr(expected, name) != getattr(header, name)
            ]
            raise InvalidBlock(f"block {header.number}: wrong {', '.join(wrong)}")
        self._keep_execution(header.hash, execution)
        return execution

    def _seal(self, context: BlockContext, execution: Execution, state: State) -> Header:
        """The only header that this execution on our head may have."""
        return Header(
            parent_hash=self.head.hash,
            coinbase=context.coinbase,
            state_root=execution.state_root,
            transactions_root=execution.transactions_root,
            receipts_root=execution.receipts_root,
            bloom=execution.bloom,
            difficulty=1,
            number=context.height,
            gas_limit=context.gas_limit,
            gas_used=execution.gas_used,
            timestamp=context.timestamp,
            extra_data=validators_hash(self.validators),
            mix_hash=validators_hash(self._next_validators(state, self.validators)),
            nonce=bytes(8),
            base_fee=context.base_fee,
        )

    def _advance(self, block: Block, execution: Execution) -> None:
        hashes = tuple(transaction.hash for transaction in block.transactions)
        self._unflushed.add(Layer(block.number, execution.changes, execution.receipts, hashes))
        self._cache.adopt(execution.changes)
        self._executions.clear()
        self.head = block.header
        self._headers[block.number] = block.header
        if block.header.mix_hash != block.header.extra_data:
            self.validators = self._next_validators(self._head_state(), self.validators)
            save_validators(self.store, self.validators)
            save_changes(self.store, (block.number,))
        self._take_override()

    def _take_override(self) -> None:
        """Where the network file says who decides the next block, it is they."""
        validators = find_validators(self.genesis, self.head.number + 1)
        if validators is not None:
            self.validators = validators
            save_validators(self.store, validators)

    def _head_state(self) -> State:
        return State(self._unflushed, self.head.state_root, self._cache)

    def _next_validators(self, state: State, current: tuple[Address, ...]) -> tuple[Address, ...]:
        """Who decides the block after this state; an ill-formed list leaves the old set."""
        return read_validators(state) or current

    def _keep_execution(self, block_hash: Hash32, execution: Execution) -> None:
        self._executions[block_hash] = execution
        if len(self._executions) > EXECUTIONS_MAX:
            self._executions.popitem(last=False)

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
        )

    def rules_version(self, height: Height) -> int:
        """The version of the rules for a block, as the head's state schedules it.

        Raises UnknownRules where this program lacks it.
        """
        version = read_rules_version(self._head_state(), height)
        if version > RULES_VERSION:
            raise UnknownRules(height, version, RULES_VERSION)
        return version

    def header(self, height: Height) -> Header:
        """The header at a height. Raises StoreError for a height that is not there."""
        header = self._headers.get(height)
        if header is None:
            raw = self.store.get_header(height)
            if raw is None:
                raise StoreError(f"block {height} is not in the store")
            header = self._headers[height] = decode_header(raw)
            if len(self._headers) > HEADERS_CACHED:
                self._headers.popitem(last=False)
        return header
