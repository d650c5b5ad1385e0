"""Headers, blocks and certificates against rlp, keccak and eth-abi."""

import msgpack
import pytest
import rlp as oracle_rlp
from eth_abi import encode as abi_encode
from eth_utils import keccak
from hypothesis import given
from hypothesis import strategies as st

from ledger.block import (
    Block,
    Certificate,
    Header,
    commit_digest,
    decode_block,
    decode_body,
    decode_certificate,
    decode_header,
    encode_block,
    encode_body,
    quorum,
    validators_hash,
)
from ledger.errors import EncodingError, LedgerError
from ledger.transaction import sign_transaction

hash32 = st.binary(min_size=32, max_size=32)
uint64 = st.integers(0, 2**64 - 1)

headers = st.builds(
    Header,
    parent_hash=hash32,
    coinbase=st.binary(min_size=20, max_size=20),
    state_root=hash32,
    transactions_root=hash32,
    receipts_root=hash32,
    bloom=st.binary(min_size=256, max_size=256),
    difficulty=st.integers(0, 2**256 - 1),
    number=uint64,
    gas_limit=uint64,
    gas_used=uint64,
    timestamp=uint64,
    extra_data=st.binary(max_size=32),
    mix_hash=hash32,
    nonce=st.binary(min_size=8, max_size=8),
    base_fee=st.integers(0, 2**256 - 1),
)

HEADER = Header(
    parent_hash=b"\1" * 32,
    coinbase=b"\2" * 20,
    state_root=b"\3" * 32,
    transactions_root=b"\4" * 32,
    receipts_root=b"\5" * 32,
    bloom=bytes(256),
    number=7,
    gas_limit=15_000_000,
    gas_used=0,
    timestamp=1_700_000_000,
    extra_data=b"\6" * 32,
    mix_hash=b"\7" * 32,
    base_fee=0,
)
KEY = b"\x11" * 32
TRANSACTIONS = tuple(
    sign_transaction(KEY, chain_id=5, nonce=kind, gas=21_000, to=b"\1" * 20, type=kind, **fees)
    for kind, fees in enumerate([{"gas_price": 1}, {"gas_price": 1}, {"max_fee": 1}])
)


@given(headers)
def test_a_header_is_sixteen_items_in_londons_order(header):
    expected = oracle_rlp.encode(
        [
            header.parent_hash,
            keccak(oracle_rlp.encode([])),
            header.coinbase,
            header.state_root,
            header.transactions_root,
            header.receipts_root,
            header.bloom,
            header.difficulty,
            header.number,
            header.gas_limit,
            header.gas_used,
            header.timestamp,
            header.extra_data,
            header.mix_hash,
            header.nonce,
            header.base_fee,
        ]
    )

    assert header.encode() == expected
    assert header.hash == keccak(expected)
    assert decode_header(expected) == header


@pytest.mark.parametrize("index", range(16))
@pytest.mark.parametrize("item", [b"\0" + b"\1" * 32, [b""], b"\1" * 300])
def test_a_header_item_of_a_wrong_form_is_refused(index, item):
    items = list(oracle_rlp.decode(HEADER.encode()))
    items[index] = item

    with pytest.raises(EncodingError, match="header"):
        decode_header(oracle_rlp.encode(items))


@pytest.mark.parametrize("index", [7, 8, 9, 10, 11, 15])
def test_header_integers_have_no_leading_zero(index):
    items = list(oracle_rlp.decode(HEADER.encode()))
    items[index] = b"\0\1"

    with pytest.raises(EncodingError):
        decode_header(oracle_rlp.encode(items))


def test_a_block_on_the_wire_is_ethereums():
    block = Block(HEADER, TRANSACTIONS)

    encoded = encode_block(block)

    header, transactions, ommers = oracle_rlp.decode(encoded)
    assert oracle_rlp.encode(header) == HEADER.encode()
    assert ommers == []
    assert oracle_rlp.encode(transactions[0]) == TRANSACTIONS[0].raw
    assert transactions[1:] == [TRANSACTIONS[1].raw, TRANSACTIONS[2].raw]
    assert decode_block(encoded) == block
    assert block.hash == HEADER.hash
    assert block.number == 7


@pytest.mark.parametrize(
    "transactions", [[b""], [TRANSACTIONS[0].raw], [b"\x05"], [[b""]], b"", [[]]]
)
def test_a_block_with_other_things_in_it_is_refused(transactions):
    encoded = oracle_rlp.encode([oracle_rlp.decode(HEADER.encode()), transactions, []])

    with pytest.raises(LedgerError):
        decode_block(encoded)


def test_a_block_has_no_ommers():
    encoded = oracle_rlp.encode([oracle_rlp.decode(HEADER.encode()), [], [b""]])

    with pytest.raises(EncodingError, match="no ommers"):
        decode_block(encoded)


def test_a_body_comes_back_from_the_store():
    assert decode_body(encode_body(TRANSACTIONS)) == TRANSACTIONS
    assert decode_body(encode_body(())) == ()
    for data in (b"", b"\x91\x01", b"\x91\x90", b"\x01", encode_body(TRANSACTIONS) + b"\0"):
        with pytest.raises(EncodingError):
            decode_body(data)


def test_transactions_that_are_known_are_not_read_again():
    """The pool's copy has its sender recovered, which is most of the work of an import."""
    known = {transaction.hash: transaction for transaction in TRANSACTIONS[1:]}
    block = Block(HEADER, TRANSACTIONS)

    read = decode_block(encode_block(block), known.get).transactions
    body = decode_body(encode_body(TRANSACTIONS), known.get)

    assert read == body == TRANSACTIONS
    for transactions in (read, body):
        assert transactions[0] is not TRANSACTIONS[0]
        assert transactions[1] is TRANSACTIONS[1]


certificates = st.builds(
    Certificate,
    uint64,
    uint64,
    hash32,
    st.lists(st.binary(min_size=65, max_size=65), max_size=4).map(tuple),
)


@given(certificates)
def test_a_certificate_comes_back(certificate):
    assert decode_certificate(certificate.encode()) == certificate


@pytest.mark.parametrize(
    "items",
    [
        [1, 0, b"\1" * 32],
        [True, 0, b"\1" * 32, []],
        [-1, 0, b"\1" * 32, []],
        [1, -1, b"\1" * 32, []],
        [1, 0, b"\1" * 31, []],
        [1, 0, "1" * 32, []],
        [1, 0, b"\1" * 32, [b"\1" * 64]],
        [1, 0, b"\1" * 32, ["1" * 65]],
        [1, 0, b"\1" * 32, [b"\1" * 65] * 101],
        {},
        None,
    ],
)
def test_other_lists_are_no_certificates(items):
    with pytest.raises(EncodingError):
        decode_certificate(msgpack.packb(items))


def test_deep_nesting_is_refused_in_bounded_memory():
    with pytest.raises(EncodingError):
        decode_certificate(b"\x91" * 100_000)
    with pytest.raises(EncodingError):
        decode_certificate(b"\xdd\xff\xff\xff\xff")


@pytest.mark.parametrize(
    ("count", "needed"),
    [(1, 1), (2, 2), (3, 2), (4, 3), (5, 4), (6, 4), (7, 5), (10, 7), (100, 67)],
)
def test_the_quorum_is_two_thirds_rounded_up(count, needed):
    assert quorum(count) == needed


@given(st.integers(0, 2**256 - 1), hash32, uint64, uint64, hash32)
def test_the_commit_digest_is_what_solidity_computes(chain_id, genesis_hash, height, round_, block):
    expected = keccak(
        abi_encode(
            ["bytes32", "uint256", "bytes32", "uint256", "uint256", "bytes32"],
            [keccak(text="wattledger/commit/1"), chain_id, genesis_hash, height, round_, block],
        )
    )

    assert commit_digest(chain_id, genesis_hash, height, round_, block) == expected


def test_the_hash_of_validators_does_not_depend_on_their_order():
    members = [b"\2" * 20, b"\1" * 20, b"\3" * 20]

    assert validators_hash(members) == keccak(oracle_rlp.encode(sorted(members)))
