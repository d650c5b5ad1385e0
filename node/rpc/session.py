"""One client's WebSocket: its subscriptions, and the bounded queue of what it is to be sent.

Not here: what a subscription selects (`subscriptions`), HTTP (`server`).
"""

import asyncio
from collections import deque
from collections.abc import Callable

SUBSCRIPTIONS_MAX = 100
"""Of one connection."""
QUEUED_MESSAGES_MAX = 10_000
"""A client that reads slower than events come is cut off at this many, not served at the cost of
the node's memory."""
QUEUED_BYTES_MAX = 32 * 1024 * 1024
"""The same bound in bytes; a reply may have 25 MB."""
UNREAD_BYTES_MAX = 64 * 1024 * 1024
"""Of what all clients together have asked for and not taken: a thousand of them that read nothing
must not take a Pi's memory."""
UNREAD_BYTES_FREE = 32 * 1024
"""So much each may have unread beside that, so that no greedy client cuts off the modest ones."""


class Unread:
    """Counts what all clients of a server have not taken yet."""

    def __init__(self) -> None:
        self._bytes = 0

    def move(self, held: int, size: int) -> bool:
        """Whether who holds so many bytes of it may have `size` unread instead."""
        change = max(0, size - UNREAD_BYTES_FREE) - max(0, held - UNREAD_BYTES_FREE)
        if change > 0 and self._bytes + change > UNREAD_BYTES_MAX:
            return False
        self._bytes += change
        return True


class Session:
    """What is to be written, in order, and the subscriptions that end with the connection."""

    def __init__(self, unread: Unread | None = None) -> None:
        self.subscriptions: dict[str, Callable[[], None]] = {}
        self.overflowed = False
        self._unread = unread or Unread()
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._ready = asyncio.Event()

    def send(self, message: bytes) -> None:
        """Queue a message; beyond the bound the session is marked to be closed."""
        if self.overflowed:
            return
        size = self._queued_bytes + len(message)
        if (
            len(self._queue) >= QUEUED_MESSAGES_MAX
            or size > QUEUED_BYTES_MAX
            or not self._unread.move(self._queued_bytes, size)
        ):
            self._drop()
        else:
            self._queue.append(message)
            self._queued_bytes = size
        self._ready.set()

    async def next_message(self) -> bytes | None:
        """The next message, which counts until it is `written`; None once the queue has
        overflowed."""
        while not self._queue and not self.overflowed:
            self._ready.clear()
            await self._ready.wait()
        return None if self.overflowed else self._queue[0]

    def written(self) -> None:
        """The client has taken the next message."""
        if not self.overflowed:
            size = self._queued_bytes - len(self._queue.popleft())
            self._unread.move(self._queued_bytes, size)
            self._queued_bytes = size

    def _drop(self) -> None:
        """Let go of all that is not read, and take nothing more."""
        self.overflowed = True
        self._queue.clear()
        self._unread.move(self._queued_bytes, 0)
        self._queued_bytes = 0

    def close(self) -> None:
        """End every subscription."""
        self._drop()
        for unsubscribe in self.subscriptions.values():
            unsubscribe()
        self.subscriptions.clear()
