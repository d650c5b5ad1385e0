"""An empty node joins by a state, in chunks that prove themselves; and who lies in them."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ledger.chain import Chain
from ledger.consensus.signer import DISTRUSTED, SignerRecord, decode_record, initial_record
from ledger.crypto.address import address_of
from ledger.errors import BlockPruned, StoreError
from ledger.store.memory import MemoryStore
from ledger.store.sqlite import SqliteStore
from node.peers.frames import Kind
from node.sync import Sync, follow, requests, serve
from node.sync import snapshot as snapshot_module
from node.sync.adopt import raise_record
from node.sync.certificates import load_unchecked, read_certificate
from node.sync.history import History
from node.sync.serve import Server
from tests.node.far import (
    BLOCKS,
    GENESIS,
    KEEPER,
    LOG,
    PAYER,
    SOURCE,
    VALIDATORS,
    ToyNetwork,
    ToyPeer,
    Twist,
    catch_up,
    extend,
    forge,
    join,
    seal,
    slot_of,
    transactions,
)

pytestmark = pytest.mark.usefixtures("quick_retries")


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


def test_what_is_unchecked_on_both_sides_of_the_head_is_checked_before_it_is_imported(
    source: Chain,
) -> None:
    liar, honest = ToyPeer(1, source, forge_all), ToyPeer(2, source)
    liar.deaf = {Kind.GET_STATE}
    chain, _ = join(source, [liar], until=lambda _: Kind.GET_STATE in liar.kinds())
    for height in range(1, 21):  # from one that was little further
        certificate = source.certificate(height)
        assert certificate is not None
        chain.commit(source.block(height), certificate, None)
    catch_up(chain, [honest])
    assert chain.certificate(30) == source.certificate(30)


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

    catch_up(chain, [honest, liar], snapshot_blocks=100, until=joined)
    assert Kind.GET_STATE in honest.kinds()
    assert load_unchecked(chain.store).stop <= BLOCKS + 1, "else what is decided here later is too"


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
