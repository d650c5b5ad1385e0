"""The meter process: the sources, pipelines and senders of one configuration file.

`run` is what `wattledger meter run` calls. It ends when it is told to (SIGTERM, SIGINT), or when
every source has ended for good (replays, standard input) and all they gave is on chain. A failure
of a source or a node never ends it; a damaged outbox or key does, with what to do about it.
"""

import asyncio
import json
import logging
import signal
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import aiohttp

from meter.config import Config, MeterConfig, load_config
from meter.errors import MeterError, OutboxError, SourceError
from meter.keys import load_key, warn_if_readable_by_others
from meter.lines import LineSplitter
from meter.outbox import Outbox
from meter.pipeline import Pipeline
from meter.replay import Row, read_rows
from meter.rpc import Node, Nodes
from meter.serial_port import ByteSource, Chunk, PortReader, SerialPort, StandardInput, explain
from meter.submit import Submitter

LOG = logging.getLogger("wattledger.meter")
ROWS_PER_CHECKPOINT = 2_000  # rows of a fast replay between two turns of the event loop
PACE_S_MAX = 1.0  # how long a paced replay sleeps at most before it looks again


class Meter:
    """One [[meter]]: its outbox, its pipeline and its sender."""

    def __init__(self, config: MeterConfig, whole: Config, session: aiohttp.ClientSession) -> None:
        key = load_key(config.submit.key_file, config.submit.password_file)
        warn_if_readable_by_others(config.submit.key_file, LOG)
        self.outbox = Outbox(whole.state_dir / f"{config.name}.sqlite")
        try:
            self._connect(config, whole, key, session)
        except BaseException:
            self.outbox.close()
            raise

    def _connect(
        self, config: MeterConfig, whole: Config, key: bytes, session: aiohttp.ClientSession
    ) -> None:
        self.pipeline = Pipeline(config, whole.clock, self.outbox, LOG, self._saved)
        nodes = Nodes([Node(url, session) for url in config.submit.nodes])
        self.submitter = Submitter(
            config.submit, key, self.outbox, nodes, self.pipeline.faults, LOG
        )
        self._check_owner()

    def _check_owner(self) -> None:
        """An outbox belongs to one key and contract: with another, nonces and periods mix."""
        owner = f"{self.submitter.address.hex()} {self.pipeline.config.submit.contract.hex()} "
        owner += f"{self.pipeline.config.submit.period_seconds}"
        kept = self.outbox.get_meta("owner")
        if kept is None:
            self.outbox.set_meta("owner", owner)
        elif kept != owner:
            raise OutboxError(
                self.outbox.file,
                "belongs to another key, contract or period length; give this meter another name "
                "or move the file away",
            )

    def _saved(self) -> None:
        self.submitter.wake()

    def close(self) -> None:
        self.outbox.close()


async def run(config_path: Path | str, stop: asyncio.Event | None = None) -> None:
    """Run all meters of a configuration file. Raises MeterError for what a person must mend.

    Without `stop` the process is told to stop by SIGTERM or SIGINT.
    """
    config = load_config(Path(config_path))
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        config.state_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutboxError(config.state_dir, f"cannot be made: {error.strerror}") from error
    signals = () if stop else (signal.SIGTERM, signal.SIGINT)
    stop = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in signals:
        loop.add_signal_handler(number, stop.set)
    try:
        async with aiohttp.ClientSession() as session:
            await _run_meters(config, session, stop)
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


async def _run_meters(config: Config, session: aiohttp.ClientSession, stop: asyncio.Event) -> None:
    meters: list[Meter] = []
    try:
        for one in config.meters:
            meters.append(Meter(one, config, session))
        await _serve(config, meters, stop)
    finally:
        for meter in meters:
            meter.close()


async def _serve(config: Config, meters: list[Meter], stop: asyncio.Event) -> None:
    """Until stopped, or all sources have ended and all is settled, or something broke for good."""
    damaged: list[SourceError] = []
    sources = [asyncio.create_task(job) for job in _source_jobs(meters, damaged)]
    watched: list[asyncio.Task[Any]] = [
        asyncio.create_task(_drain(sources, meters)),
        asyncio.create_task(stop.wait()),
        *(asyncio.create_task(meter.submitter.run()) for meter in meters),
    ]
    if config.status_file is not None:
        watched.append(asyncio.create_task(_write_status(config, meters)))
    try:
        ended, _ = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()  # raises what broke for good
        if damaged and not stop.is_set():
            raise damaged[0]
    finally:
        for task in [*watched, *sources]:
            task.cancel()
        await asyncio.gather(*watched, *sources, return_exceptions=True)
        for meter in meters:
            # What a live source gave since the last checkpoint is kept; its period stays open.
            if not meter.pipeline.checkpoint(force=True):
                LOG.error("%s: the last readings are not saved", meter.pipeline.config.name)
        if config.status_file is not None:
            save_status(config.status_file, meters)


async def _drain(sources: list[asyncio.Task[None]], meters: list[Meter]) -> None:
    """Until every source has ended for good and every record is on chain."""
    await asyncio.gather(*sources)
    for meter in meters:
        while not meter.pipeline.checkpoint():
            await asyncio.sleep(1)
        while meter.outbox.count_waiting():
            await meter.submitter.settled.wait()


def _source_jobs(
    meters: list[Meter], damaged: list[SourceError]
) -> list[Coroutine[Any, Any, None]]:
    """One job per file and per port; meters of one port share it."""
    jobs: list[Coroutine[Any, Any, None]] = []
    by_port: dict[str, list[Meter]] = {}
    for meter in meters:
        lines = meter.pipeline.config.lines
        if lines is None:
            jobs.append(_replay(meter, damaged))
        else:
            by_port.setdefault(lines.port, []).append(meter)
    for port, sharing in by_port.items():
        lines = sharing[0].pipeline.config.lines
        assert lines is not None
        source: ByteSource = SerialPort(port, lines.baud) if port else StandardInput()
        jobs.append(_read_port(source, port, sharing))
    return jobs


async def _read_port(source: ByteSource, port: str, meters: list[Meter]) -> None:
    """Lines of one port, or of standard input, to every meter on it."""
    pipelines = [meter.pipeline for meter in meters]

    def note(kind: str, detail: str) -> None:
        for pipeline in pipelines:
            pipeline.faults.count(kind, detail)

    splitter = LineSplitter(note)

    async def deliver(chunk: Chunk) -> None:
        if chunk.opened:
            splitter.reset()
            LOG.info("reading %s", port or "standard input")
        lines = splitter.feed(chunk.data)
        for pipeline in pipelines:
            if chunk.opened and port:
                pipeline.opened()
            for line in lines:
                pipeline.take_line(line, chunk.stamp)
            pipeline.pass_time(chunk.stamp)
            pipeline.checkpoint()

    def lost(error: OSError) -> None:
        note("port_lost", explain(port, error))

    await PortReader(source, deliver, lost).run()
    for pipeline in pipelines:
        pipeline.finish()


async def _replay(meter: Meter, damaged: list[SourceError]) -> None:
    """Rows of a file at their pace. A damaged one is told once what came before is on chain."""
    pipeline = meter.pipeline
    settings, speed = pipeline.config.replay, pipeline.config.speed
    assert settings is not None
    if pipeline.replay_ended:
        return
    columns = pipeline.measure.settings.columns()
    rows = read_rows(settings, columns, pipeline.rows_done, pipeline.faults.count)
    first_ms: int | None = None
    began_s = time.monotonic()
    taken = 0
    try:
        for row in rows:
            if first_ms is None:
                first_ms = row.at_ms
            if speed:
                await _wait_due(pipeline, row, first_ms, began_s, speed)
            pipeline.take_row(row)
            taken += 1
            if taken % ROWS_PER_CHECKPOINT == 0:
                await _save(pipeline)
    except SourceError as error:
        LOG.error("%s: %s", pipeline.config.name, error)
        damaged.append(error)
        return
    pipeline.finish()
    LOG.info("%s: %s has ended", pipeline.config.name, settings.file)


async def _wait_due(
    pipeline: Pipeline, row: Row, first_ms: int, began_s: float, speed: int
) -> None:
    """Wait until a row is due; what came before it is saved meanwhile."""
    due_s = began_s + (row.at_ms - first_ms) / (1_000 * speed)
    while (left_s := due_s - time.monotonic()) > 0:
        pipeline.checkpoint()
        await asyncio.sleep(min(left_s, PACE_S_MAX))


async def _save(pipeline: Pipeline) -> None:
    """A replay can wait for room on the disk: nothing piles up in memory."""
    while not pipeline.checkpoint():
        await asyncio.sleep(1)
    await asyncio.sleep(0)


async def _write_status(config: Config, meters: list[Meter]) -> None:
    assert config.status_file is not None
    while True:
        save_status(config.status_file, meters)
        await asyncio.sleep(config.status_s)


def save_status(file: Path, meters: list[Meter]) -> None:
    """The counters of all meters as JSON, whole or not at all. A full disk is only logged."""
    status = [meter.pipeline.status() for meter in meters]
    draft = file.with_name(file.name + ".new")
    try:
        draft.write_text(json.dumps(status, indent=1) + "\n")
        draft.replace(file)
    except OSError as error:
        LOG.warning("status file %s cannot be written: %s", file, error.strerror)


__all__ = ["Meter", "MeterError", "run"]
