"""Methods that read the state: balances, nonces, code, storage and proofs, now or at a block.

Wallets rewrite `latest` to the number of a block they saw a while ago, so recent states answer by
number too. Sources: Ethereum execution-apis; EIP-1186 (eth_getProof).
"""

import time
from typing import Any

from ledger.contract.upgrade import list_sources
from ledger.crypto.address import to_checksum
from ledger.types import Address
from node.rpc.context import METHODS, Context, get_height, get_state
from node.rpc.dispatch import rest
from node.rpc.parameters import (
    LATEST,
    BlockTag,
    Parameter,
    parse_account,
    parse_block,
    parse_slot,
    parse_slots,
)

SOURCES_SHOWN_MAX = 32
"""Of one contract in an answer: 1 MB. The hashes of all are the system address' `sources`."""
ADDRESS = Parameter("address", parse_account)
AT_BLOCK = Parameter("block", parse_block, LATEST)


@METHODS.method("eth_getBalance", ADDRESS, AT_BLOCK)
def get_balance(context: Context, address: Address, tag: BlockTag) -> str:
    return hex(get_state(context, tag).get_balance(address))


@METHODS.method("eth_getTransactionCount", ADDRESS, AT_BLOCK)
def get_transaction_count(context: Context, address: Address, tag: BlockTag) -> str:
    """The next nonce; with `pending` it counts what waits in the pool without a gap."""
    nonce = get_state(context, tag).get_nonce(address)
    if tag.name == "pending":
        nonce = context.node.pool.next_nonce(address, nonce)
    return hex(nonce)


@METHODS.method("eth_getCode", ADDRESS, AT_BLOCK)
def get_code(context: Context, address: Address, tag: BlockTag) -> str:
    """A contract's Python source, as bytes in hex."""
    return "0x" + get_state(context, tag).get_code(address).hex()


@METHODS.method("wattledger_getSources", ADDRESS, AT_BLOCK)
def get_sources(context: Context, address: Address, tag: BlockTag) -> list[dict[str, Any]]:
    """The sources that a contract has had, the one it runs last, and from which block on each.

    `source` is null where this node, having joined by a snapshot, never had an old one.
    """
    state = get_state(context, tag)
    found = []
    for height, code_hash in list_sources(state, address)[-SOURCES_SHOWN_MAX:]:
        source = state.find_code(code_hash)
        text = None if source is None else source.decode("ascii")
        found.append({"height": hex(height), "codeHash": "0x" + code_hash.hex(), "source": text})
    return found


@METHODS.method("eth_getStorageAt", ADDRESS, Parameter("slot", parse_slot), AT_BLOCK)
def get_storage_at(context: Context, address: Address, slot: bytes, tag: BlockTag) -> str:
    return f"0x{get_state(context, tag).get_storage(address, slot):064x}"


@METHODS.method("eth_getProof", ADDRESS, Parameter("slots", parse_slots), AT_BLOCK, heavy=True)
async def get_proof(
    context: Context, address: Address, slots: tuple[bytes, ...], tag: BlockTag
) -> dict[str, Any]:
    """An account and words of its storage, with what proves them under the block's state root.

    Slots of an old state take milliseconds each, so it rests in between. The head may go on
    meanwhile: then the state of this height is read as an old one.
    """
    chain, height = context.node.chain, get_height(context, tag)
    state, is_head = chain.state_at(height), height == chain.head.number
    account = state.get_account(address)
    proof: dict[str, Any] = {
        "address": to_checksum(address),
        "accountProof": ["0x" + node.hex() for node in state.prove_account(address)],
        "balance": hex(account.balance),
        "codeHash": "0x" + account.code_hash.hex(),
        "nonce": hex(account.nonce),
        "storageHash": "0x" + account.storage_root.hex(),
        "storageProof": [],
    }
    started = time.perf_counter()
    for slot in slots:
        proof["storageProof"].append(
            {
                "key": "0x" + slot.hex(),
                "value": hex(state.get_storage(address, slot)),
                "proof": ["0x" + node.hex() for node in state.prove_storage(address, slot)],
            }
        )
        started = await rest(started)
        if is_head and height != chain.head.number:
            state, is_head = chain.state_at(height), False
    return proof
