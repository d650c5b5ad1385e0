"""A chain of some hundred blocks, and toy peers that serve it, or lie, to who is far behind."""

import asyncio
from collections.abc import Callable
from functools import cache, partial
from io import StringIO
from typing import Any

from ledger.block import Block, Certificate, commit_digest, decode_header
from ledger.chain import Chain
from ledger.consensus.signer import initial_record
from ledger.crypto.address import address_of, contract_address
from ledger.crypto.keccak import keccak256
from ledger.crypto.secp256k1 import sign_compact
from ledger.genesis import Genesis
from ledger.store.base import Store
from ledger.store.memory import MemoryStore
from ledger.transaction import Transaction, sign_transaction
from node.log import Log
from node.peers.frames import SHAPES, Kind
from node.sync import Sync, SyncSettings
from node.sync.adopt import adopt_snapshot
from node.sync.requests import ANSWERS
from node.sync.serve import Server

KEYS = [bytes([number]) * 32 for number in range(1, 5)]
VALIDATORS = tuple(sorted(address_of(key) for key in KEYS))
PAYER = keccak256(b"payer")
GENESIS = Genesis(
    name="toy",
    chain_id=1947,
    timestamp=1,
    validators=VALIDATORS,
    alloc={address_of(PAYER): 10**20},
)
SOURCE = b'''"""Keeps a word for each key."""
from ledger.contract import Contract, Map, uint256, write


class Keeper(Contract):
    """Keeps words."""

    kept: Map[uint256, uint256]

    @write
    def keep(self, first: uint256, count: uint256) -> None:
        """Keep some words more."""
        for index in range(first, first + count):
            self.kept[index] = index + 1
'''
KEEPER = contract_address(address_of(PAYER), 0)
BLOCKS = 300
LOG = Log(stream=StringIO())


def seal(chain: Chain, block: Block) -> Certificate:
    digest = commit_digest(1947, chain.genesis_hash, block.number, 0, block.hash)
    signatures = tuple(sign_compact(key, digest) for key in KEYS[:3])
    return Certificate(block.number, 0, block.hash, signatures)


def pay(nonce: int, to: bytes | None, data: bytes = b"", value: int = 0) -> Transaction:
    return sign_transaction(
        PAYER, chain_id=1947, nonce=nonce, to=to, data=data, gas=14_000_000, gas_price=0,
        value=value,
    )  # fmt: skip


def transactions(number: int) -> list[Transaction]:
    """Block 1 deploys, 2 to 5 fill storage, all others pay somebody new."""
    nonce = number - 1
    if number == 1:
        size = len(SOURCE).to_bytes(4, "big")
        return [pay(nonce, None, b"\xef\x57\x4c\x01" + size + SOURCE)]
    if number <= 5:
        first = number.to_bytes(16, "big").rjust(32, b"\0")
        call = keccak256(b"keep(uint256,uint256)")[:4] + first + (60).to_bytes(32, "big")
        return [pay(nonce, KEEPER, call)]
    return [pay(nonce, keccak256(bytes([number % 256, number // 256]))[:20], value=number)]


def extend(chain: Chain, blocks: int) -> Chain:
    for _ in range(blocks):
        number = chain.head.number + 1
        built = chain.build(transactions(number), 10 + number, VALIDATORS[number % 4])
        assert not built.refused, built.refused
        chain.commit(built.block, seal(chain, built.block), None)
    return chain


@cache
def make_source() -> Chain:
    """BLOCKS blocks that change a thousand words; made once, and only read."""
    chain = extend(Chain(MemoryStore(), GENESIS), BLOCKS)
    assert chain.state_at().get_account(KEEPER).storage_root != keccak256(b"\x80")
    return chain


Twist = Callable[[Kind, list[Any]], list[Any]]


class ToyPeer:
    """Answers what version 2 asks from a chain, twisted, or only the kinds in `deaf` not at all."""

    version = 2

    def __init__(self, number: int, source: Chain, twist: Twist | None = None) -> None:
        self.address = bytes([number]) * 20
        self.server = Server(source)
        self.head_height = source.head.number
        self.twist = twist
        self.deaf: set[Kind] = set()
        self.asked: list[tuple[Kind, Any]] = []
        self.on_ask: Callable[[], None] | None = None

    def __str__(self) -> str:
        return f"toy{self.address[0]}"

    def send(self, kind: Kind, *fields: Any) -> None:
        assert all(fits(field) for fits, field in zip(SHAPES[kind], fields, strict=True)), fields
        if kind not in ANSWERS:
            self.answer = (kind, list(fields))
            return
        self.asked.append((kind, fields))
        if self.on_ask is not None:
            self.on_ask()
        if kind in self.deaf:
            return
        self.server.answer(self, kind, list(fields))  # type: ignore[arg-type]
        answered, answer = self.answer
        if self.twist is not None:
            answer = self.twist(answered, answer)
        asyncio.get_running_loop().call_soon(self.sync.receive, self, answered, answer)  # type: ignore[attr-defined]

    def kinds(self) -> set[Kind]:
        return {kind for kind, _ in self.asked}


class ToyNetwork:
    def __init__(self, peers: list[ToyPeer]) -> None:
        self.peers = {peer.address: peer for peer in peers}
        self.penalties: list[tuple[str, str]] = []
        self.slow: list[str] = []

    def penalise(self, peer: ToyPeer, reason: str) -> None:
        self.penalties.append((str(peer), reason))
        del self.peers[peer.address]
        peer.sync.forget(peer)  # type: ignore[attr-defined]

    def note_slow(self, peer: ToyPeer, reason: str) -> None:
        self.slow.append(str(peer))


def catch_up(
    chain: Chain,
    peers: list[ToyPeer],
    *,
    snapshot_blocks: int = 0,
    until: Callable[[ToyNetwork], bool] | None = None,
    seconds: float = 90,
) -> ToyNetwork:
    network = ToyNetwork(peers)
    target = max(peer.head_height for peer in peers)

    def take(peer: Any, block: Block, certificate: Certificate) -> bool:
        chain.check(block, None)
        chain.commit(block, certificate, None)
        return True

    async def main() -> None:
        sync = Sync(
            chain, network, take, lambda _: None, LOG,  # type: ignore[arg-type]
            adopt=lambda height, own: adopt_snapshot(chain, height, own),
            settings=SyncSettings(
                snapshot_blocks, address_of(KEYS[0]), partial(sign_compact, KEYS[0])
            ),
        )  # fmt: skip
        for peer in peers:
            peer.sync = sync  # type: ignore[attr-defined]
        sync.note_status()
        task = asyncio.create_task(sync.run())
        try:
            async with asyncio.timeout(seconds):
                while not (until(network) if until else chain.head.number >= target):
                    assert not task.done() or task.result()
                    await asyncio.sleep(0.005)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    return network


def join(
    source: Chain, peers: list[ToyPeer], store: Store | None = None, **options: Any
) -> tuple[Chain, ToyNetwork]:
    chain = Chain(store or MemoryStore(), GENESIS)
    chain.store.save_signer(initial_record())
    return chain, catch_up(chain, peers, snapshot_blocks=100, **options)


def slot_of(number: int) -> bytes:
    return keccak256(number.to_bytes(32, "big") + bytes(32))


def forge(row: list[bytes], signatures: int = 3) -> bytes:
    """A certificate that looks like one."""
    header = decode_header(row[0])
    return Certificate(header.number, 0, header.hash, (b"\1" * 64 + b"\0",) * signatures).encode()
