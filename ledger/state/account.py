"""An account as the state trie holds it: RLP [nonce, balance, storageRoot, codeHash].

Source: Yellow Paper, section 4.1; which accounts are empty is EIP-161.
"""

from typing import NamedTuple

from ledger.crypto.keccak import EMPTY_HASH
from ledger.encoding import rlp
from ledger.errors import EncodingError
from ledger.trie.trie import EMPTY_ROOT
from ledger.types import Hash32

EMPTY_CODE_HASH: Hash32 = EMPTY_HASH


class Account(NamedTuple):
    """`nonce` is how many transactions it sent (contracts start at 1), `balance` is in wei."""

    nonce: int = 0
    balance: int = 0
    storage_root: Hash32 = EMPTY_ROOT
    code_hash: Hash32 = EMPTY_CODE_HASH


def is_empty(account: Account) -> bool:
    """Whether the account must not stand in the trie. One that holds storage always stays."""
    return (
        account.nonce == 0
        and account.balance == 0
        and account.code_hash == EMPTY_CODE_HASH
        and account.storage_root == EMPTY_ROOT
    )


def encode_account(account: Account) -> bytes:
    nonce, balance, storage_root, code_hash = account
    number = rlp.encode_bytes(rlp.encode_uint(nonce)) + rlp.encode_bytes(rlp.encode_uint(balance))
    return rlp.encode_list_payload(number + b"\xa0" + storage_root + b"\xa0" + code_hash)


def decode_account(raw: bytes) -> Account:
    """The account in a leaf. Raises EncodingError."""
    items = rlp.decode_list(raw)
    if len(items) != 4:
        raise EncodingError(f"an account has 4 fields, got {len(items)}")
    nonce, balance, storage_root, code_hash = items
    if not (isinstance(storage_root, bytes) and isinstance(code_hash, bytes)) or (
        len(storage_root) != 32 or len(code_hash) != 32
    ):
        raise EncodingError("an account's storage root and code hash have 32 bytes each")
    return Account(rlp.decode_uint(nonce), rlp.decode_uint(balance), storage_root, code_hash)
