"""Sending: every period on chain exactly once, whatever nodes and networks do."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meter.errors import OutboxFull
from meter.outbox import Outbox
from meter.reading import PeriodRecord
from tests.meter.fake_chain import RpcError
from tests.meter.worlds import ADDRESS, RECORDS, SETTINGS, World, play

pytestmark = pytest.mark.usefixtures("quick_sender")


def test_records_arrive_once_and_in_batches(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.add(RECORDS)
        world.start()
        await world.until_settled()
        world.check(RECORDS)
        assert world.chain.batches == [20, 20, 10]
        world.add([PeriodRecord(60, 0, 0, 16)])
        await world.until_settled()
        assert world.chain.records[ADDRESS, 60] == (0, 0, 16)
        assert world.chain.batches[-1] == 1
        assert world.counts == {}

    play(tmp_path, story)


def test_a_gap_is_not_closed_by_a_batch(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        with_gap = [one for one in RECORDS if one.period not in (20, 21)]
        world.add(with_gap)
        world.start()
        await world.until_settled()
        world.check(with_gap)
        assert world.chain.batches == [10, 20, 18]

    play(tmp_path, story)


def test_bytes_are_stored_before_they_are_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no room for the bytes nothing leaves; with room, what leaves is what was stored."""

    async def story(world: World) -> None:
        world.add(RECORDS[:3])
        with monkeypatch.context() as patch:

            def full(*_: object) -> None:
                raise OutboxFull(tmp_path, "database or disk is full")

            patch.setattr(world.outbox, "save_outgoing", full)
            world.start()
            await world.until(lambda: world.counts.get("disk_full", 0) > 3)
            assert world.chain.sent == []
        await world.until_settled()
        world.check(RECORDS[:3])

    play(tmp_path, story)


def test_a_lost_answer_is_no_second_transaction(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.nodes[0].swallow_replies = 3
        world.add(RECORDS)
        world.start()
        await world.until_settled()
        world.check(RECORDS)
        assert len(set(world.chain.sent)) == 3

    play(tmp_path, story)


def test_a_kill_while_a_transaction_waits_sends_the_same_bytes(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.chain.hold = True
        world.add(RECORDS[:5])
        world.start()
        await world.until(lambda: len(world.chain.pool) == 1)
        await world.kill()
        world.start()
        await world.until(lambda: len(world.chain.sent) > 1)
        world.chain.hold = False
        world.chain.mine()
        await world.until_settled()
        world.check(RECORDS[:5])
        assert len(set(world.chain.sent)) == 1
        assert world.counts == {}  # "already known" is no refusal

    play(tmp_path, story)


def test_a_node_that_dies_is_replaced_by_another(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.nodes[0].down = True
        world.add(RECORDS)
        world.start()
        await world.until_settled()
        world.check(RECORDS)
        assert world.nodes[1].calls["eth_sendRawTransaction"] == 3
        assert world.counts["node_unreachable"] >= 1

    play(tmp_path, story, count=2)


def test_a_node_that_forgets_the_transaction_gives_way_to_the_next(tmp_path: Path) -> None:
    """The first takes the bytes and never shows a receipt: the same bytes go to the second."""

    async def story(world: World) -> None:
        world.nodes[0].receipts_hidden = True
        world.add(RECORDS[:2])
        world.start()
        await world.until_settled()
        world.check(RECORDS[:2])
        assert len(set(world.chain.sent)) == 1

    play(tmp_path, story, count=2)


def test_a_week_without_network_is_drained_in_batches(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.nodes[0].down = True
        world.start()
        week = [PeriodRecord(period, period, 0, 1) for period in range(168)]
        for record in week:
            world.add([record])
            await asyncio.sleep(0)
        await asyncio.sleep(0.05)
        assert world.chain.records == {}
        world.nodes[0].down = False
        await world.until_settled()
        world.check(week)
        assert len(world.chain.batches) == 9

    play(tmp_path, story)


def test_batches_shrink_to_what_a_block_takes(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.add(RECORDS)
        world.start()
        await world.until_settled()
        world.check(RECORDS)
        assert max(world.chain.batches) <= 5

    play(tmp_path, story, gas_per_period=1_000_000)


def test_a_fee_is_paid_up_to_the_limit_with_the_same_nonce(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.settings = replace(SETTINGS, gas_price_wei_max=1_000)
        world.chain.base_fee = 100
        world.add(RECORDS[:2])
        world.chain.hold = True
        world.start()
        await world.until(lambda: len(world.chain.pool) == 1)
        world.chain.pool.clear()
        world.chain.base_fee = 500  # what was signed is now too cheap
        world.chain.hold = False
        await world.until_settled()
        world.check(RECORDS[:2])
        assert len(set(world.chain.sent)) == 2
        world.chain.base_fee = 5_000
        world.add(RECORDS[2:3])
        await world.until(lambda: world.counts.get("node_refused", 0) > 1)
        world.check(RECORDS[:2])

    play(tmp_path, story)


def test_a_refusal_is_told_and_tried_again(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.nodes[0].refuse_send = RpcError(-32000, "account is not permitted to transact")
        world.add(RECORDS[:2])
        world.start()
        await world.until(lambda: world.counts.get("node_refused", 0) > 2)
        world.nodes[0].refuse_send = None
        await world.until_settled()
        world.check(RECORDS[:2])
        assert len(set(world.chain.sent)) == 1, "the same bytes each time"

    play(tmp_path, story)


def test_confirmations_are_waited_for(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.settings = replace(SETTINGS, confirmations=3)
        world.add(RECORDS[:2])
        world.start()
        await world.until(lambda: len(world.chain.records) == 2)
        await asyncio.sleep(0.1)
        assert world.outbox.count_waiting() == 2
        world.chain.height += 3
        await world.until_settled()
        world.check(RECORDS[:2])

    play(tmp_path, story)


def test_what_a_reorganisation_withdraws_is_not_settled(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.settings = replace(SETTINGS, confirmations=3, resend_s=1)
        world.add(RECORDS[:2])
        world.start()
        await world.until(lambda: len(world.chain.records) == 2)
        world.chain.grow(2)
        await asyncio.sleep(1.5)  # sent again meanwhile, and refused: its nonce is used
        assert world.outbox.count_waiting() == 2
        assert not world.counts.get("foreign_nonce")
        world.chain.hold = True
        world.chain.reorganise(3)
        assert not world.chain.records
        world.chain.grow(10)
        await asyncio.sleep(0.2)
        assert world.outbox.count_waiting() == 2
        world.chain.hold = False
        world.chain.mine()
        world.chain.grow(3)
        await world.until_settled()
        world.check(RECORDS[:2])

    play(tmp_path, story)


def test_a_record_of_another_branch_settles_nothing(tmp_path: Path) -> None:
    """The outbox was lost, and the chain has the period by a transaction unknown to the new one."""

    async def story(world: World) -> None:
        world.settings = replace(SETTINGS, confirmations=3)
        world.add(RECORDS[:1])
        world.start()
        await world.until(lambda: len(world.chain.records) == 1)
        await world.kill()
        world.outbox.close()
        for file in tmp_path.glob("box.sqlite*"):
            file.unlink()
        world.outbox = Outbox(tmp_path / "box.sqlite")
        world.add(RECORDS[:1])
        world.start()
        await asyncio.sleep(0.3)
        assert world.outbox.count_waiting() == 1
        world.chain.grow(3)
        await world.until_settled()
        world.check(RECORDS[:1])

    play(tmp_path, story)


# Any story.


@settings(
    max_examples=15,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(st.sampled_from(["add", "down", "up", "kill", "swallow", "hold", "mine"])))
def test_each_period_is_recorded_once_in_any_story(
    tmp_path_factory: pytest.TempPathFactory, acts: list[str]
) -> None:
    async def story(world: World) -> None:
        waiting, added = list(RECORDS), []
        world.start()
        for act in acts:
            if act == "add" and waiting:
                part, waiting = waiting[:3], waiting[3:]
                world.add(part)
                added += part
            elif act in ("down", "up"):
                world.nodes[len(added) % 2].down = act == "down"
            elif act == "kill":
                await world.kill()
                world.start()
            elif act == "swallow":
                world.nodes[0].swallow_replies += 1
            elif act in ("hold", "mine"):
                world.chain.hold = act == "hold"
            await asyncio.sleep(0.004)
        for node in world.nodes:
            node.down = False
        world.chain.hold = False
        world.chain.mine()
        await world.until_settled()
        world.check(added)
        assert sum(world.chain.batches) == len(added)

    play(tmp_path_factory.mktemp("story"), story, count=2)
