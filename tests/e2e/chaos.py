"""Random trouble for a town: kill -9, SIGSTOP, cuts both ways and one way, all of it at once.

Nothing is mended by hand: what ends is started again by the supervisor, as systemd does; frozen
processes thaw and links heal when their time is over. Now and then everything is whole at once, and
then a new block must come on every node within the bound.
"""

import random
import signal
import time
from collections import Counter

from tests.e2e.invariants import usage_of
from tests.e2e.networks import patience
from tests.e2e.town import Load, Town

TROUBLE_S = (0.2, 12.0)  # how long a node is frozen or a link is cut
PAUSE_S = (0.1, 3.0)  # between two troubles
WHOLE_EVERY_S = 30.0
FREEZES_MAX = 2  # at once: with more the load mostly waits
REPORT_S = 60.0


class Chaos:
    """Plays trouble on a town for so many seconds; all choices come of the seed."""

    def __init__(self, town: Town, load: Load, seed: int) -> None:
        self.town = town
        self.load = load
        self.chance = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.heals_s: list[float] = []
        self._frozen: dict[str, tuple[float, int]] = {}
        self._cuts: dict[tuple[int, int], float] = {}
        self._began = time.monotonic()
        self._said = 0

    def play(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._report()
            whole_at = min(end, time.monotonic() + WHOLE_EVERY_S)
            while time.monotonic() < whole_at:
                self._trouble()
                until_s = time.monotonic() + self.chance.uniform(*PAUSE_S)
                while time.monotonic() < until_s:
                    self._mend(time.monotonic())
                    time.sleep(0.05)
            self._mend(float("inf"))
            began = time.monotonic()
            self.town.await_progress()
            self.heals_s.append(time.monotonic() - began)

    def describe(self) -> str:
        """What has been done to the town, and what it has done, so far."""
        done = self.counts
        town = self.town
        return (
            f"{len(town.supervised.ends)} restarts, {done['freeze']} SIGSTOPs, "
            f"{done['cut']} cuts, {done['cut_one_way']} one-way cuts, {done['isolate']} nodes cut "
            f"off, {len(self.load.receipts)} receipts, {max(town.heights())} blocks; a new block "
            f"on every node {max(self.heals_s, default=0):.1f} s after a heal at most"
        )

    def _report(self) -> None:
        """A line a minute, when all was whole a moment ago: an hour is long to wait for one."""
        minute = int((time.monotonic() - self._began) / REPORT_S)
        if minute <= self._said:
            return
        self._said = minute
        pids = [self.town.supervised.pid(one.name) for one in self.town.network.members]
        memory = ", ".join(f"{usage_of(pid)[0] / 1e6:.0f}" for pid in pids)
        print(
            f"{minute} min: {self.describe()}; MB of each {memory}; the machine is "
            f"{patience():.1f} times as busy as it has cores",
            flush=True,
        )

    def check_ends(self) -> None:
        """Every end was one of ours: nobody stopped by itself."""
        strange = [end for end in self.town.supervised.ends if end[1] != -signal.SIGKILL]
        assert not strange, strange

    def _trouble(self) -> None:
        kinds = {self._kill: 5, self._freeze: 3, self._kill_all: 0.3}
        if self.town.wires is not None:
            kinds |= {self._cut: 3, self._cut_one_way: 3, self._isolate: 1}
        (play,) = self.chance.choices(list(kinds), list(kinds.values()))
        play()

    def _kill(self) -> None:
        self._end(self.chance.choice(self.town.network.members).name)

    def _kill_all(self) -> None:
        for member in self.town.network.members:
            self._end(member.name)

    def _end(self, name: str) -> None:
        with self.town.supervised.lock:
            if self.town.supervised.running(name):
                self.counts["kill"] += 1
                self._frozen.pop(name, None)
                self.town.supervised.send_signal(name, signal.SIGKILL)

    def _freeze(self) -> None:
        name = self.chance.choice(self.town.network.members).name
        supervised = self.town.supervised
        with supervised.lock:
            if len(self._frozen) < FREEZES_MAX and supervised.running(name):
                self.counts["freeze"] += 1
                supervised.send_signal(name, signal.SIGSTOP)
                self._frozen[name] = (self._until(), supervised.pid(name))

    def _cut_one_way(self) -> None:
        self.counts["cut_one_way"] += 1
        one, other = self.chance.sample(range(1, self.town.size + 1), 2)
        self._cuts[one, other] = self._until()
        self._show_cuts()

    def _cut(self) -> None:
        self.counts["cut"] += 1
        one, other = self.chance.sample(range(1, self.town.size + 1), 2)
        self._cuts[one, other] = self._cuts[other, one] = self._until()
        self._show_cuts()

    def _isolate(self) -> None:
        self.counts["isolate"] += 1
        one, until_s = self.chance.randrange(1, self.town.size + 1), self._until()
        for other in range(1, self.town.size + 1):
            if other != one:
                self._cuts[one, other] = self._cuts[other, one] = until_s
        self._show_cuts()

    def _until(self) -> float:
        return time.monotonic() + self.chance.uniform(*TROUBLE_S)

    def _mend(self, now_s: float) -> None:
        supervised = self.town.supervised
        for name, (until_s, pid) in list(self._frozen.items()):
            if until_s <= now_s:
                del self._frozen[name]
                with supervised.lock:
                    if supervised.running(name) and supervised.pid(name) == pid:
                        supervised.send_signal(name, signal.SIGCONT)
        self._cuts = {pair: until_s for pair, until_s in self._cuts.items() if until_s > now_s}
        self._show_cuts()

    def _show_cuts(self) -> None:
        if self.town.wires is not None:
            self.town.wires.cuts = set(self._cuts)
