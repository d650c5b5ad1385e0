"""What is known of an integer at deploy: the interval it lies in, and what operators make of it.

What belongs here: arithmetic of intervals, exact or wider than the truth, never narrower. It tells
`check` where a test at run time is needed, and `gas` how wide the operands are. An int inside a
method has at most a sign and 512 bits, so that a product of two words fits.
"""

import ast
from dataclasses import dataclass

from ledger.contract.types import IntType

INT_MAX = (1 << 512) - 1
TURNS_MAX = 1 << 63
"""No loop turns more often: every turn costs gas, and gas is below this."""


@dataclass(frozen=True, slots=True)
class Range:
    """low <= value <= high."""

    low: int
    high: int

    @property
    def words(self) -> int:
        """64-bit words of the widest value."""
        return max(1, (max(abs(self.low), abs(self.high)).bit_length() + 63) // 64)

    def join(self, other: "Range") -> "Range":
        return Range(min(self.low, other.low), max(self.high, other.high))

    def within(self, other: "Range") -> bool:
        return other.low <= self.low and self.high <= other.high

    def clip(self, other: "Range") -> "Range":
        """Where both hold; the nearer end of `other` where they share nothing."""
        return Range(
            min(max(self.low, other.low), other.high), max(min(self.high, other.high), other.low)
        )


INT = Range(-INT_MAX, INT_MAX)
INDEX = Range(0, INT_MAX)


def range_of(declared: IntType) -> Range:
    """The values of an intN or uintN."""
    if declared.signed:
        return Range(-(1 << declared.bits - 1), (1 << declared.bits - 1) - 1)
    return Range(0, (1 << declared.bits) - 1)


def compute_unary(op: ast.unaryop, a: Range) -> Range:
    if isinstance(op, ast.Invert):
        return Range(~a.high, ~a.low)
    return Range(-a.high, -a.low) if isinstance(op, ast.USub) else a


def compute_abs(a: Range) -> Range:
    ends = abs(a.low), abs(a.high)
    return Range(0 if a.low <= 0 <= a.high else min(ends), max(ends))


def compute_binary(op: ast.operator, a: Range, b: Range) -> Range | None:
    """The interval of `a op b`; None where only the values can tell (`**`, `<<`)."""
    if isinstance(op, ast.Add):
        return Range(a.low + b.low, a.high + b.high)
    if isinstance(op, ast.Sub):
        return Range(a.low - b.high, a.high - b.low)
    if isinstance(op, ast.Mult):
        corners = [x * y for x in (a.low, a.high) for y in (b.low, b.high)]
        return Range(min(corners), max(corners))
    if isinstance(op, ast.FloorDiv):
        return compute_quotient(a, b)
    if isinstance(op, ast.Mod):
        high = max(0, b.high - 1)
        return Range(min(0, b.low + 1), min(high, a.high) if a.low >= 0 <= b.low else high)
    if isinstance(op, ast.RShift):
        return Range(min(a.low, 0), max(a.high, -1))
    if isinstance(op, ast.LShift | ast.Pow):
        return compute_power(op, a, b)
    return compute_bitwise(op, a, b)


def compute_quotient(a: Range, b: Range) -> Range:
    """Floor division; a divisor of zero is another matter."""
    if b.low <= 0 <= b.high:
        furthest = max(abs(a.low), abs(a.high))  # |a // b| <= |a| where |b| >= 1
        return Range(0 if a.low >= 0 <= b.low else -furthest, furthest)
    corners = [x // y for x in (a.low, a.high) for y in (b.low, b.high)]
    return Range(min(corners), max(corners))


def compute_bitwise(op: ast.operator, a: Range, b: Range) -> Range:
    bits = max(x.bit_length() for x in (a.low, a.high, b.low, b.high))
    if isinstance(op, ast.BitAnd):
        positive = [x.high for x in (a, b) if x.low >= 0]
        if positive:
            return Range(0, min(positive))
    return Range(0 if min(a.low, b.low) >= 0 else -(1 << bits), (1 << bits) - 1)


def compute_power(op: ast.operator, a: Range, b: Range) -> Range | None:
    """Known for literals (`10**18`) and shifts by a literal; else left to the helper."""
    if b.low != b.high or not 0 <= b.low <= INT_MAX.bit_length():
        return None
    if isinstance(op, ast.LShift):
        return Range(a.low << b.low, a.high << b.low)
    if a.low != a.high or (abs(a.low).bit_length() - 1) * b.low > INT_MAX.bit_length():
        return None
    return Range(a.low**b.low, a.low**b.low)
