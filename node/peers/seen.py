"""What was already passed on: a set of digests that forgets the oldest.

Flooding ends because a node passes a thing on only the first time; the set is bounded because what
is forgotten is at worst passed on once more.
"""

import hashlib

DIGEST_BYTES = 16
"""Enough that nobody finds two alike on purpose within a set's lifetime."""


class SeenSet:
    """Remembers between `size` and 2 * `size` digests, in two generations."""

    __slots__ = ("_new", "_old", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._new: set[bytes] = set()
        self._old: set[bytes] = set()

    def add(self, digest: bytes) -> bool:
        """Remember a digest; whether it is new."""
        if digest in self._new or digest in self._old:
            return False
        if len(self._new) >= self._size:
            self._old, self._new = self._new, set()
        self._new.add(digest)
        return True

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._new or digest in self._old


def digest_of(message: bytes) -> bytes:
    """A short digest that only this process uses: BLAKE2b, several times faster than Keccak."""
    return hashlib.blake2b(message, digest_size=DIGEST_BYTES).digest()
