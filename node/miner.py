"""The process that searches for nonces: lowest priority, one header at a time, no faster than told.

    in     mine SEAL_HASH TARGET HASHES_PER_S     hex, hex, decimal (0: as fast as it goes)
           stop
    out    found SEAL_HASH NONCE
           rate HASHES_PER_S                      each few seconds while it searches

One line each. It is a process of its own so that the node's event loop never waits for it and the
operating system may put it last; it ends when its standard input does. The search is plain Python
on one core: what the fixed difficulty asks for is set to fit (`network new --difficulty`).
"""

import os
import secrets
import select
import sys
import time
from dataclasses import dataclass

from ledger.crypto.keccak import keccak256

NICENESS = 19
CHUNK_S = 0.01
"""Of searching between two looks at standard input: as late as a new header may be heard of."""
CHUNK_HASHES_MIN, CHUNK_HASHES_MAX = 16, 100_000
RATE_EVERY_S = 5.0
LAG_S_MAX = 0.5
"""What a late process makes good; after a longer pause it goes on at its pace."""


@dataclass(slots=True)
class Search:
    """Nonces of 8 bytes from a random one on, so that two miners with one key do not meet."""

    seal_hash: bytes
    target: bytes
    next_nonce: int

    def run(self, hashes: int) -> bytes | None:
        """Try so many; the nonce if one was found."""
        seal_hash, target = self.seal_hash, self.target
        start = self.next_nonce
        self.next_nonce = start + hashes
        for number in range(start, start + hashes):
            nonce = (number & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "big")
            if keccak256(seal_hash + nonce) <= target:
                return nonce
        return None


class Miner:
    """Reads commands from `lines`, a descriptor; searches in between."""

    def __init__(self, lines: int) -> None:
        self._lines = lines
        self._buffer = b""
        self._search: Search | None = None
        self._hashes_per_s = 0
        self._chunk = 1_000
        self._due = time.monotonic()
        self._counted = 0
        self._counted_since = time.monotonic()

    def run(self) -> None:
        """Until the input ends."""
        while self._listen():
            if self._search is not None:
                self._mine_some(self._search)

    def _listen(self) -> bool:
        """Take commands in; wait for one while there is nothing to do. False at the end."""
        wait_s: float | None = None
        if self._search is not None:
            wait_s = max(0.0, self._due - time.monotonic())
        ready, _, _ = select.select([self._lines], [], [], wait_s)
        if not ready:
            return True
        data = os.read(self._lines, 4_096)
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._obey(line.decode("ascii").split())
        return bool(data)

    def _obey(self, words: list[str]) -> None:
        if words[0] == "mine":
            self._hashes_per_s = int(words[3])
            start = secrets.randbits(64)
            self._search = Search(bytes.fromhex(words[1]), bytes.fromhex(words[2]), start)
        else:
            self._search = None

    def _mine_some(self, search: Search) -> None:
        started = time.monotonic()
        if self._hashes_per_s and self._due > started:
            return  # woken by a command, not by the time
        hashes = self._chunk
        if self._hashes_per_s:
            hashes = min(hashes, max(CHUNK_HASHES_MIN, self._hashes_per_s // 20))
        before = search.next_nonce
        nonce = search.run(hashes)
        ended = time.monotonic()
        took_s = max(ended - started, 1e-6)
        if nonce is None:
            scaled = int(hashes * CHUNK_S / took_s)
            self._chunk = min(max(scaled, CHUNK_HASHES_MIN), CHUNK_HASHES_MAX)
        else:
            tried = (int.from_bytes(nonce) - before) % 2**64 + 1
            hashes = tried
            _say(f"found {search.seal_hash.hex()} {nonce.hex()}")
            self._search = None
        if self._hashes_per_s:
            self._due = max(self._due, started - LAG_S_MAX) + hashes / self._hashes_per_s
        self._count(hashes, ended)

    def _count(self, hashes: int, now: float) -> None:
        self._counted += hashes
        if now - self._counted_since >= RATE_EVERY_S:
            _say(f"rate {int(self._counted / (now - self._counted_since))}")
            self._counted, self._counted_since = 0, now


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    os.nice(NICENESS)
    try:
        Miner(sys.stdin.fileno()).run()
    except (KeyboardInterrupt, BrokenPipeError):
        return  # whoever listened is gone


if __name__ == "__main__":
    main()
