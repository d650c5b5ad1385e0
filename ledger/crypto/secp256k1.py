"""ECDSA on secp256k1: sign, verify, recover. Low s only, everywhere.

Public keys are 64 bytes (x || y), private keys and digests 32 bytes, a compact signature 65 bytes
(r || s || y parity as 0 or 1). Nonces are those of RFC 6979, so signing needs no randomness.
Source: SEC 1 section 4.1, SEC 2 section 2.4.1, Ethereum's Yellow Paper appendix F, EIP-2 (low s).
The arithmetic is libsecp256k1's, through coincurve; it lets the interpreter lock go while it works.
"""

from functools import lru_cache

from coincurve import PrivateKey, PublicKey

from ledger.crypto.keccak import keccak256
from ledger.errors import InvalidKey, InvalidSignature
from ledger.types import Address

CURVE_ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
HALF_CURVE_ORDER = CURVE_ORDER // 2
"""The largest s: without this bound anybody could turn a signature into a second valid one."""

SIGNATURE_BYTES = 65
_PRIVATE_KEYS_KEPT = 64
"""Making a key object computes its public key, 50 us; a process signs with a handful of keys."""


@lru_cache(maxsize=_PRIVATE_KEYS_KEPT)
def _load_private_key(private_key: bytes) -> PrivateKey:
    if len(private_key) != 32 or not 0 < int.from_bytes(private_key, "big") < CURVE_ORDER:
        raise InvalidKey("a private key is 32 bytes, above zero and below the order of secp256k1")
    return PrivateKey(private_key)


def _load_public_key(public_key: bytes) -> PublicKey:
    if len(public_key) != 64:
        raise InvalidKey(f"a public key is 64 bytes (x and y), got {len(public_key)}")
    try:
        return PublicKey(b"\x04" + public_key)
    except ValueError as error:
        raise InvalidKey("this public key is not a point of secp256k1") from error


def public_key(private_key: bytes) -> bytes:
    """The 64-byte public key of a private key. Raises InvalidKey."""
    return bytes(_load_private_key(private_key).public_key.format(compressed=False)[1:])


def sign_compact(private_key: bytes, digest: bytes) -> bytes:
    """The 65-byte signature r || s || y parity of a 32-byte digest. Raises InvalidKey."""
    _check_digest(digest)
    return bytes(_load_private_key(private_key).sign_recoverable(digest, hasher=None))


def sign(private_key: bytes, digest: bytes) -> tuple[int, int, int]:
    """Sign a 32-byte digest: (y parity, r, s) with s low. Raises InvalidKey."""
    signature = sign_compact(private_key, digest)
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    return signature[64], r, s


def verify(public_key: bytes, digest: bytes, r: int, s: int) -> bool:
    """Whether (r, s) signs `digest` for this 64-byte key. High s is no signature. InvalidKey."""
    _check_digest(digest)
    key = _load_public_key(public_key)
    if not (0 < r < CURVE_ORDER and 0 < s <= HALF_CURVE_ORDER):
        return False
    return bool(key.verify(_encode_der(r, s), digest, hasher=None))


def recover(digest: bytes, y_parity: int, r: int, s: int) -> bytes:
    """The 64-byte public key whose owner signed `digest`.

    Raises InvalidSignature if r or s are out of range, s is high, the parity is neither 0 nor 1,
    or no key could have made the signature.
    """
    if not (0 < r < CURVE_ORDER and 0 < s < CURVE_ORDER):
        raise InvalidSignature("invalid signature: r and s must be above zero and below the order")
    if y_parity != 0 and y_parity != 1:
        raise InvalidSignature(f"invalid signature: y parity must be 0 or 1, got {y_parity}")
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big") + (b"\x01" if y_parity else b"\x00")
    return _recover(digest, signature, s)


def recover_address(digest: bytes, y_parity: int, r: int, s: int) -> Address:
    """The address of who signed `digest`; errors as in `recover`."""
    return keccak256(recover(digest, y_parity, r, s))[12:]


def recover_address_compact(digest: bytes, signature: bytes) -> Address:
    """The address of who made this 65-byte signature (r || s || y parity); errors as `recover`."""
    if len(signature) != SIGNATURE_BYTES or signature[64] > 1:
        raise InvalidSignature(
            "invalid signature: expected r, s and a y parity of 0 or 1, 65 bytes"
        )
    return keccak256(_recover(digest, signature, int.from_bytes(signature[32:64], "big")))[12:]


def _recover(digest: bytes, signature: bytes, s: int) -> bytes:
    if s > HALF_CURVE_ORDER:
        raise InvalidSignature("invalid signature: s is in the upper half of the curve order")
    _check_digest(digest)
    try:
        key = PublicKey.from_signature_and_message(signature, digest, hasher=None)
    except ValueError as error:
        raise InvalidSignature("invalid signature: no key could have made it") from error
    return bytes(key.format(compressed=False)[1:])


def _check_digest(digest: bytes) -> None:
    if len(digest) != 32:
        raise InvalidSignature(f"what is signed is a 32-byte digest, got {len(digest)} bytes")


def _encode_der(r: int, s: int) -> bytes:
    """SEQUENCE of two INTEGERs, each as short as it goes with the sign bit clear."""
    body = b"".join(
        b"\x02" + bytes([len(number)]) + number
        for number in (value.to_bytes(value.bit_length() // 8 + 1, "big") for value in (r, s))
    )
    return b"\x30" + bytes([len(body)]) + body
