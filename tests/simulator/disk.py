"""A disk that keeps what was synced and may fail, fill up, or lose power at any write.

It holds the ledger's own store in memory. What a machine sees of it is a `DiskHandle`, which dies
with the machine. A write that was not synced (`set_meta`) is lost by a power cut; one whose fsync
failed is not there for the process that was told so, and may be there after a power cut all the
same. Torn pages are SQLite's affair: tests/store/test_durability.py cuts real files.
"""

from collections.abc import Callable
from random import Random
from typing import Any

from ledger.errors import DiskFull, StoreError
from ledger.store.memory import MemoryStore
from tests.simulator.clockwork import Life, PowerCut

UNSYNCED = ("set_meta",)
READS = ("get_", "load_", "head_", "flushed_", "find_", "oldest_", "size_", "close")


class Disk:
    """`full`: nothing more fits. `fail_in`, `cut_in`: so many more writes succeed before one's
    fsync fails, or power is lost at one, before it or after it."""

    def __init__(self, random: Random) -> None:
        self.store = MemoryStore()
        self.full = False
        self.fail_in: int | None = None
        self.cut_in: int | None = None
        self.cut_after = False
        """Whether the write at which power is lost still reaches the disk."""
        self.writes = 0
        self._random = random
        self._synced_meta: dict[str, bytes | None] = {}
        self._ghost: Callable[[], Any] | None = None

    def lose_power(self) -> None:
        """What was not synced is gone; what failed to sync may be there."""
        for key, value in self._synced_meta.items():
            if value is None:
                self.store._meta.pop(key, None)
            else:
                self.store._meta[key] = value
        self._synced_meta.clear()
        ghost, self._ghost = self._ghost, None
        if ghost is not None and self._random.randrange(2):
            ghost()

    def note_unsynced(self, key: str) -> None:
        self._synced_meta.setdefault(key, self.store._meta.get(key))

    def write(
        self, work: Callable[[], Any], cut: Callable[[], None], written: Callable[[], None]
    ) -> Any:
        """One synced write; `cut` is what a loss of power does to the machine, `written` is told
        of what is on disk."""
        if self.full:
            raise DiskFull("the disk is full")
        if self.fail_in == 0:
            self._ghost = work
            raise StoreError("the disk failed: fsync: Input/output error")
        if self.cut_in == 0:
            if self.cut_after:
                work()
                written()
            self.cut_in = None
            cut()
            raise PowerCut
        if self.fail_in is not None:
            self.fail_in -= 1
        if self.cut_in is not None:
            self.cut_in -= 1
        result = work()
        written()
        self.writes += 1
        self._ghost = None
        self._synced_meta.clear()
        return result


class DiskHandle:
    """The `Store` of one life of a machine."""

    def __init__(
        self,
        disk: Disk,
        life: Life,
        cut: Callable[[], None],
        on_append: Callable[[tuple[Any, ...]], None],
    ) -> None:
        self._disk = disk
        self._life = life
        self._cut = cut
        self._on_append = on_append

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._disk.store, name)
        if not callable(attribute):
            return attribute

        def touch(*args: Any, **options: Any) -> Any:
            if not self._life.alive:
                raise PowerCut
            if name.startswith(READS):
                return attribute(*args, **options)
            if name in UNSYNCED:
                if self._disk.full:
                    raise DiskFull("the disk is full")
                self._disk.note_unsynced(args[0])
                return attribute(*args, **options)
            written = lambda: self._on_append(args) if name == "append_block" else None  # noqa: E731
            return self._disk.write(lambda: attribute(*args, **options), self._cut, written)

        return touch
