"""What ends a contract's call before it returns: BaseExceptions, so that nothing swallows one.

They live only inside `ledger.contract`; outside, a call is an `execution.Outcome`. Panic numbers
are Solidity's where it has one (docs.soliditylang.org, "Panic via assert"), so tools name them.
"""

PANIC_OTHER = 0x00
PANIC_RANGE = 0x11
"""An integer outside its declared type at a door, or past 512 bits inside."""
PANIC_ZERO = 0x12
"""Division by zero."""
PANIC_ENUM = 0x21
"""An integer that is none of an enum's members."""
PANIC_POP = 0x31
"""`pop()` of an empty array."""
PANIC_INDEX = 0x32
"""An index or key that is not there."""
PANIC_SIZE = 0x41
"""A value larger than its limit, or more allocated than a transaction may."""
PANIC_READ_ONLY = 0x57
"""A write inside a view or a static call."""


class Signal(BaseException):
    """The root of what ends a call."""


class OutOfGas(Signal):
    """The call used all its gas; nothing in a contract can catch it."""


class Panicked(Signal):
    """A fault that no declared revert names; `code` is one of the numbers above."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Reverted(Signal):
    """A declared revert: its ABI name and the values of its fields, in order."""

    def __init__(self, name: str, values: tuple[object, ...]) -> None:
        super().__init__(name, values)
        self.name = name
        self.values = values


class PassedOn(Signal):
    """A revert or panic of a called contract, with its data, that ends the caller as well."""

    def __init__(self, output: bytes) -> None:
        super().__init__(output)
        self.output = output


class Refused(Signal):
    """A call that reaches no method: unknown, ill-formed, or with coin that nothing takes."""


class NodeFault(Exception):
    """This machine failed (memory, stack), not the contract: the node stops and tells its operator.

    Never an outcome and never a receipt, for another node would not fail at the same place.
    """
