"""Blocks, transactions, receipts and logs as JSON-RPC shows them.

Pure: chain data in, JSON values out; quantities are minimal hex. Sources: Ethereum execution-apis
(schemas); what web3.py and ethers insist on beyond them: baseFeePerGas, totalDifficulty.
"""

from typing import Any

from ledger.block import Block, Header, encode_block
from ledger.crypto.address import to_checksum
from ledger.receipt import Receipt
from ledger.transaction import Transaction
from node.recent import Full


def format_header(header: Header) -> dict[str, Any]:
    """A header as `newHeads` sends it and blocks begin."""
    return {
        "number": hex(header.number),
        "hash": "0x" + header.hash.hex(),
        "parentHash": "0x" + header.parent_hash.hex(),
        "nonce": "0x" + header.nonce.hex(),
        "mixHash": "0x" + header.mix_hash.hex(),
        "sha3Uncles": "0x" + header.ommers_hash.hex(),
        "logsBloom": "0x" + header.bloom.hex(),
        "transactionsRoot": "0x" + header.transactions_root.hex(),
        "stateRoot": "0x" + header.state_root.hex(),
        "receiptsRoot": "0x" + header.receipts_root.hex(),
        "miner": to_checksum(header.coinbase),
        "difficulty": hex(header.difficulty),
        "extraData": "0x" + header.extra_data.hex(),
        "gasLimit": hex(header.gas_limit),
        "gasUsed": hex(header.gas_used),
        "timestamp": hex(header.timestamp),
        "baseFeePerGas": hex(header.base_fee),
    }


def format_block(full: Full, *, with_transactions: bool) -> dict[str, Any]:
    """A block with transaction hashes, or with whole transactions."""
    block = full.block
    result = format_header(block.header)
    # Of difficulty 1 there is no work in a block; a mined chain's never changes.
    result["totalDifficulty"] = hex(block.header.difficulty * (block.number + 1))
    result["size"] = hex(len(encode_block(block)))
    result["uncles"] = []
    result["transactions"] = [
        format_transaction(transaction, block, index)
        if with_transactions
        else "0x" + transaction.hash.hex()
        for index, transaction in enumerate(block.transactions)
    ]
    return result


def format_transaction(
    transaction: Transaction, block: Block | None = None, index: int = 0
) -> dict[str, Any]:
    """A transaction in its block, or waiting without one."""
    kind = transaction.type
    parity = transaction.y_parity
    result: dict[str, Any] = {
        "type": hex(kind),
        "chainId": hex(transaction.chain_id),
        "nonce": hex(transaction.nonce),
        "from": to_checksum(transaction.sender),
        "to": None if transaction.to is None else to_checksum(transaction.to),
        "gas": hex(transaction.gas),
        "value": hex(transaction.value),
        "input": "0x" + transaction.data.hex(),
        "hash": "0x" + transaction.hash.hex(),
        "r": hex(transaction.r),
        "s": hex(transaction.s),
    }
    if kind == 0:
        result["v"] = hex(35 + 2 * transaction.chain_id + parity)
    else:
        result["v"] = result["yParity"] = hex(parity)
        result["accessList"] = [
            {"address": to_checksum(address), "storageKeys": ["0x" + key.hex() for key in keys]}
            for address, keys in transaction.access_list
        ]
    price = transaction.max_fee
    if kind == 2:
        result["maxFeePerGas"] = hex(transaction.max_fee)
        result["maxPriorityFeePerGas"] = hex(transaction.max_priority_fee)
        if block is not None:
            price = transaction.effective_gas_price(block.header.base_fee)
    result["gasPrice"] = hex(price)
    if block is None:
        result["blockHash"] = result["blockNumber"] = result["transactionIndex"] = None
    else:
        result["blockHash"] = "0x" + block.hash.hex()
        result["blockNumber"] = hex(block.number)
        result["transactionIndex"] = hex(index)
    return result


def format_receipt(full: Full, index: int) -> dict[str, Any]:
    """What a transaction of a block did; `revertReason` is the data of a failed one."""
    block, receipt = full.block, full.receipts[index]
    transaction = block.transactions[index]
    created = receipt.contract_address
    result: dict[str, Any] = {
        "transactionHash": "0x" + transaction.hash.hex(),
        "transactionIndex": hex(index),
        "blockHash": "0x" + block.hash.hex(),
        "blockNumber": hex(block.number),
        "from": to_checksum(transaction.sender),
        "to": None if transaction.to is None else to_checksum(transaction.to),
        "contractAddress": None if created is None else to_checksum(created),
        "cumulativeGasUsed": hex(receipt.cumulative_gas_used),
        "gasUsed": hex(receipt.gas_used),
        "effectiveGasPrice": hex(transaction.effective_gas_price(block.header.base_fee)),
        "logs": format_logs(full, index),
        "logsBloom": "0x" + receipt.bloom.hex(),
        "status": hex(receipt.status),
        "type": hex(receipt.type),
    }
    if receipt.output:
        result["revertReason"] = "0x" + receipt.output.hex()
    return result


def format_logs(full: Full, index: int) -> list[dict[str, Any]]:
    """All logs of one transaction."""
    receipt: Receipt = full.receipts[index]
    return [format_log(full, index, position) for position in range(len(receipt.logs))]


def format_log(full: Full, index: int, position: int) -> dict[str, Any]:
    """A log; its index counts through the block."""
    block = full.block
    log = full.receipts[index].logs[position]
    return {
        "address": to_checksum(log.address),
        "topics": ["0x" + topic.hex() for topic in log.topics],
        "data": "0x" + log.data.hex(),
        "blockNumber": hex(block.number),
        "blockHash": "0x" + block.hash.hex(),
        "blockTimestamp": hex(block.header.timestamp),
        "transactionHash": "0x" + block.transactions[index].hash.hex(),
        "transactionIndex": hex(index),
        "logIndex": hex(full.log_index[index] + position),
        "removed": False,
    }
