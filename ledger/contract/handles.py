"""Maps, arrays and roles of a contract's storage: what is indexed, never held as a value.

A handle is made for a call and used where it is written (SANDBOX R10); how it finds its slots is
worked out once per contract. The values behind it are read and written by `storage`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from ledger.contract.door import Door
from ledger.contract.gas import GAS_HASH, GAS_KEY_BYTE
from ledger.contract.layout import (
    WORD_BYTES,
    count_slots,
    data_slot,
    get_value_size,
    mapping_slot,
    slot_after,
)
from ledger.contract.signals import (
    PANIC_INDEX,
    PANIC_POP,
    PANIC_RANGE,
    Panicked,
)
from ledger.contract.storage import Access, Structs, make_access, make_word_access
from ledger.contract.types import (
    AddressType,
    ArrayType,
    BoolType,
    BytesType,
    FixedBytesType,
    IntType,
    MapType,
    RoleType,
    StorageType,
    StringType,
    ValueType,
)
from ledger.types import Address, Slot


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
