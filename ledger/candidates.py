"""What goes into a block, and how much fits: bounds in gas, bytes and number.

Choosing runs the transactions, which is what tells whether they can stand in the block. Not here:
in which order they are offered (`pool`), what a block's header says of them (`chain`).
"""

from collections.abc import Iterable

from ledger.block import Block
from ledger.contract.execution import BlockContext
from ledger.errors import CodeLimitExceeded, InvalidBlock, InvalidTransaction
from ledger.receipt import Receipt
from ledger.state.state import State
from ledger.transaction import Transaction
from ledger.transition import TRANSACTIONS_MAX, Called, apply_transaction
from ledger.types import Address

BODY_BYTES_MAX = 2_000_000  # of a block; it travels in one frame between peers
SKIPPED_MAX = 1_000  # refused while one block is built: each costs reads of the state, and of code
MIN_TRANSACTION_GAS = 21_000

Refused = tuple[Transaction, InvalidTransaction]


def choose_transactions(
    state: State, context: BlockContext, candidates: Iterable[Transaction]
) -> tuple[list[Transaction], list[Receipt], list[Refused]]:
    """Run candidates in their order until the block is full: those chosen, their receipts, and
    those refused. `state` is left as the chosen ones make it. What wants more gas or code than
    is left is passed over without a word, as much as the pool holds of it: nothing is read for
    that here, and behind a bound few senders could keep out all others."""
    chosen: list[Transaction] = []
    receipts: list[Receipt] = []
    refused: list[Refused] = []
    stopped: set[Address] = set()  # senders
    crowded: set[Address | None] = set()  # contracts for which the room for code is too small
    gas_used = size = 0
    called: Called = {}
    for transaction in candidates:
        gas_left = context.gas_limit - gas_used
        if (
            gas_left < MIN_TRANSACTION_GAS
            or len(chosen) >= TRANSACTIONS_MAX
            or len(refused) >= SKIPPED_MAX
            or size + len(transaction.raw) > BODY_BYTES_MAX
        ):
            break
        late = gas_left < transaction.gas <= context.gas_limit or transaction.to in crowded
        if late or transaction.sender in stopped:
            stopped.add(transaction.sender)
            continue
        try:
            receipt = apply_transaction(state, context, transaction, gas_used, called)
        except InvalidTransaction as error:
            # Without its frames, which hold this list and the state: a cycle of 0.7 kB for each.
            refused.append((transaction, error.with_traceback(None)))
            stopped.add(transaction.sender)
            if isinstance(error, CodeLimitExceeded):
                crowded.add(transaction.to)
            continue
        chosen.append(transaction)
        receipts.append(receipt)
        gas_used = receipt.cumulative_gas_used
        size += len(transaction.raw)
    return chosen, receipts, refused


def check_size(block: Block) -> None:
    """Raises InvalidBlock for more transactions, or a longer body, than a block may have."""
    if len(block.transactions) > TRANSACTIONS_MAX:
        raise InvalidBlock(f"more than {TRANSACTIONS_MAX} transactions")
    if sum(len(transaction.raw) for transaction in block.transactions) > BODY_BYTES_MAX:
        # Prepared, it could never be proposed again: no message holds it and its PREPAREs.
        raise InvalidBlock(f"a body of more than {BODY_BYTES_MAX} bytes")
