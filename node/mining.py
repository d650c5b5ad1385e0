"""The miner as a node sees it: a child process that is told what to search and says what it found.

It is started when there is something to mine, and anew, after a while, when it has died: the chain
goes on without it. Not here: the search (`miner`), what is mined (`ledger.consensus.pow`).
"""

import asyncio
import sys
from collections.abc import Callable

from ledger.block import Header
from ledger.types import Hash32
from ledger.work import compute_seal_hash, compute_target
from node.log import Log

RESTART_S = 5.0
"""Between two starts of a miner that dies: one that cannot run is no load."""
STOP_S = 5.0
LINE_BYTES_MAX = 1_000

OnFound = Callable[[Hash32, bytes], None]


class Mining:
    """The miner's process; `on_found` hears of seal hash and nonce."""

    def __init__(self, hashes_per_s: int, on_found: OnFound, log: Log) -> None:
        self.rate = 0
        """Hashes a second, as the miner last said; 0 while it rests."""
        self._hashes_per_s = hashes_per_s
        self._on_found = on_found
        self._log = log
        self._command = "stop\n"
        self._changed = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        return self._command != "stop\n"

    def mine(self, header: Header) -> None:
        """Search for this header's nonce, and for no other's any more."""
        target = compute_target(header.difficulty).hex()
        self._tell(f"mine {compute_seal_hash(header).hex()} {target} {self._hashes_per_s}\n")
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._keep_running())

    def stop(self) -> None:
        """Search for nothing."""
        self._tell("stop\n")
        self.rate = 0

    async def close(self) -> None:
        """End the process."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _tell(self, command: str) -> None:
        self._command = command
        process = self._process
        if process is not None and process.stdin is not None and not process.stdin.is_closing():
            process.stdin.write(command.encode("ascii"))

    async def _keep_running(self) -> None:
        while True:
            try:
                await self._run()
            except OSError as error:
                self._log.seldom("miner", "the miner cannot be started", why=error)
            else:
                self._log.warn("miner", "the miner's process has ended: another one is started")
            self.rate = 0
            await asyncio.sleep(RESTART_S)

    async def _run(self) -> None:
        """One life of the process."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "node.miner",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_BYTES_MAX,
        )
        self._process = process
        assert process.stdin is not None and process.stdout is not None
        try:
            self._tell(self._command)
            while line := await process.stdout.readline():
                self._hear(line.decode("ascii", "replace").split())
        finally:
            self._process = None
            process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), STOP_S)
            except TimeoutError:  # it is the last to run on a busy machine
                process.kill()
                await process.wait()

    def _hear(self, words: list[str]) -> None:
        if words[0] == "found":
            self._on_found(bytes.fromhex(words[1]), bytes.fromhex(words[2]))
        elif words[0] == "rate" and self.is_running:
            self.rate = int(words[1])
