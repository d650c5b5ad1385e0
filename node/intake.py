"""Transactions on their way into the pool, from clients and from peers alike.

A batch is decoded, its senders recovered on threads (the library lets go of the interpreter there)
or, under load, in a process (`senders`), and then added in one go. Not here: the pool's own rules
(`ledger.pool`), flooding (`gossip`).
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from ledger.crypto.address import to_checksum
from ledger.errors import InvalidSignature, InvalidTransaction, LedgerError, NotPermitted
from ledger.permissions import may_deploy
from ledger.pool import Pool
from ledger.state.account import EMPTY_CODE_HASH
from ledger.state.state import State
from ledger.transaction import Transaction, decode_transaction, recover_senders
from ledger.types import Hash32
from node.peers.connection import Peer
from node.senders import WAITING_MIN, SenderProcess

RECOVERED_AT_ONCE = 50
"""Signatures of one task on a thread: 3 ms of work beside 0.1 ms to hand it over and back."""
RECOVERED_HERE = 24
"""Fewer are recovered at once, for a client that waits for its one transaction."""

GetState = Callable[[int], State]
"""The head's state, for so many accounts to be read from it."""
OnTaken = Callable[[list[Transaction], Peer | None], None]


class Intake:
    """Adds transactions to the pool and tells `on_taken` which were new, and from whom."""

    def __init__(
        self,
        get_state: GetState,
        pool: Pool,
        executor: Executor,
        on_taken: OnTaken,
        apart: SenderProcess | None = None,
    ) -> None:
        self._get_state = get_state
        self._pool = pool
        self._executor = executor
        self._on_taken = on_taken
        self._apart = apart
        self._recovering = 0

    async def stop(self) -> None:
        """Let the process go, if there is one."""
        if self._apart is not None:
            await self._apart.stop()

    async def submit(self, raws: Sequence[bytes]) -> list[Transaction | Exception]:
        """For each raw transaction what was taken, or the LedgerError that says why not."""
        results = [decode_or_error(raw) for raw in raws]
        await self.take(results, None)
        return results

    async def take(self, results: list[Transaction | Exception], origin: Peer | None) -> None:
        """Add decoded transactions; what is not taken is replaced by its error, in place.

        `origin` is the peer that they came from, None for a client.
        """
        transactions = [item for item in results if isinstance(item, Transaction)]
        await self._recover(transactions)
        # From here to the end nothing waits, so that the state stays the head's.
        state = self._get_state(len(transactions))
        taken: list[Transaction] = []
        for index, item in enumerate(results):
            if not isinstance(item, Transaction):
                continue
            try:
                self._add(state, item)
                taken.append(item)
            except LedgerError as error:
                results[index] = error.with_traceback(None)  # whose frames hold the results
        if taken:
            self._on_taken(taken, origin)

    async def _recover(self, transactions: list[Transaction]) -> None:
        if len(transactions) < RECOVERED_HERE:
            recover_senders(transactions)
            return
        self._recovering += len(transactions)
        try:
            await self._recover_many(transactions)
        finally:
            self._recovering -= len(transactions)

    async def _recover_many(self, transactions: list[Transaction]) -> None:
        apart = self._apart
        if (
            apart is not None
            and (apart.is_running or self._recovering >= WAITING_MIN)
            and await apart.recover(transactions)
        ):
            return
        loop = asyncio.get_running_loop()
        await asyncio.gather(
            *(
                loop.run_in_executor(
                    self._executor, recover_senders, transactions[start : start + RECOVERED_AT_ONCE]
                )
                for start in range(0, len(transactions), RECOVERED_AT_ONCE)
            )
        )

    def _add(self, state: State, transaction: Transaction) -> None:
        try:
            sender = transaction.sender
        except InvalidSignature as error:
            raise InvalidTransaction(f"invalid sender: {error}") from error
        if state.get_code_hash(sender) != EMPTY_CODE_HASH:
            raise InvalidTransaction("sender not an eoa: the sending address holds a contract")
        if transaction.max_priority_fee > transaction.max_fee:
            raise InvalidTransaction(
                "max priority fee per gas higher than max fee per gas: maxPriorityFeePerGas: "
                f"{transaction.max_priority_fee}, maxFeePerGas: {transaction.max_fee}"
            )
        if transaction.to is None and not may_deploy(state, sender):
            raise NotPermitted(to_checksum(sender), "deploy contracts")
        self._pool.add(transaction, state.get_nonce(sender), state.get_balance(sender))


def decode_or_error(raw: bytes, digest: Hash32 | None = None) -> Transaction | Exception:
    """A transaction, or the LedgerError that says why these bytes are none."""
    try:
        return decode_transaction(raw, digest)
    except LedgerError as error:
        return error
