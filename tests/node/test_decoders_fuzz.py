"""Whatever bytes come from the network, a decoder answers with its own error, quickly.

Mutations of good messages go deeper than random bytes. The deep form runs for longer.
"""

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.block import (
    Certificate,
    decode_block,
    decode_body,
    decode_certificate,
    decode_header,
    encode_block,
    encode_body,
)
from ledger.chain import Chain
from ledger.consensus.messages import Kind as VoteKind
from ledger.consensus.messages import (
    Message,
    Network,
    Status,
    Vote,
    decode_message,
    decode_status,
    sign_vote,
)
from ledger.crypto.address import address_of
from ledger.errors import LedgerError
from ledger.genesis import Genesis
from ledger.receipt import decode_receipts, encode_receipts
from ledger.store.memory import MemoryStore
from ledger.transaction import decode_transaction, sign_transaction
from ledger.trie.nodes import decode_node
from node.compact import Compact, decode_proposal
from node.errors import PeerError
from node.peers.frames import Kind, decode_frame, encode_frame
from node.peers.identity import recover_peer
from node.sync.headers import Trusted, link_headers, read_members
from node.sync.nodes import find_children, replay

QUICK, DEEP = 400, 5_000
SECONDS_MAX = 2.0
"""Of processor for one small input, whatever else the machine does."""

KEY = b"\1" * 32
GENESIS = Genesis(name="toy", chain_id=1947, timestamp=1, validators=(address_of(KEY),))
CHAIN = Chain(MemoryStore(), GENESIS)
PAID = [
    sign_transaction(KEY, chain_id=1947, nonce=0, to=bytes(20), gas=30_000, gas_price=0),
    sign_transaction(
        KEY, chain_id=1947, nonce=1, to=None, gas=90_000, max_fee=2, max_priority_fee=1,
        data=b"\xef\x57\x4c\x01", access_list=(),
    ),
]  # fmt: skip
BLOCK = CHAIN.build(PAID[:1], 5, address_of(KEY)).block
EXECUTED = CHAIN.commit(BLOCK, Certificate(1, 0, BLOCK.hash, (bytes(65),)), None)
DOMAIN = Network(1947, CHAIN.genesis_hash)
VOTE = sign_vote(KEY, DOMAIN, Vote(VoteKind.PROPOSAL, 1, 0, BLOCK.hash, None, b""))
PREPARE = sign_vote(KEY, DOMAIN, Vote(VoteKind.PREPARE, 1, 0, BLOCK.hash, None, b""))
CHANGE = sign_vote(KEY, DOMAIN, Vote(VoteKind.ROUND_CHANGE, 1, 1, BLOCK.hash, 0, b""))
MESSAGE = Message(VOTE, encode_block(BLOCK), (CHANGE,), (PREPARE,)).encode()
LEAF = CHAIN.state_at().prove_account(address_of(KEY))


class Somebody:
    """As much of a peer as a decoder needs."""

    address = bytes(20)
    version = 2

    def __init__(self) -> None:
        self.known: set[bytes] = set()

    def send(self, *_: Any) -> None:
        pass


def read_compact(data: bytes) -> object:
    delivered: list[object] = []
    end = Compact(lambda _: None, lambda: 0, lambda *said: delivered.append(said))
    end.receive(Somebody(), data, BLOCK.header.encode(), [PAID[0].raw])  # type: ignore[arg-type]
    return delivered


def read_links(data: bytes) -> object:
    trusted = Trusted(CHAIN.header(0), GENESIS.validators)
    certificate = CHAIN.certificate(1)
    assert certificate is not None
    return link_headers(trusted, [[data, certificate.encode(), b""]], lambda _: None)


DECODERS: dict[str, tuple[Callable[[bytes], object], bytes]] = {
    "frame": (decode_frame, encode_frame(Kind.STATUS, bytes(32), b"status", [bytes(20)])),
    "headers frame": (decode_frame, encode_frame(Kind.HEADERS, 1, [[b"a", b"b", b"c"]] * 3)),
    "state question": (
        decode_frame, encode_frame(Kind.GET_STATE, 1, True, [[b"", b"\1\2"], [b"code", bytes(32)]])
    ),
    "addresses": (decode_frame, encode_frame(Kind.ADDRESSES, [[bytes(20), "10.0.0.1", 9]])),
    "consensus message": (decode_message, MESSAGE),
    "status": (decode_status, Status(5, 1, True, ((1, 0, 3), (2, 0, 1))).encode()),
    "transaction": (decode_transaction, PAID[0].raw),
    "typed transaction": (decode_transaction, PAID[1].raw),
    "header": (decode_header, BLOCK.header.encode()),
    "linked header": (read_links, BLOCK.header.encode()),
    "block": (decode_block, encode_block(BLOCK)),
    "proposal": (decode_proposal(lambda _: None), encode_block(BLOCK)),
    "compact proposal": (read_compact, Message(VOTE, None, (CHANGE,), (PREPARE,)).encode()),
    "body": (decode_body, encode_body(PAID)),
    "certificate": (decode_certificate, Certificate(1, 0, bytes(32), (bytes(65),) * 3).encode()),
    "receipts": (decode_receipts, encode_receipts(EXECUTED.receipts)),
    "trie node": (decode_node, LEAF[0]),
    "account node": (lambda data: find_children(b"", b"", data, lambda _: None), LEAF[-1]),
    "chunk of a state": (
        lambda data: replay([(b"", b"", CHAIN.head.state_root)], [data], [], deep=True), LEAF[0]
    ),
    "members": (read_members, bytes(40)),
    "proof of identity": (lambda data: recover_peer(bytes(32), data), VOTE.signature),
}  # fmt: skip

WAYS = st.sampled_from(["flip", "cut", "insert", "repeat"])
CHANGES = st.lists(
    st.tuples(WAYS, st.integers(0, 2**16), st.binary(max_size=9)), min_size=1, max_size=6
)


def mutate(data: bytes, changes: list[tuple[str, int, bytes]]) -> bytes:
    for how, number, extra in changes:
        at = number % (len(data) + 1)
        if how == "flip" and at < len(data):
            data = data[:at] + bytes([data[at] ^ (1 + number % 255)]) + data[at + 1 :]
        elif how == "cut":
            data = data[:at]
        elif how == "insert":
            data = data[:at] + extra + data[at:]
        elif how == "repeat":
            data = data[:at] + data[max(0, at - 9) : at] * 40 + data[at:]
    return data


def find_seconds(decode: Callable[[bytes], object], data: bytes) -> float:
    """It answers, or refuses in its own words; anything else would end a task of the node. How
    long that kept the processor."""
    started = time.process_time()
    try:
        decode(data)
    except (LedgerError, PeerError) as error:
        assert str(error)
    return time.process_time() - started


@pytest.mark.parametrize("name", DECODERS)
def test_the_good_message_is_read(name: str) -> None:
    decode, good = DECODERS[name]
    assert decode(good)


NAMES = st.sampled_from(sorted(DECODERS))


@given(name=NAMES, changes=CHANGES)
@settings(max_examples=QUICK, deadline=None)
def test_a_changed_message_is_read_or_refused(
    name: str, changes: list[tuple[str, int, bytes]]
) -> None:
    decode, good = DECODERS[name]
    assert find_seconds(decode, mutate(good, changes)) < SECONDS_MAX


@given(name=NAMES, data=st.binary(max_size=400))
@settings(max_examples=QUICK // 2, deadline=None)
def test_any_bytes_are_read_or_refused(name: str, data: bytes) -> None:
    assert find_seconds(DECODERS[name][0], data) < SECONDS_MAX


@pytest.mark.deep
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("name", DECODERS)
@given(changes=CHANGES)
@settings(max_examples=DEEP, deadline=None)
def test_a_changed_message_is_read_or_refused_for_long(
    name: str, changes: list[tuple[str, int, bytes]]
) -> None:
    decode, good = DECODERS[name]
    assert find_seconds(decode, mutate(good, changes)) < SECONDS_MAX


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize(
    "bomb",
    [b"\x91" * 300_000, b"\x90" * 300_000, b"\xdd\xff\xff\xff\xff" * 9, b"\xc0" * 300_000,
     b"\xfb\xff\xff\xff\xff" + b"\xc1" * 300_000, b"\xdf\x7f\xff\xff\xff", b"\xc6\xff\xff\xff\xff"],
    ids=["deep", "wide", "lengths", "rlp wide", "rlp long", "map", "bytes"],
)  # fmt: skip
def test_bombs_are_cheap(name: str, bomb: bytes) -> None:
    assert find_seconds(DECODERS[name][0], bomb) < SECONDS_MAX
