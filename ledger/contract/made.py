"""What is made when it is first asked for: a call uses little of a large contract."""

from collections.abc import Callable
from typing import ClassVar, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Made(dict[K, V]):
    """What `make` gives for a key, made when it is first asked for and kept."""

    __slots__ = ("make",)
    count: ClassVar[int] = 0
    """Of all that was ever made: when it has risen, programs weigh more."""

    def __init__(self, make: Callable[[K], V]) -> None:
        self.make = make

    def __missing__(self, key: K) -> V:
        Made.count += 1
        value = self[key] = self.make(key)
        return value
