"""The engine of proof of work, event by event: what it mines, holds, asks for and passes on."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.block import Block, decode_block
from ledger.consensus import events as ev
from ledger.consensus import pow as module
from ledger.consensus.messages import Status, decode_status
from ledger.consensus.pow import Pow, PowSettings
from ledger.consensus.pow_messages import (
    BLOCKS_MAX,
    LOCATOR_MAX,
    Ask,
    Blocks,
    NewBlock,
    decode_message,
    encode_ask,
    encode_blocks,
    encode_new_block,
    list_locator_heights,
)
from ledger.encoding.packed import pack
from ledger.errors import LedgerError
from ledger.work import compute_seal_hash
from tests.chain.mined_chains import Miner

A, B = b"A" * 20, b"B" * 20


class Desk:
    """An engine, and its effects since they were last looked at."""

    def __init__(self, mining: bool = True, empty_block_period_s: int = 0) -> None:
        self.engine = Pow(PowSettings(mining, empty_block_period_s))
        self.now_ms = 1_000
        self.miner = Miner()
        self.effects: list[Any] = []
        genesis = self.miner.chain.head
        self.tell(ev.Started(0, genesis.hash, (), None))
        self.head(genesis)

    def tell(self, *events: Any) -> list[Any]:
        """What these events lead to."""
        told: list[Any] = []
        for event in events:
            told += self.engine.step(event, self.now_ms)
        self.effects = told
        return told

    def head(self, header: Any, *, unsettled: bool = False, work: bool = False) -> list[Any]:
        return self.tell(ev.HeadMoved(header, unsettled, work))

    def wait(self, ms: int) -> list[Any]:
        self.now_ms += ms
        return self.tell(ev.Woke())

    def hear(self, block: Block, peer: bytes = A) -> list[Any]:
        return self.tell(ev.Received(peer, encode_new_block(block)))

    def place(self, block: Block, outcome: ev.Outcome, **fields: Any) -> list[Any]:
        return self.tell(ev.BlockPlaced(block.hash, outcome, **fields))

    def status(self, peer: bytes, height: int, tip: int = 0) -> list[Any]:
        return self.tell(ev.PeerStatus(peer, Status(height + 1, 0, True, ((0, 0, tip),))))


def of(kind: type, effects: list[Any]) -> list[Any]:
    return [effect for effect in effects if isinstance(effect, kind)]


def test_it_mines_while_work_waits_or_is_unsettled_and_then_rests() -> None:
    desk = Desk()
    assert not of(ev.BuildBlock, desk.effects)
    assert not desk.engine.status().open
    assert of(ev.BuildBlock, desk.tell(ev.WorkWaiting(True))) == [ev.BuildBlock(1, 0)]
    template = desk.miner.chain.build((), 2_000, A).block
    assert of(ev.Mine, desk.tell(ev.BlockBuilt(1, 0, template))) == [ev.Mine(template.header)]
    mined = desk.tell(ev.Mined(compute_seal_hash(template.header), bytes(8)))
    (imported,) = of(ev.ImportBlock, mined)
    assert imported.block.header.nonce == bytes(8)
    sent = desk.place(imported.block, ev.Outcome.HEAD)
    assert of(ev.Send, sent) == [ev.Send(encode_new_block(imported.block))]
    assert of(ev.BuildBlock, desk.head(imported.block.header, unsettled=True))
    assert desk.engine.status().open
    desk.tell(ev.BlockBuilt(2, 0, template))  # of a head that is no more
    assert not of(ev.Mine, desk.effects)
    assert desk.head(desk.miner.mine().header) == [ev.StopMining()]
    assert not desk.engine.status().open


def test_a_template_is_made_anew_at_most_each_three_seconds_and_when_it_is_old() -> None:
    desk = Desk()
    desk.tell(ev.WorkWaiting(True))
    desk.tell(ev.BlockBuilt(1, 0, desk.miner.chain.build((), 2_000, A).block))
    for _ in range(5):
        assert not of(ev.BuildBlock, desk.tell(ev.WorkWaiting(True)))
    assert not of(ev.BuildBlock, desk.wait(module.REBUILD_MS - 1))
    assert len(of(ev.BuildBlock, desk.wait(1))) == 1
    desk.tell(ev.BlockBuilt(1, 0, desk.miner.chain.build((), 2_004, A).block))
    assert not of(ev.BuildBlock, desk.wait(module.REFRESH_MS - 1))
    assert len(of(ev.BuildBlock, desk.wait(1))) == 1


def test_an_empty_block_after_the_period() -> None:
    desk = Desk(empty_block_period_s=5)
    assert of(ev.WakeAt, desk.effects) == [ev.WakeAt(6_000)]
    assert not of(ev.BuildBlock, desk.wait(4_999))
    assert of(ev.BuildBlock, desk.wait(1))


def test_who_does_not_mine_follows() -> None:
    desk = Desk(mining=False)
    assert not of(ev.BuildBlock, desk.tell(ev.WorkWaiting(True)))
    assert desk.engine.status().open  # so that what waits is compared until a miner is there
    block = desk.miner.mine()
    assert of(ev.ImportBlock, desk.hear(block)) == [ev.ImportBlock(block)]
    assert of(ev.Relay, desk.place(block, ev.Outcome.HEAD)) == [
        ev.Relay(encode_new_block(block), A)
    ]


def test_a_block_is_looked_at_once_whoever_sends_it() -> None:
    desk = Desk()
    block = desk.miner.mine()
    assert of(ev.ImportBlock, desk.hear(block, A))
    assert not of(ev.ImportBlock, desk.hear(block, B))
    desk.place(block, ev.Outcome.HEAD)
    assert not of(ev.ImportBlock, desk.hear(block, B))


def test_blocks_are_placed_one_at_a_time() -> None:
    desk = Desk()
    blocks = [desk.miner.mine() for _ in range(3)]
    assert (
        len(
            of(
                ev.ImportBlock,
                desk.tell(*(ev.Received(A, encode_new_block(one)) for one in blocks)),
            )
        )
        == 1
    )
    placed = desk.place(blocks[0], ev.Outcome.HEAD)
    assert of(ev.ImportBlock, placed) == [ev.ImportBlock(blocks[1])]


def test_an_orphan_waits_for_its_parent_and_its_sender_is_asked() -> None:
    desk = Desk()
    parent, orphan = desk.miner.mine(), desk.miner.mine()
    desk.hear(orphan)
    assert of(ev.AskBlocks, desk.place(orphan, ev.Outcome.ORPHAN)) == [ev.AskBlocks(None, A)]
    answered = desk.tell(ev.Received(A, encode_blocks([parent, orphan])))
    assert of(ev.ImportBlock, answered) == [ev.ImportBlock(parent)]
    assert of(ev.ImportBlock, desk.place(parent, ev.Outcome.HEAD)) == [ev.ImportBlock(orphan)]


def test_orphans_are_bounded_in_number_and_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HELD_MAX", 4)
    desk = Desk()
    for block in [desk.miner.mine() for _ in range(8)][1:]:
        desk.hear(block)
        desk.place(block, ev.Outcome.ORPHAN)
    assert desk.engine.explain(0).orphans == 4
    desk.wait(module.ORPHAN_MS)
    assert desk.engine.explain(0).orphans == 0


def test_a_block_ahead_of_our_clock_is_tried_again_when_its_time_has_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "HELD_MAX", 2)
    desk = Desk()
    blocks = [desk.miner.mine() for _ in range(3)]
    for block in blocks:
        desk.hear(block)
        desk.place(block, ev.Outcome.NOT_YET, wait_ms=5_000)
    assert desk.engine.explain(0).ahead_of_clock == 2
    assert not of(ev.ImportBlock, desk.wait(4_999))
    assert of(ev.ImportBlock, desk.wait(1)) == [ev.ImportBlock(blocks[1])]


def test_a_block_that_does_not_hold_costs_its_sender_and_not_the_block() -> None:
    desk = Desk()
    block = desk.miner.mine()
    desk.hear(block, A)
    refused = desk.place(block, ev.Outcome.INVALID, why="wrong state_root")
    assert of(ev.Reject, refused) == [ev.Reject(A, "wrong state_root")]
    assert of(ev.ImportBlock, desk.hear(block, B))  # with another body it may hold


def test_a_block_of_its_own_that_does_not_hold_ends_its_mining_and_says_so() -> None:
    desk = Desk()
    desk.tell(ev.WorkWaiting(True))
    template = desk.miner.chain.build((), 2_000, A).block
    desk.tell(ev.BlockBuilt(1, 0, template))
    (effect,) = of(
        ev.ImportBlock, desk.tell(ev.Mined(compute_seal_hash(template.header), bytes(8)))
    )
    assert of(ev.StopMining, desk.place(effect.block, ev.Outcome.INVALID, why="gas_used"))
    assert "gas_used" in (desk.engine.explain(0).trouble or "")
    assert of(ev.ImportBlock, desk.hear(desk.miner.mine()))  # it follows all the same


def test_who_is_ahead_is_asked_once_and_a_liar_last() -> None:
    desk = Desk()
    assert of(ev.AskBlocks, desk.status(A, 9)) == [ev.AskBlocks(None, A)]
    assert not of(ev.AskBlocks, desk.status(B, 7))
    assert of(ev.AskBlocks, desk.tell(ev.Received(A, encode_blocks([])))) == [ev.AskBlocks(None, B)]
    assert not of(ev.AskBlocks, desk.wait(module.ASK_MS - 1))
    assert not of(ev.AskBlocks, desk.wait(1))  # both are asked again in a minute
    assert of(ev.AskBlocks, desk.wait(60_000))


def test_an_answer_that_nobody_asked_for_is_ignored() -> None:
    desk = Desk()
    assert not desk.tell(ev.Received(A, encode_blocks([desk.miner.mine()])))


def test_nothing_is_mined_far_behind_and_a_peer_that_is_gone_is_not_ahead() -> None:
    desk = Desk()
    desk.tell(ev.WorkWaiting(True))
    desk.tell(ev.BlockBuilt(1, 0, desk.miner.chain.build((), 2_000, A).block))
    assert of(ev.StopMining, desk.status(A, 9))
    assert of(ev.BuildBlock, desk.tell(ev.PeerGone(A)))


def test_rival_heads_of_one_height_are_mined_on() -> None:
    desk = Desk()
    own = decode_status(desk.engine.status().encode()).heard[0][2]
    assert not of(ev.BuildBlock, desk.status(A, 0, own))
    assert of(ev.BuildBlock, desk.status(A, 0, own + 1))


def test_answers_to_one_peer_keep_their_distance() -> None:
    desk = Desk()
    ask = ev.Received(A, encode_ask([bytes(32)]))
    assert len(of(ev.SendBlocks, desk.tell(ask))) == 1
    assert not of(ev.SendBlocks, desk.tell(ask, ask, ask))
    assert len(of(ev.SendBlocks, desk.wait(module.SERVE_MS))) == 1
    assert not of(ev.SendBlocks, desk.wait(module.SERVE_MS))


def test_it_stops_with_its_disk_and_begins_anew() -> None:
    desk = Desk()
    assert of(ev.StopMining, desk.tell(ev.PersistFailed("full")))
    assert not desk.tell(ev.WorkWaiting(True))
    head = desk.miner.chain.head
    desk.tell(ev.Started(0, head.hash, (), None))
    assert of(ev.BuildBlock, desk.head(head, work=True))


# Messages.


def test_messages_come_back_as_they_were() -> None:
    miner = Miner()
    blocks = tuple(miner.mine() for _ in range(3))
    assert decode_message(encode_new_block(blocks[0]), decode_block) == NewBlock(blocks[0])
    assert decode_message(encode_blocks(blocks), decode_block) == Blocks(blocks)
    assert decode_message(encode_ask([b"\1" * 32]), decode_block) == Ask((b"\1" * 32,))


def test_an_answer_is_bounded() -> None:
    block = Miner().mine()
    told = decode_message(encode_blocks([block] * (BLOCKS_MAX + 9)), decode_block)
    assert isinstance(told, Blocks)
    assert len(told.blocks) == BLOCKS_MAX


@pytest.mark.parametrize("head", [0, 1, 9, 10, 11, 1_000, 10**9, 2**60])
def test_a_locator_reaches_genesis_in_few_steps(head: int) -> None:
    heights = list_locator_heights(head)
    assert heights[0] == head
    assert heights[-1] == 0
    assert heights == sorted(heights, reverse=True)
    assert len(heights) <= LOCATOR_MAX + 10


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_an_error(data: bytes) -> None:
    try:
        told = decode_message(data, decode_block)
    except LedgerError as refused:
        assert str(refused)
    else:
        assert isinstance(told, NewBlock | Ask | Blocks)


@given(
    st.recursive(
        st.none() | st.integers(-(2**63), 2**63) | st.binary(max_size=40),
        lambda one: st.lists(one, max_size=4),
    )
)
def test_what_is_packed_of_another_shape_is_an_error(item: Any) -> None:
    for data in (pack(item), pack((1, 1, item)), pack((1, 2, [item])), pack((1, 3, [item]))):
        with suppress(LedgerError):
            told = decode_message(data, decode_block)
            assert isinstance(told, Ask | Blocks)
