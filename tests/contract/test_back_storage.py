"""Typed storage against a plain dict model, word by word where the layout is known by heart."""

from types import CellType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.contract.door import (
    ALLOCATED_BYTES_MAX,
    TEXT_BYTES_MAX,
    Door,
)
from ledger.contract.execution import make_record
from ledger.contract.gas import GAS_LOAD, GAS_LOAD_AGAIN, GAS_STORE, GAS_STORE_AGAIN
from ledger.contract.handles import make_handle
from ledger.contract.signals import (
    PANIC_INDEX,
    PANIC_POP,
    PANIC_RANGE,
    PANIC_READ_ONLY,
    PANIC_SIZE,
    OutOfGas,
    Panicked,
)
from ledger.contract.storage import make_access, make_word_access
from ledger.contract.types import (
    ADDRESS,
    BOOL,
    BYTES,
    STRING,
    ArrayType,
    FixedBytesType,
    IntType,
    MapType,
    OptionalType,
    RoleType,
    StructType,
)
from ledger.crypto.keccak import keccak256

U8, U64, U256, I16 = (
    IntType(8, False),
    IntType(64, False),
    IntType(256, False),
    IntType(16, True),
)
READING = StructType("Reading", (("wh", U64), ("delta", I16), ("ok", BOOL), ("who", ADDRESS)))
NOTE = StructType("Note", (("by", ADDRESS), ("day", U64), ("sum", U256), ("last", BOOL)))
STRUCTS = {
    each.name: make_record(each.name, [name for name, _ in each.fields]) for each in (READING, NOTE)
}
ADDRESS_OF_CONTRACT = b"\x11" * 20
SLOT = (3).to_bytes(32, "big")
GAS = 1 << 40


class Words:
    """The part of a state that a door touches, as one dict."""

    def __init__(self) -> None:
        self.words: dict[bytes, int] = {}
        self.reads = 0

    def get_storage(self, address: bytes, slot: bytes) -> int:
        assert address == ADDRESS_OF_CONTRACT
        self.reads += 1
        return self.words.get(slot, 0)

    def set_storage(self, address: bytes, slot: bytes, word: int) -> None:
        assert address == ADDRESS_OF_CONTRACT
        assert 0 <= word < 1 << 256
        self.words[slot] = word
        if word == 0:
            del self.words[slot]


def open_door(words: Words, gas: int = GAS, read_only: bool = False) -> Door:
    door = Door(words, ADDRESS_OF_CONTRACT, read_only)  # type: ignore[arg-type]
    door.cell = CellType(gas)
    return door


def key_word(key: bytes, base: bytes = SLOT) -> bytes:
    return keccak256(key + base)


def panic_of(function: Any, *arguments: Any) -> int:
    with pytest.raises(Panicked) as caught:
        function(*arguments)
    return caught.value.code


# ---- layout by heart -----------------------------------------------------------------------------


def test_values_of_one_word_share_it_from_the_right():
    state, door = Words(), None
    door = open_door(state)
    low = make_word_access(U8, 0, alone=False)
    high = make_word_access(ADDRESS, 1, alone=False)
    sign = make_word_access(I16, 21, alone=False)

    high.store(door, SLOT, b"\xaa" * 20)
    low.store(door, SLOT, 7)
    sign.store(door, SLOT, -2)

    word = bytes.fromhex("00" * 9 + "fffe" + "aa" * 20 + "07")
    assert state.words == {SLOT: int.from_bytes(word, "big")}
    fresh = open_door(state)
    assert low.load(fresh, SLOT) == 7
    assert high.load(fresh, SLOT) == b"\xaa" * 20
    assert sign.load(fresh, SLOT) == -2


def test_a_map_hashes_numbers_left_and_bytes_right_padded():
    state = Words()
    door = open_door(state)
    cases = [
        (U8, 5, (5).to_bytes(32, "big")),
        (I16, -1, b"\xff" * 32),
        (BOOL, True, (1).to_bytes(32, "big")),
        (ADDRESS, b"\xab" * 20, bytes(12) + b"\xab" * 20),
        (FixedBytesType(4), b"abcd", b"abcd" + bytes(28)),
        (STRING, "strom", b"strom"),
        (BYTES, b"\0\1", b"\0\1"),
    ]
    for type, key, hashed in cases:
        make_handle(MapType((type,), U256), STRUCTS)(door, SLOT)[key] = 9
        assert state.words == {key_word(hashed): 9}
        state.words.clear()
        door = open_door(state)


def test_several_keys_hash_as_nested_mappings():
    state = Words()
    many = make_handle(MapType((ADDRESS, U64), U256), STRUCTS)(open_door(state), SLOT)
    many[b"\x01" * 20, 7] = 1

    inner = key_word(bytes(12) + b"\x01" * 20)
    assert state.words == {key_word((7).to_bytes(32, "big"), inner): 1}
    nested = make_handle(MapType((ADDRESS,), MapType((U64,), U256)), STRUCTS)
    assert nested(open_door(state), SLOT)[b"\x01" * 20][7] == 1


def test_short_text_is_one_word_and_long_text_its_own_words():
    state = Words()
    access = make_access(STRING, STRUCTS)
    access.store(open_door(state), SLOT, "a" * 31)
    assert state.words == {SLOT: int.from_bytes(b"a" * 31 + b"\x3e", "big")}

    access.store(open_door(state), SLOT, "b" * 33)
    first = int.from_bytes(keccak256(SLOT), "big")
    assert state.words == {
        SLOT: 67,
        first.to_bytes(32, "big"): int.from_bytes(b"b" * 32, "big"),
        (first + 1).to_bytes(32, "big"): int.from_bytes(b"b" + bytes(31), "big"),
    }
    assert access.load(open_door(state), SLOT) == "b" * 33

    access.store(open_door(state), SLOT, "")
    assert state.words == {}


def test_a_struct_is_read_and_written_whole_in_few_words():
    state = Words()
    access = make_access(READING, STRUCTS)
    reading = STRUCTS["Reading"](1_250, -3, True, b"\xcc" * 20)

    door = open_door(state)
    access.store(door, SLOT, reading)
    assert len(state.words) == 1
    assert door.cell.cell_contents == GAS - GAS_LOAD - GAS_STORE
    assert access.load(open_door(state), SLOT) == reading
    assert access.zero == STRUCTS["Reading"](0, 0, False, bytes(20))


def test_an_optional_beside_its_flag_is_one_word():
    state = Words()
    handle = make_handle(MapType((U64,), OptionalType(U64)), STRUCTS)(open_door(state), SLOT)
    assert 7 not in handle
    assert panic_of(handle.__getitem__, 7) == PANIC_INDEX

    handle[7] = 0

    assert list(state.words.values()) == [1]
    assert 7 in handle and handle[7] == 0
    handle.remove(7)
    assert 7 not in handle and state.words == {}


# ---- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type", "good", "bad"),
    [
        (U8, [0, 255], [-1, 256]),
        (I16, [-(1 << 15), (1 << 15) - 1], [-(1 << 15) - 1, 1 << 15]),
        (U256, [0, (1 << 256) - 1], [-1, 1 << 256]),
        (ADDRESS, [bytes(20)], [b"", bytes(21)]),
        (FixedBytesType(4), [b"abcd"], [b"abc", b"abcde"]),
    ],
)
def test_a_value_outside_its_type_is_a_panic_and_stores_nothing(type, good, bad):
    for wrap in (make_access, lambda type, structs: make_word_access(type, 0, alone=False)):
        access = wrap(type, STRUCTS)
        for value in good:
            state = Words()
            access.store(open_door(state), SLOT, value)
            assert access.load(open_door(state), SLOT) == value
        for value in bad:
            state = Words()
            assert panic_of(access.store, open_door(state), SLOT, value) == PANIC_RANGE
            assert state.words == {}


def test_a_key_outside_its_type_is_a_panic():
    handle = make_handle(MapType((U8,), U8), STRUCTS)(open_door(Words()), SLOT)
    assert panic_of(handle.__getitem__, 256) == PANIC_RANGE
    assert panic_of(handle.__setitem__, -1, 0) == PANIC_RANGE


def test_text_longer_than_its_limit_is_a_panic():
    access = make_access(BYTES, STRUCTS)
    assert panic_of(access.store, open_door(Words()), SLOT, bytes(TEXT_BYTES_MAX + 1)) == PANIC_SIZE


def test_an_index_outside_an_array_is_a_panic():
    array = make_handle(ArrayType(U8), STRUCTS)(open_door(Words()), SLOT)
    assert panic_of(array.pop) == PANIC_POP
    array.append(1)
    for index in (-1, 1, 1 << 200):
        assert panic_of(array.__getitem__, index) == PANIC_INDEX
        assert panic_of(array.__setitem__, index, 1) == PANIC_INDEX


def test_where_only_reading_is_allowed_every_write_panics():
    state = Words()
    door = open_door(state, read_only=True)
    role = make_handle(RoleType(), STRUCTS)(door, SLOT)
    assert b"\1" * 20 not in role
    assert panic_of(role.grant, b"\1" * 20) == PANIC_READ_ONLY
    door = open_door(state, read_only=True)
    assert panic_of(door.open_log, 1, 0) == PANIC_READ_ONLY
    assert state.words == {} and door.stack.logs == []


# ---- gas and the latch ---------------------------------------------------------------------------


def test_a_word_costs_more_the_first_time():
    door = open_door(Words())
    spent = []
    for act in (
        lambda: door.load(SLOT),
        lambda: door.load(SLOT),
        lambda: door.store(SLOT, 1),
        lambda: door.store(SLOT, 2),
        lambda: door.load(SLOT),
    ):
        before = door.cell.cell_contents
        act()
        spent.append(before - door.cell.cell_contents)
    assert spent == [GAS_LOAD, GAS_LOAD_AGAIN, GAS_STORE, GAS_STORE_AGAIN, GAS_LOAD_AGAIN]


def test_a_word_written_unseen_pays_for_its_path_as_well():
    door = open_door(Words())
    before = door.cell.cell_contents
    door.store(SLOT, 1)
    assert before - door.cell.cell_contents == GAS_LOAD + GAS_STORE
    door.store(SLOT, 2)
    door.load(SLOT)
    assert before - door.cell.cell_contents == (
        GAS_LOAD + GAS_STORE + GAS_STORE_AGAIN + GAS_LOAD_AGAIN
    )


def test_a_door_charges_before_it_works():
    state = Words()
    door = open_door(state, GAS_LOAD - 1)
    with pytest.raises(OutOfGas):
        door.load(SLOT)
    assert state.reads == 0
    door = open_door(state, GAS_LOAD + GAS_STORE - 1)
    with pytest.raises(OutOfGas):
        door.store(SLOT, 1)
    assert state.words == {}


def test_out_of_gas_is_raised_again_at_every_touch():
    state = Words()
    door = open_door(state, 10)
    role = make_handle(RoleType(), STRUCTS)(door, SLOT)
    array = make_handle(ArrayType(U64), STRUCTS)(door, SLOT)
    with pytest.raises(OutOfGas) as first:
        door.charge(11)
    for touch in (
        lambda: door.charge(0),
        lambda: door.load(SLOT),
        lambda: door.store(SLOT, 1),
        lambda: door.open_log(1, 0),
        lambda: role.grant(bytes(20)),
        lambda: array.append(1),
        lambda: len(array),
        door.run_out,
    ):
        with pytest.raises(OutOfGas) as again:
            touch()
        assert again.value is first.value
    assert state.words == {} and door.stack.logs == []
    assert door.gas_left == 0


def test_the_sum_of_what_is_allocated_never_falls():
    door = open_door(Words(), 100)
    door.allocate(ALLOCATED_BYTES_MAX)
    assert panic_of(door.allocate, 1) == PANIC_SIZE
    assert panic_of(door.charge, 0) == PANIC_SIZE
    assert door.gas_left == 100


# ---- against a plain model -----------------------------------------------------------------------

texts = st.text(st.characters(codec="utf-8"), max_size=80)
small = st.integers(0, 3)
ints = {U8: st.integers(0, 255), U64: st.integers(0, 2**64 - 1), U256: st.integers(0, 2**256 - 1)}
addresses = st.binary(min_size=20, max_size=20)
readings = st.builds(
    STRUCTS["Reading"], ints[U64], st.integers(-(2**15), 2**15 - 1), st.booleans(), addresses
)
notes = st.builds(STRUCTS["Note"], addresses, ints[U64], ints[U256], st.booleans())
VALUES = [
    *ints.items(),
    (I16, st.integers(-(2**15), 2**15 - 1)),
    (BOOL, st.booleans()),
    (ADDRESS, addresses),
    (FixedBytesType(5), st.binary(min_size=5, max_size=5)),
    (FixedBytesType(32), st.binary(min_size=32, max_size=32)),
    (BYTES, st.binary(max_size=100)),
    (STRING, texts),
    (READING, readings),
    (NOTE, notes),
]


@pytest.mark.parametrize(("type", "values"), VALUES, ids=lambda each: str(each)[:20])
@given(data=st.data())
def test_a_map_is_a_dict(type, values, data):
    state, model = Words(), {}
    optional = data.draw(st.booleans())
    make = make_handle(MapType((U8,), OptionalType(type) if optional else type), STRUCTS)
    zero = make_access(type, STRUCTS).zero
    for key, value in data.draw(st.lists(st.tuples(small, st.none() | values), max_size=12)):
        handle = make(open_door(state), SLOT)
        if value is None:
            handle.remove(key)
            model.pop(key, None)
        else:
            handle[key] = value
            model[key] = value
        for each in range(4):
            if optional:
                assert (each in handle) == (each in model)
            if not optional or each in model:
                assert handle[each] == make(open_door(state), SLOT)[each] == model.get(each, zero)
    for key in range(4):
        make(open_door(state), SLOT).remove(key)
    assert state.words == {}


@pytest.mark.parametrize(("type", "values"), VALUES, ids=lambda each: str(each)[:20])
@given(data=st.data())
def test_an_array_is_a_list(type, values, data):
    state, model = Words(), []
    make = make_handle(ArrayType(type), STRUCTS)
    acts = st.tuples(
        st.sampled_from(["append", "append", "set", "pop"]), st.integers(0, 40), values
    )
    for act, index, value in data.draw(st.lists(acts, max_size=45)):
        array = make(open_door(state), SLOT)
        if act == "append":
            array.append(value)
            model.append(value)
        elif act == "pop" and model:
            assert array.pop() == model.pop()
        elif act == "set" and index < len(model):
            array[index] = value
            model[index] = value
        fresh = make(open_door(state), SLOT)
        assert len(array) == len(fresh) == len(model)
    fresh = make(open_door(state), SLOT)
    assert [fresh[index] for index in range(len(fresh))] == model
    while model:
        assert make(open_door(state), SLOT).pop() == model.pop()
    assert state.words == {}


def test_places_of_one_type_share_what_reads_them():
    """600 maps to one struct of 126 members took 300 MB in one call, more than a worker may."""
    wide = StructType("Wide", tuple((f"m{number}", U8) for number in range(126)))
    structs: dict[Any, Any] = {"Wide": make_record("Wide", [name for name, _ in wide.fields])}
    door = open_door(Words())
    kinds = {
        type(make_handle(MapType((key,), wide), structs)(door, SLOT).at__(1)) for key in (U8, U64)
    }
    assert len(kinds) == 1
    assert make_access(wide, structs) is make_access(wide, structs)
    assert make_word_access(U8, 3, alone=False) is make_word_access(U8, 3, alone=False)
