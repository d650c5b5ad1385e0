"""Keys from twelve or more words: BIP-39 words to a seed, BIP-32 from the seed down a path.

Words and their checksum are the `mnemonic` package's (English list only); derivation is here.
Sources: BIP-32 (private parent key to private child key), BIP-39, BIP-44 (the default path).
"""

import hashlib
import hmac
import re
from functools import lru_cache

from mnemonic import Mnemonic

from ledger.crypto.secp256k1 import CURVE_ORDER, public_key
from ledger.errors import InvalidKey

ETHEREUM_PATH = "m/44'/60'/0'/0/0"
"""Account 0 of BIP-44 for Ethereum (coin type 60); wallets count accounts in the last part."""
HARDENED = 1 << 31
DEPTH_MAX = 16
"""Parts of a path; BIP-44 has 5."""
_SEEDS_KEPT = 8
"""2,048 rounds of PBKDF2 a seed; ten accounts of one mnemonic need it once."""

_PATH = re.compile(r"m(/[0-9]{1,10}['h]?)*", re.ASCII)


def generate_mnemonic(entropy: bytes) -> str:
    """The words for 16, 20, 24, 28 or 32 random bytes. Raises InvalidKey for another size."""
    if len(entropy) not in (16, 20, 24, 28, 32):
        raise InvalidKey(f"entropy for a mnemonic is 16 to 32 bytes in fours, got {len(entropy)}")
    return str(Mnemonic("english").to_mnemonic(entropy))


def derive_key(mnemonic: str, path: str = ETHEREUM_PATH, passphrase: str = "") -> bytes:
    """The 32-byte private key at `path` below the seed of the words.

    Raises InvalidKey for words that are not a mnemonic, and for what is not a path.
    """
    private_key, chain_code = _master_key(" ".join(mnemonic.split()), passphrase)
    for index in _parse_path(path):
        private_key, chain_code = _child_key(private_key, chain_code, index)
    return private_key


def _parse_path(path: str) -> list[int]:
    if _PATH.fullmatch(path) is None or path.count("/") > DEPTH_MAX:
        raise InvalidKey(f"a derivation path looks like {ETHEREUM_PATH}, got {path!r:.80}")
    indexes = []
    for part in path.split("/")[1:]:
        number = int(part.rstrip("'h"))
        if number >= HARDENED:
            raise InvalidKey(f"{number} in a derivation path is not below {HARDENED}")
        indexes.append(number + (HARDENED if part[-1] in "'h" else 0))
    return indexes


@lru_cache(maxsize=_SEEDS_KEPT)
def _master_key(mnemonic: str, passphrase: str) -> tuple[bytes, bytes]:
    words = Mnemonic("english")
    if not words.check(mnemonic):
        raise InvalidKey("this is no BIP-39 mnemonic: a word is not in the list or was changed")
    digest = hmac.digest(b"Bitcoin seed", words.to_seed(mnemonic, passphrase), hashlib.sha512)
    return _checked(int.from_bytes(digest[:32], "big")), digest[32:]


def _child_key(private_key: bytes, chain_code: bytes, index: int) -> tuple[bytes, bytes]:
    if index >= HARDENED:
        parent = b"\x00" + private_key
    else:
        point = public_key(private_key)
        parent = (b"\x03" if point[-1] & 1 else b"\x02") + point[:32]
    digest = hmac.digest(chain_code, parent + index.to_bytes(4, "big"), hashlib.sha512)
    tweak = int.from_bytes(_checked(int.from_bytes(digest[:32], "big"), zero=True), "big")
    return _checked((tweak + int.from_bytes(private_key, "big")) % CURVE_ORDER), digest[32:]


def _checked(number: int, zero: bool = False) -> bytes:
    """BIP-32 skips a key out of range, one in 2^127; here it is an error."""
    if number >= CURVE_ORDER or (number == 0 and not zero):
        raise InvalidKey("this path has no key; take the next index")
    return number.to_bytes(32, "big")
