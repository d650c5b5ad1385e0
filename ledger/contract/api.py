"""What a contract author imports; `ledger.contract` re-exports exactly these names.

On chain a source is parsed and these imports are never executed. In tests and for type checkers
they are ordinary Python: types are aliases of what a method sees (`uint64` is int, `address` is
bytes), events, errors and structs are dataclasses with equality, and the storage handles have the
signatures that `storage` serves. Nothing here computes anything.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import (
    Annotated,
    Any,
    Protocol,
    TypeVar,
    dataclass_transform,
    overload,
)

from ledger.contract.types import ADDRESS, STRING, FixedBytesType, IntType

T = TypeVar("T")
K = TypeVar("K", contravariant=True)
V = TypeVar("V")
F = TypeVar("F", bound=Callable[..., Any])

uint8 = Annotated[int, IntType(8, False)]
uint16 = Annotated[int, IntType(16, False)]
uint24 = Annotated[int, IntType(24, False)]
uint32 = Annotated[int, IntType(32, False)]
uint40 = Annotated[int, IntType(40, False)]
uint48 = Annotated[int, IntType(48, False)]
uint56 = Annotated[int, IntType(56, False)]
uint64 = Annotated[int, IntType(64, False)]
uint72 = Annotated[int, IntType(72, False)]
uint80 = Annotated[int, IntType(80, False)]
uint88 = Annotated[int, IntType(88, False)]
uint96 = Annotated[int, IntType(96, False)]
uint104 = Annotated[int, IntType(104, False)]
uint112 = Annotated[int, IntType(112, False)]
uint120 = Annotated[int, IntType(120, False)]
uint128 = Annotated[int, IntType(128, False)]
uint136 = Annotated[int, IntType(136, False)]
uint144 = Annotated[int, IntType(144, False)]
uint152 = Annotated[int, IntType(152, False)]
uint160 = Annotated[int, IntType(160, False)]
uint168 = Annotated[int, IntType(168, False)]
uint176 = Annotated[int, IntType(176, False)]
uint184 = Annotated[int, IntType(184, False)]
uint192 = Annotated[int, IntType(192, False)]
uint200 = Annotated[int, IntType(200, False)]
uint208 = Annotated[int, IntType(208, False)]
uint216 = Annotated[int, IntType(216, False)]
uint224 = Annotated[int, IntType(224, False)]
uint232 = Annotated[int, IntType(232, False)]
uint240 = Annotated[int, IntType(240, False)]
uint248 = Annotated[int, IntType(248, False)]
uint256 = Annotated[int, IntType(256, False)]
int8 = Annotated[int, IntType(8, True)]
int16 = Annotated[int, IntType(16, True)]
int24 = Annotated[int, IntType(24, True)]
int32 = Annotated[int, IntType(32, True)]
int40 = Annotated[int, IntType(40, True)]
int48 = Annotated[int, IntType(48, True)]
int56 = Annotated[int, IntType(56, True)]
int64 = Annotated[int, IntType(64, True)]
int72 = Annotated[int, IntType(72, True)]
int80 = Annotated[int, IntType(80, True)]
int88 = Annotated[int, IntType(88, True)]
int96 = Annotated[int, IntType(96, True)]
int104 = Annotated[int, IntType(104, True)]
int112 = Annotated[int, IntType(112, True)]
int120 = Annotated[int, IntType(120, True)]
int128 = Annotated[int, IntType(128, True)]
int136 = Annotated[int, IntType(136, True)]
int144 = Annotated[int, IntType(144, True)]
int152 = Annotated[int, IntType(152, True)]
int160 = Annotated[int, IntType(160, True)]
int168 = Annotated[int, IntType(168, True)]
int176 = Annotated[int, IntType(176, True)]
int184 = Annotated[int, IntType(184, True)]
int192 = Annotated[int, IntType(192, True)]
int200 = Annotated[int, IntType(200, True)]
int208 = Annotated[int, IntType(208, True)]
int216 = Annotated[int, IntType(216, True)]
int224 = Annotated[int, IntType(224, True)]
int232 = Annotated[int, IntType(232, True)]
int240 = Annotated[int, IntType(240, True)]
int248 = Annotated[int, IntType(248, True)]
int256 = Annotated[int, IntType(256, True)]
address = Annotated[bytes, ADDRESS]
bytes1 = Annotated[bytes, FixedBytesType(1)]
bytes2 = Annotated[bytes, FixedBytesType(2)]
bytes3 = Annotated[bytes, FixedBytesType(3)]
bytes4 = Annotated[bytes, FixedBytesType(4)]
bytes5 = Annotated[bytes, FixedBytesType(5)]
bytes6 = Annotated[bytes, FixedBytesType(6)]
bytes7 = Annotated[bytes, FixedBytesType(7)]
bytes8 = Annotated[bytes, FixedBytesType(8)]
bytes9 = Annotated[bytes, FixedBytesType(9)]
bytes10 = Annotated[bytes, FixedBytesType(10)]
bytes11 = Annotated[bytes, FixedBytesType(11)]
bytes12 = Annotated[bytes, FixedBytesType(12)]
bytes13 = Annotated[bytes, FixedBytesType(13)]
bytes14 = Annotated[bytes, FixedBytesType(14)]
bytes15 = Annotated[bytes, FixedBytesType(15)]
bytes16 = Annotated[bytes, FixedBytesType(16)]
bytes17 = Annotated[bytes, FixedBytesType(17)]
bytes18 = Annotated[bytes, FixedBytesType(18)]
bytes19 = Annotated[bytes, FixedBytesType(19)]
bytes20 = Annotated[bytes, FixedBytesType(20)]
bytes21 = Annotated[bytes, FixedBytesType(21)]
bytes22 = Annotated[bytes, FixedBytesType(22)]
bytes23 = Annotated[bytes, FixedBytesType(23)]
bytes24 = Annotated[bytes, FixedBytesType(24)]
bytes25 = Annotated[bytes, FixedBytesType(25)]
bytes26 = Annotated[bytes, FixedBytesType(26)]
bytes27 = Annotated[bytes, FixedBytesType(27)]
bytes28 = Annotated[bytes, FixedBytesType(28)]
bytes29 = Annotated[bytes, FixedBytesType(29)]
bytes30 = Annotated[bytes, FixedBytesType(30)]
bytes31 = Annotated[bytes, FixedBytesType(31)]
bytes32 = Annotated[bytes, FixedBytesType(32)]
string = Annotated[str, STRING]

Optional = Annotated[T, "Optional"]
"""Only as the value of a Map: the struct {bool present; T value}, and `in` asks for presence."""

indexed = Annotated[T, "indexed"]
"""A field of an Event that becomes a topic of its log; at most three."""

ZERO_ADDRESS: address = bytes(20)


@dataclass_transform(frozen_default=True)
class _Record:
    """Fields as annotated, in order; equality by value."""

    def __init_subclass__(cls) -> None:
        # Not frozen at run time: Python sets __traceback__ on a raised revert.
        dataclass(unsafe_hash=True)(cls)


class Event(_Record):
    """What a contract tells the outside; becomes a log."""


class Struct(_Record):
    """A record of scalars, stored and passed as Solidity's struct."""


class Revert(_Record, Exception):
    """A declared reason to refuse a call; becomes a custom error."""


class Map(Protocol[K, V]):
    """A mapping in storage. Every key reads as zero until it is written."""

    def __getitem__(self, key: K, /) -> V:
        """The value; of an Optional that is absent, a panic."""
        ...

    def __setitem__(self, key: K, value: V, /) -> None: ...

    def __contains__(self, key: K, /) -> bool:
        """Whether an Optional value is present."""
        ...

    def remove(self, key: K, /) -> None:
        """Back to zero, or absent."""


class Array(Protocol[T]):
    """A dynamic array in storage; an index below zero or past the end is a panic."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> T: ...

    def __setitem__(self, index: int, value: T, /) -> None: ...

    def append(self, value: T, /) -> None: ...

    def pop(self) -> T:
        """The last element, taken off; of an empty array, a panic."""
        ...


class Role:
    """A set of accounts, `operators = Role()`; `@write(by=operators)` admits only these."""

    def grant(self, account: bytes, /) -> None: ...

    def revoke(self, account: bytes, /) -> None: ...

    def __contains__(self, account: bytes, /) -> bool:
        return False  # only a chain knows who holds it


class Message(Protocol):
    """The call: who sent it, and how many wei it carries."""

    sender: address
    value: int


class Block(Protocol):
    """The block the call is in; `timestamp` in Unix seconds."""

    number: int
    timestamp: int


class Contract:
    """The base of the one deployable class of a module; `balance` in wei."""

    msg: Message
    block: Block
    address: bytes
    balance: int

    def emit(self, event: Event, /) -> None:
        """Log an event. It is undone with the call if that fails."""


def view(method: F) -> F:
    """Callable from outside; it only reads."""
    return method


@overload
def write(method: F, /) -> F: ...


@overload
def write(*, by: Role) -> Callable[[F], F]: ...


def write(method: F | None = None, /, *, by: Role | None = None) -> F | Callable[[F], F]:
    """Callable by a transaction; with `by`, only by an account that holds the role."""
    return view if method is None else method


@overload
def payable(method: F, /) -> F: ...


@overload
def payable(*, by: Role) -> Callable[[F], F]: ...


def payable(method: F | None = None, /, *, by: Role | None = None) -> F | Callable[[F], F]:
    """A write (or the constructor) that may carry native coin; others refuse it."""
    return view if method is None else method
