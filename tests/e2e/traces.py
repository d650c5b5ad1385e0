"""What strace saw of a process: its writes and syncs in order, and what a power cut would leave.

SIGKILL keeps the page cache; a power cut does not. `Disk` replays a trace and keeps, for each file,
only what was synced: what is written and not yet synced counts as lost.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

CALLS = "fsync,fdatasync,ftruncate,pwrite64,write,writev,sendto,sendmsg"
BYTES_MAX = 8_000_000  # of one call; a page of the store has 4,096
_LINE = re.compile(
    r"(?P<thread>\d+) +(?P<call>\w+)\(\d+<(?P<file>(?:[^>]|(?<=-)>)*)>(?P<rest>.*)"
)  # a socket is <TCP:[from->to]>
_RESUMED = re.compile(r"(?P<thread>\d+) +<\.\.\. (?P<call>\w+) resumed>.*= 0$")
_BYTES = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_NUMBERS = re.compile(r", (\d+)(?:\) += -?\d+| <unfinished)")


def strace(trace: Path) -> list[str]:
    """The front of a command whose calls are written to `trace`; skips where that cannot be."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    command = ["strace", "-f", "--seccomp-bpf", "-yy", "-xx", "-s", str(BYTES_MAX), "-o"]
    if subprocess.run([*command, "/dev/null", "true"], capture_output=True, check=False).returncode:
        pytest.skip("strace may not trace here")
    return [*command, str(trace), "-e", f"trace={CALLS}"]


@dataclass(frozen=True)
class Event:
    """One call: `file` is a path, or TCP:[from->to]. A sync stands where it has come back."""

    call: str
    file: str
    data: bytes = b""
    offset: int = 0


def read_trace(trace: Path) -> Iterator[Event]:
    """The calls in the order in which the kernel saw them."""
    syncing: dict[str, str] = {}
    with trace.open() as lines:
        for line in lines:
            if resumed := _RESUMED.match(line):
                if resumed["thread"] in syncing:
                    yield Event("sync", syncing.pop(resumed["thread"]))
                continue
            match = _LINE.match(line)
            if match is None:
                continue
            call, rest = match["call"], match["rest"]
            file = _unhex(match["file"]).decode() if "\\x" in match["file"] else match["file"]
            if call in ("fsync", "fdatasync"):
                if "unfinished" in rest:
                    syncing[match["thread"]] = file
                elif rest.rstrip().endswith("= 0"):
                    yield Event("sync", file)
                continue
            number = _NUMBERS.search(rest)
            offset = int(number[1]) if number and call in ("pwrite64", "ftruncate") else 0
            yield Event(call, file, b"".join(map(_unhex, _BYTES.findall(rest))), offset)


def _unhex(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


@dataclass
class Disk:
    """An SQLite file and its log as a power cut at this moment would leave them."""

    file: Path
    synced: dict[str, bytearray] = field(default_factory=dict)
    generation: int = 0
    _unsynced: dict[str, list[Event]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        wal = self.file.with_name(self.file.name + "-wal")
        for file in (self.file, wal):
            self.synced[str(file)] = bytearray(file.read_bytes() if file.exists() else b"")

    def take(self, event: Event) -> None:
        """Go on by one call."""
        if event.file not in self.synced:
            return
        waiting = self._unsynced.setdefault(event.file, [])
        if event.call != "sync":
            waiting.append(event)
            return
        self.generation += bool(waiting)
        content = self.synced[event.file]
        for one in waiting:
            if one.call == "ftruncate":
                del content[one.offset :]
                continue
            end = one.offset + len(one.data)
            content.extend(bytes(max(0, end - len(content))))
            content[one.offset : end] = one.data
        waiting.clear()

    def save(self, folder: Path) -> Path:
        """Write the files as they would be found after the power is back."""
        folder.mkdir(parents=True)
        for name, content in self.synced.items():
            (folder / Path(name).name).write_bytes(content)
        return folder / self.file.name
