"""What a contract's slots hold, by the names of its fields, and what a model says they should.

Fields are read through the same typed handles as the contract's, without gas and without writing.
"""

from collections.abc import Callable, Mapping
from types import CellType
from typing import Any

from ledger.contract.door import Door
from ledger.contract.execution import BlockContext, Message, Program
from ledger.contract.signals import Panicked, Signal
from ledger.contract.testing.failures import ContractPanic
from ledger.contract.testing.values import to_values
from ledger.contract.types import (
    ArrayType,
    MapType,
    OptionalType,
    RoleType,
    StorageType,
    StructType,
)
from ledger.state.state import State
from ledger.types import Address

PLENTY = 1 << 62
"""Gas for reading in a test; nothing is charged for it."""


def open_host(state: State, address: Address, program: Program, *, read_only: bool) -> Any:
    """`self` of a contract outside any call."""
    door = Door(state, address, read_only)
    door.cell = CellType(PLENTY)
    block = BlockContext(0, 0, bytes(20), 0, 0, 0)
    message = Message(bytes(20), address, 0, b"", 0, read_only, bytes(20), 0)
    return program.host(door, message, block)


def _ask(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except Panicked as panicked:
        raise ContractPanic(panicked.code) from None
    except Signal as signal:
        raise ContractPanic(0) from signal


class StorageView:
    """The fields of a contract now; a map is read by its key, an array by its index."""

    def __init__(self, state: State, address: Address, program: Program) -> None:
        self._host = open_host(state, address, program, read_only=True)
        self._fields = [field.name for field in program.compiled.model.fields]

    def __dir__(self) -> list[str]:
        return self._fields

    def __getattr__(self, name: str) -> Any:
        if name not in self._fields:
            raise AttributeError(f"no field {name}; there are: {', '.join(self._fields)}")
        return _shield(_ask(lambda: getattr(self._host, name)))


class HandleView:
    """A map, array or role of a contract, to be read."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def __getitem__(self, key: Any) -> Any:
        key = tuple(to_values(key)) if isinstance(key, tuple) else to_values(key)
        return _shield(_ask(lambda: self._handle[key]))

    def __contains__(self, key: Any) -> bool:
        key = tuple(to_values(key)) if isinstance(key, tuple) else to_values(key)
        return bool(_ask(lambda: key in self._handle))

    def __len__(self) -> int:
        return int(_ask(lambda: len(self._handle)))


def _shield(value: Any) -> Any:
    """Values as they are; handles so that what they raise is a test's."""
    return value if isinstance(value, int | str | bytes | tuple | list) else HandleView(value)


def write_model(
    state: State, address: Address, program: Program, fields: Mapping[str, Any]
) -> None:
    """Write what a model says into a contract's storage.

    A map is a dict, an array a list, a role a set of addresses, an Optional that is absent None.
    Raises ValueError for a field that the contract has not.
    """
    types = {field.name: field.type for field in program.compiled.model.fields}
    for name, value in fields.items():
        if name not in types:
            raise ValueError(f"no field {name}; there are: {', '.join(types)}")
        host = open_host(state, address, program, read_only=False)
        if isinstance(types[name], MapType | ArrayType | RoleType):
            _fill(getattr(host, name), types[name], value, program)
        else:
            setattr(host, name, _prepare(types[name], value, program))


def _fill(handle: Any, type: StorageType, value: Any, program: Program) -> None:
    match type:
        case RoleType():
            for account in value:
                handle.grant(to_values(account))
        case ArrayType():
            for item in value:
                handle.append(_prepare(type.element, item, program))
        case MapType():
            inner = type.value
            for key, item in value.items():
                key = tuple(to_values(key)) if isinstance(key, tuple) else to_values(key)
                if isinstance(inner, MapType | ArrayType | RoleType):
                    _fill(handle[key], inner, item, program)
                elif item is not None or not isinstance(inner, OptionalType):
                    handle[key] = _prepare(inner, item, program)


def _prepare(type: StorageType, value: Any, program: Program) -> Any:
    """A value as a method would write it."""
    inner = type.value if isinstance(type, OptionalType) else type
    if isinstance(inner, StructType):
        make: Any = program.env[inner.name]
        members = to_values(value)
        pairs = zip([member for _, member in inner.fields], members, strict=True)
        return make(*[_prepare(member, each, program) for member, each in pairs])
    return to_values(value)
