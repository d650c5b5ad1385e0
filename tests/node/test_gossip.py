"""Flooding: each thing once to who lacks it; what was lost is found by comparing."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ledger.chain import Chain
from ledger.crypto.address import address_of
from ledger.genesis import Genesis
from ledger.pool import Pool
from ledger.store.memory import MemoryStore
from ledger.transaction import Transaction, decode_transaction, sign_transaction
from node.compact import Compact
from node.errors import PeerError
from node.gossip import Gossip
from node.intake import RECOVERED_AT_ONCE, Intake
from node.peers.connection import KNOWN_TRANSACTIONS
from node.peers.frames import Kind, decode_frame
from node.peers.seen import SeenSet

KEYS = [bytes([number]) * 32 for number in range(1, 9)]
GENESIS = Genesis(name="toy", chain_id=1947, timestamp=1, validators=(address_of(KEYS[0]),))


def transfer(key: int, nonce: int, **changes: Any) -> Transaction:
    fields: dict[str, Any] = {"chain_id": 1947, "to": bytes(20), "gas": 21_000, "gas_price": 0}
    return sign_transaction(KEYS[key], nonce=nonce, **(fields | changes))


class ToyPeer:
    def __init__(self, number: int, *neighbours: int) -> None:
        self.address = bytes([number]) * 20
        self.neighbours = frozenset(bytes([one]) * 20 for one in neighbours)
        self.known = SeenSet(KNOWN_TRANSACTIONS)
        self.likely = SeenSet(KNOWN_TRANSACTIONS)
        self.version = 2
        self.dropped_frames = 0
        self.full = False
        self.frames: list[tuple[Kind, list[Any]]] = []

    def send_frame(self, kind: Kind, frame: bytes) -> None:
        if self.full:
            self.dropped_frames += 1
        else:
            self.frames.append(decode_frame(frame))  # as the other end would read it

    def send(self, kind: Kind, *fields: Any) -> None:
        self.frames.append((kind, list(fields)))

    def take(self) -> list[tuple[Kind, list[Any]]]:
        taken, self.frames = self.frames, []
        return taken


class Room:
    """A gossip with a pool, an intake and some toy peers."""

    def __init__(self, *peers: ToyPeer) -> None:
        self.chain = Chain(MemoryStore(), GENESIS)
        self.pool = Pool(1947, GENESIS.gas_limit)
        self.peers = {peer.address: peer for peer in peers}
        self.gossip = Gossip(self, self.pool, Compact(self.pool.get, lambda: 0, lambda *_: None))  # type: ignore[arg-type]
        self.executor = ThreadPoolExecutor(2)
        self.intake = Intake(
            lambda _: self.chain.state_at(), self.pool, self.executor, self.gossip.announce
        )


def play(room: Room, story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(story())  # type: ignore[arg-type]
    room.executor.shutdown()


async def settle() -> None:
    await asyncio.sleep(0.02)


def test_what_a_client_sends_goes_to_every_peer_once() -> None:
    peers = [ToyPeer(1), ToyPeer(2)]
    room = Room(*peers)
    made = [transfer(0, nonce) for nonce in range(RECOVERED_AT_ONCE * 3)]

    async def story() -> None:
        results = await room.intake.submit([one.raw for one in made])
        assert results == made
        again = await room.intake.submit([made[0].raw])
        assert isinstance(again[0], Exception)
        await settle()

    play(room, story)
    for peer in peers:
        assert peer.frames == [(Kind.TRANSACTIONS, [[one.raw for one in made]])]


def test_what_a_peer_sends_goes_on_only_to_who_has_it_not_from_there() -> None:
    origin, near, far = ToyPeer(1, 2), ToyPeer(2, 1), ToyPeer(3)
    room = Room(origin, near, far)
    one = transfer(0, 0)

    async def story() -> None:
        await room.gossip.receive_transactions(origin, [one.raw], room.intake)  # type: ignore[arg-type]
        await room.gossip.receive_transactions(near, [one.raw], room.intake)  # type: ignore[arg-type]
        await settle()

    play(room, story)
    assert room.pool.get(one.hash) == one
    assert origin.frames == []
    assert near.frames == []
    assert far.frames == [(Kind.TRANSACTIONS, [[one.raw]])]


def test_what_was_seen_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    peers = [ToyPeer(number) for number in range(1, 6)]
    room = Room(*peers)
    raw = transfer(0, 0).raw
    decoded = []

    def count(one: bytes, digest: bytes) -> Transaction:
        decoded.append(one)
        return decode_transaction(one, digest)

    monkeypatch.setattr("node.gossip.decode_or_error", count)

    async def story() -> None:
        for peer in peers:
            await room.gossip.receive_transactions(peer, [raw], room.intake)  # type: ignore[arg-type]

    play(room, story)
    assert len(decoded) == 1


def test_large_floods_are_cut_into_frames() -> None:
    peer = ToyPeer(1)
    room = Room(peer)
    made = [transfer(n % 8, n // 8, gas=2_000_000, data=bytes(60_000)) for n in range(40)]

    async def story() -> None:
        await room.intake.submit([one.raw for one in made])
        await settle()

    play(room, story)
    assert len(peer.frames) > 2
    assert [raw for _, [raws] in peer.frames for raw in raws] == [one.raw for one in made]


DISHONEST = {
    "garbage": b"\xf8\xff\xff",
    "another chain": transfer(0, 0, chain_id=1).raw,
    "too large": b"\x02" + bytes(200_000),
}


@pytest.mark.parametrize("raw", DISHONEST.values(), ids=DISHONEST.keys())
def test_what_no_honest_peer_passes_on(raw: bytes) -> None:
    peer = ToyPeer(1)
    room = Room(peer)

    async def story() -> None:
        with pytest.raises(PeerError, match="it passed on an invalid transaction"):
            await room.gossip.receive_transactions(peer, [raw], room.intake)  # type: ignore[arg-type]

    play(room, story)


def test_a_signature_of_nobody_is_no_honest_mistake() -> None:
    peer = ToyPeer(1)
    room = Room(peer)
    good = transfer(0, 0)
    r = good.r.to_bytes(32, "big")
    forged = decode_transaction(good.raw.replace(r, b"\xff" * 32))

    async def story() -> None:
        with pytest.raises(PeerError, match="invalid sender"):
            await room.gossip.receive_transactions(peer, [forged.raw], room.intake)  # type: ignore[arg-type]

    play(room, story)


def test_what_may_be_a_matter_of_who_is_ahead_is_forgiven() -> None:
    """A nonce already used, one far ahead, an empty purse: the peer's head may be another."""
    peer = ToyPeer(1)
    room = Room(peer)
    raws = [transfer(0, 5_000).raw, transfer(1, 0, value=1).raw, transfer(2, 0, gas=20_000).raw]

    async def story() -> None:
        await room.gossip.receive_transactions(peer, raws, room.intake)  # type: ignore[arg-type]

    play(room, story)
    assert room.pool.size == 0


def test_what_a_full_queue_swallowed_is_found_by_comparing() -> None:
    slow = ToyPeer(1)
    room = Room(slow)
    one = transfer(0, 0)

    async def story() -> None:
        slow.full = True
        await room.intake.submit([one.raw])
        await settle()
        slow.full = False
        room.gossip.compare_pools(slow, room.pool.hashes())  # type: ignore[arg-type]
        assert slow.take() == [(Kind.POOL_HASHES, [[one.hash]])]
        room.gossip.serve_transactions(slow, [one.hash, b"\7" * 32])  # type: ignore[arg-type]
        assert slow.take() == [(Kind.TRANSACTIONS, [[one.raw]])]
        room.gossip.compare_pools(slow, room.pool.hashes())  # type: ignore[arg-type]
        assert slow.take() == []  # it has it now

    play(room, story)


def test_what_has_only_just_come_is_not_compared() -> None:
    """It is on its way to everybody: 21 nodes told each other of it 216 times, to no use."""
    room = Room()
    one, other = transfer(0, 0), transfer(1, 0)

    async def story() -> None:
        await room.intake.submit([one.raw])
        assert room.gossip.list_lasting() == []
        await room.intake.submit([other.raw])
        assert room.gossip.list_lasting() == [one.hash]
        assert room.gossip.list_lasting() == [one.hash, other.hash]

    play(room, story)


def test_a_transaction_asked_for_many_times_is_sent_once() -> None:
    peer = ToyPeer(1)
    room = Room(peer)
    one = transfer(0, 0)

    async def story() -> None:
        await room.intake.submit([one.raw])
        room.gossip.serve_transactions(peer, [one.hash] * 1_000)  # type: ignore[arg-type]
        assert peer.take() == [(Kind.TRANSACTIONS, [[one.raw]])]

    play(room, story)


def test_hashes_of_what_we_have_or_had_are_not_asked_for() -> None:
    peer = ToyPeer(1)
    room = Room(peer)
    waiting, included, unknown = transfer(0, 0), transfer(1, 0), transfer(2, 0)

    async def story() -> None:
        await room.intake.submit([waiting.raw])
        room.gossip.note_included([included])
        await settle()
        peer.take()
        hashes = [waiting.hash, included.hash, unknown.hash]
        room.gossip.receive_hashes(peer, hashes)  # type: ignore[arg-type]
        assert peer.take() == [(Kind.GET_TRANSACTIONS, [[unknown.hash]])]

    play(room, story)


def test_votes_go_on_only_to_who_has_them_not_from_their_origin() -> None:
    origin, near, far = ToyPeer(1, 2), ToyPeer(2, 1), ToyPeer(3)
    room = Room(origin, near, far)
    room.gossip.relay(b"vote", origin)  # type: ignore[arg-type]
    assert (origin.frames, near.frames) == ([], [])
    assert far.frames == [(Kind.CONSENSUS, [b"vote"])]
    room.gossip.relay(b"ours", None)
    assert all(peer.frames[-1] == (Kind.CONSENSUS, [b"ours"]) for peer in (origin, near, far))
    room.executor.shutdown()
