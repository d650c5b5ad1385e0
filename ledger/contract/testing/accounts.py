"""Accounts by name: an address that prints as its name, and the key that signs for it.

The same name is the same account in every run. Not here: what an account owns (`chain`).
"""

from functools import cache

from ledger.crypto.address import address_of
from ledger.crypto.keccak import keccak256
from ledger.crypto.secp256k1 import sign_compact
from ledger.types import Address


class Named(bytes):
    """An address that a person can read; equal to its 20 bytes."""

    name: str

    def __new__(cls, address: Address, name: str) -> "Named":
        made = super().__new__(cls, address)
        made.name = name
        _named[bytes(address)] = made
        return made

    def __repr__(self) -> str:
        return f"<{self.name} at 0x{self.hex()}>"

    def __str__(self) -> str:
        return repr(self)


class Account(Named):
    """An account of a person or a meter; `key` are the 32 bytes of its private key."""

    key: bytes

    def sign(self, digest: bytes) -> bytes:
        """The 65 bytes r || s || v over a 32-byte digest, v 27 or 28, as wallets give them."""
        signature = sign_compact(self.key, digest)
        return signature[:64] + bytes([27 + signature[64]])

    def __repr__(self) -> str:
        return f"make_account({self.name!r})"


_named: dict[bytes, Named] = {}


@cache
def make_account(name: str) -> Account:
    """The account of that name."""
    key = keccak256(b"wattledger test account " + name.encode())
    made = Account(address_of(key), name)
    assert isinstance(made, Account)
    made.key = key
    return made


def with_name(address: Address) -> Address:
    """The address, as the named one it is where it has a name."""
    return _named.get(address, address)
