"""What `self.<field>` reads and writes: typed values in the words of a contract's storage.

Accesses and handles are built once per contract with slots, shifts and masks worked out, and used
through the door of a call. Where a value stands is `layout`. A value is checked against its
declared type here, on the way in.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from ledger.contract.door import GAS_HASH, GAS_KEY_BYTE, TEXT_BYTES_MAX, Door
from ledger.contract.layout import (
    WORD_BYTES,
    count_slots,
    data_slot,
    get_members,
    get_value_size,
    mapping_slot,
    place_members,
    slot_after,
    slots_from,
)
from ledger.contract.signals import (
    PANIC_INDEX,
    PANIC_POP,
    PANIC_RANGE,
    PANIC_SIZE,
    Panicked,
)
from ledger.contract.types import (
    AddressType,
    ArrayType,
    BoolType,
    BytesType,
    FixedBytesType,
    IntType,
    MapType,
    OptionalType,
    RoleType,
    StorageType,
    StringType,
    StructType,
    ValueType,
)
from ledger.types import Address, Slot, Word


@dataclass(frozen=True, slots=True)
class Access:
    """How a value of one type is read and written where it begins at a slot."""

    load: Callable[[Door, Slot], Any]
    store: Callable[[Door, Slot, Any], None]
    zero: Any
    """What an untouched slot reads as, and storing it leaves the slots empty."""
    contains: Callable[[Door, Slot], bool] | None = None
    """Of an Optional: whether it is present."""


Structs = Mapping[str, Callable[..., Any]]
"""The value class of each declared struct."""


# ---- one word ------------------------------------------------------------------------------------


def spell_word(type: StorageType, offset: int, value: str, word: str) -> tuple[str, str, str]:
    """Python for a value at `offset` bytes from the right of its word.

    Returns the condition that the value named `value` fits, its part of the word, and the value
    read back from the word named `word`. Spelled out, because a call for each field of a struct
    took half the time of a metering transaction; only numbers of ours are in the text.
    """
    size, shift = get_value_size(type) or 0, f" << {8 * offset}" if offset else ""
    mask = (1 << 8 * size) - 1
    low = f"{word} >> {8 * offset} & {mask}"
    match type:
        case IntType(signed=True):
            half = mask // 2 + 1
            fits = f"-{half} <= {value} < {half}"
            return fits, f"({value} & {mask}){shift}", f"(({low}) ^ {half}) - {half}"
        case IntType():
            return f"0 <= {value} <= {mask}", f"{value}{shift}", low
        case BoolType():
            return "True", f"{value}{shift}", f"({low}) != 0"
    fits = f"len({value}) == {size}"
    return fits, f"from_bytes({value}, 'big'){shift}", f"({low}).to_bytes({size}, 'big')"


def compile_spelling(text: str, make: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """A function from an expression of ours; its `fail` is the panic of a value out of range."""

    def fail() -> NoReturn:
        raise Panicked(PANIC_RANGE)

    scope = {"__builtins__": {}, "fail": fail, "from_bytes": int.from_bytes, "len": len}
    function: Callable[..., Any] = eval(text, {**scope, "make": make})
    return function


def make_word_codec(
    type: StorageType, offset: int = 0
) -> tuple[Callable[[Any], Word], Callable[[Word], Any]]:
    """From a value to its part of a word, range-checked, and from the word back."""
    fits, part, back = spell_word(type, offset, "v", "w")
    encode = compile_spelling(f"lambda v: 0 | {part} if {fits} else fail()")
    return encode, compile_spelling(f"lambda w: {back}")


def get_zero(type: StorageType) -> int | bool | bytes:
    """What a value reads as where nothing was written."""
    match type:
        case IntType():
            return 0
        case BoolType():
            return False
    return bytes(get_value_size(type) or 0)


def make_word_access(type: StorageType, offset: int = 0, *, alone: bool) -> Access:
    """A value `offset` bytes from the right of its word; `alone` if nothing shares the word."""
    encode, decode = make_word_codec(type, offset)
    others = ~(((1 << 8 * (get_value_size(type) or 0)) - 1) << 8 * offset)

    def load(door: Door, slot: Slot) -> Any:
        return decode(door.load(slot))

    def store(door: Door, slot: Slot, value: Any) -> None:
        door.store(slot, encode(value))

    def store_beside(door: Door, slot: Slot, value: Any) -> None:
        part = encode(value)
        door.store(slot, door.load(slot) & others | part)

    return Access(load, store if alone else store_beside, get_zero(type))


# ---- several words -------------------------------------------------------------------------------


def make_text_access(type: BytesType | StringType) -> Access:
    """bytes and string: up to 31 in one word, longer in the words from keccak(slot) on."""

    def load_bytes(door: Door, slot: Slot) -> bytes:
        word = door.load(slot)
        if not word & 1:
            return word.to_bytes(WORD_BYTES, "big")[: (word & 0xFF) >> 1]
        size = word >> 1
        door.allocate(2 * size)
        door.charge(GAS_HASH)
        first = data_slot(slot)
        words = [door.load(slot_after(first, index)) for index in range(count_words(size))]
        return b"".join([each.to_bytes(WORD_BYTES, "big") for each in words])[:size]

    def store_bytes(door: Door, slot: Slot, value: bytes) -> None:
        size = len(value)
        if size > TEXT_BYTES_MAX:
            raise Panicked(PANIC_SIZE)
        old = door.load(slot)
        words_old = count_words(old >> 1) if old & 1 else 0
        words = count_words(size) if size >= WORD_BYTES else 0
        if words or words_old:
            door.charge(GAS_HASH)
        first = data_slot(slot) if words or words_old else slot
        for index in range(max(words, words_old)):
            chunk = value[WORD_BYTES * index : WORD_BYTES * (index + 1)] if index < words else b""
            word = int.from_bytes(chunk.ljust(WORD_BYTES, b"\0"), "big")
            door.store(slot_after(first, index), word)
        short = int.from_bytes(value.ljust(WORD_BYTES, b"\0"), "big") | 2 * size
        door.store(slot, 2 * size + 1 if words else short)

    if isinstance(type, BytesType):
        return Access(load_bytes, store_bytes, b"")

    def load_string(door: Door, slot: Slot) -> str:
        return load_bytes(door, slot).decode("utf-8")

    def store_string(door: Door, slot: Slot, value: str) -> None:
        door.allocate(4 * len(value))
        store_bytes(door, slot, value.encode("utf-8"))

    return Access(load_string, store_string, "")


def count_words(size: int) -> int:
    return (size + WORD_BYTES - 1) // WORD_BYTES


def make_struct_access(type: StructType, structs: Structs) -> Access:
    """A struct of values that fit words, read and written whole."""
    make = structs[type.name]
    types = [member for _, member in type.fields]
    places, count = place_members(types)
    conditions, backs, parts = [], [], ["0"] * count
    for number, (member, (index, offset)) in enumerate(zip(types, places, strict=True)):
        fits, part, back = spell_word(member, offset, f"v{number}", f"w{index}")
        conditions.append(fits)
        backs.append(back)
        parts[index] += f" | {part}"
    values = ", ".join([f"v{number}" for number in range(len(types))])
    words = ", ".join([f"w{index}" for index in range(count)])
    packed = f"({', '.join(parts)},) if {' and '.join(conditions)} else fail()"
    pack = compile_spelling(f"lambda {values}: {packed}")
    unpack = compile_spelling(f"lambda {words}: make({', '.join(backs)})", make)

    def load(door: Door, slot: Slot) -> Any:
        return unpack(*[door.load(each) for each in slots_from(slot, count)])

    def store(door: Door, slot: Slot, value: Any) -> None:
        for each, word in zip(slots_from(slot, count), pack(*value), strict=True):
            door.store(each, word)

    def load_one(door: Door, slot: Slot) -> Any:
        return unpack(door.load(slot))

    def store_one(door: Door, slot: Slot, value: Any) -> None:
        door.store(slot, *pack(*value))

    zero = make(*[get_zero(member) for member in types])
    return Access(load_one, store_one, zero) if count == 1 else Access(load, store, zero)


def make_optional_access(type: OptionalType, structs: Structs) -> Access:
    """The struct {bool present; T value}. Its `zero` is None: storing that makes it absent."""
    (_, (index, offset)), _ = place_members(member for _, member in get_members(type))
    if index == 0:
        encode, decode = make_word_codec(type.value, offset)
    else:
        inner = make_access(type.value, structs)

    def contains(door: Door, slot: Slot) -> bool:
        return bool(door.load(slot) & 0xFF)

    def load(door: Door, slot: Slot) -> Any:
        word = door.load(slot)
        if not word & 0xFF:
            raise Panicked(PANIC_INDEX)
        if index == 0:
            return decode(word)
        return inner.load(door, slot_after(slot, index))

    def store(door: Door, slot: Slot, value: Any) -> None:
        present = value is not None
        if index == 0:
            door.store(slot, encode(value) | 1 if present else 0)
        else:
            inner.store(door, slot_after(slot, index), value if present else inner.zero)
            door.store(slot, int(present))

    return Access(load, store, None, contains)


def make_access(type: StorageType, structs: Structs) -> Access:
    """The access to a value that begins a slot of its own."""
    match type:
        case BytesType() | StringType():
            return make_text_access(type)
        case StructType():
            return make_struct_access(type, structs)
        case OptionalType():
            return make_optional_access(type, structs)
    return make_word_access(type, alone=True)


# ---- handles -------------------------------------------------------------------------------------


class Handle:
    """A map, array or role at its slot, for one call: used where written, never kept."""

    __slots__ = ("base", "door")

    def __init__(self, door: Door, base: Slot) -> None:
        self.door = door
        self.base = base


def make_key_encoder(type: ValueType) -> Callable[[Any], bytes]:
    """A value as it is hashed: as in memory, so numbers to the left, bytesN to the right."""
    match type:
        case IntType():
            signed = type.signed
            low = -(1 << type.bits - 1) if signed else 0
            high = low + (1 << type.bits)

            def encode_int(value: int) -> bytes:
                if low <= value < high:
                    return value.to_bytes(WORD_BYTES, "big", signed=signed)
                raise Panicked(PANIC_RANGE)

            return encode_int
        case BoolType():
            return lambda value: int(value).to_bytes(WORD_BYTES, "big")
        case AddressType():
            return lambda value: value.rjust(WORD_BYTES, b"\0")
        case FixedBytesType():
            return lambda value: value.ljust(WORD_BYTES, b"\0")
        case StringType():
            return lambda value: value.encode("utf-8")
    return bytes


def make_locator(keys: Sequence[ValueType]) -> Callable[[Door, Slot, Any], Slot]:
    """(door, base, key or tuple of keys) to the slot of the value."""
    encoders = tuple([make_key_encoder(key) for key in keys])
    texts = [isinstance(key, BytesType | StringType) for key in keys]
    gas = GAS_HASH * len(keys)

    encode_first, alone = encoders[0], len(keys) == 1

    def locate_one(door: Door, base: Slot, key: Any) -> Slot:
        door.charge(gas)
        return mapping_slot(base, encode_first(key))

    def locate_each(door: Door, base: Slot, key: Any) -> Slot:
        door.charge(gas)
        for encode, part in zip(encoders, key, strict=True):
            base = mapping_slot(base, encode(part))
        return base

    def locate_text(door: Door, base: Slot, key: Any) -> Slot:
        parts = (key,) if alone else key
        size = sum([4 * len(part) for part, text in zip(parts, texts, strict=True) if text])
        door.charge(GAS_KEY_BYTE * size)
        return locate_each(door, base, parts)

    if any(texts):
        return locate_text
    return locate_one if alone else locate_each


def make_map(type: MapType, structs: Structs) -> Callable[[Door, Slot], Any]:
    locate = make_locator(type.keys)
    if isinstance(type.value, (MapType, ArrayType, RoleType)):
        inner = make_handle(type.value, structs)

        class MapOfHandles(Handle):
            __slots__ = ()

            def __getitem__(self, key: Any) -> Any:
                return inner(self.door, locate(self.door, self.base, key))

        return MapOfHandles

    access = make_access(type.value, structs)
    load, store, zero, contains = access.load, access.store, access.zero, access.contains

    class MapOfValues(Handle):
        __slots__ = ()

        def __getitem__(self, key: Any) -> Any:
            return load(self.door, locate(self.door, self.base, key))

        def __setitem__(self, key: Any, value: Any) -> None:
            store(self.door, locate(self.door, self.base, key), value)

        def __contains__(self, key: Any) -> bool:
            assert contains is not None, "only a map of Optional is asked for a key"
            return contains(self.door, locate(self.door, self.base, key))

        def remove(self, key: Any) -> None:
            store(self.door, locate(self.door, self.base, key), zero)

    return MapOfValues


def make_array(type: ArrayType, structs: Structs) -> Callable[[Door, Slot], Any]:
    size = get_value_size(type.element)
    if size is None:
        accesses = [make_access(type.element, structs)]
        stride = count_slots(type.element)
    else:
        per_word = WORD_BYTES // size
        alone = per_word == 1
        accesses = [
            make_word_access(type.element, size * index, alone=alone) for index in range(per_word)
        ]
        stride = 1
    each, zero = len(accesses), accesses[0].zero

    class Array(Handle):
        __slots__ = ()

        def __len__(self) -> int:
            return self.door.load(self.base)

        def _locate(self, index: int) -> tuple[Access, Slot]:
            self.door.charge(GAS_HASH)
            at = slot_after(data_slot(self.base), index // each * stride)
            return accesses[index % each], at

        def _find(self, index: int) -> tuple[Access, Slot]:
            if not 0 <= index < self.door.load(self.base):
                raise Panicked(PANIC_INDEX)
            return self._locate(index)

        def __getitem__(self, index: int) -> Any:
            access, slot = self._find(index)
            return access.load(self.door, slot)

        def __setitem__(self, index: int, value: Any) -> None:
            access, slot = self._find(index)
            access.store(self.door, slot, value)

        def append(self, value: Any) -> None:
            length = self.door.load(self.base)
            access, slot = self._locate(length)
            access.store(self.door, slot, value)
            self.door.store(self.base, length + 1)

        def pop(self) -> Any:
            length = self.door.load(self.base)
            if length == 0:
                raise Panicked(PANIC_POP)
            access, slot = self._locate(length - 1)
            value = access.load(self.door, slot)
            access.store(self.door, slot, zero)
            self.door.store(self.base, length - 1)
            return value

    return Array


class RoleHandle(Handle):
    """mapping(address => bool)."""

    __slots__ = ()

    def _locate(self, account: Address) -> Slot:
        self.door.charge(GAS_HASH)
        return mapping_slot(self.base, account.rjust(WORD_BYTES, b"\0"))

    def __contains__(self, account: Address) -> bool:
        return bool(self.door.load(self._locate(account)) & 0xFF)

    def grant(self, account: Address) -> None:
        self.door.store(self._locate(account), 1)

    def revoke(self, account: Address) -> None:
        self.door.store(self._locate(account), 0)


def make_handle(type: StorageType, structs: Structs) -> Callable[[Door, Slot], Any]:
    """The class whose instances, made with (door, slot), a contract uses as `self.<field>`."""
    match type:
        case MapType():
            return make_map(type, structs)
        case ArrayType():
            return make_array(type, structs)
        case RoleType():
            return RoleHandle
    raise AssertionError(f"{type} has no handle")
