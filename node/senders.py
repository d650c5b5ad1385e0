"""Who sent many transactions at once, recovered by a process beside the node.

A thread needs the interpreter between two calls of the library, and while a block is built waits
5 ms for it each time: threads then recover some hundreds a second. A process has an interpreter of
its own. It is started when more wait than a quiet network sends, and ends after a while without
work, or with the node, whose end it sees at its standard input. Once it failed, threads do its
work. Not here: what becomes of a transaction (`intake`).

    to it       4 bytes of size, msgpack of the raw transactions
    from it     for each its hash and its sender, 32 and 20 bytes; zeros where nobody signed
"""

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ledger.crypto.address import ADDRESS_BYTES, ZERO_ADDRESS
from ledger.encoding.packed import pack, unpack
from ledger.errors import InvalidSignature
from ledger.transaction import Transaction, decode_transaction
from node.log import Log

WAITING_MIN = 150
"""Signatures that wait together before a process is worth its 20 MB: a hundred meters that report
at the same second are no reason for it."""
IDLE_S = 30.0
ANSWER_S_MAX = 20.0
"""For everything asked before a batch and itself: 4,000 signatures take 0.3 s here, 3 s on a Pi."""
HASH_BYTES = 32
ANSWER_BYTES = HASH_BYTES + ADDRESS_BYTES


class SenderProcess:
    """Starts the process when it is first asked; batches are answered in their order."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._process: Process | None = None
        self._resting: Process | None = None
        """The one before, which ends by itself."""
        self._starting = asyncio.Lock()
        self._reading = asyncio.Lock()
        self._failed = False
        self._asked = 0

    @property
    def is_running(self) -> bool:
        return self._process is not None

    async def recover(self, transactions: Sequence[Transaction]) -> bool:
        """Tell transactions their hash and sender; False, and nothing told, where that failed."""
        if self._failed:
            return False
        try:  # a client that goes away must not leave half an answer behind
            await asyncio.shield(self._ask(transactions))
        except (OSError, asyncio.IncompleteReadError):
            await self.stop()
            return False
        return True

    async def stop(self) -> None:
        """End the process, if there is one; it is gone when this returns."""
        processes = (self._process, self._resting)
        self._process = self._resting = None
        for process in processes:
            if process is not None:
                with suppress(ProcessLookupError):
                    process.kill()  # it holds nothing
                await process.wait()

    async def _ask(self, transactions: Sequence[Transaction]) -> None:
        try:
            answer = await self._exchange(transactions)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError) as error:
            if not self._failed:  # who asks next would be given the answer that was not waited for
                self._failed = True
                self._log.warn("pool", "the process that recovers senders is gone", why=error)
                with suppress(ProcessLookupError):
                    if self._process is not None:
                        self._process.kill()
            raise
        for index, transaction in enumerate(transactions):
            start = ANSWER_BYTES * index
            end = start + HASH_BYTES
            transaction.learn(answer[start:end], answer[end : start + ANSWER_BYTES])
        asyncio.get_running_loop().call_later(IDLE_S, self._rest, self._asked)

    async def _exchange(self, transactions: Sequence[Transaction]) -> bytes:
        async with self._starting:
            process = self._process = self._process or await _start()
        assert process.stdin is not None and process.stdout is not None
        self._asked += 1
        frame = pack([transaction.raw for transaction in transactions])
        process.stdin.write(len(frame).to_bytes(4, "big") + frame)
        async with asyncio.timeout(ANSWER_S_MAX), self._reading:  # in turn, as they were asked
            if self._failed:
                raise BrokenPipeError("it did not answer what was asked before")
            return await process.stdout.readexactly(ANSWER_BYTES * len(transactions))

    def _rest(self, asked: int) -> None:
        """Nothing was asked since: let it go."""
        if asked == self._asked and self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._resting, self._process = self._process, None


async def _start() -> Process:
    paths = [str(Path(__file__).resolve().parents[1]), *[path for path in sys.path if path]]
    launch = f"import sys; sys.path[:0] = {paths!r}; from node.senders import main; main()"
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-B", "-c", launch),
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,
        start_new_session=True,  # Ctrl-C in a terminal is the node's, which ends it in order
    )


def main() -> None:
    """The process: answers until its standard input ends."""
    incoming, outgoing = sys.stdin.buffer, sys.stdout.buffer
    while len(size := incoming.read(4)) == 4:
        raws = unpack(incoming.read(int.from_bytes(size, "big")), "batch of transactions")
        outgoing.write(b"".join([_identify(raw) for raw in raws]))
        outgoing.flush()


def _identify(raw: bytes) -> bytes:
    transaction = decode_transaction(raw)
    try:
        return transaction.hash + transaction.sender
    except InvalidSignature:
        return transaction.hash + ZERO_ADDRESS  # whoever reads the sender then learns why
