"""Maps, arrays and roles of a contract's storage: what is indexed, never held as a value.

A handle is made for a call and used where it is written (SANDBOX R10); how it finds its slots is
worked out once per contract. The values behind it are read and written by `storage`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from ledger.contract.door import Door
from ledger.contract.gas import GAS_HASH, GAS_KEY_BYTE
from ledger.contract.layout import WORD_BYTES, count_slots, data_slot, mapping_slot, slot_after
from ledger.contract.signals import PANIC_INDEX, PANIC_POP, PANIC_RANGE, Panicked
from ledger.contract.storage import (
    Access,
    Structs,
    make_access,
    make_element_accesses,
    make_member_accesses,
    shared,
)
from ledger.contract.types import (
    AddressType,
    ArrayType,
    BoolType,
    BytesType,
    EnumType,
    FixedBytesType,
    FixedListType,
    IntType,
    ListType,
    MapType,
    OptionalType,
    RoleType,
    StorageType,
    StringType,
    StructType,
    ValueType,
)
from ledger.types import Address, Slot

HANDLES = (MapType, ArrayType, RoleType, FixedListType)
"""What is indexed where it stands, never read as a whole through its field."""


class Handle:
    """A map, array or role at its slot, for one call: used where written, never kept."""

    __slots__ = ("base", "door")

    def __init__(self, door: Door, base: Slot) -> None:
        self.door = door
        self.base = base


def make_key_encoder(type: ValueType) -> Callable[[Any], bytes]:
    """A value as it is hashed: as in memory, so numbers to the left, bytesN to the right."""
    match type:
        case IntType() | EnumType():
            signed = isinstance(type, IntType) and type.signed
            low, high = (0, len(type.members)) if isinstance(type, EnumType) else type.bounds

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
    """The class of a map's handles: indexing finds a key's slot, then reads or writes there."""
    locate = make_locator(type.keys)
    if isinstance(type.value, HANDLES):
        inner = make_handle(type.value, structs)

        class MapOfHandles(Handle):
            __slots__ = ()

            def __getitem__(self, key: Any) -> Any:
                return inner(self.door, locate(self.door, self.base, key))

        if not isinstance(type.value, FixedListType):
            return MapOfHandles
        whole = make_access(type.value, structs)

        def store_whole(self: Handle, key: Any, value: Any) -> None:
            whole.store(self.door, locate(self.door, self.base, key), value)

        def remove(self: Handle, key: Any) -> None:
            store_whole(self, key, whole.zero)

        return type_with(MapOfHandles, __setitem__=store_whole, remove=remove)

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

    if not isinstance(type.plain_value, StructType):
        return MapOfValues
    refer, inside = make_reference(type.plain_value, structs), locate_inside(type.value)

    class MapOfStructs(MapOfValues):
        __slots__ = ()

        def at__(self, key: Any) -> Any:
            """The struct at a key, to be used by its members."""
            slot = locate(self.door, self.base, key)
            if contains is not None and not contains(self.door, slot):
                raise Panicked(PANIC_INDEX)
            return refer(self.door, slot_after(slot, inside))

    return MapOfStructs


def locate_inside(type: StorageType) -> int:
    """Slots from a map's value to the struct in it: an Optional's flag stands before."""
    return 1 if isinstance(type, OptionalType) else 0


def make_array(type: ArrayType, structs: Structs) -> Callable[[Door, Slot], Any]:
    """A dynamic array, its length at the base."""
    if isinstance(type.element, (MapType, ArrayType, RoleType, FixedListType)):
        return make_array_of_handles(type.element, structs)
    assert not isinstance(type.element, OptionalType), "Optional is for maps"
    return make_list(type.element, structs)


@shared
def make_list(element: ValueType, structs: Structs) -> Callable[[Door, Slot], Any]:
    """A list of values behind its length: a declared Array's, or a struct's member."""
    accesses, each, stride = make_element_accesses(element, structs)
    load_whole = make_access(ListType(element), structs).load

    class Array(Handle):
        __slots__ = ()

        def list__(self) -> Any:
            """All elements, copied into a list in memory."""
            return load_whole(self.door, self.base)

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
            access.store(self.door, slot, access.zero)
            self.door.store(self.base, length - 1)
            return value

    return with_parts(Array, element, structs)


def with_parts(
    made: type[Handle], element: ValueType, structs: Structs
) -> Callable[[Door, Slot], Any]:
    """Elements with parts of their own are used where they stand: structs by `at__`, lists by
    their index."""
    parts = make_parts(element, structs)
    if parts is None:
        return made

    def at(self: Any, index: int) -> Any:
        return parts(self.door, self._find(index)[1])

    return type_with(made, **{"at__" if isinstance(element, StructType) else "__getitem__": at})


def make_array_of_handles(element: StorageType, structs: Structs) -> Callable[[Door, Slot], Any]:
    """A dynamic array whose elements are indexed on: `append()` makes room for one more."""
    inner, stride = make_handle(element, structs), count_slots(element)

    class ArrayOfHandles(Handle):
        __slots__ = ()

        def __len__(self) -> int:
            return self.door.load(self.base)

        def __getitem__(self, index: int) -> Any:
            if not 0 <= index < self.door.load(self.base):
                raise Panicked(PANIC_INDEX)
            self.door.charge(GAS_HASH)
            return inner(self.door, slot_after(data_slot(self.base), index * stride))

        def append(self) -> None:
            self.door.store(self.base, self.door.load(self.base) + 1)

    return ArrayOfHandles


def make_fixed(type: FixedListType, structs: Structs) -> Callable[[Door, Slot], Any]:
    """T[N] in place: elements from the base on, no length."""
    size = type.size
    accesses, each, stride = make_element_accesses(type.element, structs)

    load_whole = make_access(type, structs).load

    class Fixed(Handle):
        __slots__ = ()

        def list__(self) -> Any:
            """All elements, copied into a list in memory."""
            return load_whole(self.door, self.base)

        def __len__(self) -> int:
            return size

        def _find(self, index: int) -> tuple[Access, Slot]:
            if not 0 <= index < size:
                raise Panicked(PANIC_INDEX)
            return accesses[index % each], slot_after(self.base, index // each * stride)

        def __getitem__(self, index: int) -> Any:
            access, slot = self._find(index)
            return access.load(self.door, slot)

        def __setitem__(self, index: int, value: Any) -> None:
            access, slot = self._find(index)
            access.store(self.door, slot, value)

    return with_parts(Fixed, type.element, structs)


def type_with(base: type[Handle], **members: Any) -> Callable[[Door, Slot], Any]:
    """A class of handles with some methods more."""
    made: type[Handle] = type(base.__name__, (base,), {"__slots__": (), **members})
    return made


class Reference:
    """A struct in storage, of which single members are read and written by their names."""

    __slots__ = ("base__", "door__")

    def __init__(self, door: Door, base: Slot) -> None:
        self.door__ = door
        self.base__ = base


@shared
def make_reference(struct: StructType, structs: Structs) -> Callable[[Door, Slot], Any]:
    """Properties by member: `f` its value, `f__at` a handle where it has parts of its own."""
    members: dict[str, Any] = {}
    for (name, member), (at, access) in zip(
        struct.fields, make_member_accesses(struct, structs), strict=True
    ):
        members[name] = _make_member(access, at)
        parts = make_parts(member, structs)
        if parts is not None:
            members[f"{name}__at"] = _make_member_parts(parts, at)
    made: type[Reference] = type("Reference", (Reference,), {"__slots__": (), **members})
    return made


def make_parts(type: StorageType, structs: Structs) -> Callable[[Door, Slot], Any] | None:
    """What reaches the parts of a value where it stands: of a struct or a list; else None."""
    match type:
        case StructType():
            return make_reference(type, structs)
        case ListType():
            return make_list(type.element, structs)
        case FixedListType():
            return make_fixed(type, structs)
    return None


def _make_member(access: Access, at: int) -> property:
    load, store = access.load, access.store
    return property(
        lambda ref: load(ref.door__, slot_after(ref.base__, at)),
        lambda ref, value: store(ref.door__, slot_after(ref.base__, at), value),
    )


def _make_member_parts(parts: Callable[[Door, Slot], Any], at: int) -> property:
    return property(lambda ref: parts(ref.door__, slot_after(ref.base__, at)))


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


@shared
def make_handle(type: StorageType, structs: Structs) -> Callable[[Door, Slot], Any]:
    """The class whose instances, made with (door, slot), a contract uses as `self.<field>`."""
    match type:
        case MapType():
            return make_map(type, structs)
        case ArrayType():
            return make_array(type, structs)
        case FixedListType():
            return make_fixed(type, structs)
        case RoleType():
            return RoleHandle
    raise AssertionError(f"{type} has no handle")
