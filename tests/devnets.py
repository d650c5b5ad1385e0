"""A devnet of real processes for tests: started, awaited, stopped by its own process id."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from node.ports import free_ports

READY_S = 60  # a loaded machine of two cores starts four nodes in a fraction of this
STOP_S = 30


@dataclass
class Devnet:
    """A running devnet; `urls[i]` is validator i's JSON-RPC."""

    process: subprocess.Popen[str]
    urls: list[str]
    data: Path

    @property
    def url(self) -> str:
        return self.urls[0]


@contextmanager
def run_devnet(data: Path, *, nodes: int = 1, arguments: tuple[str, ...] = ()) -> Iterator[Devnet]:
    """`wattledger devnet` until the block ends; its output stands in `data`/devnet.log."""
    port = free_ports(2 * nodes + 2)[0]
    data.mkdir(parents=True, exist_ok=True)
    log = data / "devnet.log"
    command = [
        sys.executable, "-m", "node", "devnet", "--nodes", str(nodes), "--port", str(port),
        "--data", str(data / "network"), *arguments,
    ]  # fmt: skip
    with log.open("w") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True
        )
    try:
        _await_ready(process, log)
        yield Devnet(process, [f"http://127.0.0.1:{port + i}" for i in range(nodes)], data)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
        if process.stdout is not None:
            with closing(process.stdout):
                pass


def _await_ready(process: subprocess.Popen[str], log: Path) -> None:
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
            if line.startswith("ready "):
                return
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    deadline = time.monotonic() + READY_S
    while True:
        try:
            line = lines.get(timeout=max(0.01, deadline - time.monotonic()))
        except queue.Empty:
            line = ""
        if line.startswith("ready "):
            return
        if not line:
            raise RuntimeError(f"the devnet did not become ready:\n{log.read_text()[-2000:]}")
