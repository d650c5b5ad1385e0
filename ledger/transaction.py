"""Transactions of types 0 (EIP-155), 1 (EIP-2930) and 2 (EIP-1559), as any wallet signs them.

    type 0    rlp([nonce, gasPrice, gas, to, value, data, v, r, s]), v = 35 + 2 * chainId + parity
    type 1    01 . rlp([chainId, nonce, gasPrice, gas, to, value, data, accessList, parity, r, s])
    type 2    02 . rlp([chainId, nonce, maxPriorityFee, maxFee, gas, to, value, data, accessList,
                        parity, r, s])

What is signed is the same without the last three items (type 0: with chainId, 0, 0 in their place),
so the digest is made from a slice of the raw bytes and nothing is encoded again. Whether a
transaction may run on a state is `transition`'s question, whether it may wait the `pool`'s.
Sources: Yellow Paper section 4.2 and 6.2, EIP-155, EIP-2718, EIP-2930, EIP-1559, EIP-2681.
"""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

from ledger.crypto.keccak import keccak256
from ledger.crypto.secp256k1 import recover_address, sign
from ledger.encoding import rlp
from ledger.errors import EncodingError, InvalidSignature, InvalidTransaction, TransactionTooLarge
from ledger.types import Address, Hash32

AccessList = tuple[tuple[Address, tuple[bytes, ...]], ...]
"""(address, 32-byte storage keys) that the sender pays for in advance."""

MAX_TRANSACTION_BYTES = 131_072
"""As geth's pool: a flood of large transactions is bounded by their number times this."""

NONCE_MAX = 2**64 - 2  # EIP-2681: the account's nonce, one more, must still fit 64 bits
GAS_MAX = 2**64 - 1
WORD_BYTES = 32  # fees, values and signatures are words

GAS_TRANSACTION = 21_000
GAS_CREATION = 32_000
GAS_ZERO_BYTE = 4
GAS_NONZERO_BYTE = 16
GAS_ACCESS_ADDRESS = 2_400
GAS_ACCESS_KEY = 1_900

_WORDS_BEFORE = (  # the recipient, by type
    ("nonce", "gas price", "gas"),
    ("chain id", "nonce", "gas price", "gas"),
    ("chain id", "nonce", "priority fee", "fee", "gas"),
)
_SIGNATURE_WORDS = ("y parity or v", "r", "s")

RECOVERIES_PER_CHUNK = 16
"""Some 0.7 ms of work: enough to hide the hand-over to a thread, and 200 still fill every core."""


@dataclass(slots=True, eq=False, repr=False)
class Transaction:
    """A signed transaction, never changed once made; derived values are computed when first read.

    Integers are in wei and gas. Types 0 and 1 have one gas price: `max_fee` and `max_priority_fee`
    are both that. `to` is None in a contract creation. `raw` is what goes over the wire, into a
    block body and through the hash.
    """

    raw: bytes
    type: int
    chain_id: int
    nonce: int
    max_priority_fee: int
    max_fee: int
    gas: int
    to: Address | None
    value: int
    data: bytes
    access_list: AccessList
    y_parity: int
    r: int
    s: int
    _hash: Hash32 | None = field(default=None, init=False)
    _sender: Address | None = field(default=None, init=False)
    _intrinsic_gas: int = field(default=0, init=False)

    @property
    def hash(self) -> Hash32:
        """Keccak of the raw bytes."""
        digest = self._hash
        if digest is None:
            digest = self._hash = keccak256(self.raw)
        return digest

    @property
    def sender(self) -> Address:
        """Who signed it. Raises InvalidSignature, high s included."""
        sender = self._sender
        if sender is None:
            sender = self._sender = recover_address(
                self.compute_signing_digest(), self.y_parity, self.r, self.s
            )
        return sender

    def learn(self, digest: Hash32, sender: Address) -> None:
        """Take over what another process derived from these bytes; a sender of zeros is none."""
        self._hash, self._sender = digest, sender if any(sender) else None

    @property
    def gas_price(self) -> int:
        """The price of types 0 and 1; of type 2 the most it pays."""
        return self.max_fee

    def effective_gas_price(self, base_fee: int) -> int:
        """What each gas costs the sender in a block with this base fee."""
        return min(self.max_fee, base_fee + self.max_priority_fee)

    def intrinsic_gas(self) -> int:
        """Gas used before anything runs (Yellow Paper equation 60, London)."""
        if self._intrinsic_gas:
            return self._intrinsic_gas
        data = self.data
        zeros = data.count(0)
        gas = GAS_TRANSACTION + GAS_ZERO_BYTE * zeros + GAS_NONZERO_BYTE * (len(data) - zeros)
        if self.to is None:
            gas += GAS_CREATION
        for _, keys in self.access_list:
            gas += GAS_ACCESS_ADDRESS + GAS_ACCESS_KEY * len(keys)
        self._intrinsic_gas = gas
        return gas

    def compute_signing_digest(self) -> Hash32:
        """What the sender signed, from a slice of the raw bytes."""
        raw = self.raw
        start = 1 if self.type else 0
        prefix = raw[start]
        start += 1 if prefix < 0xF8 else prefix - 0xF6
        end = len(raw) - _encoded_size(self.r) - _encoded_size(self.s)
        if self.type:
            end -= 1  # the parity, 0x80 or 0x01
            return keccak256(raw[:1] + rlp.encode_list_payload(raw[start:end]))
        end -= _encoded_size(_legacy_v(self.chain_id, self.y_parity))
        tail = rlp.encode_bytes(rlp.encode_uint(self.chain_id)) + b"\x80\x80"
        return keccak256(rlp.encode_list_payload(raw[start:end] + tail))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Transaction) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"Transaction(type={self.type}, nonce={self.nonce}, hash=0x{self.hash.hex()})"


def decode_transaction(raw: bytes, digest: Hash32 | None = None) -> Transaction:
    """The transaction whose wire form `raw` is; its signature is checked when `sender` is read.

    `digest` is the hash of `raw` where the caller has it already.

    Raises TransactionTooLarge above MAX_TRANSACTION_BYTES, InvalidTransaction for a type or a
    signature form that this chain does not take, EncodingError for anything malformed.
    """
    if len(raw) > MAX_TRANSACTION_BYTES:
        raise TransactionTooLarge(len(raw), MAX_TRANSACTION_BYTES)
    kind = raw[0] if raw else 0
    if kind >= 0xC0:
        kind = 0
    elif kind not in (1, 2):
        raise InvalidTransaction(f"transaction type not supported: {kind}")
    try:
        return _decode(raw, kind)
    except IndexError as error:
        raise EncodingError("transaction: it ends before its last item") from error


def _decode(raw: bytes, kind: int) -> Transaction:
    """The items one after the other, without a list of them between: every transaction that a
    node hears of passes here. Raises IndexError past the end."""
    position = _find_first_item(raw, 1 if kind else 0)
    words, position = _read_words(raw, position, _WORDS_BEFORE[kind])
    if kind == 2:
        chain_id, nonce, max_priority_fee, max_fee, gas = words
    else:
        *chain_ids, nonce, max_fee, gas = words
        max_priority_fee = max_fee
        chain_id = chain_ids[0] if kind else 0  # in type 0 a part of v, which comes last
    if nonce > NONCE_MAX:
        raise InvalidTransaction(f"nonce has max value: {nonce}, at most {NONCE_MAX}")
    if gas > GAS_MAX:
        raise InvalidTransaction(f"gas uint64 overflow: {gas}, at most {GAS_MAX}")
    to, position = _read_string(raw, position)
    if len(to) not in (0, 20):
        raise EncodingError("transaction: `to` must be 20 bytes, or empty to create a contract")
    (value,), position = _read_words(raw, position, ("value",))
    data, position = _read_string(raw, position)
    access_list: AccessList = ()
    if kind and raw[position] == 0xC0:
        position += 1
    elif kind:
        access_list, position = _read_access_list(raw, position)
    (parity, r, s), position = _read_words(raw, position, _SIGNATURE_WORDS)
    if position != len(raw):
        raise EncodingError(f"transaction: its items take {position} of {len(raw)} bytes")
    if not kind:
        chain_id, parity = _split_v(parity)
    elif parity > 1:
        raise EncodingError(f"transaction: the y parity must be 0 or 1, got {parity}")
    # fmt: off
    return Transaction(
        raw, kind, chain_id, nonce, max_priority_fee, max_fee, gas, to or None, value, data,
        access_list, parity, r, s,
    )
    # fmt: on


def sign_transaction(
    private_key: bytes,
    *,
    chain_id: int,
    nonce: int,
    to: Address | None,
    gas: int,
    data: bytes = b"",
    value: int = 0,
    gas_price: int | None = None,
    max_fee: int | None = None,
    max_priority_fee: int | None = None,
    access_list: Sequence[tuple[Address, Sequence[bytes]]] = (),
    type: int | None = None,
) -> Transaction:
    """Make and sign a transaction.

    Without `type` it is 0 with a gas price, 1 with a gas price and an access list, else 2 (fees 0
    if not given). Raises InvalidKey for the key and InvalidTransaction for fees of another type.
    """
    if type is None:
        type = 2 if gas_price is None else (1 if access_list else 0)
    if type not in (0, 1, 2):
        raise InvalidTransaction(f"transaction type not supported: {type}")
    if (type == 2) != (gas_price is None) or (type != 2 and (max_fee or max_priority_fee)):
        raise InvalidTransaction("types 0 and 1 take gas_price, type 2 max_fee, max_priority_fee")
    if type == 0 and access_list:
        raise InvalidTransaction("a transaction of type 0 has no access list")
    uint = rlp.encode_uint
    call: list[rlp.Item] = [uint(gas), to or b"", uint(value), data]
    if type == 0:
        items = [uint(nonce), uint(gas_price or 0), *call]
        digest = keccak256(rlp.encode([*items, uint(chain_id), b"", b""]))
        y_parity, r, s = sign(private_key, digest)
        signature = [uint(_legacy_v(chain_id, y_parity)), uint(r), uint(s)]
        return decode_transaction(rlp.encode([*items, *signature]))
    fees = (
        [uint(gas_price or 0)]
        if type == 1
        else [uint(max_priority_fee or 0), uint(max_fee or max_priority_fee or 0)]
    )
    access: rlp.Item = [[address, list(keys)] for address, keys in access_list]
    items = [uint(chain_id), uint(nonce), *fees, *call, access]
    prefix = bytes([type])
    y_parity, r, s = sign(private_key, keccak256(prefix + rlp.encode(items)))
    return decode_transaction(prefix + rlp.encode([*items, uint(y_parity), uint(r), uint(s)]))


def recover_senders(transactions: Sequence[Transaction], executor: Executor | None = None) -> None:
    """Recover the senders not yet known, in chunks on `executor`, else here.

    A signature that recovers to nobody is left alone: reading that transaction's `sender` raises.
    """
    waiting = [tx for tx in transactions if tx._sender is None]
    claims = [(tx.compute_signing_digest(), tx.y_parity, tx.r, tx.s) for tx in waiting]
    chunks = [
        claims[start : start + RECOVERIES_PER_CHUNK]
        for start in range(0, len(claims), RECOVERIES_PER_CHUNK)
    ]
    run = map if executor is None or len(chunks) < 2 else executor.map
    senders = (sender for chunk in run(_recover_chunk, chunks) for sender in chunk)
    for transaction, sender in zip(waiting, senders, strict=True):
        transaction._sender = sender


def _recover_chunk(claims: list[tuple[Hash32, int, int, int]]) -> list[Address | None]:
    """Who made each (digest, y parity, r, s); None where nobody did."""
    senders: list[Address | None] = []
    for digest, y_parity, r, s in claims:
        try:
            senders.append(recover_address(digest, y_parity, r, s))
        except InvalidSignature:
            senders.append(None)  # raised again, with its reason, when `sender` is read
    return senders


def _find_first_item(raw: bytes, position: int) -> int:
    """Where the items of the list at `position` begin; the list must end where `raw` does."""
    start = position + 1
    prefix = raw[position]
    size = prefix - 0xC0
    if prefix >= 0xF8:
        start += prefix - 0xF7
        size = int.from_bytes(raw[position + 1 : start], "big")
    if prefix < 0xC0 or start + size != len(raw) or (prefix >= 0xF8 and size < 56):
        raise EncodingError("transaction: it is not one RLP list of the length it says")
    if prefix >= 0xF8 and raw[position + 1] == 0:
        raise EncodingError("transaction: the length of its list has a leading zero")
    return start


def _read_words(raw: bytes, position: int, names: tuple[str, ...]) -> tuple[list[int], int]:
    """Integers in their one canonical form, of at most 32 bytes, and where they end."""
    words: list[int] = []
    append, from_bytes = words.append, int.from_bytes
    for name in names:
        prefix = raw[position]
        position += 1
        if prefix == 0x80:
            append(0)
        elif prefix < 0x80 and prefix:
            append(prefix)
        else:
            end = position + prefix - 0x80
            first = raw[position]
            if (
                prefix > 0x80 + WORD_BYTES
                or not (prefix and first)
                or (prefix == 0x81 and first < 0x80)
            ):
                raise EncodingError(
                    f"transaction: its {name} must be an integer of at most {WORD_BYTES} bytes "
                    "without leading zeros"
                )
            append(from_bytes(raw[position:end], "big"))
            position = end
    return words, position


def _read_string(raw: bytes, position: int) -> tuple[bytes, int]:
    """A byte string in its one canonical form, and where it ends."""
    prefix = raw[position]
    start = position + 1
    if prefix < 0x80:
        return raw[position:start], start
    if prefix < 0xB8:
        end = start + prefix - 0x80
        if prefix == 0x81 and raw[start] < 0x80:
            raise EncodingError("transaction: a single byte below 0x80 has no prefix in RLP")
        return raw[start:end], end
    start += prefix - 0xB7
    size = int.from_bytes(raw[position + 1 : start], "big")
    if prefix >= 0xC0 or size < 56 or raw[position + 1] == 0:
        raise EncodingError("transaction: bytes were due, with their length in its shortest form")
    return raw[start : start + size], start + size


def _read_access_list(raw: bytes, position: int) -> tuple[AccessList, int]:
    """[[20 bytes, [32 bytes, ...]], ...], and where it ends."""
    prefix = raw[position]
    end = position + 1 + prefix - 0xC0
    if prefix >= 0xF8:
        start = position + 1 + prefix - 0xF7
        end = start + int.from_bytes(raw[position + 1 : start], "big")
    item = rlp.decode(raw[position:end]) if prefix >= 0xC0 else b""
    entries: list[tuple[Address, tuple[bytes, ...]]] = []
    for entry in item if isinstance(item, list) else [b""]:
        match entry:
            case [bytes() as address, list() as keys] if len(address) == 20:
                slots = tuple(key for key in keys if isinstance(key, bytes) and len(key) == 32)
                if len(slots) == len(keys):
                    entries.append((address, slots))
                    continue
        raise EncodingError("transaction: the access list must be [[address, [key, ...]], ...]")
    return tuple(entries), end


def _split_v(v: int) -> tuple[int, int]:
    """The chain id and the y parity in a v of EIP-155."""
    if v in (27, 28):
        raise InvalidTransaction("only replay-protected (EIP-155) transactions allowed over RPC")
    if v < 35:
        raise EncodingError(f"transaction: v must be 35 + 2 * chain id + parity, got {v}")
    return divmod(v - 35, 2)


def _legacy_v(chain_id: int, y_parity: int) -> int:
    return 35 + 2 * chain_id + y_parity


def _encoded_size(number: int) -> int:
    """Bytes of an integer's RLP."""
    return 1 if number < 0x80 else 1 + (number.bit_length() + 7) // 8
