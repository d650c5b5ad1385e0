"""Effects in their order on a toy engine: what a failing disk, block or machine leads to."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from io import StringIO
from typing import Any

import pytest

from ledger.block import Block, Certificate
from ledger.chain import Chain
from ledger.consensus import events as ev
from ledger.consensus.signer import initial_record
from ledger.contract.signals import NodeFault
from ledger.crypto.address import address_of
from ledger.errors import DiskFull, InvalidBlock
from ledger.genesis import Genesis
from ledger.store.memory import MemoryStore
from node import interpreter as module
from node.interpreter import Interpreter, now_ms
from node.log import Log

KEY = b"\x01" * 32
ADDRESS = address_of(KEY)
GENESIS = Genesis(name="toy", chain_id=1947, timestamp=1, validators=(ADDRESS,))


class ToyEngine:
    """Answers each event with the effects scripted for its type, and keeps what it was told."""

    failure: str | None = None

    def __init__(self) -> None:
        self.told: list[ev.Event] = []
        self.script: dict[type, list[list[ev.Effect]]] = {}

    def step(self, event: ev.Event, now: int) -> list[ev.Effect]:
        assert abs(now - now_ms()) < 1_000
        self.told.append(event)
        answers = self.script.get(type(event), [])
        return answers.pop(0) if answers else []

    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.told]


class Rig:
    """An interpreter over a chain in memory; `done` is what reached disk and network, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        self.stream = StringIO()
        self.engine = ToyEngine()
        self.chain = Chain(MemoryStore(), GENESIS)
        self.disk_full = False
        store = self.chain.store
        save, put = store.save_signer, store.put_durable

        def save_signer(record: bytes) -> None:
            if self.disk_full:
                raise DiskFull("disk full")
            save(record)
            self.done.append(f"saved {record.decode(errors='replace')}")

        def put_durable(key: str, value: bytes | None) -> None:
            if self.disk_full:
                raise DiskFull("disk full")
            put(key, value)

        store.save_signer(initial_record())
        monkeypatch.setattr(store, "save_signer", save_signer)
        monkeypatch.setattr(store, "put_durable", put_durable)
        self.interpreter = Interpreter(
            self.engine,
            self.chain,
            self,
            lambda: self.chain.build((), int(time.time()), ADDRESS).block,
            self.committed,
            lambda: False,
            Log(stream=self.stream),
        )

    def committed(self, committed: Any) -> bool:
        self.done.append(f"committed {committed.block.number}")
        return True

    def send_consensus(self, message: bytes, to: bytes | None) -> None:
        self.done.append(f"sent {message.decode()}")

    def relay_consensus(self, message: bytes, origin: bytes | None) -> None:
        self.done.append(f"relayed {message.decode()}")

    def reject_peer(self, peer: bytes | None, reason: str) -> None:
        self.done.append(f"rejected {reason}")

    def penalise_peer(self, peer: bytes | None, reason: str) -> None:
        self.done.append(f"penalised {peer!r}: {reason}")

    def send_statuses(self) -> None:
        self.done.append("statuses")

    def fetch_block(self, height: int, peer: bytes | None) -> None:
        self.done.append(f"fetch {height}")


def certify(block: Block) -> Certificate:
    return Certificate(block.number, 0, block.hash, ())


def play(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 20))  # type: ignore[arg-type]


def test_effects_are_carried_out_first_in_first_out_across_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story() -> None:
        rig = Rig(monkeypatch)
        rig.engine.script[ev.Woke] = [
            [
                ev.BuildBlock(1, 0),
                ev.Persist(b"one"),
                ev.Send(b"a"),
                ev.Relay(b"b", None),
                ev.Reject(None, "c"),
                ev.FetchBlock(5, None, None),
            ]
        ]
        rig.engine.script[ev.BlockBuilt] = [[ev.Send(b"after the step before")]]
        rig.interpreter.feed(ev.Woke())
        assert rig.done == [
            "saved one",
            "sent a",
            "relayed b",
            "rejected c",
            "fetch 5",
            "sent after the step before",
        ]
        assert rig.engine.kinds() == ["Woke", "BlockBuilt"]

    play(story)


def test_nothing_behind_a_failed_persist_happens_until_the_disk_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "DISK_RETRY_S", 0.05)

    async def story() -> None:
        rig = Rig(monkeypatch)
        rig.disk_full = True
        rig.engine.script[ev.Woke] = [[ev.Send(b"before"), ev.Persist(b"x"), ev.Send(b"vote")]]
        rig.interpreter.feed(ev.Woke())
        assert rig.done == ["sent before"]
        assert rig.engine.kinds() == ["Woke", "PersistFailed"]
        assert rig.interpreter.trouble == "the disk failed: disk full"
        await asyncio.sleep(0.2)
        assert rig.engine.kinds() == ["Woke", "PersistFailed"]
        rig.disk_full = False
        async with asyncio.timeout(60):
            while len(rig.engine.kinds()) < 4:
                await asyncio.sleep(0.01)
        assert rig.engine.kinds() == ["Woke", "PersistFailed", "Started", "WorkWaiting"]
        started = rig.engine.told[-2]
        assert isinstance(started, ev.Started)
        assert started.record == initial_record()  # what the disk holds, not what was tried
        assert rig.interpreter.trouble is None
        assert rig.stream.getvalue().count("signing stops, reads go on") == 1
        assert rig.done == ["sent before", "statuses"], "what came meanwhile it has not heard"

    play(story)


def test_a_commit_that_does_not_reach_the_disk_is_not_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story() -> None:
        rig = Rig(monkeypatch)
        block = rig.chain.build((), 5, ADDRESS).block

        def fail(*_: Any) -> None:
            raise DiskFull("disk full")

        with monkeypatch.context() as context:
            context.setattr(rig.chain.store, "append_block", fail)
            commit = ev.CommitBlock(block, certify(block), b"lease")
            rig.engine.script[ev.Woke] = [[commit, ev.Send(b"announce")]]
            rig.interpreter.feed(ev.Woke())
        assert rig.done == []
        assert rig.engine.kinds() == ["Woke", "PersistFailed"]
        assert rig.chain.head.number == 0
        rig.interpreter.stop()

    play(story)


def test_a_block_is_imported_and_what_waits_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        rig = Rig(monkeypatch)
        block = rig.chain.build((), 5, ADDRESS).block
        rig.engine.script[ev.Woke] = [[ev.CommitBlock(block, certify(block), b"lease")]]
        rig.engine.script[ev.BlockImported] = [[ev.Send(b"next")]]
        rig.interpreter.feed(ev.Woke())
        assert rig.done == ["committed 1", "sent next"]
        assert rig.engine.told[-1] == ev.BlockImported(1, block.hash, (ADDRESS,), True)
        assert rig.chain.store.load_signer() == b"lease"

    play(story)


def test_a_certified_block_that_does_not_execute_stops_this_node_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story() -> None:
        rig = Rig(monkeypatch)
        block = rig.chain.build((), 5, ADDRESS).block

        def refuse(*_: Any) -> None:
            raise InvalidBlock("block 1: wrong state_root")

        with monkeypatch.context() as context:
            context.setattr(rig.chain, "commit", refuse)
            rig.engine.script[ev.Woke] = [[ev.CommitBlock(block, certify(block), None)]]
            rig.interpreter.feed(ev.Woke())
        assert rig.engine.told[-1] == ev.BlockChecked(block.hash, ev.Verdict.INVALID)
        assert "certified but does not execute here" in (rig.interpreter.trouble or "")

    play(story)


@pytest.mark.parametrize("error", [NodeFault("memory"), RuntimeError("a bug")])
def test_a_machine_or_code_that_fails_takes_no_further_part(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def story() -> None:
        rig = Rig(monkeypatch)

        def fail(*_: Any) -> None:
            raise error

        monkeypatch.setattr(rig.chain, "check", fail)
        block = rig.chain.build((), 5, ADDRESS).block
        rig.engine.script[ev.Woke] = [[ev.CheckBlock(block), ev.Send(b"vote")]]
        rig.interpreter.feed(ev.Woke())
        assert rig.done == []
        assert rig.engine.kinds() == ["Woke", "PersistFailed"]
        assert "takes no further part until it is restarted" in (rig.interpreter.trouble or "")
        assert "internal error" in rig.stream.getvalue()

    play(story)


def test_a_message_that_confuses_the_engine_costs_its_sender_the_connection_and_us_a_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story() -> None:
        rig = Rig(monkeypatch)
        step = rig.engine.step

        def stumble(event: ev.Event, now: int) -> list[ev.Effect]:
            effects = step(event, now)
            if isinstance(event, ev.Received) and event.message == b"odd":
                raise ZeroDivisionError("a bug")
            return effects

        monkeypatch.setattr(rig.engine, "step", stumble)
        rig.engine.script[ev.Started] = [[ev.Send(b"round change")]]
        rig.interpreter.feed(ev.Received(b"liar", b"odd"))
        assert rig.engine.kinds() == ["Received", "Started", "WorkWaiting"]
        assert rig.done == [
            "penalised b'liar': what it sent confused this node",
            "statuses",
            "sent round change",
        ]
        assert "internal error: ZeroDivisionError" in rig.stream.getvalue()
        assert rig.interpreter.trouble is None
        rig.interpreter.feed(ev.Received(b"honest", b"fine"))
        assert rig.engine.kinds()[-1] == "Received"

    play(story)


def test_an_event_of_our_own_that_the_engine_cannot_bear_halts_it_loudly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story() -> None:
        rig = Rig(monkeypatch)
        step = rig.engine.step

        def stumble(event: ev.Event, now: int) -> list[ev.Effect]:
            step(event, now)
            raise AssertionError("two PREPAREs in one round")  # also when it is told to halt

        monkeypatch.setattr(rig.engine, "step", stumble)
        rig.interpreter.feed(ev.Woke())
        assert rig.engine.kinds() == ["Woke", "PersistFailed"]
        assert "takes no further part until it is restarted" in (rig.interpreter.trouble or "")
        assert "halted" in rig.stream.getvalue()

    play(story)


def test_proposals_are_valid_ahead_of_time_or_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        rig = Rig(monkeypatch)
        other = Chain(MemoryStore(), GENESIS)
        now = int(time.time())
        good = other.build((), now, ADDRESS).block
        early = other.build((), now + 3_600, ADDRESS).block
        stranger = other.build((), now, bytes(20)).block
        rig.engine.script[ev.Woke] = [[ev.CheckBlock(one) for one in (good, early, stranger)]]
        rig.interpreter.feed(ev.Woke())
        assert rig.engine.told[1:] == [
            ev.BlockChecked(good.hash, ev.Verdict.VALID),
            ev.BlockChecked(early.hash, ev.Verdict.NOT_YET),
            ev.BlockChecked(stranger.hash, ev.Verdict.INVALID),
        ]

    play(story)


def test_a_later_wake_time_replaces_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        rig = Rig(monkeypatch)
        at = now_ms()
        rig.engine.script[ev.WorkWaiting] = [
            [ev.WakeAt(at + 50), ev.WakeAt(at + 3_600_000)],
            [ev.WakeAt(at + 250)],
        ]
        rig.interpreter.feed(ev.WorkWaiting(True))
        await asyncio.sleep(0.2)
        assert rig.engine.kinds() == ["WorkWaiting"]
        rig.interpreter.feed(ev.WorkWaiting(True))
        async with asyncio.timeout(60):
            while len(rig.engine.kinds()) < 3:
                await asyncio.sleep(0.01)
        assert now_ms() >= at + 250
        assert rig.engine.kinds() == ["WorkWaiting", "WorkWaiting", "Woke"]

    play(story)


def test_a_clean_stop_is_the_last_event(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        rig = Rig(monkeypatch)
        rig.engine.script[ev.Stopping] = [[ev.Persist(b"note")]]
        rig.interpreter.stop()
        assert rig.done == ["saved note"]
        rig.interpreter.feed(ev.Woke())
        assert rig.engine.kinds() == ["Stopping"]

    play(story)


def test_an_answer_for_a_height_gone_by_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        rig = Rig(monkeypatch)
        rig.engine.script[ev.Woke] = [[ev.BuildBlock(7, 0)]]
        rig.interpreter.feed(ev.Woke())
        assert rig.engine.kinds() == ["Woke"]

    play(story)
