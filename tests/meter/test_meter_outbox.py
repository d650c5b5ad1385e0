"""The outbox: all or nothing, no period twice, no room on the disk."""

import resource
import sqlite3
from pathlib import Path

import pytest

from meter.errors import OutboxError, OutboxFull
from meter.outbox import EVENTS_KEPT_MAX, SCHEMA_VERSION, Event, Outbox
from meter.reading import RESET, ROLLOVER, PeriodRecord, RegisterChange
from tests.meter.rigs import PipelineRig

RECORDS = [PeriodRecord(period, period * 10, 0, 1) for period in (5, 6, 7, 9, 10)]
START = 1_800_000_000_000


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    box = Outbox(tmp_path / "box.sqlite")
    yield box
    box.close()


def test_state_records_and_events_are_saved_together(outbox: Outbox) -> None:
    outbox.save({"n": 1}, RECORDS, [Event(1, "register_reset", "x")])
    with pytest.raises(OutboxError):  # period 7 exists: nothing of this may stay
        outbox.save({"n": 2}, [PeriodRecord(11, 0, 0, 1), RECORDS[2]])
    assert outbox.load_state() == {"n": 1}
    assert outbox.records() == RECORDS
    assert not outbox.has_period(11)
    assert outbox.events() == [Event(1, "register_reset", "x")]


@pytest.mark.parametrize("restart_every", [0, 1])
def test_a_register_of_a_file_tells_what_it_did(tmp_path: Path, restart_every: int) -> None:
    shown = [9_990, 5, 10, 500_000, 0, 2, 4]  # over the end of 10 kWh; a leap; started anew twice
    rows = [f"{START // 1_000 + 600 * index},{wh}" for index, wh in enumerate(shown)]
    (tmp_path / "register.csv").write_text("\n".join(["time,wh", *rows]) + "\n")
    meter = {
        "source": "replay", "file": str(tmp_path / "register.csv"), "kind": "register", "speed": 0,
        "time_column": "time", "import_column": "wh", "register_range_wh": 10_000,
        "power_max_w": 1_000,
    }  # fmt: skip
    rig = PipelineRig(tmp_path, meter)
    rig.replay(restart_every)
    found = []
    while (change := rig.outbox.get_change()) is not None:
        found.append(change[1])
        rig.outbox.drop_change(change[0], Event(1, "change_refused", ""))
    period = START // 3_600_000
    assert found == [
        RegisterChange(ROLLOVER, period, 9_990, 5), RegisterChange(RESET, period, 10, 0)
    ]  # fmt: skip
    rig.close()


def test_only_consecutive_periods_go_together(outbox: Outbox) -> None:
    outbox.save({}, RECORDS)
    assert [one.period for one in outbox.get_waiting(100)] == [5, 6, 7]
    assert [one.period for one in outbox.get_waiting(2)] == [5, 6]
    outbox.settle_waiting(3, [5, 6, 7])
    assert [one.period for one in outbox.get_waiting(100)] == [9, 10]


def test_what_is_under_way_waits_no_more_until_it_is_settled(outbox: Outbox) -> None:
    outbox.save({}, RECORDS)
    outbox.save_outgoing(4, b"h" * 32, b"raw", [5, 6])
    assert [one.period for one in outbox.get_waiting(100)] == [7]
    outgoing = outbox.get_outgoing()
    assert outgoing is not None
    assert (outgoing.nonce, outgoing.raw, outgoing.hashes) == (4, b"raw", (b"h" * 32,))
    assert outgoing.records == tuple(RECORDS[:2])
    outbox.settle(4, 12, [5])  # 6 was not in it after all
    assert outbox.get_outgoing() is None
    assert [one.period for one in outbox.get_waiting(100)] == [6, 7]
    assert outbox.get_meta("next_nonce") == "5" and outbox.get_meta("block") == "12"


def test_a_dearer_transaction_of_the_same_nonce_keeps_the_first(outbox: Outbox) -> None:
    outbox.save({}, RECORDS)
    outbox.save_outgoing(0, b"z" * 32, b"cheap", [5])
    outbox.save_outgoing(0, b"a" * 32, b"dear", [5])
    outgoing = outbox.get_outgoing()
    assert outgoing is not None
    assert outgoing.raw == b"dear" and set(outgoing.hashes) == {b"a" * 32, b"z" * 32}


def test_two_processes_do_not_share_an_outbox(tmp_path: Path, outbox: Outbox) -> None:
    with pytest.raises(OutboxError, match="another meter process"):
        Outbox(tmp_path / "box.sqlite")


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(OutboxError, match="folder"):
        Outbox(tmp_path / "none" / "box.sqlite")


def test_a_damaged_file_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "box.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(OutboxError, match="backup"):
        Outbox(tmp_path / "box.sqlite")


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "box.sqlite")
    box.set_meta("schema", str(SCHEMA_VERSION + 1))
    box.close()
    with pytest.raises(OutboxError, match="upgrade"):
        Outbox(tmp_path / "box.sqlite")


def test_events_are_bounded(outbox: Outbox) -> None:
    outbox.save({}, (), [Event(at, "x", "") for at in range(EVENTS_KEPT_MAX + 50)])
    assert len(outbox.events()) == EVENTS_KEPT_MAX
    assert outbox.events()[-1].at_ms == EVENTS_KEPT_MAX + 49


def test_a_commit_is_synced_in_full(tmp_path: Path, outbox: Outbox) -> None:
    assert outbox._row("PRAGMA synchronous") == (2,)
    assert outbox._row("PRAGMA journal_mode") == ("wal",)


METER = {"source": "serial", "port": "loop://", "fields": ["p"], "power_column": "p"}


def test_a_full_disk_keeps_measuring_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = PipelineRig(tmp_path, {**METER, "longest_gap_s": 3_600})
    # A real SQLITE_FULL: the database may not grow.
    pages = rig.outbox._row("PRAGMA page_count")[0]
    rig.outbox._row(f"PRAGMA max_page_count = {pages}")
    for hour in range(500):
        rig.lines(b"1000.0\n", START + hour * 3_600_000)
    assert rig.faults["disk_full"] >= 1
    assert len(rig.records) < 499
    rig.outbox._row("PRAGMA max_page_count = 1000000")
    monkeypatch.setattr(rig.pipeline, "_retry_s", 0.0)
    assert rig.pipeline.checkpoint()
    assert [one.import_wh for one in rig.records] == [1_000] * 499
    rig.restart()
    assert rig.pipeline.counter.state.time_ms == START + 499 * 3_600_000
    rig.close()


def test_a_file_that_cannot_grow_is_a_full_disk(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "box.sqlite")
    box.save({})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, hard))
    try:
        with pytest.raises(OutboxFull, match="disk"):
            box.save({"x": "y" * 100_000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    box.save({"x": 1})
    assert box.load_state() == {"x": 1}
    box.close()


def test_memory_is_bounded_while_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meter.pipeline.RECORDS_WAITING_MAX", 10)
    rig = PipelineRig(tmp_path, {**METER, "longest_gap_s": 3_600})

    def full(*_: object) -> None:
        raise OutboxFull(tmp_path, "database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(rig.outbox, "save", full)
        for hour in range(21):
            rig.lines(b"1000.0\n", START + hour * 3_600_000)
    assert rig.faults["records_lost"] == 10
    assert rig.pipeline.status()["unsaved"] == 10
    assert rig.pipeline.checkpoint(force=True)
    assert len(rig.records) == 10
    rig.close()


def test_nothing_is_written_between_the_ends_of_periods(tmp_path: Path) -> None:
    """An SD card dies by writes: one commit an hour, not one a reading."""
    rig = PipelineRig(tmp_path, METER)
    wal = tmp_path / "outbox.sqlite-wal"
    rig.lines(b"1000.0\n", START)
    size = wal.stat().st_size
    for second in range(5, 3_600, 5):
        rig.lines(b"1000.0\n", START + second * 1_000)
    assert wal.stat().st_size == size
    rig.lines(b"1000.0\n", START + 3_600_000)
    assert 0 < wal.stat().st_size - size <= 5 * (4_096 + 24)
    rig.close()


def test_what_a_serial_meter_loses_at_a_power_cut_is_a_marked_gap(tmp_path: Path) -> None:
    rig = PipelineRig(tmp_path, METER)
    for second in range(0, 5_400, 5):
        rig.lines(b"1000.0\n", START + second * 1_000)
    rig.restart()  # half an hour since the last checkpoint is lost
    for second in range(5_400, 7_205, 5):
        rig.lines(b"1000.0\n", START + second * 1_000)
    first, second_hour = rig.records
    assert (first.import_wh, first.quality) == (1_000, 1)
    # The reading at the checkpoint holds for the longest gap, 60 s; then the gap.
    assert (second_hour.import_wh, second_hour.quality) == (516, 16)
    rig.close()


def test_the_checkpoint_is_settable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = PipelineRig(tmp_path, {**METER, "checkpoint_s": 60})
    now = [1_000.0]
    monkeypatch.setattr("meter.pipeline.time.monotonic", lambda: now[0])
    rig.build()
    for second in range(0, 1_805, 5):
        now[0] = 1_000.0 + second
        rig.lines(b"1000.0\n", START + second * 1_000)
    rig.restart()
    assert rig.pipeline.counter.state.time_ms == START + 1_800_000
    rig.close()


def test_the_file_is_plain_sqlite(tmp_path: Path, outbox: Outbox) -> None:
    outbox.save({}, RECORDS)
    with sqlite3.connect(f"file:{outbox.file}?mode=ro", uri=True) as db:
        assert db.execute("SELECT sum(import_wh) FROM period").fetchone() == (370,)
    db.close()
