"""Since when each validator cannot be reached from here.

Looked at each second; a validator that was never seen counts from the start of this node.
"""

import time
from collections.abc import Collection

from ledger.types import Address


class Absence:
    """When each absent validator was missed first, Unix seconds."""

    def __init__(self) -> None:
        self.since_s: dict[Address, float] = {}

    def note(self, validators: Collection[Address], present: Collection[Address]) -> None:
        """Take in who validates and who is here just now."""
        now = time.time()
        self.since_s = {who: self.since_s.get(who, now) for who in validators if who not in present}
