"""Far behind: headers first, bodies from several peers, a state in chunks; and who lies in each."""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ledger.block import Block, Certificate, Header, commit_digest, decode_header, validators_hash
from ledger.chain import Chain
from ledger.consensus.signer import DISTRUSTED, SignerRecord, decode_record, initial_record
from ledger.crypto.address import address_of, contract_address
from ledger.crypto.keccak import keccak256
from ledger.crypto.secp256k1 import sign_compact
from ledger.errors import BlockPruned, ProofError, StoreError
from ledger.genesis import Genesis
from ledger.receipt import encode_receipts
from ledger.store.base import Store
from ledger.store.memory import MemoryStore
from ledger.store.sqlite import SqliteStore
from ledger.transaction import Transaction, sign_transaction
from node.log import Log
from node.peers.frames import SHAPES, Kind
from node.sync import Sync, SyncSettings, follow, requests, serve
from node.sync import snapshot as snapshot_module
from node.sync.adopt import adopt_snapshot, raise_record
from node.sync.certificates import load_unchecked, read_certificate
from node.sync.headers import (
    Link,
    Trusted,
    find_own_seal,
    find_proofs,
    link_headers,
    verify_links,
)
from node.sync.history import History
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


@pytest.fixture(scope="module")
def source() -> Iterator[Chain]:
    chain = extend(Chain(MemoryStore(), GENESIS), BLOCKS)
    assert chain.state_at().get_account(KEEPER).storage_root != keccak256(b"\x80")
    yield chain


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


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "RETRY_S", 0.01)


def catch_up(
    chain: Chain,
    peers: list[ToyPeer],
    *,
    snapshot_blocks: int = 0,
    until: Callable[[ToyNetwork], bool] | None = None,
    seconds: float = 30,
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


# Headers and bodies.


def test_bodies_come_from_several_peers_under_headers_that_came_first(source: Chain) -> None:
    chain = Chain(MemoryStore(), GENESIS)
    peers = [ToyPeer(number, source) for number in (1, 2, 3)]
    network = catch_up(chain, peers)
    assert chain.head.hash == source.head.hash
    assert network.penalties == []
    assert sum(Kind.GET_BODIES in peer.kinds() for peer in peers) >= 2
    assert all(Kind.GET_BLOCKS not in peer.kinds() for peer in peers)
    assert sum(kind is Kind.GET_HEADERS for peer in peers for kind, _ in peer.asked) == 1


def test_a_peer_of_the_first_version_still_serves(source: Chain) -> None:
    chain = Chain(MemoryStore(), GENESIS)
    old = ToyPeer(1, source)
    old.version = 1
    catch_up(chain, [old])
    assert chain.head.hash == source.head.hash
    assert old.kinds() == {Kind.GET_BLOCKS}


def at_header(index: int, change: Callable[[list[bytes]], list[bytes]]) -> Twist:
    def twist(kind: Kind, fields: list[Any]) -> list[Any]:
        if kind is Kind.HEADERS:
            rows = list(fields[1])
            rows[index] = change(rows[index])
            return [fields[0], rows]
        return fields

    return twist


def _with(raw: bytes, **changes: Any) -> bytes:
    header = decode_header(raw)
    return Header(**{**{name: getattr(header, name) for name in Header.FIELDS}, **changes}).encode()


def forge(row: list[bytes], signatures: int = 3) -> bytes:
    """A certificate that looks like one."""
    header = decode_header(row[0])
    return Certificate(header.number, 0, header.hash, (b"\1" * 64 + b"\0",) * signatures).encode()


OTHER = Certificate(10, 0, b"\7" * 32, (b"\1" * 64 + b"\0",) * 3)

LIES: dict[str, Twist] = {
    "a false state root": at_header(
        200, lambda row: [_with(row[0], state_root=b"\7" * 32), *row[1:]]
    ),
    "no certificate": at_header(9, lambda row: [row[0], b"", b""]),
    "a missing header": lambda kind, fields: (
        [fields[0], fields[1][:5] + fields[1][6:]] if kind is Kind.HEADERS else fields
    ),
    "signatures of nobody at the end": at_header(-1, lambda row: [row[0], forge(row), b""]),
    "too few signatures": at_header(9, lambda row: [row[0], forge(row, 2), b""]),
    "too many signatures": at_header(9, lambda row: [row[0], forge(row, 5), b""]),
    "the certificate of another block": at_header(9, lambda row: [row[0], OTHER.encode(), b""]),
    "no header": at_header(3, lambda row: [b"\xc0", *row[1:]]),
    "other validators": at_header(
        2, lambda row: [_with(row[0], mix_hash=b"\7" * 32), row[1], b"\7" * 20]
    ),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("snapshot_blocks", [0, 100], ids=["bodies", "snapshot"])
def test_a_false_header_is_one_request_and_another_peer_is_asked(
    source: Chain, lie: str, snapshot_blocks: int
) -> None:
    chain = Chain(MemoryStore(), GENESIS)
    liar, honest = ToyPeer(1, source, LIES[lie]), ToyPeer(2, source)
    liar.head_height += 1
    network = catch_up(
        chain, [liar, honest], snapshot_blocks=snapshot_blocks,
        until=lambda _: chain.head.number == BLOCKS,
    )  # fmt: skip
    assert [name for name, _ in network.penalties] == ["toy1"]
    assert "a header that is not certified" in network.penalties[0][1]
    at_the_end = lie == "signatures of nobody at the end"  # the next is asked for meanwhile
    assert len(liar.asked) == 1 + (at_the_end and not snapshot_blocks)
    assert chain.head.hash == source.head.hash


def test_a_false_body_costs_its_peer_and_never_halts_this_node(source: Chain) -> None:
    """Certified header, another body: committed it would look like a fault of our own machine."""

    def twist(kind: Kind, fields: list[Any]) -> list[Any]:
        if kind is Kind.BODIES and len(fields[1]) > 2:
            fields[1][1] = fields[1][2]
        return fields

    chain = Chain(MemoryStore(), GENESIS)
    liar, honest = ToyPeer(1, source, twist), ToyPeer(2, source)
    network = catch_up(chain, [liar, honest])
    assert [name for name, _ in network.penalties] == ["toy1"]
    assert "a false body" in network.penalties[0][1]
    assert chain.head.hash == source.head.hash


def test_a_peer_that_stalls_is_asked_last(source: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "REPLY_S", 0.2)
    chain = Chain(MemoryStore(), GENESIS)
    deaf, honest = ToyPeer(1, source), ToyPeer(2, source)
    deaf.deaf = {Kind.GET_BODIES}
    network = catch_up(chain, [deaf, honest])
    assert network.slow == ["toy1"]
    assert sum(kind is Kind.GET_BODIES for kind, _ in deaf.asked) == 1


@pytest.mark.parametrize("kind", [Kind.GET_HEADERS, Kind.GET_BODIES, Kind.GET_STATE])
def test_while_one_peer_says_nothing_another_is_asked(
    source: Chain, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for each silent liar as long as for a slow line follows a quarter of the time."""
    monkeypatch.setattr(requests, "SILENT_S", 0.1)
    chain = Chain(MemoryStore(), GENESIS)
    deaf, honest = ToyPeer(1, source), ToyPeer(2, source)
    deaf.deaf = {kind}
    deaf.head_height += kind is Kind.GET_HEADERS  # asked first
    blocks = 100 if kind is Kind.GET_STATE else 0
    network = catch_up(
        chain, [deaf, honest], snapshot_blocks=blocks, seconds=requests.REPLY_S / 3,
        until=lambda _: chain.head.number == BLOCKS,
    )  # fmt: skip
    assert kind in deaf.kinds()
    assert chain.head == source.head
    assert network.penalties == []


def test_headers_kept_before_a_kill_are_not_asked_for_again(source: Chain, tmp_path: Path) -> None:
    path = tmp_path / "chain.sqlite"
    chain = Chain(SqliteStore(path), GENESIS)
    deaf = ToyPeer(1, source)
    deaf.deaf = {Kind.GET_BODIES}
    catch_up(chain, [deaf], until=lambda _: Kind.GET_BODIES in deaf.kinds())
    chain.store.close()
    chain = Chain(SqliteStore(path), GENESIS)
    assert chain.head.number == 0  # what is ahead is not the chain
    assert chain.height_of(source.head.hash) is None
    peer = ToyPeer(1, source)
    catch_up(chain, [peer])
    assert Kind.GET_HEADERS not in peer.kinds()
    assert chain.head.hash == source.head.hash
    chain.close()


# Validator sets.


def make_headers(
    sets: list[tuple[bytes, ...]], overrides: dict[int, tuple[bytes, ...]] | None = None
) -> tuple[Trusted, list[list[bytes]]]:
    """Headers whose validators change as `sets` says, with certificates of whoever decides."""
    keys = {address_of(bytes([n]) * 32): bytes([n]) * 32 for n in range(1, 9)}
    base: dict[str, Any] = dict.fromkeys(Header.FIELDS, 0) | dict.fromkeys(
        ("parent_hash", "ommers_hash", "state_root", "transactions_root", "receipts_root"),
        bytes(32),
    )
    base |= {"coinbase": bytes(20), "bloom": bytes(256), "nonce": bytes(8)}
    first = Header(**base | {"extra_data": b"", "mix_hash": validators_hash(sets[0])})
    parent, rows = first, []
    for number, (named, after) in enumerate(pairwise(sets), 1):
        decide = (overrides or {}).get(number, named)
        header = Header(
            **base
            | {
                "number": number,
                "parent_hash": parent.hash,
                "extra_data": validators_hash(decide),
                "mix_hash": validators_hash(after),
            }
        )
        digest = commit_digest(1947, b"\1" * 32, number, 0, header.hash)
        seals = tuple(sign_compact(keys[one], digest) for one in decide)
        certificate = Certificate(number, 0, header.hash, seals)
        rows.append([header.encode(), certificate.encode(), b"".join(after)])
        parent = header
    return Trusted(first, sets[0]), rows


def members(*numbers: int) -> tuple[bytes, ...]:
    return tuple(sorted(address_of(bytes([n]) * 32) for n in numbers))


def test_the_set_is_followed_through_its_changes() -> None:
    sets = [members(1, 2, 3), members(1, 2, 3), members(2, 3, 4, 5), members(5, 6), members(7)]
    trusted, rows = make_headers(sets)
    links, after = link_headers(trusted, rows, lambda height: None)
    assert [link.validators for link in links] == sets[:-1]
    assert after.validators == members(7)
    verify_links(links, 1947, b"\1" * 32)
    assert [link.header.number for link in find_proofs(links)] == [2, 3, 4]
    for number, signed in ((5, 4), (1, 2), (8, -1)):
        seal = partial(sign_compact, bytes([number]) * 32)
        own = members(number)[0]
        assert find_own_seal(links, 1947, b"\1" * 32, own, seal) == signed


def test_a_set_signed_by_who_left_is_refused() -> None:
    sets = [members(1, 2, 3), members(2, 3, 4), members(2, 3, 4)]
    trusted, rows = make_headers(sets)
    links, _ = link_headers(trusted, rows, lambda height: None)
    forged = [links[0], Link(*links[1][:4], members(1, 2, 3))]
    with pytest.raises(ProofError, match="not the validators"):
        verify_links(forged, 1947, b"\1" * 32)


def test_an_override_of_the_network_file_decides_from_its_height_on() -> None:
    sets = [members(1, 2, 3), members(1, 2, 3), members(1, 2, 3)]
    trusted, rows = make_headers(sets)
    with pytest.raises(ProofError, match="header 2 is not decided by those"):
        link_headers(trusted, rows, {2: members(8)}.get)
    trusted, rows = make_headers(sets, {2: members(8)})
    links, _ = link_headers(trusted, rows, {2: members(8)}.get)
    assert links[1].validators == members(8)
    verify_links(links, 1947, b"\1" * 32)
    with pytest.raises(ProofError, match="header 2 is not decided by those"):
        link_headers(trusted, rows, lambda height: None)


# A state.


def join(
    source: Chain, peers: list[ToyPeer], store: Store | None = None, **options: Any
) -> tuple[Chain, ToyNetwork]:
    chain = Chain(store or MemoryStore(), GENESIS)
    chain.store.save_signer(initial_record())
    return chain, catch_up(chain, peers, snapshot_blocks=100, **options)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_an_empty_node_joins_by_a_state_that_proves_itself(
    source: Chain, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "STATE_NODES_MAX", 20)
    store = SqliteStore(tmp_path / "chain.sqlite") if kind == "sqlite" else MemoryStore()
    peers = [ToyPeer(number, source) for number in (1, 2)]
    chain, network = join(source, peers, store)
    assert network.penalties == []
    assert chain.head == source.head
    assert all(Kind.GET_STATE in peer.kinds() for peer in peers)
    taken = BLOCKS - follow.SNAPSHOT_DEPTH
    asked = [first for peer in peers for kind, fields in peer.asked for first in fields[:1]
             if kind in (Kind.GET_BODIES, Kind.GET_BLOCKS)]  # fmt: skip
    assert min(asked) == taken + 1  # only the tail is executed
    for state in (chain.state_at(), chain.state_at(taken)):
        assert state.get_storage(KEEPER, slot_of(5 * 2**0)) is not None
    assert chain.state_at().prove_account(KEEPER) == source.state_at().prove_account(KEEPER)
    assert chain.state_at().get_code(KEEPER) == SOURCE
    # Every header stays, and where there is no body it is said.
    assert chain.header(7) == source.header(7)
    assert chain.height_of(source.header(7).hash) == 7
    with pytest.raises(BlockPruned, match="keeps its header alone"):
        chain.block(7)
    with pytest.raises(StoreError):
        chain.state_at(taken - 1).get_balance(address_of(PAYER))
    record = chain.store.load_signer()
    assert record is not None
    # Life goes on from there, also after a restart.
    chain.flush()
    if kind == "sqlite":
        chain.close()
        chain = Chain(SqliteStore(tmp_path / "chain.sqlite"), GENESIS)
        assert chain.head == source.head
    block = chain.build(transactions(BLOCKS + 1), 10**6, VALIDATORS[0]).block
    source.check(block, None)  # the same roots, computed apart
    chain.commit(block, seal(chain, block), None)
    chain.close()


def slot_of(number: int) -> bytes:
    return keccak256(number.to_bytes(32, "big") + bytes(32))


def test_what_the_chain_overwrites_meanwhile_is_still_served() -> None:
    grown = extend(Chain(MemoryStore(), GENESIS, flush_blocks=1), BLOCKS)
    peer = ToyPeer(1, grown)
    peer.on_ask = lambda: None if grown.head.number > BLOCKS + 40 else grown and extend(grown, 3)  # type: ignore[assignment]
    chain, network = join(grown, [peer])
    assert network.penalties == []
    assert chain.head.number >= BLOCKS


# Certificates that no header needed.


def forge_all(kind: Kind, fields: list[Any]) -> list[Any]:
    """Every certificate false but the last, which alone is checked at once."""
    if kind is not Kind.HEADERS:
        return fields
    *rows, last = fields[1]
    return [fields[0], [*([row[0], forge(row), row[2]] for row in rows), last]]


def check_all(chain: Chain, peers: list[ToyPeer]) -> ToyNetwork:
    """Let a node that joined be idle for a while."""
    network = ToyNetwork(peers)

    async def main() -> None:
        sync = Sync(chain, network, lambda *_: True, lambda _: None, LOG)  # type: ignore[arg-type]
        for peer in peers:
            peer.sync = sync  # type: ignore[attr-defined]
        history = History(chain, sync, 0, LOG)
        for _ in range(3):
            await history.step(0)

    asyncio.run(main())
    return network


def test_false_certificates_of_a_snapshot_are_shown_to_nobody_and_asked_for_again(
    source: Chain,
) -> None:
    liar, honest = ToyPeer(1, source, forge_all), ToyPeer(2, source)
    chain, network = join(source, [liar])
    taken = BLOCKS - follow.SNAPSHOT_DEPTH
    assert network.penalties == []  # the headers are true
    assert chain.certificate(7) is not None
    assert read_certificate(chain, 7) is None
    assert read_certificate(chain, taken) == source.certificate(taken)
    asker = ToyPeer(3, source)
    asker.server = Server(chain)
    for first, shown in ((1, 0), (200, 0), (taken + 1, follow.SNAPSHOT_DEPTH)):
        asker.server.answer(asker, Kind.GET_HEADERS, [first, 512])  # type: ignore[arg-type]
        assert len(asker.answer[1][1]) == shown
    # Whoever says them to be true again is a liar, others show the true ones.
    again = ToyPeer(4, source, forge_all)
    network = check_all(chain, [again, honest])
    assert [name for name, _ in network.penalties] == ["toy4"]
    assert load_unchecked(chain.store) == range(0)
    assert [chain.certificate(one) for one in (1, 7, taken)] == [
        source.certificate(one) for one in (1, 7, taken)
    ]
    asker.server.answer(asker, Kind.GET_HEADERS, [1, 512])  # type: ignore[arg-type]
    assert len(asker.answer[1][1]) == BLOCKS


def test_true_certificates_of_a_snapshot_are_served_once_checked(source: Chain) -> None:
    chain, _ = join(source, [ToyPeer(1, source)])
    assert load_unchecked(chain.store) == range(1, BLOCKS - follow.SNAPSHOT_DEPTH + 1)
    assert read_certificate(chain, 7) == source.certificate(7)
    idle = ToyPeer(2, source)
    check_all(chain, [idle])
    assert Kind.GET_HEADERS not in idle.kinds()
    assert load_unchecked(chain.store) == range(0)


def test_a_snapshot_that_came_to_nothing_leaves_no_false_certificate_to_import(
    source: Chain,
) -> None:
    liar, honest = ToyPeer(1, source, forge_all), ToyPeer(2, source)
    liar.deaf = {Kind.GET_STATE}
    chain, _ = join(source, [liar], until=lambda _: Kind.GET_STATE in liar.kinds())
    catch_up(chain, [honest])
    assert chain.head == source.head
    assert chain.certificate(7) == source.certificate(7)


def test_a_key_that_signed_what_its_new_record_knows_nothing_of_is_distrusted(
    source: Chain,
) -> None:
    for record, distrusted in ((initial_record(), True), (SignerRecord((400, 0)).encode(), False)):
        chain = Chain(MemoryStore(), GENESIS)
        chain.store.save_signer(record)
        catch_up(chain, [ToyPeer(1, source)], snapshot_blocks=100)
        kept = chain.store.load_signer()
        assert (kept == DISTRUSTED.encode()) is distrusted
        assert distrusted or kept == record


def state_lie(change: Callable[[list[Any]], list[Any]]) -> Twist:
    return lambda kind, fields: change(fields) if kind is Kind.STATE and fields[1] else fields


STATE_LIES = {
    "a changed node": state_lie(lambda f: [f[0], [f[1][0][:-1] + b"\7", *f[1][1:]], f[2]]),
    "nodes in another order": state_lie(lambda f: [f[0], f[1][::-1], f[2]]),
    "more nodes than asked for": state_lie(lambda f: [f[0], f[1] + f[1], f[2]]),
    "addresses left out": state_lie(lambda f: [f[0], f[1], []]),
    "another state": state_lie(lambda f: [f[0], [b"\xc2\x80\x80"], []]),
}


@pytest.mark.parametrize("lie", STATE_LIES)
def test_a_false_piece_of_a_state_is_one_request(source: Chain, lie: str) -> None:
    liar, honest = ToyPeer(1, source, STATE_LIES[lie]), ToyPeer(2, source)
    chain, network = join(source, [liar, honest])
    assert [name for name, _ in network.penalties] == ["toy1"]
    assert "a false piece of a state" in network.penalties[0][1]
    assert sum(kind is Kind.GET_STATE for kind, _ in liar.asked) == 1
    assert chain.head == source.head


@pytest.mark.parametrize("answers", [True, False])
def test_a_false_height_told_again_and_again_keeps_nobody_from_joining(
    source: Chain, answers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "REPLY_S", 0.1)
    honest, liar = ToyPeer(1, source), ToyPeer(2, source)
    liar.deaf = set() if answers else set(Kind)
    chain = Chain(MemoryStore(), GENESIS)
    chain.store.save_signer(initial_record())

    def joined(network: ToyNetwork) -> bool:
        liar.head_height = 2**62
        return chain.head == source.head and not liar.sync.is_behind  # type: ignore[attr-defined]

    catch_up(chain, [honest, liar], snapshot_blocks=100, until=joined, seconds=8)
    assert Kind.GET_STATE in honest.kinds()


def test_addresses_that_no_node_names_are_not_kept(
    source: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand beside each node would take a Pi's memory before the state is whole."""
    seen: list[int] = []
    write = snapshot_module.Snapshot._write

    def note(snapshot: snapshot_module.Snapshot) -> None:
        seen.append(len(snapshot._owners))
        write(snapshot)

    monkeypatch.setattr(snapshot_module.Snapshot, "_write", note)
    strangers = [number.to_bytes(20, "big") for number in range(1_000)]
    twist = state_lie(lambda f: [f[0], f[1], [*strangers[: 1_000 - len(f[2])], *f[2]]])
    chain, _ = join(source, [ToyPeer(1, source, twist)])
    assert chain.head == source.head
    assert 0 < max(seen) < 10


def test_a_kill_amid_a_snapshot_costs_only_what_was_on_its_way(
    source: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "STATE_NODES_MAX", 40)
    monkeypatch.setattr(snapshot_module, "STAGED_BYTES_MAX", 2_000)
    path = tmp_path / "chain.sqlite"
    whole = ToyPeer(1, source)
    join(source, [whole])
    in_all = sum(kind is Kind.GET_STATE for kind, _ in whole.asked)

    peer = ToyPeer(1, source)
    chain, _ = join(
        source, [peer], SqliteStore(path),
        until=lambda _: sum(kind is Kind.GET_STATE for kind, _ in peer.asked) > in_all // 2,
    )  # fmt: skip
    assert chain.head.number == 0
    chain.store.close()
    chain = Chain(SqliteStore(path), GENESIS)
    assert chain.head.number == 0
    assert chain.state_at().get_balance(address_of(PAYER)) == 10**20  # nothing half
    peer = ToyPeer(1, source)
    catch_up(chain, [peer], snapshot_blocks=100)
    again = sum(kind is Kind.GET_STATE for kind, _ in peer.asked)
    assert again < in_all * 3 // 4
    assert chain.head == source.head
    chain.close()


def test_a_node_long_away_asks_only_for_what_changed(source: Chain) -> None:
    chain = extend(Chain(MemoryStore(), GENESIS, flush_blocks=1), 150)
    peer = ToyPeer(1, source)
    fetched: list[int] = []
    original = snapshot_module.Snapshot.run

    async def run(self: Any) -> bool:
        done = await original(self)
        fetched.append(self.nodes)
        return done

    snapshot_module.Snapshot.run = run  # type: ignore[method-assign]
    try:
        catch_up(chain, [peer], snapshot_blocks=100)
        join(source, [ToyPeer(1, source)])
    finally:
        snapshot_module.Snapshot.run = original  # type: ignore[method-assign]
    assert chain.head == source.head
    assert fetched[0] < fetched[1] * 3 // 4


def test_a_state_nobody_keeps_any_more_is_given_up_for_a_newer_one(source: Chain) -> None:
    peer = ToyPeer(1, source)
    store = MemoryStore()
    store.put_durable(follow.SNAPSHOT_KEY, (20).to_bytes(8, "big"))
    oldest = source.store._oldest  # type: ignore[attr-defined]
    source.store._oldest = 50  # type: ignore[attr-defined]
    try:
        chain, network = join(source, [peer], store)
    finally:
        source.store._oldest = oldest  # type: ignore[attr-defined]
    assert network.penalties == []
    assert chain.head == source.head


def test_states_are_pinned_for_who_asks_and_let_go(
    source: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.pins.clear()
    server = Server(source)
    one, other, third = (bytes([number]) * 20 for number in (1, 2, 3))
    assert server.pin(200, one)
    assert server.pin(201, other)
    assert server.pin(201, third)
    assert source.pins == {200, 201}
    for height in range(202, 250):  # one for each: who asks for ever new ones loses its own
        assert server.pin(height, other)
        assert source.pins == {200, 201, height}
    assert not server.pin(BLOCKS + 1, third)
    for number in range(serve.PINS_MAX):
        assert server.pin(100 + number, bytes([10 + number]) * 20)
    assert source.pins == {*range(100, 100 + serve.PINS_MAX)}  # the ones used longest ago are gone
    monkeypatch.setattr(serve, "PIN_S", -1.0)
    assert server.pin(203, one)
    assert source.pins == {203}
    source.pins.clear()


def test_who_keeps_no_old_bodies_still_lets_a_new_node_in() -> None:
    pruned = extend(Chain(MemoryStore(), GENESIS), BLOCKS)
    assert pruned.store.staging.prune_bodies(200, 1_000) == 199
    chain = Chain(MemoryStore(), GENESIS)
    catch_up(chain, [ToyPeer(1, pruned)])  # snapshot_blocks is 0: only because it has to
    assert chain.head == pruned.head


def test_the_signer_record_is_raised_as_importing_would() -> None:
    first = initial_record()
    assert raise_record(None, 50, -1) is None
    raised = raise_record(first, 50, -1)
    assert raised is not None
    assert decode_record(raised) == SignerRecord((50, 0))
    # A certificate holds our signature, of which the record knows nothing: it is an old copy.
    assert raise_record(first, 50, 30) == DISTRUSTED.encode()
    later = SignerRecord((60, 2)).encode()
    assert raise_record(later, 50, 30) == later
    assert raise_record(DISTRUSTED.encode(), 50, -1) == DISTRUSTED.encode()
    known = SignerRecord((40, 0)).encode()
    raised = raise_record(known, 50, 39)
    assert raised is not None
    assert decode_record(raised) == SignerRecord((50, 0))


# History.


def test_bodies_and_receipts_of_before_a_snapshot_are_fetched_and_proved(source: Chain) -> None:
    peer = ToyPeer(1, source)
    chain, _ = join(source, [peer])
    network = ToyNetwork([peer])
    fill(chain, network, [peer])
    assert chain.store.staging.bodies_from() == 1
    assert chain.block(7) == source.block(7)
    assert chain.receipts(7) == source.receipts(7)
    wanted = source.block(7).transactions[0].hash
    assert chain.find_transaction(wanted) == (7, 0)
    assert network.penalties == []


@pytest.mark.parametrize("place", [0, 1], ids=["body", "receipts"])
def test_false_history_is_refused(source: Chain, place: int) -> None:
    chain, _ = join(source, [ToyPeer(1, source)])

    def twist(kind: Kind, fields: list[Any]) -> list[Any]:
        if kind is Kind.BODIES:
            body = source.store.get_body(1)
            fields[1][0][place] = (body, encode_receipts(source.receipts(1)))[place]
        return fields

    liar = ToyPeer(2, source, twist)
    network = ToyNetwork([liar])
    fill(chain, network, [liar], steps=2)  # the first checks certificates
    assert [name for name, _ in network.penalties] == ["toy2"]
    with pytest.raises(BlockPruned):
        chain.block(BLOCKS - follow.SNAPSHOT_DEPTH)


def fill(chain: Chain, network: ToyNetwork, peers: list[ToyPeer], steps: int = 100) -> None:
    async def main() -> None:
        sync = Sync(chain, network, lambda *_: True, lambda _: None, LOG)  # type: ignore[arg-type]
        for peer in peers:
            peer.sync = sync  # type: ignore[attr-defined]
        history = History(chain, sync, 0, LOG)
        for _ in range(steps):
            if not await history.step(0):
                break

    asyncio.run(main())


def test_bodies_older_than_the_setting_are_let_go_headers_stay(tmp_path: Path) -> None:
    chain = Chain(SqliteStore(tmp_path / "chain.sqlite"), GENESIS)
    day = 86_400
    for number in range(1, 321):
        built = chain.build([pay(number - 1, bytes(20))], number * day, VALIDATORS[0])
        chain.commit(built.block, seal(chain, built.block), None)

    async def main() -> None:
        network: Any = ToyNetwork([])
        history = History(
            chain, Sync(chain, network, lambda *_: True, lambda _: None, LOG), 290, LOG
        )
        while await history.step(321 * day):
            pass

    asyncio.run(main())
    assert chain.store.staging.bodies_from() == 31
    with pytest.raises(BlockPruned):
        chain.block(30)
    assert chain.block(31).number == 31
    assert chain.receipts(30) == ()
    assert chain.header(30).number == 30
    assert chain.certificate(30) is not None
    chain.close()
    chain = Chain(SqliteStore(tmp_path / "chain.sqlite"), GENESIS)
    assert chain.head.number == 320
    assert chain.store.staging.bodies_from() == 31
    chain.close()
