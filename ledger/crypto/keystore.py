"""Web3 secret storage, version 3: a private key under a password, as wallets exchange it.

    derived key = scrypt or PBKDF2-HMAC-SHA256 (password, salt), 32 bytes
    ciphertext  = AES-128-CTR(derived key[0:16], iv, private key)
    mac         = Keccak-256(derived key[16:32] || ciphertext)

A dict in, a dict out: files belong to the caller, and so do the random bytes. The cost parameters
come from the file, so they are bounded before they are spent. Source: Ethereum, "Web3 Secret
Storage Definition".
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, cast
from uuid import UUID

from ledger.crypto.address import address_of
from ledger.crypto.keccak import keccak256
from ledger.errors import CryptoError, KeystoreError, WrongPassword

SCRYPT_N, SCRYPT_R, SCRYPT_P = 1 << 15, 8, 8
"""As hard as geth's default (n 2^18, r 8, p 1) in an eighth of its memory: 32 MiB, for a Pi."""
PBKDF2_ROUNDS = 1 << 20
SCRYPT_MEMORY_MAX = 512 << 20
"""128 n r bytes. The costliest files in use (geth's own) take 256 MiB."""
SCRYPT_WORK_MAX = 1 << 24
"""n r p; files in use have 2^21, about a second."""
PBKDF2_ROUNDS_MAX = 10_000_000
_HEX_DIGITS_MAX = 1_024


def encrypt_key(
    private_key: bytes,
    password: str,
    *,
    salt: bytes,
    iv: bytes,
    uuid: bytes,
    kdf: str = "scrypt",
    n: int = SCRYPT_N,
    r: int = SCRYPT_R,
    p: int = SCRYPT_P,
    rounds: int = PBKDF2_ROUNDS,
) -> dict[str, Any]:
    """The key file of a 32-byte private key, ready for JSON.

    `salt` (32 bytes), `iv` and `uuid` (16 each) are fresh random bytes. `kdf` is "scrypt" (n, r, p)
    or "pbkdf2" (rounds). Raises InvalidKey, and KeystoreError for parameters out of bounds.
    """
    if kdf == "scrypt":
        parameters = {"dklen": 32, "n": n, "r": r, "p": p, "salt": salt.hex()}
    else:
        parameters = {"dklen": 32, "c": rounds, "prf": "hmac-sha256", "salt": salt.hex()}
    address = address_of(private_key)
    derived = _derive(kdf, parameters, password)
    ciphertext = _aes_128_ctr(derived[:16], iv, private_key)
    return {
        "version": 3,
        "id": str(UUID(bytes=uuid, version=4)),
        "address": address.hex(),
        "crypto": {
            "cipher": "aes-128-ctr",
            "cipherparams": {"iv": iv.hex()},
            "ciphertext": ciphertext.hex(),
            "kdf": kdf,
            "kdfparams": parameters,
            "mac": keccak256(derived[16:32] + ciphertext).hex(),
        },
    }


def decrypt_key(keystore: Mapping[str, Any], password: str) -> bytes:
    """The 32-byte private key in a key file.

    Raises WrongPassword, and KeystoreError where the file is not one of version 3, asks for more
    work than the bounds allow, or names an address that is not its key's.
    """
    if str(keystore.get("version")) != "3":
        raise KeystoreError(f"key file of version {keystore.get('version')!r:.20}, expected 3")
    crypto = _mapping(keystore, "crypto" if "crypto" in keystore else "Crypto")
    if crypto.get("cipher") != "aes-128-ctr":
        raise KeystoreError(f"key file with cipher {crypto.get('cipher')!r:.40}, not aes-128-ctr")
    ciphertext = _hex(crypto, "ciphertext")
    derived = _derive(crypto.get("kdf"), _mapping(crypto, "kdfparams"), password)
    if not hmac.compare_digest(keccak256(derived[16:32] + ciphertext), _hex(crypto, "mac")):
        raise WrongPassword()
    iv = _hex(_mapping(crypto, "cipherparams"), "iv")
    private_key = _aes_128_ctr(derived[:16], iv, ciphertext)
    try:
        address = address_of(private_key)
    except CryptoError as error:
        raise KeystoreError("what the key file holds is no private key of secp256k1") from error
    if keystore.get("address") and _hex(keystore, "address") != address:
        raise KeystoreError(f"the key file names another address than its key's, 0x{address.hex()}")
    return private_key


def _derive(kdf: object, parameters: Mapping[str, Any], password: str) -> bytes:
    salt = _hex(parameters, "salt")
    secret = password.encode("utf-8", "surrogatepass")
    from Crypto.Protocol.KDF import scrypt  # 3 MB, which a node with an open key goes without

    if _integer(parameters, "dklen", 1 << 10) != 32:
        raise KeystoreError("key file: kdfparams.dklen must be 32")
    if kdf == "scrypt":
        n = _integer(parameters, "n", SCRYPT_WORK_MAX)
        r = _integer(parameters, "r", SCRYPT_WORK_MAX)
        p = _integer(parameters, "p", SCRYPT_WORK_MAX)
        memory = 128 * r * (n + p + 2)
        if n < 2 or n & (n - 1) or memory > SCRYPT_MEMORY_MAX or n * r * p > SCRYPT_WORK_MAX:
            raise KeystoreError(f"key file: scrypt with n {n}, r {r}, p {p} is not allowed here")
        # OpenSSL (hashlib) refuses n = 2^18 with r = 1, which wallets write and the vectors hold
        derived = cast(Any, scrypt)(secret, salt, 32, N=n, r=r, p=p)  # its stub knows text only
        return cast(bytes, derived)
    if kdf == "pbkdf2" and parameters.get("prf", "hmac-sha256") == "hmac-sha256":
        rounds = _integer(parameters, "c", PBKDF2_ROUNDS_MAX)
        return hashlib.pbkdf2_hmac("sha256", secret, salt, rounds, 32)
    raise KeystoreError(f"key file with key derivation {kdf!r:.40}, expected scrypt or pbkdf2")


def _aes_128_ctr(key: bytes, iv: bytes, data: bytes) -> bytes:
    if len(iv) != 16 or len(data) != 32:
        raise KeystoreError("key file: iv must be 16 bytes and ciphertext 32")
    from Crypto.Cipher import AES

    return AES.new(key, AES.MODE_CTR, nonce=b"", initial_value=iv).encrypt(data)


def _mapping(holder: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = holder.get(name)
    if not isinstance(value, Mapping):
        raise KeystoreError(f"key file without the object {name!r}")
    return value


def _integer(holder: Mapping[str, Any], name: str, largest: int) -> int:
    value = holder.get(name)
    if not isinstance(value, int) or not 0 < value <= largest:
        raise KeystoreError(f"key file: {name} must be a number from 1 to {largest}")
    return value


def _hex(holder: Mapping[str, Any], name: str) -> bytes:
    value = holder.get(name)
    try:
        if isinstance(value, str) and len(value) <= _HEX_DIGITS_MAX:
            return bytes.fromhex(value.removeprefix("0x"))
    except ValueError as error:
        raise KeystoreError(f"key file: {name} is not hex") from error
    raise KeystoreError(f"key file: {name} must be a hex string")
