"""Who wants to hear of new blocks and new waiting transactions.

One object between the daemon, which tells, and filters and subscriptions, which listen. A listener
is called in its turn on the event loop and must be quick; what it raises is its own fault and does
not reach the others.
"""

from collections.abc import Callable
from typing import TypeVar

from ledger.transaction import Transaction
from node.log import Log
from node.recent import Full

OnBlock = Callable[[Full], None]
OnPending = Callable[[list[Transaction]], None]
OnWithdrawn = Callable[[list[Full]], None]
OnSync = Callable[[bool], None]
T = TypeVar("T")


class Feed:
    """Listeners by what they listen to; each `on_...` gives the call that ends it."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._on_block: dict[int, OnBlock] = {}
        self._on_pending: dict[int, OnPending] = {}
        self._on_sync: dict[int, OnSync] = {}
        self._on_withdrawn: dict[int, OnWithdrawn] = {}
        self._count = 0

    def on_block(self, listener: OnBlock) -> Callable[[], None]:
        """Listen to committed blocks; the result ends it."""
        return self._enter(self._on_block, listener)

    def on_withdrawn(self, listener: OnWithdrawn) -> Callable[[], None]:
        """Listen to blocks that another branch has taken the place of, oldest first."""
        return self._enter(self._on_withdrawn, listener)

    def on_pending(self, listener: OnPending) -> Callable[[], None]:
        """Listen to transactions newly in the pool."""
        return self._enter(self._on_pending, listener)

    def on_sync(self, listener: OnSync) -> Callable[[], None]:
        """Listen to the beginning (True) and end of catching up."""
        return self._enter(self._on_sync, listener)

    def count_listeners(self, *, pending: bool = False) -> int:
        """How many listen, or how many of them to waiting transactions."""
        if pending:
            return len(self._on_pending)
        return len(self._on_block) + len(self._on_pending) + len(self._on_sync)

    def publish_block(self, full: Full) -> None:
        self._tell(self._on_block, full)

    def publish_withdrawn(self, blocks: list[Full]) -> None:
        self._tell(self._on_withdrawn, blocks)

    def publish_pending(self, transactions: list[Transaction]) -> None:
        self._tell(self._on_pending, transactions)

    def publish_sync(self, catching_up: bool) -> None:
        self._tell(self._on_sync, catching_up)

    def _enter(self, listeners: dict[int, T], listener: T) -> Callable[[], None]:
        self._count += 1
        number = self._count
        listeners[number] = listener

        def leave() -> None:
            listeners.pop(number, None)

        return leave

    def _tell(self, listeners: dict[int, Callable[[T], None]], news: T) -> None:
        for listener in list(listeners.values()):
            try:
                listener(news)
            except Exception as error:  # logged; one listener's fault is not another's
                self._log.bug("feed", error)
