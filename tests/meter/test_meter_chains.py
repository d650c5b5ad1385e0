"""Chains that are not a meter's own, and what its own chain says to what is sent."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from meter import chain_view
from meter.outbox import Outbox
from tests.contracts_py.sources import read_contract
from tests.meter.worlds import ADDRESS, RECORDS, SETTINGS, World, play

pytestmark = pytest.mark.usefixtures("quick_sender")

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
