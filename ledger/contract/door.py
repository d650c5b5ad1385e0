"""The door between a running contract and the chain: one for each call.

It charges before it works, keeps the words of the call, refuses writes where only reading is
allowed, and once it has ended a call it ends it again at every touch. Typed storage stands on it
in `storage`, messages and results in `execution`. Prices are in `gas`.
"""

from collections.abc import Callable
from types import CellType
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from ledger.contract.gas import (
    GAS_LOAD,
    GAS_LOAD_AGAIN,
    GAS_LOG_WORD,
    GAS_STORE,
    GAS_STORE_AGAIN,
    GAS_TOPIC,
)
from ledger.contract.messages import BlockContext, Message, Outcome
from ledger.contract.signals import PANIC_READ_ONLY, PANIC_SIZE, OutOfGas, Panicked, Signal
from ledger.receipt import Log
from ledger.state.state import State
from ledger.types import Address, Hash32, Slot, Word

if TYPE_CHECKING:
    from ledger.contract.program import Program

TEXT_BYTES_MAX = 65_536
"""A bytes or string value (SANDBOX R11)."""
ALLOCATED_BYTES_MAX = 8 << 20
"""What one transaction may allocate, a sum that never falls, so that a full pool of workers fits
a Pi's memory (SANDBOX R11)."""


Execute: TypeAlias = Callable[[State, BlockContext, Message, "CallStack"], Outcome]
"""Runs the contract that a message is for, on the same stack; `execution` gives it."""


class CallStack:
    """What all calls of one transaction share."""

    __slots__ = (
        "addresses",
        "allocated",
        "execute",
        "loaded",
        "logs",
        "reentered",
        "rules_version",
    )

    def __init__(self, execute: Execute | None = None, rules_version: int = 1) -> None:
        self.execute = execute
        self.rules_version = rules_version
        self.addresses: list[Address] = []
        """The contracts that are running, the outermost first."""
        self.allocated = 0
        self.loaded: dict[Hash32, Program] = {}
        """The code that was entered: paid once, by its size, and held until the transaction ends,
        or those who call more contracts in turn than are kept ready would have each unpacked."""
        self.logs: list[Log] = []
        self.reentered: set[Address] = set()
        """Contracts that were entered for writing while they waited for a call of their own."""


class Door:
    """One call's way to its storage. Fields are read by execution after the call."""

    __slots__ = (
        "address",
        "cell",
        "gas_left",
        "latched",
        "read_only",
        "stack",
        "state",
        "words",
        "written",
    )

    def __init__(
        self, state: State, address: Address, read_only: bool, stack: CallStack | None = None
    ) -> None:
        self.stack = CallStack() if stack is None else stack
        self.state = state
        self.address = address
        self.read_only = read_only
        self.cell: CellType
        """The gas left, shared with the instrumented code; set once that is bound."""
        self.words: dict[Slot, Word] = {}
        self.written: set[Slot] = set()
        self.latched: Signal | None = None
        self.gas_left = 0
        """When latched by something else than out of gas: the gas at that moment."""

    def latch(self, signal: Signal) -> NoReturn:
        """End the call, for good: from here on every charge and every door raises again."""
        if self.latched is None:
            self.latched = signal
            self.gas_left = 0 if isinstance(signal, OutOfGas) else self.cell.cell_contents
            self.cell.cell_contents = -1
        raise self.latched

    def run_out(self) -> NoReturn:
        """What instrumented code calls when its charge has gone below zero."""
        self.latch(OutOfGas())

    def charge(self, gas: int) -> None:
        """Take `gas` before the work it pays for."""
        left = self.cell.cell_contents = self.cell.cell_contents - gas
        if left < 0:
            self.run_out()

    def allocate(self, size: int) -> None:
        """Count `size` bytes before they are made; past the limit the call ends."""
        stack = self.stack
        stack.allocated += size
        if stack.allocated > ALLOCATED_BYTES_MAX:
            self.latch(Panicked(PANIC_SIZE))

    # `load` and `store` charge by themselves: they are most of what a metering call does.

    def load(self, slot: Slot) -> Word:
        """The word in a slot."""
        word = self.words.get(slot)
        cell = self.cell
        left = cell.cell_contents - (GAS_LOAD if word is None else GAS_LOAD_AGAIN)
        cell.cell_contents = left
        if left < 0:
            self.run_out()
        if word is None:
            word = self.words[slot] = self.state.get_storage(self.address, slot)
        return word

    def store(self, slot: Slot, word: Word) -> None:
        """Write a word; zero deletes its leaf."""
        if self.read_only:
            self.latch(Panicked(PANIC_READ_ONLY))
        price = GAS_STORE_AGAIN
        if slot not in self.written:
            price = GAS_STORE if slot in self.words else GAS_LOAD + GAS_STORE
        cell = self.cell
        cell.cell_contents = left = cell.cell_contents - price
        if left < 0:
            self.run_out()
        self.written.add(slot)
        self.words[slot] = word
        self.state.set_storage(self.address, slot, word)

    def open_log(self, topics: int, words: int) -> None:
        """Pay for a log of so many topics and words of data, which the caller then makes."""
        if self.read_only:
            self.latch(Panicked(PANIC_READ_ONLY))
        self.charge(GAS_TOPIC * (topics + 1) + GAS_LOG_WORD * words)
