"""What peers that catch up ask for: headers, bodies, blocks and chunks of a state, each bounded.

A state is read as of a height that stays readable (pinned) while it is asked for. Not here: how an
answer is checked, which its receiver does.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from ledger.block import decode_header, encode_block
from ledger.chain import Chain
from ledger.crypto.keccak import keccak256
from ledger.errors import BlockPruned
from ledger.receipt import encode_receipts
from ledger.store.members import load_changes, load_validators
from ledger.types import Address, Hash32, Height
from ledger.unflushed import Unflushed
from node.peers.connection import Peer
from node.peers.frames import (
    BLOCKS_BYTES_MAX,
    BLOCKS_PER_FRAME,
    BODIES_PER_FRAME,
    CODE_TRIE,
    HEADERS_BYTES_MAX,
    HEADERS_PER_FRAME,
    STATE_BYTES_MAX,
    STATE_NODES_MAX,
    Kind,
)
from node.sync.certificates import load_unchecked, read_certificate
from node.sync.nodes import Item, find_children

PINS_MAX = 8
"""States kept readable for peers, one for each that asks: what a chain overwrites meanwhile is kept
for each. Below a third of 25 validators may lie, and not one of them can take another's away."""
PIN_S = 600.0
"""After the last question about it a state is let go."""


class Server:
    """Answers from one chain."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._pins: dict[Address, tuple[Height, float]] = {}
        self._addresses: dict[Hash32, Address] = {}
        self._answers: dict[Kind, Callable[..., None]] = {
            Kind.GET_BLOCKS: self.serve_blocks,
            Kind.GET_HEADERS: self.serve_headers,
            Kind.GET_BODIES: self.serve_bodies,
            Kind.GET_STATE: self.serve_state,
        }

    def answer(self, peer: Peer, kind: Kind, fields: list[Any]) -> None:
        self._answers[kind](peer, *fields)

    def serve_blocks(self, peer: Peer, first: Height, count: int) -> None:
        """Blocks with certificates, as many as fit one frame."""
        blocks: list[list[bytes]] = []
        size = 0
        for height in self._heights(max(first, 1), count, BLOCKS_PER_FRAME):
            certificate = read_certificate(self._chain, height)
            if certificate is None:
                break
            try:
                block = encode_block(self._chain.block(height))
            except BlockPruned:
                break
            size += len(block)
            if blocks and size > BLOCKS_BYTES_MAX:
                break
            blocks.append([block, certificate.encode()])
        peer.send(Kind.BLOCKS, first, blocks)

    def serve_headers(self, peer: Peer, first: Height, count: int) -> None:
        """Headers with certificates, and members where they changed, as many as fit one frame."""
        rows: list[list[bytes]] = []
        size = 0
        heights = self._heights(max(first, 1), count, HEADERS_PER_FRAME)
        store = self._chain.store
        changes, unchecked = set(load_changes(store)), load_unchecked(store)
        found = store.staging.get_headers(heights.start, len(heights))
        for height, (raw, certificate) in enumerate(found, heights.start):
            if height in unchecked:
                break  # others have them, and a false one would be ours
            members = b""
            if height in changes:
                named = load_validators(store, decode_header(raw).mix_hash)
                members = b"".join(named or ())
            size += len(raw) + len(certificate) + len(members)
            if rows and size > HEADERS_BYTES_MAX:
                break
            rows.append([raw, certificate, members])
        peer.send(Kind.HEADERS, first, rows)

    def serve_bodies(self, peer: Peer, first: Height, count: int, with_receipts: bool) -> None:
        """Bodies, where asked for with their receipts, as many as are kept and fit one frame."""
        rows: list[list[bytes]] = []
        size = 0
        store = self._chain.store
        for height in self._heights(max(first, 1), count, BODIES_PER_FRAME):
            body = store.get_body(height)
            if body is None:
                break
            receipts = encode_receipts(self._chain.receipts(height)) if with_receipts else b""
            size += len(body) + len(receipts)
            if rows and size > BLOCKS_BYTES_MAX:
                break
            rows.append([body, receipts])
        peer.send(Kind.BODIES, first, rows)

    def serve_state(
        self, peer: Peer, height: Height, deep: bool, wanted: list[list[bytes]]
    ) -> None:
        """The nodes at these places, deep with all below each, from its root down and left to
        right, until the frame is full; empty where this state is not kept."""
        nodes: list[bytes] = []
        owners: list[Address] = []
        size = 0
        if self.pin(height, peer.address):
            reader = self._chain.reader_at(height)
            find_address = partial(self._find_address, reader.unflushed)
            stack: list[Item] = [(trie, path, b"") for trie, path in reversed(wanted)]
            while stack and size < STATE_BYTES_MAX and len(nodes) < STATE_NODES_MAX:
                trie, path, _ = stack.pop()
                node = reader.get_code(path) if trie == CODE_TRIE else reader.get_node(trie, path)
                if node is None:
                    break
                nodes.append(node)
                size += len(node)
                if trie != CODE_TRIE:
                    children, named = find_children(trie, path, node, find_address)
                    stack.extend(reversed(children) if deep else ())
                    owners += named
        peer.send(Kind.STATE, height, nodes, owners[:STATE_NODES_MAX])

    def pin(self, height: Height, asker: Address) -> bool:
        """Keep a state readable for who asks, instead of the last one; whether it is."""
        chain, now = self._chain, time.monotonic()
        for old in [one for one, (_, used) in self._pins.items() if now - used > PIN_S]:
            self._unpin(old)
        kept = {one for one, _ in self._pins.values()}
        if height not in kept and not chain.store.oldest_state() <= height <= chain.head.number:
            return False
        if asker in self._pins and self._pins[asker][0] != height:
            self._unpin(asker)
        elif asker not in self._pins and len(self._pins) >= PINS_MAX:
            self._unpin(min(self._pins, key=lambda one: self._pins[one][1]))
        chain.pins.add(height)
        self._pins[asker] = height, now
        return True

    def _unpin(self, asker: Address) -> None:
        height, _ = self._pins.pop(asker)
        if all(other != height for other, _ in self._pins.values()):
            self._chain.pins.discard(height)

    def _heights(self, first: Height, count: int, count_max: int) -> range:
        return range(first, min(first + min(count, count_max) - 1, self._chain.head.number) + 1)

    def _find_address(self, unflushed: Unflushed, hashed: Hash32) -> Address | None:
        """The contract whose hashed address this is."""
        if hashed not in self._addresses:
            found = unflushed.find_contracts()
            self._addresses = {keccak256(address): address for address in found}
        return self._addresses.get(hashed)
