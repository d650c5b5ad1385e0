"""A world of n engines under a seeded scheduler: simulated time, network, disks and power cuts.

Everything random comes from one seed, so a seed is a run. The network loses, delays, doubles and
cuts; what happens inside a machine is `node`'s.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from ledger.consensus.messages import Authors, Network
from ledger.consensus.settings import Settings
from tests.simulator.checkers import Checker
from tests.simulator.node import Node
from tests.simulator.stand_ins import CHAIN_ID, GENESIS_HASH, KEYS


@dataclass
class Weather:
    """How bad the world is; probabilities in percent."""

    loss: int = 0
    duplicates: int = 0
    delay_ms_max: int = 20
    disk_ms_max: int = 10
    ring: bool = False
    """Only neighbours are connected, so that votes must be relayed."""
    spite: int = 0
    """Of the words a node says in a round, how many never reach some of the others: the schedules
    in which few see a quorum and the rest must go on from what was prepared."""


class World:
    def __init__(
        self,
        seed: int,
        n: int,
        *,
        weather: Weather | None = None,
        block_period_ms: int = 0,
        round_timeout_ms: int = 500,
        round_timeout_ms_max: int = 4_000,
        rotate: bool = False,
        byzantine: Callable[["World", int], "Node"] | None = None,
    ) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.weather = weather or Weather()
        self.now_ms = 0
        self.story: list[str] = []
        self.settings = Settings(
            CHAIN_ID, GENESIS_HASH, round_timeout_ms, round_timeout_ms_max, block_period_ms
        )
        self.authors = Authors(Network(CHAIN_ID, GENESIS_HASH))
        self.addresses = sorted(list(KEYS)[:n])
        self.rotate = rotate
        """Every three heights another member sits out."""
        self.contents: dict[bytes, frozenset[int]] = {}
        """Which work each block includes."""
        self.cuts: set[tuple[int, int]] = set()
        """Links (from, to) over which nothing goes."""
        self.on_import: Callable[[Node], None] = lambda node: None
        self._agenda: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self._work_count = 0
        self.nodes = [Node(self, i) for i in range(n)]
        if byzantine is not None:
            self.nodes[n - 1] = byzantine(self, n - 1)
        self.honest = [node for node in self.nodes if node.honest]
        self.checker = Checker(self.authors, {node.address for node in self.honest})

    def validators_at(self, height: int) -> tuple[bytes, ...]:
        """Who decides a height."""
        n = len(self.addresses)
        out = height // 3 % (n + 1) if self.rotate and n > 1 else n
        return tuple(self.addresses[:out] + self.addresses[out + 1 :])

    # Time.

    def at(self, delay_ms: int, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._agenda, (self.now_ms + delay_ms, self._count, action))

    def run_until(self, end_ms: int, done: Callable[[], bool] = lambda: False) -> bool:
        """Let time pass up to `end_ms`, or until `done`, which is asked after each action."""
        while self._agenda and self._agenda[0][0] <= end_ms:
            self.now_ms, _, action = heapq.heappop(self._agenda)
            action()
            if done():
                return True
        self.now_ms = max(self.now_ms, end_ms)
        return done()

    def tell(self, text: str) -> None:
        self.story.append(f"{self.now_ms:>7} ms  {text}")

    # Network.

    def peers_of(self, index: int) -> list[int]:
        n = len(self.nodes)
        others = [i for i in range(n) if i != index]
        if self.weather.ring and n > 3:
            others = [i for i in others if (i - index) % n in (1, n - 1)]
        return others

    def transmit(self, source: int, target: int, deliver: Callable[["Node"], None]) -> None:
        """One message on one link: lost, late, twice, or not at all."""
        random, weather = self.random, self.weather
        if random.randrange(100) < weather.loss:
            return
        times = 2 if random.randrange(100) < weather.duplicates else 1
        for _ in range(times):
            delay_ms = random.randint(1, weather.delay_ms_max)
            self.at(delay_ms, lambda: self._arrive(source, target, deliver))

    def _arrive(self, source: int, target: int, deliver: Callable[["Node"], None]) -> None:
        if (source, target) not in self.cuts and self.nodes[target].engine is not None:
            deliver(self.nodes[target])

    def is_spited(self, source: int, target: int, topic: object) -> bool:
        """Whether all that `source` says on a topic is kept from `target`; the same each time."""
        spite = self.weather.spite
        if spite == 0:
            return False
        random = Random(f"{self.seed} {source} {topic}")
        hit = random.randrange(100) < spite
        return hit and bool(random.getrandbits(len(self.nodes)) >> target & 1)

    # Work.

    def add_work(self, only: list[int] | None = None) -> None:
        """A transaction for the pools of these nodes, of all by default."""
        self._work_count += 1
        for i in range(len(self.nodes)) if only is None else only:
            self.nodes[i].take_work(self._work_count)

    def top(self) -> int:
        return max(node.head_height for node in self.honest)

    def count_at(self, height: int) -> int:
        """How many honest nodes have this head."""
        return sum(1 for node in self.honest if node.head_height == height)

    def bottom(self) -> int:
        return min(node.head_height for node in self.honest)
