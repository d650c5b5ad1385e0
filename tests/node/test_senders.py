"""The process that recovers senders: what it says, how it ends, and what is done without it."""

import asyncio
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from ledger.chain import Chain
from ledger.crypto.address import address_of
from ledger.errors import AlreadyKnown, InvalidSignature, InvalidTransaction
from ledger.genesis import Genesis
from ledger.pool import Pool
from ledger.store.memory import MemoryStore
from ledger.transaction import Transaction, decode_transaction, sign_transaction
from node import senders
from node.intake import Intake
from node.log import Log
from node.senders import WAITING_MIN, SenderProcess

KEY = bytes([7]) * 32
GENESIS = Genesis(name="test", chain_id=1947, timestamp=1, validators=(address_of(KEY),))


def sign(nonce: int, key: bytes = KEY) -> bytes:
    to = address_of(KEY)
    return sign_transaction(key, chain_id=1947, nonce=nonce, to=to, gas=21_000).raw


def spoil(raw: bytes) -> bytes:
    """The same with an r that is no point of the curve: nobody signed it."""
    for last in range(256):
        bad = raw[:-34] + bytes([last]) + raw[-33:]
        try:
            assert decode_transaction(bad).sender
        except InvalidSignature:
            return bad
    raise AssertionError("every r is a point")


def test_it_tells_hash_and_sender_as_they_are_and_nobody_where_nobody_signed() -> None:
    raws = [sign(0), spoil(sign(1)), sign(2)]
    made = [decode_transaction(raw) for raw in raws]

    async def story() -> None:
        process = SenderProcess(Log("error"))
        batches = [made[:1], made[1:]]  # asked together, answered in order
        assert all(await asyncio.gather(*(process.recover(batch) for batch in batches)))
        assert process.is_running
        await process.stop()
        assert not process.is_running

    asyncio.run(story())
    assert [one._hash for one in made] == [decode_transaction(raw).hash for raw in raws]
    assert [one._sender for one in made] == [address_of(KEY), None, address_of(KEY)]


def test_it_ends_when_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(senders, "IDLE_S", 0.05)

    async def story() -> None:
        process = SenderProcess(Log("error"))
        assert await process.recover([decode_transaction(sign(0))])
        assert process._process is not None
        ended = process._process.wait()
        assert await asyncio.wait_for(ended, 60) == 0
        assert not process.is_running
        assert await process.recover([decode_transaction(sign(1))])  # and starts again
        await process.stop()

    asyncio.run(story())


def test_an_answer_that_nobody_waited_for_is_not_taken_for_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The machine slept, and the peer whose transactions were asked about is gone meanwhile."""
    other = bytes([8]) * 32
    mine, theirs = decode_transaction(sign(1)), decode_transaction(sign(1, other))

    async def story() -> None:
        process = SenderProcess(Log("error"))
        assert await process.recover([decode_transaction(sign(0))])
        child = process._process
        assert child is not None
        child.send_signal(signal.SIGSTOP)
        monkeypatch.setattr(senders, "ANSWER_S_MAX", 0.1)
        asking = asyncio.create_task(process.recover([mine]))
        await asyncio.sleep(0)
        asking.cancel()
        async with asyncio.timeout(60):
            while not process._failed:
                await asyncio.sleep(0.01)
        with suppress(ProcessLookupError):  # it is let go by now
            child.send_signal(signal.SIGCONT)
        monkeypatch.setattr(senders, "ANSWER_S_MAX", 60)
        assert not await process.recover([theirs]), "it is not asked again"
        await process.stop()

    asyncio.run(story())
    assert theirs.sender == address_of(other)


def test_what_it_cannot_do_threads_do() -> None:
    raws = [sign(nonce) for nonce in range(WAITING_MIN)]
    chain = Chain(MemoryStore(), GENESIS)

    async def story() -> None:
        process = SenderProcess(Log("error"))
        with ThreadPoolExecutor(2) as executor:
            pool = Pool(1947, GENESIS.gas_limit)
            intake = Intake(lambda _: chain.state_at(), pool, executor, lambda *_: None, process)
            taken = await intake.submit(raws[:100])
            assert not process.is_running, "too few for a process"
            taken += await intake.submit(raws[100:])
            assert await process.recover([decode_transaction(raws[0])])
            assert process._process is not None
            process._process.kill()
            more = [sign(nonce) for nonce in range(WAITING_MIN, 2 * WAITING_MIN)]
            taken += await intake.submit(more)
            assert not await process.recover([decode_transaction(raws[0])])
            assert not process.is_running
        assert all(isinstance(one, Transaction) and one.sender for one in taken)
        assert pool.size == 2 * WAITING_MIN

    asyncio.run(story())


def test_what_is_refused_is_no_garbage() -> None:
    """An error with its frames would hold all results of its batch, until a collection."""

    async def story() -> list[Transaction | Exception]:
        with ThreadPoolExecutor(1) as executor:
            chain, pool = Chain(MemoryStore(), GENESIS), Pool(1947, GENESIS.gas_limit)
            intake = Intake(lambda _: chain.state_at(), pool, executor, lambda *_: None)
            return await intake.submit([sign(0), sign(0), b"none"])

    taken, again, broken = asyncio.run(story())
    assert isinstance(taken, Transaction)
    assert isinstance(again, AlreadyKnown) and again.__traceback__ is None
    assert isinstance(broken, InvalidTransaction)
