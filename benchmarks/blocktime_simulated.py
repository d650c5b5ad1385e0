"""Block time up to 100 peers, in simulated time: the engines, chains and pools of the simulator.

A Pi's speeds and a household's Wi-Fi are assumed, not measured, and named here: a message takes 2
to 30 ms, a Pi 3B+ executes a small block in 40 ms and takes in a signed vote in 0.4 ms. Signatures
of votes are stand-ins. The mean of the miners' pace is the published one, 18 s for one Pi.
"""

import statistics
from functools import lru_cache
from typing import Any

from ledger.block import decode_block
from ledger.consensus import events as ev
from ledger.consensus.pow import Pow, PowSettings
from ledger.crypto.address import address_of
from tests.simulator import mining, stand_ins
from tests.simulator import world as voting

PEERS = (1, 2, 4, 8, 16, 32, 64, 100)
DELAY_MS = (2, 30)
EXECUTE_MS = 40
VOTE_MS = 0.4
LONE_MINER_MS = 18_000
BLOCKS = 200
NODE_BLOCKS = 5_000
"""Blocks times nodes: what a run may cost on this machine, some 20 s."""
HEIGHTS = 8
ROUND_TIMEOUT_MS = 10_000


def simulate_mining() -> list[dict[str, Any]]:
    return [simulate_miners(count) for count in PEERS]


def simulate_miners(count: int) -> dict[str, Any]:
    """So many miners of one rate on a full mesh."""
    block_ms = LONE_MINER_MS // count
    world = mining.World(
        7, count, mining.Weather(DELAY_MS, execute_ms=EXECUTE_MS, block_ms=block_ms)
    )
    decode = lru_cache(maxsize=256)(decode_block)
    world.nodes = [Neighbour(world, index) for index in range(count)]
    for node in world.nodes:
        node.start()
        node.engine = Pow(PowSettings(mining=True), decode)
        head = node.chain.head
        node.step(ev.Started(head.number, head.hash, (), None))
        node.step(node._head_moved())
    blocks = max(40, min(BLOCKS, NODE_BLOCKS // count))
    nonce = 0
    first = world.nodes[0]
    while first.chain.head.number < blocks:
        _give_work(world, nonce)
        nonce += 1
        world.run(10 * block_ms)
    height = first.chain.head.number
    return {
        "peers": count,
        "blocks": height,
        "expected_s": round(block_ms / 1_000, 3),
        "mean_s": round(world.now_ms / height / 1_000, 3),
        "stale_percent": round(100 * (1 - height / max(height, len(world.mined))), 1),
    }


class Neighbour(mining.Node):
    """In a full mesh nobody passes on what all neighbours have from where it came."""

    def _carry_out(self, effect: ev.Effect) -> None:
        if not isinstance(effect, ev.Relay):
            super()._carry_out(effect)


def _give_work(world: mining.World, nonce: int) -> None:
    """A transaction that is in every pool at once: its way is not what is measured."""
    transaction = mining.make_transaction(0, nonce)
    for node in world.nodes:
        state = node.chain.state_at()
        sender = transaction.sender
        node.pool.add(transaction, state.get_nonce(sender), state.get_balance(sender))
        node.step(ev.WorkWaiting(True))


# QBFT.


class PiWorld(voting.World):
    """A machine takes in one message after another, each in its time."""

    def _arrive(self, source: int, target: int, deliver: Any) -> None:
        busy = self.__dict__.setdefault("busy_ms", {})
        free_ms = max(float(self.now_ms), busy.get(target, 0.0)) + VOTE_MS
        busy[target] = free_ms
        arrive = super()._arrive
        self.at(int(free_ms - self.now_ms), lambda: arrive(source, target, deliver))


def simulate_voting() -> list[dict[str, Any]]:
    for number in range(len(stand_ins.KEYS) + 1, max(PEERS) + 1):
        key = number.to_bytes(32, "big")
        stand_ins.KEYS[address_of(key)] = key
        stand_ins._ADDRESSES[key] = address_of(key)
    with stand_ins.cheap_signatures():
        return [simulate_voters(count) for count in PEERS]


def simulate_voters(count: int) -> dict[str, Any]:
    """Send to final, as all have it, with so many validators."""
    weather = voting.Weather(delay_ms_max=DELAY_MS[1], disk_ms_max=10)
    world = PiWorld(
        7, count, weather=weather, round_timeout_ms=ROUND_TIMEOUT_MS, round_timeout_ms_max=60_000
    )
    for node in world.nodes:
        node.start()
    world.run_until(3_000)
    taken = []
    for height in range(1, HEIGHTS + 1):
        began = world.now_ms
        world.add_work()
        target = height
        done = world.run_until(
            began + 60_000,
            lambda target=target: world.bottom() >= target,  # type: ignore[misc]
        )
        assert done, f"{count} validators did not decide block {height}"
        taken.append(world.now_ms - began)
        world.run_until(world.now_ms + 2_000)
    return {"peers": count, "send_to_final_ms": round(statistics.median(taken))}
