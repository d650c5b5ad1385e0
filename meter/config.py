"""A meter's configuration file: read strictly, turned into what the other modules take.

An unknown key or a wrong type is a ConfigError with file, key and what was expected. TOML decimals
are read as Decimal: no float exists in this room.
"""

import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from ledger.work import SETTLED_BLOCKS
from meter.checks import Reader
from meter.counter import CounterSettings
from meter.errors import ConfigError
from meter.measure import (
    BOARDS,
    BOARDS_WITHOUT_VOLTAGE,
    CURRENT_UNITS,
    ENERGY_UNITS,
    POWER_UNITS,
    MeasureSettings,
)
from meter.numbers import MICRO, NJ_PER_WH
from meter.quality import DERIVED, NOMINAL_VOLTAGE
from meter.replay import ReplaySettings
from meter.settings import CLOCK, METER, TOP, settings_documentation

__all__ = ["Config", "MeterConfig", "load_config", "settings_documentation"]

LONGEST_GAP_S = 60  # twelve readings of a board that polls every 5 s
Refuse = Callable[[str, str], ConfigError]


@dataclass(frozen=True, slots=True)
class SubmitSettings:
    """Where records go. `genesis_hash` None: the first chain seen is kept."""

    key_file: Path
    password_file: Path | None
    contract: bytes
    nodes: tuple[str, ...]
    chain_id: int
    genesis_hash: bytes | None
    period_seconds: int
    confirmations: int
    gas_price_wei_max: int
    batch_max: int
    poll_ms: int
    resend_s: int


@dataclass(frozen=True, slots=True)
class LineSettings:
    """A source of lines; several meters may share a port."""

    port: str  # "" is standard input
    baud: int
    names: tuple[str, ...]
    node_id: int | None


@dataclass(frozen=True, slots=True)
class MeterConfig:
    """One [[meter]]; exactly one of `lines` and `replay` is there."""

    name: str
    lines: LineSettings | None
    replay: ReplaySettings | None
    speed: int
    measure: MeasureSettings
    counter: CounterSettings
    checkpoint_s: int
    submit: SubmitSettings


@dataclass(frozen=True, slots=True)
class ClockConfig:
    """Simulated time from `start_ms` (Unix) on: `speed` times as fast, or `tick_ms` a data line."""

    start_ms: int
    speed: int
    tick_ms: int


@dataclass(frozen=True, slots=True)
class Config:
    """A read meter.toml; times in the units of their names."""

    file: Path
    state_dir: Path
    status_file: Path | None
    status_s: int
    clock: ClockConfig | None
    meters: tuple[MeterConfig, ...]


def load_config(file: Path) -> Config:
    """Read and check a configuration file. Raises ConfigError."""
    file = Path(file)
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"), parse_float=Decimal)
    except OSError as error:
        raise ConfigError(file, "file", f"a readable file: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(file, "file", f"TOML: {error}") from error
    tables = {key: values.pop(key, None) for key in ("clock", "defaults", "meter")}
    reader = Reader(file)
    top = reader.read("", TOP, values)
    network = _load_network(file, top["network"])
    clock = _read_clock(reader, tables["clock"], network, file)
    meters = tables["meter"]
    if not isinstance(meters, list) or not meters:
        raise ConfigError(file, "meter", "at least one [[meter]] table")
    defaults = tables["defaults"] or {}
    if not isinstance(defaults, dict):
        raise ConfigError(file, "defaults", "a [defaults] table")
    reader.known("defaults.", METER, defaults)
    made = []
    for index, meter in enumerate(meters, 1):
        if not isinstance(meter, dict):
            raise ConfigError(file, "meter", "[[meter]] tables")
        where = f"meter {meter.get('name', index)}: "
        made.append(_make_meter(reader, where, {**defaults, **meter}, network, clock))
    _check_distinct(file, made)
    return Config(
        file, top["state_dir"], top["status_file"] or None, top["status_s"], clock, tuple(made)
    )


def _load_network(file: Path, network_file: Path | str) -> dict[str, Any]:
    if not network_file:
        return {}
    try:
        network = json.loads(Path(network_file).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            file, "network", f"a readable network file: {network_file}: {error.strerror}"
        ) from error
    except ValueError as error:
        raise ConfigError(file, "network", f"JSON in {network_file}: {error}") from error
    if not isinstance(network, dict):
        raise ConfigError(file, "network", f"a JSON object in {network_file}")
    return network


def _read_clock(
    reader: Reader, values: Any, network: dict[str, Any], file: Path
) -> ClockConfig | None:
    if values is None:
        return None
    if not isinstance(values, dict):
        raise ConfigError(file, "clock", "a [clock] table")
    if network.get("simulated") is not True:
        raise ConfigError(
            file,
            "clock",
            'no [clock], or `network` naming a network file with "simulated": true: simulated '
            "time is for simulated networks, bills of a real one need the real time",
        )
    clock = reader.read("clock.", CLOCK, values)
    return ClockConfig(clock["start"], clock["speed"], clock["tick_s"] * 1_000)


# One [[meter]].


def _make_meter(
    reader: Reader,
    where: str,
    values: dict[str, Any],
    network: dict[str, Any],
    clock: ClockConfig | None,
) -> MeterConfig:
    meter = reader.read(where, METER, values)

    def refuse(key: str, expected: str) -> ConfigError:
        return ConfigError(reader.file, where + key, expected)

    tick_s = clock.tick_ms // 1_000 if clock and meter["source"] != "replay" else 0
    gap_s = meter["longest_gap_s"] or tick_s or LONGEST_GAP_S
    if gap_s < tick_s:
        raise refuse("longest_gap_s", f"at least clock.tick_s, {tick_s}")
    lines = replay = None
    if meter["source"] == "replay":
        replay = _make_replay(meter, refuse)
    else:
        lines = _make_lines(meter, refuse)
    return MeterConfig(
        name=meter["name"],
        lines=lines,
        replay=replay,
        speed=meter["speed"],
        measure=_make_measure(meter, refuse),
        counter=CounterSettings(
            period_ms=meter["period_seconds"] * 1_000,
            longest_gap_ms=gap_s * 1_000,
            power_uw_max=meter["power_max_w"] * MICRO,
            register_range_nj=meter["register_range_wh"] * NJ_PER_WH,
        ),
        checkpoint_s=meter["checkpoint_s"],
        submit=_make_submit(meter, network, refuse),
    )


def _make_lines(meter: dict[str, Any], refuse: Refuse) -> LineSettings:
    if meter["source"] == "serial" and not meter["port"]:
        raise refuse("port", 'a serial port such as "/dev/ttyAMA0"')
    if bool(meter["board"]) == bool(meter["fields"]):
        raise refuse("board", "either a known `board` or the list `fields`")
    names = BOARDS[meter["board"]] if meter["board"] else meter["fields"]
    node_id = meter["node_id"] if meter["node_id"] >= 0 else None
    if node_id is not None and "node" not in names:
        raise refuse("node_id", 'a field "node" in `fields`, to compare it with')
    port = meter["port"] if meter["source"] == "serial" else ""
    return LineSettings(port, meter["baud"], names, node_id)


def _make_replay(meter: dict[str, Any], refuse: Refuse) -> ReplaySettings:
    if not meter["file"]:
        raise refuse("file", "the CSV file to replay")
    if not meter["time_column"] and not meter["interval_s"]:
        raise refuse("time_column", "a column with times, or interval_s for evenly spaced rows")
    if len(meter["delimiter"]) != 1:
        raise refuse("delimiter", "one character")
    column, equals, value = meter["where"].partition("=")
    if meter["where"] and not (column and equals):
        raise refuse("where", "column=value")
    if meter["time_label"] == "end" and not meter["interval_s"]:
        raise refuse("interval_s", "the length of an interval, as its time names the end")
    return ReplaySettings(
        file=meter["file"],
        delimiter=meter["delimiter"],
        time_column=meter["time_column"],
        utc_offset_s=meter["utc_offset_s"],
        label_is_end=meter["time_label"] == "end",
        start_ms=meter["start_time"],
        interval_ms=meter["interval_s"] * 1_000,
        where=(column, value) if meter["where"] else None,
    )


def _make_measure(meter: dict[str, Any], refuse: Refuse) -> MeasureSettings:
    kind, board, flags = meter["kind"], meter["board"], 0
    columns = {
        name: meter[f"{name}_column"]
        for name in ("power", "current", "voltage", "import", "export")
    }
    if kind == "power":
        if board and not columns["power"] and not columns["current"]:
            columns["power"] = f"p{meter['channel']}"
        if bool(columns["power"]) == bool(columns["current"]):
            raise refuse("power_column", "a column with the power, or current_column instead")
        if columns["power"] and board in BOARDS_WITHOUT_VOLTAGE:
            flags = DERIVED | NOMINAL_VOLTAGE
        if columns["current"] and not (columns["voltage"] or meter["nominal_voltage_v"]):
            raise refuse("voltage_column", "a column with the voltage, or nominal_voltage_v")
        unused = ("import", "export", *(() if columns["current"] else ("voltage",)))
    else:
        if not columns["import"]:
            raise refuse("import_column", f"the column of a source of kind {kind}")
        unused = ("power", "current", "voltage")
    for name in unused:
        if columns[name]:
            raise refuse(f"{name}_column", f"no such column for kind {kind} as the others are set")
    if kind == "interval" and not meter["interval_s"]:
        raise refuse("interval_s", "the length of an interval in seconds")
    if meter["net"] and (kind != "interval" or not columns["export"]):
        raise refuse("net", "kind interval with an import and an export column")
    settings = MeasureSettings(
        kind=kind,
        power_column=columns["power"],
        current_column=columns["current"],
        voltage_column=columns["voltage"],
        import_column=columns["import"],
        export_column=columns["export"],
        power_scale=POWER_UNITS[meter["power_unit"]],
        current_scale=CURRENT_UNITS[meter["current_unit"] or ("mA" if board else "A")],
        energy_scale=ENERGY_UNITS[meter["energy_unit"]],
        nominal_voltage_uv=int(meter["nominal_voltage_v"] * MICRO),
        interval_ms=meter["interval_s"] * 1_000,
        net=meter["net"],
        reversed=meter["clamp_reversed"],
        flags=flags,
        power_uw_max=meter["power_max_w"] * MICRO,
        current_ua_max=meter["current_max_a"] * MICRO,
        voltage_uv_min=meter["voltage_min_v"] * MICRO,
        voltage_uv_max=meter["voltage_max_v"] * MICRO,
    )
    names = BOARDS[board] if board else meter["fields"]
    for column in settings.columns() if meter["source"] != "replay" else ():
        if column not in names:
            raise refuse(f"column {column!r}", f"one of the line's fields: {', '.join(names)}")
    return settings


def _make_submit(meter: dict[str, Any], network: dict[str, Any], refuse: Refuse) -> SubmitSettings:
    named = network.get("chain_id", 0)
    chain_id = meter["chain_id"] or (named if isinstance(named, int) else 0)
    if not chain_id:
        raise refuse("chain_id", "a chain id, or `network` naming a network file")
    return SubmitSettings(
        key_file=meter["key_file"],
        password_file=meter["password_file"] or None,
        contract=meter["contract"],
        nodes=meter["nodes"],
        chain_id=chain_id,
        genesis_hash=meter["genesis_hash"] or None,
        period_seconds=meter["period_seconds"],
        confirmations=meter["confirmations"]
        or (SETTLED_BLOCKS if network.get("consensus") == "pow" else 0),
        gas_price_wei_max=meter["gas_price_max_wei"],
        batch_max=meter["batch_max"],
        poll_ms=meter["poll_ms"],
        resend_s=meter["resend_s"],
    )


def _check_distinct(file: Path, meters: list[MeterConfig]) -> None:
    """One outbox per name; one key per outbox, or two outboxes would sign the same nonce."""
    for key, values in (
        ("meter.name", [one.name for one in meters]),
        ("meter.key_file", [str(one.submit.key_file.resolve()) for one in meters]),
    ):
        for value in values:
            if values.count(value) > 1:
                raise ConfigError(file, key, f"a different one for each meter, not {value} twice")
    bauds: dict[str, int] = {}
    for one in meters:
        if one.lines and bauds.setdefault(one.lines.port, one.lines.baud) != one.lines.baud:
            raise ConfigError(file, "meter.baud", f"one speed for all meters on {one.lines.port}")
