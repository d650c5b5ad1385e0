"""The quality byte of a period: IEEE 2030.5's bits 0 to 6, and bit 7 of our own.

| bit | value | IEEE 2030.5 | set by this meter when |
|---|---|---|---|
| 0 | 1 | valid | the whole period was measured; never together with bit 4 |
| 1 | 2 | manually edited | never: corrections are made on the chain |
| 2 | 4 | estimated, reference day | never |
| 3 | 8 | estimated, linear interpolation | a register or interval was spread over time |
| 4 | 16 | questionable | incomplete: part of the period is missing, or the clock jumped in it |
| 5 | 32 | derived | power was computed as volts times amperes: no power factor, no direction |
| 6 | 64 | projected | never |
| 7 | 128 | (reserved there) | the voltage was nominal, not measured |

A period of which nothing was measured has no quality: it is absent.

Source: IEEE 2030.5-2023, `ReadingBase.qualityFlags`.
"""

VALID = 1
INTERPOLATED = 8
QUESTIONABLE = 16
DERIVED = 32
NOMINAL_VOLTAGE = 128


def is_complete(quality: int) -> bool:
    """Whether the whole period was measured or is known by interpolation."""
    return not quality & QUESTIONABLE
