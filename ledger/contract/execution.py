"""Running a contract: a message goes in, an outcome comes out, the state is changed on the way.

A source is compiled once and kept by code hash and rules version. Outcomes are success, a declared
revert, a panic with a number, or out of gas; nothing of Python's reaches them (SANDBOX R12). The
caller moves value, snapshots the state before and reverts it where the outcome is no success.
"""

import re
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ledger.contract.artifact import decode_payload
from ledger.contract.compile import Bound, CompiledContract, compile_contract
from ledger.contract.door import Door
from ledger.contract.gas import (
    GAS_BALANCE,
    GAS_CALL,
    GAS_DATA_WORD,
    GAS_SOURCE_BYTE,
    GAS_SOURCE_TOKEN,
)
from ledger.contract.handles import make_handle
from ledger.contract.interface import (
    UNAUTHORIZED,
    Entry,
    ErrorCodec,
    EventCodec,
    list_errors,
    make_entry,
)
from ledger.contract.layout import get_value_size, place_members
from ledger.contract.model import Kind, RecordModel
from ledger.contract.signals import (
    PANIC_OTHER,
    NodeFault,
    Panicked,
    Refused,
    Reverted,
    Signal,
)
from ledger.contract.source import SOURCE_BYTES_MAX
from ledger.contract.storage import Access, make_access, make_word_access
from ledger.contract.types import ArrayType, MapType, RoleType
from ledger.crypto.keccak import keccak256
from ledger.encoding import abi
from ledger.errors import ContractRejected, EncodingError, StoreError
from ledger.receipt import Log
from ledger.state.state import State
from ledger.types import Address, Hash32, Slot

_TOKEN = re.compile(rb"\w+|[^\w\s]", re.ASCII)
PROGRAMS_KEPT = 64
"""Compiled contracts kept, of some 300 kB each; compiling again takes up to 30 ms."""

_PYTHON_ERRORS = (ArithmeticError, LookupError, TypeError, ValueError, AttributeError, NameError)
"""What an operation on values can raise. Which one, and its text, may depend on the version of
Python, so all are one number. Whatever else is raised is this machine's."""
_PANIC = abi.selector("Panic(uint256)")
Status = Literal["success", "revert", "panic", "out_of_gas"]


@dataclass(frozen=True, slots=True)
class BlockContext:
    """The block that a message runs in; `timestamp` in Unix seconds, `base_fee` in wei."""

    height: int
    timestamp: int
    coinbase: Address
    gas_limit: int
    base_fee: int
    chain_id: int
    rules_version: int = 1

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


def execute_call(
    state: State, block: BlockContext, message: Message, rules_version: int = 1
) -> Outcome:
    """Run the method that `message.data` names of the contract at `message.to`.

    Raises NodeFault or StoreError where this machine, not the contract, failed.
    """
    to = message.to
    code_hash = state.get_code_hash(to)
    key = code_hash, rules_version
    program = _programs.get(key)
    if program is not None:
        _programs.move_to_end(key)
    else:
        try:
            program = load_program(state.get_code(to), code_hash, rules_version)
        except ContractRejected as error:  # it was accepted once, by the same rules
            raise NodeFault(f"contract {to.hex()} no longer compiles: {error}") from error
    entry = program.entries.get(message.data[:4])
    if entry is None:
        return _refuse(message.gas - GAS_CALL)
    return _run(program, entry, message.data[4:], state, block, message)


def execute_creation(
    state: State, block: BlockContext, message: Message, rules_version: int = 1
) -> Outcome:
    """Check the source in `message.data`, run its constructor for `message.to`, set the code.

    A source that breaks a rule is a revert without data: which rule may depend on the version of
    Python, so it is told by whoever checks the source before it is sent, never by a receipt.
    """
    try:
        source, arguments = decode_payload(message.data)
    except EncodingError:
        return _refuse(message.gas)
    gas_left = message.gas - price_source(source)
    if gas_left < 0:
        return _refuse(gas_left)
    try:
        code_hash = keccak256(source)
        program = _programs.get((code_hash, rules_version)) or load_program(
            source, code_hash, rules_version
        )
    except ContractRejected:
        return _refuse(gas_left)
    if program.constructor is not None:
        message = replace(message, gas=gas_left)
        outcome = _run(program, program.constructor, arguments, state, block, message)
    elif arguments or message.value:
        return _refuse(gas_left)
    else:
        outcome = Outcome("success", gas_left, b"")
    if outcome.status == "success":
        state.set_code(message.to, source)
    return outcome


def price_source(source: bytes) -> int:
    """Gas for a source to be checked, compiled and kept, beside its call data's."""
    if len(source) > SOURCE_BYTES_MAX:
        return GAS_SOURCE_BYTE * len(source)  # refused by its size, before it is read
    return GAS_SOURCE_BYTE * len(source) + GAS_SOURCE_TOKEN * len(_TOKEN.findall(source))


# ---- programs ------------------------------------------------------------------------------------


class Host:
    """What contract code sees as `self`; a subclass per program adds its fields as properties.

    The names of its own that end in `__` cannot be spelled in a contract.
    """

    __slots__ = ("block", "door__", "msg")

    def __init__(self, door: Door, message: Message, block: BlockContext) -> None:
        self.door__ = door
        self.msg = message
        self.block = block

    @property
    def address(self) -> Address:
        return self.door__.address

    @property
    def balance(self) -> int:
        door = self.door__
        door.charge(GAS_BALANCE)
        return door.state.get_balance(door.address)

    def allocate(self, size: int) -> None:
        """What makes bytes or lists inside counts their size here first."""
        self.door__.allocate(size)


class Program:
    """A compiled contract with its doors built: shared between calls and never changed."""

    __slots__ = ("compiled", "constructor", "entries", "env", "errors", "events", "host")

    def __init__(self, compiled: CompiledContract) -> None:
        model = compiled.model
        self.compiled = compiled
        structs: dict[str, Callable[..., Any]] = {
            struct.name: make_record(struct.name, [name for name, _ in struct.fields])
            for struct in model.structs
        }
        self.events: dict[type, EventCodec] = {}
        self.errors = {error.name: ErrorCodec(error, structs) for error in list_errors(model)}
        self.env = dict(structs)
        for event in model.events:
            kind = make_record(event.name, [each.name for each in event.fields])
            self.events[kind] = EventCodec(event, structs)
            self.env[event.name] = kind
        for error in model.errors:
            self.env[error.name] = _make_revert(error)
        entries = [make_entry(each, structs) for each in model.methods if each.kind in _OUTSIDE]
        self.entries = {entry.selector: entry for entry in entries if entry.selector}
        self.constructor = next((entry for entry in entries if not entry.selector), None)
        self.host = self._make_host(structs)

    def _make_host(self, structs: dict[str, Callable[..., Any]]) -> type[Host]:
        events = self.events

        def emit(host: Host, event: Any) -> None:
            codec, door = events[type(event)], host.door__
            door.open_log(codec.topics, codec.count_words(event))
            door.logs.append(Log(door.address, *codec.encode(event)))

        members: dict[str, Any] = {"__slots__": (), "emit": emit}
        fields = self.compiled.model.fields
        places, _ = place_members(each.type for each in fields)
        numbers = [number for number, _ in places]
        for each, (number, offset) in zip(fields, places, strict=True):
            slot = number.to_bytes(32, "big")
            if isinstance(each.type, MapType | ArrayType | RoleType):
                members[each.name] = _make_handle_property(make_handle(each.type, structs), slot)
            elif get_value_size(each.type) is None:
                members[each.name] = _make_value_property(make_access(each.type, structs), slot)
            else:
                alone = numbers.count(number) == 1
                access = make_word_access(each.type, offset, alone=alone)
                members[each.name] = _make_value_property(access, slot)
        return type("Host", (Host,), members)


def _make_handle_property(make: Callable[[Door, Slot], Any], slot: Slot) -> property:
    return property(lambda host: make(host.door__, slot))


def _make_value_property(access: Access, slot: Slot) -> property:
    load, store = access.load, access.store
    return property(
        lambda host: load(host.door__, slot),
        lambda host, value: store(host.door__, slot, value),
    )


def make_record(name: str, fields: Sequence[str]) -> type[tuple[Any, ...]]:
    """The value class of a declared record: immutable, equal by value, quick to make."""
    return namedtuple(name, fields)


def _make_revert(error: RecordModel) -> Callable[..., Reverted]:
    make = make_record(error.name, [each.name for each in error.fields])
    return lambda *args, **named: Reverted(error.name, make(*args, **named))


_OUTSIDE = (Kind.VIEW, Kind.WRITE, Kind.CONSTRUCTOR)
_programs: OrderedDict[tuple[Hash32, int], Program] = OrderedDict()


def load_program(
    source: bytes, code_hash: Hash32 | None, rules_version: int, filename: str = "<contract>"
) -> Program:
    """Compile a source; kept under its code hash, if that is given. Raises ContractRejected.

    `filename` is what tracebacks and debuggers call it.
    """
    program = Program(compile_contract(source, filename))
    if code_hash is not None:
        if len(_programs) >= PROGRAMS_KEPT:
            _programs.popitem(last=False)
        _programs[code_hash, rules_version] = program
    return program


# ---- one call ------------------------------------------------------------------------------------


def _run(
    program: Program,
    entry: Entry,
    data: bytes,
    state: State,
    block: BlockContext,
    message: Message,
) -> Outcome:
    """Enter a method and turn however that ends into an outcome."""
    door = Door(state, message.to, message.static)
    host = program.host(door, message, block)
    bound = program.compiled.bind(host, program.env, message.gas, door.run_out)
    door.cell = bound.gas
    signal: Signal | None = None
    cause: BaseException | None = None
    output = b""
    try:
        output = _enter(entry, bound, host, message, data)
    except Signal as ended:
        signal = cause = ended
    except _PYTHON_ERRORS as error:
        signal, cause = Panicked(PANIC_OTHER), error
    except StoreError:
        raise
    except Exception as error:
        raise NodeFault(f"running contract {message.to.hex()}: {error!r}") from error
    gas_left = door.cell.cell_contents
    if door.latched is not None:
        signal, gas_left = door.latched, door.gas_left
    if signal is None:
        program.compiled.release(bound)
        return Outcome("success", gas_left, output, door.logs)
    outcome = _fail(program, signal, gas_left)
    outcome.cause = cause or signal
    return outcome


def _enter(entry: Entry, bound: Bound, host: Host, message: Message, data: bytes) -> bytes:
    """Through the door: payment, role, arguments, method, return values."""
    door = host.door__
    door.charge(GAS_CALL + GAS_DATA_WORD * (len(data) // 32))
    door.allocate(2 * len(data))
    method = entry.method
    if message.value and not method.payable:
        raise Refused
    role = method.role
    if role is not None and message.sender not in getattr(host, role):
        raise Reverted(UNAUTHORIZED.name, (message.sender, role))
    try:
        arguments = entry.arguments.decode(data)
    except EncodingError:
        raise Refused from None
    if method.kind is Kind.VIEW:
        door.read_only = True
    result = bound.method(method.name)(*arguments)
    if method.returns is None:
        return b""
    values = entry.list_returns(result)
    door.charge(GAS_DATA_WORD * entry.returns.count_words(values))
    return entry.returns.encode(values)


def _refuse(gas_left: int) -> Outcome:
    """A revert without data: nothing here takes this message."""
    if gas_left < 0:
        return Outcome("out_of_gas", 0, b"")
    return Outcome("revert", gas_left, b"")


def _fail(program: Program, signal: Signal, gas_left: int) -> Outcome:
    if isinstance(signal, Refused):
        return _refuse(gas_left)
    if isinstance(signal, Reverted):
        codec = program.errors[signal.name]
        gas_left -= GAS_DATA_WORD * codec.fields.count_words(signal.values)
        if gas_left >= 0:
            try:
                return Outcome("revert", gas_left, codec.encode(signal.values))
            except Panicked as panicked:
                signal = panicked
    if isinstance(signal, Panicked):
        return Outcome("panic", gas_left, _PANIC + signal.code.to_bytes(32, "big"))
    return Outcome("out_of_gas", 0, b"")
