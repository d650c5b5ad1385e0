"""Hex quantities and data as Ethereum's JSON-RPC defines them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.encoding.hexadecimal import decode_data, decode_quantity, encode_data, encode_quantity
from ledger.errors import EncodingError, MessageTooLarge


@given(st.integers(0, 2**256 - 1))
def test_quantities_return(number):
    assert decode_quantity(encode_quantity(number)) == number


def test_shortest_form():
    assert encode_quantity(0) == "0x0"
    assert encode_quantity(0x41A) == "0x41a"
    assert decode_quantity("0xFf") == 255


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("0x", '"0x"'),
        ("0x00", "leading zero"),
        ("0x01", "leading zero"),
        ("ff", "without 0x"),
        ("0xg", "invalid"),
        ("0x 1", "invalid"),
        ("0x1_0", "invalid"),
        ("0x-1", "invalid"),
        ("0x\u0661", "invalid"),
        ("0x1" + 64 * "0", "256 bits"),
        (7, "int"),
        (None, "NoneType"),
    ],
)
def test_a_bad_quantity_says_why(text, said):
    with pytest.raises(EncodingError, match=said):
        decode_quantity(text)


@given(st.binary(max_size=80))
def test_data_returns(data):
    assert decode_data(encode_data(data), len(data)) == data


@pytest.mark.parametrize(
    "text", ["0x1", "0x0g", "0x 0", "0x0 0 ", "12", "", "0x\u0661\u0661", b"0x"]
)
def test_bad_data(text):
    with pytest.raises(EncodingError):
        decode_data(text)


def test_data_of_another_size():
    with pytest.raises(EncodingError, match="want 64"):
        decode_data("0x00", 32)
    with pytest.raises(MessageTooLarge):
        decode_data("0x" + "00" * 5, size_max=4)
    with pytest.raises(EncodingError):
        encode_quantity(-1)
