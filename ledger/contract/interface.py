"""A contract seen from outside: its JSON ABI, its selectors, and values through the doors.

Annotations are the ABI: `set_usage` is `setUsage`, a struct a tuple with named components. The
bytes are `ledger.encoding.abi`; which method a call reaches, and what it costs, is `execution`.
Source: Solidity, "Contract ABI Specification", sections JSON, Events, Errors.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from ledger.contract.layout import get_value_size
from ledger.contract.model import (
    ContractModel,
    Kind,
    MethodModel,
    Parameter,
    RecordModel,
    external_name,
)
from ledger.contract.storage import Structs
from ledger.contract.types import (
    ADDRESS,
    STRING,
    EnumType,
    FixedListType,
    ListType,
    StructType,
    TupleType,
    ValueType,
)
from ledger.contract.values import Charge, Values, make_counter, make_topic_encoder, name_type
from ledger.encoding import abi

UNAUTHORIZED = RecordModel(
    "Unauthorized", (Parameter("account", ADDRESS), Parameter("role", STRING))
)
"""What a caller without the role of `@write(by=role)` gets; in the ABI of contracts with roles."""
CALL_FAILED = RecordModel("CallFailed", (Parameter("callee", ADDRESS),))
"""A call of another contract that failed and gave no reason; in the ABI of contracts that call."""
RECEIVE = "receive"
"""The method that a plain transfer reaches; its selector is no call data at all."""


def split_returns(type: ValueType | None) -> tuple[ValueType, ...]:
    """The outputs of a method: none, one, or those of a tuple."""
    if type is None:
        return ()
    return type.elements if isinstance(type, TupleType) else (type,)


def name_signature(name: str, types: Sequence[ValueType]) -> str:
    return f"{name}({','.join([name_type(type) for type in types])})"


# ---- JSON ABI ------------------------------------------------------------------------------------


def describe_abi(model: ContractModel) -> list[dict[str, Any]]:
    """The JSON ABI, as solc writes it: constructor, functions, events, errors."""
    entries: list[dict[str, Any]] = []
    for method in model.methods:
        inputs = [_describe_parameter(each, model.name) for each in method.parameters]
        mutability = {Kind.VIEW: "view"}.get(method.kind, "nonpayable")
        entry: dict[str, Any] = {
            "inputs": inputs,
            "stateMutability": "payable" if method.payable else mutability,
        }
        if method.kind is Kind.CONSTRUCTOR:
            entries.append({"type": "constructor", **entry})
        elif method.name == RECEIVE:
            entries.append({"type": "receive", "stateMutability": "payable"})
        elif method.kind in (Kind.VIEW, Kind.WRITE):
            outputs = [
                _describe_parameter(Parameter("", type), model.name)
                for type in split_returns(method.returns)
            ]
            name = external_name(method.name)
            entries.append({"type": "function", "name": name, **entry, "outputs": outputs})
    for event in model.events:
        inputs = [
            {**_describe_parameter(each, model.name), "indexed": each.indexed}
            for each in event.fields
        ]
        entries.append({"type": "event", "name": event.name, "inputs": inputs, "anonymous": False})
    for error in list_errors(model):
        inputs = [_describe_parameter(each, model.name) for each in error.fields]
        entries.append({"type": "error", "name": error.name, "inputs": inputs})
    return entries


def _describe_parameter(parameter: Parameter, contract: str) -> dict[str, Any]:
    suffix, type = "", parameter.type
    while isinstance(type, ListType | FixedListType):
        size = type.size if isinstance(type, FixedListType) else ""
        suffix, type = f"[{size}]{suffix}", type.element
    entry: dict[str, Any] = {"name": external_name(parameter.name)}
    if not isinstance(type, StructType):
        name = name_type(type)
        internal = f"enum {contract}.{type.name}" if isinstance(type, EnumType) else name
        return {**entry, "type": name + suffix, "internalType": internal + suffix}
    components = [
        _describe_parameter(Parameter(name, member), contract) for name, member in type.fields
    ]
    internal = f"struct {contract}.{type.name}{suffix}"
    return {**entry, "type": f"tuple{suffix}", "internalType": internal, "components": components}


def list_errors(model: ContractModel) -> tuple[RecordModel, ...]:
    """The declared errors, and the built-in ones that the contract may end with."""
    has_role = any(method.role is not None for method in model.methods)
    return (
        *model.errors,
        *((UNAUTHORIZED,) if has_role else ()),
        *((CALL_FAILED,) if model.interfaces or model.sends else ()),
    )


def compute_interface_id(methods: Sequence[MethodModel]) -> bytes:
    """The 4 bytes that name an interface (ERC-165): its selectors, exclusive or."""
    number = 0
    for method in methods:
        number ^= int.from_bytes(find_selector(method), "big")
    return number.to_bytes(4, "big")


def find_selector(method: MethodModel) -> bytes:
    types = [parameter.type for parameter in method.parameters]
    return abi.selector(name_signature(external_name(method.name), types))


# ---- entries, errors, events ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """A method with a door; the selector of constructor, migration and `receive` is empty."""

    method: MethodModel
    selector: bytes
    arguments: Values
    returns: Values

    def list_returns(self, result: Any) -> tuple[Any, ...]:
        """What a method returned, one value for each output."""
        return result if isinstance(self.method.returns, TupleType) else (result,)

    def read_results(self, values: Sequence[Any]) -> Any:
        """What a caller of the method sees of its outputs: nothing, one value or a tuple."""
        if isinstance(self.method.returns, TupleType):
            return tuple(values)
        return values[0] if values else None


def make_entry(method: MethodModel, structs: Structs) -> Entry:
    types = [parameter.type for parameter in method.parameters]
    has_none = method.kind in (Kind.CONSTRUCTOR, Kind.MIGRATION) or method.name == RECEIVE
    selector = b"" if has_none else find_selector(method)
    returns = Values(split_returns(method.returns), structs)
    return Entry(method, selector, Values(types, structs), returns)


class ErrorCodec:
    """A declared revert as data: its selector, then its fields."""

    __slots__ = ("fields", "selector")

    def __init__(self, error: RecordModel, structs: Structs) -> None:
        types = [field.type for field in error.fields]
        self.selector = abi.selector(name_signature(error.name, types))
        self.fields = Values(types, structs)

    def encode(self, values: Sequence[Any]) -> bytes:
        return self.selector + self.fields.encode(values)


class EventCodec:
    """An event as a log: topics are its signature's hash and the indexed fields."""

    __slots__ = (
        "_data",
        "_encoders",
        "_hashed",
        "_indexed",
        "_pick",
        "_rest",
        "model",
        "topic",
        "topics",
    )

    def __init__(self, event: RecordModel, structs: Structs) -> None:
        self.model = event
        types = [field.type for field in event.fields]
        self.topic = abi.topic(name_signature(event.name, types))
        self._indexed = [index for index, field in enumerate(event.fields) if field.indexed]
        hashed = [index for index in self._indexed if not get_value_size(types[index])]
        self._hashed = [(index, make_counter(types[index])) for index in hashed]
        self._encoders = [(index, make_topic_encoder(types[index])) for index in self._indexed]
        self.topics = 1 + len(self._indexed)
        self._rest = [index for index, field in enumerate(event.fields) if not field.indexed]
        self._data = Values([types[index] for index in self._rest], structs)
        rest = self._rest
        # Mostly what is indexed stands first, and the rest is a slice.
        start, end = (rest[0], rest[-1] + 1) if rest else (0, 0)
        self._pick: Callable[[Sequence[Any]], Sequence[Any]]
        if end - start == len(rest):
            self._pick = itemgetter(slice(start, end))
        else:
            self._pick = lambda values: [values[index] for index in rest]

    def count_words(self, values: Sequence[Any], charge: Charge) -> int:
        """Words that `encode` will make or hash beside the topics."""
        counted = self._data.count_words(self._pick(values), charge)
        return counted + sum([count(values[index], charge) for index, count in self._hashed])

    def encode(self, values: Sequence[Any]) -> tuple[tuple[bytes, ...], bytes]:
        """(topics, data) of the log."""
        indexed = [encode(values[index]) for index, encode in self._encoders]
        return (self.topic, *indexed), self._data.encode(self._pick(values))

    def decode(self, topics: Sequence[bytes], data: bytes) -> list[Any]:
        """The fields of a log of this event; an indexed field longer than a word as its hash."""
        values: list[Any] = [None] * len(self.model.fields)
        for index, topic in zip(self._indexed, topics[1:], strict=True):
            type = self.model.fields[index].type
            values[index] = Values((type,), {}).decode(topic)[0] if get_value_size(type) else topic
        for index, value in zip(self._rest, self._data.decode(data), strict=True):
            values[index] = value
        return values
