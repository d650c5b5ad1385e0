"""What is asked of whom, and when: the task that keeps a node at the head of its network.

A few blocks behind, blocks are asked for one frame at a time, of whom the engine names. Far behind,
headers come first, up to the best head; then either the bodies under them, from several peers at
once, or, where that would take long or nobody keeps them, the state of a late block and only the
bodies after it. Not here: whether a block may be imported (the engine and the chain).
Source: DESIGN.md section 6.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any

from ledger.block import decode_block, decode_certificate, decode_header
from ledger.chain import Chain
from ledger.consensus.signer import DISTRUSTED, decode_record
from ledger.errors import LedgerError
from ledger.light import verify_certificate
from ledger.permissions import find_validators
from ledger.store.members import load_validators, save_changes, save_validators
from ledger.types import Address, Height
from node.log import Log
from node.peers.connection import Peer
from node.peers.frames import BLOCKS_PER_FRAME, HEADERS_PER_FRAME, Kind
from node.peers.network import PeerNetwork
from node.sync.bodies import Bodies, GetKnown, ImportBlock, check_body
from node.sync.certificates import Certificates, load_unchecked, mark_unchecked
from node.sync.headers import (
    Link,
    Seal,
    Trusted,
    find_own_seal,
    find_proofs,
    link_headers,
    verify_on_threads,
)
from node.sync.requests import Requests
from node.sync.snapshot import Snapshot

RETRY_S = 0.5
"""After an answer that did not help, before the next peer is asked."""
CATCHING_UP_BLOCKS = 2
"""Behind the best peer by so many blocks is catching up; one less is the pace of consensus."""
HEADERS_FIRST_BLOCKS = 2 * BLOCKS_PER_FRAME
"""From so many blocks behind on several peers are worth the headers' round trip."""
HEADERS_AHEAD_MAX = 4_096
"""Headers fetched before the bodies under them are, 4 MB; a snapshot needs all of them."""
SNAPSHOT_DEPTH = 8
"""A snapshot is of a block so far below the best head: several peers have it, and keep it long."""
SNAPSHOT_KEY = "sync/snapshot"
OWN_SEAL_KEY = "sync/own-seal"
HEIGHT_BYTES = 8


@dataclass(frozen=True, slots=True)
class SyncSettings:
    """`snapshot_blocks`: so far behind a state is fetched instead of executed; 0 for never. `own`
    is this node's address, and `seal` signs with its key, to find what it signed before."""

    snapshot_blocks: int = 0
    own: Address = bytes(20)
    seal: Seal | None = None


HeadersAnswer = tuple[Peer | None, list[list[bytes]]]
Adopt = Callable[[Height, Height], None]
"""Take the staged state as of a height for the head; the second is the highest block below it that
this node's own key signed, -1 if none."""


class Sync:
    """Follows the peers' heads in a task of its own."""

    def __init__(
        self,
        chain: Chain,
        network: PeerNetwork,
        import_block: ImportBlock,
        get_known: GetKnown,
        log: Log,
        *,
        executor: Executor | None = None,
        adopt: Adopt | None = None,
        settings: SyncSettings | None = None,
    ) -> None:
        self.requests = Requests(network, log)
        self.snapshot: Snapshot | None = None
        self._chain = chain
        self._network = network
        self._import = import_block
        self._get_known = get_known
        self._log = log
        self._executor = executor
        self._adopt = adopt
        self._settings = settings or SyncSettings()
        self.certificates = Certificates(chain, self.requests, executor, log)
        self._bodies = Bodies(chain.store, self.requests, import_block, get_known, executor)
        self._wanted: tuple[Height, Address | None] | None = None
        self._wake = asyncio.Event()
        self._needs_snapshot = False

    # What others see.

    def best_height(self) -> Height:
        """The highest head that a credible peer has told of, or our own."""
        heads = [peer.head_height for peer in self.requests.find_credible()]
        return max([self._chain.head.number, *heads])

    @property
    def is_behind(self) -> bool:
        """Whether we are catching up rather than following."""
        return self.best_height() - self._chain.head.number >= CATCHING_UP_BLOCKS

    def want(self, height: Height, peer: Address | None) -> None:
        """Fetch from `height` on, from this peer if it can be had (an engine's FetchBlock)."""
        self._wanted = (height, peer)
        self._wake.set()

    def note_status(self) -> None:
        """A peer told of its head: catch up if it is ahead by more than the pace of consensus."""
        if self.is_behind:
            self._wake.set()

    def receive(self, peer: Peer, kind: Kind, fields: list[Any]) -> None:
        """An answer to our request; one that nobody asked for is ignored."""
        self.requests.deliver(peer, kind, fields[0], fields[1:])

    def forget(self, peer: Peer) -> None:
        """A peer is gone: do not wait for it."""
        self.requests.forget(peer)

    # The task.

    async def run(self) -> None:
        """Catch up whenever there is something to catch up with, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while await self._fetch_some():
                pass

    async def _fetch_some(self) -> bool:
        """Come some blocks closer; whether to go on at once."""
        first = self._chain.head.number + 1
        if self._find_far(first + HEADERS_FIRST_BLOCKS):
            self._wanted = None
            if not await self._catch_up():
                await asyncio.sleep(RETRY_S)
            return self.is_behind
        peers = self._choose_peers(first)
        return await self._fetch_blocks(peers, first) if peers else False

    # Far behind.

    async def _catch_up(self) -> bool:
        """Headers, then bodies or a state; whether the head moved."""
        head = self._chain.head.number
        best = max(peer.head_height for peer in self._find_far(head + 1))
        bound = self._settings.snapshot_blocks
        wants_snapshot = self._needs_snapshot or 0 < bound <= best - head
        if wants_snapshot and self._adopt is not None:
            if await self._fetch_snapshot(best):
                self._needs_snapshot = False
            return self._chain.head.number > head
        await self._fetch_headers(min(best, head + HEADERS_AHEAD_MAX))
        last = self._chain.store.staging.ahead_height()
        while _overlap(load_unchecked(self._chain.store), range(head + 1, last + 1)):
            if not await self.certificates.check_some():  # of a snapshot that came to nothing
                return False
        if last > head and not await self._bodies.run(head + 1, last):
            # Nobody showed even the first: they keep no bodies so old, and their state has to do.
            self._needs_snapshot = self._chain.head.number == head and self._has_peers(head + 1)
        return self._chain.head.number > head

    def _find_far(self, height: Height) -> list[Peer]:
        credible = self.requests.find_credible()
        return [peer for peer in self.requests.find_able(height) if peer in credible]

    def _has_peers(self, height: Height) -> bool:
        return bool(self.requests.find_able(height))

    async def _fetch_headers(self, target: Height, *, every: bool = True) -> bool:
        """Keep certified headers up to a height; whether all of them are there.

        Without `every` only the certificates that prove them are checked (`certificates`).
        """
        trusted = self._find_trusted()
        asked: asyncio.Task[HeadersAnswer] | None = None
        try:
            # What a peer claims that was silent meanwhile is not waited for.
            while trusted.header.number < min(target, self.best_height()):
                first = trusted.header.number + 1
                peer, rows = await (asked or self._ask_headers(first, target))
                asked = None
                if peer is None:
                    return False
                if not rows:
                    self._leave(peer, first)
                    continue
                try:
                    find_override = partial(find_validators, self._chain.genesis)
                    links, after = link_headers(trusted, rows, find_override)
                    if after.header.number < min(target, self.best_height()):
                        # The next ones come while these are checked.
                        following = self._ask_headers(after.header.number + 1, target)
                        asked = asyncio.create_task(following)
                    await self._verify(links if every else find_proofs(links))
                except LedgerError as error:
                    self._network.penalise(peer, f"a header that is not certified: {error}")
                    if asked is not None:
                        asked.cancel()
                        asked = None
                    continue
                self._note_own_seal(links)
                if not every:
                    mark_unchecked(self._chain.store, first, after.header.number)
                self._keep(links, after)
                trusted = after
        finally:
            if asked is not None:
                asked.cancel()
        return trusted.header.number >= target

    async def _ask_headers(self, first: Height, target: Height) -> HeadersAnswer:
        """Whoever was asked, None where nobody has them, and what it said."""
        able = self.requests.find_able(first)
        if not able:
            return None, []
        count = min(HEADERS_PER_FRAME, target - first + 1)
        peer, answer = await self.requests.ask_one_of(able, Kind.GET_HEADERS, first, count)
        return peer, answer[0][:count] if answer else []

    async def _verify(self, links: list[Link]) -> None:
        """Check certificates on threads. Raises ProofError."""
        genesis = self._chain.genesis
        await verify_on_threads(links, genesis.chain_id, self._chain.genesis_hash, self._executor)

    def _note_own_seal(self, links: list[Link]) -> None:
        """Whether our own key signed what its record on disk knows nothing of: see `adopt`."""
        chain, seal, known = self._chain, self._settings.seal, self._load_height(OWN_SEAL_KEY)
        raw = chain.store.load_signer()
        record = decode_record(raw) if raw else DISTRUSTED
        if seal is None or record == DISTRUSTED or known >= record.lease[0]:
            return
        later = [link for link in links if link.header.number >= record.lease[0]]
        signed = find_own_seal(
            later, chain.genesis.chain_id, chain.genesis_hash, self._settings.own, seal
        )
        if signed > known:
            chain.store.put_durable(OWN_SEAL_KEY, signed.to_bytes(HEIGHT_BYTES, "big"))

    def _keep(self, links: list[Link], after: Trusted) -> None:
        """Headers that are certain now: on disk, with the validators that they name."""
        store = self._chain.store
        save_changes(store, [link.header.number for link in links if _changes(link.header)])
        for validators in {*(link.validators for link in links), after.validators}:
            save_validators(store, validators)
        head = self._chain.head.number  # consensus may have been quicker
        store.staging.append_headers([link.row for link in links if link.header.number > head])

    def _find_trusted(self) -> Trusted:
        """The last header kept: of the chain, or one that was certified ahead of it."""
        chain = self._chain
        height = chain.store.staging.ahead_height()
        kept = chain.store.staging.get_ahead(height) if height > chain.head.number else None
        if kept is not None:
            header = decode_header(kept[0])
            validators = load_validators(chain.store, header.mix_hash)
            if validators is not None:
                return Trusted(header, validators)
        return Trusted(chain.head, chain.validators)

    def _load_height(self, key: str) -> Height:
        raw = self._chain.store.get_meta(key)
        return int.from_bytes(raw, "big") if raw else -1

    async def _fetch_snapshot(self, best: Height) -> bool:
        """Take the state of a late block for our own; whether that is done."""
        store = self._chain.store
        height = self._load_height(SNAPSHOT_KEY)
        if not self._chain.head.number < height <= best:
            height = max(best - SNAPSHOT_DEPTH, self._chain.head.number + 1)
        if not await self._fetch_headers(height, every=False):
            return False
        kept = store.staging.get_ahead(height)
        assert kept is not None and self._adopt is not None
        if self._load_height(SNAPSHOT_KEY) != height:
            store.staging.drop_staged()
            store.put_durable(SNAPSHOT_KEY, height.to_bytes(HEIGHT_BYTES, "big"))
        self._log.info("sync", "fetching the state of a late block", height=height, best=best)
        root = decode_header(kept[0]).state_root
        self.snapshot = Snapshot(store, self.requests, height, root)
        try:
            if not await self.snapshot.run():
                # Nobody has it any more; a newer one is begun, what is alike in both stays useful.
                if self._has_peers(height):
                    store.put_durable(SNAPSHOT_KEY, None)
                return False
            self._adopt(height, self._load_height(OWN_SEAL_KEY))
            self._log.info(
                "sync", "joined by a snapshot", height=height, nodes=self.snapshot.nodes,
                bytes=self.snapshot.bytes_fetched,
            )  # fmt: skip
        finally:
            self.snapshot = None
        store.put_durable_many({SNAPSHOT_KEY: None, OWN_SEAL_KEY: None})
        return True

    # A few blocks behind.

    async def _fetch_blocks(self, peers: list[Peer], first: Height) -> bool:
        """Ask one peer for the next blocks and import them; whether to go on at once."""
        peer, answer = await self.requests.ask_one_of(
            peers, Kind.GET_BLOCKS, first, BLOCKS_PER_FRAME
        )
        for raw_block, raw_certificate in answer[0] if answer else ():
            if not self._take(peer, raw_block, raw_certificate):
                break
            await asyncio.sleep(0)  # clients and votes have their turn between two blocks
        if self._chain.head.number < first:
            self._leave(peer, first)  # no blocks, or none that helped: what we have already, say
            await asyncio.sleep(RETRY_S)
        return self.is_behind

    def _leave(self, peer: Peer, first: Height) -> None:
        """Ask others before this peer, which claims blocks from `first` on and showed none."""
        self.requests.note_slow(peer)
        peer.head_height = first - 1  # until its next status

    def _choose_peers(self, first: Height) -> list[Peer]:
        """Who is to be asked: the one the engine named, then quick ones, then slow ones."""
        wanted, self._wanted = self._wanted, None
        able = [peer for peer in self._network.peers.values() if peer.head_height >= first]
        able.sort(key=lambda peer: (self.requests.is_slow(peer), -peer.head_height))
        if wanted is not None and wanted[0] >= first and wanted[1] is not None:
            named = self._network.peers.get(wanted[1])
            if named is not None and not self.requests.is_slow(named):
                # else it says again and again to be ahead, and shows nothing
                return [named, *(peer for peer in able if peer is not named)]
        elif wanted is None and not self.is_behind:
            return []
        return able

    def _take(self, peer: Peer, raw_block: bytes, raw_certificate: bytes) -> bool:
        """Verify one block and import it; whether the next one may follow."""
        chain = self._chain
        try:
            block = decode_block(raw_block, self._get_known)
            certificate = decode_certificate(raw_certificate)
            if block.number <= chain.head.number:
                return True  # consensus was quicker
            if block.number != chain.head.number + 1:
                raise LedgerError(f"block {block.number} where {chain.head.number + 1} was due")
            verify_certificate(
                block.header,
                certificate,
                chain.validators,
                chain.genesis.chain_id,
                chain.genesis_hash,
            )
            check_body(block.header, block.transactions)
        except LedgerError as error:
            self._network.penalise(peer, f"a block that is not certified: {error}")
            return False
        return self._import(peer, block, certificate)


def _overlap(one: range, other: range) -> bool:
    """Whether two ranges of heights have any in common."""
    return max(one.start, other.start) < min(one.stop, other.stop)


def _changes(header: Any) -> bool:
    """Whether a header names other validators for the next block than for itself."""
    return bool(header.mix_hash != header.extra_data)
