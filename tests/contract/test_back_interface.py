"""Values through the doors: what they are charged for is what eth-abi makes of them."""

from typing import Any

import eth_abi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.contract.door import TEXT_BYTES_MAX
from ledger.contract.execution import make_record
from ledger.contract.gas import GAS_COUNT_ITEM
from ledger.contract.interface import EventCodec, compute_interface_id
from ledger.contract.model import Kind, MethodModel, Parameter, RecordModel
from ledger.contract.signals import PANIC_RANGE, PANIC_SIZE, OutOfGas, Panicked
from ledger.contract.types import (
    ADDRESS,
    BOOL,
    BYTES,
    STRING,
    UINT256,
    EnumType,
    FixedBytesType,
    FixedListType,
    IntType,
    ListType,
    StructType,
)
from ledger.contract.values import Values, name_type
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
    scalars
    + [(ListType(type), st.lists(values, max_size=4)) for type, values in scalars]
    + [
        (FixedListType(type, 3), st.lists(values, min_size=3, max_size=3))
        for type, values in scalars
    ]
    + [
        (
            ListType(FixedListType(ListType(type), 2)),
            st.lists(st.lists(st.lists(values, max_size=3), min_size=2, max_size=2), max_size=3),
        )
        for type, values in scalars
    ]
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


def test_a_list_that_holds_one_list_many_times_is_paid_before_it_is_gone_through():
    """16,384 times the same 16,384 texts: 10**8 words to count, with gas for none of them."""
    inner = ["text"] * 16_384
    values = Values((ListType(ListType(STRING)),), {})
    taken = []

    def charge(gas: int) -> None:
        taken.append(gas)
        if sum(taken) > 10 * GAS_COUNT_ITEM * 16_384:
            raise OutOfGas

    with pytest.raises(OutOfGas):
        values.count_words([[inner] * 16_384], charge)
    assert len(taken) == 11


def test_a_list_of_words_is_counted_without_being_gone_through():
    values = Values((ListType(FixedListType(UINT256, 3)),), {})
    assert values.count_words([[[1, 2, 3]] * 5], lambda gas: None) == 2 + 5 * 3


def test_an_enum_out_of_range_is_refused_at_the_door():
    values = Values((EnumType("Stage", ("A", "B")),), {})
    assert values.decode((1).to_bytes(32, "big")) == [1]
    with pytest.raises(EncodingError):
        values.decode((2).to_bytes(32, "big"))
    with pytest.raises(Panicked):
        values.encode([2])


def test_the_number_of_erc20_and_erc165():
    """ERC-20's 0x36372b07 and ERC-165's 0x01ffc9a7, as wallets ask for them."""

    def method(name: str, *types: Any) -> MethodModel:
        parameters = tuple(Parameter(f"p{index}", type) for index, type in enumerate(types))
        return MethodModel(name, Kind.WRITE, parameters, BOOL)

    erc20 = [
        method("total_supply"),
        method("balance_of", ADDRESS),
        method("transfer", ADDRESS, UINT256),
        method("transfer_from", ADDRESS, ADDRESS, UINT256),
        method("approve", ADDRESS, UINT256),
        method("allowance", ADDRESS, ADDRESS),
    ]
    assert compute_interface_id(erc20).hex() == "36372b07"
    assert (
        compute_interface_id([method("supports_interface", FixedBytesType(4))]).hex() == "01ffc9a7"
    )
