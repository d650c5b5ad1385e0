"""What a seed does to a world: bad weather, cuts, power failures, full disks, then healing.

    python -m tests.simulator.schedule --seed 7 [--n 4] [--kind stops] [--keep 3,9]

replays one seed, or of it only some disturbances, and prints its story.
"""

import argparse
from collections.abc import Callable, Iterable
from random import Random

from ledger.consensus.qbft import LISTEN_MS
from ledger.consensus.signer import decode_record
from tests.simulator.byzantine import Byzantine
from tests.simulator.checkers import Violation
from tests.simulator.node import Node
from tests.simulator.shrink import shrink
from tests.simulator.stand_ins import cheap_signatures
from tests.simulator.world import Weather, World

FAULTS_MS = 20_000
LIVE_TIMEOUTS = 4  # L: a new head within so many of the largest live round timeouts
SHRINK_RUNS_MAX = 40
LAST_MS = LISTEN_MS + 3_000  # by then the others wait for it no longer, and have gone on
HEAL_MS_MIN = 10_000  # a disk is repaired, a node is started, blocks are fetched

PAUSE_MS_MAX = {
    "mixed": 900,
    "stops": 150,
    "spite": 2_000,
    "blackouts": 1_000,
    "byzantine": 2_500,
}
"""Kinds of schedules, and how far apart their disturbances are."""


def make_world(seed: int, n: int | None = None, kind: str = "mixed") -> World:
    random = Random(f"{kind} {seed}")
    n = n or (4 if kind == "byzantine" else random.choice((1, 2, 3, 4, 4, 4, 5, 7)))
    weather = Weather(
        loss=random.choice((0, 0, 5, 30)),
        duplicates=random.choice((0, 10)),
        delay_ms_max=random.choice((5, 20, 200)),
        disk_ms_max=random.choice((0, 10, 50)),
        ring=kind in ("mixed", "stops", "byzantine") and random.randrange(6) == 0,
        spite={
            "spite": random.choice((20, 50)),
            "blackouts": 50,
            "byzantine": random.choice((0, 20)),
        }.get(kind, 0),
    )
    world = World(
        seed,
        n,
        weather=weather,
        block_period_ms=random.choice((0, 200)),
        rotate=kind != "byzantine" and n > 3 and random.randrange(4) == 0,
        byzantine=Byzantine if kind == "byzantine" else None,
    )
    for node in world.honest:
        node.clock_skew_s = random.choice((0, 0, 0, 1, 8, -8))
    return world


def plan(seed: int, kind: str) -> list[int]:
    """When something happens, in milliseconds."""
    random = Random(f"plan {kind} {seed}")
    moments, moment_ms = [], random.randint(1, PAUSE_MS_MAX[kind])
    while moment_ms < FAULTS_MS:
        moments.append(moment_ms)
        moment_ms += random.randint(1, PAUSE_MS_MAX[kind])
    return moments


def run(world: World, kind: str = "mixed", keep: Iterable[int] | None = None) -> None:
    """Faults for a while, then healing and the test of liveness. Raises Violation."""
    random = Random(f"faults {kind} {world.seed}")
    for node in world.nodes:
        world.at(random.randint(0, 300), node.start)
    if kind == "blackouts":
        world.on_import = lambda node: on_import(world, random, node)
    if kind in ("spite", "blackouts"):
        world.add_work()
    if kind == "mixed" and len(world.nodes) > 2 and random.randrange(4) == 0:
        world.at(random.randint(0, FAULTS_MS), random.choice(world.honest).lose_record)
    moments = plan(world.seed, kind)
    for index in range(len(moments)) if keep is None else keep:
        salt = Random(f"{kind} {world.seed} {index}")
        world.at(moments[index], lambda salt=salt: disturb(world, salt, kind))  # type: ignore[misc]
    world.run_until(FAULTS_MS)
    # Power that failed in the moment before healing still keeps the last one away.
    heal(world, LAST_MS if kind == "blackouts" else 0)


def disturb(world: World, random: Random, kind: str) -> None:
    """One thing that happens to the network or to a machine."""
    node = random.choice(world.honest)
    choice = random.randrange(12)
    if choice < 4:
        world.add_work()
    elif kind == "blackouts" and random.randrange(4) == 0:
        black_out(world, random)
    elif choice == 4:
        world.add_work([node.index])
    elif choice == 5 and kind != "stops":
        cut(world, random)
    elif choice == 6 and kind != "stops":
        world.cuts.clear()
    elif choice == 7 and kind != "stops":
        node.fail_disk_in = random.randrange(3)
    elif choice < 10:
        (node.stop if kind == "stops" and random.randrange(2) else node.crash)()
        world.at(random.choice((10, 400, 3_000)), node.start)
    else:
        node.crash_in = random.randrange(12)
        world.at(random.choice((100, 1_000, 4_000)), node.start)
    for other in world.honest:
        if other.engine is None and random.randrange(8) == 0:
            other.start()


def on_import(world: World, random: Random, node: Node) -> None:
    """The first to know a block may be the only one for a while."""
    first = node.head_height == world.top() and world.count_at(node.head_height) == 1
    if first and random.randrange(2):
        world.at(random.randrange(3), lambda: black_out(world, random))


def black_out(world: World, random: Random) -> None:
    """All lose power at once; who is ahead, and alone knows what was decided, comes back last."""
    world.add_work()
    for node in world.nodes:
        node.crash()
        last = node.head_height == world.top() > world.bottom()
        world.at(random.randint(10, 100) + (LAST_MS if last else 0), node.start)


def cut(world: World, random: Random) -> None:
    """Split the nodes in two, or cut what one of them says (it still hears)."""
    indices = range(len(world.nodes))
    side = {i for i in indices if random.randrange(2)}
    if random.randrange(3) == 0:
        side = {random.choice(indices)}
        world.cuts = {(i, j) for i in side for j in indices}
    else:
        world.cuts = {(i, j) for i in indices for j in indices if (i in side) != (j in side)}


def heal(world: World, away_ms: int = 0) -> None:
    """Everything up, connected and in calm weather: a new head on every node within the bound."""
    world.tell("the world heals")
    world.cuts.clear()
    world.weather.loss = world.weather.spite = 0
    world.on_import = lambda node: None
    for node in world.honest:
        node.crash_in = node.fail_disk_in = None
        node.clock_skew_s = 0
        if node.engine is not None:
            node.send_status()
        node.start()
        world.at(500, node.start)  # who was stopping just now
    goal = world.top() + 1
    world.add_work()
    live = world.settings.compute_timeout_ms(max(map(find_round, world.honest)))
    bound_ms = max(LIVE_TIMEOUTS * live, HEAL_MS_MIN) + away_ms
    if not world.run_until(world.now_ms + bound_ms, lambda: world.bottom() >= goal):
        heads = [node.head_height for node in world.honest]
        raise Violation("L", f"no head {goal} within {bound_ms} ms: {heads}")


def find_round(node: Node) -> int:
    """The round a node is in. One that has just started listens first and says 0, but goes on where
    its lease is, with the timeout of that round: where two of four are silent in rounds 4 and 5,
    and a liar proposes in 6, three timeouts at the cap go by (seed 2017 of kind byzantine)."""
    leased = decode_record(node.disk.record).lease[1] if node.disk.record is not None else 0
    if node.engine is None or node.engine.failure is not None:
        return leased
    return max(leased, node.engine.status().round)


def command(seed: int, kind: str, n: int | None, keep: Iterable[int] | None = None) -> str:
    size = "" if n is None else f" --n {n}"
    some = "" if keep is None else f" --keep {','.join(map(str, keep)) or 'none'}"
    return f"python -m tests.simulator.schedule --seed {seed} --kind {kind}{size}{some}"


Plant = Callable[[Node], None]


def play(
    seed: int,
    kind: str = "mixed",
    n: int | None = None,
    plant: Plant | None = None,
    s1_only: bool = False,
    keep: Iterable[int] | None = None,
) -> World:
    """One run. Raises what it broke, with the end of its story as a note."""
    with cheap_signatures():
        world = make_world(seed, n, kind)
        world.checker.s1_only = s1_only
        for node in world.honest if plant else ():
            plant(node)  # type: ignore[misc]
        try:
            run(world, kind, keep)
        except Exception as error:
            error.add_note("\n".join(world.story[-40:]))
            raise
    return world


def check_seed(seed: int, kind: str = "mixed", n: int | None = None, **how: object) -> World:
    """Run a seed; a failure says how to replay it, and tells the shrunk story."""
    try:
        return play(seed, kind, n, **how)  # type: ignore[arg-type]
    except Exception as error:
        explain(error, seed, kind, n, how)
        raise


def explain(error: Exception, seed: int, kind: str, n: int | None, how: dict[str, object]) -> None:
    """Leave out what the failure does not need, and note the commands and what remains."""
    shrunk: list[Exception] = []

    def fails(keep: list[int]) -> bool:
        try:
            play(seed, kind, n, keep=keep, **how)  # type: ignore[arg-type]
        except Exception as other:
            same = type(other) is type(error)
            same = same and getattr(other, "rule", "") == getattr(error, "rule", "")
            shrunk[:] = [other] if same else shrunk
            return same
        return False

    kept = shrink(len(plan(seed, kind)), fails, SHRINK_RUNS_MAX)
    if shrunk:
        error.__notes__ = list(shrunk[0].__notes__)
    error.__notes__.insert(0, f"replay: {command(seed, kind, n)}")
    error.__notes__.insert(1, f"shrunk: {command(seed, kind, n, kept)}")


def main() -> None:
    parser = argparse.ArgumentParser(description="replay one seed of the consensus simulator")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--kind", choices=PAUSE_MS_MAX, default="mixed")
    parser.add_argument("--n", type=int)
    parser.add_argument("--keep", help="numbers of disturbances, with commas, or none")
    options = parser.parse_args()
    keep = None
    if options.keep is not None:
        keep = [] if options.keep == "none" else [int(part) for part in options.keep.split(",")]
    world = play(options.seed, options.kind, options.n, keep=keep)
    print("\n".join(world.story))


if __name__ == "__main__":
    main()
