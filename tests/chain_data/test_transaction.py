"""Transactions against eth-account, an independent wallet, and what no wallet may send."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import rlp as oracle_rlp
from eth_account import Account
from eth_utils import keccak
from hypothesis import given, settings
from hypothesis import strategies as st
from rlp.exceptions import DecodingError

from ledger.crypto.address import address_of
from ledger.crypto.secp256k1 import CURVE_ORDER
from ledger.errors import (
    EncodingError,
    InvalidSignature,
    InvalidTransaction,
    LedgerError,
    TransactionTooLarge,
)
from ledger.transaction import (
    MAX_TRANSACTION_BYTES,
    NONCE_MAX,
    Transaction,
    decode_transaction,
    recover_senders,
    sign_transaction,
)

KEY = bytes.fromhex("4646464646464646464646464646464646464646464646464646464646464646")
SENDER = address_of(KEY)

word = st.integers(0, 2**256 - 1)
address = st.binary(min_size=20, max_size=20)
access_lists = st.lists(
    st.tuples(address, st.lists(st.binary(min_size=32, max_size=32), max_size=3)), max_size=3
)


@st.composite
def requests(draw: st.DrawFn) -> dict:
    """What a wallet is asked to sign, in eth-account's names."""
    kind = draw(st.sampled_from([0, 1, 2]))
    request = {
        "chainId": draw(st.integers(1, 2**52)),
        "nonce": draw(st.integers(0, NONCE_MAX)),
        "gas": draw(st.integers(0, 2**64 - 1)),
        "to": draw(st.one_of(st.just(b""), address)),
        "value": draw(word),
        "data": draw(st.binary(max_size=400)),
    }
    if kind == 2:
        fee = draw(word)
        request |= {
            "type": 2,
            "maxFeePerGas": fee,
            "maxPriorityFeePerGas": draw(st.integers(0, fee)),
        }
    else:
        request |= {"gasPrice": draw(word)} | ({"type": 1} if kind else {})
    if kind:
        request["accessList"] = [
            {"address": "0x" + account.hex(), "storageKeys": ["0x" + key.hex() for key in keys]}
            for account, keys in draw(access_lists)
        ]
    return request


def access_list_of(request: dict) -> tuple:
    return tuple(
        (
            bytes.fromhex(entry["address"][2:]),
            tuple(bytes.fromhex(key[2:]) for key in entry["storageKeys"]),
        )
        for entry in request.get("accessList", ())
    )


def sign_with_oracle(request: dict) -> "tuple[bytes, bytes]":
    signed = Account.from_key(KEY).sign_transaction(request)
    return bytes(signed.raw_transaction), bytes(signed.hash)


@given(requests())
def test_what_a_wallet_signed_is_read_as_it_was_meant(request_):
    raw, digest = sign_with_oracle(request_)

    transaction = decode_transaction(raw)

    assert transaction.hash == digest
    assert transaction.sender == SENDER
    assert transaction.type == request_.get("type", 0)
    assert transaction.chain_id == request_["chainId"]
    assert transaction.nonce == request_["nonce"]
    assert transaction.gas == request_["gas"]
    assert (transaction.to or b"") == request_["to"]
    assert transaction.value == request_["value"]
    assert transaction.data == request_["data"]
    assert transaction.max_fee == request_.get("gasPrice", request_.get("maxFeePerGas"))
    assert transaction.max_priority_fee == request_.get(
        "maxPriorityFeePerGas", request_.get("gasPrice")
    )
    assert transaction.access_list == access_list_of(request_)


@given(requests())
def test_signing_gives_the_bytes_the_wallet_gives(request_):
    """Signatures are RFC 6979's, so equal meaning is equal bytes."""
    raw, _ = sign_with_oracle(request_)

    ours = sign_transaction(
        KEY,
        chain_id=request_["chainId"],
        nonce=request_["nonce"],
        to=request_["to"] or None,
        data=request_["data"],
        value=request_["value"],
        gas=request_["gas"],
        gas_price=request_.get("gasPrice"),
        max_fee=request_.get("maxFeePerGas"),
        max_priority_fee=request_.get("maxPriorityFeePerGas"),
        access_list=access_list_of(request_),
        type=request_.get("type", 0),
    )

    assert ours.raw == raw


def test_the_example_of_eip_155():
    transaction = sign_transaction(
        KEY, chain_id=1, nonce=9, gas_price=20 * 10**9, gas=21_000, to=b"\x35" * 20, value=10**18
    )

    assert transaction.compute_signing_digest().hex() == (
        "daf5a779ae972f972197303d7b574746c7ef83eadac0f2791ad23db92e4c8e53"
    )
    assert transaction.raw.hex() == (
        "f86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a76400008025"
        "a028ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276a067cbe9d8997f761aecb70"
        "3304b3800ccf555c9f3dc64214b297fb1966a3b6d83"
    )


def items_of(transaction: Transaction) -> list:
    """Its RLP items, by the oracle."""
    return list(oracle_rlp.decode(transaction.raw[1 if transaction.type else 0 :]))


def legacy(**changes: object) -> Transaction:
    return sign_transaction(
        KEY, **{"chain_id": 5, "nonce": 1, "gas_price": 7, "gas": 9, "to": b"\1" * 20} | changes
    )


def typed(**changes: object) -> Transaction:
    return sign_transaction(
        KEY, **{"chain_id": 5, "nonce": 1, "max_fee": 7, "gas": 9, "to": b"\1" * 20} | changes
    )


def test_a_signature_from_before_eip_155_is_refused_with_geths_words():
    items = items_of(legacy())
    items[6] = b"\x1b"

    with pytest.raises(InvalidTransaction, match="only replay-protected"):
        decode_transaction(oracle_rlp.encode(items))


@pytest.mark.parametrize("v", [b"", b"\x01", b"\x1d", b"\x22", b"\x00\x25"])
def test_a_v_that_names_no_chain_is_refused(v):
    items = items_of(legacy())
    items[6] = v

    with pytest.raises(EncodingError):
        decode_transaction(oracle_rlp.encode(items))


def test_high_s_recovers_to_nobody_though_the_curve_would():
    transaction = legacy()
    items = items_of(transaction)
    items[6] = bytes([5 * 2 + 35 + 1 - transaction.y_parity])
    items[8] = (CURVE_ORDER - transaction.s).to_bytes(32, "big").lstrip(b"\0")
    twin = decode_transaction(oracle_rlp.encode(items))

    with pytest.raises(InvalidSignature):
        _ = twin.sender


@pytest.mark.parametrize("kind", [0x00, 0x03, 0x04, 0x7F, 0x80, 0xBF])
def test_other_types_are_refused(kind):
    with pytest.raises(InvalidTransaction, match="type not supported"):
        decode_transaction(bytes([kind]) + typed().raw[1:])


def test_an_oversized_one_is_refused_before_it_is_read():
    with pytest.raises(TransactionTooLarge, match="oversized data"):
        decode_transaction(b"\xff" * (MAX_TRANSACTION_BYTES + 1))


@pytest.mark.parametrize("index", [0, 1, 2, 3, 4, 6, 10, 11])
@pytest.mark.parametrize("item", [b"\0", b"\0\1", b"\1" * 33, [b"\1"]])
def test_integers_are_words_without_leading_zeros(index, item):
    items = items_of(typed())
    items[index] = item

    with pytest.raises(EncodingError):
        decode_transaction(b"\x02" + oracle_rlp.encode(items))


@pytest.mark.parametrize(
    ("index", "item"),
    [
        (5, b"\1" * 19),
        (5, b"\1" * 21),
        (5, [b""]),
        (7, [b""]),
        (8, b""),
        (8, b"\xc0"),
        (8, [[b"\1" * 20]]),
        (8, [[b"\1" * 19, []]]),
        (8, [[b"\1" * 20, [b"\1" * 31]]]),
        (8, [[b"\1" * 20, [[]]]]),
        (8, [[b"\1" * 20, b""]]),
        (8, [b""]),
        (9, b"\2"),
        (9, []),
        (9, b"\0"),
    ],
)
def test_items_of_a_wrong_form_are_refused(index, item):
    items = items_of(typed())
    items[index] = item

    with pytest.raises(EncodingError):
        decode_transaction(b"\x02" + oracle_rlp.encode(items))


@pytest.mark.parametrize("change", [lambda items: items[:-1], lambda items: [*items, b""]])
@pytest.mark.parametrize("kind", [0, 1, 2])
def test_the_number_of_items_is_exact(kind, change):
    made = typed() if kind == 2 else legacy(type=kind)
    encoded = oracle_rlp.encode(change(items_of(made)))

    with pytest.raises(EncodingError):
        decode_transaction(bytes([kind] if kind else []) + encoded)


def test_nonce_and_gas_have_geths_bounds():
    with pytest.raises(InvalidTransaction, match="nonce has max value"):
        typed(nonce=NONCE_MAX + 1)
    with pytest.raises(InvalidTransaction, match="gas uint64 overflow"):
        typed(gas=2**64)


@given(st.binary(max_size=300))
def test_any_bytes_give_a_transaction_or_one_of_our_errors(data):
    for raw in (data, b"\x02" + data, typed().raw + data):
        try:
            assert decode_transaction(raw).raw == raw
        except LedgerError as error:
            assert str(error)


def decode_slowly(raw: bytes) -> list:
    """What a strict reader of RLP, an independent one, finds in a transaction of any type."""
    kind = 0 if raw[0] >= 0xC0 else raw[0]
    items = oracle_rlp.decode(raw[1:] if kind else raw, strict=True)
    names = {0: "ipgtvdVRS", 1: "cipgtvdaPRS", 2: "ciPpgtvdaYRS"}[kind]
    assert isinstance(items, list) and len(items) == len(names)
    for name, item in zip(names, items, strict=True):
        if name == "a":
            assert type(item) is list
            for address_, keys in item:
                assert type(address_) is bytes and len(address_) == 20 and type(keys) is list
                assert all(type(key) is bytes and len(key) == 32 for key in keys)
        else:
            assert type(item) is bytes
            if name == "t":
                assert len(item) in (0, 20)
            elif name != "d":
                assert len(item) <= 32 and item[:1] != b"\0"
    number = {name: item for name, item in zip(names, items, strict=True) if type(item) is bytes}
    assert int.from_bytes(number["i"], "big") <= NONCE_MAX and len(number["g"]) <= 8
    parity = items[-3]
    assert int.from_bytes(parity, "big") >= 35 if kind == 0 else parity in (b"", b"\1")
    return items


ACCESS_LIST = [(b"\1" * 20, [b"\1" * 32, b"\2" * 32]), (b"\2" * 20, [])]
SEEDS = [
    legacy(),
    legacy(to=None, data=b"x" * 300),
    legacy(type=1, access_list=ACCESS_LIST),
    typed(),
    typed(data=b"\x7f", value=0x80),
    typed(data=b"d" * 60, access_list=ACCESS_LIST, max_fee=2**256 - 1),
]


@settings(max_examples=400)
@given(st.sampled_from(SEEDS), st.data())
def test_reading_item_by_item_takes_exactly_what_a_strict_reader_takes(seed, data):
    raw = bytearray(seed.raw)
    for _ in range(data.draw(st.integers(0, 2))):
        where = data.draw(st.integers(1, min(len(raw) - 1, 60)))
        match data.draw(st.sampled_from(["set", "insert", "cut", "end"])):
            case "set":
                raw[where] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0x81, 0x94, 0xA0, 0xB8]))
            case "insert":
                raw.insert(where, data.draw(st.sampled_from([0, 1, 0x80, 0x81, 0xC0])))
                raw[2] = (raw[2] + 1) % 256  # the length of a list above 55 bytes
            case "cut":
                del raw[where]
                raw[2] = (raw[2] - 1) % 256
            case _:
                del raw[-1:]
    try:
        expected = decode_slowly(bytes(raw))
    except (AssertionError, ValueError, TypeError, KeyError, DecodingError):
        with pytest.raises(LedgerError):
            decode_transaction(bytes(raw))
        return
    transaction = decode_transaction(bytes(raw))
    assert transaction.r == int.from_bytes(expected[-2], "big")
    assert transaction.s == int.from_bytes(expected[-1], "big")
    if transaction.type:
        assert transaction.access_list == tuple((a, tuple(k)) for a, k in expected[-4])
    assert transaction.data == expected[-4 if not transaction.type else -5]


@given(st.data())
def test_one_changed_bit_never_keeps_sender_and_hash(data):
    raw = bytearray(typed().raw)
    bit = data.draw(st.integers(0, 8 * len(raw) - 1))
    raw[bit // 8] ^= 1 << bit % 8
    try:
        changed = decode_transaction(bytes(raw))
        assert changed.sender != SENDER
    except LedgerError:
        pass


@pytest.mark.parametrize("count", [1, 16, 17, 50])
@pytest.mark.parametrize("threads", [None, 2])
def test_senders_recovered_in_bulk_are_those_recovered_alone(count, threads):
    keys = [keccak(bytes([index])) for index in range(count)]
    transactions = [
        decode_transaction(
            sign_transaction(key, chain_id=5, nonce=0, max_fee=0, gas=21_000, to=b"\1" * 20).raw
        )
        for key in keys
    ]

    if threads is None:
        recover_senders(transactions)
    else:
        with ThreadPoolExecutor(threads) as executor:
            recover_senders(transactions, executor)

    assert [transaction._sender for transaction in transactions] == [
        address_of(key) for key in keys
    ]


def test_a_signature_of_nobody_stays_with_its_transaction():
    items = items_of(typed())
    items[10] = CURVE_ORDER.to_bytes(32, "big")
    bad = decode_transaction(b"\x02" + oracle_rlp.encode(items))
    good = decode_transaction(typed(nonce=2).raw)

    recover_senders([bad, good])

    assert good._sender == SENDER
    with pytest.raises(InvalidSignature):
        _ = bad.sender


def test_intrinsic_gas_is_londons():
    assert typed().intrinsic_gas() == 21_000
    assert typed(data=b"\0\1\2\0").intrinsic_gas() == 21_000 + 2 * 4 + 2 * 16
    assert typed(to=None).intrinsic_gas() == 53_000
    listed = typed(access_list=[(b"\1" * 20, [b"\1" * 32, b"\2" * 32]), (b"\2" * 20, [])])
    assert listed.intrinsic_gas() == 21_000 + 2 * 2_400 + 2 * 1_900


def test_what_each_gas_costs():
    transaction = typed(max_fee=100, max_priority_fee=10)
    assert transaction.effective_gas_price(50) == 60
    assert transaction.effective_gas_price(95) == 100
    assert legacy(gas_price=70).effective_gas_price(50) == 70


def test_fees_of_another_type_are_not_signed():
    with pytest.raises(InvalidTransaction):
        legacy(max_fee=1)
    with pytest.raises(InvalidTransaction):
        legacy(type=2)
    with pytest.raises(InvalidTransaction):
        legacy(type=0, access_list=[(b"\1" * 20, [])])
    with pytest.raises(InvalidTransaction):
        legacy(type=5)
