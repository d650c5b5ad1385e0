"""The sized operations of contract code: each bounds and charges its work before it does it.

What belongs here: what instrumented code calls where the cost of an operation depends on the values
it meets, and the panics. One `Sized` serves one call of a contract and holds its gas cell. What
costs the same for all values is charged inline, by `instrument`.
"""

from collections.abc import Callable, Iterable, Sequence
from types import CellType
from typing import Any, NoReturn, Protocol, TypeVar, cast

from ledger.contract.gas import (
    GAS_MUL_DIV,
    PAIRING_GAS,
    price_bytes,
    price_fold,
    price_items,
    price_power,
    price_search,
    price_sort,
)
from ledger.contract.places import LIST_ITEMS_MAX, TEXT_SIZE_MAX
from ledger.contract.ranges import INT_MAX
from ledger.contract.signals import (
    PANIC_ENUM,
    PANIC_INDEX,
    PANIC_POP,
    PANIC_RANGE,
    PANIC_SIZE,
    PANIC_ZERO,
    Panicked,
)

ITEM_SIZE = 64
"""Bytes reckoned for an item of a list: its place and a 256-bit integer."""
SPAN_MAX = (1 << 31) - 1
"""Turns of one `range`: the longest that len() counts on a 32-bit machine."""
INT_BITS_MAX = INT_MAX.bit_length()

T = TypeVar("T")
Text = TypeVar("Text", bytes, str)


class Host(Protocol):
    """What sized operations need of a running contract."""

    def allocate(self, size_bytes: int) -> None:
        """Add to what the transaction has allocated; a panic past its bound."""


class Sized:
    """The operations by their names in lowered code; `gas` is what is left, `out` ends the call."""

    __slots__ = ("allocate", "gas", "out")

    def __init__(self) -> None:
        self.gas: CellType
        self.allocate: Callable[[int], None]
        self.out: Callable[[], NoReturn]

    def charge(self, amount: int) -> None:
        self.gas.cell_contents = left = self.gas.cell_contents - amount
        if left < 0:
            self.out()

    # -- panics ------------------------------------------------------------------------------

    def overflow(self) -> NoReturn:
        raise Panicked(PANIC_RANGE)

    def zero(self) -> NoReturn:
        raise Panicked(PANIC_ZERO)

    def missing(self) -> NoReturn:
        raise Panicked(PANIC_INDEX)

    # -- integers ----------------------------------------------------------------------------

    def power(self, base: int, exponent: int) -> int:
        """At most 512 bits; the exponent is not negative."""
        bits = base.bit_length()
        size = bits * exponent if bits > 1 else INT_BITS_MAX  # 1**e squares once a bit of e
        if size - exponent > INT_BITS_MAX:
            raise Panicked(PANIC_RANGE)
        self.charge(price_power(size))
        result: int = base**exponent
        return result if -INT_MAX <= result <= INT_MAX else self.overflow()

    def shift_left(self, value: int, count: int) -> int:
        size = value.bit_length() + count
        if size > INT_BITS_MAX:
            raise Panicked(PANIC_RANGE)
        self.charge(price_power(size))
        return value << count

    def shift_right(self, value: int, count: int) -> int:
        return value >> min(count, INT_BITS_MAX + 1)

    def divide(self, value: int, divisor: int) -> tuple[int, int]:
        return divmod(value, divisor or self.zero())

    def member(self, number: int, count: int) -> int:
        """An integer as one of an enum's `count` members."""
        if 0 <= number < count:
            return number
        raise Panicked(PANIC_ENUM)

    def mul_div(self, a: int, b: int, c: int, rounding: str) -> int:
        """a * b // c, exact between, and rounded as asked."""
        self.charge(GAS_MUL_DIV)
        quotient, rest = divmod(a * b, c or self.zero())
        if rest and rounding != "ROUND_FLOOR":  # the fraction is rest / c, both of one sign
            twice = 2 * abs(rest) - abs(c)
            if rounding == "ROUND_CEILING" or twice > 0:
                quotient += 1
            elif twice == 0:  # a tie: away from zero, or to the even neighbour
                quotient += quotient >= 0 if rounding == "ROUND_HALF_UP" else quotient & 1
        return quotient if -INT_MAX <= quotient <= INT_MAX else self.overflow()

    def signature(self, v: int, r: bytes, s: bytes) -> bytes:
        """r, s and v as wallets join them."""
        return r + s + v.to_bytes(1, "big")

    # -- bytes and text ----------------------------------------------------------------------

    def concat(self, first: Text, second: Text) -> Text:
        size = len(first) + len(second)
        if size > TEXT_SIZE_MAX:
            raise Panicked(PANIC_SIZE)
        self.charge(price_bytes(size))
        self.allocate(size if isinstance(first, bytes) else 4 * size)
        return first + second

    def encode(self, text: str) -> bytes:
        """UTF-8, at most four bytes a character."""
        self.charge(price_bytes(4 * len(text)))
        self.allocate(4 * len(text))
        data = text.encode("utf-8")
        if len(data) > TEXT_SIZE_MAX:
            raise Panicked(PANIC_SIZE)
        return data

    def decode(self, data: bytes) -> str:
        self.charge(price_bytes(4 * len(data)))
        self.allocate(4 * len(data))
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            raise Panicked(PANIC_RANGE) from None

    def hex(self, data: bytes) -> str:
        if 2 * len(data) > TEXT_SIZE_MAX:
            raise Panicked(PANIC_SIZE)
        self.charge(price_bytes(8 * len(data)))
        self.allocate(2 * len(data))
        return data.hex()

    def begins(self, data: bytes, start: bytes) -> bool:
        self.charge(price_bytes(min(len(data), len(start))))
        return data.startswith(start)

    def number(self, data: bytes) -> int:
        return int.from_bytes(data, "big")

    def spell(self, number: int, size: int) -> bytes:
        return number.to_bytes(size, "big")

    def sized(self, data: bytes, size: int) -> bytes:
        """Bytes as a bytesN or an address: just so many, or a panic."""
        return data if len(data) == size else self.overflow()

    def slice(self, value: bytes, start: int, end: int | None) -> bytes:
        """0 <= start <= end <= len(value)."""
        end = len(value) if end is None else end
        if not 0 <= start <= end <= len(value):
            raise Panicked(PANIC_INDEX)
        self.charge(price_bytes(end - start))
        self.allocate(end - start)
        return value[start:end]

    def equal(self, first: Text, second: Text) -> bool:
        self.charge(price_bytes(min(len(first), len(second))))
        return first == second

    def differ(self, first: Text, second: Text) -> bool:
        return not self.equal(first, second)

    # -- lists -------------------------------------------------------------------------------

    def literal(self, items: list[T]) -> list[T]:
        self.allocate(ITEM_SIZE * len(items))
        return items

    def element(self, items: Sequence[T], index: int) -> T:
        return items[self.position(items, index)]

    def position(self, items: Sequence[object], index: int) -> int:
        return index if -1 < index < len(items) else self.missing()

    def copy(self, items: list[T]) -> list[T]:
        self.charge(price_items(len(items)))
        self.allocate(ITEM_SIZE * len(items))
        return items.copy()

    def append(self, items: list[T], item: T) -> None:
        if len(items) >= LIST_ITEMS_MAX:
            raise Panicked(PANIC_SIZE)
        self.allocate(ITEM_SIZE)
        items.append(item)

    def pop(self, items: list[T]) -> T:
        if not items:
            raise Panicked(PANIC_POP)
        return items.pop()

    def contains(self, item: T, items: list[T]) -> bool:
        self.charge(price_search(len(items)))
        return item in items

    def lacks(self, item: T, items: list[T]) -> bool:
        return not self.contains(item, items)

    def total(self, items: list[int]) -> int:
        self.charge(price_fold(len(items)))
        return sum(items)

    def least(self, items: list[int]) -> int:
        self.charge(price_fold(len(items)))
        return min(items) if items else self.missing()

    def greatest(self, items: list[int]) -> int:
        self.charge(price_fold(len(items)))
        return max(items) if items else self.missing()

    def some(self, items: list[bool]) -> bool:
        self.charge(price_items(len(items)))
        return any(items)

    def every(self, items: list[bool]) -> bool:
        self.charge(price_items(len(items)))
        return all(items)

    def arrange(self, items: list[T]) -> list[T]:
        """Sorted; of integers, or of bytes of one size."""
        self.charge(price_sort(len(items)))
        self.allocate(ITEM_SIZE * len(items))
        return sorted(items)  # type: ignore[type-var]

    def join(self, first: list[T], second: list[T]) -> list[T]:
        self.make_room(len(first) + len(second))
        return first + second

    def repeat(self, items: list[T], times: int) -> list[T]:
        self.make_room(len(items) * times)
        return items * times

    def part(self, items: list[T], start: int, end: int | None) -> list[T]:
        """0 <= start <= end <= len(items)."""
        end = len(items) if end is None else end
        if not 0 <= start <= end <= len(items):
            raise Panicked(PANIC_INDEX)
        self.make_room(end - start)
        return items[start:end]

    def make_room(self, count: int) -> None:
        """Pay for a list of so many items before it is made."""
        if count > LIST_ITEMS_MAX:
            raise Panicked(PANIC_SIZE)
        self.charge(price_items(count))
        self.allocate(ITEM_SIZE * count)

    def gather(self, turn: int, head: str, *given: Any) -> Iterable[Any]:
        """What a comprehension goes through; the list it makes is allocated before."""
        items = getattr(self, head)(turn, *given)
        lists = [items] if head == "span" else given
        count = min([len(each) for each in lists])
        if count > LIST_ITEMS_MAX:
            raise Panicked(PANIC_SIZE)
        self.allocate(ITEM_SIZE * count)
        return cast(Iterable[Any], items)

    # -- what a `for` goes through; each turn is charged here where its price is the same ------

    def each(self, turn: int, items: list[T]) -> list[T]:
        """A copy, so that what the loop does to the list through another name changes nothing."""
        self.charge(price_items(len(items)) + turn * len(items))
        return items.copy()

    def numbered(self, turn: int, items: list[T]) -> Iterable[tuple[int, T]]:
        return enumerate(self.each(turn, items))

    def together(self, turn: int, *lists: list[object]) -> Iterable[tuple[object, ...]]:
        shortest = min(map(len, lists))
        self.charge(PAIRING_GAS + price_items(len(lists) * shortest) + turn * shortest)
        return zip(*(items[:shortest] for items in lists), strict=True)

    def span(self, turn: int, first: int, stop: int | None = None, step: int = 1) -> range:
        """range(), whose turns are charged before the first one."""
        if step == 0:
            raise Panicked(PANIC_ZERO)
        turns = range(first) if stop is None else range(first, stop, step)
        try:
            count = len(turns)
        except OverflowError:
            raise Panicked(PANIC_SIZE) from None
        if count > SPAN_MAX:
            raise Panicked(PANIC_SIZE)
        self.charge(turn * count)
        return turns
