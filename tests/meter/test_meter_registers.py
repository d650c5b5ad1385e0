"""What a register did is told on chain once, before the readings that wait."""

from pathlib import Path

import pytest

from meter.reading import RESET, ROLLOVER, RegisterChange
from tests.meter.worlds import ADDRESS, RECORDS, World, play

pytestmark = pytest.mark.usefixtures("quick_sender")


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
