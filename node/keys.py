"""This node's private key, and the ten well-known accounts of a development network."""

import json
import os
from pathlib import Path

from ledger.crypto.address import address_of, to_checksum
from ledger.errors import CryptoError
from ledger.store.base import Store
from ledger.types import Address
from node.errors import NodeError

KEY_FILE_BYTES_MAX = 10_000
"""A Web3 key file has some 500."""
UNLOCKED_ACCOUNTS = 10
RECORD_OWNER_KEY = "signer-address"


def load_node_key(path: Path, password_file: Path | None) -> bytes:
    """The 32-byte key in a file: 64 hex digits, or a Web3 key file with a password.

    Raises NodeError saying which file, and what to do.
    """
    try:
        text = path.read_bytes()[: KEY_FILE_BYTES_MAX + 1].decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise NodeError(f"{path}: the node's key cannot be read: {error}") from error
    if not text.startswith("{"):
        try:
            key = bytes.fromhex(text.removeprefix("0x"))
            address_of(key)
        except (ValueError, CryptoError) as error:
            raise NodeError(f"{path}: expected a private key of 64 hex digits: {error}") from error
        return key
    from ledger.crypto.keystore import decrypt_key  # costs memory that most nodes do not need

    if password_file is None:
        raise NodeError(
            f"{path} is a Web3 key file: key.password_file must name its password's file"
        )
    try:
        password = password_file.read_text().splitlines()
        return decrypt_key(json.loads(text), password[0] if password else "")
    except OSError as error:
        raise NodeError(f"{password_file}: the password cannot be read: {error}") from error
    except (CryptoError, ValueError) as error:
        raise NodeError(f"{path}: {error}") from error


def save_node_key(path: Path, private_key: bytes) -> None:
    """Write a key as hex into a new file that only its owner reads; one that is there stays."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(private_key.hex() + "\n")
        file.flush()
        os.fsync(file.fileno())


def claim_signer_record(store: Store, address: Address) -> None:
    """Note in a data folder whose signer record it has. Raises NodeError where it is another key's.

    What one key signed says nothing of another one, which may have signed elsewhere.
    """
    owner = store.get_meta(RECORD_OWNER_KEY)
    if owner is None:
        store.put_durable(RECORD_OWNER_KEY, address)
    elif owner != address:
        raise NodeError(
            f"the data folder has what the key of {to_checksum(owner)} signed, but key.file is of "
            f"{to_checksum(address)}: give this node its own key, or an empty data folder"
        )


def derive_unlocked(mnemonic: str) -> dict[Address, bytes]:
    """The keys of m/44'/60'/0'/0/0 to 9 by address. Raises NodeError for a wrong mnemonic."""
    from node.wallet import derive_key

    try:
        keys = [
            derive_key(mnemonic, f"m/44'/60'/0'/0/{index}") for index in range(UNLOCKED_ACCOUNTS)
        ]
    except CryptoError as error:
        raise NodeError(f"rpc.unlocked_mnemonic: {error}") from error
    return {address_of(key): key for key in keys}
