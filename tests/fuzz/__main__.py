"""`python -m tests.fuzz SECONDS [FIRST-SEED]`: look for what must not be.

The cases run in a child with bounded memory; where it dies or hangs, its last seed is the finding
and the next child goes on behind it. Beside it, seeds that are done are played again by each other
CPython at hand. A line a minute goes to stdout and to `build/fuzz/FIRST-SEED.log`, each finding to
both and, with its source, to `build/fuzz/SEED.json`. Ends with a summary, and with status 1 if
anything was found.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz import versions
from tests.fuzz.cases import make_source

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "build" / "fuzz"
CASE_CPU_S_MAX = 120.0
"""A child that computes for so long at one case hangs. Most take 100 ms; a constructor that burns
all its gas each time it is tried, twice and counted twice, 30 s."""
CASE_S_MAX = 1_200.0
"""The same for one that waits, on a machine that does ten other things."""
CHILD_S = 300.0
"""Then a fresh child: what a case leaves behind does not gather for ever."""
PROGRESS_S = 60.0
BATCH = 30
"""Seeds that another version plays at a time: 10 to 40 s of WebAssembly."""
BATCH_S_MAX = 600.0
WAIT_S = 0.5


class Fuzzer:
    """One run: what was done, and what was found."""

    def __init__(self, seconds: float, first: int, kept: Path = KEPT) -> None:
        self.began = time.monotonic()
        self.end = self.began + seconds
        self.first = self.seed = first
        self.kept = kept
        self.findings: list[str] = []
        self.results: dict[int, str] = {}
        self.mutants = self.calls = self.agreed = self.memory_mb = 0
        self.compared: dict[str, int] = {}
        self.versions = versions.list_versions()
        self.batch: subprocess.Popen[str] | None = None
        self.batch_name, self.batch_began = "", 0.0
        self.batch_seeds: list[int] = []
        self.told = self.began
        self.stopped: set[int] = set()
        """Seeds at which a child got SIGTERM, which nothing in it sends: a second time is one."""
        kept.mkdir(parents=True, exist_ok=True)

    # -- what is told ------------------------------------------------------------------------

    def tell(self, text: str) -> None:
        line = f"{time.strftime('%H:%M:%S')} {text}"
        print(line, flush=True)
        with (self.kept / f"{self.first}.log").open("a") as log:
            log.write(line + "\n")

    def find(self, seed: int, what: str) -> None:
        text = f"seed {seed}: {what}"
        self.findings.append(text)
        self.tell(f"FINDING {text}")
        kept = {"seed": seed, "what": what, "source": make_source(seed).decode("utf-8", "replace")}
        (self.kept / f"{seed}.json").write_text(json.dumps(kept, indent=1))

    def describe(self) -> str:
        refused = sum(given == "refused" for given in self.results.values())
        played = ", ".join([f"{name} {count}" for name, count in self.compared.items()])
        return (
            f"{time.monotonic() - self.began:.0f} s: {len(self.results)} programs"
            f" ({self.mutants} mutants, {refused} refused), {self.calls} calls,"
            f" {self.agreed} with their gas counted twice; compared with {played or 'no version'};"
            f" {self.memory_mb} MB at most; {len(self.findings)} findings"
            + (f"; stopped from outside {len(self.stopped)} times" if self.stopped else "")
        )

    # -- the child with the cases ------------------------------------------------------------

    def run(self) -> None:
        while (left := self.end - time.monotonic()) > 0:
            self.watch_child(min(left, CHILD_S))
        while self.batch is not None:  # the last comparison is waited for
            self.play_elsewhere(finish=True)
            time.sleep(WAIT_S if self.batch else 0)
        self.tell(f"SUMMARY {self.describe()}, seeds {self.first} to {self.seed - 1}")

    def watch_child(self, seconds: float) -> None:
        """Cases from the next seed on, in a child of their own."""
        command = [sys.executable, "-m", "tests.fuzz.child", str(self.seed), str(seconds)]
        pipe = subprocess.PIPE
        lines: queue.Queue[str | None] = queue.Queue()
        errors: list[str] = []
        with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=ROOT) as child:
            readers = [
                threading.Thread(target=lambda: [*map(lines.put, child.stdout), lines.put(None)]),
                threading.Thread(target=lambda: errors.extend(child.stderr)),
            ]
            for reader in readers:
                reader.start()
            open_ = self.listen(child, lines, errors)
            for reader in readers:
                reader.join()
        if child.returncode == -signal.SIGTERM and self.seed not in self.stopped:
            self.stopped.add(self.seed)
            self.tell(f"the child was stopped from outside at seed {self.seed}, which is run again")
            return
        if open_ or child.returncode:
            text = "".join(errors)[-2_000:]
            self.find(self.seed, f"the child died ({child.returncode}): {text}")
        self.seed += 1

    def listen(
        self, child: subprocess.Popen[str], lines: queue.Queue[str | None], errors: list[str]
    ) -> bool:
        """Take what the child says until it ends; whether it ended in the middle of a case."""
        open_, heard, computed_before = False, time.monotonic(), 0.0
        while True:
            self.play_elsewhere()
            if time.monotonic() - self.told > PROGRESS_S:
                self.told = time.monotonic()
                self.tell(self.describe())
            try:
                line = lines.get(timeout=WAIT_S)
            except queue.Empty:
                waited, computed = time.monotonic() - heard, read_cpu_s(child.pid) - computed_before
                if computed > CASE_CPU_S_MAX or waited > CASE_S_MAX:
                    errors.append(f"it hung: {computed:.0f} s of CPU in {waited:.0f} s")
                    child.kill()
                    heard = time.monotonic()
                continue
            heard, computed_before = time.monotonic(), read_cpu_s(child.pid)
            if line is None:
                return open_
            open_ = self.take(json.loads(line))

    def take(self, answer: dict[str, object]) -> bool:
        """What a child says; whether a case is begun and not ended."""
        if "begin" in answer:
            self.seed = int(str(answer["begin"]))
            return True
        self.results[self.seed] = str(answer.get("digest", "finding"))
        self.mutants += bool(answer.get("mutant"))
        self.calls += int(str(answer.get("calls", 0)))
        self.agreed += int(str(answer.get("agreed", 0)))
        self.memory_mb = max(self.memory_mb, int(str(answer["memory_mb"])))
        if "finding" in answer:
            self.find(self.seed, str(answer["finding"]))
        return False

    # -- other versions ----------------------------------------------------------------------

    def play_elsewhere(self, finish: bool = False) -> None:
        """Take what another version has done, if it has, and give the next one seeds."""
        if self.batch is not None:
            if self.batch.poll() is None:
                if time.monotonic() - self.batch_began > BATCH_S_MAX:
                    self.batch.kill()
                    self.batch.wait()
                    self.find(self.batch_seeds[0], f"{self.batch_name} hung on these {BATCH} seeds")
                    self.batch = None
                return
            self.read_batch(self.batch)
            self.batch = None
        seeds = self.choose_seeds()
        if finish or not self.versions or len(seeds) < BATCH:
            return
        names = list(self.versions)
        self.batch_name = min(names, key=lambda name: self.compared.get(name, 0))
        self.batch_seeds, self.batch_began = seeds, time.monotonic()
        self.batch = versions.start(self.versions[self.batch_name], seeds)

    def choose_seeds(self) -> list[int]:
        """The latest that gave a digest: mutants, and programs made as they are."""
        latest = range(max(self.first, self.seed - 3 * BATCH), self.seed)
        done = [seed for seed in latest if self.results.get(seed, "finding") != "finding"]
        return done[-BATCH:]

    def read_batch(self, batch: subprocess.Popen[str]) -> None:
        output, errors = batch.communicate()
        if batch.returncode:
            self.find(self.batch_seeds[0], f"{self.batch_name} failed: {errors[-2_000:]}")
            return
        count, differing = versions.compare(output, self.results)
        self.compared[self.batch_name] = self.compared.get(self.batch_name, 0) + count
        for seed, what in differing:
            self.find(seed, f"{self.batch_name} differs: {what}")


def read_cpu_s(process: int) -> float:
    """What a process has computed; 0 where the system does not say: waiting is bounded too."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(arguments: Sequence[str]) -> int:
    fuzzer = Fuzzer(float(arguments[0]), int(arguments[1]) if len(arguments) > 1 else 0)
    fuzzer.run()
    return 1 if fuzzer.findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
