"""Receipts: what a transaction did, the logs it left, and the bloom filter over them.

    type 0        rlp([status, cumulativeGasUsed, bloom, [[address, [topic, ...], data], ...]])
    type 1, 2     the type byte, then the same

Sources: Yellow Paper section 4.3.1, EIP-658 (status), EIP-2718 (typed receipts).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from ledger.crypto.keccak import keccak256
from ledger.encoding import rlp
from ledger.encoding.packed import pack, unpack
from ledger.errors import EncodingError
from ledger.types import Address

BLOOM_BYTES = 256
EMPTY_BLOOM = bytes(BLOOM_BYTES)

_BLOOM_PREFIX = b"\xb9\x01\x00"
_ADDRESS_PREFIX, _TOPIC_PREFIX = b"\x94", b"\xa0"  # 20 and 32 bytes

_BLOOM_ITEMS_KEPT = 2_048
"""A network's contracts, events and meters come again in every block; an entry has 400 bytes."""


class Log(NamedTuple):
    """An event: who emitted it, at most four 32-byte topics, ABI-encoded data."""

    address: Address
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(slots=True)
class Receipt:
    """Gas in gas units; `status` is 1 or 0. The last three fields are not part of the root.

    `output` is what a failed transaction returned: its revert data, for the client that asks why.
    """

    type: int
    status: int
    cumulative_gas_used: int
    bloom: bytes
    logs: tuple[Log, ...]
    gas_used: int = 0
    contract_address: Address | None = None
    output: bytes = b""

    def encode(self) -> bytes:
        """The bytes that enter the receipts root (EIP-2718)."""
        # Item by item, knowing their sizes: a third of the general encoder's time.
        status = b"\x01" if self.status else b"\x80"
        gas = rlp.encode_bytes(rlp.encode_uint(self.cumulative_gas_used))
        logs = rlp.encode_list_payload(b"".join([_encode_log(*log) for log in self.logs]))
        payload = rlp.encode_list_payload(b"".join((status, gas, _BLOOM_PREFIX, self.bloom, logs)))
        return bytes([self.type]) + payload if self.type else payload


def _encode_log(address: Address, topics: tuple[bytes, ...], data: bytes) -> bytes:
    joined = b"".join([_TOPIC_PREFIX + topic for topic in topics])
    return rlp.encode_list_payload(
        _ADDRESS_PREFIX + address + rlp.encode_list_payload(joined) + rlp.encode_bytes(data)
    )


@lru_cache(maxsize=_BLOOM_ITEMS_KEPT)
def compute_bloom_bits(item: bytes) -> int:
    """The three bits that an address or a topic sets, as a 2,048-bit number."""
    digest = keccak256(item)
    bits = 0
    for index in (0, 2, 4):
        bits |= 1 << (int.from_bytes(digest[index : index + 2], "big") & 2_047)
    return bits


def bloom_of(logs: Iterable[Log]) -> bytes:
    """The 256-byte filter of the addresses and topics of `logs`."""
    bits = 0
    for log in logs:
        bits |= compute_bloom_bits(log.address)
        for topic in log.topics:
            bits |= compute_bloom_bits(topic)
    return bits.to_bytes(BLOOM_BYTES, "big")


def bloom_has(bloom: bytes, item: bytes) -> bool:
    """Whether an address or topic may be in it; a `no` is certain."""
    bits = compute_bloom_bits(item)
    return int.from_bytes(bloom, "big") & bits == bits


def encode_receipts(receipts: Iterable[Receipt]) -> bytes:
    """A block's receipts for the store; gas of each and blooms are computed again on reading."""
    return pack(
        [
            (
                receipt.type,
                receipt.status,
                receipt.cumulative_gas_used,
                receipt.contract_address,
                receipt.output,
                receipt.logs,
            )
            for receipt in receipts
        ]
    )


def decode_receipts(data: bytes) -> tuple[Receipt, ...]:
    """What `encode_receipts` wrote. Raises EncodingError."""
    receipts: list[Receipt] = []
    gas_before = 0
    try:
        for kind, status, cumulative, contract_address, output, packed_logs in unpack(
            data, "list of receipts"
        ):
            logs = tuple(Log(address, topics, text) for address, topics, text in packed_logs)
            bloom = bloom_of(logs) if logs else EMPTY_BLOOM
            gas_used = cumulative - gas_before
            receipts.append(
                Receipt(kind, status, cumulative, bloom, logs, gas_used, contract_address, output)
            )
            gas_before = cumulative
    except (ValueError, TypeError) as error:
        raise EncodingError(f"these are not the receipts of a block: {error}") from error
    return tuple(receipts)
