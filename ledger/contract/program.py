"""A compiled contract with its doors built: made once per code hash, shared, never changed.

What belongs here: which codec, access or handle serves which name of a source. One call of it is
`execution`, one value at a door `values`, one word of storage `storage`.
"""

from collections import namedtuple
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from types import FunctionType
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
    find_selector,
    make_entry,
)
from ledger.contract.layout import get_value_size, place_members
from ledger.contract.made import Made
from ledger.contract.model import Kind, MethodModel, RecordModel
from ledger.contract.remote import CallingHost
from ledger.contract.signals import Reverted
from ledger.contract.storage import Access, make_access, make_word_access
from ledger.contract.types import (
    ArrayType,
    FixedListType,
    MapType,
    StorageType,
    StructType,
    ValueType,
    count_nodes,
)
from ledger.contract.values import Values
from ledger.types import Slot

SOURCE_BYTE_BYTES, FIELD_BYTES, MADE_BYTES = 12, 300, 5_000
"""Memory of a program for a byte of its source, for a field, and for what is made at first use."""
NODES_MADE = 4
"""Types in types of a codec that weigh, and take to make, as much as a record."""


class Program:
    """`entries` by selector; a plain transfer's has the empty one.

    A call uses little of a large contract, so all of this but the selectors is made at first use.
    """

    __slots__ = (
        "codecs",
        "compiled",
        "constructor",
        "declared",
        "entries",
        "env",
        "error_names",
        "errors",
        "events",
        "fields",
        "host",
        "migration",
        "places",
        "records",
        "remotes",
        "selectors",
        "size",
        "struct_types",
        "structs",
        "used",
    )

    def __init__(
        self, compiled: CompiledContract, size: int, selectors: dict[bytes, str] | None = None
    ) -> None:
        """`size` is that of the source, in bytes; `selectors`, if known, spare their hashes."""
        model = compiled.model
        self.size = size
        records = (*model.events, *model.errors)
        self.declared = len(records) + len(model.structs) + len(model.enums)
        self.declared += sum([_count_containers(each.type) for each in model.fields])
        self.declared += sum([len(each.fields) for each in model.structs])
        self.declared += sum([_count_fields(each) for each in records])
        self.used = 0
        self.places: list[tuple[int, int]] = []
        self.compiled, self.fields = compiled, model.fields
        self.struct_types = {struct.name: struct for struct in model.structs}
        structs: Made[Any, Callable[..., Any]] = Made(self._make_struct)
        self.structs = structs
        self._make_records(structs)
        by_kind = {each.kind: each for each in model.methods}
        first, later = by_kind.get(Kind.CONSTRUCTOR), by_kind.get(Kind.MIGRATION)
        self.constructor = make_entry(first, structs) if first else None
        self.migration = make_entry(later, structs) if later else None
        doors = [each for each in model.methods if each.kind in (Kind.VIEW, Kind.WRITE)]
        self.selectors = selectors or {
            b"" if each.name == RECEIVE else find_selector(each): each.name for each in doors
        }
        methods = {each.name: each for each in doors}
        self.entries: Made[bytes, Entry] = Made(
            lambda key: self._enter(methods[self.selectors[key]])
        )
        proxies = {(one.name, each.name): each for one in model.interfaces for each in one.methods}
        self.remotes: Made[tuple[str, str], Entry] = Made(lambda key: self._enter(proxies[key]))
        self.codecs: Made[int, Values] = Made(lambda number: self._code(model.codecs[number]))
        self.host = self._make_host()

    def weigh(self) -> int:
        """Bytes of memory by and large, never too few: what calls have made so far is counted."""
        fields = FIELD_BYTES * len(self.fields)
        made = len(self.structs) + len(self.records) + len(self.events) + self.used
        return SOURCE_BYTE_BYTES * self.size + fields + MADE_BYTES * made

    def _enter(self, method: MethodModel) -> Entry:
        entry = make_entry(method, self.structs)
        self.used += 1 + _count_made([*entry.arguments.types, *entry.returns.types])
        return entry

    def _code(self, types: Sequence[ValueType]) -> Values:
        self.used += 1 + _count_made(types)
        return Values(types, self.structs)

    def _make_struct(self, name: str) -> type[tuple[Any, ...]]:
        return make_record(name, [field for field, _ in self.struct_types[name].fields])

    def _make_records(self, structs: Made[Any, Callable[..., Any]]) -> None:
        """What a source constructs by name, and how events and errors leave the contract."""
        model = self.compiled.model
        reverts = {error.name: error for error in (*model.errors, UNAUTHORIZED, CALL_FAILED)}
        happened = {event.name: event for event in model.events}
        self.error_names = tuple(reverts)

        def make_error(name: str) -> ErrorCodec:
            self.used += _count_fields(reverts[name])
            return ErrorCodec(reverts[name], structs)

        self.errors: Made[str, ErrorCodec] = Made(make_error)
        self.records: Made[str, Callable[..., Any]] = Made(lambda name: _make_fields(reverts[name]))
        self.events: dict[type, EventCodec] = {}

        def make_name(name: str) -> Callable[..., Any]:
            if name in self.struct_types:
                return structs[name]
            if name not in happened:
                return _make_revert(name, self.records[name])
            kind = _make_fields(happened[name])
            self.used += _count_fields(happened[name])
            self.events[kind] = EventCodec(happened[name], structs)
            return kind

        self.env: Made[str, Callable[..., Any]] = Made(make_name)

    def _make_host(self) -> type[CallingHost]:
        members: dict[str, Any] = {"__slots__": (), "program__": self}
        for number, field in enumerate(self.fields):
            members[field.name] = _Unmade(number, field.name)
            if isinstance(field.type, StructType):
                members[f"{field.name}__at"] = _Unmade(number, f"{field.name}__at")
        return type("Host", (CallingHost,), members)

    def make_field(self, number: int, name: str) -> None:
        """Put into the host what one of its names needs; a struct has two."""
        fields, structs = self.fields, self.structs
        if not self.places:
            self.places = place_members(field.type for field in fields)[0]
        (word, offset), kind = self.places[number], fields[number].type
        slot = word.to_bytes(32, "big")
        if name != fields[number].name:
            made = _make_handle_property(make_reference(kind, structs), slot)
        elif get_value_size(kind) is not None:
            beside = [place for place, _ in self.places[max(0, number - 1) : number + 2]]
            access = make_word_access(kind, offset, alone=beside.count(word) == 1)
            made = _make_value_property(access, slot)
        elif isinstance(kind, HANDLES):
            made = _make_handle_property(make_handle(kind, structs), slot)
            if isinstance(kind, FixedListType):
                whole = _make_value_property(make_access(kind, structs), slot)
                made = property(made.fget, whole.fset)
        else:
            made = _make_value_property(make_access(kind, structs), slot)
        self.used += 1
        Made.count += 1
        setattr(self.host, name, made)


def _count_made(types: Iterable[ValueType]) -> int:
    return sum([count_nodes(type) for type in types]) // NODES_MADE


def _count_fields(record: RecordModel) -> int:
    return _count_made([field.type for field in record.fields])


def _count_containers(type: StorageType) -> int:
    """A field, and the maps and arrays in which it has its values."""
    if isinstance(type, MapType):
        return 1 + _count_containers(type.value)
    return 1 + _count_containers(type.element) if isinstance(type, ArrayType) else 1


class _Unmade:
    """A field before its first use: a call uses few of a large contract's."""

    __slots__ = ("name", "number")

    def __init__(self, number: int, name: str) -> None:
        self.number, self.name = number, name

    def __get__(self, host: CallingHost, owner: type) -> Any:
        host.program__.make_field(self.number, self.name)
        return getattr(host, self.name)

    def __set__(self, host: CallingHost, value: Any) -> None:
        host.program__.make_field(self.number, self.name)
        setattr(host, self.name, value)


def _make_handle_property(handle: Callable[[Door, Slot], Any], slot: Slot) -> property:
    return property(lambda host: handle(host.door__, slot))


def _make_value_property(access: Access, slot: Slot) -> property:
    load, store = access.load, access.store
    return property(
        lambda host: load(host.door__, slot),
        lambda host, value: store(host.door__, slot, value),
    )


class Record(tuple[Any, ...]):
    """What all value classes of declared records share."""

    __slots__ = ()
    _fields: tuple[str, ...] = ()

    def __repr__(self) -> str:
        values = [f"{name}={value!r}" for name, value in zip(self._fields, self, strict=True)]
        return f"{type(self).__name__}({', '.join(values)})"


@lru_cache(maxsize=256)
def _make_pattern(count: int) -> Any:
    return namedtuple("Pattern", [f"f{index}" for index in range(count)])


def make_record(name: str, fields: Sequence[str]) -> type[tuple[Any, ...]]:
    """The value class of a declared record: immutable, equal by value, quick to make.

    In half the time and less than half the memory of a namedtuple, of whose code it is made: a
    source may declare, and each call anew use, a thousand.
    """
    new = (pattern := _make_pattern(len(fields))).__new__
    code = new.__code__.replace(co_varnames=("_cls", *fields))
    getters = {field: pattern.__dict__[f"f{index}"] for index, field in enumerate(fields)}
    made = FunctionType(code, new.__globals__, "__new__")
    return type(
        name, (Record,), {"__slots__": (), "_fields": (*fields,), "__new__": made, **getters}
    )


def _make_fields(record: RecordModel) -> type[tuple[Any, ...]]:
    return make_record(record.name, [each.name for each in record.fields])


def _make_revert(name: str, make: Callable[..., Any]) -> Callable[..., Reverted]:
    return lambda *args, **named: Reverted(name, make(*args, **named))
