"""What a source delivers: one of three kinds of reading, or the word that there is none.

Times are Unix milliseconds. Where a value comes from is `meter.measure`; what becomes of it,
`meter.counter`.
"""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Power:
    """Power that holds from `at_ms` until the next reading; negative is export."""

    at_ms: int
    power_uw: int
    flags: int = 0


@dataclass(frozen=True, slots=True)
class Register:
    """What the cumulative registers show at `at_ms`."""

    at_ms: int
    import_nj: int
    export_nj: int = 0


@dataclass(frozen=True, slots=True)
class Interval:
    """Energy of the interval that starts at `at_ms`."""

    at_ms: int
    length_ms: int
    import_nj: int
    export_nj: int = 0
    flags: int = 0


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The source said at `at_ms` that it has no value: a gap begins. Never a zero."""

    at_ms: int


RESET, ROLLOVER = 0, 1  # kinds of RegisterChange, as the contract counts them

Reading: TypeAlias = Power | Register | Interval | Unavailable


@dataclass(frozen=True, slots=True)
class RegisterChange:
    """An import register did what is no energy, by its first reading after it; `kind` as below."""

    kind: int
    period: int
    before_wh: int
    after_wh: int


@dataclass(frozen=True, slots=True)
class PeriodRecord:
    """What is recorded once for a period: `period` = floor(start in Unix s / period seconds)."""

    period: int
    import_wh: int
    export_wh: int
    quality: int
