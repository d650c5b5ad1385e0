"""What comes over a serial line, good and bad: counted by name, never energy, never a zero."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.lines import LINE_BYTES_MAX, LineSplitter, split_fields
from meter.measure import BOARDS
from meter.quality import DERIVED, NOMINAL_VOLTAGE, QUESTIONABLE, VALID
from tests.meter.rigs import PipelineRig

START = 1_800_000_000_000  # the start of an hour
SECOND = 1_000
HOUR = 3_600_000


@pytest.fixture
def rig(tmp_path: Path) -> PipelineRig:
    meter = {
        "source": "serial",
        "port": "loop://",
        "board": "RPICT3V1",
        "node_id": 11,
        "power_max_w": 20_000,
    }
    rig = PipelineRig(tmp_path, meter)
    yield rig
    rig.close()


GOOD = b"11 1000.0 0.0 0.0 4300.0 0.0 0.0 231.1\r\n"


def run_hour(rig: PipelineRig, odd: bytes | None, gone_s: int = 0) -> None:
    """A kilowatt for an hour, a line every 5 s; `odd` comes at half time in place of a line."""
    for second in range(0, 3_601, 5):
        if odd is not None and second == 1_800:
            rig.lines(odd, START + second * SECOND)
        elif not 1_800 < second <= 1_800 + gone_s:
            rig.lines(GOOD, START + second * SECOND)
        rig.pipeline.pass_time(_stamp(START + second * SECOND))


def _stamp(at_ms: int):  # type: ignore[no-untyped-def]
    from meter.clock import Stamp

    return Stamp(at_ms, at_ms)


def test_good_lines_are_energy(rig: PipelineRig) -> None:
    run_hour(rig, None)
    assert [(one.import_wh, one.quality) for one in rig.records] == [(1_000, VALID)]
    assert rig.faults == {}


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b"RPICT3V1 sketch 2.2 ready", "text_line"),
        (b"11 abc 0.0 0.0 4300.0 0.0 0.0 231.1", "text_line"),
        (b"CR|\x19\x04 1 2 3", "text_line"),
        (b"\x43\x2d\x7c\x19\x02\x00\xff\xfe", "binary_block"),
        (b"11 9000.0 0.0 0.0 4300.0", "too_few_fields"),
        (b"11 9000.0 0.0 0.0 4300.0 0.0 0.0 231.1 5.0", "too_many_fields"),
        (b"11 9000.0 0.0 0.0 4311 9000.0 0.0 0.0 4300.0 0.0 0.0 231.1", "too_many_fields"),
        (b"12 9000.0 0.0 0.0 4300.0 0.0 0.0 231.1", "other_node"),
        (b"1.5 9000.0 0.0 0.0 4300.0 0.0 0.0 231.1", "text_line"),
        (b"   ", "empty_line"),
    ],
)
def test_a_bad_line_is_counted_and_the_reading_before_holds(
    rig: PipelineRig, line: bytes, kind: str
) -> None:
    run_hour(rig, line + b"\r\n")
    assert rig.faults == {kind: 1}
    assert [(one.import_wh, one.quality) for one in rig.records] == [(1_000, VALID)]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (b"NaN", "not_measured"),
        (b"nan", "not_measured"),
        (b"-inf", "not_measured"),
        (b"unavailable", "not_measured"),
        (b"20000.1", "out_of_range"),
        (b"-99999999.0", "out_of_range"),
        (b"1.2.3", "bad_number"),
        (b"9" * 13, "bad_number"),
    ],
)
def test_a_value_that_is_none_is_a_gap_and_no_zero(
    rig: PipelineRig, value: bytes, kind: str
) -> None:
    run_hour(rig, b"11 " + value + b" 0.0 0.0 4300.0 0.0 0.0 231.1\r\n")
    assert rig.faults == {kind: 1}
    # 5 of 3,600 seconds are missing: 998.6 Wh, and the hour says so.
    assert [(one.import_wh, one.quality) for one in rig.records] == [(998, QUESTIONABLE)]


def test_an_empty_field_between_commas_is_not_shifted_away(rig: PipelineRig) -> None:
    run_hour(rig, b"11,,0.0,0.0,4300.0,0.0,0.0,231.1\r\n")
    assert rig.faults == {"not_measured": 1}
    assert rig.records[0].quality == QUESTIONABLE


def test_minus_zero_is_a_measured_zero_and_no_export(rig: PipelineRig) -> None:
    for second in range(0, 3_601, 5):
        rig.lines(b"11 -0.0 0.0 0.0 0.0 0.0 0.0 231.1\r\n", START + second * SECOND)
    assert [(one.import_wh, one.export_wh, one.quality) for one in rig.records] == [(0, 0, VALID)]
    assert rig.faults == {"minus_zero": 721}


def test_negative_power_is_export(rig: PipelineRig) -> None:
    for second in range(0, 3_601, 5):
        rig.lines(b"11 -250.5 0.0 0.0 0.0 0.0 0.0 231.1\r\n", START + second * SECOND)
    assert [(one.import_wh, one.export_wh) for one in rig.records] == [(0, 250)]


def test_a_dead_line_is_a_gap(rig: PipelineRig) -> None:
    run_hour(rig, b"", gone_s=600)
    # The line before the silence holds for the longest gap of 60 s from 29:55 on.
    missing_s = 600 + 5 + 5 - 60
    assert rig.faults == {"silence": 1}
    assert rig.records[0].import_wh == (3_600 - missing_s) * 1_000 // 3_600
    assert rig.records[0].quality == QUESTIONABLE


def test_half_a_line_at_the_start_is_called_so(rig: PipelineRig) -> None:
    rig.pipeline.opened()
    rig.lines(b"0.0 4300.0 0.0 0.0 231.1\r\n", START)
    assert rig.faults == {"half_line": 1}
    assert rig.pipeline.counter.state.time_ms is None


def test_each_kind_is_logged_once_and_then_hourly(
    rig: PipelineRig, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(50):
        rig.lines(b"hello\r\n", START)
    assert len([one for one in caplog.records if "text_line" in one.message]) == 1
    assert rig.faults == {"text_line": 50}


def test_separators_may_be_mixed() -> None:
    assert split_fields(b" 11\t1.0  2.0, 3.0 ,4.0") == ["11", "1.0", "2.0", "3.0", "4.0"]
    assert split_fields(b"11,,2") == ["11", "", "2"]


def test_ten_kilobytes_without_a_line_end_are_dropped_in_bounded_memory() -> None:
    notes: list[str] = []
    splitter = LineSplitter(lambda kind, detail: notes.append(kind))
    for _ in range(10_240):
        assert splitter.feed(b"7") == []
        assert len(splitter._buffer) <= LINE_BYTES_MAX
    assert splitter.feed(b"7\r\n11 5\r\n") == [b"11 5"]
    assert notes == ["line_too_long"]


@given(st.lists(st.binary(max_size=40).filter(lambda one: not set(one) & {10, 13}), max_size=20))
def test_lines_do_not_depend_on_how_bytes_arrive(lines: list[bytes]) -> None:
    whole = b"".join(line + b"\r\n" for line in lines)
    splitter = LineSplitter(lambda kind, detail: None)
    one_by_one = [line for index in range(len(whole)) for line in splitter.feed(whole[index:][:1])]
    assert one_by_one == [line for line in lines if line]


@given(st.binary(max_size=3_000))
def test_no_bytes_break_the_parser(data: bytes) -> None:
    from meter.lines import LineParser

    kinds: list[str] = []
    splitter = LineSplitter(lambda kind, detail: kinds.append(kind))
    parser = LineParser(BOARDS["RPICT3T1"], 11, lambda kind, detail: kinds.append(kind))
    for line in splitter.feed(data + b"\n"):
        noted = len(kinds)
        fields = parser.parse(line, first=False)
        assert (fields is None) == (len(kinds) == noted + 1)  # read whole, or counted by name


# Boards.


@pytest.mark.parametrize(
    ("board", "channel", "line", "wh"),
    [
        ("RPICT3T1", 2, b"11 1.0 200.0 3.0 21.5", 200),
        ("RPICT3V1", 3, b"11\t1.0\t2.0\t300.0\t1.0\t1.0\t1.0\t231.0", 300),
        ("RPICT3V1-2", 2, b"11 1 2 3 231 0.9 400 410 1740 231 0.97 1 2 3 231 0.9", 400),
        ("RPICT7V1", 7, b"11 0.0 0.0 0.0 -0.0 0.0 0.0 500.0 1 2 3 4 5 6 2310.8 231.0", 500),
    ],
)
def test_boards_have_their_own_field_maps(
    tmp_path: Path, board: str, channel: int, line: bytes, wh: int
) -> None:
    meter = {"source": "serial", "port": "loop://", "board": board, "channel": channel}
    rig = PipelineRig(tmp_path, {**meter, "longest_gap_s": 3_600})
    rig.lines(line + b"\r\n", START)
    rig.lines(line + b"\r\n", START + HOUR)
    # RPICT3T1 has no voltage sensor: its watts are amperes times a voltage in the sketch.
    quality = VALID | (DERIVED | NOMINAL_VOLTAGE if board == "RPICT3T1" else 0)
    assert [(one.import_wh, one.quality) for one in rig.records] == [(wh, quality)]
    rig.close()


def test_current_times_measured_voltage(tmp_path: Path) -> None:
    meter = {
        "source": "serial",
        "port": "loop://",
        "board": "RPICT3V1",
        "current_column": "i1",
        "voltage_column": "v",
        "longest_gap_s": 3_600,
    }
    rig = PipelineRig(tmp_path, meter)
    line = b"11 0.0 0.0 0.0 4329.0 0.0 0.0 231.0\r\n"
    rig.lines(line, START)
    rig.lines(line, START + HOUR)
    assert [(one.import_wh, one.quality) for one in rig.records] == [(999, VALID | DERIVED)]
    rig.lines(line.replace(b"231.0", b"0.0"), START + HOUR)
    assert rig.faults == {"out_of_range": 1}
    rig.close()


def test_the_published_air_conditioner_at_nominal_voltage(tmp_path: Path) -> None:
    meter = {
        "source": "serial",
        "port": "loop://",
        "fields": ["node", "amperes"],
        "current_column": "amperes",
        "nominal_voltage_v": 220,
        "longest_gap_s": 3_600,
    }
    rig = PipelineRig(tmp_path, meter)
    for hour, amperes in enumerate((b"6.23", b"6.91", b"6.5")):
        rig.lines(b"11 " + amperes + b"\r\n", START + hour * HOUR)
    assert [one.import_wh for one in rig.records] == [1_370, 1_520]  # 1,370.6 and 1,520.2 Wh
    assert {one.quality for one in rig.records} == {VALID | DERIVED | NOMINAL_VOLTAGE}
    rig.close()


def test_a_clamp_the_wrong_way_round_is_a_setting(tmp_path: Path) -> None:
    meter = {"source": "serial", "port": "loop://", "board": "RPICT3V1", "clamp_reversed": True}
    rig = PipelineRig(tmp_path, {**meter, "longest_gap_s": 3_600})
    rig.lines(GOOD, START)
    rig.lines(GOOD, START + HOUR)
    assert [(one.import_wh, one.export_wh) for one in rig.records] == [(0, 1_000)]
    rig.close()


def test_a_register_over_a_line(tmp_path: Path) -> None:
    meter = {
        "source": "serial",
        "port": "loop://",
        "kind": "register",
        "fields": ["kwh", "exported"],
        "import_column": "kwh",
        "export_column": "exported",
        "energy_unit": "kWh",
        "longest_gap_s": 3_600,
    }
    rig = PipelineRig(tmp_path, meter)
    rig.lines(b"100.5 3\n", START)
    rig.lines(b"unavailable 3\n", START + HOUR // 2)
    rig.lines(b"101.75 3.1\n", START + HOUR)
    assert [(one.import_wh, one.export_wh) for one in rig.records] == [(1_250, 100)]
    assert rig.faults == {"not_measured": 1}
    rig.close()


def test_an_interval_over_a_line_ends_when_it_comes(tmp_path: Path) -> None:
    meter = {
        "source": "serial",
        "port": "loop://",
        "kind": "interval",
        "fields": ["wh"],
        "import_column": "wh",
        "interval_s": 900,
    }
    rig = PipelineRig(tmp_path, meter)
    for quarter in range(1, 9):  # each comes a little late or early
        late_ms = 300 if quarter % 4 else 0
        rig.lines(b"100\n", START + quarter * 900_000 + late_ms)
    assert [(one.import_wh, one.quality) for one in rig.records] == [(400, VALID), (400, VALID)]
    rig.close()
