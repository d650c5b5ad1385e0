"""Transactions that wait for a block: bounded, each sender's in nonce order, fair between senders.

What follows an account's nonce without a gap is executable; the rest waits for its gap to close.
When the pool is full the heaviest queue loses its furthest nonce, so a flood pushes out itself;
then accounts the chain has never seen give way to those it knows, for where gas is free a new
account costs nothing; then low prices to high. Texts of errors and bounds are geth's, the bounds
wide enough for a meter that was away for weeks. Not here: the state (callers pass nonces and
balances), gossip, and any clock.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from heapq import heappop, heappush

from ledger.crypto.address import to_checksum
from ledger.errors import (
    AlreadyKnown,
    FeeTooLow,
    GasLimitExceeded,
    InsufficientFunds,
    IntrinsicGasTooLow,
    InvalidTransaction,
    NonceTooHigh,
    NonceTooLow,
    PoolFull,
    ReplacementUnderpriced,
    WrongChainId,
)
from ledger.transaction import Transaction
from ledger.types import Address, Hash32

PRICE_BUMP_PERCENT = 10  # geth's; at least 1 wei, so that a transaction that pays nothing can go


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Bounds, each with its reason; a transaction of a meter takes some 1,000 bytes of memory."""

    transactions_max: int = 20_480  # 20 MB: more than a minute of full blocks on a server
    bytes_max: int = 16 * 2**20  # of raw transactions: 128 of the largest, all small ones
    per_sender_max: int = 1_024  # a meter's hours of six weeks; geth has 80, Besu had 5
    nonce_ahead_max: int = 1_024  # further ahead is a wallet that remembers another chain


@dataclass(slots=True, eq=False)
class _Queue:
    """One sender's transactions by nonce, of which those from `nonce` to `end` are executable."""

    sender: Address
    nonce: int  # the account's
    end: int  # the first one missing from there on
    waiting: dict[int, Transaction] = field(default_factory=dict)
    weight: int = 0  # see `_weigh`
    price: int | None = None  # the level where it stands while its first is executable


class Pool:
    """`base_fee` and prices in wei per gas. Not for several threads, but for `pending`."""

    def __init__(
        self, chain_id: int, gas_limit: int, base_fee: int = 0, limits: PoolLimits | None = None
    ) -> None:
        self.chain_id = chain_id
        self.gas_limit = gas_limit
        self.base_fee = base_fee
        self.limits = limits or PoolLimits()
        self._by_hash: dict[Hash32, Transaction] = {}
        self._queues: dict[Address, _Queue] = {}
        self._levels: dict[int, dict[Address, _Queue]] = {}  # by price
        self._prices: list[int] = []  # of the levels, rising
        self._by_weight: dict[int, dict[Address, _Queue]] = {}
        self._strangers: dict[Address, _Queue] = {}
        self._bytes = 0

    @property
    def size(self) -> int:
        """How many transactions wait."""
        return len(self._by_hash)

    @property
    def size_bytes(self) -> int:
        """Their raw bytes."""
        return self._bytes

    def get(self, transaction_hash: Hash32) -> Transaction | None:
        return self._by_hash.get(transaction_hash)

    def hashes(self) -> list[Hash32]:
        """In the order of arrival."""
        return list(self._by_hash)

    def next_nonce(self, sender: Address, state_nonce: int) -> int:
        """The nonce that a sender's next transaction should have."""
        queue = self._queues.get(sender)
        return state_nonce if queue is None else max(state_nonce, queue.end)

    def content(self) -> tuple[dict[Address, list[Transaction]], dict[Address, list[Transaction]]]:
        """The executable ones and those behind a gap, by sender in nonce order."""
        executable: dict[Address, list[Transaction]] = {}
        gapped: dict[Address, list[Transaction]] = {}
        for sender, queue in self._queues.items():
            for nonce in sorted(queue.waiting):
                part = executable if nonce < queue.end else gapped
                part.setdefault(sender, []).append(queue.waiting[nonce])
        return executable, gapped

    def add(self, transaction: Transaction, nonce: int, balance: int) -> None:
        """Take a transaction whose sender's account has this nonce and this balance in wei.

        It replaces one of the same nonce if both its fees are higher by max(1 wei, 10 %). Raises
        the InvalidTransaction that says why not, and InvalidSignature.
        """
        if transaction.hash in self._by_hash:
            raise AlreadyKnown
        self._check(transaction, nonce, balance)
        sender = transaction.sender
        queue = self._queues.get(sender)
        if queue is not None:
            self._advance(queue, nonce)
            old = queue.waiting.get(transaction.nonce)
            if old is not None:
                _check_replacement(old, transaction)
            elif len(queue.waiting) >= self.limits.per_sender_max:
                raise PoolFull(f"account {to_checksum(sender)}", self.limits.per_sender_max)
        self._make_room(transaction, nonce)
        queue = self._queues.get(sender)
        if queue is not None and transaction.nonce in queue.waiting:
            self._drop(queue, queue.waiting[transaction.nonce])
            queue = self._queues.get(sender)
        if queue is None:
            queue = self._queues[sender] = _Queue(sender, nonce, nonce)
            if nonce == 0:
                self._strangers[sender] = queue
        queue.waiting[transaction.nonce] = transaction
        self._by_hash[transaction.hash] = transaction
        self._bytes += len(transaction.raw)
        self._weigh(queue, _weight_of(transaction))
        self._place(queue)

    def pending(
        self, base_fee: int, state_nonce: Callable[[Address], int]
    ) -> Iterator[Transaction]:
        """Executable transactions, best first: by price, at one price each sender in turn.

        Costs what is taken from it, not what waits. May be read while the pool changes.
        """
        heads = self._heads()
        head = next(heads, None)
        turns: list[tuple[int, int, int, _Queue, int]] = []  # -price, turn, order, queue, nonce
        order = 0
        while head is not None or turns:
            if head is not None and (not turns or (-head[0], 0) <= turns[0][:2]):
                queue, turn, nonce = head[1], 0, state_nonce(head[1].sender)
                head = next(heads, None)
            else:
                _, turn, _, queue, nonce = heappop(turns)
            transaction = queue.waiting.get(nonce)
            if transaction is None or transaction.max_fee < base_fee:
                continue
            yield transaction
            following = queue.waiting.get(nonce + 1)
            if following is not None:
                order += 1
                heappush(turns, (-self._price(following), turn + 1, order, queue, nonce + 1))

    def has_pending(self, base_fee: int, state_nonce: Callable[[Address], int]) -> bool:
        """Whether a block on the head would have something to include."""
        return next(self.pending(base_fee, state_nonce), None) is not None

    def remove_included(self, transactions: Sequence[Transaction]) -> None:
        """Forget what a block included, in its order, and what that made stale."""
        for sender, nonce in {one.sender: one.nonce + 1 for one in transactions}.items():
            if (queue := self._queues.get(sender)) is not None:
                self._advance(queue, nonce)

    def take_back(
        self,
        transactions: Sequence[Transaction],
        get_nonce: Callable[[Address], int],
        get_balance: Callable[[Address], int],
    ) -> None:
        """A reorganisation withdrew these, oldest first, and accounts' nonces went back with them:
        what the new branch has not included waits again, unless it can run no more."""
        for sender in {transaction.sender for transaction in transactions}:
            queue, nonce = self._queues.get(sender), get_nonce(sender)
            if queue is not None and nonce < queue.nonce:
                queue.nonce = queue.end = nonce
                self._place(queue)
        for one in transactions:
            with suppress(InvalidTransaction):
                self.add(one, get_nonce(one.sender), get_balance(one.sender))

    def drop_invalid(self, transaction: Transaction) -> None:
        """Forget a transaction that cannot run; later ones of its sender wait for its nonce."""
        if transaction.hash in self._by_hash:
            self._drop(self._queues[transaction.sender], transaction)

    # Inside.

    def _check(self, transaction: Transaction, nonce: int, balance: int) -> None:
        if transaction.chain_id != self.chain_id:
            raise WrongChainId(transaction.chain_id, self.chain_id)
        if transaction.gas > self.gas_limit:
            raise GasLimitExceeded(transaction.gas, self.gas_limit)
        if transaction.max_fee < self.base_fee:
            raise FeeTooLow(transaction.max_fee, self.base_fee)
        intrinsic = transaction.intrinsic_gas()
        if transaction.gas < intrinsic:
            raise IntrinsicGasTooLow(transaction.gas, intrinsic)
        sender = transaction.sender
        if transaction.nonce < nonce:
            raise NonceTooLow(to_checksum(sender), transaction.nonce, nonce)
        if transaction.nonce - nonce > self.limits.nonce_ahead_max:
            raise NonceTooHigh(to_checksum(sender), transaction.nonce, nonce)
        cost = transaction.gas * transaction.max_fee + transaction.value
        if balance < cost:
            raise InsufficientFunds(to_checksum(sender), balance, cost)

    def _price(self, transaction: Transaction) -> int:
        """What the proposer gets for a gas."""
        return min(transaction.max_fee - self.base_fee, transaction.max_priority_fee)

    def _heads(self) -> Iterator[tuple[int, _Queue]]:
        """Senders with something executable: the best price first, then who waits longest."""
        for price in self._prices[::-1]:
            for queue in list(self._levels.get(price, {}).values()):
                yield price, queue

    def _make_room(self, newcomer: Transaction, nonce: int) -> None:
        """Evict until `newcomer` fits, or raise PoolFull where all others have a better claim."""
        limits, bytes_max = self.limits, self.limits.bytes_max - len(newcomer.raw)
        while len(self._by_hash) >= limits.transactions_max or self._bytes > bytes_max:
            victim = self._find_victim(newcomer, nonce)
            if victim is None:
                raise PoolFull("the pool", limits.transactions_max)
            self._drop(victim, victim.waiting[max(victim.waiting)])

    def _find_victim(self, newcomer: Transaction, nonce: int) -> _Queue | None:
        """Whose furthest nonce should go."""
        own = self._queues.get(newcomer.sender)
        heaviest = max(self._by_weight)
        if heaviest > (own.weight if own else 0) + _weight_of(newcomer):
            return next(iter(self._by_weight[heaviest].values()))
        if nonce > 0 and self._strangers:
            return next(reversed(self._strangers.values()))
        if self._prices and self._price(newcomer) > self._prices[0]:
            return next(reversed(self._levels[self._prices[0]].values()))
        return None

    def _advance(self, queue: _Queue, nonce: int) -> None:
        """The account's nonce is now `nonce`: what is below is stale."""
        if nonce <= queue.nonce:
            return
        self._strangers.pop(queue.sender, None)
        queue.nonce, queue.end = nonce, max(queue.end, nonce)
        for number in [number for number in queue.waiting if number < nonce]:
            self._drop(queue, queue.waiting[number])
        self._place(queue, served=True)

    def _drop(self, queue: _Queue, transaction: Transaction) -> None:
        del queue.waiting[transaction.nonce]
        del self._by_hash[transaction.hash]
        self._bytes -= len(transaction.raw)
        if transaction.nonce >= queue.nonce:
            queue.end = min(queue.end, transaction.nonce)
        self._weigh(queue, -_weight_of(transaction))
        self._place(queue)
        if not queue.waiting:
            del self._queues[queue.sender]
            self._strangers.pop(queue.sender, None)

    def _weigh(self, queue: _Queue, change: int) -> None:
        """Keep the queues by their weight: one for each transaction and each 4 KiB of it."""
        if queue.weight:
            _take_out(self._by_weight, queue.weight, queue.sender)
        queue.weight += change
        if queue.weight:
            self._by_weight.setdefault(queue.weight, {})[queue.sender] = queue

    def _place(self, queue: _Queue, *, served: bool = False) -> None:
        """Keep the queue at the level of its first executable transaction's price, behind those
        that wait there already if it was `served`: else few could stand first in every block."""
        while queue.end in queue.waiting:
            queue.end += 1
        first = queue.waiting.get(queue.nonce)
        price = None if first is None else self._price(first)
        if price == queue.price and not served:
            return
        if queue.price is not None and _take_out(self._levels, queue.price, queue.sender):
            del self._prices[bisect_left(self._prices, queue.price)]
        if price is not None:
            if price not in self._levels:
                insort(self._prices, price)
            self._levels.setdefault(price, {})[queue.sender] = queue
        queue.price = price


def _weight_of(transaction: Transaction) -> int:
    return 1 + len(transaction.raw) // 4_096


def _take_out(groups: dict[int, dict[Address, _Queue]], key: int, sender: Address) -> bool:
    """Whether its group is gone with it."""
    group = groups[key]
    del group[sender]
    if not group:
        del groups[key]
    return not group


def _check_replacement(old: Transaction, new: Transaction) -> None:
    for before, after in ((old.max_fee, new.max_fee), (old.max_priority_fee, new.max_priority_fee)):
        needed = before + max(1, before * PRICE_BUMP_PERCENT // 100)
        if after < needed:
            raise ReplacementUnderpriced(after, needed)
