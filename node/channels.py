"""Payments off the chain over a channel of `contracts_py.payment_channel`: signed, checked, kept.

The payer signs what the recipient may take in all; the recipient checks each message before it
gives anything for it, and keeps the newest in its till, a file that survives a power cut. Only
opening and closing are transactions. What is signed is EIP-712 typed data (see the contract), so
that a wallet can sign it as well.
"""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ledger.crypto.address import parse_address, to_checksum
from ledger.crypto.keccak import keccak256
from ledger.crypto.secp256k1 import recover_address_compact, sign_compact
from ledger.encoding import abi
from ledger.encoding.hexadecimal import decode_data, encode_data
from ledger.errors import CryptoError, EncodingError, LedgerError
from ledger.types import Address, Hash32
from ledger.work import SETTLED_BLOCKS
from node.client import Client
from node.errors import NodeError

MESSAGE_BYTES_MAX = 4_096  # a message has some 350
TILL_CHANNELS_MAX = 100_000  # a till of more is another program's file
MARGIN_S = 3_600
"""A recipient wants this long to close before the payer may take the rest back."""

_DOMAIN = keccak256(
    b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
_PAYMENT = keccak256(b"Payment(uint256 channelId,uint256 amount)")
_NAME, _VERSION = keccak256(b"PaymentChannel"), keccak256(b"1")
_UINT256_MAX = 2**256 - 1


class PaymentRefused(NodeError):
    """A message that is not worth what it says; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Channel:
    """What the chain says of a channel; amounts in wei, time in Unix seconds."""

    payer: Address
    valid_until: int
    recipient: Address
    balance: int


@dataclass(frozen=True, slots=True)
class Payment:
    """A signed message: the recipient of the channel may take `amount` wei of it in all."""

    chain_id: int
    contract: Address
    channel_id: int
    amount: int
    signature: bytes

    def digest(self) -> Hash32:
        """What was signed: EIP-712."""
        return hash_payment(self.chain_id, self.contract, self.channel_id, self.amount)

    def to_json(self) -> dict[str, Any]:
        return {
            "chainId": self.chain_id,
            "contract": to_checksum(self.contract),
            "channelId": self.channel_id,
            "amount": str(self.amount),
            "signature": encode_data(self.signature),
        }

    @classmethod
    def from_json(cls, document: Any) -> "Payment":
        """Raises PaymentRefused naming what is wrong with it."""
        try:
            chain_id, channel_id = document["chainId"], document["channelId"]
            amount = int(document["amount"])
            contract = parse_address(document["contract"])
            signature = decode_data(document["signature"], 65)
        except (KeyError, TypeError, ValueError, LedgerError) as error:
            raise PaymentRefused(f"this is no payment message: {error!r:.200}") from error
        for number in (chain_id, channel_id, amount):
            if type(number) is not int or not 0 <= number <= _UINT256_MAX:
                raise PaymentRefused("this is no payment message: a number is out of range")
        return cls(chain_id, contract, channel_id, amount, signature)


def hash_payment(chain_id: int, contract: Address, channel_id: int, amount: int) -> Hash32:
    domain = keccak256(
        abi.encode(
            ["bytes32", "bytes32", "bytes32", "uint256", "address"],
            [_DOMAIN, _NAME, _VERSION, chain_id, contract],
        )
    )
    payment = abi.encode(["bytes32", "uint256", "uint256"], [_PAYMENT, channel_id, amount])
    return keccak256(b"\x19\x01" + domain + keccak256(payment))


def sign_payment(
    private_key: bytes, chain_id: int, contract: Address, channel_id: int, amount: int
) -> Payment:
    """The payer's message over `amount` wei in all."""
    digest = hash_payment(chain_id, contract, channel_id, amount)
    signature = sign_compact(private_key, digest)
    # r, s, then 27 or 28, as wallets and Solidity write it.
    signature = signature[:64] + bytes([signature[64] + 27])
    return Payment(chain_id, contract, channel_id, amount, signature)


def read_payment(text: str) -> Payment:
    """A message as it was sent. Raises PaymentRefused."""
    if len(text) > MESSAGE_BYTES_MAX:
        raise PaymentRefused(f"a payment message has at most {MESSAGE_BYTES_MAX} bytes")
    try:
        return Payment.from_json(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise PaymentRefused(f"this is no payment message: not JSON: {error}") from error


def read_channel(
    client: Client, contract: Address, channel_id: int, block: str = "latest"
) -> Channel:
    """A channel as the chain has it now. Raises NodeError where it is over or never was."""
    data = abi.selector("channel(uint256)") + abi.encode(["uint256"], [channel_id])
    answer = client.call_contract(contract, data, block)
    try:
        payer, until, recipient, balance = abi.decode(
            ["address", "uint64", "address", "uint256"], answer
        )
    except EncodingError as error:
        raise NodeError(
            f"there is no PaymentChannel contract at {to_checksum(contract)}: see --contract"
        ) from error
    if payer == bytes(20):
        raise NodeError(f"channel {channel_id} is over, or was never opened")
    return Channel(payer, until, recipient, balance)


def read_settled_channel(client: Client, contract: Address, channel_id: int) -> Channel:
    """A channel that is open now and stays so: on a mined chain a longer branch may take back what
    put the coins in, so that only what is settled counts. Raises NodeError."""
    found = read_channel(client, contract, channel_id)
    try:
        settled = read_channel(client, contract, channel_id, "safe")
    except NodeError as error:
        raise PaymentRefused(
            f"channel {channel_id} is not settled yet: wait until {SETTLED_BLOCKS} blocks stand on "
            "the one that opened it"
        ) from error
    return replace(found, balance=min(found.balance, settled.balance))


def check_payment(
    payment: Payment,
    channel: Channel,
    *,
    chain_id: int,
    contract: Address,
    recipient: Address,
    taken: int,
    now_s: int,
    margin_s: int = MARGIN_S,
) -> int:
    """How many wei the message is worth beyond the `taken` ones of the last accepted message.

    Raises PaymentRefused: another chain, contract or recipient, not the payer's signature, more
    than the channel holds, nothing new, or too little time left to close it.
    """
    if payment.chain_id != chain_id or payment.contract != contract:
        raise PaymentRefused(
            f"the message is for chain {payment.chain_id}, contract "
            f"{to_checksum(payment.contract)}; ours is chain {chain_id}, {to_checksum(contract)}"
        )
    if channel.recipient != recipient:
        raise PaymentRefused(
            f"channel {payment.channel_id} pays {to_checksum(channel.recipient)}, "
            f"not {to_checksum(recipient)}"
        )
    if _signer_of(payment) != channel.payer:
        raise PaymentRefused(f"the message is not signed by {to_checksum(channel.payer)}")
    if payment.amount > channel.balance:
        raise PaymentRefused(
            f"the message is over {payment.amount} wei, the channel holds {channel.balance}: "
            "ask the payer to top it up"
        )
    if payment.amount <= taken:
        raise PaymentRefused(f"nothing new: {taken} wei were accepted before")
    if channel.valid_until - now_s < margin_s:
        raise PaymentRefused(
            f"the payer may take the rest back in {max(channel.valid_until - now_s, 0)} s: close "
            "the channel now, or have its time extended"
        )
    return payment.amount - taken


def _signer_of(payment: Payment) -> Address | None:
    signature = payment.signature
    if signature[64] not in (27, 28):
        return None
    try:
        return recover_address_compact(
            payment.digest(), signature[:64] + bytes([signature[64] - 27])
        )
    except CryptoError:
        return None


class Till:
    """The newest accepted message of each channel, in a file that is replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._payments: dict[tuple[int, Address, int], Payment] = {}
        if path.exists():
            for payment in self._read():
                self._payments[payment.chain_id, payment.contract, payment.channel_id] = payment

    def _read(self) -> list[Payment]:
        try:
            documents = json.loads(self._path.read_text())
            if not isinstance(documents, list) or len(documents) > TILL_CHANNELS_MAX:
                raise ValueError("expected a list of messages")
            return [Payment.from_json(document) for document in documents]
        except (ValueError, RecursionError, PaymentRefused) as error:
            raise NodeError(f"{self._path}: this is no till: {error}") from error

    def newest(self, chain_id: int, contract: Address, channel_id: int) -> Payment | None:
        return self._payments.get((chain_id, contract, channel_id))

    def keep(self, payment: Payment) -> None:
        """Put a checked message in; on disk when this returns. Raises NodeError."""
        kept = dict(self._payments)
        kept[payment.chain_id, payment.contract, payment.channel_id] = payment
        text = json.dumps([one.to_json() for one in kept.values()], indent=1)
        fresh = self._path.with_name(self._path.name + ".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the new name is on disk, too
        finally:
            os.close(folder)
        self._payments = kept
