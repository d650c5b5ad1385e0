"""Sending: every period on chain exactly once, whatever nodes and networks do."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from eth_account import Account
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meter import chain_view
from meter import submit as submit_module
from meter.config import SubmitSettings
from meter.errors import OutboxFull
from meter.faults import Faults
from meter.outbox import Outbox
from meter.reading import RESET, ROLLOVER, PeriodRecord, RegisterChange
from meter.rpc import Node as Client
from meter.rpc import Nodes
from meter.submit import Submitter
from tests.contracts_py.sources import read_contract
from tests.meter.fake_chain import CHAIN_ID, CONTRACT, PERIOD_SECONDS, Chain, Node, RpcError

KEY = bytes.fromhex("42" * 32)
ADDRESS = Account.from_key(KEY).address.lower()
RECORDS = [PeriodRecord(period, 100 + period, period % 3, 1) for period in range(10, 60)]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds become milliseconds; what is tested is order, not duration."""
    monkeypatch.setattr("meter.rpc.BACKOFF_S", 0.001)
    monkeypatch.setattr("meter.rpc.BACKOFF_S_MAX", 0.02)
    monkeypatch.setattr(submit_module, "POLL_MS_MAX", 10)
    monkeypatch.setattr(submit_module, "REFUSED_WAIT_S", 0.01)
    monkeypatch.setattr(submit_module, "PENDING_WAIT_S", 0.2)
    monkeypatch.setattr(submit_module, "DISK_WAIT_S", 0.01)


SETTINGS = SubmitSettings(
    key_file=Path("unused"),
    password_file=None,
    contract=bytes.fromhex(CONTRACT[2:]),
    nodes=(),
    chain_id=CHAIN_ID,
    genesis_hash=None,
    period_seconds=PERIOD_SECONDS,
    confirmations=0,
    gas_price_wei_max=0,
    batch_max=20,
    poll_ms=2,
    resend_s=1,
)


class World:
    """A chain, nodes, an outbox, and a sender that may be killed and started again."""

    def __init__(self, folder: Path, chain: Chain, nodes: list[Node], session: Any) -> None:
        self.folder, self.chain, self.nodes, self.session = folder, chain, nodes, session
        self.settings = SETTINGS
        self.counts: dict[str, int] = {}
        self.task: asyncio.Task[None] | None = None
        self.outbox = Outbox(folder / "box.sqlite")

    def start(self) -> None:
        faults = Faults("m", logging.getLogger("test"))
        faults.counts = self.counts
        clients = [Client(node.url, self.session) for node in self.nodes]
        self.sender = Submitter(
            self.settings, KEY, self.outbox, Nodes(clients), faults, logging.getLogger("test")
        )
        self.task = asyncio.create_task(self.sender.run())

    async def kill(self) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.outbox.close()
        self.outbox = Outbox(self.folder / "box.sqlite")

    def add(self, records: list[PeriodRecord]) -> None:
        self.outbox.save({}, records)
        if self.task is not None:
            self.sender.wake()

    async def until(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                assert self.task is not None
                if self.task.done():
                    self.task.result()
                await asyncio.sleep(0.005)

    async def until_settled(self) -> None:
        await self.until(lambda: self.outbox.count_waiting() == 0)

    def check(self, records: list[PeriodRecord]) -> None:
        expected = {
            (ADDRESS, one.period): (one.import_wh, one.export_wh, one.quality) for one in records
        }
        assert self.chain.records == expected
        assert self.chain.reverted == 0


def play(
    folder: Path, story: Callable[[World], Awaitable[None]], count: int = 1, **chain: Any
) -> None:
    async def main() -> None:
        one = Chain(**chain)
        nodes = [await Node(one).start() for _ in range(count)]
        async with aiohttp.ClientSession() as session:
            world = World(folder, one, nodes, session)
            try:
                await story(world)
            finally:
                if world.task is not None:
                    world.task.cancel()
                    await asyncio.gather(world.task, return_exceptions=True)
                world.outbox.close()
        for node in nodes:
            await node.stop()

    asyncio.run(main())


CHANGES = [RegisterChange(RESET, 10, 5_000, 3), RegisterChange(ROLLOVER, 11, 99_999, 0)]
CHANGES_SENT = [(0, 10, 5_000, 3), (1, 11, 99_999, 0)]


def test_what_a_register_did_arrives_once_whatever_happens(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.nodes[0].swallow_replies = 1
        world.outbox.save({}, RECORDS[:5], (), CHANGES)
        world.start()
        await world.until(lambda: len(world.chain.changes) == 1)
        await world.kill()
        world.start()
        await world.until_settled()
        world.check(RECORDS[:5])
        assert world.chain.changes == CHANGES_SENT
        assert world.outbox.get_change() is None
        assert len(set(world.chain.sent)) == 3

    play(tmp_path, story)


def test_a_foreign_nonce_does_not_lose_what_a_register_did(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.chain.hold = True
        world.outbox.save({}, (), (), CHANGES[:1])
        world.start()
        await world.until(lambda: len(world.chain.pool) == 1)
        world.chain.pool.clear()
        world.chain.nonces[ADDRESS] = 1
        world.chain.history.append((0, dict(world.chain.nonces), {}))
        world.chain.hold = False
        await world.until(lambda: world.chain.changes == CHANGES_SENT[:1])
        await world.until(lambda: world.outbox.get_outgoing() is None)
        assert world.outbox.get_change() is None

    play(tmp_path, story)


def test_a_contract_that_notes_no_registers_still_gets_the_readings(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.outbox.save({}, RECORDS[:5], (), CHANGES)
        world.start()
        await world.until_settled()
        world.check(RECORDS[:5])
        assert [event.kind for event in world.outbox.events()] == ["change_refused"] * 2

    play(tmp_path, story, notes_registers=False)


def test_a_meter_that_is_not_enrolled_yet_keeps_what_its_register_did(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.outbox.save({}, RECORDS[:1], (), CHANGES)
        world.start()
        await world.until(lambda: world.counts.get("contract_refused", 0) >= 2)
        world.chain.enrolled = True
        await world.until_settled()
        assert world.chain.changes == CHANGES_SENT

    play(tmp_path, story, enrolled=False)


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


# Chains that are not ours.


@pytest.mark.parametrize("change", [{"chain_id": 5}, {"genesis": "0x" + "99" * 32}])
def test_another_chain_gets_nothing(tmp_path: Path, change: dict[str, Any]) -> None:
    async def story(world: World) -> None:
        world.settings = replace(SETTINGS, genesis_hash=bytes.fromhex("11" * 32))
        world.add(RECORDS[:2])
        world.start()
        await world.until(lambda: world.counts.get("wrong_chain", 0) > 3)
        assert world.chain.sent == []

    play(tmp_path, story, **change)


def test_the_first_genesis_is_kept_and_a_network_started_anew_gets_nothing(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.add(RECORDS[:2])
        world.start()
        await world.until_settled()
        world.chain.genesis = "0x" + "77" * 32
        world.chain.records.clear()
        world.add(RECORDS[2:4])
        await world.until(lambda: world.counts.get("wrong_chain", 0) > 3)
        assert world.chain.records == {}

    play(tmp_path, story)


def test_a_receipt_of_another_genesis_settles_nothing(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.chain.hold = True
        world.add(RECORDS[:2])
        world.start()
        await world.until(lambda: len(world.chain.pool) == 1)
        world.chain.genesis = "0x" + "77" * 32
        world.chain.hold = False
        world.chain.mine()
        await world.until(lambda: world.counts.get("wrong_chain", 0) > 3)
        assert world.outbox.count_waiting() == 2
        world.chain.genesis = "0x" + "11" * 32
        await world.until_settled()
        world.check(RECORDS[:2])

    play(tmp_path, story)


def test_a_node_that_lags_signs_nothing(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.add(RECORDS[:40])
        world.start()
        await world.until_settled()
        world.nodes[0].lag = 1
        world.add(RECORDS[40:])
        await world.until(lambda: world.counts.get("wrong_chain", 0) > 3)
        assert len(world.chain.sent) == 2
        world.nodes[0].lag = 0
        await world.until_settled()
        world.check(RECORDS)

    play(tmp_path, story)


def test_the_same_genesis_without_our_history_gets_nothing(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.add(RECORDS[:20])
        world.start()
        await world.until_settled()
        world.chain.records.clear()
        world.chain.nonces.clear()
        world.chain.height = 50
        world.add(RECORDS[20:])
        await world.until(lambda: world.counts.get("wrong_chain", 0) > 3)
        assert world.chain.records == {}

    play(tmp_path, story)


def test_another_period_length_gets_nothing(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.settings = replace(SETTINGS, period_seconds=900)
        world.add(RECORDS[:2])
        world.start()
        await world.until(lambda: world.counts.get("wrong_chain", 0) > 1)
        assert world.chain.sent == []

    play(tmp_path, story)


# What the chain says.


def test_the_contract_has_what_a_meter_calls() -> None:
    """Names and types as in the artifact of contracts_py/metering.py."""
    from ledger.contract.artifact import build_artifact

    entries = build_artifact(read_contract("metering"))["abi"]
    found = {
        f"{one['name']}({','.join(given['type'] for given in one['inputs'])})": [
            out["type"] for out in one.get("outputs", [])
        ]
        for one in entries
        if one["type"] in ("function", "error")
    }
    assert found[chain_view.RECORD] == found[chain_view.RECORD_MANY] == []
    assert found["periodSeconds()"] == ["uint32"]
    assert found[chain_view.NOTE_REGISTER] == []
    assert found[chain_view.READING] == ["uint64", "uint64", "uint8", "bool", "uint32"]
    assert {"AlreadyRecorded(address,uint32)", "NotEnrolled(address)"} <= set(found)
    assert "InvalidPeriod(uint256)" in found


def test_what_is_recorded_already_is_looked_up_and_not_sent(tmp_path: Path) -> None:
    """An outbox that was lost, and counted anew from the same file."""

    async def story(world: World) -> None:
        for record in RECORDS[:10]:
            values = (record.import_wh, record.export_wh, record.quality)
            world.chain.records[ADDRESS, record.period] = values
        world.add(RECORDS)
        world.start()
        await world.until_settled()
        world.check(RECORDS)
        assert world.counts == {}
        assert sum(world.chain.batches) == 40

    play(tmp_path, story)


def test_another_value_on_chain_stands_and_is_told(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.chain.records[ADDRESS, 10] = (1, 2, 1)
        world.chain.records[ADDRESS, 11] = (5, 5, 1)
        world.chain.corrections[ADDRESS, 11] = (7, 7, 2)
        world.add(RECORDS[:3])
        world.start()
        await world.until_settled()
        assert world.chain.records[ADDRESS, 10] == (1, 2, 1)
        assert [event.kind for event in world.outbox.events()] == ["conflict"]
        assert world.counts == {"conflict": 1}
        assert world.chain.reverted == 0

    play(tmp_path, story)


def test_a_meter_not_enrolled_waits_and_sends_nothing(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.add(RECORDS[:3])
        world.start()
        await world.until(lambda: world.counts.get("contract_refused", 0) > 1)
        assert world.chain.sent == []
        world.chain.enrolled = True
        await world.until_settled()
        world.check(RECORDS[:3])

    play(tmp_path, story, enrolled=False)


def test_a_transaction_that_failed_is_made_anew(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.chain.hold = True
        world.add(RECORDS[:3])
        world.start()
        await world.until(lambda: len(world.chain.pool) == 1)
        world.chain.gas_per_period *= 10  # the estimate is out of date: out of gas
        world.chain.hold = False
        world.chain.mine()
        await world.until_settled()
        assert world.chain.reverted == 1
        assert {period for _, period in world.chain.records} == {10, 11, 12}
        assert world.counts["reverted"] == 1
        assert [event.kind for event in world.outbox.events()] == ["reverted"]

    play(tmp_path, story)


def test_a_key_used_by_someone_else_loses_and_doubles_nothing(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.chain.hold = True
        world.add(RECORDS[:3])
        world.start()
        await world.until(lambda: len(world.chain.pool) == 1)
        world.chain.pool.clear()
        world.chain.nonces[ADDRESS] = 1  # another transaction took nonce 0
        world.chain.height += 1
        world.chain.hold = False
        await world.until_settled()
        world.check(RECORDS[:3])
        assert world.counts["foreign_nonce"] == 1

    play(tmp_path, story)


def test_a_lost_outbox_waits_for_what_is_in_the_pool(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.chain.hold = True
        world.add(RECORDS[:3])
        world.start()
        await world.until(lambda: len(world.chain.pool) == 1)
        await world.kill()
        world.outbox.close()
        for file in tmp_path.glob("box.*"):
            file.unlink()
        world.outbox = Outbox(tmp_path / "box.sqlite")
        world.start()
        world.add(RECORDS[:5])
        await world.until(lambda: world.counts.get("foreign_nonce", 0) > 1)
        assert len(world.chain.sent) == 1
        world.chain.hold = False
        world.chain.mine()
        await world.until_settled()
        world.check(RECORDS[:5])

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


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
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

    play(tmp_path_factory.mktemp("story"), story, count=2)
