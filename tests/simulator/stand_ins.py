"""What stands in for the dear parts in a simulation: signatures, and blocks without a state.

A stand-in signature is the author's address and a keyed hash of the digest: as unforgeable as the
real one for nodes that know only their own key, and two hundred times cheaper. One test runs the
same worlds with secp256k1.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from random import Random
from unittest import mock

from ledger.block import Block, Header
from ledger.consensus import messages
from ledger.crypto.address import address_of
from ledger.errors import InvalidSignature

GENESIS_HASH = bytes(31) + b"\x01"
CHAIN_ID = 1947
ROOT = bytes(32)
KEYS = {address_of(key): key for key in (bytes([0] * 31 + [i]) for i in range(1, 41))}
"""Forty keys by address, in the order of their numbers."""


def sign(private_key: bytes, digest: bytes) -> bytes:
    author = _ADDRESSES[private_key]
    return author + hashlib.blake2b(digest, key=private_key, digest_size=45).digest()


class Recovered:
    """How many signatures were recovered so far, by anybody."""

    count = 0


def recover(digest: bytes, signature: bytes) -> bytes:
    Recovered.count += 1
    author = signature[:20]
    if author not in KEYS or sign(KEYS[author], digest) != signature:
        raise InvalidSignature("invalid signature: no key could have made it")
    return author


_ADDRESSES = {key: address for address, key in KEYS.items()}


@contextmanager
def cheap_signatures() -> Iterator[None]:
    """Within this, signatures are stand-ins, and a message is decoded once for all who get it."""
    decode = lru_cache(maxsize=1_000)(messages.decode_message)
    with (
        mock.patch("ledger.consensus.qbft.decode_message", decode),
        mock.patch("tests.simulator.node.decode_message", decode),
        mock.patch.object(messages, "sign_compact", sign),
        mock.patch.object(messages, "recover_address_compact", recover),
        mock.patch("ledger.light.recover_address_compact", recover),
    ):
        yield


def make_block(
    parent_hash: bytes, number: int, coinbase: bytes, timestamp: int, random: Random
) -> Block:
    """An empty block like no other."""
    return Block(
        Header(
            parent_hash=parent_hash,
            coinbase=coinbase,
            state_root=ROOT,
            transactions_root=ROOT,
            receipts_root=ROOT,
            bloom=bytes(256),
            number=number,
            gas_limit=15_000_000,
            gas_used=0,
            timestamp=timestamp,
            extra_data=random.randbytes(8),
            mix_hash=ROOT,
            base_fee=0,
        ),
        (),
    )
