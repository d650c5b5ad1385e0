"""Addresses, their checksums, and where a contract comes to stand."""

import pytest
from eth_utils import to_checksum_address
from hypothesis import given
from hypothesis import strategies as st

from ledger.crypto.address import (
    ZERO_ADDRESS,
    address_of,
    address_of_public_key,
    contract_address,
    parse_address,
    to_checksum,
)
from ledger.errors import InvalidKey

EIP55_EXAMPLES = [
    "0x52908400098527886E0F7030069857D2E4169EE7",
    "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
    "0xde709f2102306220921060314715629080e2fb77",
    "0x27b1fdb04752bbc536007a920d24acb045561c26",
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
    "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
]


@pytest.mark.parametrize("text", EIP55_EXAMPLES)
def test_the_examples_of_eip_55(text):
    assert to_checksum(parse_address(text)) == text


@given(st.binary(min_size=20, max_size=20))
def test_same_checksum_as_eth_utils(address):
    text = to_checksum(address)
    assert text == to_checksum_address(address)
    assert parse_address(text) == parse_address(text.lower()) == address


def test_a_wrong_checksum_is_refused():
    with pytest.raises(InvalidKey, match="checksum"):
        parse_address("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1Beaed")


@pytest.mark.parametrize(
    "text", ["", "0x", "0x" + "0" * 39, "0x" + "0" * 41, "0x" + "g" * 40, None]
)
def test_what_is_no_address(text):
    with pytest.raises(InvalidKey):
        parse_address(text)


def test_bad_sizes():
    with pytest.raises(InvalidKey):
        to_checksum(b"\x00" * 19)
    with pytest.raises(InvalidKey):
        address_of_public_key(b"\x00" * 65)


def test_well_known_addresses():
    first = bytes.fromhex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
    assert to_checksum(address_of(first)) == "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
    sender = parse_address("0x6ac7ea33f8831ea9dcc53393aaa88b25a785dbf0")  # go-ethereum's own cases
    assert contract_address(sender, 0).hex() == "cd234a471b72ba2f1ccf0a70fcaba648a5eecd8d"
    assert contract_address(sender, 1).hex() == "343c43a37d37dff08ae8c4a11544c718abb4fcf8"
    assert to_checksum(ZERO_ADDRESS) == "0x" + 40 * "0"
