"""What a contract's slots hold, by the names of its fields, and what a model says they should.

Fields are read through the same typed handles as the contract's, without gas and without writing.
"""

from collections.abc import Callable, Iterator, Mapping
from types import CellType
from typing import Any

from ledger.contract.door import Door
from ledger.contract.execution import BlockContext, Message, Program
from ledger.contract.signals import Panicked, Signal
from ledger.contract.testing.failures import ContractPanic
from ledger.contract.testing.values import to_object, to_values
from ledger.contract.types import (
    SEQUENCES,
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

    def __init__(
        self, state: State, address: Address, program: Program, names: Mapping[str, Any]
    ) -> None:
        self._host = open_host(state, address, program, read_only=True)
        self._fields = {field.name: field.type for field in program.compiled.model.fields}
        self._names = names

    def __dir__(self) -> list[str]:
        return list(self._fields)

    def __getattr__(self, name: str) -> Any:
        if name not in self._fields:
            raise AttributeError(f"no field {name}; there are: {', '.join(self._fields)}")
        value = _ask(lambda: getattr(self._host, name))
        return _show(value, self._fields[name], self._names)


class HandleView:
    """A map, array, fixed list or role of a contract, to be read."""

    def __init__(self, handle: Any, type: StorageType, names: Mapping[str, Any]) -> None:
        self._handle = handle
        self._type = type
        self._names = names

    def __getitem__(self, key: Any) -> Any:
        value = _ask(lambda: self._handle[_prepare_key(key)])
        inner = self._type.value if isinstance(self._type, MapType) else None
        if isinstance(self._type, (ArrayType, *SEQUENCES)):
            inner = self._type.element
        assert inner is not None
        return _show(value, inner, self._names)

    def __contains__(self, key: Any) -> bool:
        return bool(_ask(lambda: _prepare_key(key) in self._handle))

    def __len__(self) -> int:
        return int(_ask(lambda: len(self._handle)))

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))


def _show(value: Any, type: StorageType, names: Mapping[str, Any]) -> Any:
    """A value as the author writes it; a handle so that what it raises is a test's."""
    if isinstance(type, OptionalType):
        type = type.value
    if isinstance(type, MapType | ArrayType | RoleType) or (
        isinstance(type, SEQUENCES) and not isinstance(value, list)
    ):
        return HandleView(value, type, names)
    return to_object(type, value, names)


def _prepare_key(key: Any) -> Any:
    return tuple(to_values(key)) if isinstance(key, tuple) else to_values(key)


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
            for index, item in enumerate(value):
                if isinstance(type.element, MapType | ArrayType | RoleType):
                    handle.append()
                    _fill(handle[index], type.element, item, program)
                else:
                    handle.append(_prepare(type.element, item, program))
        case MapType():
            inner = type.value
            for key, item in value.items():
                key = _prepare_key(key)
                if isinstance(inner, MapType | ArrayType | RoleType):
                    _fill(handle[key], inner, item, program)
                elif item is not None or not isinstance(inner, OptionalType):
                    handle[key] = _prepare(inner, item, program)


def _prepare(type: StorageType, value: Any, program: Program) -> Any:
    """A value as a method would write it."""
    inner = type.value if isinstance(type, OptionalType) else type
    if isinstance(inner, SEQUENCES):
        return [_prepare(inner.element, each, program) for each in value]
    if isinstance(inner, StructType):
        make: Any = program.env[inner.name]
        members = to_values(value)
        pairs = zip([member for _, member in inner.fields], members, strict=True)
        return make(*[_prepare(member, each, program) for member, each in pairs])
    return to_values(value)
