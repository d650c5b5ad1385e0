"""Blocks travel as the hashes of their transactions, which the pools at both ends hold already.

    COMPACT    [message without its block, header, [transaction hash, or the raw transaction, ...]]
    GET_PARTS  [block hash, [index, ...]]        of what the receiver's pool lacks
    PARTS      [block hash, [raw, ...]]

A PROPOSAL, or a ROUND-CHANGE with the block it is locked on, is sent so; who receives it puts the
message together as it was and hands it to the engine. The sender answers for its frame: what comes
out must have the transactions root of the header, and the header the hash that the vote names. If
parts do not come, another peer's answer to the next status brings them: nothing waits for a liar.
Not here: votes, who may propose (the engine).
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from ledger.block import Block, decode_block, decode_header
from ledger.consensus.messages import decode_vote
from ledger.crypto.keccak import keccak256
from ledger.encoding import rlp
from ledger.encoding.packed import pack, unpack
from ledger.errors import EncodingError, LedgerError
from ledger.transaction import Transaction
from ledger.trie.ordered import transactions_root
from ledger.types import Address, Hash32, Height
from node.errors import PeerError
from node.peers.connection import Peer
from node.peers.frames import SYNC_VERSION, Kind, encode_frame

COMPACT_BYTES_MIN = 1_000
"""Shorter messages gain nothing."""
BODY_BYTES_MAX = 2_000_000
"""As a block may have: transactions sent along are held to it before they are looked at."""
HEIGHTS_AHEAD_MAX = 3
"""Proposals for later heights are not put together: the engine would not take them."""
KEPT = 8
"""Blocks sent of which parts may be asked for; one a round, and rounds are few."""
FRAMES_KEPT = 2
"""Of a message, 2 MB each at worst: mostly all lack the same; who asks again may lack others."""
WAITING_MAX = 8
"""Proposals of all peers that wait for parts, 2 MB each at worst."""
WAITING_S = 5.0
HASH_BYTES = 32

GetKnown = Callable[[Hash32], Transaction | None]
K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class _Outgoing:
    """A message taken apart, and its frames by which transactions go along."""

    shell: bytes
    header: bytes
    raws: list[bytes]
    hashes: list[Hash32]
    frames: OrderedDict[tuple[int, ...], bytes]


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A proposal of which parts were asked for."""

    shell: bytes
    header: bytes
    parts: list[bytes]
    missing: list[int]
    since: float


class Compact:
    """Sends and puts together; `deliver` hands a whole message of a peer to the engine."""

    def __init__(
        self,
        get_known: GetKnown,
        get_head: Callable[[], Height],
        deliver: Callable[[Address, bytes], None],
    ) -> None:
        self._get_known = get_known
        self._get_head = get_head
        self._deliver = deliver
        self._sent: OrderedDict[bytes, _Outgoing | None] = OrderedDict()
        self._raws: OrderedDict[Hash32, list[bytes]] = OrderedDict()
        self._waiting: OrderedDict[tuple[Address, Hash32], _Waiting] = OrderedDict()

    # Sending.

    def send(self, peer: Peer, message: bytes, *, again: bool = False) -> None:
        """A consensus message, compact where that is shorter. Where it was lost before and goes
        `again`, so may have been what a neighbour should have passed on."""
        outgoing = self._take_apart(message) if peer.version >= SYNC_VERSION else None
        if outgoing is None:
            peer.send(Kind.CONSENSUS, message)
            return
        along = tuple(
            index
            for index, one in enumerate(outgoing.hashes)
            if one not in peer.known and (again or one not in peer.likely)
        )
        frame = outgoing.frames.get(along)
        if frame is None:
            parts = list(outgoing.hashes)
            for index in along:
                parts[index] = outgoing.raws[index]
            frame = encode_frame(Kind.COMPACT, outgoing.shell, outgoing.header, parts)
            _keep(outgoing.frames, along, frame, FRAMES_KEPT)
        peer.send_frame(Kind.COMPACT, frame)

    def serve_parts(self, peer: Peer, block_hash: Hash32, indexes: list[int]) -> None:
        """Transactions of a block sent lately, each once however often it is named."""
        raws = self._raws.get(block_hash, [])
        wanted = [raws[index] for index in dict.fromkeys(indexes) if index < len(raws)]
        peer.send(Kind.PARTS, block_hash, wanted)

    def _take_apart(self, message: bytes) -> _Outgoing | None:
        """Shell, header and transactions of a message with a block; None for one without."""
        if len(message) < COMPACT_BYTES_MIN:
            return None
        if message in self._sent:
            return self._sent[message]
        outgoing = None
        items = unpack(message, "consensus message")
        # Other engines' messages are of other shapes, and go whole.
        if type(items) is tuple and len(items) == 5 and type(items[2]) is bytes:
            version, vote, block, round_changes, prepares = items
            parsed = decode_block(block, self._get_known)
            raws = [transaction.raw for transaction in parsed.transactions]
            if raws:
                outgoing = _Outgoing(
                    pack((version, vote, None, round_changes, prepares)),
                    parsed.header.encode(),
                    raws,
                    [transaction.hash for transaction in parsed.transactions],
                    OrderedDict(),
                )
                self._raws.pop(parsed.hash, None)
                _keep(self._raws, parsed.hash, raws, KEPT)
            _keep(self._sent, message, outgoing, KEPT)
        return outgoing

    # Receiving.

    def receive(self, peer: Peer, shell: bytes, header: bytes, parts: list[bytes]) -> None:
        """Put a proposal together, or ask for what lacks. Raises PeerError."""
        digest = self._check(shell, header, parts)
        if digest is None:
            return
        filled, missing = list(parts), []
        for index, part in enumerate(parts):
            if len(part) == HASH_BYTES:
                peer.known.add(part)
                known = self._get_known(part)
                if known is None:
                    missing.append(index)
                else:
                    filled[index] = known.raw
        if not missing:
            self._complete(peer, shell, header, filled)
            return
        now = time.monotonic()
        waiting = _Waiting(shell, header, filled, missing, now)
        while self._waiting and now - next(iter(self._waiting.values())).since > WAITING_S:
            self._waiting.popitem(last=False)
        self._waiting.pop((peer.address, digest), None)
        _keep(self._waiting, (peer.address, digest), waiting, WAITING_MAX)
        peer.send(Kind.GET_PARTS, digest, missing)

    def receive_parts(self, peer: Peer, block_hash: Hash32, raws: list[bytes]) -> None:
        """What a proposal lacked; what nobody asked for is ignored. Raises PeerError."""
        waiting = self._waiting.get((peer.address, block_hash))
        if waiting is None or not raws:
            return
        named, filled = {keccak256(raw): raw for raw in raws}, list(waiting.parts)
        if not any(filled[index] in named for index in waiting.missing):
            raise PeerError("parts of a proposal with other hashes than it has there")
        for index in waiting.missing:
            if filled[index] not in named:
                return  # sent again meanwhile, and then more lacked: those are on their way
            filled[index] = named[filled[index]]
        del self._waiting[peer.address, block_hash]
        self._complete(peer, waiting.shell, waiting.header, filled)

    def forget(self, peer: Peer) -> None:
        """A peer is gone, and what was asked of it."""
        for key in [key for key in self._waiting if key[0] == peer.address]:
            del self._waiting[key]

    def _check(self, shell: bytes, header: bytes, parts: list[bytes]) -> Hash32 | None:
        """The hash of the block that a frame stands for; None where it is of another time."""
        try:
            items = unpack(shell, "compact proposal")
            if type(items) is not tuple or len(items) != 5 or items[2] is not None:
                raise EncodingError("a compact proposal is a message without its block")
            vote, digest = decode_vote(items[1]), decode_header(header).hash
        except LedgerError as error:
            raise PeerError(f"a compact proposal: {error}") from error
        if vote.digest != digest:
            raise PeerError("a compact proposal with another header than its vote names")
        if sum(map(len, parts)) > BODY_BYTES_MAX + HASH_BYTES * len(parts):
            raise PeerError("a compact proposal of more bytes than a block may have")
        head = self._get_head()
        return digest if head < vote.height <= head + HEIGHTS_AHEAD_MAX else None

    def _complete(self, peer: Peer, shell: bytes, header: bytes, raws: list[bytes]) -> None:
        if transactions_root(tuple(raws)) != decode_header(header).transactions_root:
            raise PeerError("a compact proposal whose transactions are not those of its header")
        version, vote, _, round_changes, prepares = unpack(shell, "compact proposal")
        block = _join_block(header, raws)
        message = pack((version, vote, block, round_changes, prepares))
        self._deliver(peer.address, message)


def _join_block(header: bytes, raws: Sequence[bytes]) -> bytes:
    """The RLP of a block; a transaction of type 0 is a list and stands in it as it is."""
    joined = b"".join(raw if raw[:1] >= b"\xc0" else rlp.encode_bytes(raw) for raw in raws)
    return rlp.encode_list_payload(header + rlp.encode_list_payload(joined) + b"\xc0")


def decode_proposal(get_known: GetKnown) -> Callable[[bytes], Block]:
    """The engine's way to read a block that came with a vote: its body must be its header's.

    Else whoever passes a proposal on could put other transactions into it, and the honest block
    would be found invalid. Raises EncodingError, InvalidTransaction.
    """
    return partial(_decode_proposal, get_known=get_known)


def _decode_proposal(raw: bytes, *, get_known: GetKnown) -> Block:
    block = decode_block(raw, get_known)
    root = transactions_root(tuple([one.raw for one in block.transactions]))
    if root != block.header.transactions_root:
        raise EncodingError("the body of a block is not the one its header names")
    return block


def _keep(kept: OrderedDict[K, V], key: K, value: V, size: int) -> None:
    """Put into a bounded map, which lets go of what came first."""
    kept[key] = value
    if len(kept) > size:
        kept.popitem(last=False)
