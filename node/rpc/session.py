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


class Session:
    """What is to be written, in order, and the subscriptions that end with the connection."""

    def __init__(self) -> None:
        self.subscriptions: dict[str, Callable[[], None]] = {}
        self.overflowed = False
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._ready = asyncio.Event()

    def send(self, message: bytes) -> None:
        """Queue a message; beyond the bound the session is marked to be closed."""
        if (
            len(self._queue) >= QUEUED_MESSAGES_MAX
            or self._queued_bytes + len(message) > QUEUED_BYTES_MAX
        ):
            self.overflowed = True
        else:
            self._queue.append(message)
            self._queued_bytes += len(message)
        self._ready.set()

    async def next_message(self) -> bytes | None:
        """The next message to write; None once the queue has overflowed."""
        while not self._queue and not self.overflowed:
            self._ready.clear()
            await self._ready.wait()
        if self.overflowed:
            return None
        message = self._queue.popleft()
        self._queued_bytes -= len(message)
        return message

    def close(self) -> None:
        """End every subscription."""
        for unsubscribe in self.subscriptions.values():
            unsubscribe()
        self.subscriptions.clear()
