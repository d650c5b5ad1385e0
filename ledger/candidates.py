"""What goes into a block, and how much fits: bounds in gas, bytes and number.

Choosing runs the transactions, which is what tells whether they can stand in the block. Not here:
in which order they are offered (`pool`), what a block's header says of them (`chain`).
"""

from collections.abc import Iterable

from ledger.block import Block
from ledger.contract.execution import BlockContext
from ledger.errors import InvalidBlock, InvalidTransaction
from ledger.receipt import Receipt
from ledger.state.state import State
from ledger.transaction import Transaction
from ledger.transition import TRANSACTIONS_MAX, Called, apply_transaction
from ledger.types import Address

BODY_BYTES_MAX = 2_000_000  # of a block; it travels in one frame between peers
SKIPPED_MAX = 1_000  # transactions passed over while one block is built, so that building ends
MIN_TRANSACTION_GAS = 21_000

Refused = tuple[Transaction, InvalidTransaction]


def choose_transactions(
    state: State, context: BlockContext, candidates: Iterable[Transaction]
) -> tuple[list[Transaction], list[Receipt], list[Refused]]:
    """Run candidates in their order until the block is full: those chosen, their receipts, and
    those that cannot stand in this block. `state` is left as the chosen ones make it."""
    chosen: list[Transaction] = []
    receipts: list[Receipt] = []
    refused: list[Refused] = []
    stopped: set[Address] = set()
    gas_used = size = 0
    called: Called = {}
    for transaction in candidates:
        if transaction.sender in stopped:
            continue
        if (
            context.gas_limit - gas_used < MIN_TRANSACTION_GAS
            or len(chosen) >= TRANSACTIONS_MAX
            or len(refused) >= SKIPPED_MAX
            or size + len(transaction.raw) > BODY_BYTES_MAX
        ):
            break
        try:
            receipt = apply_transaction(state, context, transaction, gas_used, called)
        except InvalidTransaction as error:
            # Without its frames, which hold this list and the state: a cycle of 0.7 kB for each.
            refused.append((transaction, error.with_traceback(None)))
            stopped.add(transaction.sender)
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
