"""What `self.<field>` reads and writes: typed values in the words of a contract's storage.

Accesses are built once per contract with slots, shifts and masks worked out, and used
through the door of a call. Where a value stands is `layout`. A value is checked against its
declared type here, on the way in. Maps, arrays and roles, which are no values, are `handles`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, wraps
from itertools import chain, repeat
from typing import Any, NoReturn, TypeVar

from ledger.contract.door import TEXT_BYTES_MAX, Door
from ledger.contract.gas import GAS_HASH, GAS_TEXT, GAS_TEXT_WORD
from ledger.contract.helpers import ITEM_SIZE
from ledger.contract.layout import (
    WORD_BYTES,
    count_slots,
    data_slot,
    get_members,
    get_value_size,
    place_members,
    slot_after,
    slots_from,
)
from ledger.contract.made import Made
from ledger.contract.places import LIST_ITEMS_MAX
from ledger.contract.signals import PANIC_INDEX, PANIC_RANGE, PANIC_SIZE, Panicked
from ledger.contract.types import (
    BoolType,
    BytesType,
    EnumType,
    FixedListType,
    IntType,
    ListType,
    OptionalType,
    StorageType,
    StringType,
    StructType,
)
from ledger.types import Slot, Word


@dataclass(frozen=True, slots=True)
class Access:
    """How a value of one type is read and written where it begins at a slot."""

    load: Callable[[Door, Slot], Any]
    store: Callable[[Door, Slot, Any], None]
    zero: Any
    """What an untouched slot reads as, and storing it leaves the slots empty."""
    contains: Callable[[Door, Slot], bool] | None = None
    """Of an Optional: whether it is present."""


SPELLED_WORDS_MAX = 16
"""Words of a struct whose slots are kept beside each other and whose code is spelled out."""
WORD_CODECS_KEPT = 2_048
"""Of a type at a place in its word, 2 kB each; a network's contracts have some hundred."""
Structs = dict[Any, Callable[..., Any]]
"""By name the value class of each declared struct, and what `shared` keeps."""
T = TypeVar("T")


def shared(make: Callable[[Any, Structs], T]) -> Callable[[Any, Structs], T]:
    """One result for all places of a program that have the same type.

    Else a source of 26 kB, with 600 maps to one wide struct, took 300 MB when it was run.
    """

    @wraps(make)
    def find(type: Any, structs: Structs) -> T:
        key = make.__name__, type
        kept: dict[Any, Any] = structs
        if key not in kept:
            kept[key] = make(type, structs)
        made: T = kept[key]
        return made

    return find


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
        case EnumType():
            return f"0 <= {value} < {len(type.members)}", f"{value}{shift}", low
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


@lru_cache(maxsize=WORD_CODECS_KEPT)
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
        case IntType() | EnumType():
            return 0
        case BoolType():
            return False
    return bytes(get_value_size(type) or 0)


@lru_cache(maxsize=WORD_CODECS_KEPT)
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
        door.charge(GAS_TEXT)
        word = door.load(slot)
        if not word & 1:
            return word.to_bytes(WORD_BYTES, "big")[: (word & 0xFF) >> 1]
        size = word >> 1
        door.allocate(2 * size)
        door.charge(GAS_HASH + GAS_TEXT_WORD * count_words(size))
        first = data_slot(slot)
        words = [door.load(slot_after(first, index)) for index in range(count_words(size))]
        return b"".join([each.to_bytes(WORD_BYTES, "big") for each in words])[:size]

    def store_bytes(door: Door, slot: Slot, value: bytes) -> None:
        size = len(value)
        if size > TEXT_BYTES_MAX:
            raise Panicked(PANIC_SIZE)
        door.charge(GAS_TEXT)
        old = door.load(slot)
        words_old = count_words(old >> 1) if old & 1 else 0
        words = count_words(size) if size >= WORD_BYTES else 0
        if words or words_old:
            door.charge(GAS_HASH + GAS_TEXT_WORD * max(words, words_old))
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


def make_member_accesses(type: StructType, structs: Structs) -> list[tuple[int, Access]]:
    """For each member the slots from the struct's first to its own, and its access there."""
    types = [member for _, member in type.fields]
    places, _ = place_members(types)
    numbers = [number for number, _ in places]
    return [
        (number, make_access(member, structs))
        if get_value_size(member) is None
        else (number, make_word_access(member, offset, alone=numbers.count(number) == 1))
        for member, (number, offset) in zip(types, places, strict=True)
    ]


def make_wide_struct_access(type: StructType, structs: Structs) -> Access:
    """A struct with members that take words of their own: text, structs, lists."""
    make, members = structs[type.name], make_member_accesses(type, structs)

    def load(door: Door, slot: Slot) -> Any:
        return make(*[each.load(door, slot_after(slot, at)) for at, each in members])

    def store(door: Door, slot: Slot, value: Any) -> None:
        for (at, each), member in zip(members, value, strict=True):
            each.store(door, slot_after(slot, at), member)

    return Access(load, store, make(*[each.zero for _, each in members]))


Elements = tuple[Mapping[int, Access], int, int]


def make_element_accesses(element: StorageType, structs: Structs) -> Elements:
    """How the elements in one stride of slots are reached, their number, and the slots."""
    size = get_value_size(element)
    if size is None:
        return {0: make_access(element, structs)}, 1, count_slots(element)
    each = WORD_BYTES // size
    places: Made[int, Access] = Made(
        lambda at: make_word_access(element, size * at, alone=each == 1)
    )
    return places, each, 1


def make_list_access(type: ListType | FixedListType, structs: Structs) -> Access:
    """A list read and written whole: T[N] in place, T[] behind its length."""
    accesses, each, stride = make_element_accesses(type.element, structs)
    zero = accesses[0].zero

    def load_items(door: Door, first: Slot, count: int) -> list[Any]:
        if count > LIST_ITEMS_MAX:
            raise Panicked(PANIC_SIZE)
        door.allocate(ITEM_SIZE * count)
        return [
            accesses[index % each].load(door, slot_after(first, index // each * stride))
            for index in range(count)
        ]

    def store_items(door: Door, first: Slot, values: Iterable[Any]) -> None:
        for index, value in enumerate(values):
            accesses[index % each].store(door, slot_after(first, index // each * stride), value)

    if isinstance(type, FixedListType):
        size = type.size

        def load_fixed(door: Door, slot: Slot) -> list[Any]:
            return load_items(door, slot, size)

        def store_fixed(door: Door, slot: Slot, values: Any) -> None:
            if len(values) != size:
                raise Panicked(PANIC_RANGE)
            store_items(door, slot, values)

        return Access(load_fixed, store_fixed, ZeroItems(zero, size))

    def load(door: Door, slot: Slot) -> list[Any]:
        count = door.load(slot)
        door.charge(GAS_HASH)
        return load_items(door, data_slot(slot), count)

    def store(door: Door, slot: Slot, values: Any) -> None:
        rest = max(0, door.load(slot) - len(values))
        door.charge(GAS_HASH)
        store_items(door, data_slot(slot), chain(values, repeat(zero, rest)))
        door.store(slot, len(values))

    return Access(load, store, ())


class ZeroItems:
    """The zero of a fixed list, however long: a list of it is never made."""

    __slots__ = ("item", "size")

    def __init__(self, item: Any, size: int) -> None:
        self.item = item
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[Any]:
        return repeat(self.item, self.size)


def make_struct_access(type: StructType, structs: Structs) -> Access:
    """A struct, read and written whole; spelled out where all of it fits few words."""
    make = structs[type.name]
    types = [member for _, member in type.fields]
    places, count = place_members(types)
    if count > SPELLED_WORDS_MAX or not all(get_value_size(member) for member in types):
        return make_wide_struct_access(type, structs)
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


@shared
def make_access(type: StorageType, structs: Structs) -> Access:
    """The access to a value that begins a slot of its own."""
    match type:
        case BytesType() | StringType():
            return make_text_access(type)
        case StructType():
            return make_struct_access(type, structs)
        case OptionalType():
            return make_optional_access(type, structs)
        case ListType() | FixedListType():
            return make_list_access(type, structs)
    return make_word_access(type, alone=True)
