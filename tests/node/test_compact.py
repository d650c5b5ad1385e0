"""Proposals as hashes: what lacks is asked for, and whoever sends a false one answers for it."""

from collections.abc import Callable
from typing import Any

import pytest

from ledger.block import Block, decode_block, decode_header, encode_block
from ledger.chain import Chain
from ledger.consensus.messages import Kind as VoteKind
from ledger.consensus.messages import Message, Network, Vote, decode_message, sign_vote
from ledger.crypto.address import address_of
from ledger.encoding.packed import pack
from ledger.errors import EncodingError
from ledger.genesis import Genesis
from ledger.store.memory import MemoryStore
from ledger.transaction import Transaction, sign_transaction
from node import compact
from node.compact import Compact, decode_proposal
from node.errors import PeerError
from node.peers.frames import Kind, decode_frame
from node.peers.seen import SeenSet

KEY = b"\1" * 32
GENESIS = Genesis(name="toy", chain_id=1947, timestamp=1, validators=(address_of(KEY),))
MIXED: tuple[dict[str, Any], ...] = (
    {"gas_price": 0},
    {"gas_price": 0, "type": 1},
    {"max_fee": 0, "max_priority_fee": 0},
)
TO: dict[str, Any] = {"chain_id": 1947, "to": bytes(20), "gas": 40_000, "data": b"\1" * 50}
MADE = [sign_transaction(KEY, nonce=n, **TO, **MIXED[n % 3]) for n in range(12)]
CHAIN = Chain(MemoryStore(), GENESIS)
BLOCK = CHAIN.build(MADE, 5, address_of(KEY)).block
PROPOSED = Vote(VoteKind.PROPOSAL, 1, 0, BLOCK.hash, None, b"")
MESSAGE = Message(
    sign_vote(KEY, Network(1947, CHAIN.genesis_hash), PROPOSED), encode_block(BLOCK)
).encode()


class ToyPeer:
    def __init__(self, number: int = 1, version: int = 2) -> None:
        self.address = bytes([number]) * 20
        self.version = version
        self.known, self.likely = SeenSet(1_000), SeenSet(1_000)
        self.frames: list[tuple[Kind, list[Any]]] = []

    def send_frame(self, kind: Kind, frame: bytes) -> None:
        self.frames.append(decode_frame(frame))
        self.bytes = len(frame)

    def send(self, kind: Kind, *fields: Any) -> None:
        self.frames.append((kind, list(fields)))


class End:
    """One end: a pool of transactions, and what reached its engine."""

    def __init__(self, pool: list[Transaction], head: int = 0) -> None:
        self.pool = {one.hash: one for one in pool}
        self.got: list[bytes] = []
        self.compact = Compact(
            self.pool.get, lambda: head, lambda _, message: self.got.append(message)
        )


def sent_to(peer: ToyPeer, pool: list[Transaction] = MADE) -> tuple[Kind, list[Any]]:
    End(pool).compact.send(peer, MESSAGE)  # type: ignore[arg-type]
    return peer.frames[-1]


def test_what_both_have_goes_as_hashes_and_comes_out_as_it_was() -> None:
    peer = ToyPeer()
    for index, one in enumerate(MADE):
        (peer.known if index % 2 else peer.likely).add(one.hash)
    kind, fields = sent_to(peer)
    assert kind is Kind.COMPACT
    assert fields[2] == [one.hash for one in MADE]
    assert peer.bytes < len(MESSAGE) - len(MADE) * 60
    end = End(MADE)
    end.compact.receive(peer, *fields)  # type: ignore[arg-type]
    assert end.got == [MESSAGE]


def test_what_is_sent_again_takes_no_neighbours_word_for_what_the_other_has() -> None:
    peer = ToyPeer()
    peer.known.add(MADE[0].hash)
    peer.likely.add(MADE[1].hash)
    End(MADE).compact.send(peer, MESSAGE, again=True)  # type: ignore[arg-type]
    kind, fields = peer.frames[-1]
    assert kind is Kind.COMPACT
    assert fields[2] == [MADE[0].hash, *(one.raw for one in MADE[1:])]


def test_what_the_other_cannot_have_goes_along() -> None:
    peer = ToyPeer()
    for one in MADE[1:]:
        peer.known.add(one.hash)
    _, fields = sent_to(peer)
    assert fields[2][0] == MADE[0].raw
    end = End(MADE[1:])
    end.compact.receive(peer, *fields)  # type: ignore[arg-type]
    assert end.got == [MESSAGE]


def test_what_lacks_is_asked_for_once() -> None:
    sender, end, peer = End(MADE), End(MADE[3:]), ToyPeer()
    for one in MADE:
        peer.known.add(one.hash)
    sender.compact.send(peer, MESSAGE)  # type: ignore[arg-type]
    end.compact.receive(peer, *peer.frames.pop()[1])  # type: ignore[arg-type]
    assert end.got == []
    kind, (digest, indexes) = peer.frames.pop()
    assert (kind, digest, indexes) == (Kind.GET_PARTS, BLOCK.hash, [0, 1, 2])
    sender.compact.serve_parts(peer, digest, [0, 1, 2, 2, 2, 999])  # type: ignore[arg-type]
    kind, fields = peer.frames.pop()
    assert (kind, fields[1]) == (Kind.PARTS, [one.raw for one in MADE[:3]])
    end.compact.receive_parts(peer, *fields)  # type: ignore[arg-type]
    end.compact.receive_parts(peer, *fields)  # type: ignore[arg-type]  # a replay is ignored
    assert end.got == [MESSAGE]


def test_the_first_version_and_short_messages_go_whole() -> None:
    old = ToyPeer(version=1)
    assert sent_to(old) == (Kind.CONSENSUS, [MESSAGE])
    vote = Message(decode_message(MESSAGE).vote).encode()
    mined = pack([bytes(2_000)] * 3)  # a message of another engine
    for message in (vote, mined):
        peer = ToyPeer()
        End([]).compact.send(peer, message)  # type: ignore[arg-type]
        assert peer.frames == [(Kind.CONSENSUS, [message])]


def fields_of(known: bool = True) -> list[Any]:
    peer = ToyPeer()
    for one in MADE if known else ():
        peer.known.add(one.hash)
    return list(sent_to(peer)[1])


def _swap(fields: list[Any]) -> list[Any]:
    return [*fields[:2], fields[2][::-1]]


FALSE: dict[str, Callable[[list[Any]], list[Any]]] = {
    "others of the pool": _swap,
    "one left out": lambda f: [f[0], f[1], f[2][:-1]],
    "another header": lambda f: [f[0], CHAIN.head.encode(), f[2]],
    "no header": lambda f: [f[0], b"\xc0", f[2]],
    "no message": lambda f: [b"\xc0", f[1], f[2]],
    "a message with its block": lambda f: [MESSAGE, f[1], f[2]],
    "no vote": lambda f: [pack((1, None, None, (), ())), f[1], f[2]],
    "too many bytes": lambda f: [f[0], f[1], [bytes(2_000_001)]],
    "a false transaction along": lambda f: [f[0], f[1], [b"\xc0" * 40, *f[2][1:]]],
}


@pytest.mark.parametrize("name", FALSE)
def test_who_sends_a_false_proposal_answers_for_it(name: str) -> None:
    end = End(MADE)
    with pytest.raises(PeerError):
        end.compact.receive(ToyPeer(), *FALSE[name](fields_of()))  # type: ignore[arg-type]
    assert end.got == []


def test_false_parts_are_refused_and_none_is_no_crime() -> None:
    for raws in ([MADE[2].raw, MADE[3].raw], [b"x"]):
        end, peer = End(MADE[2:]), ToyPeer()
        end.compact.receive(peer, *fields_of())  # type: ignore[arg-type]
        with pytest.raises(PeerError):
            end.compact.receive_parts(peer, BLOCK.hash, raws)  # type: ignore[arg-type]
        assert end.got == []
    end, peer = End(MADE[2:]), ToyPeer()
    end.compact.receive(peer, *fields_of())  # type: ignore[arg-type]
    end.compact.receive_parts(peer, BLOCK.hash, [])  # type: ignore[arg-type]  # it forgot the block
    end.compact.receive_parts(ToyPeer(2), BLOCK.hash, [b"x"])  # type: ignore[arg-type]
    assert end.got == []


def test_an_answer_to_what_was_asked_before_a_proposal_came_again_is_no_crime() -> None:
    """A line of more than a second: the proposal is sent again before its parts have come."""
    end, peer = End(MADE[3:]), ToyPeer()
    end.compact.receive(peer, *fields_of())  # type: ignore[arg-type]
    end.pool[MADE[0].hash] = MADE[0]
    end.compact.receive(peer, *fields_of())  # type: ignore[arg-type]
    assert [fields[1] for _, fields in peer.frames] == [[0, 1, 2], [1, 2]]
    for first in (0, 1):
        raws = [one.raw for one in MADE[first:3]]
        end.compact.receive_parts(peer, BLOCK.hash, raws)  # type: ignore[arg-type]
    assert end.got == [MESSAGE]

    end, peer = End(MADE[2:]), ToyPeer()
    end.compact.receive(peer, *fields_of())  # type: ignore[arg-type]
    for raws in ([MADE[0].raw], [one.raw for one in MADE[:2]]):
        assert end.got == []
        end.compact.receive_parts(peer, BLOCK.hash, raws)  # type: ignore[arg-type]
    assert end.got == [MESSAGE], "what lacks now was asked for too"


def test_what_peers_lack_grows_no_memory() -> None:
    peer, sender = ToyPeer(), End(MADE)
    for one in MADE:
        sender.compact.send(peer, MESSAGE, again=True)  # type: ignore[arg-type]
        peer.known.add(one.hash)
    (outgoing,) = sender.compact._sent.values()
    assert outgoing is not None
    assert len(outgoing.frames) == compact.FRAMES_KEPT


def test_proposals_of_another_height_are_not_put_together() -> None:
    for head in (1, 7):
        end = End(MADE, head)
        end.compact.receive(ToyPeer(), *fields_of())  # type: ignore[arg-type]
        assert end.got == []


def test_what_waits_is_bounded_and_gone_with_its_peer() -> None:
    end = End([])
    peers = [ToyPeer(number) for number in range(1, 30)]
    for peer in peers:
        end.compact.receive(peer, *fields_of())  # type: ignore[arg-type]
    assert len(end.compact._waiting) == compact.WAITING_MAX
    for peer in peers:
        end.compact.forget(peer)  # type: ignore[arg-type]
    assert not end.compact._waiting


def test_a_body_put_under_an_honest_header_is_not_read_as_its_block() -> None:
    """Else who passes a proposal on could have the honest block found invalid."""
    decode = decode_proposal(lambda _: None)
    assert decode(encode_block(BLOCK)).hash == BLOCK.hash
    for transactions in ((), tuple(MADE[1:]), tuple(MADE[::-1])):
        with pytest.raises(EncodingError, match="not the one its header names"):
            decode(encode_block(Block(BLOCK.header, transactions)))
    assert decode_block(encode_block(BLOCK)).header == decode_header(BLOCK.header.encode())
