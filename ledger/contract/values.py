"""Values through the doors of a contract: out to ABI bytes, range-checked, and bytes in to values.

What belongs here: a list of types as a codec whose work is counted, and charged, before it is done.
The bytes are `ledger.encoding.abi`; which door has which types is `interface`.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from ledger.contract.door import TEXT_BYTES_MAX
from ledger.contract.gas import GAS_CODEC_NODE, GAS_COUNT_ITEM
from ledger.contract.handles import make_key_encoder
from ledger.contract.layout import WORD_BYTES, get_value_size, name_value_type
from ledger.contract.signals import PANIC_RANGE, PANIC_SIZE, Panicked
from ledger.contract.storage import Structs, count_words
from ledger.contract.types import (
    BytesType,
    EnumType,
    FixedListType,
    ListType,
    StringType,
    StructType,
    ValueType,
    count_nodes,
    once,
)
from ledger.crypto.keccak import keccak256
from ledger.encoding import abi
from ledger.errors import EncodingError

Charge: TypeAlias = Callable[[int], None]
"""Takes gas before what it pays for."""
Counter: TypeAlias = Callable[[Any, Charge], int]


@once
def name_type(type: ValueType) -> str:
    """The type as signatures spell it: a struct is a tuple in brackets."""
    match type:
        case StringType():
            return "string"
        case BytesType():
            return "bytes"
        case ListType():
            return f"{name_type(type.element)}[]"
        case FixedListType():
            return f"{name_type(type.element)}[{type.size}]"
        case StructType():
            return f"({','.join([name_type(member) for _, member in type.fields])})"
    return name_value_type(type)


class Values:
    """A list of types at a door: values out to bytes, range-checked, and bytes in to values."""

    __slots__ = ("_codec", "_convert", "_counts", "_size", "_structs", "_words", "gas", "types")

    def __init__(self, types: Sequence[ValueType], structs: Structs) -> None:
        self.types = tuple(types)
        self.gas = GAS_CODEC_NODE * sum([count_nodes(type) for type in types])
        self._structs = structs

    def __getattr__(self, name: str) -> Any:
        """Made when it is first used: a call uses few of the doors of a large contract."""
        if name not in self.__slots__:
            raise AttributeError(name)
        self._prepare(self.types, self._structs)
        return getattr(self, name)

    def _prepare(self, types: tuple[ValueType, ...], structs: Structs) -> None:
        converters = [make_converter(type, structs) for type in types]
        self._convert = [(at, each) for at, each in enumerate(converters) if each is not None]
        self._codec = abi.codec(tuple([name_type(type) for type in types]))
        dynamic = any(_count_static(type) is None for type in types)
        self._size = None if dynamic else self._codec.size // WORD_BYTES
        self._counts = [make_counter(type) for type in types] if dynamic else []
        self._words: list[Callable[[Any], bytes]] | None = None
        if all(get_value_size(type) for type in types):
            self._words = [make_key_encoder(type) for type in types]

    def decode(self, data: bytes) -> Sequence[Any]:
        """Strictly: all of `data`, or EncodingError. A text over its limit is a panic."""
        values = self._codec.decode(data)
        if not self._convert:
            return values
        converted = list(values)
        for index, convert in self._convert:
            converted[index] = convert(converted[index])
        return converted

    def count_words(self, values: Sequence[Any], charge: Charge) -> int:
        """Words that `encode` will make, for the charge before it; counting is charged, too."""
        if self._size is not None:
            return self._size
        return sum([count(v, charge) for count, v in zip(self._counts, values, strict=True)])

    def encode(self, values: Sequence[Any]) -> bytes:
        if self._words is not None:  # most events and results; a third of the codec's time
            return b"".join([encode(v) for encode, v in zip(self._words, values, strict=True)])
        try:
            return self._codec.encode(values)
        except EncodingError as error:
            raise Panicked(PANIC_RANGE) from error


def make_counter(type: ValueType) -> Counter:
    """Words of a value's encoding, its offset included; what of that the type says is said here.

    A list may hold the same list many times, so each is charged before it is gone through.
    """
    match type:
        case BytesType():
            return lambda value, charge: 2 + count_words(len(value))
        case StringType():
            return lambda value, charge: 2 + count_words(_count_utf8(value))
        case ListType() | FixedListType():
            count, each = make_counter(type.element), _count_static(type.element)
            own = 2 if isinstance(type, ListType) else int(each is None)
            if each is not None:
                return lambda value, charge: own + len(value) * each

            def count_items(value: Sequence[Any], charge: Charge) -> int:
                charge(GAS_COUNT_ITEM * len(value))
                return own + sum([count(item, charge) for item in value])

            return count_items
        case StructType():
            fixed = _count_static(type)
            if fixed is not None:
                return lambda value, charge: fixed
            counts = [make_counter(member) for _, member in type.fields]
            return lambda value, charge: (
                1 + sum([count(item, charge) for count, item in zip(counts, value, strict=True)])
            )
    return lambda value, charge: 1


def _count_utf8(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8"))


@once
def _count_static(type: ValueType) -> int | None:
    """Words of a type whose values all have the same size; None of others."""
    match type:
        case BytesType() | StringType() | ListType():
            return None
        case FixedListType():
            each = _count_static(type.element)
            return None if each is None else type.size * each
        case StructType():
            words = [_count_static(member) for _, member in type.fields]
            return None if None in words else sum([each or 0 for each in words])
    return 1


def make_converter(type: ValueType, structs: Structs) -> Callable[[Any], Any] | None:
    """From what the codec decodes to what a method sees; None where they are the same."""
    match type:
        case BytesType() | StringType():
            return _check_text
        case EnumType():
            return _make_enum_check(len(type.members))
        case StructType():
            make = structs[type.name]
            members = [make_converter(member, structs) for _, member in type.fields]
            if not any(members):
                return lambda values: make(*values)
            pairs = [convert or _keep for convert in members]
            return lambda values: make(*[c(v) for c, v in zip(pairs, values, strict=True)])
        case ListType() | FixedListType():
            convert = make_converter(type.element, structs)
            return None if convert is None else lambda values: [convert(each) for each in values]
    return None


def _keep(value: Any) -> Any:
    return value


def _make_enum_check(count: int) -> Callable[[int], int]:
    def check(value: int) -> int:
        if value >= count:
            raise EncodingError(f"ABI: {value} is no member of an enum of {count}")
        return value

    return check


def _check_text(value: Any) -> Any:
    if len(value) > TEXT_BYTES_MAX:
        raise Panicked(PANIC_SIZE)
    return value


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
        case ListType() | FixedListType():
            return b"".join([_encode_in_place(type.element, each) for each in value])
    data = make_key_encoder(type)(value)
    return data.ljust(WORD_BYTES * count_words(len(data)), b"\0")
