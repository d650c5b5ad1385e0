"""What a seed does to a realm of whole nodes: bad weather, cuts, power cuts, disks, clocks, liars.

    python -m tests.simulator.trouble --seed 7 [--keep 3,9,12]

replays one seed, or of it only some disturbances, and prints its story.
"""

import argparse
from collections.abc import Callable, Iterable
from random import Random

from tests.simulator.checkers import Violation
from tests.simulator.liar import Liar
from tests.simulator.links import Weather
from tests.simulator.realm import NAMES, SENDERS, Machine, Realm, realm, transfer
from tests.simulator.roster import make_roster, set_members
from tests.simulator.shrink import shrink
from tests.simulator.stand_ins import KEYS

FAULTS_S = 12.0
PAUSE_S_MAX = 1.2
LIVE_TIMEOUTS = 4
REPAIR_S = 22.0
"""Beside the timeouts of L: a disk is tried each 5 s, a lost connection dialled within 15 s."""
LIAR_S = 30.0
"""An honest node that a liar made err is left alone for so long (`PENALTY_S`)."""
SHRINK_RUNS_MAX = 24


def make_realm_options(seed: int) -> dict[str, object]:
    random = Random(f"realm {seed}")
    n = random.choice((1, 2, 3, 4, 4, 4, 5))
    weather = Weather(
        delay_ms_max=random.choice((5, 20, 150)),
        loss=random.choice((0, 0, 0, 5, 20)),
        duplicates=random.choice((0, 10)),
        reordering=random.choice((0, 0, 20)),
    )
    lies = n >= 4 and random.randrange(3) == 0
    voted = not lies and random.randrange(3) == 0
    return {
        "n": n,
        "weather": weather,
        "contracts": (make_roster(sorted(list(KEYS)[:n])),) if voted else (),
        "liars": {n - 1: Liar} if lies else {},
        "settings": {"store_flush_blocks": random.choice((1, 3, 64))},
        "drift_s": 2,
        "block_period_ms": random.choice((0, 200)),
    }


def plan(seed: int) -> list[float]:
    """When something happens, in seconds."""
    random = Random(f"plan {seed}")
    moments, at_s = [], random.uniform(0.5, 2.0)
    while at_s < FAULTS_S:
        moments.append(at_s)
        at_s += random.uniform(0.05, PAUSE_S_MAX)
    return moments


def run(world: Realm, keep: Iterable[int] | None = None) -> None:
    """Disturb, heal, and hold everything to the invariants. Raises Violation."""
    random = Random(f"begin {world.seed}")
    for machine in world.machines:
        skew_s = random.choice((0, 0, 0, 1, 8, -8))
        machine.set_clock(skew_s if machine.honest else 0, random.choice((0, 0, 100, -100)))
        world.later(random.uniform(0, 0.3), machine.start)
    moments = plan(world.seed)
    for index in range(len(moments)) if keep is None else keep:
        salt = Random(f"{world.seed} {index}")
        world.later(moments[index], lambda salt=salt: disturb(world, salt))  # type: ignore[misc]
    end_s = FAULTS_S
    while world.loop.now_s < end_s:
        world.run(0.5)
        world.watch.read()
    heal(world)
    world.watch.check_end()


def disturb(world: Realm, random: Random) -> None:
    """One thing that happens to a client, the network or a machine."""
    machine = random.choice(world.honest)
    acts: list[tuple[int, Callable[[Realm, Machine, Random], None]]] = [
        (6, send_work),
        (2, cut_links),
        (2, heal_links),
        (2, crash),
        (1, stop_cleanly),
        (2, crash_at_a_write),
        (1, fail_disk),
        (1, fill_disk),
        (1, freeze),
        (1, turn_clock),
    ]
    if world.genesis.contracts:
        acts.append((3, change_members))
    weights = [weight for weight, _ in acts]
    random.choices([act for _, act in acts], weights)[0](world, machine, random)


def send_work(world: Realm, machine: Machine, random: Random) -> None:
    sender = random.choice(SENDERS[1:])
    node = machine.node
    nonce = node.chain.state_at().get_nonce(sender) if node is not None else 0
    count = random.choice((1, 1, 3))
    ahead = random.choice((0, 0, 0, 1))
    batch = [transfer(sender, nonce + ahead + i) for i in range(count)]
    world.submit(machine, *batch)


def cut_links(world: Realm, machine: Machine, random: Random) -> None:
    everybody = range(len(world.machines))
    if random.randrange(3) == 0:
        world.cuts |= {(machine.index, j) for j in everybody if j != machine.index}
        world.tell(f"{machine.name} hears and cannot send")
        return
    side = {i for i in everybody if random.randrange(2)}
    groups = "".join(NAMES[i] for i in side), "".join(NAMES[i] for i in everybody if i not in side)
    world.split(*groups)


def heal_links(world: Realm, machine: Machine, random: Random) -> None:
    world.heal_links()


def crash(world: Realm, machine: Machine, random: Random) -> None:
    machine.restart(random.choice((0.01, 0.4, 3.0)))


def stop_cleanly(world: Realm, machine: Machine, random: Random) -> None:
    machine.stop()
    world.later(random.choice((0.4, 3.0)), machine.start)


def crash_at_a_write(world: Realm, machine: Machine, random: Random) -> None:
    machine.disk.cut_in, machine.disk.cut_after = random.randrange(8), bool(random.randrange(2))
    world.later(random.choice((1.0, 4.0)), machine.start)


def fail_disk(world: Realm, machine: Machine, random: Random) -> None:
    world.tell(f"{machine.name}'s disk is about to fail")
    machine.disk.fail_in = random.randrange(4)
    world.later(3.0, lambda: setattr(machine.disk, "fail_in", None))


def fill_disk(world: Realm, machine: Machine, random: Random) -> None:
    world.tell(f"{machine.name}'s disk is full")
    machine.disk.full = True
    world.later(random.choice((0.5, 4.0)), lambda: setattr(machine.disk, "full", False))


def freeze(world: Realm, machine: Machine, random: Random) -> None:
    life = machine.life
    if life is not None and not life.asleep:
        world.tell(f"{machine.name} is stopped (SIGSTOP)")
        life.sleep()
        world.later(random.choice((0.5, 4.0)), life.wake)


def change_members(world: Realm, machine: Machine, random: Random) -> None:
    """Other validators from the next block on, or a list that must be refused."""
    members = [one.address for one in world.honest if random.randrange(3)]
    node = machine.node
    if node is not None:
        nonce = node.chain.state_at().get_nonce(SENDERS[1])
        world.tell(f"{machine.name} is told to set {len(members)} members")
        world.submit(machine, set_members(SENDERS[1], nonce, members))


def turn_clock(world: Realm, machine: Machine, random: Random) -> None:
    machine.set_clock(random.choice((-3_600, -10, 0, 10)), machine.drift_ppm)
    world.tell(f"{machine.name}'s clock is {machine.skew_s} s wrong")


def heal(world: Realm) -> None:
    """Everything up and connected in calm weather: L, a new head on every node within the bound."""
    world.weather = Weather(delay_ms_max=20)
    world.heal_links()
    for machine in world.honest:
        machine.disk.full, machine.disk.fail_in, machine.disk.cut_in = False, None, None
        machine.set_clock(0)
        if machine.life is not None and machine.life.asleep:
            world.later(0.0, machine.life.wake)
        world.later(0.0, machine.start)
        world.later(1.0, machine.start)  # who was stopping just now
        world.later(3.5, machine.start)
    goal = max(world.heights()) + 1
    rounds = [m.node.engine.status().round for m in world.honest if m.node and m.height >= 0]
    timeout_ms = min(world.genesis.round_timeout_ms << max(rounds, default=0), 4_000)
    bound_s = LIVE_TIMEOUTS * timeout_ms / 1_000 + REPAIR_S
    if len(world.honest) < len(world.machines):
        bound_s += LIAR_S
    # One transaction that any node takes whatever it includes: from an account of its own.
    for at_s in (0.1, 5.0, 10.0, 20.0):
        world.later(at_s, lambda: _send_last(world))
    reached = world.run(bound_s, lambda: min(world.heights()) >= goal)
    if not reached:
        raise Violation("L", f"no head {goal} within {bound_s} s: {world.heights()}")


def _send_last(world: Realm) -> None:
    for machine in world.honest:
        if machine.node is not None:
            nonce = machine.node.chain.state_at().get_nonce(SENDERS[0])
            world.submit(machine, transfer(SENDERS[0], nonce))


def command(seed: int, keep: Iterable[int] | None = None) -> str:
    some = "" if keep is None else f" --keep {','.join(map(str, keep)) or 'none'}"
    return f"python -m tests.simulator.trouble --seed {seed}{some}"


def play(
    seed: int, keep: Iterable[int] | None = None, plant: Callable[[Machine], None] | None = None
) -> list[str]:
    """One run; its story. Raises Violation."""
    with realm(seed, **make_realm_options(seed)) as world:  # type: ignore[arg-type]
        for machine in world.honest if plant else ():
            plant(machine)  # type: ignore[misc]
        run(world, keep)
        return world.story


def check_seed(seed: int) -> list[str]:
    """Run a seed; its story. A failure says how to replay it, and tells the shrunk story."""
    try:
        return play(seed)
    except Exception as error:
        kind = type(error), getattr(error, "rule", "")

        def fails(keep: list[int]) -> bool:
            try:
                play(seed, keep)
            except Exception as other:
                return (type(other), getattr(other, "rule", "")) == kind
            return False

        kept = shrink(len(plan(seed)), fails, SHRINK_RUNS_MAX)
        error.add_note(f"replay: {command(seed)}")
        error.add_note(f"shrunk: {command(seed, kept)}")
        try:
            play(seed, kept)
        except Exception as shrunk:
            for note in getattr(shrunk, "__notes__", ()):
                error.add_note(note)
        raise


def main() -> None:
    parser = argparse.ArgumentParser(description="replay one seed of the simulator of whole nodes")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--keep", help="numbers of disturbances, with commas, or none")
    options = parser.parse_args()
    keep = None
    if options.keep is not None:
        keep = [] if options.keep == "none" else [int(part) for part in options.keep.split(",")]
    print("\n".join(play(options.seed, keep)))


if __name__ == "__main__":
    main()
