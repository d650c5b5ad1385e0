"""Catching up from honest, slow and lying peers, without a socket."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from io import StringIO
from itertools import pairwise
from typing import Any

import pytest

from ledger.block import Block, Certificate, commit_digest, decode_block, encode_block
from ledger.chain import Chain
from ledger.crypto.address import address_of
from ledger.crypto.secp256k1 import CURVE_ORDER, sign_compact
from ledger.genesis import Genesis
from ledger.store.memory import MemoryStore
from ledger.transaction import sign_transaction
from node.exchange import serve
from node.log import Log
from node.peers.frames import BLOCKS_PER_FRAME, Kind
from node.sync import Sync, follow, requests
from node.sync.serve import Server

KEYS = [bytes([number]) * 32 for number in range(1, 5)]
VALIDATORS = tuple(sorted(address_of(key) for key in KEYS))
PAID = sign_transaction(KEYS[0], chain_id=1947, nonce=0, to=bytes(20), gas=21_000, gas_price=0)
GENESIS = Genesis(name="toy", chain_id=1947, timestamp=1, validators=VALIDATORS)


def seal(chain: Chain, block: Block, keys: Sequence[bytes] = KEYS[:3]) -> Certificate:
    digest = commit_digest(1947, chain.genesis_hash, block.number, 0, block.hash)
    signatures = tuple(sign_compact(key, digest) for key in keys)
    return Certificate(block.number, 0, block.hash, signatures)


def make_chain(blocks: int) -> Chain:
    chain = Chain(MemoryStore(), GENESIS)
    for number in range(blocks):
        block = chain.build((), 10 + number, VALIDATORS[0]).block
        chain.commit(block, seal(chain, block), None)
    return chain


class ToyPeer:
    """Answers GET_BLOCKS from a chain, changed by `twist`, or not at all."""

    version = 1

    def __init__(self, number: int, source: Chain, twist: Callable[..., Any] | None = None) -> None:
        self.address = bytes([number]) * 20
        self.source = source
        self.head_height = source.head.number
        self.twist = twist
        self.asked: list[int] = []
        self.silent = False
        self.server = Server(source)

    def __str__(self) -> str:
        return f"toy{self.address[0]}"

    def send(self, kind: Kind, *fields: Any) -> None:
        if kind is Kind.BLOCKS:
            self.served = fields
            return
        assert kind is Kind.GET_BLOCKS
        first, count = fields
        self.asked.append(first)
        if self.silent:
            return
        self.server.serve_blocks(self, first, count)  # type: ignore[arg-type]
        blocks = self.served[1]
        if self.twist is not None:
            blocks = self.twist(blocks)
        asyncio.get_running_loop().call_soon(
            self.sync.receive,
            self,
            Kind.BLOCKS,
            [first, blocks],  # type: ignore[attr-defined]
        )


class ToyNetwork:
    def __init__(self, peers: list[ToyPeer]) -> None:
        self.peers = {peer.address: peer for peer in peers}
        self.penalties: list[tuple[str, str]] = []
        self.slow: list[str] = []

    def note_slow(self, peer: ToyPeer, reason: str) -> None:
        self.slow.append(str(peer))

    def penalise(self, peer: ToyPeer, reason: str) -> None:
        self.penalties.append((str(peer), reason))
        del self.peers[peer.address]


LOG = Log(stream=StringIO())


def catch_up(
    chain: Chain, peers: list[ToyPeer], story: Callable[[Sync, ToyNetwork], Awaitable[None]]
) -> ToyNetwork:
    network = ToyNetwork(peers)

    def take(peer: Any, block: Block, certificate: Certificate) -> bool:
        chain.check(block, None)
        chain.commit(block, certificate, None)
        return True

    async def main() -> None:
        sync = Sync(chain, network, take, lambda _: None, LOG)  # type: ignore[arg-type]
        for peer in peers:
            peer.sync = sync  # type: ignore[attr-defined]
        task = asyncio.create_task(sync.run())
        try:
            await asyncio.wait_for(story(sync, network), 60)
        finally:
            task.cancel()

    asyncio.run(main())
    return network


async def reach(chain: Chain, height: int) -> None:
    while chain.head.number < height:
        await asyncio.sleep(0.005)


@pytest.fixture(scope="module")
def source() -> Chain:
    return make_chain(BLOCKS_PER_FRAME + 20)


def test_blocks_come_in_runs_from_one_peer(source: Chain) -> None:
    chain = make_chain(0)
    peer = ToyPeer(1, source)

    async def story(sync: Sync, network: ToyNetwork) -> None:
        assert sync.is_behind
        assert sync.best_height() == source.head.number
        sync.note_status()
        await reach(chain, source.head.number)
        assert not sync.is_behind

    catch_up(chain, [peer], story)
    assert chain.head.hash == source.head.hash
    assert peer.asked == [1, BLOCKS_PER_FRAME + 1]


def test_one_block_less_is_fetched_only_when_the_engine_asks(source: Chain) -> None:
    chain = make_chain(0)
    target = make_chain(1)
    peer = ToyPeer(1, target)

    async def story(sync: Sync, network: ToyNetwork) -> None:
        sync.note_status()
        await asyncio.sleep(0.05)
        assert peer.asked == []
        sync.want(1, peer.address)
        await reach(chain, 1)

    catch_up(chain, [peer], story)


def few_seals(chain: Chain) -> Callable[[list[Any]], list[Any]]:
    return lambda blocks: [_reseal(chain, raw, KEYS[:2]) for raw, _ in blocks]


def _reseal(chain: Chain, raw: bytes, keys: Sequence[bytes]) -> list[bytes]:
    return [raw, seal(chain, decode_block(raw), keys).encode()]


def _malleate(signature: bytes) -> bytes:
    s = CURVE_ORDER - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes([signature[64] ^ 1])


def malleated(chain: Chain) -> Callable[[list[Any]], list[Any]]:
    def twist(blocks: list[Any]) -> list[Any]:
        block = decode_block(blocks[0][0])
        good = seal(chain, block, KEYS[:2])
        signatures = (*good.signatures, _malleate(good.signatures[0]))
        return [[blocks[0][0], Certificate(block.number, 0, block.hash, signatures).encode()]]

    return twist


LIES: dict[str, Callable[[Chain], Callable[[list[Any]], list[Any]]]] = {
    "too few seals": few_seals,
    "one signer three times": lambda chain: (
        lambda blocks: [_reseal(chain, blocks[0][0], [KEYS[0]] * 3)]
    ),
    "a second seal with a high s": malleated,
    "strangers": lambda chain: (
        lambda blocks: [_reseal(chain, blocks[0][0], [bytes([9 + n]) * 32 for n in range(3)])]
    ),
    "the seal of another block": lambda chain: lambda blocks: [[blocks[0][0], blocks[1][1]]],
    "not the block asked for": lambda chain: lambda blocks: blocks[1:],
    "no block at all": lambda chain: lambda blocks: [[b"\xc0", blocks[0][1]]],
    "no certificate at all": lambda chain: lambda blocks: [[blocks[0][0], b""]],
    "another body": lambda chain: (
        lambda blocks: [
            [encode_block(Block(decode_block(blocks[0][0]).header, (PAID,))), blocks[0][1]]
        ]
    ),
    "another header": lambda chain: (
        lambda blocks: [[encode_block(Block(decode_block(blocks[1][0]).header, ())), blocks[0][1]]]
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_peer_is_left_at_its_first_bad_block_and_another_asked(
    source: Chain, lie: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "RETRY_S", 0.01)
    chain = make_chain(0)
    liar, honest = ToyPeer(1, source, LIES[lie](source)), ToyPeer(2, source)
    liar.head_height += 1  # it claims more, so it is asked first

    async def story(sync: Sync, network: ToyNetwork) -> None:
        sync.note_status()
        await reach(chain, source.head.number)

    network = catch_up(chain, [liar, honest], story)
    assert [name for name, _ in network.penalties] == ["toy1"]
    assert "a block that is not certified" in network.penalties[0][1]
    assert liar.asked == [1]
    assert chain.head.hash == source.head.hash


def test_a_peer_that_repeats_old_blocks_is_left_for_another(
    source: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What we have already is refused by no check, and must not be asked for for ever."""
    monkeypatch.setattr(follow, "RETRY_S", 0.01)
    chain = make_chain(3)
    old = [encode_block(chain.block(1)), seal(chain, chain.block(1)).encode()]
    liar, honest = ToyPeer(1, source, lambda blocks: [old]), ToyPeer(2, source)
    liar.head_height = 2**62

    async def story(sync: Sync, network: ToyNetwork) -> None:
        sync.note_status()
        while chain.head.number < source.head.number:
            liar.head_height = 2**62  # it says so again each second
            await asyncio.sleep(0.005)

    catch_up(chain, [liar, honest], story)
    assert liar.asked.count(4) == 1


def test_a_silent_peer_is_left_for_another(source: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "REPLY_S", 0.1)
    monkeypatch.setattr(follow, "RETRY_S", 0.01)
    chain = make_chain(0)
    silent, honest = ToyPeer(1, source), ToyPeer(2, source)
    silent.silent = True
    silent.head_height += 5

    async def story(sync: Sync, network: ToyNetwork) -> None:
        started = time.monotonic()
        sync.note_status()
        await reach(chain, source.head.number)
        assert time.monotonic() - started < 50

    network = catch_up(chain, [silent, honest], story)
    assert silent.asked.count(1) == 1
    assert honest.asked == [1, BLOCKS_PER_FRAME + 1]
    assert network.penalties == []  # slow is no crime
    assert network.slow == ["toy1"]


def test_who_says_again_and_again_to_be_one_ahead_and_shows_nothing_is_left(
    source: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine names whoever says so; a node one block behind would never catch up."""
    monkeypatch.setattr(requests, "REPLY_S", 0.1)
    monkeypatch.setattr(follow, "RETRY_S", 0.01)
    chain = make_chain(source.head.number - 1)
    liar, honest = ToyPeer(1, source), ToyPeer(2, source)
    liar.silent = True

    async def story(sync: Sync, network: ToyNetwork) -> None:
        started = time.monotonic()
        sync.want(source.head.number, honest.address)
        while chain.head.number < source.head.number:
            sync.want(source.head.number, liar.address)  # its status, twenty a second
            await asyncio.sleep(0.005)
            assert time.monotonic() - started < 50

    catch_up(chain, [liar, honest], story)
    assert len(liar.asked) == 1


def test_a_peer_that_leaves_is_not_waited_for(source: Chain) -> None:
    chain = make_chain(0)
    leaving, honest = ToyPeer(1, source), ToyPeer(2, source)
    leaving.silent = True
    leaving.head_height += 5

    async def story(sync: Sync, network: ToyNetwork) -> None:
        sync.note_status()
        while not leaving.asked:
            await asyncio.sleep(0.005)
        del network.peers[leaving.address]
        sync.forget(leaving)  # type: ignore[arg-type]
        await reach(chain, source.head.number)

    catch_up(chain, [leaving, honest], story)
    assert len(leaving.asked) == 1
    assert chain.head.hash == source.head.hash


def test_what_nobody_asked_for_is_ignored(source: Chain) -> None:
    chain = make_chain(0)
    peer, other = ToyPeer(1, source), ToyPeer(2, source)

    async def story(sync: Sync, network: ToyNetwork) -> None:
        sync.receive(other, Kind.BLOCKS, [1, [[b"", b""]]])  # type: ignore[arg-type]
        sync.note_status()
        sync.receive(other, Kind.BLOCKS, [1, [[b"", b""]]])  # type: ignore[arg-type]
        await reach(chain, source.head.number)

    assert catch_up(chain, [peer, other], story).penalties == []


def test_a_request_for_everything_gets_one_frame(source: Chain) -> None:
    asker = ToyPeer(1, source)
    server = Server(source)
    for first, count, expected in (
        (1, 2**60, BLOCKS_PER_FRAME),
        (0, 3, 3),  # from block 1: genesis has no certificate and everybody has it
        (source.head.number, 5, 1),
        (source.head.number + 1, 5, 0),
        (2**62, 5, 0),
    ):
        server.serve_blocks(asker, first, count)  # type: ignore[arg-type]
        assert len(asker.served[1]) == expected


def test_who_asks_for_much_is_heard_again_after_a_rest() -> None:
    times: list[float] = []

    def answer(number: int) -> None:
        times.append(time.perf_counter())
        time.sleep(0.02)

    async def story() -> None:
        for number in range(5):
            await serve(answer, number)

    asyncio.run(story())
    assert all(later - earlier >= 0.04 for earlier, later in pairwise(times))
