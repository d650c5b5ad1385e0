"""The process that runs cases: `python -m tests.fuzz.child FIRST-SEED SECONDS`.

It prints a line of JSON before and after each case, so that whoever watches it knows which seed it
died or hung at. Its memory is bounded.
"""

import json
import resource
import sys
import time
import traceback
from dataclasses import asdict
from pathlib import Path

from tests.fuzz.cases import run_case

MEMORY_MB_MAX = 200
ADDRESS_SPACE = 1 << 30
"""Far above MEMORY_MB_MAX: a bomb ends in a MemoryError instead of taking the machine along."""


def peak_memory_mb() -> int:
    """The most that this program has held. getrusage has what the parent held before it started."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(peak.split()[1]) // 1024


def main(first: int, seconds: float) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    end, seed = time.monotonic() + seconds, first
    while time.monotonic() < end:
        print(json.dumps({"begin": seed}), flush=True)
        answer: dict[str, object] = {"end": seed}
        try:
            answer |= asdict(run_case(seed))
        except BaseException as error:
            text = traceback.format_exc()[-2_000:]
            answer["finding"] = f"{type(error).__name__}: {error}\n{text}"
        answer["memory_mb"] = memory_mb = peak_memory_mb()
        if memory_mb > MEMORY_MB_MAX:
            answer["finding"] = f"{memory_mb} MB of memory"
        print(json.dumps(answer), flush=True)
        if memory_mb > MEMORY_MB_MAX:
            return
        seed += 1


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
