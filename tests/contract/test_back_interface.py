"""Values through the doors: what they are charged for is what eth-abi makes of them."""

from typing import Any

import eth_abi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.contract.door import TEXT_BYTES_MAX
from ledger.contract.execution import make_record
from ledger.contract.interface import EventCodec, Values, name_type
from ledger.contract.model import Parameter, RecordModel
from ledger.contract.signals import PANIC_RANGE, PANIC_SIZE, Panicked
from ledger.contract.types import (
    ADDRESS,
    BOOL,
    BYTES,
    STRING,
    UINT256,
    FixedBytesType,
    IntType,
    ListType,
    StructType,
)
from ledger.crypto.keccak import keccak256
from ledger.errors import EncodingError

U8, I16 = IntType(8, False), IntType(16, True)
PAIR = StructType("Pair", (("first", UINT256), ("second", BOOL)))
STRUCTS = {"Pair": make_record("Pair", ["first", "second"])}

scalars: list[tuple[Any, Any]] = [
    (U8, st.integers(0, 255)),
    (I16, st.integers(-(2**15), 2**15 - 1)),
    (UINT256, st.integers(0, 2**256 - 1)),
    (BOOL, st.booleans()),
    (ADDRESS, st.binary(min_size=20, max_size=20)),
    (FixedBytesType(3), st.binary(min_size=3, max_size=3)),
    (BYTES, st.binary(max_size=70)),
    (STRING, st.text(st.characters(codec="utf-8"), max_size=70)),
    (PAIR, st.builds(STRUCTS["Pair"], st.integers(0, 2**256 - 1), st.booleans())),
]
typed = st.sampled_from(
    scalars + [(ListType(type), st.lists(values, max_size=4)) for type, values in scalars]
)


@given(st.data())
def test_values_are_encoded_counted_and_decoded_as_by_eth_abi(data):
    chosen = data.draw(st.lists(typed, max_size=5))
    types = [type for type, _ in chosen]
    values = [data.draw(strategy) for _, strategy in chosen]
    door = Values(types, STRUCTS)

    encoded = door.encode(values)

    assert encoded == eth_abi.encode([name_type(type) for type in types], values)
    assert door.count_words(values, lambda gas: None) == len(encoded) // 32
    assert list(door.decode(encoded)) == values
    with pytest.raises(EncodingError):
        door.decode(encoded + b"\0")


def test_a_struct_comes_in_as_its_own_class():
    pair = STRUCTS["Pair"](7, True)
    door = Values([PAIR, ListType(PAIR)], STRUCTS)
    one, many = door.decode(door.encode([pair, [pair]]))
    assert (one.first, many[0].second) == (7, True)


@pytest.mark.parametrize(("type", "value"), [(U8, 256), (U8, -1), (I16, 2**15), (UINT256, 2**256)])
def test_a_value_outside_its_type_does_not_leave(type, value):
    for types, values in (([type], [value]), ([type, STRING], [value, ""])):
        with pytest.raises(Panicked) as caught:
            Values(types, STRUCTS).encode(values)
        assert caught.value.code == PANIC_RANGE


@pytest.mark.parametrize("type", [BYTES, ListType(BYTES)])
def test_text_longer_than_its_limit_does_not_enter(type):
    for size, ends in ((TEXT_BYTES_MAX, False), (TEXT_BYTES_MAX + 1, True)):
        value = bytes(size) if type is BYTES else [bytes(size)]
        door = Values([type], STRUCTS)
        data = eth_abi.encode([name_type(type)], [value])
        if not ends:
            assert door.decode(data) == [value]
            continue
        with pytest.raises(Panicked) as caught:
            door.decode(data)
        assert caught.value.code == PANIC_SIZE


def test_an_indexed_field_longer_than_a_word_is_the_hash_of_its_parts_in_place():
    fields = [("words", ListType(U8)), ("texts", ListType(STRING)), ("pair", PAIR)]
    event = RecordModel("Kept", tuple([Parameter(*each, indexed=True) for each in fields]))
    topics, data = EventCodec(event, STRUCTS).encode(([1, 2], ["a", "b" * 33], (7, True)))
    word = [number.to_bytes(32, "big") for number in range(8)]
    assert data == b""
    assert topics == (
        keccak256(b"Kept(uint8[],string[],(uint256,bool))"),
        keccak256(word[1] + word[2]),
        keccak256(b"a" + bytes(31) + b"b" * 33 + bytes(31)),
        keccak256(word[7] + word[1]),
    )


def test_a_log_is_read_back_with_hashes_where_topics_are_hashes():
    fields = [("who", ADDRESS, True), ("text", STRING, True), ("note", STRING, False)]
    codec = EventCodec(RecordModel("E", tuple([Parameter(*each) for each in fields])), STRUCTS)
    values = [b"\1" * 20, "x", "note"]
    assert codec.decode(*codec.encode(values)) == [b"\1" * 20, keccak256(b"x"), "note"]
