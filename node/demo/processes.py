"""The processes of the demo: started, watched, killed by their own ids, and stopped at the end."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from node.errors import NodeError

STOP_S = 20.0  # a node writes its state and its clean-stop note; then it is killed


@dataclass
class Processes:
    """Children of this process by name; each writes its output to a log of that name."""

    logs: Path
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, *arguments: str) -> None:
        """Run `python -m ARGUMENTS` under a name."""
        with (self.logs / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

    def kill(self, name: str) -> int:
        """SIGKILL, as a power cut would; returns the id that was killed."""
        process = self._running.pop(name)
        process.kill()
        process.wait()
        return process.pid

    def pid(self, name: str) -> int:
        return self._running[name].pid

    def check(self) -> None:
        """Raise NodeError, with the end of its log, if a process has ended by itself."""
        for name, process in self._running.items():
            if process.poll() not in (None, 0):
                tail = (self.logs / f"{name}.log").read_text(errors="replace")[-1_500:]
                raise NodeError(f"{name} ended with status {process.returncode}:\n{tail}")

    def stop(self, *names: str) -> None:
        """SIGTERM to these, or to all, the last started first; then SIGKILL after STOP_S."""
        chosen = [self._running.pop(name) for name in names or reversed(list(self._running))]
        for process in chosen:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        for process in chosen:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
