"""Words that scenarios say to a realm: start it, keep it busy, is it alive, who said what."""

import msgpack

from ledger.consensus.messages import Message, Vote, decode_message
from node.node import Node
from node.peers.frames import Kind
from tests.simulator.checkers import Violation
from tests.simulator.realm import NAMES, SENDERS, Machine, Realm, transfer

SETTLE_S = 3.0
DIAL_S = 16.0
"""A lost connection is dialled again within 15 s."""


def start_all(world: Realm) -> None:
    for machine in world.machines:
        machine.start()
    world.run(SETTLE_S)


def alive(machine: Machine) -> Node:
    assert machine.node is not None, machine.refusal
    return machine.node


def keep_busy(
    world: Realm, seconds: float, every_s: float = 0.25, only: str = NAMES, sender: int = 2
) -> None:
    """A transaction now and then to each in turn, reading all the while what servers answer."""
    able = [machine for machine in world.machines if machine.name in only]
    end_s, turn = world.loop.now_s + seconds, 0
    while world.loop.now_s < end_s:
        machine = able[turn % len(able)]
        turn += 1
        if machine.node is not None:
            account = SENDERS[sender + turn % 4]
            nonce = machine.node.head_state().get_nonce(account)
            world.submit(machine, transfer(account, nonce))
        world.run(min(every_s, max(0.01, end_s - world.loop.now_s)))
        world.watch.read()


def live(world: Realm, extra_s: float = 0.0) -> int:
    """L: a new head on every honest node within 4 of the largest live timeouts, or a connection's
    way back; then everything else that must hold at the end. The height that all have reached."""
    goal = max(world.heights()) + 1
    timeouts = [
        alive(machine).engine.status().round for machine in world.honest if machine.node is not None
    ]
    largest_s = min(world.genesis.round_timeout_ms << max(timeouts), 4_000) / 1_000
    bound_s = 4 * largest_s + DIAL_S + extra_s
    began_s = world.loop.now_s
    while world.loop.now_s < began_s + bound_s and min(world.heights()) < goal:
        for machine in world.honest:
            if machine.node is not None:
                nonce = machine.node.head_state().get_nonce(SENDERS[9])
                world.submit(machine, transfer(SENDERS[9], nonce))
        world.run(1, lambda: min(world.heights()) >= goal)
    if min(world.heights()) < goal:
        raise Violation("L", f"no head {goal} within {bound_s} s: {world.heights()}")
    world.watch.check_end()
    return min(world.heights())


def consensus(frame: bytes) -> Message | None:
    """The consensus message in a frame, whole or compact, if that is what it carries."""
    if frame[1] not in (Kind.CONSENSUS, Kind.COMPACT):
        return None
    return decode_message(msgpack.unpackb(frame)[1])


def said(world: Realm, machine: Machine) -> list[Vote]:
    """A list that grows by each vote this machine's own key puts on the wire from now on."""
    votes: list[Vote] = []
    before = world.passes
    authors = world.watch.authors

    def passes(source: Machine, target: Machine, frame: bytes) -> bool:
        message = consensus(frame)
        mine = message is not None and source is machine
        if mine and authors.author_of(message.vote) == machine.address:  # type: ignore[union-attr]
            votes.append(message.vote)  # type: ignore[union-attr]
        return before(source, target, frame)

    world.passes = passes
    return votes
