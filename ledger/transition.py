"""What a transaction and a block mean, on one page: Ethereum's rules of London without an EVM.

A state and a list of transactions go in; roots, receipts and changes come out. No engine, pool,
store or clock is known here, so that anything that orders transactions can drive it. Sources:
Yellow Paper (London) sections 6 and 7, EIP-1559, EIP-2930, EIP-3607; what runs instead of EVM code
is `ledger.contract`. There are no refunds: clearing a slot costs no more than it should.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.contract.execution import BlockContext, Message, Outcome, execute_call, execute_creation
from ledger.contract.messages import Kind
from ledger.contract.upgrade import UPGRADES, execute_upgrades, record_deployment
from ledger.crypto.address import ZERO_ADDRESS, contract_address, to_checksum
from ledger.errors import (
    CodeLimitExceeded,
    CryptoError,
    FeeTooLow,
    GasLimitExceeded,
    InsufficientFunds,
    IntrinsicGasTooLow,
    InvalidBlock,
    InvalidTransaction,
    NonceTooHigh,
    NonceTooLow,
    NotPermitted,
    WrongChainId,
)
from ledger.permissions import may_deploy, may_transact
from ledger.receipt import EMPTY_BLOOM, Receipt, bloom_of
from ledger.state.account import EMPTY_CODE_HASH
from ledger.state.state import State, StateChanges
from ledger.transaction import Transaction
from ledger.trie.ordered import ordered_root, transactions_root
from ledger.types import Hash32

TRANSACTIONS_MAX = 10_000  # of one block; the gas limit ends a block long before
CODE_BYTES_MAX = 256 << 10
"""Of the sources that a block's transactions call. A call pays for what it runs; that its contract
was made ready is paid by nobody: 3.5 us a byte at worst, 8 where it is compiled anew."""
Called = dict[Hash32, int]
"""Bytes of source by code hash, of what the transactions of a block have called so far."""


@dataclass(frozen=True, slots=True)
class Execution:
    """What a block did, to be committed once or dropped."""

    state_root: Hash32
    transactions_root: Hash32
    receipts_root: Hash32
    bloom: bytes
    gas_used: int
    receipts: tuple[Receipt, ...]
    changes: StateChanges


def count_code(state: State, transaction: Transaction, called: Called) -> None:
    """Add the source that is called to those that the block calls. Raises CodeLimitExceeded."""
    to = transaction.to
    if to is not None and (code_hash := state.get_code_hash(to)) not in called:
        size = len(state.get_code(to))
        if (total := size + sum(called.values())) > CODE_BYTES_MAX:
            raise CodeLimitExceeded(total, CODE_BYTES_MAX)
        called[code_hash] = size


def check_transaction(state: State, block: BlockContext, transaction: Transaction) -> int:
    """Whether a transaction may run on this state, by the rules a geth user knows.

    Returns the gas that is used before anything runs. Raises the InvalidTransaction whose name
    says what its sender must change.
    """
    if transaction.chain_id != block.chain_id:
        raise WrongChainId(transaction.chain_id, block.chain_id)
    sender = transaction.sender
    next_nonce = state.get_nonce(sender)
    if transaction.nonce != next_nonce:
        kind = NonceTooLow if transaction.nonce < next_nonce else NonceTooHigh
        raise kind(to_checksum(sender), transaction.nonce, next_nonce)
    check_unordered(state, block, transaction)
    return transaction.intrinsic_gas()


def check_unordered(state: State, block: BlockContext, transaction: Transaction) -> None:
    """The rules that hold whatever was sent before: fees, gas, funds, permission to send."""
    sender = transaction.sender
    if transaction.max_fee < block.base_fee:
        raise FeeTooLow(transaction.max_fee, block.base_fee)
    if transaction.max_priority_fee > transaction.max_fee:
        raise InvalidTransaction(
            "max priority fee per gas higher than max fee per gas: "
            f"maxPriorityFeePerGas: {transaction.max_priority_fee}, "
            f"maxFeePerGas: {transaction.max_fee}"
        )
    if transaction.gas > block.gas_limit:
        raise GasLimitExceeded(transaction.gas, block.gas_limit)
    intrinsic = transaction.intrinsic_gas()
    if transaction.gas < intrinsic:
        raise IntrinsicGasTooLow(transaction.gas, intrinsic)
    cost = transaction.gas * transaction.max_fee + transaction.value
    if cost:
        balance = state.get_balance(sender)
        if balance < cost:
            raise InsufficientFunds(to_checksum(sender), balance, cost)
    if state.get_code_hash(sender) != EMPTY_CODE_HASH:
        raise InvalidTransaction("sender not an eoa: the sending address holds a contract")
    if not may_transact(state, sender):
        raise NotPermitted(to_checksum(sender), "send transactions")
    if transaction.to is None and not may_deploy(state, sender):
        raise NotPermitted(to_checksum(sender), "deploy contracts")


def apply_transaction(
    state: State, block: BlockContext, transaction: Transaction, gas_before: int, called: Called
) -> Receipt:
    """Run one transaction and return its receipt; the state is changed even if it fails.

    `gas_before` and `called` are what the block has used so far. Raises InvalidTransaction,
    and leaves the state untouched, where the transaction cannot stand in the block at all.
    """
    if transaction.gas > block.gas_limit - gas_before:
        raise GasLimitExceeded(transaction.gas, block.gas_limit - gas_before)
    intrinsic = check_transaction(state, block, transaction)
    count_code(state, transaction, called)
    sender = transaction.sender
    gas = transaction.gas
    price = transaction.effective_gas_price(block.base_fee)

    # 1. The sender pays for all the gas it asks for; its nonce is used up whatever happens.
    if price:
        state.sub_balance(sender, gas * price)
    state.increment_nonce(sender)

    # 2. The message runs; what failed is undone.
    to = transaction.to
    created = contract_address(sender, transaction.nonce) if to is None else None
    message = Message(
        sender, created or to or b"", transaction.value, transaction.data, gas - intrinsic,
        static=False, origin=sender, gas_price=price,
    )  # fmt: skip
    outcome = run_message(state, block, message, creation=to is None)
    succeeded = outcome.status == "success"

    # 3. What was not used is given back, the tip goes to the proposer, the base fee to nobody.
    gas_used = gas - outcome.gas_left
    if price:
        state.add_balance(sender, outcome.gas_left * price)
        if price > block.base_fee:
            state.add_balance(block.coinbase, gas_used * (price - block.base_fee))

    logs = tuple(outcome.logs) if succeeded else ()
    return Receipt(
        type=transaction.type,
        status=int(succeeded),
        cumulative_gas_used=gas_before + gas_used,
        bloom=bloom_of(logs) if logs else EMPTY_BLOOM,
        logs=logs,
        gas_used=gas_used,
        contract_address=created,
        output=b"" if succeeded else outcome.output,
    )


def run_message(
    state: State, block: BlockContext, message: Message, *, creation: bool = False
) -> Outcome:
    """Move the value, then run the contract at `message.to` or create it there.

    On failure the state is as before. The caller has checked that the value is there.
    """
    snapshot = state.snapshot()
    has_code = state.get_code_hash(message.to) != EMPTY_CODE_HASH
    if creation and (has_code or state.get_nonce(message.to)):  # EIP-684: what stands there stays
        return Outcome("revert", 0, b"", [])
    if message.value:
        state.sub_balance(message.sender, message.value)
        state.add_balance(message.to, message.value)
    if creation:
        state.set_nonce(message.to, 1)
    kind: Kind = "creation" if creation else "upgrade" if message.to == UPGRADES else "call"
    if kind == "call" and not has_code:
        outcome = Outcome("success", message.gas, b"", [])
    elif block.runner is not None:
        outcome = block.runner.execute(kind, state, block, message)
    else:
        outcome = execute_message(kind, state, block, message)
    if creation and outcome.status == "success" and message.sender != ZERO_ADDRESS:
        record_deployment(state, message.to, message.sender, block.height)
    if outcome.status != "success":
        state.revert(snapshot)
    return outcome


def execute_message(kind: Kind, state: State, block: BlockContext, message: Message) -> Outcome:
    """Run contract code in this process; the caller undoes what a failure leaves."""
    if kind == "creation":
        return execute_creation(state, block, message, block.rules_version)
    if kind == "upgrade":
        return execute_upgrades(state, block, message)
    return execute_call(state, block, message, block.rules_version)


def execute_block(
    state: State,
    block: BlockContext,
    transactions: Sequence[Transaction],
    receipts: Sequence[Receipt] | None = None,
) -> Execution:
    """Run a block's transactions in order and commit the state in memory.

    `receipts` are given by a proposer that ran them already on this state, one by one, while
    choosing. Raises InvalidBlock where a transaction could not stand where it stands.
    """
    if receipts is None:
        done: list[Receipt] = []
        gas_used = 0
        called: Called = {}
        for index, transaction in enumerate(transactions):
            try:
                done.append(apply_transaction(state, block, transaction, gas_used, called))
            except (InvalidTransaction, CryptoError) as error:
                raise InvalidBlock(f"transaction {index}: {error}") from error
            gas_used = done[-1].cumulative_gas_used
        receipts = done
    changes = state.commit()
    return Execution(
        state_root=changes.root,
        transactions_root=transactions_root(tuple([one.raw for one in transactions])),
        receipts_root=ordered_root([receipt.encode() for receipt in receipts]),
        bloom=_join_blooms(receipts),
        gas_used=receipts[-1].cumulative_gas_used if receipts else 0,
        receipts=tuple(receipts),
        changes=changes,
    )


def _join_blooms(receipts: Sequence[Receipt]) -> bytes:
    joined = 0
    for receipt in receipts:
        if receipt.logs:
            joined |= int.from_bytes(receipt.bloom, "big")
    return joined.to_bytes(256, "big")
