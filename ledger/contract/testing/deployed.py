"""A contract on the chain of a test: its methods are methods, failures the author's errors.

receipt = jar.put(5, sender=alice, value=5)     # a write: a CallReceipt
assert jar.given(alice) == 5                    # a view: what it returns
assert jar.storage.given[alice] == 5            # what the slots hold, private fields too
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Union

from ledger.contract.execution import Message, Outcome, Program, execute_call, execute_creation
from ledger.contract.interface import Entry
from ledger.contract.library import LIBRARY, read_library
from ledger.contract.model import Kind
from ledger.contract.testing.accounts import Account, Named
from ledger.contract.testing.failures import (
    CallRefused,
    ContractOutOfGas,
    ContractPanic,
    Unauthorized,
    cut_traceback,
    explain_cause,
)
from ledger.contract.testing.gas_report import DEPLOYMENT
from ledger.contract.testing.storage_view import StorageView
from ledger.contract.testing.values import make_event, to_objects, to_values
from ledger.encoding import abi
from ledger.receipt import Log
from ledger.types import Address

if TYPE_CHECKING:
    from ledger.contract.testing.chain import Chain

_PANIC = abi.selector("Panic(uint256)")
Party: TypeAlias = Union[Address, Account, "Deployed", str]
"""Who is meant: an address, an account, a contract, or the name of an account."""


@dataclass(frozen=True, slots=True)
class CallReceipt:
    """What a write did. `events` are instances of the authors' classes, in order; `gas_used` is
    what the contract used, to which a transaction adds its intrinsic gas."""

    events: list[Any]
    gas_used: int
    returned: Any
    logs: list[Log]


@cache
def list_library_files() -> set[str]:
    """The files of what contracts build on: their lines are an author's too."""
    return {read_library(module)[1] for module in LIBRARY.values()}


class Deployed:
    """A contract on a chain; each method of it is a method here, with `sender=`, `value=`, `gas=`.

    `sender` is an account, another contract or an account's name.
    """

    def __init__(
        self,
        chain: "Chain",
        address: Address,
        program: Program,
        names: dict[str, Any],
        path: Path,
    ) -> None:
        self._chain = chain
        self.contract_name = program.compiled.model.name
        self.address = Named(address, f"contract {self.contract_name}")
        self.deploy_receipt: CallReceipt
        """Of the deployment."""
        self._names = names
        self._path = path
        self._program = program
        self._entries = {
            name: program.entries[selector] for selector, name in program.selectors.items()
        }
        for event in program.compiled.model.events:
            program.env[event.name]  # makes its codec
        self._events = {codec.topic: codec for codec in program.events.values()}

    def __repr__(self) -> str:
        return f"<{self.contract_name} at 0x{self.address.hex()}>"

    @property
    def method_names(self) -> list[str]:
        """The names of the methods that are called from outside."""
        return list(self._entries)

    @property
    def storage(self) -> StorageView:
        """The fields as they are now, by name, private ones too."""
        return StorageView(self._chain.state, self.address, self._program, self._names)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        entry = self.__dict__.get("_entries", {}).get(name)
        if entry is None:
            raise AttributeError(f"the contract has no method {name} that is called from outside")

        def method(*arguments: Any, **options: Any) -> Any:
            __tracebackhide__ = True
            return self._call(entry, arguments, **options)

        return method

    def _call(
        self,
        entry: Entry,
        arguments: Sequence[Any],
        *,
        sender: Party | None = None,
        value: int = 0,
        gas: int | None = None,
    ) -> Any:
        __tracebackhide__ = True
        from ledger.contract.testing.chain import GAS, to_address  # it makes contracts

        data = entry.selector + entry.arguments.encode(to_values(arguments))
        sender = self._chain.sender if sender is None else to_address(sender)
        receipt = self._run(execute_call, entry, data, sender, value, GAS if gas is None else gas)
        return receipt.returned if entry.method.kind is Kind.VIEW else receipt

    def _run(
        self,
        execute: Callable[..., Outcome],
        entry: Entry | None,
        data: bytes,
        sender: Address,
        value: int,
        gas: int,
    ) -> CallReceipt:
        """One message to this contract and its receipt; raises what failed."""
        __tracebackhide__ = True
        chain = self._chain
        reads = entry is not None and entry.method.kind is Kind.VIEW
        message = Message(sender, self.address, value, data, gas, reads, sender, 0)
        outcome = chain.execute(execute, message)
        if outcome.status != "success":
            files = {str(one._path) for one in chain.contracts.values()} | list_library_files()
            error = self._explain(outcome).with_traceback(cut_traceback(outcome.cause, files))
            raise error from explain_cause(outcome.cause)
        gas_used = gas - outcome.gas_left
        special = {execute_call: "receive", execute_creation: DEPLOYMENT}.get(execute, "migrate")
        chain.gas.note(
            self.contract_name, special if entry is None else entry.method.name, gas_used
        )
        returned = None
        if entry is not None:
            types = entry.returns.types
            values = to_objects(types, entry.returns.decode(outcome.output), self._names)
            returned = tuple(values) if len(values) > 1 else values[0] if values else None
        events = [chain.contracts[log.address]._read_log(log) for log in outcome.logs]
        return CallReceipt(events, gas_used, returned, outcome.logs)

    def _read_log(self, log: Log) -> Any:
        """A log of this contract as the author's event."""
        codec = self._events[log.topics[0]]
        return make_event(codec.model, codec.decode(log.topics, log.data), self._names)

    def _explain(self, outcome: Outcome) -> Exception:
        """What an author expects to be raised."""
        if outcome.status == "out_of_gas":
            return ContractOutOfGas()
        data = outcome.output
        if data[:4] == _PANIC:
            return ContractPanic(int.from_bytes(data[4:], "big"))
        for contract in (self, *self._chain.contracts.values()):  # a callee's goes on as it stands
            error = contract._read_error(data)
            if error is not None:
                return error
        return CallRefused("the call data or the coin with it was refused")

    def _read_error(self, data: bytes) -> Exception | None:
        """Revert data as the author's error; None where this contract has no such error."""
        for name in self._program.error_names:
            codec = self._program.errors[name]
            if data[:4] == codec.selector:
                values = codec.fields.decode(data[4:])
                objects = to_objects(codec.fields.types, values, self._names)
                error: Exception = self._names.get(name, Unauthorized)(*objects)
                return error
        return None
