"""The static types of the contract language. Every expression has exactly one of them.

What belongs here: plain values that describe a type. How a type is laid out in storage is
`layout`, how it is encoded outside is `interface`, which operations it has is `check`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, wraps
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class IntType:
    """intN or uintN as declared at a door. Inside a method all of them are one type, `INT`."""

    bits: int
    signed: bool

    @property
    def magnitude(self) -> int:
        """No value is further from zero than 2**magnitude."""
        return self.bits - self.signed

    @property
    def bounds(self) -> tuple[int, int]:
        """low <= value < high."""
        return (-(1 << self.bits - 1), 1 << self.bits - 1) if self.signed else (0, 1 << self.bits)


@dataclass(frozen=True, slots=True)
class BoolType:
    """True or False; no integer stands for one."""


@dataclass(frozen=True, slots=True)
class AddressType:
    """20 bytes; inside, Python `bytes` that no operator but == != accepts."""


@dataclass(frozen=True, slots=True)
class FixedBytesType:
    """bytesN, 1 <= size <= 32."""

    size: int


@dataclass(frozen=True, slots=True)
class BytesType:
    """Bytes of any length up to TEXT_SIZE_MAX."""


@dataclass(frozen=True, slots=True)
class StringType:
    """UTF-8 text of at most TEXT_SIZE_MAX bytes."""


@dataclass(frozen=True, slots=True)
class EnumType:
    """A declared enumeration of 1 to 256 members: inside, the index of one; outside, a uint8."""

    name: str
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StructType:
    """A declared record; `fields` in order, of any type but tuples."""

    name: str
    fields: tuple[tuple[str, "ValueType"], ...]
    nodes: int = field(init=False, repr=False, compare=False)
    """As `count_nodes` gives them; kept, for it is asked while contracts run."""
    kept: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What `once` has found."""

    def __hash__(self) -> int:
        return hash((self.name, self.nodes))

    def __post_init__(self) -> None:
        nodes = 1 + sum([count_nodes(member) for _, member in self.fields])
        object.__setattr__(self, "nodes", nodes)


@dataclass(frozen=True, slots=True)
class ListType:
    """A list in memory: T[] in call data, arguments, locals and return values."""

    element: "ValueType"


@dataclass(frozen=True, slots=True)
class FixedListType:
    """T[N]: in memory a list of exactly `size` items; in storage they stand one after another."""

    element: "ValueType"
    size: int


@dataclass(frozen=True, slots=True)
class TupleType:
    """Several return values, or what is unpacked from them; never stored."""

    elements: tuple["ValueType", ...]


ValueType: TypeAlias = (
    IntType
    | BoolType
    | AddressType
    | FixedBytesType
    | BytesType
    | StringType
    | EnumType
    | StructType
    | ListType
    | FixedListType
    | TupleType
)


@dataclass(frozen=True, slots=True)
class OptionalType:
    """Storage only, as the value of a map: the struct {bool present; T value}."""

    value: ValueType


@dataclass(frozen=True, slots=True)
class MapType:
    """Storage only. Several keys hash as nested mappings, first key outermost."""

    keys: tuple[ValueType, ...]
    value: "StorageType"

    @property
    def plain_value(self) -> "StorageType":
        """What is read and written at a key: of an Optional, the value."""
        return self.value.value if isinstance(self.value, OptionalType) else self.value


@dataclass(frozen=True, slots=True)
class ArrayType:
    """Storage only: a dynamic array, T[] of Solidity; of handles too, which are indexed on."""

    element: "StorageType"


@dataclass(frozen=True, slots=True)
class RoleType:
    """Storage only: a set of accounts, laid out as mapping(address => bool)."""


StorageType: TypeAlias = ValueType | OptionalType | MapType | ArrayType | RoleType

INT = IntType(513, True)
"""The widest integer inside a method: sign and 512 bits, checked where it could grow past them."""
UINT64 = IntType(64, False)
UINT256 = IntType(256, False)
INT256 = IntType(256, True)
BYTES32 = FixedBytesType(32)
BOOL = BoolType()
ADDRESS = AddressType()
BYTES = BytesType()
STRING = StringType()
SEQUENCES = (ListType, FixedListType)
HANDLES = (MapType, ArrayType, RoleType, OptionalType)
"""What stands in storage and is no value."""


def count_nodes(type: ValueType) -> int:
    """Types that one is made of, spelled out: what every walk through it costs."""
    match type:
        case StructType():
            return type.nodes
        case TupleType():
            return sum([count_nodes(element) for element in type.elements])
        case FixedListType() | ListType():
            return 1 + count_nodes(type.element)
    return 1


def once(find: Callable[[Any], T]) -> Callable[[Any], T]:
    """What is found of a struct is kept with it: structs in structs are walked through once."""

    @wraps(find)
    def look(type: Any) -> T:
        if not isinstance(type, StructType):
            return find(type)
        if find.__name__ not in type.kept:
            type.kept[find.__name__] = find(type)
        found: T = type.kept[find.__name__]
        return found

    return look


@lru_cache(maxsize=4_096)
def count_parts(type: ValueType) -> int:
    """Values in one of a type, those of a list with unknown length counted once."""
    match type:
        case StructType():
            return sum([count_parts(member) for _, member in type.fields])
        case TupleType():
            return sum([count_parts(element) for element in type.elements])
        case FixedListType():
            return type.size * count_parts(type.element)
        case ListType():
            return 1 + count_parts(type.element)
    return 1


@lru_cache(maxsize=4_096)
def count_levels(type: ValueType) -> int:
    """Lists within lists, through the members of structs."""
    match type:
        case StructType():
            return max([count_levels(member) for _, member in type.fields])
        case FixedListType() | ListType():
            return 1 + count_levels(type.element)
    return 0
