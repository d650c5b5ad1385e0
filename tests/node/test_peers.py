"""Peers over real sockets in TLS: who is let in, who is not and why, and what floods do."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from io import StringIO
from pathlib import Path
from typing import Any

import aiohttp
import msgpack
import pytest

from ledger.crypto.address import address_of
from node.errors import PeerError
from node.log import Log
from node.peers import connection, network, strangers
from node.peers.connection import Identity, Peer, Rate
from node.peers.frames import FRAME_BYTES_MAX, HASHES_PER_FRAME, Kind, decode_frame, encode_frame
from node.peers.identity import (
    DIALER,
    LISTENER,
    compute_proof_digest,
    fingerprint_of,
    load_or_make_certificate,
    make_peer_tls,
    sign_proof,
)
from node.peers.network import Endpoint, PeerNetwork
from node.peers.seen import SeenSet
from node.ports import free_ports

CHAIN_ID = 1947
GENESIS = b"\x11" * 32
KEYS = [bytes([number]) * 32 for number in range(1, 7)]
ADDRESSES = [address_of(key) for key in KEYS]


class ToyHost:
    """Lets in who is on its list and keeps what arrives."""

    def __init__(self, allowed: list[bytes]) -> None:
        self.allowed = set(allowed)
        self.frames: list[tuple[bytes, Kind, list[Any]]] = []
        self.connected: list[bytes] = []

    def check_peer(self, address: bytes, *, dialed: bool) -> str | None:
        return None if address in self.allowed else "it is not on the list of allowed nodes"

    def peer_connected(self, peer: Peer) -> None:
        self.connected.append(peer.address)

    def peer_disconnected(self, peer: Peer) -> None:
        pass

    async def receive(self, peer: Peer, kind: Kind, fields: list[Any]) -> None:
        self.frames.append((peer.address, kind, fields))
        if kind is Kind.CONSENSUS and fields[0] == b"evil":
            raise PeerError("it sent evil")


class Node:
    """A PeerNetwork on a free port with a toy host."""

    def __init__(self, folder: Path, number: int, *, genesis: bytes = GENESIS) -> None:
        folder = folder / str(number)
        folder.mkdir(exist_ok=True)
        self.key, self.address = KEYS[number], ADDRESSES[number]
        self.host = ToyHost(ADDRESSES)
        certificate, self.fingerprint = load_or_make_certificate(folder)
        self.tls = make_peer_tls(certificate)
        self.identity = Identity(self.key, CHAIN_ID, genesis, f"node{number}")
        self.stream = StringIO()
        self.port = 0

    async def start(self, *others: "Node", port: int = 0, **options: Any) -> None:
        endpoints = tuple(
            Endpoint(one.identity.name, one.address, "127.0.0.1", one.port) for one in others
        )
        self.network = PeerNetwork(
            self.host,
            self.identity,
            self.address,
            endpoints,
            self.tls,
            self.fingerprint,
            Log("debug", self.stream),
            **options,
        )
        self.port = await self.network.start("127.0.0.1", port)

    async def stop(self) -> None:
        await self.network.stop()


PATIENCE_S = 30.0
"""For what takes milliseconds on an idle machine."""


async def until(condition: Callable[[], object], seconds: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)


def play(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 90))  # type: ignore[arg-type]


def test_two_nodes_prove_themselves_and_exchange_frames(tmp_path: Path) -> None:
    async def story() -> None:
        a, b = Node(tmp_path, 0), Node(tmp_path, 1)
        await a.start()
        await b.start(a)
        await until(lambda: a.network.peers and b.network.peers)
        assert a.network.peers[b.address].name == "node1"
        assert not a.network.peers[b.address].dialed
        assert b.network.peers[a.address].dialed
        a.network.broadcast(Kind.STATUS, GENESIS, b"status", [a.address])
        b.network.broadcast(Kind.TRANSACTIONS, [b"one", b"two"])
        await until(lambda: a.host.frames and b.host.frames)
        assert b.host.frames == [(a.address, Kind.STATUS, [GENESIS, b"status", [a.address]])]
        assert a.host.frames == [(b.address, Kind.TRANSACTIONS, [[b"one", b"two"]])]
        await b.stop()
        await a.stop()

    play(story)


def test_two_nodes_that_dial_each_other_end_with_one_connection(tmp_path: Path) -> None:
    async def story() -> None:
        a, b = Node(tmp_path, 0), Node(tmp_path, 1)
        a.port, b.port = free_ports(2)
        await asyncio.gather(a.start(b, port=a.port), b.start(a, port=b.port))

        def are_ends_of_one_connection() -> bool:
            one, other = a.network.peers.get(b.address), b.network.peers.get(a.address)
            if one is None or other is None or one.dialed is other.dialed:
                return False
            dialler, listener = (one, other) if one.dialed else (other, one)
            name = dialler.socket.get_extra_info("sockname")
            return name is not None and listener.endpoint == f"127.0.0.1:{name[1]}"

        since = time.monotonic()

        def have_been_for_long() -> bool:
            nonlocal since
            if not are_ends_of_one_connection():
                since = time.monotonic()
            return time.monotonic() - since > 0.5

        await until(have_been_for_long)
        a.network.broadcast(Kind.CONSENSUS, b"vote")
        await until(lambda: b.host.frames)
        assert b.host.frames == [(a.address, Kind.CONSENSUS, [b"vote"])]
        await a.stop()
        await b.stop()

    play(story)


@pytest.mark.parametrize("other_first", [False, True])
def test_of_two_connections_made_at_once_both_ends_keep_the_same(
    tmp_path: Path, other_first: bool
) -> None:
    """Each end sees them in an order of its own; the lower address's dial stays."""

    class Silent:
        async def receive(self) -> None:
            await asyncio.sleep(60)

    async def story() -> None:
        a, b = Node(tmp_path, 0), Node(tmp_path, 1)
        await a.start()
        await b.start()
        kept = {}
        for node, other in ((a, b), (b, a)):
            ours = Peer(Silent(), other.address, "", 1, "ours", dialed=True)
            theirs = Peer(Silent(), other.address, "", 1, "theirs", dialed=False)
            for peer in (theirs, ours) if other_first == (node is a) else (ours, theirs):
                node.network._register(peer)
            kept[node] = node.network.peers[other.address]
        lower = a if a.address < b.address else b
        assert {node: peer.dialed for node, peer in kept.items()} == {
            node: node is lower for node in (a, b)
        }
        # Later on the newer one stays: the peer lost power and came back.
        kept[a].connected_at -= 60
        back = Peer(Silent(), b.address, "", 1, "back", dialed=not kept[a].dialed)
        assert a.network._register(back)
        assert a.network.peers[b.address] is back
        await a.stop()
        await b.stop()

    play(story)


def test_a_peer_that_restarts_is_found_again(tmp_path: Path) -> None:
    async def story() -> None:
        a, b = Node(tmp_path, 0), Node(tmp_path, 1)
        port = a.port = free_ports(1)[0]
        await a.start(port=port)
        await b.start(a)
        for _ in range(2):
            await until(lambda: b.network.peers)
            await a.stop()
            await until(lambda: not b.network.peers)
            await a.start(port=port)
        await until(lambda: b.network.peers and a.network.peers)
        assert b.host.connected[:3] == [a.address] * 3
        await b.stop()
        await a.stop()

    play(story)


def test_who_is_not_on_the_list_is_told_so(tmp_path: Path) -> None:
    async def story() -> None:
        a, b = Node(tmp_path, 0), Node(tmp_path, 1)
        a.host.allowed.discard(b.address)
        await a.start()
        await b.start(a)
        await until(lambda: "not on the list" in b.stream.getvalue())
        assert "it turned us away: it is not on the list of allowed nodes" in b.stream.getvalue()
        assert not a.network.peers
        await b.stop()
        await a.stop()

    play(story)


def test_who_is_taken_off_the_list_is_sent_away(tmp_path: Path) -> None:
    async def story() -> None:
        a, b = Node(tmp_path, 0), Node(tmp_path, 1)
        await a.start()
        await b.start(a)
        await until(lambda: a.network.peers and b.network.peers)
        a.host.allowed.discard(b.address)
        a.network.recheck(lambda address: address in a.host.allowed)
        await until(lambda: not a.network.peers)
        await until(lambda: "no longer on the list" in b.stream.getvalue())
        assert not a.network.peers
        await b.stop()
        await a.stop()

    play(story)


def test_another_network_is_refused_by_name(tmp_path: Path) -> None:
    async def story() -> None:
        a, b = Node(tmp_path, 0), Node(tmp_path, 1, genesis=b"\x22" * 32)
        await a.start()
        await b.start(a)
        await until(lambda: "another network" in b.stream.getvalue())
        assert not a.network.peers
        await b.stop()
        await a.stop()

    play(story)


def test_a_node_with_another_key_than_the_file_says_is_refused(tmp_path: Path) -> None:
    async def story() -> None:
        a, b = Node(tmp_path, 0), Node(tmp_path, 1)
        await a.start()
        a.address = ADDRESSES[2]  # what b's network file says of that endpoint
        await b.start(a)
        await until(lambda: "the network file says" in b.stream.getvalue())
        assert not b.network.peers
        await b.stop()
        await a.stop()

    play(story)


def test_our_own_key_on_another_machine_is_refused(tmp_path: Path) -> None:
    async def story() -> None:
        a = Node(tmp_path, 0)
        await a.start()
        async with Raw(a) as raw:
            assert "our own key" in await raw.refusal_of(KEYS[0])
        await a.stop()

    play(story)


class Raw:
    """A dialler that says what it likes, byte for byte."""

    def __init__(self, target: Node, chain_id: int = CHAIN_ID, versions: Any = (1,)) -> None:
        self.target = target
        self.chain_id = chain_id
        self.versions = list(versions)
        self.nonce = b"\x07" * 32

    async def __aenter__(self) -> "Raw":
        self.session = aiohttp.ClientSession()
        try:
            self.socket = await self.session.ws_connect(
                f"wss://127.0.0.1:{self.target.port}/", ssl=self.target.tls[1], max_msg_size=0
            )
        except aiohttp.ClientError:
            await self.session.close()
            raise
        certificate = self.socket.get_extra_info("ssl_object").getpeercert(True)
        assert fingerprint_of(certificate) == self.target.fingerprint
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.socket.close()
        await self.session.close()

    async def hello(self) -> bytes:
        """Exchange HELLOs; the listener's nonce."""
        await self.socket.send_bytes(
            encode_frame(Kind.HELLO, self.versions, self.chain_id, GENESIS, self.nonce, "raw")
        )
        kind, fields = await self.receive()
        assert kind is Kind.HELLO
        nonce: bytes = fields[3]
        return nonce

    def proof(self, key: bytes, nonce: bytes, **changes: Any) -> bytes:
        claim: dict[str, Any] = {
            "role": DIALER,
            "version": 1,
            "chain_id": CHAIN_ID,
            "genesis_hash": GENESIS,
            "dialer_nonce": self.nonce,
            "listener_nonce": nonce,
            "fingerprint": self.target.fingerprint,
        } | changes
        return encode_frame(Kind.PROOF, sign_proof(key, compute_proof_digest(**claim)))

    async def receive(self) -> tuple[Kind, list[Any]]:
        message = await self.socket.receive(timeout=PATIENCE_S)
        assert message.type is aiohttp.WSMsgType.BINARY, message
        return decode_frame(message.data)

    async def refusal(self) -> str:
        while True:
            message = await self.socket.receive(timeout=PATIENCE_S)
            if message.type is not aiohttp.WSMsgType.BINARY:
                return "closed"
            kind, fields = decode_frame(message.data)
            if kind is Kind.REFUSED:
                return str(fields[0])

    async def refusal_of(self, key: bytes, **changes: Any) -> str:
        nonce = await self.hello()
        await self.socket.send_bytes(self.proof(key, nonce, **changes))
        return await self.refusal()

    async def enter(self, key: bytes) -> None:
        nonce = await self.hello()
        await self.socket.send_bytes(self.proof(key, nonce))
        await self.socket.send_bytes(encode_frame(Kind.READY))
        assert (await self.receive())[0] is Kind.PROOF
        assert (await self.receive())[0] is Kind.READY

    async def is_closed(self) -> bool:
        return await self.refusal() is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"role": LISTENER},  # our own proof shown back to us
        {"listener_nonce": b"\x09" * 32},  # a proof of another connection
        {"dialer_nonce": b"\x09" * 32},
        {"fingerprint": b"\x09" * 32},  # somebody in the middle with a certificate of his own
        {"chain_id": 1},
        {"genesis_hash": b"\x22" * 32},
        {"version": 2},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_proof_is_good_for_one_connection_only(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Whatever else was signed recovers to some key, but to none on the list."""

    async def story() -> None:
        a = Node(tmp_path, 0)
        await a.start()
        async with Raw(a) as raw:
            assert "not on the list" in await raw.refusal_of(KEYS[1], **changes)
        async with Raw(a) as raw:
            await raw.enter(KEYS[1])  # while the true claim opens the door
            await until(lambda: ADDRESSES[1] in a.network.peers)
        await a.stop()

    play(story)


def test_a_recorded_handshake_cannot_be_replayed(tmp_path: Path) -> None:
    async def story() -> None:
        a = Node(tmp_path, 0)
        await a.start()
        async with Raw(a) as raw:
            nonce = await raw.hello()
            recorded = raw.proof(KEYS[1], nonce)
            await raw.socket.send_bytes(recorded)
            assert (await raw.receive())[0] is Kind.PROOF
        async with Raw(a) as raw:
            await raw.hello()
            await raw.socket.send_bytes(recorded)
            assert "not on the list" in await raw.refusal()
        await a.stop()

    play(story)


def test_other_versions_and_chain_ids_are_told(tmp_path: Path) -> None:
    async def story() -> None:
        a = Node(tmp_path, 0)
        await a.start()
        async with Raw(a, versions=(8, 9)) as raw:
            await raw.hello()
            assert "protocol versions [8, 9], we speak 1, 2" in await raw.refusal()
        async with Raw(a, versions=(1, 9)) as raw:
            await raw.enter(KEYS[1])
        async with Raw(a, chain_id=1) as raw:
            await raw.hello()
            assert "another network: chain id 1" in await raw.refusal()
        await a.stop()

    play(story)


MALFORMED = {
    "no msgpack": b"\xc1",
    "half a frame": encode_frame(Kind.TRANSACTIONS, [b"x" * 100])[:40],
    "two frames in one": encode_frame(Kind.READY) + encode_frame(Kind.READY),
    "a map": msgpack.packb({1: 2}),
    "nothing": b"",
    "an empty array": msgpack.packb([]),
    "an unknown kind": msgpack.packb([99]),
    "a kind that is no number": msgpack.packb(["STATUS"]),
    "a true kind": msgpack.packb([True]),
    "too few fields": msgpack.packb([int(Kind.STATUS), 1]),
    "a negative height": msgpack.packb([int(Kind.GET_BLOCKS), -1, 1]),
    "a short hash": msgpack.packb([int(Kind.STATUS), b"\0" * 31, b"", []]),
    "a short address": msgpack.packb([int(Kind.STATUS), b"\0" * 32, b"", [b"\0" * 19]]),
    "texts for transactions": msgpack.packb([int(Kind.TRANSACTIONS), ["text"]]),
    "too many hashes": msgpack.packb(
        [int(Kind.POOL_HASHES), [b"\0" * 32] * (HASHES_PER_FRAME + 1)]
    ),
    "a bomb of arrays": b"\x91" * 5_000,
    "an array that claims to be endless": b"\xdd\xff\xff\xff\xff",
    "a second hello": encode_frame(Kind.HELLO, [1], 1, GENESIS, GENESIS, ""),
    "evil": encode_frame(Kind.CONSENSUS, b"evil"),
}


@pytest.mark.parametrize("frame", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_no_honest_peer_sends_ends_the_connection(tmp_path: Path, frame: bytes) -> None:
    async def story() -> None:
        a = Node(tmp_path, 0)
        await a.start()
        async with Raw(a) as raw:
            await raw.enter(KEYS[1])
            await raw.socket.send_bytes(frame)
            await until(lambda: "turned away" in a.stream.getvalue())
            await until(lambda: not a.network.peers)
            assert "internal error" not in a.stream.getvalue()
        async with Raw(a) as raw:
            assert "left alone" in await raw.refusal_of(KEYS[1])
        await a.stop()

    play(story)


def test_who_connects_and_says_nothing_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strangers, "SILENT_S", 3_600.0)
    monkeypatch.setattr(strangers, "SILENT_MAX", 3)

    async def read_end(reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""

    async def story() -> None:
        a = Node(tmp_path, 0)
        await a.start()

        async def say_nothing() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            return await asyncio.open_connection("127.0.0.1", a.port, ssl=a.tls[1])

        async with Raw(a) as raw:
            await raw.enter(KEYS[1])
            silent = [await say_nothing() for _ in range(5)]
            for reader, _ in silent[:2]:  # at once, for those that came after them
                await read_end(reader)
            monkeypatch.setattr(strangers, "SILENT_S", 0.2)
            reader, writer = await say_nothing()
            await read_end(reader)  # nobody came after it
            assert not silent[-1][0].at_eof()
            for one in (writer, *(writer for _, writer in silent)):
                one.close()
            assert a.network.peers  # who has entered stays
        await a.stop()

    play(story)


def test_a_stranger_may_send_no_more_than_a_handshake_takes(tmp_path: Path) -> None:
    """Unpacked, a frame of empty lists is some seventy times as large."""

    async def story() -> None:
        a = Node(tmp_path, 0)
        await a.start()
        async with Raw(a) as raw:
            bomb = b"\xdd" + (3_000).to_bytes(4, "big") + b"\x90" * 3_000
            await raw.socket.send_bytes(bomb)
            await until(lambda: "a frame of 3005 bytes, at most" in a.stream.getvalue())
        assert not a.host.connected
        await a.stop()

    play(story)


@pytest.mark.parametrize("text", [False, True], ids=["oversized", "text"])
def test_an_oversized_frame_and_a_text_end_the_connection(tmp_path: Path, text: bool) -> None:
    async def story() -> None:
        a = Node(tmp_path, 0)
        await a.start()
        async with Raw(a) as raw:
            await raw.enter(KEYS[1])
            if text:
                await raw.socket.send_str("hello")
            else:
                with contextlib.suppress(ConnectionError):  # it hangs up before the end
                    await raw.socket.send_bytes(b"\0" * (FRAME_BYTES_MAX + 1))
            await until(lambda: a.network.scores.seconds_left(ADDRESSES[1]) > 0)
            await until(lambda: not a.network.peers)
        assert a.host.connected == [ADDRESSES[1]]
        assert a.host.frames == []
        await a.stop()

    play(story)


class Breaking:
    """A line that cannot be written to any more when what was read of it is told."""

    def __init__(self, read_s: float) -> None:
        self.read_s = read_s

    async def receive(self) -> aiohttp.WSMessage:
        await asyncio.sleep(self.read_s)
        error = aiohttp.WebSocketError(aiohttp.WSCloseCode.MESSAGE_TOO_BIG, "far too large")
        return aiohttp.WSMessage(aiohttp.WSMsgType.ERROR, error, None)

    async def send_bytes(self, frame: bytes) -> None:
        raise aiohttp.ClientConnectionResetError("Cannot write to closing transport")


@pytest.mark.parametrize("read_s", [0, 0.1])
def test_who_broke_the_rules_has_done_so_though_the_line_broke_as_well(read_s: float) -> None:
    """A line is closed for what was read: a write at that moment fails, and says not why."""

    async def receive(*_: object) -> None:
        raise AssertionError

    async def story() -> None:
        for _ in range(20 if not read_s else 1):  # which of them ends first is by chance
            peer = Peer(Breaking(read_s), ADDRESSES[1], "", 1, "", dialed=False)
            peer.send(Kind.GET_BLOCKS, 1, 1)
            with pytest.raises(PeerError, match="far too large"):
                await peer.run(receive)

    play(story)


def test_strangers_that_say_nothing_are_shown_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "HANDSHAKES_MAX", 2)

    async def story() -> None:
        a = Node(tmp_path, 0)
        await a.start()
        monkeypatch.setattr(connection, "HANDSHAKE_S", 0.2)
        async with Raw(a), Raw(a):
            await until(lambda: "no handshake within" in a.stream.getvalue())
            await until(lambda: a.network._handshakes == 0)
            monkeypatch.setattr(connection, "HANDSHAKE_S", 3_600.0)
            async with Raw(a) as raw:
                await raw.enter(KEYS[1])
        async with Raw(a), Raw(a):
            await until(lambda: a.network._handshakes == 2)
            with pytest.raises(aiohttp.WSServerHandshakeError):
                async with Raw(a):
                    pass
        await a.stop()

    play(story)


def test_a_web_browser_is_told_what_this_port_is(tmp_path: Path) -> None:
    async def story() -> None:
        a = Node(tmp_path, 0)
        await a.start()
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"https://127.0.0.1:{a.port}/", ssl=a.tls[1]) as reply,
        ):
            assert reply.status == 426
        await a.stop()

    play(story)


def test_a_peer_that_does_not_read_loses_transactions_first_and_then_the_line(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        a = Node(tmp_path, 0)
        await a.start()
        async with Raw(a) as raw:
            await raw.enter(KEYS[1])
            await until(lambda: a.network.peers)
            peer = a.network.peers[ADDRESSES[1]]
            for _ in range(40):
                a.network.broadcast(Kind.TRANSACTIONS, [b"x" * 1_000_000])
            assert peer.dropped_frames > 0
            assert not peer.close_reason
            a.network.broadcast(Kind.BLOCKS, 1, [[b"x" * 2_000_000, b""]])
            assert "slower than we send" in peer.close_reason
            assert peer._queued_bytes <= connection.SEND_QUEUE_BYTES_MAX
        await a.stop()

    play(story)


def test_a_rate_lets_a_second_burst_and_then_paces() -> None:
    rate = Rate(100)
    assert sum(rate.take(1, 50.0) for _ in range(100)) == 0
    assert rate.take(50, 50.0) == pytest.approx(0.5)
    assert rate.take(1, 60.0) == 0


def test_a_seen_set_forgets_only_the_oldest() -> None:
    seen = SeenSet(10)
    assert all(seen.add(bytes([number])) for number in range(20))
    assert not any(seen.add(bytes([number])) for number in range(10, 20))
    assert seen.add(bytes([30]))
    assert bytes([0]) not in seen


def test_the_certificate_is_made_once_and_never_expires(tmp_path: Path) -> None:
    from cryptography import x509

    path, fingerprint = load_or_make_certificate(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_or_make_certificate(tmp_path) == (path, fingerprint)
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    assert certificate.not_valid_after_utc.year == 9999
    assert certificate.not_valid_before_utc.year == 1970
