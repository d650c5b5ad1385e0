"""What a STATUS says and leaves out, and how a message goes to one peer again."""

from types import SimpleNamespace
from typing import Any

from ledger.consensus.messages import Status
from node.exchange import Exchange
from node.peers.frames import PROTOCOL_VERSIONS, STATUS_VERSION, Kind, decode_frame, encode_frame
from tests.node.test_compact import MADE, MESSAGE, End, ToyPeer

WHERE = Status(8, 0, False)


class Speaker(ToyPeer):
    """A peer as far as statuses need one; a `full` one drops what it is sent."""

    def __init__(self, number: int = 1, version: int = STATUS_VERSION) -> None:
        super().__init__(number, version)
        self.told: tuple[Any, Any] = (None, None)
        self.head_height, self.head_hash = 0, bytes(32)
        self.neighbours: frozenset[bytes] = frozenset()
        self.status_sent_at, self.dropped_frames, self.full = 0.0, 0, False

    def send(self, kind: Kind, *fields: Any) -> None:
        if self.full:
            self.dropped_frames += 1
        else:
            self.frames.append(decode_frame(encode_frame(kind, *fields)))


class Home:
    """One node around the exchange under test."""

    def __init__(self, *peers: Speaker) -> None:
        self.head = SimpleNamespace(hash=b"h" * 32, number=7)
        self.fed: list[Any] = []
        self.peers = {peer.address: peer for peer in peers}
        self.compact = End(MADE).compact
        self.exchange = Exchange(
            SimpleNamespace(  # type: ignore[arg-type]
                chain=SimpleNamespace(head=self.head, validators=()),
                engine=SimpleNamespace(status=lambda: WHERE),
                network=SimpleNamespace(peers=self.peers),
                interpreter=SimpleNamespace(feed=self.fed.append),
                sync=SimpleNamespace(note_status=lambda: None),
                compact=self.compact,
            )
        )

    def tell(self, peer: Speaker) -> tuple[Any, Any]:
        """Head hash and neighbours of the status that a peer is sent."""
        self.exchange.send_status(peer)  # type: ignore[arg-type]
        kind, (head_hash, encoded, neighbours) = peer.frames[-1]
        assert (kind, encoded) == (Kind.STATUS, WHERE.encode())
        return head_hash, neighbours


def test_a_status_leaves_out_what_has_not_changed() -> None:
    one, two = Speaker(1), Speaker(2)
    home = Home(one, two)
    assert home.tell(one) == (b"h" * 32, [two.address])
    assert home.tell(one) == (None, None)
    home.head.hash = b"i" * 32
    assert home.tell(one) == (b"i" * 32, None)
    del home.peers[two.address]
    assert home.tell(one) == (None, [])
    assert home.tell(one) == (None, None)


def test_of_21_nodes_it_takes_a_tenth_of_the_bytes() -> None:
    one = Speaker(1)
    home = Home(one, *map(Speaker, range(2, 21)))
    home.tell(one)
    sizes = [len(encode_frame(Kind.STATUS, *fields)) for _, fields in one.frames]
    home.tell(one)
    sizes.append(len(encode_frame(Kind.STATUS, *one.frames[-1][1])))
    assert sizes[1] * 10 < sizes[0]


def test_older_versions_are_told_everything_each_time() -> None:
    assert max(PROTOCOL_VERSIONS) == STATUS_VERSION
    for version in PROTOCOL_VERSIONS[:-1]:
        one, two = Speaker(1, version), Speaker(2)
        home = Home(one, two)
        for _ in range(3):
            assert home.tell(one) == (b"h" * 32, [two.address])


def test_what_a_full_queue_swallowed_is_told_again() -> None:
    one, two = Speaker(1), Speaker(2)
    home = Home(one, two)
    home.tell(one)
    home.head.hash = b"i" * 32
    one.full = True
    home.exchange.send_status(one)  # type: ignore[arg-type]
    one.full = False
    assert home.tell(one) == (b"i" * 32, None)


def test_what_is_left_out_stays_as_it_was() -> None:
    one = Speaker(1)
    receive = Home(one).exchange._receive_status
    receive(one, b"a" * 32, WHERE.encode(), [b"n" * 20])  # type: ignore[arg-type]
    receive(one, None, WHERE._replace(height=9).encode(), None)  # type: ignore[arg-type]
    assert (one.head_height, one.head_hash, one.neighbours) == (8, b"a" * 32, {b"n" * 20})
    receive(one, b"b" * 32, WHERE.encode(), [])  # type: ignore[arg-type]
    assert (one.head_hash, one.neighbours) == (b"b" * 32, frozenset())


def test_what_a_peer_lacks_goes_to_it_compact_where_it_understands_that() -> None:
    old, new = Speaker(1, 1), Speaker(2)
    home = Home(old, new)
    new.known.add(MADE[0].hash)
    for peer in (old, new):
        home.exchange.send_consensus(MESSAGE, peer.address)
    assert old.frames == [(Kind.CONSENSUS, [MESSAGE])]
    ((kind, fields),) = new.frames
    assert kind is Kind.COMPACT
    assert fields[2][:2] == [MADE[0].hash, MADE[1].raw]
