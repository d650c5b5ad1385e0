"""Running a contract: a message goes in, an outcome comes out, the state is changed on the way.

A source is compiled once and kept by code hash and rules version. Outcomes are success, a declared
revert, a panic with a number, or out of gas; nothing of Python's reaches them (SANDBOX R12). The
caller moves value, snapshots the state before and reverts it where the outcome is no success; for
calls between contracts that is done here.

A contract that waits for a call of its own is not entered again but by its views and by methods
that say `reentrant`. What fails undoes the callee alone; the caller ends with it, or has named the
error. Out of memory, and out of gas where the caller set no budget, end the whole transaction.
"""

import re
from dataclasses import replace

from ledger.contract.artifact import decode_payload
from ledger.contract.cache import find_program, get_program, load_program
from ledger.contract.compile import Bound
from ledger.contract.door import CallStack, Door
from ledger.contract.gas import (
    GAS_CALL,
    GAS_CODE_BYTE,
    GAS_CODE_RECORD,
    GAS_DATA_WORD,
    GAS_SOURCE_BYTE,
    GAS_SOURCE_TOKEN,
)
from ledger.contract.interface import UNAUTHORIZED, Entry, ErrorCodec
from ledger.contract.library import price_libraries
from ledger.contract.messages import BlockContext, Message, Outcome, Status
from ledger.contract.model import Kind
from ledger.contract.program import Program, make_record
from ledger.contract.remote import PANIC_SELECTOR as _PANIC
from ledger.contract.remote import CallingHost, is_panic
from ledger.contract.signals import (
    PANIC_OTHER,
    NodeFault,
    OutOfGas,
    Panicked,
    PassedOn,
    Refused,
    Reverted,
    Signal,
)
from ledger.contract.source import SOURCE_BYTES_MAX
from ledger.errors import ContractRejected, EncodingError, StoreError
from ledger.state.state import State
from ledger.types import Address, Hash32

__all__ = [
    "BlockContext",
    "Message",
    "Outcome",
    "Program",
    "Status",
    "execute_call",
    "execute_creation",
    "execute_migration",
    "find_program",
    "load_program",
    "make_record",
    "price_source",
]

_TOKEN = re.compile(rb"\w+|[^\w\s]", re.ASCII)
_PYTHON_ERRORS = (ArithmeticError, LookupError, TypeError, ValueError, AttributeError, NameError)
"""What an operation on values can raise. Which one, and its text, may depend on the version of
Python, so all are one number. Whatever else is raised is this machine's."""


def execute_call(
    state: State, block: BlockContext, message: Message, rules_version: int = 1
) -> Outcome:
    """Run the method that `message.data` names of the contract at `message.to`.

    Raises NodeFault or StoreError where this machine, not the contract, failed.
    """
    return _execute(state, block, message, CallStack(_execute, rules_version))


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
        program = find_program(source, rules_version)
    except ContractRejected:
        return _refuse(gas_left)
    if program.constructor is not None:
        message = replace(message, gas=gas_left)
        stack = CallStack(_execute, rules_version)
        outcome = _run(program, program.constructor, arguments, state, block, message, stack)
    elif arguments or message.value:
        return _refuse(gas_left)
    else:
        outcome = Outcome("success", gas_left, b"")
    if outcome.status == "success":
        state.set_code(message.to, source)
    return outcome


def execute_migration(
    state: State, block: BlockContext, message: Message, program: Program, rules_version: int = 1
) -> Outcome:
    """Run `migrate` of the contract's new source, if it has one: by an upgrade, never by a call."""
    if program.migration is None:
        return Outcome("success", message.gas, b"")
    stack = CallStack(_execute, rules_version)
    return _run(program, program.migration, b"", state, block, message, stack)


def price_source(source: bytes) -> int:
    """Gas for a source to be checked, compiled and kept, beside its call data's."""
    if len(source) > SOURCE_BYTES_MAX:
        return GAS_SOURCE_BYTE * len(source)  # refused by its size, before it is read
    tokens = GAS_SOURCE_TOKEN * len(_TOKEN.findall(source))
    return GAS_SOURCE_BYTE * len(source) + tokens + price_libraries(source)


# ---- one call ------------------------------------------------------------------------------------


def _execute(state: State, block: BlockContext, message: Message, stack: CallStack) -> Outcome:
    """Find the program and the method, and whether it may be entered now."""
    to = message.to
    code_hash = state.get_code_hash(to)
    program = stack.loaded.get(code_hash)
    if program is None:
        called = bool(stack.addresses)  # the outermost is bounded by the block
        if called:
            message.gas -= GAS_CODE_BYTE * len(state.get_code(to))
        if message.gas < 0:  # before anything is made ready
            return _refuse(message.gas)
        program = _make_ready(state, to, code_hash, stack)
        message.gas -= called * GAS_CODE_RECORD * program.declared
        if message.gas < 0:
            return _refuse(message.gas)
        stack.loaded[code_hash] = program
    selector = message.data[:4]
    if selector not in program.selectors:
        return _refuse(message.gas - GAS_CALL)
    entry = program.entries[selector]
    if to in stack.addresses and entry.method.kind is not Kind.VIEW:
        if not entry.method.reentrant:
            return _refuse(message.gas - GAS_CALL)
        stack.reentered.add(to)
    return _run(program, entry, message.data[4:], state, block, message, stack)


def _make_ready(state: State, to: Address, code_hash: Hash32, stack: CallStack) -> Program:
    program = get_program(code_hash, stack.rules_version)
    if program is not None:
        return program
    try:
        return load_program(state.get_code(to), code_hash, stack.rules_version)
    except ContractRejected as error:  # it was accepted once, by the same rules
        raise NodeFault(f"contract {to.hex()} no longer compiles: {error}") from error


def _run(
    program: Program,
    entry: Entry,
    data: bytes,
    state: State,
    block: BlockContext,
    message: Message,
    stack: CallStack,
) -> Outcome:
    """Enter a method and turn however that ends into an outcome."""
    door = Door(state, message.to, message.static, stack)
    host = program.host(door, message, block)
    bound = program.compiled.bind(host, program.env, message.gas, door.run_out)
    door.cell = bound.gas
    signal: Signal | None = None
    cause: BaseException | None = None
    output = b""
    stack.addresses.append(message.to)
    try:
        output = _enter(entry, bound, host, message, data)
    except Signal as ended:
        signal = cause = ended
    except _PYTHON_ERRORS as error:
        signal, cause = Panicked(PANIC_OTHER), error
    except (StoreError, NodeFault):
        raise
    except Exception as error:
        raise NodeFault(f"running contract {message.to.hex()}: {error!r}") from error
    stack.addresses.pop()
    gas_left = door.cell.cell_contents
    if door.latched is not None:
        signal, gas_left = door.latched, door.gas_left
    if signal is None:
        program.compiled.release(bound)
        return Outcome("success", gas_left, output, stack.logs)
    outcome = _fail(program, signal, gas_left)
    outcome.cause = cause or signal
    return outcome


def _enter(entry: Entry, bound: Bound, host: CallingHost, message: Message, data: bytes) -> bytes:
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
    return host.encode__(entry.returns, entry.list_returns(result))


def _refuse(gas_left: int) -> Outcome:
    """A revert without data: nothing here takes this message."""
    if gas_left < 0:
        return Outcome("out_of_gas", 0, b"")
    return Outcome("revert", gas_left, b"")


def _fail(program: Program, signal: Signal, gas_left: int) -> Outcome:
    if isinstance(signal, Refused):
        return _refuse(gas_left)
    if isinstance(signal, PassedOn):
        return Outcome("panic" if is_panic(signal.output) else "revert", gas_left, signal.output)
    if isinstance(signal, Reverted):
        try:
            gas_left, output = _encode_revert(program.errors[signal.name], signal, gas_left)
        except Panicked as panicked:
            signal = panicked
        else:
            return Outcome("revert", gas_left, output) if gas_left >= 0 else _refuse(gas_left)
    if isinstance(signal, Panicked):
        return Outcome("panic", gas_left, _PANIC + signal.code.to_bytes(32, "big"))
    return Outcome("out_of_gas", 0, b"")


def _encode_revert(codec: ErrorCodec, signal: Reverted, gas_left: int) -> tuple[int, bytes]:
    """The gas left after it and the data; nothing is made that is not paid."""
    left = gas_left

    def charge(gas: int) -> None:
        nonlocal left
        left -= gas
        if left < 0:
            raise OutOfGas

    try:
        charge(GAS_DATA_WORD * codec.fields.count_words(signal.values, charge))
    except OutOfGas:
        return -1, b""
    return left, codec.encode(signal.values)
