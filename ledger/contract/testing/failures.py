"""What a call that fails raises in a test, and where its traceback points.

A contract's own Revert is raised as the author's class. The traceback of each failure is cut to the
lines of contracts, the innermost last: the frames of the runtime between them explain nothing.
"""

from collections.abc import Collection
from types import TracebackType

from ledger.contract.api import Revert, address, string


class Unauthorized(Revert):
    """The caller lacks the role that the method asks for."""

    account: address
    role: string


class ContractPanic(Exception):
    """A contract's bug: an index, key or size out of range; numbers in `signals`."""

    def __init__(self, code: int) -> None:
        super().__init__(f"panic 0x{code:02x}: {PANICS.get(code, 'see its line')}")
        self.code = code


PANICS = {
    0x00: "an operation that these values do not allow",
    0x11: "an integer that its type does not hold",
    0x12: "a division by zero",
    0x21: "no member of the enum",
    0x31: "a pop of an empty list or array",
    0x32: "an index or key that is not there",
    0x41: "a value over its size limit",
    0x57: "a write inside a view or static call",
}
"""Solidity's numbers where it has one (docs.soliditylang.org, "Panic via assert")."""


class ContractOutOfGas(Exception):
    """The call used all its gas."""


class CallRefused(Exception):
    """Nothing takes this call: its data, or the coin it carries."""


class UpgradeRefused(Exception):
    """The new source would misread the storage of the old one; the text says where."""


def explain_cause(cause: BaseException | None) -> BaseException | None:
    """What Python itself said of an operation, if it was that; its traceback is told already."""
    return cause.with_traceback(None) if isinstance(cause, Exception) else None


def cut_traceback(cause: BaseException | None, files: Collection[str]) -> TracebackType | None:
    """The traceback of `cause` and of what caused it, with the frames of these files alone."""
    frames: list[TracebackType] = []
    while cause is not None:
        entry = cause.__traceback__
        while entry is not None:
            if entry.tb_frame.f_code.co_filename in files:
                frames.append(entry)
            entry = entry.tb_next
        cause = cause.__cause__
    result: TracebackType | None = None
    for entry in reversed(frames):
        result = TracebackType(result, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return result
