"""Addresses: 20 bytes, the tail of a Keccak digest, written with a checksum in the letters' case.

Source: Yellow Paper, equations 84 (contract addresses) and 323 (of keys); EIP-55 (checksum).
"""

from functools import lru_cache

from ledger.crypto.keccak import keccak256
from ledger.crypto.secp256k1 import public_key
from ledger.encoding.hexadecimal import decode_data
from ledger.encoding.rlp import encode, encode_uint
from ledger.errors import EncodingError, InvalidKey
from ledger.types import Address

ADDRESS_BYTES = 20
ZERO_ADDRESS: Address = bytes(ADDRESS_BYTES)
_CHECKSUMS_KEPT = 4_096
"""A page of logs names the same few meters again and again; an entry is some 200 bytes."""


@lru_cache(maxsize=_CHECKSUMS_KEPT)
def to_checksum(address: Address) -> str:
    """0x and 40 digits, letters in upper case where EIP-55 says so. Raises InvalidKey."""
    if len(address) != ADDRESS_BYTES:
        raise InvalidKey(f"an address has {ADDRESS_BYTES} bytes, got {len(address)}")
    digits = address.hex()
    nibbles = keccak256(digits.encode("ascii")).hex()
    return "0x" + "".join(
        digit.upper() if nibble >= "8" else digit
        for digit, nibble in zip(digits, nibbles, strict=False)
    )


def parse_address(text: str) -> Address:
    """The 20 bytes of 0x and 40 digits; a mixed-case text must carry a right checksum.

    Raises InvalidKey saying what is wrong.
    """
    if not isinstance(text, str) or len(text) != 42 or text[:2] not in ("0x", "0X"):
        raise InvalidKey(f"an address is 0x and 40 hex digits, got {text!r:.60}")
    digits = text[2:]
    try:
        address = decode_data(text, ADDRESS_BYTES)
    except EncodingError as error:
        raise InvalidKey(f"an address is 0x and 40 hex digits, got {text!r}") from error
    if digits not in (digits.lower(), digits.upper()) and to_checksum(address)[2:] != digits:
        raise InvalidKey(
            f"the checksum of address {text} is wrong: a digit or the case of a letter changed"
        )
    return address


def address_of_public_key(public_key: bytes) -> Address:
    """The address of a 64-byte public key."""
    if len(public_key) != 64:
        raise InvalidKey(f"a public key is 64 bytes (x and y), got {len(public_key)}")
    return keccak256(public_key)[12:]


def address_of(private_key: bytes) -> Address:
    """The address of a 32-byte private key. Raises InvalidKey."""
    return address_of_public_key(public_key(private_key))


def contract_address(sender: Address, nonce: int) -> Address:
    """Where a creation by `sender` with this nonce puts its contract."""
    return keccak256(encode([sender, encode_uint(nonce)]))[12:]
