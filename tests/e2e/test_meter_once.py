"""A meter killed with SIGKILL at random and cut off for a day: each period is on chain once.

A real node, the real meter process, real readings. What must be on chain is counted here, by the
csv module and plain arithmetic; what is on chain is read through JSON-RPC.
"""

import csv
import gzip
import json
import random
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ledger.crypto.address import address_of, to_checksum
from node.demo.grid import Grid, call, deploy_metering
from node.demo.households import SAMPLES, sample_file
from node.errors import NodeError
from tests.conftest import SHARED
from tests.e2e.networks import (
    ask,
    height_of,
    patience,
    read_log,
    readings_of,
    receipts_of,
    recorded_by,
    run_network,
    until,
    watched,
)

FRANCE = SHARED / "data" / "household_minute_france.csv.gz"
CALIFORNIA = SHARED / "data" / "prosumers_hourly_california.csv.gz"
CALIFORNIA_UTC_OFFSET_S = -7 * 3_600  # Pacific daylight time, for the whole file
UK_HOURS = 28 * 24
DAY_PERIODS = 24
DAY_MS = 86_400_000
VALID, QUESTIONABLE = 1, 16
END_S = 240.0

Expected = dict[int, tuple[int, int, int]]
"""Period -> (import Wh, export Wh, quality)."""


@dataclass
class Source:
    """Lines of a [[meter]] that replays a real file, and what must come of it."""

    settings: str
    expected: Expected


# The counter of this test.


def count_france() -> Expected:
    """Minutes of watts: whole watt-hours, the rest carried into the next hour with a reading."""
    minutes: dict[int, list[int]] = {}
    with gzip.open(FRANCE, "rt") as text:
        for row in csv.DictReader(text):
            if row["active_w"]:
                start = datetime.fromisoformat(row["minute_start_local"]).replace(tzinfo=UTC)
                minutes.setdefault(int(start.timestamp()) // 3_600, []).append(int(row["active_w"]))
    expected, carried = {}, 0
    for period, watts in sorted(minutes.items()):
        energy_wh, carried = divmod(carried + sum(watts), 60)
        expected[period] = (energy_wh, 0, VALID if len(watts) == 60 else QUESTIONABLE)
    return expected


def count_california(home: str) -> Expected:
    expected = {}
    with gzip.open(CALIFORNIA, "rt") as text:
        for row in csv.DictReader(text):
            if row["home"] == home:
                local = datetime.fromisoformat(row["hour_start_local"]).replace(tzinfo=UTC)
                period = (int(local.timestamp()) - CALIFORNIA_UTC_OFFSET_S) // 3_600
                expected[period] = (int(row["load_wh"]), int(row["pv_wh"]), VALID)
    return expected


def cut_uk(folder: Path, skipped: int) -> tuple[Path, Expected]:
    """Four weeks of a UK household, in thousandths of kWh as the source measured it."""
    file, expected = folder / f"uk{skipped}.csv", {}
    with gzip.open(sample_file(SAMPLES[0][0]), "rt") as source, file.open("w") as text:
        text.write("start,kwh\n")
        rows = list(csv.DictReader(source))[skipped : skipped + UK_HOURS]
        for row in rows:
            kwh = Decimal(row["value"]).quantize(Decimal("0.001"))
            text.write(f"{row['start']},{kwh}\n")
            start = datetime.fromisoformat(row["start"])
            expected[int(start.timestamp()) // 3_600] = (int(kwh * 1_000), 0, VALID)
    assert len(expected) == UK_HOURS
    return file, expected


def uk_source(folder: Path, skipped: int, speed: int) -> Source:
    try:
        file, expected = cut_uk(folder, skipped)
    except NodeError:
        pytest.skip("neither ../shared/data nor the package eemeter is here")
    return Source(
        f'file = "{file}"\ntime_column = "start"\nkind = "interval"\nimport_column = "kwh"\n'
        f'energy_unit = "kWh"\ninterval_s = 3600\nspeed = {speed}\n',
        expected,
    )


def one_house(folder: Path, speed: int) -> Source:
    """The French house, minute by minute; else a UK one, hour by hour."""
    if not FRANCE.exists():
        return uk_source(folder, 0, speed)
    expected = count_france()
    assert (len(expected), sum(wh for wh, _, _ in expected.values())) == (611, 475_882)
    return Source(
        f'file = "{FRANCE}"\ntime_column = "minute_start_local"\npower_column = "active_w"\n'
        f"speed = {speed}\n",
        expected,
    )


def two_houses(folder: Path, speed: int) -> list[Source]:
    """Two prosumers of California, energy both ways; else two months of a UK house."""
    if not CALIFORNIA.exists():
        return [uk_source(folder, skipped, speed) for skipped in (0, UK_HOURS)]
    return [
        Source(
            f'file = "{CALIFORNIA}"\nwhere = "home={home}"\ntime_column = "hour_start_local"\n'
            f'kind = "interval"\nimport_column = "load_wh"\nexport_column = "pv_wh"\n'
            f"interval_s = 3600\nutc_offset_s = {CALIFORNIA_UTC_OFFSET_S}\nspeed = {speed}\n",
            count_california(home),
        )
        for home in ("b01", "b02")
    ]


# The meter process.


class MeterProcess:
    """One process with a [[meter]] for each source, reached through a wire that can be cut."""

    def __init__(self, grid: Grid, sources: list[Source], urls: Sequence[str] = ()) -> None:
        self.grid = grid
        self.urls = list(urls) or [f"http://127.0.0.1:{grid.relay_ports[0]}"]
        self.sources = sources
        self.folder = grid.folder / "meters"
        self.folder.mkdir()
        self.keys = [secrets.token_bytes(32) for _ in sources]
        for key in self.keys:
            call(grid, grid.client(0), "enrol(address,address)", address_of(key), key[:20])
        self.config = self.folder / "meter.toml"
        self.config.write_text(self._settings())

    def hurry(self) -> None:
        """Replay what is left as fast as it goes, from the next start on."""
        text, count = re.subn(r"(?m)^speed = \d+$", "speed = 0", self.config.read_text())
        assert count == len(self.sources)
        self.config.write_text(text)

    def _settings(self) -> str:
        parts = [
            f'network = "{self.grid.network.network_file}"\nstate_dir = "outbox"\n'
            'status_file = "status.json"\nstatus_s = 1\n'
            '\n[defaults]\nsource = "replay"\nresend_s = 1\npoll_ms = 20\n'
            f'contract = "{to_checksum(self.grid.contract)}"\n'
            f"nodes = {json.dumps(self.urls)}\n"
        ]
        for index, (key, source) in enumerate(zip(self.keys, self.sources, strict=True)):
            file = self.folder / f"{index}.key"
            file.write_text(key.hex())
            file.chmod(0o600)
            parts.append(f'\n[[meter]]\nname = "m{index}"\nkey_file = "{file}"\n{source.settings}')
        return "".join(parts)

    def start(self) -> None:
        self.grid.processes.start("meter", "node", "meter", "run", "--config", str(self.config))

    def kill(self) -> None:
        self.grid.processes.check()
        self.grid.processes.kill("meter")

    def last_write_ns(self) -> int:
        """When any of the outboxes was last written."""
        files = (self.folder / "outbox").glob("*.sqlite-wal")
        return max((file.stat().st_mtime_ns for file in files), default=0)

    def status(self) -> list[dict[str, Any]]:
        """What its meters say of themselves, each second; [] before the first time."""
        self.grid.processes.check()
        try:
            said: list[dict[str, Any]] = json.loads((self.folder / "status.json").read_text())
        except (OSError, ValueError):
            return []  # not written yet
        return said

    def await_cut_day(self) -> None:
        """A day of the meters' time, and of records that wait, after a status written from now."""
        file = self.folder / "status.json"
        until(file.exists, 30, "a status of the meter")
        before = file.stat().st_mtime_ns
        until(lambda: file.stat().st_mtime_ns != before, 30, "a status of the meter")
        began_ms = max(one["time_ms"] for one in self.status())

        def waits() -> bool:
            status = self.status()
            return (
                min(one["time_ms"] for one in status) >= began_ms + DAY_MS
                and min(one["waiting"] for one in status) >= DAY_PERIODS
            )

        until(waits, 60, "a day of records that wait")

    def count_recorded(self) -> list[int]:
        """How many records each meter has on chain."""
        url, contract = self.grid.url(0), self.grid.contract
        return [len(recorded_by(url, contract, address_of(key))) for key in self.keys]

    def await_end(self) -> None:
        """Until it ends by itself, which it does when all it measured is on chain."""
        status = watched(self.grid).await_end("meter", END_S * patience())
        assert status == 0, read_log(self.grid, "meter")[-2_000:]


def kill_at_random(meter: MeterProcess, chance: random.Random, kills: int) -> None:
    """Half of the kills fall into the start, the others while it counts and sends."""
    for kill in range(kills):
        before = meter.last_write_ns()
        meter.start()
        if kill % 2:
            until(lambda old=before: meter.last_write_ns() != old, 30, "the meter's first write")
        time.sleep(chance.uniform(0, 0.8 if kill % 2 else 1.5))
        meter.kill()


def cut_off_for_a_day(meter: MeterProcess, chance: random.Random) -> None:
    """Cut while it sends; killed meanwhile too. Nothing reaches the chain until it is mended."""
    meter.start()
    until(lambda: min(meter.count_recorded()) > 0, 60, "a record of each meter on chain")
    time.sleep(chance.uniform(0, 1))
    meter.grid.relay.cut()
    height = await_rest(meter.grid.url(0))  # what the node has already becomes final
    meter.await_cut_day()
    meter.kill()
    meter.start()
    time.sleep(chance.uniform(0.5, 1.5))
    assert height_of(meter.grid.url(0)) == height, "the wire was not cut"
    meter.kill()
    meter.grid.relay.mend()


def await_rest(url: str) -> int:
    """Until nothing waits and no block comes any more; the height."""

    def rests() -> int:
        height = height_of(url)
        time.sleep(1)
        (pool,) = ask(url, [("txpool_status", [])])
        idle = {pool["pending"], pool["queued"]} == {"0x0"}
        return height if idle and height_of(url) == height else 0

    return int(until(rests, 60, "rest"))


def check_chain(grid: Grid, key: bytes, expected: Expected) -> Expected:
    """Every period once, no reverted transaction, every watt-hour, in events and in state; what
    the events say."""
    url, meter = grid.url(0), address_of(key)
    recorded = recorded_by(url, grid.contract, meter)
    periods = [period for period, *_ in recorded]
    assert len(periods) == len(set(periods)), "a period is on chain twice"
    told = {period: (*rest,) for period, *rest in recorded}
    assert told == expected
    receipts = receipts_of(url, meter)
    assert receipts
    assert [one["transactionHash"] for one in receipts if one["status"] != "0x1"] == []
    first = min(expected)
    state = readings_of(url, grid.contract, meter, first, max(expected) - first + 1)
    assert state == expected
    for kind in (0, 1):
        in_file = sum(values[kind] for values in expected.values())
        assert sum(values[1 + kind] for values in recorded) == in_file
    return told


def play(folder: Path, sources: list[Source], kills: int) -> list[Expected]:
    """What is on chain of each meter in the end."""
    seed = secrets.randbelow(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    with run_network(folder / "grid", 1) as grid:
        deploy_metering(grid, [])
        meter = MeterProcess(grid, sources)
        kill_at_random(meter, chance, kills // 2)
        cut_off_for_a_day(meter, chance)
        kill_at_random(meter, chance, kills - kills // 2 - 2)
        done = sum(meter.count_recorded())
        assert done < sum(len(one.expected) for one in sources), "it ended before the last kill"
        meter.hurry()
        meter.start()
        meter.await_end()
        pairs = zip(meter.keys, sources, strict=True)
        return [check_chain(grid, key, source.expected) for key, source in pairs]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("kills", "speed"),
    [(8, 25_000), pytest.param(30, 40_000, marks=pytest.mark.deep)],
    ids=["eight", "thirty"],
)
def test_a_meter_killed_and_cut_off_records_each_period_once(
    tmp_path: Path, kills: int, speed: int
) -> None:
    house = one_house(tmp_path, speed)
    assert play(tmp_path, [house], kills) == [house.expected]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("kills", "speed"),
    [(5, 50_000), pytest.param(30, 80_000, marks=pytest.mark.deep)],
    ids=["five", "thirty"],
)
def test_two_meters_in_one_process_record_each_period_once(
    tmp_path: Path, kills: int, speed: int
) -> None:
    houses = two_houses(tmp_path, speed)
    assert play(tmp_path, houses, kills) == [house.expected for house in houses]


def test_the_counter_counts_a_known_file() -> None:
    """The facts that stand in the README of the readings."""
    if not CALIFORNIA.exists():
        pytest.skip("../shared/data is not beside this checkout")
    totals = [0, 0]
    for number in range(1, 18):
        home = count_california(f"b{number:02}")
        assert len(home) == 1_344
        assert max(home) - min(home) == timedelta(days=56) // timedelta(hours=1) - 1
        for kind in (0, 1):
            totals[kind] += sum(values[kind] for values in home.values())
    assert totals == [29_239_121, 16_766_214]
