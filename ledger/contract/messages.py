"""What goes into a contract and what comes out: messages, the block around them, outcomes.

Plain values; who runs them is `execution`, who sends the first of a transaction is `transition`.
"""

from dataclasses import dataclass, field
from typing import Literal, Protocol

from ledger.receipt import Log
from ledger.state.state import State
from ledger.types import Address

Status = Literal["success", "revert", "panic", "out_of_gas"]
Kind = Literal["creation", "call", "upgrade"]
"""What a message is to the contracts: `transition` says what each one does."""


class Runner(Protocol):
    """Who runs contracts elsewhere than in this process, with the same outcome."""

    def execute(
        self, kind: Kind, state: State, block: "BlockContext", message: "Message"
    ) -> "Outcome": ...


@dataclass(frozen=True, slots=True)
class BlockContext:
    """The block that a message runs in; `timestamp` in Unix seconds, `base_fee` in wei.

    Where there is a `runner`, contracts run there.
    """

    height: int
    timestamp: int
    coinbase: Address
    gas_limit: int
    base_fee: int
    chain_id: int
    rules_version: int = 1
    runner: Runner | None = field(default=None, compare=False, repr=False)

    @property
    def number(self) -> int:
        """What a contract reads as `self.block.number`."""
        return self.height


@dataclass(slots=True)  # not frozen: that costs 2 us more for each transaction
class Message:
    """A call or a creation; `gas` is what is left after the intrinsic gas, `value` in wei."""

    sender: Address
    to: Address
    value: int
    data: bytes
    gas: int
    static: bool
    origin: Address
    gas_price: int


@dataclass(slots=True)
class Outcome:
    """`output`: return data, or the revert's ABI data; Panic(uint256) where it is a panic.

    `cause` is the exception that ended a failed call, for whoever shows an author its line; it
    stays in this process.
    """

    status: Status
    gas_left: int
    output: bytes
    logs: list[Log] = field(default_factory=list)
    cause: BaseException | None = field(default=None, compare=False, repr=False)
