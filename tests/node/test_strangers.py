"""Who dials and is no honest peer: what it may cost, and how it is sent away."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import aiohttp
import msgpack
import pytest

from node.errors import PeerError
from node.peers import connection, network, strangers
from node.peers.connection import Peer
from node.peers.frames import FRAME_BYTES_MAX, HASHES_PER_FRAME, Kind, decode_frame, encode_frame
from node.peers.identity import DIALER, LISTENER, compute_proof_digest, fingerprint_of, sign_proof
from tests.node.toy_nodes import ADDRESSES, CHAIN_ID, GENESIS, KEYS, PATIENCE_S, Node, play, until


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


def test_our_own_key_on_another_machine_is_refused(tmp_path: Path) -> None:
    async def story() -> None:
        a = Node(tmp_path, 0)
        await a.start()
        async with Raw(a) as raw:
            assert "our own key" in await raw.refusal_of(KEYS[0])
        await a.stop()

    play(story)


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
