"""A pool with the nonces of its accounts, and transactions that cost no signature."""

from itertools import islice

from ledger.pool import Pool, PoolLimits
from ledger.transaction import Transaction

CHAIN_ID = 1947
GAS_LIMIT = 15_000_000
RICH = 10**30


def make(account: int, nonce: int, price: int = 0, **changes: object) -> Transaction:
    """A transaction of a numbered account, whose sender is set and not signed: that is slow."""
    fields = {"type": 2, "chain_id": CHAIN_ID, "gas": 30_000, "value": 0, "data": b"", "to": b"t"}
    fields |= {"max_priority_fee": price, "max_fee": price} | changes
    raw = repr((account, nonce, sorted(fields.items()))).encode() + bytes(changes.get("size", 0))
    fields.pop("size", None)
    transaction = Transaction(raw=raw, nonce=nonce, access_list=(), y_parity=0, r=1, s=1, **fields)
    transaction._sender = account.to_bytes(20, "big")
    return transaction


class World:
    """A pool and the nonces of the accounts it serves."""

    def __init__(self, **limits: int) -> None:
        self.pool = Pool(CHAIN_ID, GAS_LIMIT, 0, PoolLimits(**limits))
        self.nonces: dict[bytes, int] = {}

    def nonce(self, sender: bytes) -> int:
        return self.nonces.get(sender, 0)

    def add(self, transaction: Transaction) -> Transaction:
        self.pool.add(transaction, self.nonce(transaction.sender), RICH)
        return transaction

    def pending(self, count: int = 10**6) -> list[Transaction]:
        return list(islice(self.pool.pending(0, self.nonce), count))

    def include(self, transactions: list[Transaction]) -> None:
        for transaction in transactions:
            assert transaction.nonce == self.nonce(transaction.sender)
            self.nonces[transaction.sender] = transaction.nonce + 1
        self.pool.remove_included(transactions)


def nonces_of(transactions: list[Transaction]) -> list[int]:
    return [transaction.nonce for transaction in transactions]
