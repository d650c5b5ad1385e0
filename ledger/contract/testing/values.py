"""Between a test's Python and the doors: the author's records, enums and named addresses.

Into a contract go tuples, ints and bytes; out of it come instances of the author's own classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from ledger.contract.api import Event
from ledger.contract.layout import get_value_size
from ledger.contract.model import RecordModel
from ledger.contract.testing.accounts import with_name
from ledger.contract.types import (
    AddressType,
    EnumType,
    FixedListType,
    ListType,
    StructType,
    ValueType,
)


def to_values(value: Any) -> Any:
    """Structs as tuples, enums as ints, contracts as their addresses; in lists too."""
    if isinstance(value, int | str | bytes):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, list | tuple):
        return [to_values(each) for each in value]
    if is_dataclass(value) and not isinstance(value, type):
        return tuple([to_values(getattr(value, field.name)) for field in fields(value)])
    if isinstance(value, Enum):
        return value.value
    return getattr(value, "address", value)


def to_objects(
    types: Sequence[ValueType], values: Sequence[Any], names: Mapping[str, Any]
) -> list[Any]:
    """Decoded values as the author writes them."""
    return [to_object(type, value, names) for type, value in zip(types, values, strict=True)]


def to_object(type: ValueType, value: Any, names: Mapping[str, Any]) -> Any:
    """One decoded value as the author writes it: named addresses, structs and enums of `names`."""
    match type:
        case AddressType():
            return with_name(value)
        case StructType():
            members = to_objects([member for _, member in type.fields], value, names)
            return names[type.name](*members) if type.name in names else tuple(members)
        case ListType() | FixedListType():
            return [to_object(type.element, each, names) for each in value]
        case EnumType():
            return names[type.name](value) if type.name in names else value
    return value


def make_event(model: RecordModel, values: Sequence[Any], names: Mapping[str, Any]) -> Any:
    """An instance of the author's event; of one that the test's module does not name, alike."""
    kind = names.get(model.name)
    types = [field.type for field in model.fields]
    if kind is None:
        annotations = {"__annotations__": {field.name: Any for field in model.fields}}
        kind = type(model.name, (Event,), annotations)
    hashed = [field.indexed and not get_value_size(field.type) for field in model.fields]
    objects = [
        value if hash_ else to_object(type, value, names)
        for type, value, hash_ in zip(types, values, hashed, strict=True)
    ]
    return kind(*objects)
