"""What a contract author imports; `ledger.contract` re-exports exactly these names.

On chain a source is parsed and these imports are never executed. In tests and for type checkers
they are ordinary Python: types are aliases of what a method sees (`uint64` is int, `address` is
bytes), events, errors and structs are dataclasses with equality, and the storage handles have the
signatures that `storage` serves. Nothing here computes anything.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Any, NoReturn, Protocol, TypeVar, dataclass_transform, overload
from typing import Annotated as Fixed

from ledger.crypto.keccak import keccak256 as _keccak256

# Inside a method all of these are plain int and bytes; the compiler holds them to their sizes.
# fmt: off
# isort: off
from builtins import (
    int as uint8, int as uint16, int as uint24, int as uint32, int as uint40, int as uint48,
    int as uint56, int as uint64, int as uint72, int as uint80, int as uint88, int as uint96,
    int as uint104, int as uint112, int as uint120, int as uint128, int as uint136,
    int as uint144, int as uint152, int as uint160, int as uint168, int as uint176,
    int as uint184, int as uint192, int as uint200, int as uint208, int as uint216,
    int as uint224, int as uint232, int as uint240, int as uint248, int as uint256, int as int8,
    int as int16, int as int24, int as int32, int as int40, int as int48, int as int56,
    int as int64, int as int72, int as int80, int as int88, int as int96, int as int104,
    int as int112, int as int120, int as int128, int as int136, int as int144, int as int152,
    int as int160, int as int168, int as int176, int as int184, int as int192, int as int200,
    int as int208, int as int216, int as int224, int as int232, int as int240, int as int248,
    int as int256,
    bytes as address, bytes as bytes1, bytes as bytes2, bytes as bytes3, bytes as bytes4,
    bytes as bytes5, bytes as bytes6, bytes as bytes7, bytes as bytes8, bytes as bytes9,
    bytes as bytes10, bytes as bytes11, bytes as bytes12, bytes as bytes13, bytes as bytes14,
    bytes as bytes15, bytes as bytes16, bytes as bytes17, bytes as bytes18, bytes as bytes19,
    bytes as bytes20, bytes as bytes21, bytes as bytes22, bytes as bytes23, bytes as bytes24,
    bytes as bytes25, bytes as bytes26, bytes as bytes27, bytes as bytes28, bytes as bytes29,
    bytes as bytes30, bytes as bytes31, bytes as bytes32,
    str as string,
)

__all__ = [  # noqa: RUF022 - by kind
    "ZERO_ADDRESS", "Array", "CallFailed", "Contract", "Enum", "Event", "Fixed", "Map", "Optional",
    "Revert", "Role", "Struct",
    "ROUND_FLOOR", "ROUND_CEILING", "ROUND_HALF_UP", "ROUND_HALF_EVEN", "mul_div", "keccak256",
    "ecrecover", "hash_struct", "eip712_domain", "eip712_digest", "abi_encode",
    "abi_encode_packed", "abi_decode", "coin_balance", "has_code",
    "Interface", "interface_id",
    "address", "indexed", "override", "payable", "string", "view", "write",
    "uint8", "uint16", "uint24", "uint32", "uint40", "uint48", "uint56", "uint64", "uint72",
    "uint80", "uint88", "uint96", "uint104", "uint112", "uint120", "uint128", "uint136",
    "uint144", "uint152", "uint160", "uint168", "uint176", "uint184", "uint192", "uint200",
    "uint208", "uint216", "uint224", "uint232", "uint240", "uint248", "uint256", "int8", "int16",
    "int24", "int32", "int40", "int48", "int56", "int64", "int72", "int80", "int88", "int96",
    "int104", "int112", "int120", "int128", "int136", "int144", "int152", "int160", "int168",
    "int176", "int184", "int192", "int200", "int208", "int216", "int224", "int232", "int240",
    "int248", "int256", "bytes1", "bytes2", "bytes3", "bytes4", "bytes5", "bytes6", "bytes7",
    "bytes8", "bytes9", "bytes10", "bytes11", "bytes12", "bytes13", "bytes14", "bytes15",
    "bytes16", "bytes17", "bytes18", "bytes19", "bytes20", "bytes21", "bytes22", "bytes23",
    "bytes24", "bytes25", "bytes26", "bytes27", "bytes28", "bytes29", "bytes30", "bytes31",
    "bytes32",
]
# isort: on
# fmt: on

T = TypeVar("T")
K = TypeVar("K", contravariant=True)
V = TypeVar("V")
F = TypeVar("F", bound=Callable[..., Any])

# `Fixed[list[T], N]`: a list of exactly N items, T[N] outside; N is a literal or a constant.

Optional = Annotated[T, "Optional"]
"""Only as the value of a Map: the struct {bool present; T value}, and `in` asks for presence."""

indexed = Annotated[T, "indexed"]
"""A field of an Event that becomes a topic of its log; at most three."""

ZERO_ADDRESS: address = bytes(20)


@dataclass_transform()
class _Record:
    """Fields as annotated, in order; equality by value."""

    def __init_subclass__(cls) -> None:
        # Not frozen at run time: Python sets __traceback__ on a raised revert.
        dataclass(unsafe_hash=True)(cls)


class Event(_Record):
    """What a contract tells the outside; becomes a log."""


@dataclass_transform()
class _Stored:
    """As a record; in storage its members are assigned one by one."""

    def __init_subclass__(cls) -> None:
        dataclass(unsafe_hash=True)(cls)


class Struct(_Stored):
    """A record of values, stored and passed as Solidity's struct. A member is assigned in storage
    alone: `self.accounts[user].debt += 5`; in memory make another Struct."""


class Revert(_Record, Exception):
    """A declared reason to refuse a call; becomes a custom error."""


class Enum(IntEnum):
    """Names for 0, 1, 2, ...: `class State(Enum): OPEN = 0`; a uint8 outside and in storage."""


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

    def send(self, to: bytes, amount: int, /) -> None:
        """Move coin, in wei. A contract takes it by its `receive`, or this call ends with it."""


class Interface:
    """Another contract: `class Token(Interface)` with decorated methods whose bodies are `...`.

    `Token(address).transfer(to, amount)` calls it; `value` in wei goes along, `gas` is a budget.
    """

    def __init__(self, address: bytes, /, *, value: int = 0, gas: int | None = None) -> None: ...


class CallFailed(Revert):
    """A called contract failed with no error of its own; only `except` names it."""

    callee: bytes


def override(method: F) -> F:
    """Above the other decorator of a method that a base has, with the same signature."""
    return method


def view(method: F) -> F:
    """Callable from outside; it only reads."""
    return method


@overload
def write(method: F, /) -> F: ...


@overload
def write(*, by: Role = ..., reentrant: bool = ...) -> Callable[[F], F]: ...


def write(
    method: F | None = None, /, *, by: Role | None = None, reentrant: bool = False
) -> F | Callable[[F], F]:
    """Callable by a transaction; with `by`, only by an account that holds the role.

    `reentrant`: also while this contract waits for another that it called.
    """
    return view if method is None else method


@overload
def payable(method: F, /) -> F: ...


@overload
def payable(*, by: Role = ..., reentrant: bool = ...) -> Callable[[F], F]: ...


def payable(
    method: F | None = None, /, *, by: Role | None = None, reentrant: bool = False
) -> F | Callable[[F], F]:
    """A write (or the constructor) that may carry native coin; others refuse it."""
    return view if method is None else method


# What follows runs on a chain, in tests on that of `ledger.contract.testing`.

ROUND_FLOOR = "ROUND_FLOOR"
"""Down, towards minus infinity."""
ROUND_CEILING = "ROUND_CEILING"
"""Up, towards plus infinity."""
ROUND_HALF_UP = "ROUND_HALF_UP"
"""To the nearest; a tie away from zero."""
ROUND_HALF_EVEN = "ROUND_HALF_EVEN"
"""To the nearest; a tie to the even one."""


def _on_chain(name: str) -> NoReturn:
    raise TypeError(f"{name} runs on a chain: deploy the contract with ledger.contract.testing")


def mul_div(a: int, b: int, c: int, rounding: str, /) -> int:
    """a * b / c, exact between, rounded by one of the ROUND_ constants, written in place."""
    _on_chain("mul_div")


def keccak256(data: bytes, /) -> bytes:
    """The 32 bytes of Keccak-256; of a literal, also as a module constant."""
    return _keccak256(data)


def ecrecover(digest: bytes, /, *signature: int | bytes) -> bytes:
    """The address that signed: `ecrecover(digest, signature)` with 65 bytes r, s, v, or
    `ecrecover(digest, v, r, s)`. The zero address where nobody did, or with a high s."""
    _on_chain("ecrecover")


def hash_struct(value: Struct, /) -> bytes:
    """EIP-712's hashStruct; type and members are named as in the ABI."""
    _on_chain("hash_struct")


def eip712_domain(name: str, version: str, /) -> bytes:
    """The domain separator of this contract on this chain."""
    _on_chain("eip712_domain")


def eip712_digest(domain: bytes, struct_hash: bytes, /) -> bytes:
    """What a wallet signs of typed data."""
    _on_chain("eip712_digest")


def abi_encode(*values: object) -> bytes:
    """Solidity's abi.encode; integers as uint256, or int256 where they may be negative."""
    _on_chain("abi_encode")


def abi_encode_packed(*values: object) -> bytes:
    """Solidity's abi.encodePacked; an integer must say its width: uint64(x)."""
    _on_chain("abi_encode_packed")


def abi_decode(data: bytes, /, *types: Any) -> Any:
    """Strictly: `a, b = abi_decode(data, uint256, address)`; ill-formed data is a panic."""
    _on_chain("abi_decode")


def coin_balance(account: bytes, /) -> int:
    """What an account holds of the native coin, in wei."""
    _on_chain("coin_balance")


def has_code(account: bytes, /) -> bool:
    """Whether a contract stands at an address."""
    _on_chain("has_code")


def interface_id(interface: type[Interface], /) -> bytes:
    """ERC-165: the exclusive or of the selectors of an Interface's methods."""
    _on_chain("interface_id")
