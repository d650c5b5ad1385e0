"""At which blocks the validators changed: what a light client has to walk.

A list that grows by one for each change in the life of a network, kept beside the chain with the
height up to which it is complete; a start looks at the blocks after that.
"""

from collections.abc import Sequence

from ledger.block import Header
from ledger.chain import Chain
from ledger.encoding.packed import pack, unpack_items
from ledger.store.base import Store
from ledger.types import Height

META_KEY = "node/validator-changes"


class ValidatorChanges:
    """The heights whose header names other validators for the next block than for itself."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self.heights: list[Height] = []
        self._complete_to = 0
        saved = chain.store.get_meta(META_KEY)
        if saved is not None:
            complete_to, heights = unpack_items(saved, "validator changes", int, tuple)
            self.heights = [int(height) for height in heights]
            self._complete_to = complete_to
        for height in range(self._complete_to + 1, 0 if chain.is_mined else chain.head.number + 1):
            self.note(chain.header(height))

    def note(self, header: Header) -> None:
        """Take in the next block, and those before it that a failing disk kept from being told."""
        if self._chain.is_mined:
            return  # its headers name no validators
        missed = range(self._complete_to + 1, header.number)
        for one in (*map(self._chain.header, missed), header):
            if one.mix_hash != one.extra_data:
                self.heights.append(one.number)
        self._complete_to = header.number

    def save(self) -> None:
        """Keep the list, complete up to the head, for the next start."""
        save_complete(self._chain.store, self._complete_to, self.heights)


def save_complete(store: Store, complete_to: Height, heights: Sequence[Height]) -> None:
    """Keep a list that is known to be complete up to a height."""
    store.set_meta(META_KEY, pack((complete_to, tuple(heights))))
