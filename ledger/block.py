"""Blocks: London's header, the body, and the certificate that makes a block final.

The header is sixteen items, RLP, hash = keccak(RLP). Under QBFT `extra_data` is the hash of the
validators who may finalise this block and `mix_hash` that of the next block's; the round is in the
certificate alone, so that a block proposed again keeps its hash. A certificate stands beside its
block, never in its hash: two honest nodes may hold different ones. Who may have signed it is
checked in `light`, what is in the state in `transition`.
Sources: Yellow Paper section 4.4, EIP-1559; DESIGN.md section 2 for the certificate.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from ledger.crypto.keccak import keccak256
from ledger.encoding import rlp
from ledger.encoding.packed import pack, unpack, unpack_items
from ledger.errors import EncodingError
from ledger.transaction import Transaction, decode_transaction
from ledger.types import Address, Hash32, Height

EMPTY_OMMERS_HASH = keccak256(rlp.encode([]))
VALIDATORS_MAX = 100  # one round of votes of more no longer fits a Pi's round timeout
SIGNATURE_BYTES = 65

COMMIT_DOMAIN = keccak256(b"wattledger/commit/1")

# Bytes of each item; not named here are integers and extra_data, of at most 32 (as web3.py has it).
_HEADER_SIZES = {
    "parent_hash": 32,
    "ommers_hash": 32,
    "coinbase": 20,
    "state_root": 32,
    "transactions_root": 32,
    "receipts_root": 32,
    "bloom": 256,
    "mix_hash": 32,
    "nonce": 8,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Hashes have 32 bytes, the bloom 256; timestamp in Unix seconds, base fee in wei per gas."""

    parent_hash: Hash32
    ommers_hash: Hash32 = EMPTY_OMMERS_HASH
    coinbase: Address
    state_root: Hash32
    transactions_root: Hash32
    receipts_root: Hash32
    bloom: bytes
    difficulty: int = 1
    number: Height
    gas_limit: int
    gas_used: int
    timestamp: int
    extra_data: bytes
    mix_hash: Hash32
    nonce: bytes = bytes(8)
    base_fee: int
    _made: list[bytes] = field(default_factory=list, init=False, repr=False, compare=False)

    FIELDS: ClassVar[tuple[str, ...]]
    """The names of the sixteen items, in order."""

    @property
    def hash(self) -> Hash32:
        """The block's hash; computed once."""
        if len(self._made) < 2:
            self._made.append(keccak256(self.encode()))
        return self._made[1]

    def encode(self) -> bytes:
        """The sixteen items in RLP; computed once."""
        if not self._made:
            values = [getattr(self, name) for name in self.FIELDS]
            items = [one if isinstance(one, bytes) else rlp.encode_uint(one) for one in values]
            self._made.append(rlp.encode(items))
        return self._made[0]


Header.FIELDS = tuple(item.name for item in fields(Header) if item.init)


@dataclass(frozen=True, slots=True)
class Block:
    """A header and the transactions whose root it names."""

    header: Header
    transactions: tuple[Transaction, ...]

    @property
    def hash(self) -> Hash32:
        return self.header.hash

    @property
    def number(self) -> Height:
        return self.header.number


@dataclass(frozen=True, slots=True)
class Certificate:
    """Commit signatures, 65 bytes each (r || s || y parity), over one block in one round."""

    height: Height
    round: int
    block_hash: Hash32
    signatures: tuple[bytes, ...]

    def encode(self) -> bytes:
        """msgpack (height, round, block hash, signatures)."""
        return pack((self.height, self.round, self.block_hash, self.signatures))


def decode_header(data: bytes) -> Header:
    """The header whose RLP `data` is. Raises EncodingError."""
    header = _header_of(rlp.decode(data))
    header._made.extend((data, keccak256(data)))  # the only RLP there is of it
    return header


def encode_block(block: Block) -> bytes:
    """[header, transactions, no ommers] in RLP; a typed transaction is a byte string in it."""
    transactions = b"".join(
        tx.raw if tx.type == 0 else rlp.encode_bytes(tx.raw) for tx in block.transactions
    )
    body = rlp.encode_list_payload(transactions)
    return rlp.encode_list_payload(block.header.encode() + body + b"\xc0")


def decode_block(
    data: bytes, get_known: Callable[[Hash32], Transaction | None] | None = None
) -> Block:
    """The block whose RLP `data` is; `get_known` as in `decode_body`. Raises EncodingError.

    Nothing but the form is checked, and the form of its transactions (InvalidTransaction).
    """
    # Transactions are cut out whole: those that the pool knows need not be taken apart again.
    parts = rlp.split_list(data)
    if len(parts) != 3 or parts[2] != b"\xc0":
        raise EncodingError("a block is the list (header, transactions, no ommers)")
    raws: list[bytes] = []
    for item in rlp.split_list(parts[1]):
        if item[0] < 0xC0:
            typed = rlp.decode(item)
            if not isinstance(typed, bytes) or not typed or typed[0] >= 0xC0:
                raise EncodingError("block: a transaction of type 0 stands in it as a list")
            item = typed
        raws.append(item)
    return Block(_header_of(rlp.decode_list(parts[0])), _decode_raws(raws, get_known))


def encode_body(transactions: Iterable[Transaction]) -> bytes:
    """msgpack of the raw transactions: what the store keeps beside the header."""
    return pack([transaction.raw for transaction in transactions])


def decode_body(
    data: bytes, get_known: Callable[[Hash32], Transaction | None] | None = None
) -> tuple[Transaction, ...]:
    """The transactions that `encode_body` wrote.

    `get_known` gives the pool's copy of a transaction hash, whose sender is recovered already;
    recovering is the dearest step of importing a block. Raises EncodingError, InvalidTransaction.
    """
    raws = unpack(data, "block body")
    if not isinstance(raws, tuple) or not all(type(raw) is bytes for raw in raws):
        raise EncodingError("a block body is a list of raw transactions")
    return _decode_raws(raws, get_known)


def decode_certificate(data: bytes) -> Certificate:
    """The certificate that `data` packs; whether it proves anything is `light`'s question.

    Raises EncodingError, also for more signatures than there can be validators.
    """
    height, round_, block_hash, signatures = unpack_items(
        data, "certificate", int, int, bytes, tuple
    )
    if not (0 <= height < 2**64 and 0 <= round_ < 2**64 and len(block_hash) == 32):
        raise EncodingError("certificate: height, round or block hash are out of range")
    if len(signatures) > VALIDATORS_MAX:
        raise EncodingError(f"certificate: {len(signatures)} signatures, at most {VALIDATORS_MAX}")
    if not all(type(item) is bytes and len(item) == SIGNATURE_BYTES for item in signatures):
        raise EncodingError(f"certificate: a signature has {SIGNATURE_BYTES} bytes")
    return Certificate(height, round_, block_hash, signatures)


def validators_hash(validators: Iterable[Address]) -> Hash32:
    """keccak(RLP(sorted validators)): what `extra_data` and `mix_hash` of a header hold."""
    return keccak256(rlp.encode(sorted(validators)))


def quorum(validator_count: int) -> int:
    """The fewest signatures that finalise a block: ceil(2n/3)."""
    return -(-2 * validator_count // 3)


def commit_digest(
    chain_id: int, genesis_hash: Hash32, height: Height, round_: int, block_hash: Hash32
) -> Hash32:
    """What a validator signs to commit: keccak(abi.encode(domain, ...)), integers as uint256."""
    words = (chain_id.to_bytes(32, "big"), genesis_hash, height.to_bytes(32, "big"))
    return keccak256(b"".join((COMMIT_DOMAIN, *words, round_.to_bytes(32, "big"), block_hash)))


def _header_of(items: rlp.Decoded) -> Header:
    if not isinstance(items, list) or len(items) != len(Header.FIELDS):
        raise EncodingError(f"a header is a list of {len(Header.FIELDS)} items")
    values: dict[str, Any] = {}
    for name, item in zip(Header.FIELDS, items, strict=True):
        size = _HEADER_SIZES.get(name)
        if not isinstance(item, bytes) or len(item) > (size or 32) or len(item) < (size or 0):
            raise EncodingError(f"header: {name} has a wrong size")
        values[name] = item if size or name == "extra_data" else rlp.decode_uint(item)
    return Header(**values)


def _decode_raws(
    raws: Iterable[bytes], get_known: Callable[[Hash32], Transaction | None] | None
) -> tuple[Transaction, ...]:
    transactions: list[Transaction] = []
    for raw in raws:
        digest = keccak256(raw)
        known = None if get_known is None else get_known(digest)
        transactions.append(decode_transaction(raw, digest) if known is None else known)
    return tuple(transactions)
