"""What peers of a mined chain say of their heads, and whose answers help.

A status tells a peer's height and, as the mask of its one slot, the first bytes of its head's hash:
two nodes that rest on rival heads of one height would else never find out.
"""

from ledger.consensus.messages import Status
from ledger.types import Hash32, Height

USELESS_MS = 60_000  # how long a peer whose answer did not help is asked last
TIP_BYTES = 8


def make_status(height: Height, head_hash: Hash32, is_open: bool) -> Status:
    """What this node tells of its head; there is no round, and nobody votes."""
    return Status(height + 1, 0, is_open, ((0, 0, _tip_of(head_hash)),))


class Peers:
    """The connected ones, as many as there can be connections."""

    def __init__(self) -> None:
        self._heads: dict[bytes, tuple[Height, int]] = {}
        self._useless_ms: dict[bytes, int] = {}

    def hear(self, peer: bytes, status: Status) -> None:
        tip = status.heard[0][2] if status.heard else 0
        self._heads[peer] = (status.head_height, tip)

    def note_block(self, peer: bytes, height: Height, block_hash: Hash32) -> None:
        """It sent this block, which may be its head; its next status says."""
        if height >= self._heads.get(peer, (0, 0))[0]:
            self._heads[peer] = (height, _tip_of(block_hash))

    def remove(self, peer: bytes) -> None:
        self._heads.pop(peer, None)
        self._useless_ms.pop(peer, None)

    def note_useless(self, peer: bytes, now_ms: int) -> None:
        """Its answer did not help, or did not come."""
        self._useless_ms[peer] = now_ms + USELESS_MS

    def find_ahead(self, height: Height, now_ms: int) -> list[bytes]:
        """Who claims more than this height and does answer, the highest first."""
        able = [
            (head, peer)
            for peer, (head, _) in self._heads.items()
            if head > height and self._useless_ms.get(peer, 0) <= now_ms
        ]
        return [peer for _, peer in sorted(able, key=lambda item: -item[0])]

    def is_behind(self, height: Height, blocks: int, now_ms: int) -> bool:
        return bool(self.find_ahead(height + blocks - 1, now_ms))

    def is_contested(self, height: Height, head_hash: Hash32) -> bool:
        """Whether somebody has another head of the same height."""
        tip = _tip_of(head_hash)
        return any(head == height and other not in (0, tip) for head, other in self._heads.values())

    def list_times(self) -> list[int]:
        """When somebody may be asked again."""
        return list(self._useless_ms.values())


def _tip_of(head_hash: Hash32) -> int:
    return int.from_bytes(head_hash[:TIP_BYTES], "big")
