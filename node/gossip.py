"""Flooding transactions and consensus messages, each once, and making good what was lost.

Who makes or receives something new passes it on to its neighbours, but not to those that are also
neighbours of whom it came from: they have it from there. (A peer's STATUS says who its neighbours
are.) So in a full mesh each thing crosses each line once, and in a ring it goes round. What a full
queue or a lost connection swallowed is found by comparing: peers tell each other the hashes of what
waits and was not seen at the other side, and ask for what they lack. Not here: blocks (`sync`).
"""

import asyncio
import time
from collections.abc import Iterable

from ledger.crypto.keccak import keccak256
from ledger.errors import (
    AlreadyKnown,
    EncodingError,
    InvalidSignature,
    NonceTooLow,
    TransactionTooLarge,
    WrongChainId,
)
from ledger.pool import Pool
from ledger.transaction import Transaction
from ledger.types import Hash32
from node.compact import COMPACT_BYTES_MIN, Compact
from node.errors import PeerError
from node.intake import Intake, decode_or_error
from node.peers.connection import Peer
from node.peers.frames import HASHES_PER_FRAME, TRANSACTIONS_PER_FRAME, Kind, encode_frame
from node.peers.network import PeerNetwork
from node.peers.seen import SeenSet

GATHER_S = 0.004
"""Transactions that come one by one under load share a frame; the first goes at once."""
SEEN_TRANSACTIONS = 32_768
"""Hashes of what was taken or can never be: more than a full pool; 9 MB with both generations."""
FRAME_BYTES_WANTED = 1_000_000
"""Of transactions in one frame: so a vote behind it waits no longer than a millisecond or two."""

DISHONEST = (EncodingError, InvalidSignature, TransactionTooLarge, WrongChainId)
"""What no honest peer passes on, whatever its head. The rest may be a matter of who is ahead."""


class Gossip:
    """Passes on what is new, over `network`; takes transactions in through `intake`."""

    def __init__(self, network: PeerNetwork, pool: Pool, compact: Compact) -> None:
        self._network = network
        self._compact = compact
        self._pool = pool
        self._seen = SeenSet(SEEN_TRANSACTIONS)
        self._fresh: list[tuple[Transaction, Peer | None]] = []
        self._waited: set[Hash32] = set()
        self._sent_at = 0.0
        self._sending = False

    # Transactions.

    def announce(self, transactions: Iterable[Transaction], origin: Peer | None) -> None:
        """Pass on what the pool has newly taken; `origin` is whom it came from."""
        for transaction in transactions:
            self._seen.add(transaction.hash)
            self._fresh.append((transaction, origin))
        if self._fresh and not self._sending:
            self._sending = True
            wait_s = GATHER_S - (time.monotonic() - self._sent_at)
            loop = asyncio.get_running_loop()
            if wait_s > 0:
                loop.call_later(wait_s, self._send_fresh)
            else:
                loop.call_soon(self._send_fresh)

    def note_included(self, transactions: Iterable[Transaction]) -> None:
        """What stands in a block is not asked for again."""
        for transaction in transactions:
            self._seen.add(transaction.hash)

    async def receive_transactions(self, peer: Peer, raws: list[bytes], intake: Intake) -> None:
        """Take in what a peer passed on. Raises PeerError for what no honest peer passes on."""
        new: list[Transaction | Exception] = []
        for raw in raws:
            transaction_hash = keccak256(raw)
            peer.known.add(transaction_hash)
            if transaction_hash not in self._seen:
                new.append(decode_or_error(raw, transaction_hash))
        if not new:
            return
        candidates = list(new)
        await intake.take(new, peer)
        for candidate, result in zip(candidates, new, strict=True):
            if not isinstance(result, Exception):
                continue
            if isinstance(result, DISHONEST) or isinstance(result.__cause__, InvalidSignature):
                raise PeerError(f"it passed on an invalid transaction: {result}")
            if isinstance(candidate, Transaction) and isinstance(
                result, NonceTooLow | AlreadyKnown
            ):
                self._seen.add(candidate.hash)

    def list_lasting(self) -> list[Hash32]:
        """What waits here and did so already when this was last asked: the rest is on its way to
        everybody by itself."""
        before, self._waited = self._waited, set(self._pool.hashes())
        return [one for one in self._pool.hashes() if one in before]

    def compare_pools(self, peer: Peer, hashes: Iterable[Hash32]) -> None:
        """Tell a peer which of these, which wait here, were not seen there."""
        hashes = [one for one in hashes if one not in peer.known]
        if hashes:
            peer.send(Kind.POOL_HASHES, hashes[:HASHES_PER_FRAME])

    def receive_hashes(self, peer: Peer, hashes: list[Hash32]) -> None:
        """Ask for what we lack of what waits at a peer."""
        lacking = []
        for transaction_hash in hashes:
            peer.known.add(transaction_hash)
            if transaction_hash not in self._seen:
                lacking.append(transaction_hash)
        if lacking:
            peer.send(Kind.GET_TRANSACTIONS, lacking)

    def serve_transactions(self, peer: Peer, hashes: list[Hash32]) -> None:
        """Send what a peer asked for and the pool still has, each once however often it is named:
        20,480 times the largest transaction would be 2.6 GB."""
        found = [self._pool.get(transaction_hash) for transaction_hash in dict.fromkeys(hashes)]
        self._send_to(peer, [transaction for transaction in found if transaction is not None])

    def _send_fresh(self) -> None:
        fresh, self._fresh = self._fresh, []
        self._sending = False
        self._sent_at = time.monotonic()
        everything = [transaction for transaction, _ in fresh]
        frames: list[bytes] | None = None
        for peer in list(self._network.peers.values()):
            wanted = [
                transaction
                for transaction, origin in fresh
                if transaction.hash not in peer.known
                and not (_has_it(peer, origin) and _note_likely(peer, transaction))
            ]
            if len(wanted) == len(everything):
                # Mostly every peer lacks everything: one frame is encoded for all.
                if frames is None:
                    frames = [_encode(part) for part in _split(everything)]
                self._send_to(peer, everything, frames)
            elif wanted:
                self._send_to(peer, wanted)

    def _send_to(
        self, peer: Peer, transactions: list[Transaction], frames: list[bytes] | None = None
    ) -> None:
        dropped = peer.dropped_frames
        for frame in frames or map(_encode, _split(transactions)):
            peer.send_frame(Kind.TRANSACTIONS, frame)
            if peer.dropped_frames != dropped:
                break  # its queue is full: what else would be encoded is dropped too
        if peer.dropped_frames == dropped:  # else the next comparison of pools makes it good
            for transaction in transactions:
                peer.known.add(transaction.hash)

    # Consensus messages.

    def relay(self, message: bytes, origin: Peer | None) -> None:
        """Pass on a member's message, ours without `origin`, to who has not had it from there."""
        if self._fresh and len(message) >= COMPACT_BYTES_MIN:
            self._send_fresh()  # the transactions of a proposal go before it
        for peer in list(self._network.peers.values()):
            if not _has_it(peer, origin):
                self._compact.send(peer, message)


def _has_it(peer: Peer, origin: Peer | None) -> bool:
    """Whether a peer is, or is a neighbour of, whom something came from."""
    return origin is not None and (peer is origin or peer.address in origin.neighbours)


def _note_likely(peer: Peer, transaction: Transaction) -> bool:
    """Remember that a peer gets it from a neighbour that we share. True."""
    peer.likely.add(transaction.hash)
    return True


def _encode(transactions: list[Transaction]) -> bytes:
    return encode_frame(Kind.TRANSACTIONS, [transaction.raw for transaction in transactions])


def _split(transactions: list[Transaction]) -> Iterable[list[Transaction]]:
    """Parts that fit a frame each."""
    part: list[Transaction] = []
    size = 0
    for transaction in transactions:
        if part and (
            len(part) >= TRANSACTIONS_PER_FRAME or size + len(transaction.raw) > FRAME_BYTES_WANTED
        ):
            yield part
            part, size = [], 0
        part.append(transaction)
        size += len(transaction.raw)
    if part:
        yield part
