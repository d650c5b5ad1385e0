"""Programs of the contract language, made by anybody who picks numbers, and a host to run them.

Shared by the tests of the front and by the script that compares CPython versions. `pick(n)` gives a
number below n: hypothesis draws it, or a seeded generator does.
"""

from collections import namedtuple
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NoReturn

from ledger.contract.compile import CompiledContract
from ledger.contract.signals import OutOfGas, Panicked

Pick = Callable[[int], int]

PRELUDE = (
    "from ledger.contract import (Array, Contract, Event, Map, Optional, Revert, Struct, address,\n"
    "    int64, int256, uint8, uint64, uint256, view, write)\n"
    "SEED = 12345678901234567890\n"
    "class Seen(Event):\n    what: uint256\n"
    "class Refused(Revert):\n    why: uint256\n"
    "class Pair(Struct):\n    first: uint64\n    good: bool\n"
    "class Program(Contract):\n"
    "    total: uint256\n"
    "    values: Map[uint256, uint256]\n"
    "    maybe: Map[uint256, Optional[uint64]]\n"
    "    queue: Array[uint64]\n"
)
Pair = namedtuple("Pair", "first good")
Seen = namedtuple("Seen", "what")


class Refused(Exception):
    def __init__(self, why: int) -> None:
        super().__init__(why)


def word(value: int, bits: int = 256) -> int:
    if not 0 <= value < 1 << bits:
        raise Panicked(0x11)
    return value


class Words(dict):  # type: ignore[type-arg]
    """Map[uint256, uint256] on a stub host."""

    def __missing__(self, key: int) -> int:
        return 0

    def __setitem__(self, key: int, value: int) -> None:
        super().__setitem__(word(key), word(value))


class Maybe(Words):
    """Map[uint256, Optional[uint64]] on a stub host."""

    def __missing__(self, key: int) -> int:
        raise Panicked(0x32)

    def __setitem__(self, key: int, value: int) -> None:
        dict.__setitem__(self, word(key), word(value, 64))

    def remove(self, key: int) -> None:
        self.pop(key, None)


class Queue(list):  # type: ignore[type-arg]
    """Array[uint64] on a stub host."""

    def append(self, value: int) -> None:
        super().append(word(value, 64))


class StubHost:
    """Storage as plain Python values; charges nothing of its own."""

    def __init__(self) -> None:
        self.kept = 0
        self.values, self.maybe, self.queue = Words(), Maybe(), Queue()
        self.events: list[Any] = []
        self.msg = SimpleNamespace(sender=b"\x01" * 20, value=7)
        self.block = SimpleNamespace(timestamp=1_700_000_000, number=5)
        self.address, self.balance = b"\x02" * 20, 10**20
        self.allocated = 0

    @property
    def total(self) -> int:
        return self.kept

    @total.setter
    def total(self, value: int) -> None:
        self.kept = word(value)

    def emit(self, event: Any) -> None:
        self.events.append(event)

    def allocate(self, size_bytes: int) -> None:
        self.allocated += size_bytes
        if self.allocated > 8 << 20:
            raise Panicked(0x41)

    def state(self) -> object:
        return self.kept, dict(self.values), dict(self.maybe), list(self.queue), self.events


ENV = {"Pair": Pair, "Seen": Seen, "Refused": Refused}


def run_out() -> NoReturn:
    raise OutOfGas


def run(compiled: CompiledContract, arguments: tuple[Any, ...], gas: int) -> tuple[Any, ...]:
    """(outcome, value, gas used, state): what a call of `run` does."""
    host = StubHost()
    bound = compiled.bind(host, ENV, gas, run_out)
    try:
        outcome, value = "success", bound.method("run")(*arguments)
    except OutOfGas:
        return "out of gas", None, gas, None
    except Panicked as panic:
        outcome, value = "panic", panic.code
    except Refused as revert:
        outcome, value = "revert", revert.args
    return outcome, value, gas - bound.gas.cell_contents, host.state()


class Writer:
    """Writes one program; keeps what is in scope, so that every program is accepted."""

    def __init__(self, pick: Pick) -> None:
        self.pick = pick
        self.lines: list[str] = []
        self.ints: list[str] = []
        self.bools: list[str] = []
        self.lists: list[str] = []
        self.count = 0
        self.loops = 0
        self.helper = False
        self.iterated: list[str] = []

    def choose(self, *options: Any) -> Any:
        return options[self.pick(len(options))]

    def fresh(self, letter: str) -> str:
        self.count += 1
        return f"{letter}{self.count}"

    def program(self) -> str:
        self.ints, self.bools = ["x", "SEED"], []
        self.method("_helper", "x: uint256, items: list[uint64]", "uint256", 2)
        self.helper = True
        self.method("run", "a: uint256, b: int64, n: uint8, data: list[uint64]", "int256", 5)
        return PRELUDE + "\n".join(self.lines) + "\n"

    def method(self, name: str, parameters: str, returns: str, size: int) -> None:
        self.ints = [part.split(":")[0] for part in parameters.split(", ") if "int" in part[:12]]
        self.ints = [item for item in self.ints if item not in ("items", "data")] + ["SEED"]
        self.bools, self.lists = [], ["items"] if "items" in parameters else ["data"]
        if name == "run":
            self.lines.append("    @write")
        self.lines.append(f"    def {name}(self, {parameters}) -> {returns}:")
        self.block(size, 2)
        self.lines.append(f"        return ({self.integer(2)}) % 1000003")

    def block(self, size: int, indent: int) -> None:
        scope = list(self.ints), list(self.bools), list(self.lists)
        for _ in range(1 + self.pick(size)):
            self.statement("    " * indent, indent)
        if indent > 2:
            self.ints, self.bools, self.lists = scope

    def statement(self, tab: str, indent: int) -> None:
        kind = self.pick(16 if indent < 5 else 9)
        add = self.lines.append
        if kind <= 1:
            value = self.integer(3)
            self.ints.append(name := self.choose(*self.ints[-2:], self.fresh("v")))
            if name in ("SEED", "x", "a", "b", "n"):
                self.ints[-1] = name = self.fresh("v")
            add(f"{tab}{name} = {value}")
        elif kind == 2:
            add(f"{tab}{(name := self.fresh('f'))} = {self.boolean(3)}")
            self.bools.append(name)
        elif kind == 3:
            locals_ = [name for name in self.ints if name[0] == "v"]
            if locals_:
                op = self.choose("+=", "-=", "*=", "+=", "^=", "//=", "%=")
                add(f"{tab}{self.choose(*locals_)} {op} {self.integer(2)}")
            else:
                add(f"{tab}pass")
        elif kind == 4:
            items = ", ".join(f"({self.integer(1)}) % 97" for _ in range(self.pick(4)))
            add(f"{tab}{(name := self.fresh('l'))}: list[uint64] = [{items}]")
            self.lists.append(name)
        elif kind == 5:
            free = [name for name in self.lists if name not in self.iterated]
            if free:
                name = self.choose(*free)
                what = self.choose("append", "append", "store", "add", "pop")
                if what == "append":
                    add(f"{tab}{name}.append(({self.integer(1)}) % 1000)")
                elif what == "pop":
                    add(f"{tab}if len({name}) > 2:\n{tab}    {name}.pop()")
                else:
                    sign = "=" if what == "store" else "+="
                    at = f"{name}[({self.integer(1)}) % len({name})]"
                    add(
                        f"{tab}if len({name}) > 0:\n{tab}    {at} {sign} abs({self.integer(1)}) % 9"
                    )
            else:
                add(f"{tab}pass")
        elif kind == 6:
            self.store(tab)
        elif kind == 7:
            add(f"{tab}if {self.boolean(2)} and {self.boolean(2)}:")
            if self.loops and self.pick(3):
                add(f"{tab}    {self.choose('break', 'continue')}")
            elif self.pick(3):
                add(f"{tab}    raise Refused({self.integer(1)})")
            else:
                add(f"{tab}    return ({self.integer(2)}) % 1009")
        elif kind == 8:
            add(f"{tab}self.emit(Seen({self.integer(2)}))")
        elif kind <= 11:
            add(f"{tab}if {self.boolean(3)}:")
            self.block(3, indent + 1)
            if self.pick(2):
                add(f"{tab}{self.choose('else', 'elif ' + self.boolean(2))}:")
                self.block(3, indent + 1)
        elif self.loops >= 2:
            add(f"{tab}pass")
        else:
            self.loop(tab, indent, kind)

    def store(self, tab: str) -> None:
        key, value = f"({self.integer(1)}) % 5", f"abs({self.integer(2)}) % 1000000007"
        self.lines.append(
            tab
            + self.choose(
                f"self.total = {value}",
                f"self.total += {value}",
                f"self.values[{key}] = {value}",
                f"self.values[{key}] += {value}",
                f"self.maybe[{key}] = {value}",
                f"self.maybe.remove({key})",
                f"self.queue.append({value})",
            )
        )

    def loop(self, tab: str, indent: int, kind: int) -> None:
        add, name = self.lines.append, self.fresh("i")
        scope = list(self.ints), list(self.iterated)
        source = self.choose(*self.lists)
        if kind == 12:
            ends = f"{self.pick(4)}, {self.pick(9)}, {self.choose(1, 2, -1)}"
            add(
                f"{tab}for {name} in range({self.choose(str(self.pick(6)), 'n % 7', ends)}):"
                if "n" in self.ints
                else f"{tab}for {name} in range({ends}):"
            )
        elif kind == 13:
            add(f"{tab}for {name} in {source}:")
            self.iterated.append(source)
        elif kind == 14:
            head = self.choose(f"enumerate({source})", f"zip({source}, {self.choose(*self.lists)})")
            other = self.fresh("i")
            add(f"{tab}for {name}, {other} in {head}:")
            self.ints.append(other)
            self.iterated += self.lists if head[0] == "z" else [source]
        else:
            add(f"{tab}{name} = 0")
            add(f"{tab}while {name} < {self.pick(6)} and {self.boolean(1)}:")
            add(f"{tab}    {name} += 1")
        self.ints.append(name)
        self.loops += 1
        self.block(3, indent + 1)
        self.loops -= 1
        self.ints, self.iterated = scope
        if kind > 14:
            self.ints.append(name)

    def integer(self, depth: int) -> str:
        kind = self.pick(16) if depth else self.pick(4)
        if kind <= 2:
            return str(self.choose(*self.ints))
        if kind == 3:
            return str(self.choose(0, 1, 2, 3, 7, 255, 1_000_003, 2**64, 2**200, -1, -12))
        a, b = self.integer(depth - 1), self.integer(depth - 1)
        if kind <= 6:
            return f"({a} {self.choose('+', '-', '*', '+', '&', '|', '^')} {b})"
        if kind == 7:
            return f"({a} {self.choose('//', '%')} {self.choose(b, '7', '(1 + abs(' + b + '))')})"
        if kind == 8:
            shift = f"{self.choose('>>', '<<')} {self.choose('3', 'abs(' + b + ') % 9')}"
            return self.choose(f"({a} {shift})", f"(abs({a}) % 7) ** (abs({b}) % 5)")
        if kind == 9:
            return f"({a} if {self.boolean(depth - 1)} else {b})"
        if kind == 10:
            return f"{self.choose('min', 'max')}({a}, {b})"
        if kind == 11:
            return self.choose(f"abs({a})", f"(-{a})", f"(~{a})")
        items = self.choose(*self.lists)
        if kind == 12:
            return self.choose(f"len({items})", f"sum({items})", f"self.values[({a}) % 5]")
        if kind == 13:
            return f"({items}[({a}) % len({items})] if len({items}) > 0 else {b})"
        if kind == 14:
            return self.choose(
                "self.total",
                f"Pair(({a}) % 99, {self.boolean(1)}).first",
                "self.block.timestamp",
                "len(self.queue)",
            )
        return f"self._helper(abs({a}) % 1000, {items})" if self.helper else b

    def boolean(self, depth: int) -> str:
        kind = self.pick(7) if depth else 0
        if kind <= 2:
            ops = ["<", "<=", "==", "!=", ">", ">="]
            chain = f" {self.choose(*ops)} {self.integer(1)}" if not self.pick(3) else ""
            left, right = (self.integer(max(0, depth - 1)) for _ in "ab")
            return f"{left} {self.choose(*ops)} {right}{chain}"
        a, b = self.boolean(depth - 1), self.boolean(depth - 1)
        if kind == 3:
            return f"({a} {self.choose('and', 'or')} {b})"
        if kind == 4:
            return f"(not {a})"
        if kind == 5:
            key = f"({self.integer(1)}) % 5"
            return self.choose(f"({key} in self.maybe)", f"({key} not in {self.lists[0]})")
        return str(self.choose(*self.bools, "True")) if self.bools else f"({a} or {b})"


def write_program(pick: Pick) -> str:
    return Writer(pick).program()
