"""`python -m tests.fuzz SECONDS [FIRST-SEED]`: look for what must not be; findings go to stdout.

The cases run in a child with bounded memory; where it dies or hangs, its last seed is the finding
and the next child goes on behind it. Ends with status 1 if anything was found.
"""

import json
import resource
import subprocess
import sys
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).parents[2]
MEMORY_MB_MAX = 200
ADDRESS_SPACE = 1 << 30
"""Far above MEMORY_MB_MAX: a bomb ends in a MemoryError instead of taking the machine along."""
CASE_S_MAX = 60.0
"""A child that says nothing for so long hangs; a case takes 50 ms."""
CHILD_S = 300.0
"""Then a fresh child: what a case leaves behind does not gather for ever."""


def peak_memory_mb() -> int:
    """The most that this program has held. getrusage has what the parent held before it started."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(peak.split()[1]) // 1024


def run_child(first: int, seconds: float) -> None:
    """Cases from a seed on; a line of JSON before and after each."""
    from tests.fuzz.cases import run_case

    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    end, seed = time.monotonic() + seconds, first
    while time.monotonic() < end:
        print(json.dumps({"begin": seed}), flush=True)
        answer: dict[str, object] = {"end": seed}
        try:
            answer["result"] = run_case(seed)
        except BaseException as error:
            text = traceback.format_exc()[-2_000:]
            answer["finding"] = f"{type(error).__name__}: {error}\n{text}"
        memory_mb = peak_memory_mb()
        if memory_mb > MEMORY_MB_MAX:
            answer["finding"] = f"{memory_mb} MB of memory"
        print(json.dumps(answer), flush=True)
        if memory_mb > MEMORY_MB_MAX:
            return
        seed += 1


def watch_child(first: int, seconds: float) -> tuple[int, list[str], dict[int, str]]:
    """(next seed, findings, results by seed) of one child."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.fuzz", "child", str(first), str(seconds)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    findings: list[str] = []
    try:
        output, errors = child.communicate(timeout=seconds + CASE_S_MAX)
    except subprocess.TimeoutExpired:
        child.kill()
        output, errors = child.communicate()
        errors += "\nit hung"
    seed, open_, results = first, False, {}
    for line in output.splitlines():
        answer = json.loads(line)
        if "begin" in answer:
            seed, open_ = answer["begin"], True
            continue
        open_ = False
        results[seed] = answer.get("result", "finding")
        if "finding" in answer:
            findings.append(f"seed {seed}: {answer['finding']}")
    if open_ or child.returncode:
        findings.append(f"seed {seed}: the child died ({child.returncode}): {errors[-2_000:]}")
    return seed + 1, findings, results


def fuzz(seconds: float, first: int) -> tuple[list[str], dict[int, str]]:
    """Findings, and what each seed gave."""
    end, findings, results = time.monotonic() + seconds, [], {}
    while (left := end - time.monotonic()) > 0:
        first, found, given = watch_child(first, min(left, CHILD_S))
        for one in found:
            print(one, flush=True)
        findings += found
        results |= given
    return findings, results


def main(arguments: list[str]) -> int:
    if arguments[0] == "child":
        run_child(int(arguments[1]), float(arguments[2]))
        return 0
    first = int(arguments[1]) if len(arguments) > 1 else 0
    findings, results = fuzz(float(arguments[0]), first)
    refused = sum(given == "refused" for given in results.values())
    print(f"{len(results)} cases, {refused} refused, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
