"""A chain in memory for pytest: deploy a contract, call it as Python, see its events as objects.

    chain = Chain(timestamp=1_700_000_000)
    metering = chain.deploy(Metering, 3_600, 19_800, sender=OWNER)
    receipt = metering.record(472_222, 1_250, 0, 0, sender=METER)
    assert receipt.events == [Recorded(METER, 472_222, 1_250)]

Calls go through the real doors: the source is checked and charged, call data encoded and decoded,
storage is laid out. There are no blocks, signatures or fees here. A call that fails raises the
author's own Revert, `Unauthorized`, `ContractPanic` or `ContractOutOfGas`, and leaves no trace.
"""

import importlib.util
import inspect
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ledger.contract.api import Revert, address, string
from ledger.contract.artifact import encode_payload
from ledger.contract.execution import (
    BlockContext,
    Message,
    Outcome,
    Program,
    execute_call,
    execute_creation,
    load_program,
)
from ledger.contract.interface import Entry
from ledger.contract.model import Kind
from ledger.contract.types import ListType, StructType, ValueType
from ledger.crypto.address import contract_address
from ledger.crypto.keccak import keccak256
from ledger.state.state import State
from ledger.trie.trie import EMPTY_ROOT
from ledger.types import Address

GAS = 15_000_000
"""Given to each call where the test names none: the block gas limit of a chain by default."""
CHAIN_ID = 1947


class Unauthorized(Revert):
    """The caller lacks the role that the method asks for."""

    account: address
    role: string


class ContractPanic(Exception):
    """A contract's bug: an index, key or size out of range; numbers in `signals`."""

    def __init__(self, code: int) -> None:
        super().__init__(f"panic 0x{code:02x}")
        self.code = code


class ContractOutOfGas(Exception):
    pass


class CallRefused(Exception):
    """Nothing takes this call: its data, or the coin it carries."""


def make_account(name: str) -> Address:
    """An address of that name, the same in each run."""
    return keccak256(name.encode())[12:]


@dataclass(frozen=True, slots=True)
class CallReceipt:
    """What a write did. `events` are instances of the author's classes, in order."""

    events: list[Any]
    gas_used: int
    returned: Any


class _NothingStored:
    def get_node(self, trie: bytes, path: bytes) -> bytes | None:
        return None

    def get_code(self, code_hash: bytes) -> bytes | None:
        return None


class Chain:
    """Accounts, contracts and a clock. Set `timestamp` (Unix seconds) and `number` freely."""

    def __init__(self, timestamp: int = 1_700_000_000, number: int = 1) -> None:
        self.timestamp = timestamp
        self.number = number
        self.state = State(_NothingStored(), EMPTY_ROOT)
        self.sender = make_account("default sender")

    def deploy(
        self,
        contract: type | Path | str,
        *arguments: Any,
        sender: Address | None = None,
        value: int = 0,
        gas: int = GAS,
    ) -> Any:
        """Deploy a contract class, or the one in the file at a path; its methods are the result's.

        Raises ContractRejected, or what the constructor raises.
        """
        module = _load_module(contract) if isinstance(contract, Path | str) else None
        path = Path(inspect.getfile(module or contract))  # type: ignore[arg-type]
        source = path.read_bytes()
        program = load_program(source, None, 1)
        names = vars(module or inspect.getmodule(contract))
        sender = self.sender if sender is None else sender
        created = contract_address(sender, self.state.get_nonce(sender))
        self.state.increment_nonce(sender)
        deployed = Deployed(self, created, program, names)
        entry = program.constructor
        encoded = entry.arguments.encode(_to_values(arguments)) if entry else b""
        message = self._make_message(sender, created, value, encode_payload(source, encoded), gas)
        deployed._finish(self._run(execute_creation, message), gas, None)
        return deployed

    def _make_message(
        self, sender: Address, to: Address, value: int, data: bytes, gas: int, static: bool = False
    ) -> Message:
        return Message(sender, to, value, data, gas, static, sender, 0)

    def _run(self, execute: Callable[..., Outcome], message: Message) -> Outcome:
        """As a transaction does: value moves, and what fails is undone."""
        state = self.state
        block = BlockContext(self.number, self.timestamp, bytes(20), GAS, 0, CHAIN_ID)
        snapshot = state.snapshot()
        if message.value:
            balance = state.get_balance(message.sender)
            if balance < message.value:
                raise CallRefused(f"the sender has {balance} wei; see `chain.state.set_balance`")
            state.sub_balance(message.sender, message.value)
            state.add_balance(message.to, message.value)
        outcome = execute(state, block, message)
        if outcome.status != "success":
            state.revert(snapshot)
        return outcome


class Deployed:
    """A contract on a chain; each method of it is a method here, with `sender=` and `value=`."""

    def __init__(
        self, chain: Chain, address: Address, program: Program, names: dict[str, Any]
    ) -> None:
        self._chain = chain
        self.address = address
        self._program = program
        self._names = names
        self._entries = {entry.method.name: entry for entry in program.entries.values()}
        self._events = {codec.topic: codec for codec in program.events.values()}

    def __getattr__(self, name: str) -> Callable[..., Any]:
        entry = self.__dict__["_entries"].get(name)
        if entry is None:
            raise AttributeError(f"the contract has no method {name} that is called from outside")
        return lambda *arguments, **options: self._call(entry, arguments, **options)

    def _call(
        self,
        entry: Entry,
        arguments: Sequence[Any],
        *,
        sender: Address | None = None,
        value: int = 0,
        gas: int = GAS,
    ) -> Any:
        chain = self._chain
        data = entry.selector + entry.arguments.encode(_to_values(arguments))
        reads = entry.method.kind is Kind.VIEW
        message = chain._make_message(
            chain.sender if sender is None else sender, self.address, value, data, gas, reads
        )
        receipt = self._finish(chain._run(execute_call, message), gas, entry)
        return receipt.returned if reads else receipt

    def _finish(self, outcome: Outcome, gas: int, entry: Entry | None) -> CallReceipt:
        """The receipt of an outcome; raises what failed."""
        if outcome.status == "out_of_gas":
            raise ContractOutOfGas
        if outcome.status == "panic":
            raise ContractPanic(int.from_bytes(outcome.output[4:], "big"))
        if outcome.status == "revert":
            raise self._decode_error(outcome.output)
        events = []
        for log in outcome.logs:
            codec = self._events[log.topics[0]]
            types = [field.type for field in codec.model.fields]
            values = self._to_objects(types, codec.decode(log.topics, log.data))
            events.append(self._names[codec.model.name](*values))
        returned = None
        if entry is not None:
            values = self._to_objects(entry.returns.types, entry.returns.decode(outcome.output))
            returned = tuple(values) if len(values) > 1 else values[0] if values else None
        return CallReceipt(events, gas - outcome.gas_left, returned)

    def _decode_error(self, data: bytes) -> Exception:
        for name, codec in self._program.errors.items():
            if data[:4] == codec.selector:
                values = self._to_objects(codec.fields.types, codec.fields.decode(data[4:]))
                kind = self._names.get(name, Unauthorized)
                error: Exception = kind(*values)
                return error
        return CallRefused("the call data or the coin with it was refused")

    def _to_objects(self, types: Sequence[ValueType], values: Sequence[Any]) -> list[Any]:
        return [self._to_object(type, value) for type, value in zip(types, values, strict=True)]

    def _to_object(self, type: ValueType, value: Any) -> Any:
        if isinstance(type, StructType):
            return self._names[type.name](*value)
        if isinstance(type, ListType):
            return [self._to_object(type.element, each) for each in value]
        return value


def _to_values(arguments: Any) -> Any:
    """Structs of the author's classes as tuples, in lists too."""
    if isinstance(arguments, list | tuple):
        return [_to_values(each) for each in arguments]
    if is_dataclass(arguments) and not isinstance(arguments, type):
        return astuple(arguments)
    return arguments


def _load_module(path: Path | str) -> ModuleType:
    """The author's module, run as ordinary Python: its classes are what tests compare with."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
