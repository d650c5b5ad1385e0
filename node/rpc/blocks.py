"""Methods that read blocks, transactions and receipts.

A receipt of a transaction that is in no block yet is null, never an error: every wallet waits by
asking again. It is null too while too many such questions wait for the disk.
Source: Ethereum execution-apis (eth namespace).
"""

from typing import Any

from ledger.types import Hash32
from node.recent import Full
from node.rpc.context import (
    METHODS,
    Context,
    find_block,
    find_full,
    is_old,
    is_old_block,
    is_old_transaction,
)
from node.rpc.format import format_block, format_receipt, format_transaction
from node.rpc.parameters import (
    BlockTag,
    Parameter,
    parse_block,
    parse_bool,
    parse_hash,
    parse_quantity,
)

HASH = Parameter("hash", parse_hash)
BLOCK = Parameter("block", parse_block)
FULL = Parameter("full transactions", parse_bool, False)
INDEX = Parameter("index", parse_quantity)

Json = dict[str, Any]


@METHODS.method("eth_blockNumber")
def block_number(context: Context) -> str:
    return hex(context.node.chain.head.number)


@METHODS.method("eth_getBlockByNumber", BLOCK, FULL, is_old=is_old)
def get_block_by_number(context: Context, tag: BlockTag, full_transactions: bool) -> Json | None:
    return _format(find_full(context, tag), full_transactions)


@METHODS.method("eth_getBlockByHash", HASH, FULL, is_old=is_old_block)
def get_block_by_hash(context: Context, block_hash: Hash32, full_transactions: bool) -> Json | None:
    return _format(find_block(context, block_hash), full_transactions)


@METHODS.method("eth_getBlockTransactionCountByNumber", BLOCK, is_old=is_old)
def count_by_number(context: Context, tag: BlockTag) -> str | None:
    full = find_full(context, tag)
    return None if full is None else hex(len(full.block.transactions))


@METHODS.method("eth_getBlockTransactionCountByHash", HASH, is_old=is_old_block)
def count_by_hash(context: Context, block_hash: Hash32) -> str | None:
    full = find_block(context, block_hash)
    return None if full is None else hex(len(full.block.transactions))


@METHODS.method("eth_getUncleCountByBlockNumber", BLOCK, is_old=is_old)
def count_uncles_by_number(context: Context, tag: BlockTag) -> str | None:
    return None if find_full(context, tag) is None else "0x0"


@METHODS.method("eth_getUncleCountByBlockHash", HASH, is_old=is_old_block)
def count_uncles_by_hash(context: Context, block_hash: Hash32) -> str | None:
    return None if find_block(context, block_hash) is None else "0x0"


@METHODS.method("eth_getTransactionByHash", HASH, is_old=is_old_transaction)
def get_transaction(context: Context, transaction_hash: Hash32) -> Json | None:
    found = context.node.recent.find(transaction_hash)
    if found is not None:
        full, index = found
        return format_transaction(full.block.transactions[index], full.block, index)
    waiting = context.node.pool.get(transaction_hash)
    return None if waiting is None else format_transaction(waiting)


@METHODS.method("eth_getRawTransactionByHash", HASH, is_old=is_old_transaction)
def get_raw_transaction(context: Context, transaction_hash: Hash32) -> str | None:
    transaction = context.node.recent.transaction(transaction_hash) or context.node.pool.get(
        transaction_hash
    )
    return None if transaction is None else "0x" + transaction.raw.hex()


@METHODS.method("eth_getTransactionByBlockNumberAndIndex", BLOCK, INDEX, is_old=is_old)
def get_transaction_by_number(context: Context, tag: BlockTag, index: int) -> Json | None:
    return _format_indexed(find_full(context, tag), index)


@METHODS.method("eth_getTransactionByBlockHashAndIndex", HASH, INDEX, is_old=is_old_block)
def get_transaction_by_block(context: Context, block_hash: Hash32, index: int) -> Json | None:
    return _format_indexed(find_block(context, block_hash), index)


@METHODS.method("eth_getRawTransactionByBlockNumberAndIndex", BLOCK, INDEX, is_old=is_old)
def get_raw_by_number(context: Context, tag: BlockTag, index: int) -> str | None:
    return _raw_indexed(find_full(context, tag), index)


@METHODS.method("eth_getRawTransactionByBlockHashAndIndex", HASH, INDEX, is_old=is_old_block)
def get_raw_by_block(context: Context, block_hash: Hash32, index: int) -> str | None:
    return _raw_indexed(find_block(context, block_hash), index)


@METHODS.method("eth_getTransactionReceipt", HASH, is_old=is_old_transaction, null_if_busy=True)
def get_receipt(context: Context, transaction_hash: Hash32) -> Json | None:
    found = context.node.recent.find(transaction_hash)
    return None if found is None else format_receipt(*found)


@METHODS.method("eth_getBlockReceipts", BLOCK, is_old=is_old)
def get_block_receipts(context: Context, tag: BlockTag) -> list[Json] | None:
    full = find_full(context, tag)
    if full is None:
        return None
    return [format_receipt(full, index) for index in range(len(full.receipts))]


def _format(full: Full | None, full_transactions: bool) -> Json | None:
    return None if full is None else format_block(full, with_transactions=full_transactions)


def _raw_indexed(full: Full | None, index: int) -> str | None:
    if full is None or index >= len(full.block.transactions):
        return None
    return "0x" + full.block.transactions[index].raw.hex()


def _format_indexed(full: Full | None, index: int) -> Json | None:
    if full is None or index >= len(full.block.transactions):
        return None
    return format_transaction(full.block.transactions[index], full.block, index)
