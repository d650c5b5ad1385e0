"""Peers over real sockets in TLS: who is let in, who is not and why, and which line stays."""

import asyncio
import time
from pathlib import Path

import pytest

from node.peers.connection import Peer, Rate
from node.peers.frames import Kind
from node.peers.identity import load_or_make_certificate
from node.peers.seen import SeenSet
from node.ports import free_ports
from tests.node.toy_nodes import ADDRESSES, GENESIS, Node, play, until


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
