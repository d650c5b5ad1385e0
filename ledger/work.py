"""Proof of work at a fixed difficulty: what seals a header, and how much work that took.

The seal hash is the hash of a header without mixHash and nonce, as in Ethereum's ethash. A nonce
seals a header if its digest, keccak(seal hash . nonce) as an integer, is at most 2**256 / D, and
mixHash is that digest. D never changes on a chain, so a branch's work is D for each of its blocks
and the heaviest branch is the longest. Not here: which branch is followed (`branches`), who looks
for nonces (the miner of a node). Sources: Yellow Paper section 4.4.3; DESIGN.md section 2.
"""

from dataclasses import replace

from ledger.block import Header
from ledger.crypto.keccak import keccak256
from ledger.encoding import rlp
from ledger.errors import InvalidBlock
from ledger.types import Hash32

NONCE_BYTES = 8
SETTLED_BLOCKS = 12
"""A block with so many on top counts as settled: who mines against the others with a tenth of the
network's rate rewrites it once in 11 million times, with a fifth in 3,400, with a quarter in 285
(Nakamoto 2008, section 11). Blocks are mined until the last transaction is settled; then a quiet
chain rests."""

_SEALED_FIELDS = tuple(name for name in Header.FIELDS if name not in ("mix_hash", "nonce"))


def compute_seal_hash(header: Header) -> Hash32:
    """What the nonce is searched for."""
    values = [getattr(header, name) for name in _SEALED_FIELDS]
    return keccak256(
        rlp.encode(
            [value if isinstance(value, bytes) else rlp.encode_uint(value) for value in values]
        )
    )


def compute_digest(seal_hash: Hash32, nonce: bytes) -> Hash32:
    """keccak(seal hash . nonce), the nonce in 8 bytes."""
    return keccak256(seal_hash + nonce)


def compute_target(difficulty: int) -> bytes:
    """2**256 / D in 32 bytes, big-endian: the largest digest that seals. D is at least 1."""
    return min(2**256 // difficulty, 2**256 - 1).to_bytes(32, "big")


def seal(header: Header, nonce: bytes) -> Header:
    """The header with this nonce and its digest, whether that is small enough or not."""
    digest = compute_digest(compute_seal_hash(header), nonce)
    return replace(header, mix_hash=digest, nonce=nonce)


def check_work(header: Header, difficulty: int) -> None:
    """Raises InvalidBlock unless the header was sealed at this difficulty."""
    if header.difficulty != difficulty:
        raise InvalidBlock(
            f"block {header.number}: difficulty {header.difficulty}, this chain has {difficulty}"
        )
    if header.mix_hash != compute_digest(compute_seal_hash(header), header.nonce):
        raise InvalidBlock(f"block {header.number}: mixHash is not the digest of its nonce")
    if header.mix_hash > compute_target(difficulty):
        raise InvalidBlock(f"block {header.number}: its digest shows less work than {difficulty}")
