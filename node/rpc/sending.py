"""Methods that send: signed transactions from anywhere, unsigned ones for unlocked accounts.

The node holds no keys but on a development network, where ten well-known accounts are unlocked.
Sources: Ethereum execution-apis; EIP-191 (eth_sign, personal_sign).
"""

from collections.abc import Sequence
from typing import Any

from ledger.crypto.address import to_checksum
from ledger.crypto.keccak import keccak256
from ledger.crypto.secp256k1 import sign
from ledger.encoding.hexadecimal import decode_data
from ledger.errors import LedgerError, TransactionTooLarge, WrongChainId
from ledger.transaction import MAX_TRANSACTION_BYTES, Transaction, sign_transaction
from ledger.types import Address
from node.rpc.calls import estimate_gas
from node.rpc.codec import JsonValue
from node.rpc.context import METHODS, Context
from node.rpc.errors import SERVER_ERROR, RpcError, explain_ledger_error, invalid_params
from node.rpc.format import format_transaction
from node.rpc.parameters import (
    CallRequest,
    Parameter,
    parse_account,
    parse_call,
    parse_data,
    parse_text,
)

_HEX_MAX = 2 + 2 * MAX_TRANSACTION_BYTES


def parse_raw(value: JsonValue) -> bytes:
    """A raw transaction in hex; one that is too long is refused as by geth, and not decoded."""
    text = parse_text(value)
    if len(text) > _HEX_MAX:
        size = len(text) // 2 - 1
        raise explain_ledger_error(TransactionTooLarge(size, MAX_TRANSACTION_BYTES))
    if text[:2] == "0x":
        # The common case without looking at each digit: what fromhex skips makes it too short.
        try:
            raw = bytes.fromhex(text[2:])
        except ValueError:
            return decode_data(text)  # says what is wrong
        if 2 * len(raw) == len(text) - 2:
            return raw
    return decode_data(text)


async def send_raw_many(
    context: Context, values: list[list[object]]
) -> Sequence[JsonValue | RpcError]:
    """A run of eth_sendRawTransaction: decoded, recovered and added to the pool together."""
    raws: list[bytes] = [value[0] for value in values]  # type: ignore[misc]  # by parse_raw
    return [
        explain_send_error(taken) if isinstance(taken, Exception) else "0x" + taken.hash.hex()
        for taken in await context.node.submit(raws)
    ]


@METHODS.method("eth_sendRawTransaction", Parameter("transaction", parse_raw), bulk=send_raw_many)
async def send_raw(context: Context, raw: bytes) -> str:
    (taken,) = await context.node.submit([raw])
    if isinstance(taken, Exception):
        raise taken
    return "0x" + taken.hash.hex()


def explain_send_error(error: Exception) -> RpcError:
    """The error object of a transaction that was not taken."""
    if isinstance(error, RpcError):
        return error
    if isinstance(error, LedgerError):
        return explain_ledger_error(error)
    raise error


# Accounts that this node signs for.


@METHODS.method("eth_accounts")
def list_accounts(context: Context) -> list[str]:
    return [to_checksum(address) for address in context.node.unlocked]


@METHODS.method("eth_requestAccounts")
def request_accounts(context: Context) -> list[str]:
    return list_accounts(context)


@METHODS.method("eth_sendTransaction", Parameter("transaction", parse_call))
async def send_transaction(context: Context, request: CallRequest) -> str:
    signed = await _sign(context, request)
    (taken,) = await context.node.submit([signed.raw])
    if isinstance(taken, Exception):
        raise taken
    return "0x" + taken.hash.hex()


@METHODS.method("eth_signTransaction", Parameter("transaction", parse_call))
async def sign_only(context: Context, request: CallRequest) -> dict[str, Any]:
    signed = await _sign(context, request)
    return {"raw": "0x" + signed.raw.hex(), "tx": format_transaction(signed)}


@METHODS.method("eth_sign", Parameter("address", parse_account), Parameter("message", parse_data))
def sign_message(context: Context, address: Address, message: bytes) -> str:
    """r, s and v (27 or 28) over the message with Ethereum's prefix before it."""
    key = _get_key(context, address)
    prefix = b"\x19Ethereum Signed Message:\n" + str(len(message)).encode()
    parity, r, s = sign(key, keccak256(prefix + message))
    return f"0x{r:064x}{s:064x}{27 + parity:02x}"


@METHODS.method(
    "personal_sign",
    Parameter("message", parse_data),
    Parameter("address", parse_account),
    Parameter("password", parse_text, ""),
)
def sign_personal(context: Context, message: bytes, address: Address, password: str) -> str:
    return str(sign_message(context, address, message))


async def _sign(context: Context, request: CallRequest) -> Transaction:
    """Fill in what a transaction lacks and sign it with an unlocked account's key."""
    node = context.node
    if request.sender is None:
        raise invalid_params("invalid argument 0 (transaction): from: missing")
    key = _get_key(context, request.sender)
    chain = node.chain
    chain_id = chain.genesis.chain_id
    if request.chain_id is not None and request.chain_id != chain_id:
        raise WrongChainId(request.chain_id, chain_id)
    gas = request.gas
    if gas is None:
        gas = await estimate_gas(context, request, chain.head.number)
    nonce = request.nonce
    if nonce is None:
        # Read and used without a pause in between: two calls at once get two nonces only because
        # `submit` adds to the pool what it is given before anybody else is asked.
        nonce = node.pool.next_nonce(request.sender, chain.state_at().get_nonce(request.sender))
    fees: dict[str, int | None] = {"gas_price": request.gas_price}
    if request.gas_price is None:
        priority = request.max_priority_fee or 0
        max_fee = request.max_fee
        fees = {
            "max_fee": chain.head.base_fee + priority if max_fee is None else max_fee,
            "max_priority_fee": priority,
        }
    return sign_transaction(
        key,
        chain_id=chain_id,
        nonce=nonce,
        to=request.to,
        gas=gas,
        data=request.data,
        value=request.value,
        access_list=request.access_list,
        **fees,
    )


def _get_key(context: Context, address: Address) -> bytes:
    key = context.node.unlocked.get(address)
    if key is None:
        raise RpcError(SERVER_ERROR, f"unknown account {to_checksum(address)}: not unlocked here")
    return key
