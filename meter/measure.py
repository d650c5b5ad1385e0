"""Which fields of a row are the measurement, in which unit, and within which limits.

A row is a mapping from column names to text: a CSV line by its header, a serial line by its field
map. What is not a number within the limits becomes Unavailable: counted, a gap, never a zero.

Not here: how rows are cut (`meter.lines`, `meter.replay`), what energy follows (`meter.counter`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from meter.numbers import (
    MICRO,
    NJ_PER_WH,
    NotANumber,
    NotMeasured,
    is_minus_zero,
    parse_scaled,
)
from meter.quality import DERIVED, NOMINAL_VOLTAGE
from meter.reading import Interval, Power, Reading, Register, Unavailable

# The order of the fields after the node id depends on board and sketch; currents are in mA.
# Source: the boards' wiki pages and the parser of gtricot/rpict-mqtt.
BOARDS: dict[str, tuple[str, ...]] = {
    "RPICT3T1": ("node", "p1", "p2", "p3", "t"),
    "RPICT3V1": ("node", "p1", "p2", "p3", "i1", "i2", "i3", "v"),
    "RPICT3V1-2": (
        "node",
        *(f"{name}{channel}" for channel in (1, 2, 3) for name in ("p", "s", "i", "v", "pf")),
    ),
    "RPICT7V1": (
        "node",
        *(f"p{channel}" for channel in range(1, 8)),
        *(f"i{channel}" for channel in range(1, 8)),
        "v",
    ),
}
# Without a voltage sensor: its power is the current times a voltage written into the sketch.
BOARDS_WITHOUT_VOLTAGE = {"RPICT3T1"}

POWER_UNITS = {"mW": 1_000, "W": MICRO, "kW": 1_000 * MICRO}
CURRENT_UNITS = {"mA": 1_000, "A": MICRO}
ENERGY_UNITS = {"Wh": NJ_PER_WH, "kWh": 1_000 * NJ_PER_WH}


@dataclass(frozen=True, slots=True)
class MeasureSettings:
    """Columns are "" where there is none. Scales turn a printed unit into micro-units or nJ."""

    kind: str  # "power", "register" or "interval"
    power_column: str = ""
    current_column: str = ""
    voltage_column: str = ""
    import_column: str = ""
    export_column: str = ""
    power_scale: int = MICRO
    current_scale: int = MICRO
    energy_scale: int = NJ_PER_WH
    nominal_voltage_uv: int = 0
    interval_ms: int = 0
    net: bool = False  # of import and export only the difference counts
    reversed: bool = False  # the clamp sits the wrong way round
    flags: int = 0  # quality bits of every reading
    power_uw_max: int = 100_000 * MICRO
    current_ua_max: int = 500 * MICRO
    voltage_uv_min: int = 80 * MICRO
    voltage_uv_max: int = 480 * MICRO

    def columns(self) -> list[str]:
        """The columns that a row must have."""
        names = (
            self.power_column,
            self.current_column,
            self.voltage_column,
            self.import_column,
            self.export_column,
        )
        return [name for name in names if name]


class _Refused(ValueError):
    """A value that is no measurement; the fault is its kind."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


class Measure:
    """Turns rows into readings of one meter."""

    def __init__(self, settings: MeasureSettings, note: Callable[[str, str], None]) -> None:
        self.settings = settings
        self._note = note

    def read(self, row: Mapping[str, str], at_ms: int) -> Reading:
        """The reading of a row; `at_ms` is when it was taken, or when its interval starts."""
        settings = self.settings
        try:
            if settings.kind == "power":
                power_uw, flags = self._power(row)
                return Power(at_ms, power_uw, flags)
            import_nj = self._value(row, settings.import_column, settings.energy_scale)
            export_nj = 0
            if settings.export_column:
                export_nj = self._value(row, settings.export_column, settings.energy_scale)
            if settings.kind == "register":
                if import_nj < 0 or export_nj < 0:
                    raise _Refused("out_of_range", "a register below zero")
                return Register(at_ms, import_nj, export_nj)
            return self._interval(at_ms, import_nj, export_nj)
        except _Refused as refused:
            self._note(refused.kind, str(refused))
            return Unavailable(at_ms)

    def _interval(self, at_ms: int, import_nj: int, export_nj: int) -> Interval:
        settings = self.settings
        if settings.net:
            import_nj, export_nj = max(import_nj - export_nj, 0), max(export_nj - import_nj, 0)
        elif not settings.export_column and import_nj < 0:
            import_nj, export_nj = 0, -import_nj
        if import_nj < 0 or export_nj < 0:
            raise _Refused("out_of_range", "negative energy beside a column of its own")
        if settings.reversed:
            import_nj, export_nj = export_nj, import_nj
        return Interval(at_ms, settings.interval_ms, import_nj, export_nj, settings.flags)

    def _power(self, row: Mapping[str, str]) -> tuple[int, int]:
        settings, flags = self.settings, self.settings.flags
        if settings.power_column:
            power_uw = self._value(row, settings.power_column, settings.power_scale)
        else:
            current_ua = self._value(row, settings.current_column, settings.current_scale)
            if not 0 <= current_ua <= settings.current_ua_max:
                raise _Refused("out_of_range", f"{settings.current_column} = {current_ua} uA")
            flags |= DERIVED
            if settings.voltage_column:
                voltage_uv = self._value(row, settings.voltage_column, MICRO)
                if not settings.voltage_uv_min <= voltage_uv <= settings.voltage_uv_max:
                    raise _Refused("out_of_range", f"{settings.voltage_column} = {voltage_uv} uV")
            else:
                voltage_uv = settings.nominal_voltage_uv
                flags |= NOMINAL_VOLTAGE
            # uA times uV is 10**-12 W; half up to the microwatt.
            power_uw = (current_ua * voltage_uv + MICRO // 2) // MICRO
        if abs(power_uw) > settings.power_uw_max:
            raise _Refused("out_of_range", f"{power_uw // MICRO} W")
        return (-power_uw if settings.reversed else power_uw), flags

    def _value(self, row: Mapping[str, str], column: str, scale: int) -> int:
        text = row.get(column) or ""
        try:
            value = parse_scaled(text, scale)
        except NotMeasured as error:
            raise _Refused("not_measured", f"{column} = {text!r}") from error
        except NotANumber as error:
            raise _Refused("bad_number", f"{column} = {text[:40]!r}") from error
        if value == 0 and is_minus_zero(text):
            self._note("minus_zero", column)
        return value
