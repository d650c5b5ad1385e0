"""Calls of other contracts: typed proxies, coin, the guard around them, and what a failure is.

What belongs here: the part of `self` that leaves the contract. How the callee runs is `execution`,
which stands on this; the call stack that all calls of a transaction share carries it here. A call
forwards at most 63 of 64 parts of the gas left, or the budget that its author sets.
"""

from collections.abc import Sequence
from typing import Any

from ledger.contract.door import ALLOCATED_BYTES_MAX
from ledger.contract.gas import GAS_ACCOUNT, GAS_CALL_OUT, GAS_DATA_WORD, GAS_VALUE
from ledger.contract.host import Host
from ledger.contract.interface import CALL_FAILED, Entry
from ledger.contract.messages import Message, Outcome
from ledger.contract.model import Kind
from ledger.contract.signals import (
    PANIC_READ_ONLY,
    PANIC_SIZE,
    Panicked,
    PassedOn,
    Reverted,
    Signal,
)
from ledger.contract.storage import count_words
from ledger.encoding import abi
from ledger.errors import EncodingError
from ledger.state.account import EMPTY_CODE_HASH
from ledger.types import Address

CALL_DEPTH_MAX = 10
"""Contracts on the stack at once: with 32 methods of each that is below 400 frames of Python, and
the parser, which may be needed for the innermost, is promised fewer than 500 (SANDBOX R13)."""
GAS_KEPT_PART = 64
"""A caller keeps one part in so many of its gas, so that it can act on a callee's failure."""
PANIC_SELECTOR = abi.selector("Panic(uint256)")


def is_panic(output: bytes) -> bool:
    return output[:4] == PANIC_SELECTOR


class CallingHost(Host):
    """`self` with its doors to other contracts."""

    __slots__ = ()

    def call__(
        self,
        interface: str,
        method: str,
        callee: Address,
        arguments: Sequence[Any],
        value: int = 0,
        gas: int | None = None,
    ) -> Any:
        """The result of a method of another contract; a failure there ends this call as well."""
        outcome, result = self._call(interface, method, callee, arguments, value, gas)
        if outcome.status == "success":
            return result
        raise self._pass_on(outcome, callee)

    def try__(
        self,
        interface: str,
        method: str,
        callee: Address,
        arguments: Sequence[Any],
        value: int,
        gas: int | None,
        names: Sequence[str],
    ) -> tuple[int, Any]:
        """(0, result), or of the error that names the failure its number, from 1, and fields."""
        outcome, result = self._call(interface, method, callee, arguments, value, gas)
        if outcome.status == "success":
            return 0, result
        return self._match(outcome, callee, names)

    def send(self, to: Address, amount: int) -> None:
        """Move coin; a contract takes it by `receive`. A failure there ends this call as well."""
        outcome = self._send(to, amount)
        if outcome.status != "success":
            raise self._pass_on(outcome, to)

    def try_send__(self, to: Address, amount: int, names: Sequence[str]) -> tuple[int, Any]:
        """`send` as `try__` calls."""
        outcome = self._send(to, amount)
        return (0, None) if outcome.status == "success" else self._match(outcome, to, names)

    # -- inside ------------------------------------------------------------------------------

    def _call(
        self,
        interface: str,
        method: str,
        callee: Address,
        arguments: Sequence[Any],
        value: int,
        gas: int | None,
    ) -> tuple[Outcome, Any]:
        entry = self.program__.remotes[interface, method]
        self.door__.charge(entry.arguments.gas + entry.returns.gas)
        data = entry.selector + self.encode__(entry.arguments, arguments)
        static = entry.method.kind is Kind.VIEW
        return self._deliver(callee, value, data, gas, static, entry)

    def _send(self, to: Address, amount: int) -> Outcome:
        return self._deliver(to, amount, b"", None, False, None)[0]

    def _deliver(
        self,
        callee: Address,
        value: int,
        data: bytes,
        gas: int | None,
        static: bool,
        entry: Entry | None,
    ) -> tuple[Outcome, Any]:
        """Run the callee and read its answer; whatever fails leaves no trace of it.

        Without `entry` the message is plain coin, which an account without code takes as well.
        """
        door = self.door__
        state, stack = door.state, door.stack
        if value and (door.read_only or static):
            door.latch(Panicked(PANIC_READ_ONLY))
        door.charge(GAS_CALL_OUT + GAS_ACCOUNT + (GAS_VALUE if value else 0))
        left = door.cell.cell_contents
        most = left - left // GAS_KEPT_PART
        given = most if gas is None else min(gas, most)
        has_code = state.get_code_hash(callee) != EMPTY_CODE_HASH
        if (
            (entry is not None and not has_code)
            or len(stack.addresses) >= CALL_DEPTH_MAX
            or state.get_balance(door.address) < value
            or given < 0
        ):
            return Outcome("revert", given, b""), None
        snapshot, logged = state.snapshot(), len(stack.logs)
        if value:
            state.sub_balance(door.address, value)
            state.add_balance(callee, value)
        if has_code:
            sent = self.msg
            message = Message(
                sender=door.address,
                to=callee,
                value=value,
                data=data,
                gas=given,
                static=static or door.read_only,
                origin=sent.origin,
                gas_price=sent.gas_price,
            )
            assert stack.execute is not None, "a contract that runs was executed"
            outcome = stack.execute(state, self.block, message, stack)
            self._settle(outcome, given, budgeted=gas is not None and gas <= most)
        else:
            outcome = Outcome("success", given, b"")
        result = None
        if outcome.status == "success" and entry is not None:
            outcome, result = self._read_answer(entry, outcome)
        if outcome.status != "success":
            state.revert(snapshot)
            del stack.logs[logged:]
        if door.address in stack.reentered:
            door.words.clear()
            door.written.clear()
        return outcome, result

    def _settle(self, outcome: Outcome, given: int, *, budgeted: bool) -> None:
        """Pay for what the callee used; what ends the whole transaction ends this call, too."""
        door = self.door__
        door.charge(given - outcome.gas_left)
        if outcome.status == "out_of_gas" and not budgeted:
            door.run_out()
        if door.stack.allocated > ALLOCATED_BYTES_MAX:
            door.latch(Panicked(PANIC_SIZE))

    def _read_answer(self, entry: Entry, outcome: Outcome) -> tuple[Outcome, Any]:
        """What the callee returned, strictly; a wrong answer is a failure of the callee."""
        door, output = self.door__, outcome.output
        door.charge(GAS_DATA_WORD * count_words(len(output)))
        door.allocate(4 * len(output))
        try:
            values = entry.returns.decode(output)
        except (EncodingError, Panicked):
            return Outcome("revert", outcome.gas_left, b""), None
        return outcome, entry.read_results(values)

    def _pass_on(self, outcome: Outcome, callee: Address) -> Signal:
        """How this call ends when nobody named the callee's failure."""
        signal: Signal
        if outcome.output:
            signal = PassedOn(outcome.output)
        else:
            signal = Reverted(CALL_FAILED.name, (callee,))
        signal.__cause__ = outcome.cause
        return signal

    def _match(self, outcome: Outcome, callee: Address, names: Sequence[str]) -> tuple[int, Any]:
        door, output, program = self.door__, outcome.output, self.program__
        for number, name in enumerate(names, 1):
            if name == CALL_FAILED.name:
                return number, program.records[name](callee)
            codec = program.errors[name]
            if outcome.status != "revert" or output[:4] != codec.selector:
                continue
            door.charge(GAS_DATA_WORD * count_words(len(output)))
            door.allocate(4 * len(output))
            try:
                return number, program.records[name](*codec.fields.decode(output[4:]))
            except (EncodingError, Panicked):
                continue
        raise self._pass_on(outcome, callee)
