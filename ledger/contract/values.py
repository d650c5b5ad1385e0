"""Values through the doors of a contract: out to ABI bytes, range-checked, and bytes in to values.

What belongs here: a list of types as a codec whose work is counted, and charged, before it is done.
The bytes are `ledger.encoding.abi`; which door has which types is `interface`.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

from ledger.contract.door import TEXT_BYTES_MAX
from ledger.contract.gas import GAS_COUNT_ITEM
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
)
from ledger.crypto.keccak import keccak256
from ledger.encoding import abi
from ledger.errors import EncodingError

Charge: TypeAlias = Callable[[int], None]
"""Takes gas before what it pays for."""


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

    __slots__ = ("_codec", "_convert", "_size", "_structs", "_words", "types")

    def __init__(self, types: Sequence[ValueType], structs: Structs) -> None:
        self.types = tuple(types)
        self._structs = structs

    def __getattr__(self, name: str) -> Any:
        """Made when it is first used: a call uses few of the doors of a large contract."""
        if name not in self.__slots__:
            raise AttributeError(name)
        self._prepare(self.types, self._structs)
        return getattr(self, name)

    def _prepare(self, types: tuple[ValueType, ...], structs: Structs) -> None:
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

    def count_words(self, values: Sequence[Any], charge: Charge) -> int:
        """Words that `encode` will make, for the charge before it; counting is charged, too."""
        if self._size is not None:
            return self._size
        counted = 0
        for type, value in zip(self.types, values, strict=True):
            counted += count_encoded(type, value, charge)
        return counted

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
        case FixedListType():
            return is_dynamic(type.element)
        case StructType():
            return any(is_dynamic(member) for _, member in type.fields)
    return False


def count_encoded(type: ValueType, value: Any, charge: Charge) -> int:
    """Words of a value's encoding, its offset included.

    A list may hold the same list many times, so each is charged before it is gone through.
    """
    match type:
        case BytesType():
            return 2 + count_words(len(value))
        case StringType():
            ascii_ = value.isascii()
            return 2 + count_words(len(value) if ascii_ else len(value.encode("utf-8")))
        case ListType() | FixedListType():
            own = 2 if isinstance(type, ListType) else is_dynamic(type)
            if not is_dynamic(type.element):
                return own + len(value) * _count_static(type.element)
            charge(GAS_COUNT_ITEM * len(value))
            counted = own
            for element in value:
                counted += count_encoded(type.element, element, charge)
            return counted
        case StructType():
            counted = int(is_dynamic(type))
            for (_, member), each in zip(type.fields, value, strict=True):
                counted += count_encoded(member, each, charge)
            return counted
    return 1


@lru_cache(maxsize=1_024)
def _count_static(type: ValueType) -> int:
    """Words of a type whose values all have the same size."""
    match type:
        case FixedListType():
            return type.size * _count_static(type.element)
        case StructType():
            return sum([_count_static(member) for _, member in type.fields])
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
