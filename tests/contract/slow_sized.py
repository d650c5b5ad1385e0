"""The sized operations of the slow interpreter: each looks up its price, pays, and works.

Written from the prices and the rules of the language (SANDBOX R11), not from `helpers`.
"""

import ast
import operator
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from ledger.contract import gas as prices
from ledger.contract.signals import Panicked
from ledger.contract.types import AddressType, EnumType, FixedBytesType

OVERFLOW, ZERO, ENUM, POP, INDEX, SIZE = 0x11, 0x12, 0x21, 0x31, 0x32, 0x41
BITS_MAX = 512
ITEMS_MAX = 16_384
TEXT_MAX = 65_536
ITEM_BYTES = 64
OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    **{ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul},
    **{ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.BitAnd: operator.and_},
    **{ast.BitOr: operator.or_, ast.BitXor: operator.xor, ast.RShift: operator.rshift},
    **{ast.Pow: operator.pow, ast.LShift: operator.lshift},
    **{ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le},
    **{ast.Gt: operator.gt, ast.GtE: operator.ge},
    **{ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Invert: operator.invert},
    ast.Not: operator.not_,
}


def panic_unless(holds: bool, code: int) -> None:
    if not holds:
        raise Panicked(code)


class SlowSized:
    def __init__(self, charge: Callable[[int], None], allocate: Callable[[int], None]) -> None:
        self.charge, self.allocate = charge, allocate

    # -- operators ---------------------------------------------------------------------------

    def compute(self, op: ast.operator, left: Any, right: Any) -> Any:
        """Those whose work depends on the values they meet."""
        if isinstance(left, list):
            count = len(left) + len(right) if isinstance(op, ast.Add) else len(left) * right
            return self.make(count, lambda: OPERATORS[type(op)](left, right))
        if isinstance(left, bytes | str):
            size = len(left) + len(right)
            panic_unless(size <= TEXT_MAX, SIZE)
            self.charge(prices.price_bytes(size))
            self.allocate(size if isinstance(left, bytes) else 4 * size)
            return left + right
        if isinstance(op, ast.RShift):
            return left >> min(right, BITS_MAX + 1)
        bits = left.bit_length()
        if isinstance(op, ast.LShift):
            panic_unless(bits + right <= BITS_MAX, OVERFLOW)
            self.charge(prices.price_power(bits + right))
            return left << right
        if bits > 1:  # the least that the result may have
            panic_unless((bits - 1) * right <= BITS_MAX, OVERFLOW)
        self.charge(prices.price_power(bits * right if bits > 1 else BITS_MAX))
        result = left**right
        panic_unless(abs(result).bit_length() <= BITS_MAX, OVERFLOW)
        return result

    def make(self, count: int, work: Callable[[], list[Any]]) -> list[Any]:
        panic_unless(count <= ITEMS_MAX, SIZE)
        self.charge(prices.price_items(count))
        self.allocate(ITEM_BYTES * count)
        return work()

    def cut(self, value: Any, first: int | None, last: int | None) -> Any:
        start, end = first or 0, len(value) if last is None else last
        panic_unless(0 <= start <= end <= len(value), INDEX)
        if isinstance(value, list):
            return self.make(end - start, lambda: value[start:end])
        self.charge(prices.price_bytes(end - start))
        self.allocate(end - start)
        return value[start:end]

    def position(self, items: Any, index: int) -> None:
        panic_unless(0 <= index < len(items), INDEX)

    def literal(self, items: list[Any]) -> list[Any]:
        self.allocate(ITEM_BYTES * len(items))
        return items

    # -- loops -------------------------------------------------------------------------------

    def span(self, *ends: int) -> range:
        panic_unless(len(ends) < 3 or ends[2] != 0, ZERO)
        turns = range(*ends)
        first, last, step = turns.start, turns.stop, turns.step
        count = max(0, (last - first + step - (1 if step > 0 else -1)) // step)
        panic_unless(count < 1 << 31, SIZE)
        return turns

    def take(self, turns: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
        """What a comprehension over a range goes through: no more than a list may hold."""
        taken = list(islice(turns, ITEMS_MAX + 1))
        panic_unless(len(taken) <= ITEMS_MAX, SIZE)
        return taken

    def reserve(self, count: int) -> None:
        panic_unless(count <= ITEMS_MAX, SIZE)
        self.allocate(ITEM_BYTES * count)

    # -- functions and methods ---------------------------------------------------------------

    def on_value(self, owner: Any, name: str, arguments: list[Any]) -> Any:
        """append and pop of a list, the methods of text and bytes."""
        if name == "append":
            panic_unless(len(owner) < ITEMS_MAX, SIZE)
            self.allocate(ITEM_BYTES)
            return owner.append(*arguments)
        if name == "pop":
            panic_unless(bool(owner), POP)
            return owner.pop()
        if name == "startswith":
            self.charge(prices.price_bytes(min(len(owner), len(arguments[0]))))
            return owner.startswith(arguments[0])
        if name == "hex":
            panic_unless(2 * len(owner) <= TEXT_MAX, SIZE)
            self.charge(prices.price_bytes(8 * len(owner)))
            self.allocate(2 * len(owner))
            return owner.hex()
        self.charge(prices.price_bytes(4 * len(owner)))
        self.allocate(4 * len(owner))
        if name == "encode":
            data = owner.encode()
            panic_unless(len(data) <= TEXT_MAX, SIZE)
            return data
        try:
            return owner.decode()
        except UnicodeDecodeError:
            raise Panicked(OVERFLOW) from None

    def on_function(self, name: str, arguments: list[Any], helper: str | None, kind: Any) -> Any:
        """A builtin or a conversion; `kind` is the type of its result."""
        if name in ("sum", "min", "max", "any", "all", "sorted") and len(arguments) == 1:
            return self.over_list(name, arguments[0])
        builtins: dict[str, Any] = {"len": len, "abs": abs, "min": min, "max": max}
        if name in builtins:
            return builtins[name](*arguments)
        if name == "divmod":
            panic_unless(arguments[1] != 0, ZERO)
            return divmod(*arguments)
        value = arguments[0]
        if name == "list":
            if helper is None:  # out of storage
                return value.list__()
            return self.make(len(value), value.copy)
        if isinstance(kind, EnumType):
            panic_unless(0 <= value < len(kind.members), ENUM)
        elif helper == "number":
            return int.from_bytes(value, "big")
        elif helper == "spell":
            return value.to_bytes(kind.size, "big")
        elif helper == "sized":
            assert isinstance(kind, AddressType | FixedBytesType)
            panic_unless(len(value) == getattr(kind, "size", 20), OVERFLOW)
        return value

    def over_list(self, name: str, items: list[Any]) -> Any:
        count = len(items)
        if name == "sorted":
            self.charge(prices.price_sort(count))
            self.allocate(ITEM_BYTES * count)
            return sorted(items)
        if name in ("any", "all"):
            self.charge(prices.price_items(count))
            return {"any": any, "all": all}[name](items)
        self.charge(prices.price_fold(count))
        panic_unless(name == "sum" or bool(items), INDEX)
        return {"sum": sum, "min": min, "max": max}[name](items)

    def mul_div(self, a: int, b: int, c: int, rounding: str) -> int:
        self.charge(prices.GAS_MUL_DIV)
        panic_unless(c != 0, ZERO)
        product, size = (a * b if c > 0 else -a * b), abs(c)
        low = product // size  # towards minus infinity
        up = {
            "ROUND_FLOOR": False,
            "ROUND_CEILING": product > low * size,
            "ROUND_HALF_UP": round_half(product, size, lambda value: value < 0),
            "ROUND_HALF_EVEN": round_half(product, size, lambda value: low % 2 == 0),
        }[rounding]
        result = low + int(up)
        panic_unless(abs(result).bit_length() <= BITS_MAX, OVERFLOW)
        return result


def round_half(product: int, size: int, stays: Callable[[int], bool]) -> bool:
    """Whether the nearest integer is the one above; a tie goes down where `stays` says so."""
    twice = 2 * (product % size)
    return twice > size or (twice == size and not stays(product))
