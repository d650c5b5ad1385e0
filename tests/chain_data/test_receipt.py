"""Receipts against rlp, and the bloom filter against a plain reading of the Yellow Paper."""

import pytest
import rlp as oracle_rlp
from eth_utils import keccak
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import EncodingError
from ledger.receipt import Log, Receipt, bloom_has, bloom_of, decode_receipts, encode_receipts

logs = st.builds(
    Log,
    st.binary(min_size=20, max_size=20),
    st.lists(st.binary(min_size=32, max_size=32), max_size=4).map(tuple),
    st.binary(max_size=100),
)


def compute_bloom_slowly(items: list[bytes]) -> bytes:
    """Equation 26 and following: bit by bit, in an array of 2,048."""
    bits = [0] * 2048
    for item in items:
        digest = keccak(item)
        for index in (0, 2, 4):
            bits[2047 - ((digest[index] * 256 + digest[index + 1]) % 2048)] = 1
    text = "".join(map(str, bits))
    return bytes(int(text[start : start + 8], 2) for start in range(0, 2048, 8))


@given(st.lists(logs, max_size=4))
def test_the_bloom_is_the_yellow_papers(made):
    items = [item for log in made for item in (log.address, *log.topics)]

    bloom = bloom_of(made)

    assert bloom == compute_bloom_slowly(items)
    assert all(bloom_has(bloom, item) for item in items)


def test_what_is_not_in_a_bloom_is_mostly_seen_not_to_be():
    bloom = bloom_of([Log(b"\1" * 20, (b"\2" * 32,), b"")])

    found = sum(bloom_has(bloom, index.to_bytes(32, "big")) for index in range(1_000))

    assert found == 0


@given(st.sampled_from([0, 1, 2]), st.booleans(), st.integers(0, 2**63), st.lists(logs, max_size=3))
def test_the_encoding_is_that_of_eip_2718(kind, succeeded, gas, made):
    receipt = Receipt(kind, int(succeeded), gas, bloom_of(made), tuple(made))

    expected = oracle_rlp.encode(
        [int(succeeded), gas, receipt.bloom, [[a, list(t), d] for a, t, d in made]]
    )

    assert receipt.encode() == (bytes([kind]) if kind else b"") + expected


@given(st.lists(st.tuples(st.integers(21_000, 10**6), st.lists(logs, max_size=2)), max_size=5))
def test_a_block_of_receipts_comes_back_from_the_store(made):
    receipts = []
    total = 0
    for gas_used, entries in made:
        total += gas_used
        succeeded = int(gas_used % 2)
        receipts.append(
            Receipt(
                type=gas_used % 3,
                status=succeeded,
                cumulative_gas_used=total,
                bloom=bloom_of(entries),
                logs=tuple(entries),
                gas_used=gas_used,
                contract_address=b"\7" * 20 if gas_used % 5 == 0 else None,
                output=b"" if succeeded else b"why",
            )
        )

    assert decode_receipts(encode_receipts(receipts)) == tuple(receipts)


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x91\x01", b"\x91\x91\x01", b"\xc1"])
def test_other_bytes_are_no_receipts(data):
    with pytest.raises(EncodingError):
        decode_receipts(data)
