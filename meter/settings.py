"""Every setting of a meter's configuration file: name, type, default and help, in one place.

Not here: reading the file (`meter.config`), what a setting does.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from meter.measure import BOARDS


@dataclass(frozen=True, slots=True)
class Setting:
    """`kind` is what a value must be; `choices` narrows a text. No default means required."""

    name: str
    kind: str
    default: Any
    help: str
    choices: tuple[str, ...] = ()
    least: int | None = None


REQUIRED = object()

TOP = (
    Setting("network", "path", "", "The network file; read for its chain id and `simulated`"),
    Setting("state_dir", "path", "meter-data", "Folder of the outboxes, one SQLite file per meter"),
    Setting("status_file", "path", "", "Where to write the counters as JSON, best on a RAM disk"),
    Setting("status_s", "integer", 10, "Seconds between two writes of the status file", least=1),
)

CLOCK = (
    Setting("start", "time", REQUIRED, "The simulated time at the first start, ISO 8601 or Unix s"),
    Setting("speed", "integer", 1, "Simulated seconds per second", least=1),
    Setting(
        "tick_s",
        "integer",
        0,
        "If above 0, each data line is so many simulated seconds after the one before",
        least=0,
    ),
)

METER = (
    Setting("name", "name", REQUIRED, "Name of the meter and of its outbox file"),
    Setting("source", "text", REQUIRED, "Where readings come from", ("serial", "replay", "stdin")),
    Setting(
        "kind",
        "text",
        "power",
        "power holds until the next reading, register counts up, interval is energy per interval",
        ("power", "register", "interval"),
    ),
    # Lines: serial and stdin.
    Setting("port", "text", "", "Serial port: a path, or a URL of pyserial such as socket://"),
    Setting("baud", "integer", 38_400, "Speed of the serial port", least=50),
    Setting("board", "text", "", "A board whose field map is known", ("", *BOARDS)),
    Setting(
        "fields", "texts", (), 'Names of a line\'s fields in order: "node", any name, "-" to skip'
    ),
    Setting("node_id", "integer", -1, "Take only lines of this node id; -1 takes all", least=-1),
    Setting("channel", "integer", 1, "Which channel of the board: p1, i1, v1 and so on", least=1),
    # Replay.
    Setting("file", "path", "", "CSV file to replay, plain or gzip"),
    Setting("delimiter", "text", ",", "What separates the columns of the file"),
    Setting("time_column", "text", "", "Column with the time; without one, rows are evenly spaced"),
    Setting("time_label", "text", "start", "Which end a row's time names", ("start", "end")),
    Setting("utc_offset_s", "integer", 0, "Offset of times without a zone, east positive"),
    Setting("start_time", "time", 0, "Time of the first row of a file without a time column"),
    Setting("where", "text", "", "Keep only rows with this value: column=value"),
    Setting("speed", "integer", 1, "Times as fast as real time; 0 is as fast as possible", least=0),
    # What is measured.
    Setting("power_column", "text", "", "Power; with a board p<channel> by default"),
    Setting("current_column", "text", "", "Current, where power is volts times amperes"),
    Setting("voltage_column", "text", "", "Measured voltage in volts, beside the current"),
    Setting("import_column", "text", "", "Energy taken: a register or per interval"),
    Setting("export_column", "text", "", "Energy given back: a register or per interval"),
    Setting("power_unit", "text", "W", "Unit of the power column", ("mW", "W", "kW")),
    Setting("current_unit", "text", "", "A, or mA as boards print it; by source", ("", "mA", "A")),
    Setting("energy_unit", "text", "Wh", "Unit of the energy columns", ("Wh", "kWh")),
    Setting("nominal_voltage_v", "decimal", Decimal(0), "Voltage assumed where none is measured"),
    Setting("interval_s", "integer", 0, "Length of an interval, or spacing of rows", least=0),
    Setting("net", "boolean", False, "Count only the difference of import and export"),
    Setting("clamp_reversed", "boolean", False, "The clamp sits the wrong way round"),
    Setting("register_range_wh", "integer", 0, "Where a register rolls over; 0: never", least=0),
    # Limits.
    Setting(
        "longest_gap_s",
        "integer",
        0,
        "How long a power holds without a new reading; 0: 60 s, or tick_s where that is set",
        least=0,
    ),
    Setting("power_max_w", "integer", 100_000, "Beyond it a value is no measurement", least=1),
    Setting("current_max_a", "integer", 500, "Beyond it a value is no measurement", least=1),
    Setting("voltage_min_v", "integer", 80, "Below it a value is no measurement", least=0),
    Setting("voltage_max_v", "integer", 480, "Beyond it a value is no measurement", least=1),
    # Recording.
    Setting("period_seconds", "integer", 3_600, "Length of a period, as in the contract", least=1),
    Setting(
        "checkpoint_s",
        "integer",
        0,
        "Also save the count so often; 0: at each period's end only, which spares an SD card",
        least=0,
    ),
    Setting("key_file", "path", REQUIRED, "The meter's own key: a Web3 keystore, or hex"),
    Setting("password_file", "path", "", "File with the keystore's password in its first line"),
    Setting("contract", "address", REQUIRED, "Address of the Metering contract"),
    Setting("nodes", "urls", REQUIRED, "URLs of nodes, in order of preference"),
    Setting("chain_id", "integer", 0, "Chain id; 0: the network file's", least=0),
    Setting("genesis_hash", "hash", "", "Genesis block hash; empty: the first one seen is kept"),
    Setting(
        "confirmations",
        "integer",
        0,
        "Blocks that must follow; 0: none, where the network file says `pow` 12",
        least=0,
    ),
    Setting("gas_price_max_wei", "integer", 0, "Most to pay per gas; 0 where gas is free", least=0),
    Setting("batch_max", "integer", 100, "Most periods in one transaction", least=1),
    Setting("poll_ms", "integer", 200, "How often to ask for a receipt at first", least=10),
    Setting("resend_s", "integer", 10, "Without a receipt, send again after so long", least=1),
)

SECTIONS = {"": TOP, "clock": CLOCK, "meter": METER}

_TITLES = {
    "": ("Top of the file", ""),
    "clock": (
        "`[clock]`",
        "Simulated time; allowed only where the network file says `simulated = true`.",
    ),
    "meter": (
        "`[[meter]]`",
        "One entry per meter. A table `[defaults]` may hold any of these for all meters. Paths are "
        "relative to the configuration file.",
    ),
}


def settings_documentation() -> str:
    """All settings as Markdown tables."""
    parts = []
    for section, settings in SECTIONS.items():
        title, text = _TITLES[section]
        lines = [f"### {title}", ""]
        if text:
            lines += [text, ""]
        lines += ["| setting | type | default | meaning |", "|---|---|---|---|"]
        for one in settings:
            kind = " \\| ".join(f"`{c}`" for c in one.choices if c) or one.kind
            lines.append(f"| `{one.name}` | {kind} | {_show_default(one)} | {one.help} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _show_default(setting: Setting) -> str:
    default = setting.default
    if default is REQUIRED:
        return "required"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple):
        return "`[]`"
    return f'`"{default}"`' if isinstance(default, str) else f"`{default}`"
