"""RLP against Ethereum's published cases and against the `rlp` package."""

import json

import pytest
import rlp as oracle
from hypothesis import given
from hypothesis import strategies as st

from ledger.encoding import rlp
from ledger.errors import EncodingError
from tests.conftest import shared_path

ITEMS = st.recursive(
    st.binary(max_size=70), lambda inner: st.lists(inner, max_size=5), max_leaves=40
)


def as_item(value: object) -> rlp.Item:
    """The published cases write text, numbers, and numbers above 64 bits as '#...'."""
    if isinstance(value, list):
        return [as_item(child) for child in value]
    if isinstance(value, int):
        return rlp.encode_uint(value)
    assert isinstance(value, str)
    return rlp.encode_uint(int(value[1:])) if value.startswith("#") else value.encode()


def as_lists(item: rlp.Item) -> object:
    return item if isinstance(item, bytes) else [as_lists(child) for child in item]


def published(name: str) -> dict[str, dict[str, object]]:
    return json.loads(shared_path("vectors", "RLPTests", name).read_text())


def test_published_encodings():
    for name, case in published("rlptest.json").items():
        item = as_item(case["in"])
        encoded = bytes.fromhex(str(case["out"]).removeprefix("0x"))
        assert rlp.encode(item) == encoded, name
        assert rlp.decode(encoded) == as_lists(item), name


def test_published_invalid_encodings():
    for name, case in published("invalidRLPTest.json").items():
        with pytest.raises(EncodingError):
            rlp.decode(bytes.fromhex(str(case["out"]).removeprefix("0x")))
            pytest.fail(name)


def test_published_random_encodings():
    for name, case in published("RandomRLPTests/example.json").items():
        encoded = bytes.fromhex(str(case["out"]).removeprefix("0x"))
        assert rlp.encode(rlp.decode(encoded)) == encoded, name


@given(ITEMS)
def test_same_bytes_as_the_rlp_package(item):
    encoded = rlp.encode(item)
    assert encoded == oracle.encode(item)
    assert rlp.decode(encoded) == item


@given(st.binary(max_size=60))
def test_same_verdict_on_any_bytes_as_the_rlp_package(data):
    try:
        expected = oracle.decode(data)
    except oracle.DecodingError:
        with pytest.raises(EncodingError):
            rlp.decode(data)
    else:
        assert rlp.decode(data) == expected


@given(st.lists(st.binary(max_size=40), max_size=6), st.data())
def test_a_changed_encoding_is_refused_or_is_another_canonical_one(items, data):
    encoded = bytearray(rlp.encode(items))
    position = data.draw(st.integers(0, len(encoded) - 1))
    encoded[position] = data.draw(st.integers(0, 255))
    try:
        decoded = rlp.decode(bytes(encoded))
    except EncodingError:
        return
    assert rlp.encode(decoded) == encoded


@given(st.integers(0, 2**300))
def test_integers(number):
    assert rlp.decode_uint(rlp.encode_uint(number)) == number


@pytest.mark.parametrize("bad", [b"\x00", b"\x00\x01", []])
def test_an_integer_has_no_leading_zero_and_is_no_list(bad):
    with pytest.raises(EncodingError):
        rlp.decode_uint(bad)


def test_nesting_is_bounded_both_ways():
    item: rlp.Item = b""
    for _ in range(rlp.DEPTH_MAX):
        item = [item]
    assert rlp.decode(rlp.encode(item)) == item
    with pytest.raises(EncodingError, match="nested"):
        rlp.encode([item])
    with pytest.raises(EncodingError, match="nested"):
        rlp.decode(rlp.encode_list_payload(rlp.encode(item)))


def test_only_bytes_and_lists_are_encoded():
    for item in ("text", 7, None, bytearray(b"x"), {b"x"}):
        with pytest.raises(EncodingError):
            rlp.encode(item)
        with pytest.raises(EncodingError):
            rlp.encode([item])
    with pytest.raises(EncodingError):
        rlp.encode_uint(-1)
    with pytest.raises(EncodingError):
        rlp.decode_list(b"\x80")


@given(st.lists(ITEMS, max_size=8))
def test_a_list_is_split_into_its_items_as_they_stand(items):
    assert rlp.split_list(rlp.encode(items)) == [rlp.encode(item) for item in items]


@given(st.lists(ITEMS, max_size=4), st.data())
def test_what_is_split_is_one_list_of_whole_items(items, data):
    encoded = bytearray(rlp.encode(items))
    position = data.draw(st.integers(0, len(encoded) - 1))
    encoded[position] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(encoded)))
    for changed in (bytes(encoded), bytes(encoded[:cut]), bytes(encoded) + b"\x80"):
        try:
            whole = rlp.decode_list(changed)
        except EncodingError:
            try:
                parts = rlp.split_list(changed)
            except EncodingError:
                continue
            assert rlp.encode_list_payload(b"".join(parts)) == changed
            with pytest.raises(EncodingError):
                [rlp.decode(part) for part in parts]
        else:
            assert [rlp.decode(part) for part in rlp.split_list(changed)] == whole
