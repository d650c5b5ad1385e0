"""A compiled contract with its doors built: made once per code hash, shared, never changed.

What belongs here: which codec, access or handle serves which name of a source. One call of it is
`execution`, one value at a door `values`, one word of storage `storage`.
"""

from collections import namedtuple
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ledger.contract.compile import CompiledContract
from ledger.contract.door import Door
from ledger.contract.handles import HANDLES, make_handle, make_reference
from ledger.contract.interface import (
    CALL_FAILED,
    RECEIVE,
    UNAUTHORIZED,
    Entry,
    ErrorCodec,
    EventCodec,
    make_entry,
)
from ledger.contract.layout import get_value_size, place_members
from ledger.contract.model import Kind, RecordModel
from ledger.contract.remote import CallingHost
from ledger.contract.signals import Reverted
from ledger.contract.storage import Access, make_access, make_word_access
from ledger.contract.types import FixedListType, StructType
from ledger.contract.values import Values
from ledger.types import Slot


class Program:
    """`entries` by selector; a plain transfer's has the empty one."""

    __slots__ = (
        "codecs",
        "compiled",
        "constructor",
        "entries",
        "env",
        "errors",
        "events",
        "host",
        "migration",
        "records",
        "remotes",
        "size",
        "struct_types",
    )

    def __init__(self, compiled: CompiledContract, size: int) -> None:
        """`size` is that of the source, in bytes."""
        model = compiled.model
        self.size = size
        self.compiled = compiled
        self.struct_types = {struct.name: struct for struct in model.structs}
        structs: dict[str, Callable[..., Any]] = {
            struct.name: make_record(struct.name, [name for name, _ in struct.fields])
            for struct in model.structs
        }
        errors = (*model.errors, UNAUTHORIZED, CALL_FAILED)
        self.errors = {error.name: ErrorCodec(error, structs) for error in errors}
        self.records = {
            error.name: make_record(error.name, [each.name for each in error.fields])
            for error in errors
        }
        self.env = dict(structs)
        self.events: dict[type, EventCodec] = {}
        for event in model.events:
            kind = make_record(event.name, [each.name for each in event.fields])
            self.events[kind] = EventCodec(event, structs)
            self.env[event.name] = kind
        for error in model.errors:
            self.env[error.name] = _make_revert(error, self.records[error.name])
        self.constructor: Entry | None = None
        self.migration: Entry | None = None
        self.entries: dict[bytes, Entry] = {}
        for method in model.methods:
            if method.kind is Kind.CONSTRUCTOR:
                self.constructor = make_entry(method, structs)
            elif method.kind is Kind.MIGRATION:
                self.migration = make_entry(method, structs)
            elif method.kind is not Kind.INTERNAL:
                entry = make_entry(method, structs)
                assert bool(entry.selector) is (method.name != RECEIVE)
                self.entries[entry.selector] = entry
        self.remotes = {
            (interface.name, method.name): make_entry(method, structs)
            for interface in model.interfaces
            for method in interface.methods
        }
        self.codecs = [Values(types, structs) for types in model.codecs]
        self.host = self._make_host(structs)

    def _make_host(self, structs: dict[str, Callable[..., Any]]) -> type[CallingHost]:
        members: dict[str, Any] = {"__slots__": (), "program__": self}
        fields = self.compiled.model.fields
        places, _ = place_members(each.type for each in fields)
        numbers = [number for number, _ in places]
        for each, (number, offset) in zip(fields, places, strict=True):
            slot, name, kind = number.to_bytes(32, "big"), each.name, each.type
            if get_value_size(kind) is not None:
                alone = numbers.count(number) == 1
                make_word = partial(make_word_access, kind, offset, alone=alone)
                members[name] = _make_value_property(make_word, slot)
                continue
            whole = _make_value_property(partial(make_access, kind, structs), slot)
            if isinstance(kind, HANDLES):
                members[name] = _make_handle_property(partial(make_handle, kind, structs), slot)
                if isinstance(kind, FixedListType):
                    members[name] = members[name].setter(whole.fset)
                continue
            members[name] = whole
            if isinstance(kind, StructType):
                refer = partial(make_reference, kind, structs)
                members[f"{name}__at"] = _make_handle_property(refer, slot)
        return type("Host", (CallingHost,), members)


# What a field needs is made when it is first used: a call uses few of a large contract's.


def _make_handle_property(make: Callable[[], Callable[[Door, Slot], Any]], slot: Slot) -> property:
    handle: Callable[[Door, Slot], Any] | None = None

    def get(host: CallingHost) -> Any:
        nonlocal handle
        if handle is None:
            handle = make()
        return handle(host.door__, slot)

    return property(get)


def _make_value_property(make: Callable[[], Access], slot: Slot) -> property:
    access: Access | None = None

    def get(host: CallingHost) -> Any:
        nonlocal access
        if access is None:
            access = make()
        return access.load(host.door__, slot)

    def set(host: CallingHost, value: Any) -> None:
        nonlocal access
        if access is None:
            access = make()
        access.store(host.door__, slot, value)

    return property(get, set)


def make_record(name: str, fields: Sequence[str]) -> type[tuple[Any, ...]]:
    """The value class of a declared record: immutable, equal by value, quick to make."""
    return namedtuple(name, fields)


def _make_revert(error: RecordModel, make: type[tuple[Any, ...]]) -> Callable[..., Reverted]:
    return lambda *args, **named: Reverted(error.name, make(*args, **named))
