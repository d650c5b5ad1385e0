"""Filters that clients poll, and the search for logs.

A filter of blocks or logs is only what it selects and the height up to which it was read, so it
costs nothing between polls and misses nothing. Filters live for a day without a poll, and through a
restart (`dump`, `load`): "filter not found" after minutes is a known nuisance of other nodes. Not
here: pushing (`subscriptions`).
"""

import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ledger.receipt import bloom_has
from ledger.transaction import Transaction
from ledger.types import Hash32, Height
from node.errors import NodeError
from node.recent import Full
from node.rpc.format import format_log
from node.rpc.parameters import BlockTag, LogFilter

FILTERS_MAX = 1_000
"""Open at once; the one polled longest ago makes room."""
PENDING_KEPT_MAX = 4_096
"""Hashes of waiting transactions held for one filter; older ones are let go."""
WITHDRAWN_KEPT_MAX = 10_000
"""Logs that a reorganisation removed, held for one filter: as many as one answer has at most."""
PENDING_FILTERS_MAX = 32
"""Filters that hold such hashes: 32 times 4,096 are some 10 MB."""


@dataclass(slots=True)
class Filter:
    """`next_height` is the first block not yet reported, and was `first` when the filter was made;
    `logs` None for a filter of blocks. `removed` are logs it reported of blocks since withdrawn."""

    kind: str  # "logs", "blocks" or "pending"
    next_height: Height
    logs: LogFilter | None = None
    polled_at_s: float = field(default_factory=time.time)
    first: Height | None = None
    pending: deque[Hash32] = field(default_factory=lambda: deque(maxlen=PENDING_KEPT_MAX))
    removed: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=WITHDRAWN_KEPT_MAX))

    def __post_init__(self) -> None:
        if self.first is None:
            self.first = self.next_height

    def take_removed(self) -> list[dict[str, Any]]:
        """What is to be reported before anything new."""
        removed = list(self.removed)
        self.removed.clear()
        return removed


class Filters:
    """All open filters of a node, by their id."""

    def __init__(self, lifetime_s: float) -> None:
        self._lifetime_s = lifetime_s
        self._filters: OrderedDict[str, Filter] = OrderedDict()
        self.changed = False

    def __len__(self) -> int:
        return len(self._filters)

    def add(self, new: Filter) -> str:
        """Keep a filter; its id, which no restart gives twice."""
        self._expire()
        if new.kind == "pending":
            same = [key for key, one in self._filters.items() if one.kind == "pending"]
            if len(same) >= PENDING_FILTERS_MAX:
                del self._filters[same[0]]
        elif len(self._filters) >= FILTERS_MAX:
            self._filters.popitem(last=False)
        key = hex(secrets.randbits(128) | 1 << 127)
        self._filters[key] = new
        self.changed = True
        return key

    def poll(self, key: str) -> Filter | None:
        """The filter with an id, now the one polled last."""
        self._expire()
        found = self._filters.get(key)
        if found is not None:
            found.polled_at_s = time.time()
            self._filters.move_to_end(key)
            self.changed = True
        return found

    def remove(self, key: str) -> bool:
        self.changed = True
        return self._filters.pop(key, None) is not None

    def hear_pending(self, transactions: list[Transaction]) -> None:
        """Tell the filters of waiting transactions of new ones."""
        for one in self._filters.values():
            if one.kind == "pending":
                one.pending.extend(transaction.hash for transaction in transactions)

    def withdraw(self, first: Height, blocks: list[Full]) -> None:
        """From `first` on the chain has other blocks than these, oldest first: what was reported of
        them is reported as removed, and the new ones are read."""
        for one in self._filters.values():
            if one.kind == "pending" or one.next_height <= first:
                continue
            for full in reversed(blocks if one.logs is not None else []):
                if full.block.number >= (one.first or 0) and full.block.number < one.next_height:
                    one.removed.extend(select_removed(full, one.logs))
            one.next_height = first
            self.changed = True

    def dump(self) -> bytes:
        """All filters but those of waiting transactions, to be loaded after a restart."""
        import msgpack

        self.changed = False
        kept = [
            [key, one.kind, one.next_height, one.polled_at_s, _dump_logs(one.logs), one.first]
            for key, one in self._filters.items()
            if one.kind != "pending"
        ]
        packed: bytes = msgpack.packb(kept)
        return packed

    def load(self, data: bytes) -> None:
        """Take up what `dump` wrote. Raises NodeError where it is something else."""
        import msgpack

        try:
            for key, kind, next_height, polled_at_s, logs, *first in msgpack.unpackb(data):
                self._filters[str(key)] = Filter(
                    str(kind), int(next_height), _load_logs(logs), float(polled_at_s), *first
                )
        except (ValueError, TypeError, msgpack.UnpackException) as error:
            raise NodeError(f"the saved filters cannot be read: {error}") from error

    def _expire(self) -> None:
        oldest = time.time() - self._lifetime_s
        while self._filters:
            key, one = next(iter(self._filters.items()))
            if one.polled_at_s > oldest:
                return
            del self._filters[key]


def may_match(bloom: bytes, logs: LogFilter) -> bool:
    """Whether a block with this bloom may hold a log that a filter selects."""
    if logs.addresses and not any(bloom_has(bloom, address) for address in logs.addresses):
        return False
    return all(
        not choices or any(bloom_has(bloom, topic) for topic in choices) for choices in logs.topics
    )


def select_logs(full: Full, logs: LogFilter) -> Iterator[dict[str, Any]]:
    """The logs of a block that a filter selects, as JSON."""
    for index, receipt in enumerate(full.receipts):
        for position, log in enumerate(receipt.logs):
            if logs.addresses and log.address not in logs.addresses:
                continue
            if len(logs.topics) > len(log.topics):
                continue
            if all(
                not choices or topic in choices
                for choices, topic in zip(logs.topics, log.topics, strict=False)
            ):
                yield format_log(full, index, position)


def select_removed(full: Full, logs: LogFilter | None) -> list[dict[str, Any]]:
    """As `select_logs`, of a block that is not on the chain any more, the last one first."""
    if logs is None or not may_match(full.block.header.bloom, logs):
        return []
    return [{**log, "removed": True} for log in select_logs(full, logs)][::-1]


def _dump_logs(logs: LogFilter | None) -> list[Any] | None:
    if logs is None:
        return None
    to_height = logs.to_block.height if logs.to_block is not None else None
    return [list(logs.addresses), [list(choices) for choices in logs.topics], to_height]


def _load_logs(values: list[Any] | None) -> LogFilter | None:
    if values is None:
        return None
    addresses, topics, to_height = values
    return LogFilter(
        addresses=tuple(addresses),
        topics=tuple(tuple(choices) for choices in topics),
        to_block=None if to_height is None else BlockTag(height=to_height),
    )
