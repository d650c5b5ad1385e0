"""Mnemonics and derived keys against eth-account's wallet."""

import pytest
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.crypto.address import address_of, to_checksum
from ledger.errors import InvalidKey
from node.wallet import derive_key, generate_mnemonic

JUNK = "test test test test test test test test test test test junk"
PARTS = st.tuples(st.integers(0, 2**31 - 1), st.sampled_from(["", "'"]))

Account.enable_unaudited_hdwallet_features()


def test_the_ten_accounts_everybody_knows():
    addresses = [
        to_checksum(address_of(derive_key(JUNK, f"m/44'/60'/0'/0/{i}"))) for i in range(10)
    ]
    assert addresses[0] == "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
    assert addresses[9] == "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720"
    for index, address in enumerate(addresses):
        theirs = Account.from_mnemonic(JUNK, account_path=f"m/44'/60'/0'/0/{index}")
        assert theirs.address == address
    assert derive_key(JUNK) == derive_key(JUNK, "m/44h/60h/0h/0/0")


@settings(max_examples=20)
@given(st.binary(min_size=16, max_size=16), st.lists(PARTS, max_size=4), st.text(max_size=5))
def test_same_keys_as_eth_account(entropy, parts, passphrase):
    mnemonic = generate_mnemonic(entropy)
    path = "m" + "".join(f"/{number}{mark}" for number, mark in parts)
    theirs = Account.from_mnemonic(mnemonic, passphrase=passphrase, account_path=path)
    assert derive_key(mnemonic, path, passphrase) == bytes(theirs.key)


def test_keys_and_chain_codes_keep_their_leading_zeros():
    for index in range(600):  # two or three of these keys start with a zero byte
        key = derive_key(JUNK, f"m/0'/{index}")
        assert len(key) == 32
        if key[0] == 0:
            path = f"m/0'/{index}/1'/2"
            theirs = Account.from_mnemonic(JUNK, account_path=path)
            assert derive_key(JUNK, path) == bytes(theirs.key)
            return
    pytest.fail("no key with a leading zero among 600")


@pytest.mark.parametrize("size", [0, 15, 17, 33, 64])
def test_entropy_of_another_size(size):
    with pytest.raises(InvalidKey):
        generate_mnemonic(bytes(size))


@pytest.mark.parametrize(
    "words",
    ["", "test", JUNK.replace("junk", "test"), JUNK.replace("junk", "junkk"), JUNK + " test"],
)
def test_what_is_no_mnemonic(words):
    with pytest.raises(InvalidKey, match="mnemonic"):
        derive_key(words)


def test_spaces_do_not_matter():
    assert derive_key(f"  {JUNK.replace(' ', '  ')}\n") == derive_key(JUNK)


@pytest.mark.parametrize(
    "path",
    ["", "m/", "44'/60'", "m/x", "m/-1", "m/1''", "m/2147483648", "m" + "/0" * 17, "m/\u0661"],
)
def test_what_is_no_path(path):
    with pytest.raises(InvalidKey):
        derive_key(JUNK, path)
