"""Numbers as meters print them, turned into scaled integers. No float exists in this room.

Units inside: microwatts, microvolts, microamperes; energy in nanojoules, because one microwatt for
one millisecond is one nanojoule, so that power times time is exact.
"""

import re
from decimal import ROUND_HALF_EVEN, Decimal

NJ_PER_WH = 3_600 * 10**9
MICRO = 10**6
# Twelve digits are 1 TWh in Wh: past any meter. Nine decimals are past any display, except that a
# file written from binary floats shows 0.028999999999999998.
_NUMBER = re.compile(r"[+-]?(\d{1,12}(\.\d{0,30})?|\.\d{1,30})")
_NOT_A_NUMBER = {"", "nan", "inf", "+inf", "-inf", "+nan", "-nan", "?", "null", "none"}
_NOT_A_NUMBER |= {"na", "n/a", "unavailable", "unknown"}


class NotMeasured(ValueError):
    """The source says that it has no value: empty, NaN, infinite, "unavailable"."""


class NotANumber(ValueError):
    """Text where a number belongs."""


def parse_scaled(text: str, scale: int) -> int:
    """`text` times `scale` as an integer, half to even. Raises NotMeasured or NotANumber."""
    text = text.strip()
    if _NUMBER.fullmatch(text) is None:
        if is_not_measured(text):
            raise NotMeasured(text)
        raise NotANumber(text[:40])
    return int((Decimal(text) * scale).to_integral_value(ROUND_HALF_EVEN))


def is_not_measured(text: str) -> bool:
    """Whether the source says, in place of a number, that it has none."""
    return text.strip().lower() in _NOT_A_NUMBER


def is_minus_zero(text: str) -> bool:
    """Whether a board printed -0.0: a small negative value, rounded. It is a measured zero."""
    text = text.strip()
    return text.startswith("-") and not text.strip("-0.")
