"""What a result was taken on."""

import os
import platform
import time
from pathlib import Path
from typing import Any


def describe_machine() -> dict[str, Any]:
    return {
        "cpu": _field("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": os.cpu_count(),
        "memory": _field("/proc/meminfo", "MemTotal"),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def _field(path: str, name: str) -> str:
    try:
        for line in Path(path).read_text().splitlines():
            if line.startswith(name):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass  # no such file on this system
    return ""


def memory_bytes(pid: int) -> int:
    """Resident memory of a process and of those it started."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(map(memory_bytes, _children(pid)))


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    return _times(pid, 2)


def cpu_seconds_of_all(pid: int) -> float:
    """The same of a process and of those it started, also where they ended."""
    return _times(pid, 4) + sum(map(cpu_seconds_of_all, _children(pid)))


def _times(pid: int, count: int) -> float:
    """The sum of user and system time, own and then of children that ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11 : 11 + count])) / os.sysconf("SC_CLK_TCK")


def _children(pid: int) -> list[int]:
    """The processes whose parent it is, of those that run."""
    found = []
    for one in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = one.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue  # it ended meanwhile
        if int(fields[1]) == pid:
            found.append(int(one.parent.name))
    return found


def written_bytes(pid: int) -> int:
    """Bytes that a process has sent to the disk."""
    for line in Path(f"/proc/{pid}/io").read_text().splitlines():
        if line.startswith("write_bytes"):
            return int(line.split(":")[1])
    raise RuntimeError("this system does not count what a process writes")
