"""A validator gone bad against a real node: bounded cost, a reason in its score, the line closed.

Three of four nodes run; the fourth's key is in the hands of somebody who knows the protocol.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import aiohttp
import msgpack
import pytest

from ledger.block import Block, Certificate, Header, encode_block
from ledger.consensus.messages import Kind as VoteKind
from ledger.consensus.messages import Message, Network, Vote, sign_vote
from ledger.crypto.address import address_of
from ledger.encoding.packed import pack
from ledger.transaction import sign_transaction
from node.exchange import Exchange
from node.keys import load_node_key
from node.node import Node
from node.peers import connection, network
from node.peers.connection import Identity, Peer, shake_hands
from node.peers.frames import FRAME_BYTES_MAX, Kind, encode_frame
from node.peers.identity import read_peer_fingerprint
from node.peers.network import PeerNetwork
from node.peers.scores import Scores
from tests.node.conftest import LocalNetwork

SECONDS_MAX = 8.0
"""Of the processor for any one attack: three nodes' and the attacker's."""
DRIPS_MAX, DRIP_S = 600, 0.1
PATIENCE_S = 60.0
"""For what takes a second or two on an idle machine."""


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    local = LocalNetwork(tmp_path_factory.mktemp("hostile"), 4)
    local.start(0, 1, 2)
    yield local
    local.close()


class Hostile:
    """The fourth validator's key, and a connection of its own with the first node."""

    def __init__(self, local: LocalNetwork) -> None:
        self.local = local
        self.node: Node = local.nodes[0]
        self.key = load_node_key(local.members[3].folder / "node.key", None)
        self.address = address_of(self.key)
        self.chain = self.node.chain
        self.drips = 0
        self.domain = Network(self.chain.genesis.chain_id, self.chain.genesis_hash)

    def vote(
        self, kind: VoteKind, height: int, round_: int, digest: bytes | None, **other: Any
    ) -> Vote:
        vote = Vote(kind, height, round_, digest, other.get("prepared"), b"")
        return sign_vote(other.get("key", self.key), other.get("domain", self.domain), vote)

    def attack(
        self,
        frames: list[bytes],
        *,
        raw: bytes = b"",
        drip: bytes = b"",
        patience_s: float = PATIENCE_S,
    ) -> str:
        """Send it all and read until the line is closed; what the node said, "" if it stayed."""
        self.node.network.scores = Scores()
        return self.local.run(self._attack(frames, raw, drip, patience_s), 150)

    async def _attack(self, frames: list[bytes], raw: bytes, drip: bytes, patience_s: float) -> str:
        identity = Identity(self.key, self.domain.chain_id, self.domain.genesis_hash, "evil")
        async with aiohttp.ClientSession() as session:
            port = self.local.members[0].port
            socket = await session.ws_connect(
                f"wss://127.0.0.1:{port}/", ssl=self.node.network._dialling_tls, max_msg_size=0
            )
            fingerprint = read_peer_fingerprint(socket.get_extra_info("ssl_object"))
            await shake_hands(
                socket, identity, fingerprint, "", dialed=True, check_address=lambda _: None
            )
            with suppress(ConnectionError, aiohttp.ClientError):  # it may be closed already
                for frame in frames:
                    await socket.send_bytes(frame)
                if raw:
                    socket._conn.transport.write(raw)
                    if not drip:  # nor read, for whoever reads answers pings
                        await self._await_presence(True)
                        await self._await_presence(False)
                for self.drips in range(DRIPS_MAX if drip else 0):
                    transport = socket._conn.transport if socket._conn else None
                    if transport is None or transport.is_closing():
                        break
                    transport.write(drip)
                    await asyncio.sleep(DRIP_S)
            said = await self._read(socket, patience_s)
            if said:
                await self._await_presence(False)
            return said

    async def _await_presence(self, present: bool) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while (self.address in self.node.network.peers) is not present:
            assert time.monotonic() < deadline, "it is still there" if not present else "not there"
            await asyncio.sleep(0.01)

    async def _read(self, socket: Any, patience_s: float) -> str:
        said = ""
        try:
            async with asyncio.timeout(patience_s):
                while True:
                    message = await socket.receive()
                    if message.type is not aiohttp.WSMsgType.BINARY:
                        return said or "closed"
                    kind, *fields = msgpack.unpackb(message.data)
                    if kind == Kind.REFUSED:
                        said = fields[0]
        except TimeoutError:
            return said
        except aiohttp.ClientError:  # it answers a ping of a line that is closed
            return said or "closed"
        finally:
            with suppress(aiohttp.ClientError):
                await socket.close()

    def reasons(self) -> str:
        return str(self.node.network.scores.describe(self.address)["reasons"])


@pytest.fixture
def hostile(three: LocalNetwork) -> Hostile:
    return Hostile(three)


def false_header(hostile: Hostile, **changes: Any) -> Header:
    head = hostile.chain.head
    fields = {name: getattr(head, name) for name in Header.FIELDS}
    fields |= {"number": head.number + 1, "parent_hash": head.hash, "coinbase": hostile.address}
    return Header(**(fields | changes))


def compact_of(hostile: Hostile, header: Header, parts: list[bytes]) -> bytes:
    vote = hostile.vote(VoteKind.PROPOSAL, header.number, 0, header.hash)
    return encode_frame(Kind.COMPACT, pack((1, vote, None, (), ())), header.encode(), parts)


def round_change_with_seals(hostile: Hostile) -> bytes:
    height, digest = hostile.chain.head.number + 1, b"\7" * 32
    prepare = hostile.vote(VoteKind.PREPARE, height, 0, digest)
    change = hostile.vote(VoteKind.ROUND_CHANGE, height, 1, digest, prepared=0)
    return encode_frame(Kind.CONSENSUS, Message(change, b"\xc0", (), (prepare,) * 10_000).encode())


def stranger_vote(hostile: Hostile, round_: int) -> bytes:
    """As another chain's member says it: here it is the word of nobody."""
    other = Network(1, b"\7" * 32)
    vote = hostile.vote(
        VoteKind.ROUND_CHANGE, hostile.chain.head.number + 1, round_, None, domain=other
    )
    return encode_frame(Kind.CONSENSUS, Message(vote).encode())


CLOSED: dict[str, tuple[Callable[[Hostile], list[bytes]], str]] = {
    "a frame too large": (lambda h: [bytes(FRAME_BYTES_MAX + 1)], "a broken message: Message size"),
    "nested too deep": (lambda h: [b"\x92\x08" + b"\x91" * 2_000_000], "no msgpack"),
    "four million empty lists": (
        lambda h: [b"\x92\x05" + (b"\xdc\x4e\x20" + b"\x90" * 20_000) + b"\xc0"],
        "no msgpack",
    ),
    "maps": (lambda h: [b"\x92\x05\x93" + b"\x80" * 3], "no msgpack"),
    "an unknown kind": (lambda h: [b"\x92\x7f\x01"], "unknown kind"),
    "a message nested too deep, again and again": (
        lambda h: [encode_frame(Kind.CONSENSUS, b"\x91" * 1_000_000)] * 15, "too often"
    ),
    "ten thousand seals, again and again": (
        lambda h: [round_change_with_seals(h)] * 15, "too often"
    ),
    "another chain's votes, again and again": (
        lambda h: [stranger_vote(h, n) for n in range(1, 40)], "too often"
    ),
    "another chain's transactions": (
        lambda h: [encode_frame(Kind.TRANSACTIONS, [
            sign_transaction(h.key, chain_id=1, nonce=0, to=bytes(20), gas=21_000, gas_price=0).raw
        ])],
        "invalid transaction",
    ),
    "a compact proposal with another header": (
        lambda h: [encode_frame(
            Kind.COMPACT,
            pack((1, h.vote(VoteKind.PROPOSAL, 1, 0, b"\7" * 32), None, (), ())),
            false_header(h).encode(),
            [],
        )],
        "another header than its vote",
    ),
    "a compact proposal with a false root": (
        lambda h: [compact_of(h, false_header(h, transactions_root=b"\7" * 32), [])],
        "not those of its header",
    ),
    "a status of garbage": (
        lambda h: [encode_frame(Kind.STATUS, bytes(32), b"\x91" * 9_000, [])], "its status"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CLOSED)
def test_what_no_honest_peer_sends_costs_little_and_ends_it(
    hostile: Hostile, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    make, reason = CLOSED[name]
    frames = make(hostile)
    # As on a machine that reads them all within a second: a busy one may read fewer than are too
    # often for an honest peer.
    stands_at = time.monotonic()
    monkeypatch.setattr(network, "time", SimpleNamespace(monotonic=lambda: stands_at))
    before = time.process_time()
    said = hostile.attack(frames)
    assert time.process_time() - before < SECONDS_MAX
    assert said, "the line stayed open"
    assert reason in hostile.reasons()
    assert hostile.address not in hostile.node.network.peers
    assert hostile.node.network.scores.seconds_left(hostile.address) > 0


def test_half_a_frame_and_then_nothing(hostile: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "HEARTBEAT_S", 1.0)
    masked = b"\x82\xfe" + (60_000).to_bytes(2, "big") + bytes(4)
    assert hostile.attack([], raw=masked + bytes(30_000))
    assert "half a frame" in hostile.reasons()


@pytest.mark.parametrize("drip", [b"\x00\x81" + bytes(5), b"\x8a\x80" + bytes(4)])
def test_a_message_that_never_ends_kept_alive_with_fragments_or_pongs(
    hostile: Hostile, monkeypatch: pytest.MonkeyPatch, drip: bytes
) -> None:
    """Four megabytes for each key, for ever: the heartbeat is content with any byte."""
    monkeypatch.setattr(connection, "QUIET_S", 0.5)
    begun = b"\x02\xfe" + (60_000).to_bytes(2, "big") + bytes(4) + bytes(60_000)
    assert hostile.attack([], raw=begun, drip=drip)
    assert hostile.drips < DRIPS_MAX - 1, "it was left alone as long as it liked"
    assert "half a frame" in hostile.reasons()


def test_who_has_nothing_to_say_is_asked_and_stays(
    three: LocalNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "QUIET_S", 1.0)
    first, second = three.nodes[1].network, three.nodes[2].network
    before = set(first.peers.values())
    three.run(renew(first))

    def is_kept() -> bool:
        """Who is not content with an answer ends each connection after two such times."""
        peer = first.peers.get(second._own_address)
        return (
            peer is not None
            and peer not in before
            and time.monotonic() - peer.connected_at > 4 * connection.QUIET_S
        )

    deadline = time.monotonic() + PATIENCE_S
    while not is_kept():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert first.scores.describe(second._own_address)["reasons"] == []


async def renew(network: PeerNetwork) -> None:
    for peer in list(network.peers.values()):
        peer.close("a new connection, please")


def test_who_asks_for_all_votes_again_and_again_is_read_slowly(
    hostile: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A status of 60 bytes may be answered with a block of 2 MB, and votes wait behind it."""
    monkeypatch.setattr(connection, "STATUSES_PER_S_MAX", 5)
    heard: list[float] = []
    receive = Exchange._receive_status

    def note(exchange: Exchange, peer: Peer, *fields: Any) -> None:
        if peer.address == hostile.address:
            heard.append(time.monotonic())
        receive(exchange, peer, *fields)

    monkeypatch.setattr(Exchange, "_receive_status", note)
    status = hostile.node.engine.status().encode()
    hostile.attack([encode_frame(Kind.STATUS, bytes(32), status, [])] * 500, patience_s=4)
    assert 3 < len(heard) < 5 * (heard[-1] - heard[0]) + 10


def far_votes(hostile: Hostile) -> list[bytes]:
    votes = [
        hostile.vote(VoteKind.ROUND_CHANGE, height, round_, None)
        for height in (10**6, 2**62)
        for round_ in (1, 2**62)
    ]
    return [encode_frame(Kind.CONSENSUS, Message(vote).encode()) for vote in votes] * 200


def replays(hostile: Hostile) -> list[bytes]:
    vote = hostile.vote(VoteKind.ROUND_CHANGE, hostile.chain.head.number + 1, 1, None)
    return [encode_frame(Kind.CONSENSUS, Message(vote).encode())] * 1_000


def unasked(hostile: Hostile) -> list[bytes]:
    seals = Certificate(1, 0, bytes(32), (bytes(65),) * 10_000).encode()
    return [
        encode_frame(Kind.BLOCKS, 1, [[b"\xc0", seals]] * 3),
        encode_frame(Kind.HEADERS, 1, [[b"\xc0", seals, b""]] * 3),
        encode_frame(Kind.BODIES, 1, [[b"\xc0", b""]]),
        encode_frame(Kind.STATE, 1, [b"\xc0"], []),
        encode_frame(Kind.PARTS, b"\7" * 32, [b"\xc0"]),
    ] * 20


def questions(hostile: Hostile) -> list[bytes]:
    return [
        encode_frame(Kind.GET_STATE, hostile.chain.head.number, True, [[b"", b""]] * 100),
        encode_frame(Kind.GET_STATE, 2**62, True, [[b"\7" * 20, b"\1" * 64]]),
        encode_frame(Kind.GET_HEADERS, 0, 2**62),
        encode_frame(Kind.GET_BODIES, 2**62, 2**62, True),
        encode_frame(Kind.GET_PARTS, b"\7" * 32, [9_999] * 10_000),
    ] * 10


def false_blocks(hostile: Hostile) -> list[bytes]:
    header = false_header(hostile, state_root=b"\7" * 32)
    vote = hostile.vote(VoteKind.PROPOSAL, header.number, 0, header.hash)
    return [encode_frame(Kind.CONSENSUS, Message(vote, encode_block(Block(header, ()))).encode())]


STAYS = [far_votes, replays, unasked, questions, false_blocks]


@pytest.mark.parametrize("make", STAYS, ids=lambda make: make.__name__)
def test_what_may_happen_to_an_honest_peer_is_borne_and_the_chain_goes_on(
    hostile: Hostile, make: Callable[[Hostile], list[bytes]]
) -> None:
    """Late, repeated or unwanted: ignored at little cost, with no effect on who is honest."""
    before = time.process_time()
    hostile.attack(make(hostile), patience_s=1)
    assert time.process_time() - before < SECONDS_MAX
    head = hostile.chain.head.number
    client = hostile.local.client(1)
    client.call(
        "eth_sendTransaction",
        {"from": "0x" + hostile.local.accounts[0].hex(), "to": "0x" + "11" * 20, "value": "0x1"},
    )
    deadline = time.monotonic() + PATIENCE_S
    while hostile.chain.head.number == head:
        assert time.monotonic() < deadline, "the chain stands still"
        time.sleep(0.02)
    client.close()
