"""The state under a certified header, fetched from several peers in chunks that prove themselves.

    GET_STATE [height, deep, [[trie, path], ...]]  ->  STATE [height, [node, ...], [address, ...]]

A deep answer goes down from each place asked for, left to right, until it is full; who has a state
of its own, and lacks only what changed since, asks for single nodes. The receiver walks
alike: each node must hash to what the one above it names, the first to the header's state root. So
a lying peer costs one answer of bounded size, and whatever is kept is right for ever. Nodes are
staged as they come; after kill -9 the walk begins at the root again and asks only for what is not
there. Nodes that the state lived in so far has alike are not asked for either. An account names the
root of its storage, not its address, which is the name of its trie: addresses come beside, and are
held to the account's key. Source: Yellow Paper, appendix D.
"""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial

from ledger.crypto.keccak import keccak256
from ledger.errors import LedgerError, ProofError
from ledger.store.base import Store
from ledger.types import Address, Hash32, Height
from node.peers.connection import Peer
from node.peers.frames import CODE_TRIE, STATE_ITEMS_MAX, Kind
from node.sync.nodes import Item, find_children, replay
from node.sync.requests import Requests

STAGED_BYTES_MAX = 4_000_000
"""Held before they are written, as one transaction with one sync."""
LOCAL_AT_ONCE = 500
"""Nodes found here before others have their turn: some 20 ms."""
WALKED_IN_PARALLEL = 8
"""Subtrees that one peer is asked for while few are known, so that others have work too."""


class Snapshot:
    """Fetches one state. `nodes` and `bytes_fetched` say how much came from peers."""

    def __init__(self, store: Store, requests: Requests, height: Height, root: Hash32) -> None:
        self.height = height
        self.nodes = 0
        self.bytes_fetched = 0
        self._store = store
        self._requests = requests
        self._stack: list[Item] = [(b"", b"", root)]
        self._open = 0
        self._deep = store.flushed_height() <= 0
        self._staged: dict[tuple[bytes, bytes], bytes] = {}
        self._codes: dict[Hash32, bytes] = {}
        self._size = 0
        self._owners: dict[Hash32, Address] = {}
        self._unable: set[Address] = set()

    async def run(self) -> bool:
        """Fetch all of it; whether it is whole now. Else no peer has this state, or none is left;
        what came is kept for the next time."""
        self._owners = {keccak256(one): one for one in self._store.staging.find_tries() if one}
        workers: dict[Address, asyncio.Task[None]] = {}
        try:
            while self._stack or self._open:
                for peer in self._requests.find_able(self.height):
                    busy = workers.get(peer.address)
                    if peer.address not in self._unable and (busy is None or busy.done()):
                        workers[peer.address] = asyncio.create_task(self._work(peer))
                running = [one for one in workers.values() if not one.done()]
                if not running:
                    return False
                await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for one in workers.values():
                    if one.done():
                        one.result()  # a failing disk ends it
            return True
        finally:
            for one in workers.values():
                one.cancel()
            await asyncio.gather(*workers.values(), return_exceptions=True)
            self._write()

    async def _work(self, peer: Peer) -> None:
        """Ask one peer for subtree after subtree until all are there or it fails."""
        while self._stack or self._open:
            wanted = await self._take_items()
            if not wanted:
                await asyncio.sleep(0.002)  # others' answers may lead on
                continue
            self._open += 1
            left, held = wanted, [wanted]
            try:
                left = await self._fetch(peer, wanted, partial(self._hand_on, held))
            finally:
                if held:
                    self._open -= 1
                    self._stack += reversed(left)
            if left == wanted:
                self._unable.add(peer.address)
                return

    def _hand_on(self, held: list[list[Item]]) -> None:
        """Where nothing else is left to do, let others be asked for what a silent peer was."""
        if held and not self._stack and len(self._requests.find_able(self.height)) > 1:
            self._open -= 1
            self._stack += reversed(held.pop())

    async def _take_items(self) -> list[Item]:
        """Places to ask for. What is here already is walked through on the way."""
        wanted: list[Item] = []
        few = self._deep and len(self._stack) <= STATE_ITEMS_MAX
        count = WALKED_IN_PARALLEL if few else STATE_ITEMS_MAX
        local = 0
        while self._stack and len(wanted) < count:
            item = self._stack.pop()
            children = self._find_here(item)
            if children is None:
                wanted.append(item)
                continue
            self._stack += reversed(children)
            local += 1
            if local % LOCAL_AT_ONCE == 0:
                self._stack += reversed(wanted)
                wanted = []
                await asyncio.sleep(0)
        return wanted

    def _find_here(self, item: Item) -> list[Item] | None:
        """What hangs below a node that is here, from a run before or in the state lived in."""
        trie, path, digest = item
        if trie == CODE_TRIE:
            known = digest in self._codes or self._store.get_code(digest) is not None
            return [] if known else None
        for is_staged, raw in self._read(trie, path):
            if raw is not None and keccak256(raw) == digest:
                try:
                    children, _ = find_children(trie, path, raw, self._owners.get)
                except ProofError:
                    return None  # its address is not known here: asked for, it comes beside
                if not is_staged:
                    self._keep(item, raw)
                return children
        return None

    def _read(self, trie: bytes, path: bytes) -> Iterator[tuple[bool, bytes | None]]:
        yield True, self._staged.get((trie, path))
        yield True, self._store.staging.get_staged(trie, path)
        yield False, self._store.get_node(trie, path)

    async def _fetch(
        self, peer: Peer, wanted: list[Item], silent: Callable[[], None]
    ) -> list[Item]:
        """Ask for subtrees and keep what comes; what is left of them to ask for."""
        places = [[trie, path] for trie, path, _ in wanted]
        answer = await self._requests.ask(
            peer, Kind.GET_STATE, self.height, self._deep, places, silent=silent
        )
        if not answer:
            return wanted
        nodes, addresses = answer
        try:
            got, left = replay(wanted, nodes, addresses, deep=self._deep)
        except LedgerError as error:
            self._requests.network.penalise(peer, f"a false piece of a state: {error}")
            return wanted
        # Of the addresses only those that a node names: what else comes beside would fill memory.
        named = {item[0] for item, _ in got} | {item[0] for item in left}
        self._owners |= {keccak256(one): one for one in named - {b"", CODE_TRIE}}
        for item, raw in got:
            self._keep(item, raw)
            self.nodes += 1
            self.bytes_fetched += len(raw)
        return left

    def _keep(self, item: Item, raw: bytes) -> None:
        trie, path, digest = item
        if trie == CODE_TRIE:
            self._codes[digest] = raw
        else:
            self._staged[trie, path] = raw
        self._size += len(raw)
        if self._size > STAGED_BYTES_MAX:
            self._write()

    def _write(self) -> None:
        self._store.staging.stage(list(self._staged.items()), self._codes)
        self._staged, self._codes, self._size = {}, {}, 0
