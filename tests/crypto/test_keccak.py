"""Keccak-256 against the Keccak team's own answers, on both backends."""

from Crypto.Hash import keccak as pycryptodome
from hypothesis import given
from hypothesis import strategies as st

from ledger.crypto.keccak import EMPTY_HASH, keccak256
from tests.conftest import shared_path


def test_known_answers():
    text = shared_path("vectors", "keccak", "ShortMsgKAT_256.txt").read_text()
    cases = 0
    for block in text.split("\n\n"):
        fields = dict(line.split(" = ") for line in block.splitlines() if " = " in line)
        if not fields or int(fields["Len"]) % 8:
            continue
        message = bytes.fromhex(fields["Msg"])[: int(fields["Len"]) // 8]
        assert keccak256(message) == bytes.fromhex(fields["MD"])
        cases += 1
    assert cases == 256


def test_the_hash_of_nothing():
    expected = "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    assert EMPTY_HASH.hex() == expected


@given(st.binary(max_size=600))
def test_both_backends_agree(data):
    assert keccak256(data) == pycryptodome.new(digest_bits=256, data=data).digest()
