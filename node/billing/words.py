"""Typed values out of storage words, by the layout of a contract's source.

A `Words` is whatever gives words for slots: proofs checked against a certified header, or a node
that is believed. Layout: Solidity's, as `ledger.contract.layout` computes it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ledger.contract.layout import (
    count_slots,
    get_value_size,
    mapping_slot,
    place_members,
    slot_after,
)
from ledger.contract.model import ContractModel
from ledger.contract.types import (
    AddressType,
    ArrayType,
    BoolType,
    IntType,
    MapType,
    StructType,
    ValueType,
)
from ledger.crypto.keccak import keccak256
from ledger.types import Slot, Word


class Words(Protocol):
    """Gives the words of many slots at once, all as of one block."""

    def read(self, slots: Iterable[Slot]) -> Mapping[Slot, Word]: ...


def encode_key(key: int | bytes) -> bytes:
    """A mapping's key, an unsigned integer or an address, as the 32 bytes that are hashed."""
    return key.to_bytes(32, "big") if isinstance(key, int) else key.rjust(32, b"\0")


@dataclass(frozen=True)
class Layout:
    """Where the fields of one contract stand."""

    model: ContractModel

    def field_slot(self, name: str) -> Slot:
        """The slot of a field that begins one."""
        return self._place(name)[0].to_bytes(32, "big")

    def _place(self, name: str) -> tuple[int, int]:
        places, _ = place_members(field.type for field in self.model.fields)
        names = [field.name for field in self.model.fields]
        return places[names.index(name)]

    def has(self, name: str) -> bool:
        return any(field.name == name for field in self.model.fields)

    def field_type(self, name: str) -> Any:
        return next(field.type for field in self.model.fields if field.name == name)

    def value_slot(self, name: str, *keys: int | bytes) -> Slot:
        """The slot of what a map holds at its keys."""
        slot = self.field_slot(name)
        for key in keys:
            slot = mapping_slot(slot, encode_key(key))
        return slot

    def read_scalar(self, words: Words, name: str) -> Any:
        """A field that shares its slot or has one alone."""
        number, offset = self._place(name)
        slot = number.to_bytes(32, "big")
        return decode_value(self.field_type(name), words.read([slot])[slot], offset)


def struct_of(type: Any) -> StructType:
    """The struct that a map or an array holds, however deep."""
    while isinstance(type, MapType | ArrayType):
        type = type.value if isinstance(type, MapType) else type.element
    assert isinstance(type, StructType), type
    return type


def struct_slots(struct: StructType, base: Slot) -> list[Slot]:
    """The slots of a struct that begins at `base`."""
    return [slot_after(base, index) for index in range(count_slots(struct))]


def decode_struct(struct: StructType, base: Slot, read: Mapping[Slot, Word]) -> dict[str, Any]:
    """The fields of a struct at `base`, by name."""
    places, _ = place_members(kind for _, kind in struct.fields)
    return {
        name: decode_value(kind, read[slot_after(base, number)], offset)
        for (name, kind), (number, offset) in zip(struct.fields, places, strict=True)
    }


def array_slot(base: Slot, element: ValueType, index: int) -> Slot:
    """Where element `index` of an array at `base` begins; elements of whole slots or addresses."""
    size = get_value_size(element)
    assert size is None or 2 * size > 32, "elements that share words are not read here"
    return slot_after(keccak256(base), index * count_slots(element))


def decode_value(kind: Any, word: Word, offset: int) -> Any:
    """A value of at most 32 bytes, `offset` bytes from the right of its word."""
    size = get_value_size(kind)
    assert size is not None, kind
    value = word >> (8 * offset) & ((1 << 8 * size) - 1)
    match kind:
        case BoolType():
            return bool(value)
        case AddressType():
            return value.to_bytes(20, "big")
        case IntType(bits, True):
            return value - (1 << bits) if value >> (bits - 1) else value
        case IntType():
            return value
    return value.to_bytes(size, "big")


def decode_text(base: Slot, word: Word, words: Words) -> bytes:
    """A string or bytes at `base`: short ones stand in the word, long ones at keccak(base)."""
    if not word & 1:
        return word.to_bytes(32, "big")[: (word & 0xFF) // 2]
    size = (word - 1) // 2
    slots = [slot_after(keccak256(base), index) for index in range((size + 31) // 32)]
    read = words.read(slots)
    return b"".join(read[slot].to_bytes(32, "big") for slot in slots)[:size]
