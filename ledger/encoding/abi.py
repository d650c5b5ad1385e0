"""Contract ABI: call data, return values, errors and log data to values and back.

Types are written as Ethereum writes them: uintN, intN, bytesN, bytes, string, bool, address, T[],
T[n] and tuples "(T,U)", nested. Inside, an address is 20 bytes, bytesN exactly N bytes, an array a
list, a tuple a tuple. What a contract's annotations mean is not here (ledger/contract).

A type list becomes a codec of closures once, and is kept. Decoding is the specification's strict
mode: every value has one encoding (padding is zero or the sign, tails follow each other without gap
or overlap, nothing follows), so decode then encode returns the same bytes, and what decoding makes
is at most proportional to the data. Every element takes a word, so a length that the data cannot
hold is refused before anything is made. Source: Solidity, "Contract ABI Specification".
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

from ledger.crypto.keccak import keccak256
from ledger.errors import EncodingError

NESTING_MAX = 8
"""Brackets in each other, and arrays of arrays of one type; a contract nests at most 4 deep."""
STATIC_SIZE_MAX = 1 << 20
"""Bytes of the static part of a type: T[n] must not name more than any transaction can carry."""
_CODECS_KEPT = 256
"""A type list for each method, event and error of the contracts in use; up to 135 kB each."""

_WORD = 32
_BASE_TYPE = re.compile(r"(uint|int|bytes)([1-9][0-9]{0,2})|bytes|string|bool|address", re.ASCII)
_ARRAY_SUFFIX = re.compile(r"\[([1-9][0-9]{0,5})?\]", re.ASCII)
_SIGNATURE = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*(\(.*\))", re.ASCII)


@dataclass(frozen=True, slots=True)
class Kind:
    """One compiled type.

    `size` is what it takes in the head, in bytes: 32, its offset, where it is dynamic. A static one
    decodes (data, position) to the value, a dynamic one (data, start of its tail) to (value, end).
    """

    name: str
    size: int
    dynamic: bool
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes, int], Any]


class Codec:
    """Values of one list of types to bytes and back."""

    __slots__ = ("_decode", "_dynamic", "encode", "size", "types")

    def __init__(self, types: tuple[str, ...]) -> None:
        members = [_parse_whole(text) for text in types]
        kind = _tuple_kind(members)
        self.types = tuple(member.name for member in members)
        self.size = sum(member.size for member in members)  # all of it, where all are static
        self.encode = kind.encode
        self._decode, self._dynamic = kind.decode, kind.dynamic

    def decode(self, data: bytes) -> tuple[Any, ...]:
        """The values that `data`, all of it, is the encoding of. Raises EncodingError."""
        if not self._dynamic:
            if len(data) != self.size:
                raise EncodingError(f"ABI: {self.size} bytes of data expected, got {len(data)}")
            values: tuple[Any, ...] = self._decode(data, 0)
            return values
        values, end = self._decode(data, 0)
        if end != len(data):
            raise EncodingError(f"ABI: {len(data) - end} bytes after the last value")
        return values


@lru_cache(maxsize=_CODECS_KEPT)
def codec(types: tuple[str, ...]) -> Codec:
    """The codec of a type list, compiled once. Raises EncodingError for what is no ABI type."""
    return Codec(types)


def encode(types: Sequence[str], values: Sequence[Any]) -> bytes:
    """The encoding of `values`, one for each type. Raises EncodingError."""
    return codec(tuple(types)).encode(values)


def decode(types: Sequence[str], data: bytes) -> tuple[Any, ...]:
    """The values in `data`, one for each type. Raises EncodingError."""
    return codec(tuple(types)).decode(data)


@lru_cache(maxsize=_CODECS_KEPT)
def selector(signature: str) -> bytes:
    """The 4 bytes that name a method or an error: of "setDebt(uint256,uint256,address)"."""
    return keccak256(signature.encode("ascii"))[:4]


@lru_cache(maxsize=_CODECS_KEPT)
def topic(signature: str) -> bytes:
    """The 32 bytes that name an event in a log's first topic."""
    return keccak256(signature.encode("ascii"))


@lru_cache(maxsize=_CODECS_KEPT)
def signature_types(signature: str) -> tuple[str, ...]:
    """The type list of "name(type,...)". Raises EncodingError where it is not canonical."""
    match = _SIGNATURE.fullmatch(signature)
    if match is None:
        raise EncodingError(f"ABI: expected name(type,...), got {signature!r:.80}")
    if match[1] == "()":
        return ()
    kinds, position = _parse_members(match[1], 1, 1)
    if position != len(match[1]):
        raise EncodingError(f"ABI: text after the closing bracket of {signature!r:.80}")
    return tuple(kind.name for kind in kinds)


def encode_call(signature: str, values: Sequence[Any]) -> bytes:
    """Call data: the selector of `signature`, then its arguments. Raises EncodingError."""
    return selector(signature) + codec(signature_types(signature)).encode(values)


@lru_cache(maxsize=_CODECS_KEPT)
def _parse_whole(text: str) -> Kind:
    """A type list's entry; what an array is of is kept as well."""
    inner, bracket, length = text.rpartition("[")
    if inner.endswith(")") and (match := _ARRAY_SUFFIX.fullmatch(bracket + length)) is not None:
        return _array_kind(_parse_whole(inner), int(match[1] or 0))
    kind, position = _parse_type(text, 0, 0)
    if position != len(text):
        raise _no_type(text)
    return kind


def _parse_type(text: str, position: int, depth: int) -> tuple[Kind, int]:
    if text.startswith("(", position) and depth < NESTING_MAX:
        members, position = _parse_members(text, position + 1, depth + 1)
        kind = _tuple_kind(members)
    elif (match := _BASE_TYPE.match(text, position)) is not None:
        kind, position = _base_kind(match[0]), match.end()
    else:
        raise _no_type(text)
    for _ in range(NESTING_MAX):
        if (match := _ARRAY_SUFFIX.match(text, position)) is None:
            break
        kind, position = _array_kind(kind, int(match[1] or 0)), match.end()
    return kind, position


def _parse_members(text: str, position: int, depth: int) -> tuple[list[Kind], int]:
    """The types up to the bracket that closes the list, and the position after it."""
    members = []
    while True:
        kind, position = _parse_type(text, position, depth)
        members.append(kind)
        separator, position = text[position : position + 1], position + 1
        if separator == ")":
            return members, position
        if separator != ",":
            raise _no_type(text)


@lru_cache(maxsize=_CODECS_KEPT)
def _base_kind(name: str) -> Kind:
    match = _BASE_TYPE.fullmatch(name)
    family, number = (match[1], int(match[2] or 0)) if match else (None, 0)
    if family == "bytes" and number <= _WORD:
        return _padded_kind(name, number)
    if family in ("uint", "int") and number <= 256 and number % 8 == 0:
        return _integer_kind(name, number, signed=family == "int")
    if family is not None:
        raise _no_type(name)
    if name == "address":
        return _padded_kind(name, 20, before=12)
    return {"bool": _bool_kind, "bytes": _bytes_kind, "string": _string_kind}[name]()


def _no_type(text: str) -> EncodingError:
    return EncodingError(f"ABI: {text!r:.80} is no type; write uint256, bytes32, (bool,address)[]")


def _refused(name: str, value: Any) -> EncodingError:
    return EncodingError(f"ABI: {name} cannot hold {value!r:.80}")


def _integer_kind(name: str, bits: int, signed: bool) -> Kind:
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)

    def encode(value: Any) -> bytes:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise _refused(name, value)
        return value.to_bytes(_WORD, "big", signed=signed)

    def decode_unsigned(data: bytes, position: int) -> int:
        value = int.from_bytes(data[position : position + _WORD], "big")
        if value > high:
            raise EncodingError(f"ABI: {name} out of range: {value}")
        return value

    def decode_signed(data: bytes, position: int) -> int:
        value = int.from_bytes(data[position : position + _WORD], "big", signed=True)
        if not low <= value <= high:
            raise EncodingError(f"ABI: {name} out of range: {value}")
        return value

    return Kind(name, _WORD, False, encode, decode_signed if signed else decode_unsigned)


def _bool_kind() -> Kind:
    words = {bytes(_WORD): False, bytes(_WORD - 1) + b"\x01": True}

    def encode(value: Any) -> bytes:
        if not isinstance(value, bool):
            raise _refused("bool", value)
        return int(value).to_bytes(_WORD, "big")

    def decode(data: bytes, position: int) -> bool:
        value = words.get(data[position : position + _WORD])
        if value is None:
            raise EncodingError("ABI: a bool is 0 or 1")
        return value

    return Kind("bool", _WORD, False, encode, decode)


def _padded_kind(name: str, size: int, before: int = 0) -> Kind:
    """`size` bytes in a word, behind so many zeros; the rest are zeros too."""
    start, stop = bytes(before), bytes(_WORD - before - size)

    def encode(value: Any) -> bytes:
        if not isinstance(value, bytes) or len(value) != size:
            raise _refused(name, value)
        return start + value + stop

    def decode(data: bytes, position: int) -> bytes:
        first = position + before
        last = first + size
        if data[position:first] != start or data[last : position + _WORD] != stop:
            raise EncodingError(f"ABI: {name} has {size} bytes, the rest of its word is not zero")
        return data[first:last]

    return Kind(name, _WORD, False, encode, decode)


def _decode_length(data: bytes, position: int) -> int:
    if position + _WORD > len(data):
        raise EncodingError("ABI: the data ends before a length")
    return int.from_bytes(data[position : position + _WORD], "big")


def _bytes_kind() -> Kind:
    def encode(value: Any) -> bytes:
        if not isinstance(value, bytes):
            raise _refused("bytes", value)
        return len(value).to_bytes(_WORD, "big") + value + bytes(-len(value) % _WORD)

    def decode(data: bytes, position: int) -> tuple[bytes, int]:
        size = _decode_length(data, position)
        start = position + _WORD
        end = start + size + -size % _WORD
        if end > len(data):
            raise EncodingError(f"ABI: {size} bytes announced, {len(data) - start} are there")
        if any(data[start + size : end]):
            raise EncodingError("ABI: bytes are not padded with zeros")
        return data[start : start + size], end

    return Kind("bytes", _WORD, True, encode, decode)


def _string_kind() -> Kind:
    inner = _bytes_kind()

    def encode(value: Any) -> bytes:
        try:
            return inner.encode(value.encode("utf-8"))
        except (AttributeError, UnicodeEncodeError) as error:
            raise _refused("string", value) from error

    def decode(data: bytes, position: int) -> tuple[str, int]:
        value, end = inner.decode(data, position)
        try:
            return value.decode("utf-8"), end
        except UnicodeDecodeError as error:
            raise EncodingError("ABI: a string that is not UTF-8") from error

    return Kind("string", _WORD, True, encode, decode)


def _array_kind(element: Kind, length: int) -> Kind:
    """An array of `length` elements, or of any number where that is 0."""
    name, size, decode_element = f"{element.name}[{length or ''}]", element.size, element.decode
    if size * length > STATIC_SIZE_MAX:
        raise _no_type(name)

    def encode(values: Any) -> bytes:
        if not isinstance(values, (list, tuple)) or (length and len(values) != length):
            raise _refused(name, values)
        count = b"" if length else len(values).to_bytes(_WORD, "big")
        if element.dynamic:
            return count + _encode_members([element] * len(values), values)
        return count + b"".join([element.encode(value) for value in values])

    def decode_items(data: bytes, start: int, count: int) -> tuple[list[Any], int]:
        end = start + count * size
        if element.dynamic:
            return _decode_members([element] * count, data, start, end)
        return [decode_element(data, at) for at in range(start, end, size)], end

    def decode(data: bytes, position: int) -> tuple[list[Any], int]:
        if length:
            return decode_items(data, position, length)
        count, start = _decode_length(data, position), position + _WORD
        if count > (len(data) - start) // size:
            raise EncodingError(f"ABI: {name} of {count} elements in {len(data) - start} bytes")
        return decode_items(data, start, count)

    if length and not element.dynamic:
        return Kind(name, size * length, False, encode, lambda data, at: decode(data, at)[0])
    return Kind(name, _WORD, True, encode, decode)


def _tuple_kind(members: Sequence[Kind]) -> Kind:
    name = f"({','.join([member.name for member in members])})"
    encoders = [member.encode for member in members]
    *offsets, size = accumulate([member.size for member in members], initial=0)
    fields = [(member.decode, offset) for member, offset in zip(members, offsets, strict=True)]
    dynamic = any(member.dynamic for member in members)
    if size > STATIC_SIZE_MAX:
        raise _no_type(name)

    def encode(values: Any) -> bytes:
        if not isinstance(values, (list, tuple)) or len(values) != len(members):
            raise _refused(name, values)
        if dynamic:
            return _encode_members(members, values)
        return b"".join([encode(value) for encode, value in zip(encoders, values, strict=True)])

    def decode_static(data: bytes, position: int) -> Sequence[Any]:
        return tuple([decode(data, position + offset) for decode, offset in fields])

    def decode_dynamic(data: bytes, position: int) -> tuple[Sequence[Any], int]:
        values, end = _decode_members(members, data, position, position + size)
        return tuple(values), end

    if dynamic:
        return Kind(name, _WORD, True, encode, decode_dynamic)
    return Kind(name, size, False, encode, decode_static)


def _encode_members(members: Sequence[Kind], values: Sequence[Any]) -> bytes:
    """Heads, in which a dynamic member is the offset of its tail, then the tails."""
    heads: list[bytes] = []
    tails: list[bytes] = []
    offset = sum([member.size for member in members])
    for member, value in zip(members, values, strict=True):
        encoded = member.encode(value)
        if member.dynamic:
            heads.append(offset.to_bytes(_WORD, "big"))
            tails.append(encoded)
            offset += len(encoded)
        else:
            heads.append(encoded)
    return b"".join(heads + tails)


def _decode_members(
    members: Sequence[Kind], data: bytes, base: int, tail: int
) -> tuple[list[Any], int]:
    """The members whose heads stand from `base` to `tail`, and the end of the last tail."""
    if tail > len(data):
        raise EncodingError(f"ABI: {tail - base} bytes expected, {len(data) - base} are there")
    values, position = [], base
    for member in members:
        if member.dynamic:
            if int.from_bytes(data[position : position + _WORD], "big") != tail - base:
                raise EncodingError(f"ABI: {member.name} does not start where the one before ends")
            value, tail = member.decode(data, tail)
        else:
            value = member.decode(data, position)
        values.append(value)
        position += member.size
    return values, tail
