"""The worker process: runs contracts, one message at a time, for the node that started it.

It is started anew, never forked, so that no key of the node was ever in its memory. It warms up,
gives up its rights, says that it is ready, and answers until its standard input ends. What it
computes is the same as in the node itself: the same code on a state that is read over the pipe.
"""

import gc
import os
import sys
from dataclasses import replace
from typing import Any

from ledger.contract.artifact import encode_payload
from ledger.contract.execution import (
    BlockContext,
    Message,
    execute_call,
    execute_creation,
)
from ledger.contract.library import LIBRARY, read_library
from ledger.crypto.keccak import keccak256
from ledger.encoding import abi
from ledger.errors import StoreError
from ledger.state.account import EMPTY_CODE_HASH
from ledger.transition import execute_message
from node.isolation.confine import give_up_rights
from node.isolation.remote_state import RemoteState
from node.isolation.wire import (
    ABANDONED,
    ACCOUNT,
    DONE,
    FAULT,
    READY,
    Channel,
    decode_block,
    decode_message,
)

WARM_UP = b"""\
from ledger.contract import Contract, Event, Map, Revert, address, string, uint256, view, write

class Put(Event):
    amount: uint256
    note: string

class Never(Revert):
    amount: uint256

class Jar(Contract):
    given: Map[address, uint256]

    @write
    def put(self, amount: uint256, note: string) -> uint256:
        if amount == 0:
            raise Never(amount)
        self.given[self.msg.sender] += amount
        self.emit(Put(amount, note))
        return self.given[self.msg.sender] // amount
"""
"""Compiled and run before the rights are given up: what Python loads late is loaded by then."""


class Abandoned(StoreError):
    """The node could not read what was asked for, and knows why."""


class Worker:
    """The confined end: it runs contracts and asks the node for all that they read."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def ask(self, question: list[Any]) -> Any:
        self._channel.send(question)
        answer = self._channel.receive()
        if answer is None:
            raise Abandoned
        return answer

    def serve(self) -> None:
        """Until the node is gone."""
        while True:
            try:
                request = self._channel.receive()
            except EOFError:
                return
            self._channel.send(self._run(request))

    def _run(self, request: list[Any]) -> list[Any]:
        kind, block, message, accounts, words = request
        state = RemoteState(self.ask, accounts, words)
        try:
            outcome = execute_message(kind, state, decode_block(block), decode_message(message))
        except Abandoned:
            return [ABANDONED]
        except Exception as error:  # told to the node, which halts
            return [FAULT, f"{type(error).__name__}: {error}"]
        changes = state.list_changes() if outcome.status == "success" else []
        logs = [[log.address, list(log.topics), log.data] for log in outcome.logs]
        return [DONE, outcome.status, outcome.gas_left, outcome.output, logs, changes]


def warm_up() -> None:
    """Read what contracts may build on, and run one on a state that has nothing but it."""
    for module in LIBRARY.values():
        read_library(module)  # kept, for no file can be opened later
    code_hash = keccak256(WARM_UP)

    def answer(question: list[Any]) -> Any:
        if question[0] != ACCOUNT:
            return WARM_UP if question[0] != 1 else b""
        return [0, b"", code_hash if question[1] == jar else EMPTY_CODE_HASH]

    jar = bytes(19) + b"\x01"
    block = BlockContext(1, 1, bytes(20), 1, 0, 1)
    message = Message(bytes(20), jar, 0, encode_payload(WARM_UP), 30_000_000, False, bytes(20), 0)
    made = execute_creation(RemoteState(answer), block, message)
    calls = [
        replace(message, data=abi.encode_call("put(uint256,string)", (amount, "x")))
        for amount in (1, 0)
    ]
    ended = [execute_call(RemoteState(answer), block, call).status for call in calls]
    if [made.status, *ended] != ["success", "success", "revert"]:
        raise RuntimeError(f"the worker's own contract ended with {made.status}, {ended}")


def main() -> None:
    """`memory_bytes` is the one argument."""
    channel = Channel(0, 1)
    try:
        warm_up()
        gc.collect()
        gc.freeze()
        give_up_rights(int(sys.argv[1]))
    except Exception as error:  # told to the node, which tells its operator
        channel.send([FAULT, str(error)])
        os._exit(1)
    channel.send([READY])
    Worker(channel).serve()
    os._exit(0)


if __name__ == "__main__":
    main()
