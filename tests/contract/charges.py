"""Compiling a contract with one of its charges left out, to see that somebody misses it."""

import ast
from typing import Any

import pytest

from ledger.contract import instrument, lowering


def count_charges(compile_it: Any, skipped: int) -> int:
    """Compile with charge number `skipped` left out; how many there are."""
    count = 0

    def numbered(original: Any, stripped: Any) -> Any:
        def charge(amount: int, *node: Any) -> Any:
            nonlocal count
            if amount == 0:
                return original(amount, *node)
            count += 1
            return stripped(*node) if count == skipped else original(amount, *node)

        return charge

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            instrument, "spend", numbered(instrument.spend, lambda: [ast.Pass(), ast.Pass()])
        )
        before = numbered(lowering.spend_before, lambda node: node)
        patch.setattr(lowering, "spend_before", before)
        patch.setattr(instrument, "spend_before", before)
        compile_it()
    return count
