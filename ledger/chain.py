"""The chain: which block is the head, and what the next one may be.

A block is executed once: `build` and `check` keep what it did by its hash, `commit` makes it the
head, durable, and never runs it again. Callers pass the time. Not here: who decides (an engine in
`consensus`), who waits (`pool`), which branch is followed (`branches`), reading (`history`).
"""

from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import Executor
from copy import copy
from dataclasses import dataclass, replace

from ledger.block import Block, Certificate, Header, encode_body, validators_hash
from ledger.candidates import Refused, check_size, choose_transactions
from ledger.contract.execution import BlockContext
from ledger.contract.messages import Runner
from ledger.errors import BlockNotYet, InvalidBlock, WrongNetwork
from ledger.genesis import Genesis
from ledger.genesis_block import make_genesis_block
from ledger.history import HEADERS_CACHED, History, compute_pins
from ledger.permissions import apply_override, check_overrides, find_validators, read_validators
from ledger.receipt import Receipt, encode_receipts
from ledger.state.state import State, StateCache
from ledger.store.base import Store
from ledger.store.members import save_changes, save_validators
from ledger.transaction import Transaction, recover_senders
from ledger.transition import Execution, execute_block
from ledger.types import Address, Hash32, Height
from ledger.unflushed import Layer, Unflushed
from ledger.work import check_work, compute_seal_hash

EXECUTIONS_MAX = 8  # proposals of one height worth keeping: one a round, and rounds are few
FLUSH_BLOCKS_MAX = 512  # layers held in memory; a start executes at most so many blocks
STATES_KEPT_MIN = 256  # wallets ask for the state of blocks a little old
STATES_KEPT_S = 600
LAYERS_KEPT = 32  # of mined blocks, never flushed: most reorganisations are one or two deep


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


class Chain(History):
    """Blocks from genesis to the head over a store.

    `flush_blocks` is how many blocks' state is held in memory before it is written (1 is the
    strictest), `states_kept` how many states stay readable at least. `executor`, where given,
    recovers senders in bulk; `runner` runs contracts, but for those of genesis, which the operators
    wrote down. Raises WrongNetwork for a store of another genesis.
    """

    def __init__(
        self,
        store: Store,
        genesis: Genesis,
        *,
        executor: Executor | None = None,
        flush_blocks: int = 64,
        states_kept: int = STATES_KEPT_MIN,
        runner: Runner | None = None,
    ) -> None:
        self.store = store
        self.genesis = genesis
        self.executor = executor
        self.runner = runner
        self.flush_blocks = min(max(1, flush_blocks), FLUSH_BLOCKS_MAX)
        self.states_kept = max(states_kept, STATES_KEPT_MIN)
        self.pins: set[Height] = set()  # whose states stay readable: peers fetch snapshots
        self.reopen()

    # Opening.

    def reopen(self) -> None:
        """Take up what the store holds: at first, and after a snapshot was put into it."""
        self._begin()
        self.head, self.validators = self._open()

    def _begin(self) -> None:
        self._unflushed = Unflushed(self.store)
        self._cache = StateCache()
        self._executions: OrderedDict[Hash32, Execution] = OrderedDict()
        self._headers: OrderedDict[Height, Header] = OrderedDict()

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
            self._unflushed.add(Layer(0, execution.changes, encode_receipts(()), ()))
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
            self._advance(block, self._execute(block))
            self._flush_full()
        return self.head, self.validators

    # The next block.

    def build(self, candidates: Iterable[Transaction], now_s: int, coinbase: Address) -> Built:
        """Run candidates in their order until the block is full, and seal what they did.

        The time is `now_s`, or the parent's where our clock is behind it. A candidate that cannot
        stand in this block is passed over and named in the result; what its sender sent after it
        cannot either, and is passed over without a word, as is what fits into a later block.
        """
        context = self._context(max(self.head.timestamp, now_s), coinbase)
        state = apply_override(self.genesis, self._head_state(), context.height)
        chosen, receipts, refused = choose_transactions(state, context, candidates)
        execution = execute_block(state, context, chosen, receipts)
        block = Block(self._seal(context, execution, state), tuple(chosen))
        self._keep_execution(block.header, execution)
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
        if self.is_mined:
            check_work(header, self.genesis.difficulty)
        elif header.coinbase not in self.validators:
            raise InvalidBlock(f"coinbase 0x{header.coinbase.hex()} is no validator of this height")
        check_size(block)
        if self._key(header) not in self._executions:
            self._execute(block)

    def commit(
        self, block: Block, certificate: Certificate | None, lease: bytes | None
    ) -> Committed:
        """Make a checked or certified block the head: durable when this returns.

        `lease` is the signer record for the next height, written in the same transaction; a mined
        block has no certificate. Raises InvalidBlock, and changes nothing, where the block does
        not follow the head.
        """
        if block.header.parent_hash != self.head.hash:
            raise InvalidBlock(f"block {block.number} does not follow our head")
        execution = self._executions.get(self._key(block.header)) or self._execute(block)
        header, body = block.header.encode(), encode_body(block.transactions)
        seal = certificate.encode() if certificate else b""
        self.store.append_block(block.number, block.hash, header, body, seal, lease)
        self._advance(block, execution)
        self._flush_full()
        return Committed(block, execution.receipts, self.validators)

    @property
    def unflushed_bytes(self) -> int:
        """Of memory, roughly, for what is not written yet."""
        return self._unflushed.size_bytes

    def flush(self) -> None:
        """Write the state, receipts and indexes held in memory, and prune what is too old."""
        if not self._unflushed.layers:
            return
        self._unflushed.flush(LAYERS_KEPT if self.is_mined else 0)
        oldest = self.head.number - self.states_kept
        while oldest > 0 and self.head.timestamp - self.header(oldest).timestamp < STATES_KEPT_S:
            oldest -= self.states_kept
        if oldest > 0:
            pins = compute_pins(oldest) if self.is_mined else self.pins
            self.store.prune(oldest, tuple(pins))

    def _flush_full(self) -> None:
        if len(self._unflushed.layers) >= self.flush_blocks + LAYERS_KEPT * self.is_mined:
            self.flush()

    def close(self) -> None:
        self.flush()
        self.store.close()

    # Branches.

    def fork(self, draft: Store, height: Height) -> "Chain":
        """This chain as it was at `height`, over a draft of its store that ends there."""
        fork = copy(self)
        fork.store = draft
        if draft.flushed_height() < self._unflushed.flushed_height:
            fork.reopen()  # the state was taken back: what lies between is executed again
            return fork
        fork._begin()
        for layer in self._unflushed.layers[: height - self._unflushed.flushed_height]:
            fork._unflushed.add(layer)
        fork.head = self.header(height)
        fork.validators = fork._next_validators(fork._head_state(), self.genesis.validators)
        return fork

    def adopt(self, fork: "Chain") -> None:
        """Go on as the fork did, whose draft is in our store now."""
        store = self.store
        self.__dict__.update(fork.__dict__)
        self.store = self._unflushed.store = store

    # Inside.

    def _execute(self, block: Block) -> Execution:
        """Run a block on the head's state and hold every field of its header to what it did."""
        header = block.header
        recover_senders(block.transactions, self.executor)
        context = self._context(header.timestamp, header.coinbase)
        state = apply_override(self.genesis, self._head_state(), context.height)
        execution = execute_block(state, context, block.transactions)
        expected = self._seal(context, execution, state)
        if self.is_mined:
            check_work(header, self.genesis.difficulty)
            expected = replace(expected, mix_hash=header.mix_hash, nonce=header.nonce)
        if expected.hash != header.hash:
            wrong = [
                name for name in Header.FIELDS if getattr(expected, name) != getattr(header, name)
            ]
            raise InvalidBlock(f"block {header.number}: wrong {', '.join(wrong)}")
        self._keep_execution(header, execution)
        return execution

    def _seal(self, context: BlockContext, execution: Execution, state: State) -> Header:
        """The only header that this execution on our head may have; a mined one lacks its seal."""
        mined, following = self.is_mined, self._next_validators(state, self.validators)
        return Header(
            parent_hash=self.head.hash,
            coinbase=context.coinbase,
            state_root=execution.state_root,
            transactions_root=execution.transactions_root,
            receipts_root=execution.receipts_root,
            bloom=execution.bloom,
            difficulty=self.genesis.difficulty,
            number=context.height,
            gas_limit=context.gas_limit,
            gas_used=execution.gas_used,
            timestamp=context.timestamp,
            extra_data=self.genesis_hash if mined else validators_hash(self.validators),
            mix_hash=bytes(32) if mined else validators_hash(following),
            nonce=bytes(8),
            base_fee=context.base_fee,
        )

    def _advance(self, block: Block, execution: Execution) -> None:
        hashes = tuple(transaction.hash for transaction in block.transactions)
        receipts = encode_receipts(execution.receipts)
        self._unflushed.add(Layer(block.number, execution.changes, receipts, hashes))
        self._cache.adopt(execution.changes)
        self._executions.clear()
        self.head = block.header
        self._headers[block.number] = block.header
        if len(self._headers) > HEADERS_CACHED:
            self._headers.popitem(last=False)
        if self.is_mined:
            self.validators = self._next_validators(self._head_state(), self.validators)
        elif block.header.mix_hash != block.header.extra_data:
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

    def _next_validators(self, state: State, current: tuple[Address, ...]) -> tuple[Address, ...]:
        """Who decides the block after this state; an ill-formed list leaves the old set."""
        return read_validators(state) or current

    def _key(self, header: Header) -> Hash32:
        """What an execution is kept by: a header that is to be mined has no hash yet."""
        return compute_seal_hash(header) if self.is_mined else header.hash

    def _keep_execution(self, header: Header, execution: Execution) -> None:
        self._executions[self._key(header)] = execution
        if len(self._executions) > EXECUTIONS_MAX:
            self._executions.popitem(last=False)
