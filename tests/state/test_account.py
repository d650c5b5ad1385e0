"""Accounts as leaves, against rlp."""

import pytest
import rlp as oracle_rlp
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import EncodingError
from ledger.state.account import Account, decode_account, encode_account

hashes = st.binary(min_size=32, max_size=32)
accounts = st.builds(Account, st.integers(0, 2**64), st.integers(0, 2**256 - 1), hashes, hashes)


@given(accounts)
def test_as_ethereum_encodes_them(account: Account) -> None:
    fields = [account.nonce, account.balance, account.storage_root, account.code_hash]
    assert encode_account(account) == oracle_rlp.encode(fields)
    assert decode_account(encode_account(account)) == account


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [b"", b"", bytes(32)],
        [b"", b"", bytes(32), bytes(32), b""],
        [b"\0", b"", bytes(32), bytes(32)],
        [b"", b"\0\1", bytes(32), bytes(32)],
        [b"", b"", bytes(31), bytes(32)],
        [b"", b"", bytes(32), bytes(33)],
        [b"", b"", bytes(32), []],
        [[], b"", bytes(32), bytes(32)],
        b"",
    ],
)
def test_what_is_no_account(fields: object) -> None:
    with pytest.raises(EncodingError):
        decode_account(oracle_rlp.encode(fields))
