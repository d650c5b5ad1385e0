"""A contract seen from outside: its JSON ABI, its selectors, and values through the doors.

Annotations are the ABI: `set_usage` is `setUsage`, a struct a tuple with named components. The
bytes are `ledger.encoding.abi`; which method a call reaches, and what it costs, is `execution`.
Source: Solidity, "Contract ABI Specification", sections JSON, Events, Errors.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from ledger.contract.door import TEXT_BYTES_MAX
from ledger.contract.handles import make_key_encoder
from ledger.contract.layout import WORD_BYTES, get_value_size, name_value_type
from ledger.contract.model import (
    ContractModel,
    Kind,
    MethodModel,
    Parameter,
    RecordModel,
    external_name,
)
from ledger.contract.signals import PANIC_RANGE, PANIC_SIZE, Panicked
from ledger.contract.storage import Structs, count_words
from ledger.contract.types import (
    ADDRESS,
    STRING,
    BytesType,
    ListType,
    StringType,
    StructType,
    TupleType,
    ValueType,
)
from ledger.crypto.keccak import keccak256
from ledger.encoding import abi
from ledger.errors import EncodingError

UNAUTHORIZED = RecordModel(
    "Unauthorized", (Parameter("account", ADDRESS), Parameter("role", STRING))
)
"""What a caller without the role of `@write(by=role)` gets; in the ABI of contracts with roles."""


def name_type(type: ValueType) -> str:
    """The type as signatures spell it: a struct is a tuple in brackets."""
    match type:
        case StringType():
            return "string"
        case BytesType():
            return "bytes"
        case ListType():
            return f"{name_type(type.element)}[]"
        case StructType():
            return f"({','.join([name_type(member) for _, member in type.fields])})"
    return name_value_type(type)


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
        elif method.kind is not Kind.INTERNAL:
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
    while isinstance(type, ListType):
        suffix, type = suffix + "[]", type.element
    entry: dict[str, Any] = {"name": external_name(parameter.name)}
    if not isinstance(type, StructType):
        return {**entry, "type": name_type(type) + suffix, "internalType": name_type(type) + suffix}
    components = [
        _describe_parameter(Parameter(name, member), contract) for name, member in type.fields
    ]
    internal = f"struct {contract}.{type.name}{suffix}"
    return {**entry, "type": f"tuple{suffix}", "internalType": internal, "components": components}


def list_errors(model: ContractModel) -> tuple[RecordModel, ...]:
    """The declared errors, and the built-in one where a method has a role."""
    has_role = any(method.role is not None for method in model.methods)
    return (*model.errors, UNAUTHORIZED) if has_role else model.errors


# ---- values through the doors --------------------------------------------------------------------


class Values:
    """A list of types at a door: values out to bytes, range-checked, and bytes in to values."""

    __slots__ = ("_codec", "_convert", "_size", "_words", "types")

    def __init__(self, types: Sequence[ValueType], structs: Structs) -> None:
        self.types = tuple(types)
        self._codec = abi.codec(tuple([name_type(type) for type in types]))
        dynamic = any(is_dynamic(type) for type in types)
        self._size = None if dynamic else self._codec.size // WORD_BYTES
        self._words: list[Callable[[Any], bytes]] | None = None
        if all(get_value_size(type) for type in types):
            self._words = [make_key_encoder(type) for type in types]
        self._convert = [
            (index, convert)
            for index, type in enumerate(types)
            if (convert := make_converter(type, structs)) is not None
        ]

    def decode(self, data: bytes) -> Sequence[Any]:
        """Strictly: all of `data`, or EncodingError. A text over its limit is a panic."""
        values = self._codec.decode(data)
        if not self._convert:
            return values
        converted = list(values)
        for index, convert in self._convert:
            converted[index] = convert(converted[index])
        return converted

    def count_words(self, values: Sequence[Any]) -> int:
        """Words that `encode` will make, for the charge before it."""
        if self._size is not None:
            return self._size
        return sum(
            [count_encoded(type, value) for type, value in zip(self.types, values, strict=True)]
        )

    def encode(self, values: Sequence[Any]) -> bytes:
        if self._words is not None:  # most events and results; a third of the codec's time
            return b"".join([encode(v) for encode, v in zip(self._words, values, strict=True)])
        try:
            return self._codec.encode(values)
        except EncodingError as error:
            raise Panicked(PANIC_RANGE) from error


def is_dynamic(type: ValueType) -> bool:
    match type:
        case BytesType() | StringType() | ListType():
            return True
        case StructType():
            return any(is_dynamic(member) for _, member in type.fields)
    return False


def count_encoded(type: ValueType, value: Any) -> int:
    """Words of a value's encoding, its offset included."""
    match type:
        case BytesType():
            return 2 + count_words(len(value))
        case StringType():
            ascii_ = value.isascii()
            return 2 + count_words(len(value) if ascii_ else len(value.encode("utf-8")))
        case ListType():
            return 2 + sum([count_encoded(type.element, element) for element in value])
        case StructType():
            members = zip([member for _, member in type.fields], value, strict=True)
            return is_dynamic(type) + sum([count_encoded(*member) for member in members])
    return 1


def make_converter(type: ValueType, structs: Structs) -> Callable[[Any], Any] | None:
    """From what the codec decodes to what a method sees; None where they are the same."""
    match type:
        case BytesType() | StringType():
            return _check_text
        case StructType():
            make = structs[type.name]
            return lambda values: make(*values)
        case ListType():
            convert = make_converter(type.element, structs)
            return None if convert is None else lambda values: [convert(each) for each in values]
    return None


def _check_text(value: Any) -> Any:
    if len(value) > TEXT_BYTES_MAX:
        raise Panicked(PANIC_SIZE)
    return value


@dataclass(frozen=True, slots=True)
class Entry:
    """A method that can be reached from outside; the constructor's selector is empty."""

    method: MethodModel
    selector: bytes
    arguments: Values
    returns: Values

    def list_returns(self, result: Any) -> tuple[Any, ...]:
        """What a method returned, one value for each output."""
        return result if isinstance(self.method.returns, TupleType) else (result,)


def make_entry(method: MethodModel, structs: Structs) -> Entry:
    types = [parameter.type for parameter in method.parameters]
    selector = b""
    if method.kind is not Kind.CONSTRUCTOR:
        selector = abi.selector(name_signature(external_name(method.name), types))
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

    __slots__ = ("_data", "_encoders", "_indexed", "_pick", "_rest", "model", "topic", "topics")

    def __init__(self, event: RecordModel, structs: Structs) -> None:
        self.model = event
        types = [field.type for field in event.fields]
        self.topic = abi.topic(name_signature(event.name, types))
        self._indexed = [index for index, field in enumerate(event.fields) if field.indexed]
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

    def count_words(self, values: Sequence[Any]) -> int:
        """Words of data that `encode` will make."""
        return self._data.count_words(self._pick(values))

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


def make_topic_encoder(type: ValueType) -> Callable[[Any], bytes]:
    """A value of one word as it is; a longer one as the hash of its parts, padded, in place."""
    if get_value_size(type):
        return make_key_encoder(type)
    if isinstance(type, StringType | BytesType):
        encode = make_key_encoder(type)
        return lambda value: keccak256(encode(value))
    return lambda value: keccak256(_encode_in_place(type, value))


def _encode_in_place(type: ValueType, value: Any) -> bytes:
    match type:
        case StructType():
            parts = zip([member for _, member in type.fields], value, strict=True)
            return b"".join([_encode_in_place(member, each) for member, each in parts])
        case ListType():
            return b"".join([_encode_in_place(type.element, each) for each in value])
    data = make_key_encoder(type)(value)
    return data.ljust(WORD_BYTES * count_words(len(data)), b"\0")
