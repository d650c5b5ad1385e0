"""Where a contract's storage stands: Solidity's layout to the letter.

Fields take slots in order of declaration; values shorter than a word share one, from the right;
structs, arrays, mappings, bytes and strings begin a new slot, and what follows a struct does too.
The value at a mapping's key is at keccak(key . slot), an array's elements and long bytes are at
keccak(slot) on. Source: docs.soliditylang.org, "Layout of State Variables in Storage"; solc's own
`storageLayout` output is the oracle in tests. Reading and writing words is `storage`.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from ledger.contract.model import ContractModel
from ledger.contract.types import (
    ADDRESS,
    BOOL,
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
    once,
)
from ledger.crypto.keccak import keccak256
from ledger.types import Slot

WORD_BYTES = 32
_SLOTS_KEPT = 8_192
"""Hashes kept, about 3 MB when full: the keys that some thousand active meters use again."""


def get_value_size(type: StorageType) -> int | None:
    """Bytes of a value that can share a word with others; None of what begins its own slot."""
    match type:
        case IntType():
            return type.bits // 8
        case BoolType() | EnumType():
            return 1
        case AddressType():
            return 20
        case FixedBytesType():
            return type.size
    return None


def get_members(type: StorageType) -> Sequence[tuple[str, StorageType]]:
    """The members of what is laid out as a struct; empty for all else."""
    match type:
        case StructType():
            return type.fields
        case OptionalType():
            return (("present", BOOL), ("value", type.value))
    return ()


def place_members(types: Iterable[StorageType]) -> tuple[list[tuple[int, int]], int]:
    """(slot, offset in bytes from the right) of each, and the number of slots they take."""
    places, slot, used = [], 0, 0  # `used` bytes of `slot`
    for type in types:
        size = get_value_size(type)
        if used and (size is None or used + size > WORD_BYTES):
            slot, used = slot + 1, 0
        places.append((slot, used))
        if size is None:
            slot += count_slots(type)
        else:
            used += size
    return places, slot + (used > 0)


@once
def count_slots(type: StorageType) -> int:
    """Slots that a value takes for itself when it begins one."""
    if isinstance(type, FixedListType):
        size = get_value_size(type.element)
        if size is None:
            return type.size * count_slots(type.element)
        per_word = WORD_BYTES // size
        return (type.size + per_word - 1) // per_word
    members = get_members(type)
    return place_members(member for _, member in members)[1] if members else 1


def mapping_slot(base: Slot, key: bytes) -> Slot:
    """The slot of a mapping's value; `key` is 32 bytes, or a string's or bytes' own."""
    if len(key) > WORD_BYTES:  # up to 64 KiB of text: thousands of those would fill the memory
        return keccak256(key + base)
    return _word_slot(base, key)


@lru_cache(maxsize=_SLOTS_KEPT)
def _word_slot(base: Slot, key: bytes) -> Slot:
    return keccak256(key + base)


@lru_cache(maxsize=_SLOTS_KEPT)
def data_slot(base: Slot) -> Slot:
    """The first slot of what an array, long bytes or a long string at `base` holds."""
    return keccak256(base)


@lru_cache(maxsize=_SLOTS_KEPT)
def slots_from(base: Slot, count: int) -> tuple[Slot, ...]:
    """The `count` slots that begin at `base`."""
    return tuple([slot_after(base, index) for index in range(count)])


def slot_after(base: Slot, count: int) -> Slot:
    """The slot `count` after `base`; slots wrap at 2**256, as in Solidity."""
    number = int.from_bytes(base, "big") + count
    return (number & (1 << 256) - 1).to_bytes(WORD_BYTES, "big")


def describe_layout(model: ContractModel) -> dict[str, Any]:
    """What `wattledger contract layout` prints, in the shape of solc's `storageLayout`.

    Type identifiers are solc's without the numbers of syntax-tree nodes.
    """
    types: dict[str, Any] = {}
    members = [(field.name, field.type) for field in model.fields]
    return {"storage": _describe_members(members, model.name, types), "types": types}


def _describe_members(
    members: Sequence[tuple[str, StorageType]], contract: str, types: dict[str, Any]
) -> list[dict[str, Any]]:
    places, _ = place_members(type for _, type in members)
    return [
        {
            "contract": contract,
            "label": name,
            "offset": offset,
            "slot": str(slot),
            "type": _describe_type(type, contract, types),
        }
        for (name, type), (slot, offset) in zip(members, places, strict=True)
    ]


def _describe_type(
    type: StorageType, contract: str, types: dict[str, Any], place: str = "storage"
) -> str:
    """Add a type, and those it is made of, to `types`; returns its identifier."""
    size = get_value_size(type) or WORD_BYTES * count_slots(type)
    entry: dict[str, Any] = {"encoding": "inplace", "numberOfBytes": str(size)}
    match type:
        case StringType() | BytesType():
            label = "string" if isinstance(type, StringType) else "bytes"
            identifier = f"t_{label}_{place}"
            entry["encoding"] = "bytes"
        case StructType() | OptionalType():
            entry["members"] = _describe_members(get_members(type), contract, types)
            if isinstance(type, StructType):
                name = type.name
            else:
                held = types[entry["members"][1]["type"]]["label"]
                name = f"Optional[{held.rpartition('.')[2]}]"
            identifier, label = f"t_struct({name})_storage", f"struct {contract}.{name}"
        case ArrayType() | ListType() | FixedListType():
            base = entry["base"] = _describe_type(type.element, contract, types)
            size = type.size if isinstance(type, FixedListType) else 0
            identifier = f"t_array({base}){size or 'dyn'}_storage"
            label = f"{types[base]['label']}[{size or ''}]"
            entry["encoding"] = "inplace" if size else "dynamic_array"
        case EnumType():
            identifier, label = f"t_enum({type.name})", f"enum {contract}.{type.name}"
        case MapType() | RoleType():
            outermost, behind = _split_mapping(type)
            key = entry["key"] = _describe_type(outermost, contract, types, "memory_ptr")
            held = entry["value"] = _describe_type(behind, contract, types)
            identifier = f"t_mapping({key},{held})"
            label = f"mapping({types[key]['label']} => {types[held]['label']})"
            entry["encoding"] = "mapping"
        case _:
            label = name_value_type(type)
            identifier = f"t_{label}"
    types[identifier] = {**entry, "label": label}
    return identifier


def _split_mapping(type: MapType | RoleType) -> tuple[StorageType, StorageType]:
    """The outermost key, and what stands behind it: several keys are nested mappings."""
    if isinstance(type, RoleType):
        return ADDRESS, BOOL
    first, *rest = type.keys
    return first, MapType(tuple(rest), type.value) if rest else type.value


def name_value_type(type: StorageType) -> str:
    """The ABI's name of a type that fits a word."""
    match type:
        case EnumType():
            return "uint8"
        case IntType():
            return f"{'' if type.signed else 'u'}int{type.bits}"
        case BoolType():
            return "bool"
        case AddressType():
            return "address"
        case FixedBytesType():
            return f"bytes{type.size}"
    raise AssertionError(f"{type} is no value type")
