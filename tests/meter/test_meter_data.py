"""Real households through the pipeline; the figures stand in the data's own notes."""

import csv
import gzip
from collections import Counter as Tally
from pathlib import Path

import pytest

from meter.numbers import NJ_PER_WH
from meter.quality import QUESTIONABLE, VALID
from tests.conftest import shared_path
from tests.meter.rigs import PipelineRig

FRANCE = "household_minute_france.csv.gz"
CALIFORNIA = "prosumers_hourly_california.csv.gz"
SWITZERLAND = "households_halfhourly_switzerland.csv.gz"


def french_house(**more: object) -> dict[str, object]:
    return {
        "source": "replay",
        "file": str(shared_path("data", FRANCE)),
        "time_column": "minute_start_local",
        "power_column": "active_w",
        "utc_offset_s": 3_600,
        "longest_gap_s": 60,
        **more,
    }


@pytest.mark.parametrize("restart_every", [0, 4_999])
def test_the_french_house(tmp_path: Path, restart_every: int) -> None:
    rig = PipelineRig(tmp_path, french_house())
    rig.replay(restart_every)
    records = rig.records
    state = rig.pipeline.counter.state
    assert sum(one.import_wh for one in records) == 475_882
    assert state.carry_import_nj == 36 * 60 * 10**9  # 36 W minutes
    assert len(records) == 611
    assert Tally(one.quality for one in records) == {VALID: 609, QUESTIONABLE: 2}
    hours = {one.period for one in records}
    assert max(hours) - min(hours) + 1 - len(hours) == 61
    assert sum(one.export_wh for one in records) == 0
    if not restart_every:
        assert rig.faults == {"not_measured": 3_723}
    rig.close()


def test_the_french_house_by_its_current_and_voltage(tmp_path: Path) -> None:
    meter = french_house(current_column="current_a", voltage_column="voltage_v")
    del meter["power_column"]
    rig = PipelineRig(tmp_path, meter)
    rig.replay()
    with gzip.open(shared_path("data", FRANCE), "rt") as text:
        # V has two decimals and I one: their product in mVA by integers alone.
        expected = sum(
            int(row["voltage_v"].replace(".", "")) * int(row["current_a"].replace(".", ""))
            for row in csv.DictReader(text)
            if row["current_a"]
        )
    carried = rig.pipeline.counter.state.carry_import_nj
    total_nj = sum(one.import_wh for one in rig.records) * NJ_PER_WH + carried
    assert total_nj == expected * 1_000 * 60_000  # mW in uW, for a minute
    assert {one.quality for one in rig.records} == {33, 48}  # derived, and valid or questionable
    rig.close()


def test_a_nominal_voltage_sets_its_bit(tmp_path: Path) -> None:
    meter = french_house(current_column="current_a", nominal_voltage_v=230)
    del meter["power_column"]
    rig = PipelineRig(tmp_path, meter)
    rig.replay()
    assert {one.quality for one in rig.records} == {161, 176}
    rig.close()


def test_californian_houses_import_and_export(tmp_path: Path) -> None:
    with gzip.open(shared_path("data", CALIFORNIA), "rt") as text:
        rows = [row for row in csv.DictReader(text) if row["home"] == "b04"]
    meter = {
        "source": "replay",
        "kind": "interval",
        "file": str(shared_path("data", CALIFORNIA)),
        "time_column": "hour_start_local",
        "utc_offset_s": -25_200,
        "where": "home=b04",
        "import_column": "load_wh",
        "export_column": "pv_wh",
        "interval_s": 3_600,
        "net": True,
    }
    rig = PipelineRig(tmp_path, meter)
    rig.replay(restart_every=500)
    nets = [int(row["load_wh"]) - int(row["pv_wh"]) for row in rows]
    assert [(one.import_wh, one.export_wh) for one in rig.records] == [
        (max(net, 0), max(-net, 0)) for net in nets
    ]
    assert {one.quality for one in rig.records} == {VALID}
    assert rig.records[0].period == (1_470_009_600 + 25_200) // 3_600  # 2016-08-01 in UTC
    rig.close()


def test_a_swiss_household_of_evenly_spaced_rows(tmp_path: Path) -> None:
    with gzip.open(shared_path("data", SWITZERLAND), "rt") as text:
        column = [int(row["h119"]) for row in csv.DictReader(text)]
    meter = {
        "source": "replay",
        "kind": "interval",
        "file": str(shared_path("data", SWITZERLAND)),
        "start_time": "2018-10-29T00:00:00+01:00",
        "interval_s": 1_800,
        "period_seconds": 1_800,
        "import_column": "h119",
    }
    rig = PipelineRig(tmp_path, meter)
    rig.replay()
    assert [one.import_wh for one in rig.records] == column
    longest = max(len(run) for run in "".join("0" if wh == 0 else " " for wh in column).split())
    assert longest == 943  # zeros, recorded as the readings that they are
    rig.close()
