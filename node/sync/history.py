"""What is older than needed is let go; what a snapshot left out is checked and fetched while idle.

`store.bodies_days` says how old a block's body, receipts and places of transactions are kept; every
header with its certificate stays. A node that joined by a snapshot fetches what lies within that
time backwards, a frame at a time. Receipts prove themselves by their root; what of them no root
covers (the output of a failed transaction) is not taken from a peer. Tables are the store's.
"""

import asyncio
import time
from dataclasses import replace

from ledger.block import Header, decode_body
from ledger.chain import Chain
from ledger.crypto.address import contract_address
from ledger.errors import EncodingError, InvalidBlock, LedgerError
from ledger.receipt import Receipt, decode_receipts, encode_receipts
from ledger.transaction import Transaction
from ledger.trie.ordered import ordered_root
from ledger.types import Height
from node.log import Log
from node.peers.connection import Peer
from node.peers.frames import BODIES_PER_FRAME, Kind
from node.sync.bodies import check_body
from node.sync.follow import Sync

DAY_S = 86_400
PRUNED_AT_ONCE = 256
"""Bodies let go in one transaction: each rewrites its row, a Pi's card takes that in its stride."""
BUSY_S = 0.25
"""Between two steps, so that a node that lives at the head hardly notices."""
IDLE_S = 60.0
"""Between two looks where nothing was left to do, or nobody had what lacks."""


class History:
    """The bodies behind the head of one chain. `days` 0 keeps all."""

    def __init__(
        self,
        chain: Chain,
        sync: Sync,
        days: int,
        log: Log,
    ) -> None:
        self._chain = chain
        self._sync = sync
        self._requests = sync.requests
        self._days = days
        self._log = log

    async def run(self) -> None:
        """Let go of and fetch, until cancelled."""
        while True:
            worked = await self.step(time.time())
            await asyncio.sleep(BUSY_S if worked else IDLE_S)

    async def step(self, now_s: float) -> bool:
        """One transaction or one question; whether there may be more to do at once."""
        staging = self._chain.store.staging
        oldest = self._find_oldest(now_s)
        first = staging.bodies_from()
        if first < oldest:
            count = staging.prune_bodies(oldest, PRUNED_AT_ONCE)
            self._log.seldom("store", "old bodies are let go", below=first + count)
            return count > 0
        if not self._sync.is_behind and await self._sync.certificates.check_some():
            return True
        if first > max(1, oldest) and not self._sync.is_behind:
            return await self._fetch_before(first, max(1, oldest))
        return False

    def _find_oldest(self, now_s: float) -> Height:
        """The first block young enough to be kept whole; the states kept need theirs too."""
        if not self._days:
            return 0
        chain = self._chain
        limit_s = now_s - self._days * DAY_S
        low, high = 0, max(0, chain.head.number - chain.states_kept)
        while low < high:
            middle = (low + high) // 2
            if chain.header(middle).timestamp < limit_s:
                low = middle + 1
            else:
                high = middle
        return low

    async def _fetch_before(self, first: Height, oldest: Height) -> bool:
        start = max(oldest, first - BODIES_PER_FRAME)
        for peer in self._requests.find_able(first - 1):
            if self._requests.is_busy(peer, Kind.GET_BODIES):
                continue
            count = first - start
            answer = await self._requests.ask(peer, Kind.GET_BODIES, start, count, True)
            rows = answer[0][:count] if answer else []
            if not rows or self._chain.store.staging.bodies_from() != first:
                continue
            if len(rows) < count:
                # A frame was full: the rest of this stretch, which ends where ours begin, first.
                return await self._fetch_before_short(peer, start + len(rows), first)
            return self._keep(peer, start, rows)
        return False

    async def _fetch_before_short(self, peer: Peer, start: Height, first: Height) -> bool:
        """The end of a stretch that did not fit one frame: bodies are put back without a gap."""
        answer = await self._requests.ask(peer, Kind.GET_BODIES, start, first - start, True)
        rows = answer[0][: first - start] if answer else []
        if len(rows) < first - start:
            start = first - 1  # one always fits
            answer = await self._requests.ask(peer, Kind.GET_BODIES, start, 1, True)
            rows = answer[0][:1] if answer else []
        if not rows or self._chain.store.staging.bodies_from() != first:
            return False
        return self._keep(peer, start, rows)

    def _keep(self, peer: Peer, start: Height, rows: list[list[bytes]]) -> bool:
        """Hold bodies and receipts to their headers and put them back."""
        kept: list[tuple[Height, bytes, bytes]] = []
        try:
            for height, (body, raw_receipts) in enumerate(rows, start):
                header = self._chain.header(height)
                transactions = decode_body(body)
                check_body(header, transactions)
                receipts = check_receipts(header, transactions, decode_receipts(raw_receipts))
                kept.append((height, body, encode_receipts(receipts)))
        except LedgerError as error:
            self._requests.network.penalise(peer, f"a false body: {error}")
            return False
        self._chain.store.staging.fill_bodies(kept)
        return True


def check_receipts(
    header: Header, transactions: tuple[Transaction, ...], receipts: tuple[Receipt, ...]
) -> list[Receipt]:
    """Receipts held to their header, without what it does not cover. Raises LedgerError."""
    if len(receipts) != len(transactions):
        raise InvalidBlock(f"block {header.number} has {len(transactions)} transactions")
    checked: list[Receipt] = []
    for transaction, receipt in zip(transactions, receipts, strict=True):
        created = None
        if transaction.to is None:
            created = contract_address(transaction.sender, transaction.nonce)
        checked.append(replace(receipt, output=b"", contract_address=created))
    try:
        root = ordered_root([receipt.encode() for receipt in checked])
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        raise EncodingError(f"receipts of block {header.number}: {error}") from error
    if root != header.receipts_root:
        raise InvalidBlock(f"the receipts of block {header.number} are not those of its header")
    return checked
