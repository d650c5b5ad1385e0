"""The node's side of the worker: starts it, answers what it asks, and halts when it dies.

Belongs here: what the worker may read and change, and for how long it may work. A worker that is
gone, silent or says what no worker says is never replaced: the same message would end the next one
too, and a result that is guessed splits the chain. The node stops deciding and says why.
"""

import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from ledger.contract.execution import BlockContext, Message, Outcome
from ledger.contract.messages import Kind
from ledger.contract.signals import NodeFault
from ledger.errors import StoreError
from ledger.receipt import Log
from ledger.state.account import EMPTY_CODE_HASH
from ledger.state.state import State
from node.errors import NodeError
from node.isolation.confine import CannotConfine, check_platform
from node.isolation.habits import Habit, Habits
from node.isolation.wire import (
    ABANDONED,
    ACCOUNT,
    CODE,
    DONE,
    FAULT,
    READY,
    WORD,
    Channel,
    encode_block,
    encode_message,
    pack_int,
    unpack_int,
)

START_S_MAX = 60.0
"""To start Python, import the ledger and run a first contract: 0.4 s here, some seconds on a Pi."""
SILENCE_S_MAX = 60.0
"""Between two words of a worker. A full block of gas takes 0.2 s here, some seconds on a Pi."""
STATUSES = ("success", "revert", "panic", "out_of_gas")


class WorkerSilent(Exception):
    """The worker said nothing within its patience, or its end of the channel is closed."""


class PatientChannel(Channel):
    """The node's end: it does not wait for ever."""

    def __init__(self, incoming: int, outgoing: int) -> None:
        super().__init__(incoming, outgoing)
        self.patience_s = START_S_MAX
        self._poll = select.poll()
        self._poll.register(incoming, select.POLLIN | select.POLLHUP)

    def wait(self) -> None:
        if not self._poll.poll(self.patience_s * 1_000):
            raise WorkerSilent


class ContractProcess:
    """A `Runner` of contracts. `on_death` is called once, with what to tell the operator."""

    entrance = "from node.isolation.worker import main; main()"

    def __init__(self, memory_bytes: int, on_death: Callable[[NodeFault], None]) -> None:
        self.failure: str | None = None
        self.on_death = on_death
        self._memory_bytes = memory_bytes
        self._habits = Habits()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: PatientChannel

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start the worker and wait until it has given up its rights. Raises NodeError."""
        try:
            check_platform()
        except CannotConfine as error:
            raise NodeError(str(error)) from error
        paths = [str(Path(__file__).resolve().parents[2]), *[path for path in sys.path if path]]
        launch = f"import sys; sys.path[:0] = {paths!r}; {self.entrance}"
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-B", "-c", launch, str(self._memory_bytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd="/",
            env={},
            start_new_session=True,  # Ctrl-C in a terminal is the node's, which ends it in order
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._channel = PatientChannel(self._process.stdout.fileno(), self._process.stdin.fileno())
        try:
            answer = self._channel.receive()
        except (OSError, EOFError, ValueError, WorkerSilent) as error:
            ended = self._describe_end()
            self.stop()
            raise NodeError(f"the contract worker did not start: {ended}") from error
        if answer != [READY]:
            self.stop()
            raise NodeError(f"the contract worker did not start: {answer[1]}")
        self._channel.patience_s = SILENCE_S_MAX

    def stop(self) -> None:
        """End the worker. A second time does nothing."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def execute(self, kind: Kind, state: State, block: BlockContext, message: Message) -> Outcome:
        """Run a message in the worker and write what it changed into `state`.

        Raises NodeFault where the worker is gone or broken, and StoreError as `state` does.
        """
        if self._process is None:
            raise NodeFault(self.failure or "the contract worker is not running")
        codes: dict[bytes, bytes] = {}
        trouble: StoreError | None = None
        try:
            habit = self._habits.find(message)
            accounts = [
                [address, *self._read_account(state, address, codes)] for address in habit.accounts
            ]
            words = [
                [address, slot, pack_int(state.get_storage(address, slot))]
                for address, slot in habit.words
            ]
            self._channel.send(
                [kind, encode_block(block), encode_message(message), accounts, words]
            )
            while True:
                said = self._channel.receive()
                if said[0] == ABANDONED and trouble is not None:
                    raise trouble
                if said[0] == FAULT:
                    self._die(f"it reports {said[1]}")
                if said[0] == DONE:
                    return self._finish(said, state, message, kind)
                try:
                    answer = self._answer(said, state, codes, habit)
                except StoreError as error:
                    trouble, answer = error, None
                self._channel.send(answer)
        except WorkerSilent:
            self._die(f"it said nothing for {SILENCE_S_MAX:.0f} s")
        except (EOFError, OSError):
            self._die(self._describe_end())
        except (ValueError, TypeError, LookupError, AssertionError, OverflowError) as error:
            self._die(f"it said what no worker says ({error!r})")

    def _answer(self, question: Any, state: State, codes: dict[bytes, bytes], habit: Habit) -> Any:
        """What the worker wants to know of the state."""
        match question:
            case [kind, bytes(address), bytes(slot)] if kind == WORD:
                check_sizes((address, 20), (slot, 32))
                habit.note_word(address, slot)
                return pack_int(state.get_storage(address, slot))
            case [kind, bytes(address)] if kind == ACCOUNT:
                check_sizes((address, 20))
                habit.note_account(address)
                return self._read_account(state, address, codes)
            case [kind, bytes(code_hash)] if kind == CODE:
                return state.get_code(codes[code_hash])
        raise ValueError("an unknown question")

    def _read_account(self, state: State, address: bytes, codes: dict[bytes, bytes]) -> list[Any]:
        code_hash = state.get_code_hash(address)
        codes[code_hash] = address
        return [state.get_nonce(address), pack_int(state.get_balance(address)), code_hash]

    def _finish(self, said: Any, state: State, message: Message, kind: Kind) -> Outcome:
        """The outcome; what the worker wrote goes into the state."""
        _, status, gas_left, output, logs, changes = said
        if status not in STATUSES or not 0 <= gas_left <= message.gas:
            raise ValueError(f"status {status!r}, gas {gas_left!r}")
        made = 0  # coin, over all accounts
        for address, nonce, balance, code, words in changes:
            check_sizes((address, 20))
            was, now = state.get_balance(address), unpack_int(balance)
            made += now - was
            if now != was:
                state.set_balance(address, now)
            if nonce != state.get_nonce(address):
                state.set_nonce(address, nonce)
            if code is not None:
                had = state.get_code_hash(address) != EMPTY_CODE_HASH
                if not (had if kind == "upgrade" else kind == "creation" and address == message.to):
                    raise ValueError("code where none is made")
                state.set_code(address, code)
            for slot, word in words:
                check_sizes((slot, 32))
                state.set_storage(address, slot, unpack_int(word))
        if made:
            raise ValueError(f"{made} wei out of nothing")
        return Outcome(
            status,
            gas_left,
            bytes(output),
            [Log(at, tuple(topics), data) for at, topics, data in logs],
        )

    def _describe_end(self) -> str:
        assert self._process is not None
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "it closed its pipe"
        if code == -signal.SIGSYS:
            return "it was killed at a system call that no contract makes: contract code broke out"
        if code < 0:
            return f"it was killed by {signal.Signals(-code).name}"
        return f"it ended with {code}"

    def _die(self, what: str) -> NoReturn:
        self.failure = (
            f"the contract worker failed: {what}. This node decides nothing more until it is "
            "restarted; if it happens again with the same block, keep the data folder and report it"
        )
        self.stop()
        fault = NodeFault(self.failure)
        self.on_death(fault)
        raise fault


def open_contracts(isolation: str, memory_mb: int) -> ContractProcess | None:
    """The worker that the settings ask for, started; None for "none". Raises NodeError."""
    if isolation != "process":
        return None
    process = ContractProcess(memory_mb << 20, on_death=lambda fault: None)
    process.start()
    return process


def check_sizes(*pairs: tuple[bytes, int]) -> None:
    for data, size in pairs:
        if not isinstance(data, bytes) or len(data) != size:
            raise ValueError(f"{data!r:.80} instead of {size} bytes")
