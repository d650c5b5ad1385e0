"""Certificates that came with the headers of a snapshot and that nobody has checked yet.

A chain of headers is proved by the certificate of its last one and of those at which the validators
change; the others prove nothing more, and to check them all was half of a newcomer's work. But each
is kept to be shown to others as the proof of its block, and whoever sent it may have lied. So none
is shown before it was checked here: one at a time when it is asked for, all of them while idle. A
false one is asked for again. Nobody is blamed for it who passed it on unseen: nobody does.
"""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor

from ledger.block import Certificate, decode_certificate, decode_header
from ledger.chain import Chain
from ledger.encoding.packed import pack, unpack_items
from ledger.errors import LedgerError
from ledger.light import verify_certificate
from ledger.store.base import Store
from ledger.types import Address, Hash32, Height
from node.log import Log
from node.peers.connection import Peer
from node.peers.frames import Kind
from node.sync.requests import Requests

UNCHECKED_KEY = "sync/unchecked-certificates"
CHECKED_AT_ONCE = 512
"""In one step, as many as one frame of headers has: some 100 ms on a thread beside the loop."""

Row = Sequence[bytes]
"""A header and its certificate, and whatever else came with them."""


def load_unchecked(store: Store) -> range:
    """The heights among which certificates may be false."""
    raw = store.get_meta(UNCHECKED_KEY)
    return range(*unpack_items(raw, "range of heights", int, int)) if raw else range(0)


def save_unchecked(store: Store, heights: range) -> None:
    store.put_durable(UNCHECKED_KEY, pack((heights.start, heights.stop)) if heights else None)


def mark_unchecked(store: Store, first: Height, last: Height) -> None:
    """Before headers are kept whose certificates are not all checked."""
    old = load_unchecked(store)
    if old:
        first, last = min(first, old.start), max(last, old.stop - 1)
    if range(first, last + 1) != old:
        save_unchecked(store, range(first, last + 1))


def read_certificate(chain: Chain, height: Height) -> Certificate | None:
    """A block's certificate, which proves it; None where none is here that does."""
    certificate = chain.certificate(height)
    if certificate is not None and height in load_unchecked(chain.store):
        header = chain.header(height)
        sets = {header.extra_data: chain.validators_of(header.extra_data)}
        row = (header.encode(), certificate.encode())
        if find_false(height, [row], sets, chain.genesis.chain_id, chain.genesis_hash):
            return None
    return certificate


def find_false(
    first: Height,
    rows: Sequence[Row],
    sets: Mapping[bytes, tuple[Address, ...] | None],
    chain_id: int,
    genesis_hash: Hash32,
) -> list[Height]:
    """The heights from `first` on whose certificate proves nothing. `sets` has the validators by
    their hash in a header."""
    false: list[Height] = []
    for height, (raw, certificate, *_) in enumerate(rows, first):
        try:
            header = decode_header(raw)
            validators = sets.get(header.extra_data) or ()
            verify_certificate(
                header, decode_certificate(certificate), validators, chain_id, genesis_hash
            )
        except LedgerError:  # what is wrong with it does not matter: another one is asked for
            false.append(height)
    return false


class Certificates:
    """Checks what is unchecked in one chain's store, and asks again for what is false."""

    def __init__(
        self, chain: Chain, requests: Requests, executor: Executor | None, log: Log
    ) -> None:
        self._chain = chain
        self._requests = requests
        self._executor = executor
        self._log = log

    async def check_some(self) -> bool:
        """Check the lowest ones; whether they are all good now, and there may be more."""
        store = self._chain.store
        unchecked = load_unchecked(store)
        first = unchecked.start
        rows = store.staging.get_headers(first, len(unchecked[:CHECKED_AT_ONCE]))
        if not rows:
            return False  # all done, or headers that were marked before they came
        false = await self._find_false(first, rows)
        if false and not await self._repair(first, rows, false):
            return False
        save_unchecked(store, range(first + len(rows), load_unchecked(store).stop))
        return True

    async def _find_false(self, first: Height, rows: Sequence[Row]) -> list[Height]:
        """As `find_false`, on a thread."""
        chain = self._chain
        named = {decode_header(raw).extra_data for raw, *_ in rows}
        sets = {digest: chain.validators_of(digest) for digest in named}
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._executor,
            find_false, first, rows, sets, chain.genesis.chain_id, chain.genesis_hash,
        )  # fmt: skip

    async def _repair(self, first: Height, rows: Sequence[Row], false: list[Height]) -> bool:
        """Ask for better ones of the same headers; whether there are."""
        self._log.seldom("sync", "false certificates came with a snapshot", heights=len(false))
        for peer in self._requests.find_able(first + len(rows) - 1):
            if not self._requests.is_busy(peer, Kind.GET_HEADERS):
                false = await self._repair_from(peer, first, rows, false)
            if not false:
                return True
        return False

    async def _repair_from(
        self, peer: Peer, first: Height, rows: Sequence[Row], false: list[Height]
    ) -> list[Height]:
        """What is still false after a peer was asked."""
        start, count = false[0], false[-1] - false[0] + 1
        answer = await self._requests.ask(peer, Kind.GET_HEADERS, start, count)
        theirs = answer[0][:count] if answer else []
        ours = rows[start - first :]
        if any(row[0] != own[0] for row, own in zip(theirs, ours, strict=False)):
            self._requests.network.penalise(peer, "headers that are not of this chain")
            return false
        wrong = set(await self._find_false(start, theirs))
        if wrong:
            self._requests.network.penalise(peer, f"false certificates, of block {min(wrong)} on")
        better = set(range(start, start + len(theirs))) - wrong
        self._chain.store.staging.append_headers(
            [
                (height, decode_header(raw).hash, raw, certificate)
                for height, (raw, certificate, *_) in enumerate(theirs, start)
                if height in better.intersection(false)
            ]
        )
        return [height for height in false if height not in better]
