"""Far behind: headers first, bodies from several peers; and who lies in each."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ledger.block import Certificate, Header, commit_digest, decode_header, validators_hash
from ledger.chain import Chain
from ledger.crypto.address import address_of
from ledger.crypto.secp256k1 import sign_compact
from ledger.errors import ProofError
from ledger.store.memory import MemoryStore
from ledger.store.sqlite import SqliteStore
from node.peers.frames import Kind
from node.sync import requests
from node.sync.headers import Link, Trusted, find_own_seal, find_proofs, link_headers, verify_links
from tests.node.far import BLOCKS, GENESIS, ToyPeer, Twist, catch_up, forge

pytestmark = pytest.mark.usefixtures("quick_retries")


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
    monkeypatch.setattr(requests, "REPLY_S", 270.0)
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
