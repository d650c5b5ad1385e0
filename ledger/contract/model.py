"""What a contract source declares, read from its tree without executing a line of it.

`parse` makes a ContractModel; `layout`, `interface` and `execution` read it.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from ledger.contract.types import EnumType, StorageType, StructType, ValueType


class Kind(Enum):
    """How a method may be called."""

    VIEW = "view"
    WRITE = "write"
    CONSTRUCTOR = "constructor"
    MIGRATION = "migration"  # `migrate`: run once, by an upgrade to this source
    INTERNAL = "internal"  # no decorator, name with a leading underscore; no door to outside


class Parameter(NamedTuple):
    """`name` is the Python name; `indexed` is meant for event fields only."""

    name: str
    type: ValueType
    indexed: bool = False


class RecordModel(NamedTuple):
    """An event or a revert: an ABI name (the class name) and its fields."""

    name: str
    fields: tuple[Parameter, ...]


class MethodModel(NamedTuple):
    """`returns` is None where nothing is returned; a TupleType is several ABI outputs."""

    name: str
    kind: Kind
    parameters: tuple[Parameter, ...]
    returns: ValueType | None
    payable: bool = False
    role: str | None = None  # `@write(by=role)`: the field that must hold the caller
    docstring: str = ""
    line: int = 0
    reentrant: bool = False  # may be entered while its contract waits for a call of its own


class InterfaceModel(NamedTuple):
    """Methods of another contract, as a typed proxy calls them; the views are static calls."""

    name: str
    methods: tuple[MethodModel, ...]


class StorageField(NamedTuple):
    """A field of a contract, in the order in which they are laid out."""

    name: str
    type: StorageType


@dataclass(frozen=True, slots=True)
class ContractModel:
    """One deployable class and the declarations beside it."""

    name: str
    docstring: str
    fields: tuple[StorageField, ...]
    methods: tuple[MethodModel, ...]  # the constructor included, if there is one
    structs: tuple[StructType, ...]
    events: tuple[RecordModel, ...]
    errors: tuple[RecordModel, ...]
    constants: dict[str, int | bool | str | bytes] = field(default_factory=dict)
    enums: tuple[EnumType, ...] = ()
    interfaces: tuple[InterfaceModel, ...] = ()
    sends: bool = False
    """Whether it calls `self.send`."""
    codecs: tuple[tuple[ValueType, ...], ...] = ()
    """What its calls of `abi_encode` and `abi_decode` name, by number."""


def external_name(name: str) -> str:
    """The name outside: `set_usage` is `setUsage`; in capitals it stays (`DOMAIN_SEPARATOR`)."""
    if name.isupper():
        return name
    head, *rest = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)
