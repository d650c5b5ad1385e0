"""A chain, nodes and an outbox in one process, with a sender that is killed and started again."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
from eth_account import Account

from meter.config import SubmitSettings
from meter.faults import Faults
from meter.outbox import Outbox
from meter.reading import PeriodRecord
from meter.rpc import Node as Client
from meter.rpc import Nodes
from meter.submit import Submitter
from tests.meter.fake_chain import CHAIN_ID, CONTRACT, PERIOD_SECONDS, Chain, Node

KEY = bytes.fromhex("42" * 32)
ADDRESS = Account.from_key(KEY).address.lower()
RECORDS = [PeriodRecord(period, 100 + period, period % 3, 1) for period in range(10, 60)]
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

    async def until(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
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
