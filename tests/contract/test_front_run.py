"""What accepted code does: values, tests of ranges, panics, bounds on sizes, the latch."""

import time
from typing import Any

import pytest

from ledger.contract.compile import compile_contract
from ledger.contract.places import LIST_ITEMS_MAX
from ledger.contract.signals import OutOfGas, Panicked
from tests.contract.programs import ENV, Refused, StubHost, run_out

GAS = 15_000_000
HEAD = """\
from ledger.contract import (Array, Contract, Event, Map, Optional, Revert, Struct, ZERO_ADDRESS,
    address, bytes4, int8, int64, int256, payable, string, uint8, uint64, uint256, view, write)
RATE = 7
LOW: int8 = -128
NAME = "wattledger"
MAGIC: bytes4 = b"\\x01\\x02\\x03\\x04"
class Seen(Event):
    what: uint256
class Refused(Revert):
    why: uint256
class Pair(Struct):
    first: uint64
    good: bool
class Program(Contract):
    total: uint256
    values: Map[uint256, uint256]
    maybe: Map[uint256, Optional[uint64]]
    queue: Array[uint64]
    def _narrow(self, x: uint8) -> uint8:
        return x
    def _two(self, x: uint256) -> tuple[uint256, bool]:
        return x * 2, x > 5
    def _grow(self, items: list[uint64]) -> None:
        items.append(1)
    @write
"""
DEFAULTS: dict[str, Any] = {"a": 5, "b": -3, "xs": [4, 1, 3], "data": b"abcdef", "text": "hi"}


def call(body: str, returns: str = "uint256", gas: int = GAS, **given: Any) -> Any:
    """The value of a method with this body and the parameters a, b, xs, data, text."""
    signature = "a: uint256, b: int64, xs: list[uint64], data: bytes, text: string"
    lines = "\n".join(" " * 8 + line for line in body.split("\n"))
    source = f"{HEAD}    def run(self, {signature}) -> {returns}:\n{lines}\n"
    bound = compile_contract(source.encode()).bind(StubHost(), ENV, gas, run_out)
    return bound.method("run")(*{**DEFAULTS, **given}.values())


def code(body: str, returns: str = "uint256", **given: Any) -> int:
    """The number of the panic it ends in."""
    with pytest.raises(Panicked) as caught:
        call(body, returns, **given)
    return caught.value.code


@pytest.mark.parametrize(
    ("body", "returns", "value"),
    [
        ("return a + RATE", "uint256", 12),
        ("return LOW", "int8", -128),
        ("return NAME", "string", "wattledger"),
        ("return MAGIC", "bytes4", b"\x01\x02\x03\x04"),
        ("return ZERO_ADDRESS", "address", bytes(20)),
        ("return MAGIC == b'\\x01\\x02\\x03\\x04'", "bool", True),
        ("return self.msg.sender == ZERO_ADDRESS or a == 5", "bool", True),
        ("return b // 2", "int256", -2),
        ("return b % 2", "uint256", 1),
        ("q, r = divmod(b, 2)\nreturn q * 10 + r", "int256", -19),
        ("return 10**18", "uint256", 10**18),
        ("return a**3 + (1 << 70)", "uint256", 125 + 2**70),
        ("return -(-a)", "uint256", 5),
        ("return abs(b) + min(a, 3, b + 9) + max(a, 1)", "uint256", 11),
        ("return sum(xs) + max(xs) * 100 + min(xs) * 1000", "uint256", 1408),
        ("return len(xs) + len(data)", "uint256", 9),
        ("return data[0] + data[5]", "uint256", 97 + 102),
        ("return data[1:3]", "bytes", b"bc"),
        ("return data[:2] + data[4:]", "bytes", b"abef"),
        ("return text + '!'", "string", "hi!"),
        ("return data == b'abcdef' and text != 'ho'", "bool", True),
        ("return 1 < a <= 5 < 6", "bool", True),
        ("return 3 in xs and 9 not in xs", "bool", True),
        ("x, ok = self._two(a)\nreturn x if ok else x + 1", "uint256", 11),
        ("x, y = 1, 2\nx, y = y, x\nreturn x * 10 + y", "uint256", 21),
        ("return self._two(a)", "tuple[uint256, bool]", (10, False)),
        ("return a, True", "tuple[uint256, bool]", (5, True)),
        ("p = Pair(first=3, good=True)\nreturn p", "Pair", ENV["Pair"](3, True)),
        ("ps: list[Pair] = [Pair(1, True)]\nreturn ps[0].first", "uint256", 1),
        ("ys: list[uint64] = []\nfor x in xs:\n    ys.append(x)\nreturn len(ys)", "uint256", 3),
        ("t = 0\nfor i, x in enumerate(xs):\n    t += i * x\nreturn t", "uint256", 7),
        ("t = 0\nfor x, y in zip(xs, xs):\n    t += x * y\nreturn t", "uint256", 26),
        ("t = 0\nfor i in range(10, 0, -3):\n    t = t * 100 + i\nreturn t", "uint256", 10070401),
        ("t = 0\nwhile t < a:\n    t += 2\nreturn t", "uint256", 6),
        ("xs[0] += 5\nxs[1] = xs[0]\nreturn xs", "list[uint64]", [9, 9, 3]),
        ("self.values[a] += 3\nself.values[a] *= 2\nreturn self.values[a]", "uint256", 6),
        ("self.maybe[1] = 0\nreturn 1 in self.maybe and 2 not in self.maybe", "bool", True),
        ("self.queue.append(9)\nself.queue[0] += 1\nreturn self.queue[0]", "uint256", 10),
        ("self.total += a\nself.total -= 2\nreturn self.total", "uint256", 3),
        ("# all new names\nok = a > 1\nok = not ok\nreturn ok", "bool", False),
        ("if a > 9:\n    c = 1\nelif a > 4:\n    c = 2\nelse:\n    return 3\nreturn c", "uint8", 2),
        ("for x in xs:\n    if x == 1:\n        return x\nreturn 9", "uint256", 1),
        ("a = a * 2\na -= 1\nreturn a", "uint256", 9),
        ("self._grow(xs)\nreturn len(xs)", "uint256", 4),
    ],
)  # fmt: skip
def test_accepted_code_gives(body: str, returns: str, value: Any) -> None:
    assert call(body, returns, xs=[4, 1, 3]) == value


RANGE, ZERO, POP, INDEX, SIZE = 0x11, 0x12, 0x31, 0x32, 0x41


@pytest.mark.parametrize(
    ("panic", "body"),
    [
        (RANGE, "x: uint8 = a * 60\nreturn x"),
        (RANGE, "x: uint8 = 1\nx = a * 60\nreturn x"),
        (RANGE, "x: uint8 = 200\nx += a * 20\nreturn x"),
        (RANGE, "x: uint64 = a - 6\nreturn x"),
        (RANGE, "a -= 6\nreturn 1"),
        (RANGE, "return a - 6"),
        (RANGE, "return b"),
        (RANGE, "return self._narrow(a * 60)"),
        (RANGE, "p = Pair(a - 6, True)\nreturn p.first"),
        (RANGE, "xs.append(a - 6)\nreturn 1"),
        (RANGE, "xs[0] = a - 6\nreturn 1"),
        (RANGE, "xs[0] -= 9\nreturn 1"),
        (RANGE, "ys: list[uint8] = [a * 60]\nreturn 1"),
        (RANGE, "x = a\nfor i in range(99):\n    x *= x\nreturn 1"),
        (RANGE, "x = a\nfor i in range(999):\n    x += x\nreturn 1"),
        (RANGE, "x, y = 1, 1\nfor i in range(9999):\n    x, y = y, x + y\nreturn 1"),
        (RANGE, "x = a\nfor i in range(99):\n    x <<= 9\nreturn 1"),
        (RANGE, "return a ** (a ** 9)"),
        (RANGE, "return a ** 400 % 7"),
        (RANGE, "return 1 << (a ** 100)"),
        (RANGE, "return a ** b"),
        (RANGE, "return 1 << b"),
        (RANGE, "return a >> b"),
        (RANGE, "self.total -= 1\nreturn 1"),
        (ZERO, "return a // (a - 5)"),
        (ZERO, "return a % (a - 5)"),
        (ZERO, "q, r = divmod(a, a - 5)\nreturn q"),
        (ZERO, "for i in range(1, 5, b + 3):\n    pass\nreturn 1"),
        (POP, "ys: list[uint64] = []\nreturn ys.pop()"),
        (INDEX, "return xs[3]"),
        (INDEX, "return xs[b]"),
        (INDEX, "return xs[a - 6]"),
        (INDEX, "xs[3] = 1\nreturn 1"),
        (INDEX, "xs[-1] = 1\nreturn 1"),
        (INDEX, "xs[a] += 1\nreturn 1"),
        (INDEX, "return data[6]"),
        (INDEX, "return len(data[3:2])"),
        (INDEX, "return len(data[b:])"),
        (INDEX, "return len(data[:7])"),
        (INDEX, "return self.maybe[1]"),
        (INDEX, "ys: list[uint64] = []\nreturn min(ys)"),
        (INDEX, "ys: list[uint64] = []\nreturn max(ys)"),
        (SIZE, "for i in range(2**40):\n    a = 1\nreturn 1"),
        (SIZE, "for i in range(20):\n    data = data + data\nreturn 1"),
        (SIZE, "for i in range(20):\n    text += text\nreturn 1"),
        (SIZE, "while True:\n    xs.append(1)\nreturn 1"),
        (SIZE, "while True:\n    data = data[1:] + b'x'\n    a = 1\nreturn 1"),
        (SIZE, "while True:\n    ys: list[uint64] = [1, 2, 3, 4, 5, 6, 7, 8, 9]\nreturn 1"),
    ],
)
def test_a_panic_has_its_number(panic: int, body: str) -> None:
    given = {"data": b"x" * 900} if "while True:\n    data" in body else {}
    assert code(body, xs=[4, 1, 3], **given) == panic


HUNGRY = {
    "loop": "while True:\n    pass\nreturn 1",
    "nested ranges": "for i in range(2**30):\n    for j in range(2**30):\n        a = 1\nreturn 1",
    "long range": "for i in range(2**30):\n    a = 1\nreturn 1",
    "condition": "while a + 1 > 0:\n    if a > 9 and b > 3:\n        break\nreturn 1",
    "search": "while True:\n    if 9 in xs:\n        break\nreturn 1",
    "sum": "while sum(xs) > 0:\n    pass\nreturn 1",
    "product": "x = a**200\nwhile True:\n    y = x // 3 * 2 % x\nreturn 1",
    "power": "while True:\n    y = a ** (a + 200)\nreturn 1",
    "compare": "while data == data:\n    pass\nreturn 1",
    "zip": "while True:\n    for x, y in zip(xs, xs):\n        pass\nreturn 1",
    "wide add": "x = a**200\nwhile True:\n    y = x + x - x + x - x + x - x\nreturn 1",
    "shift": "x = a**200\nwhile True:\n    y = (x >> (a * 8)) << (a * 8)\nreturn 1",
    "calls": "while True:\n    self._narrow(3)\nreturn 1",
    "ternary": "while True:\n    c = 1 if a > 3 else 2\nreturn 1",
}


@pytest.mark.parametrize("name", HUNGRY)
def test_what_never_ends_runs_out_of_gas_in_bounded_time(name: str) -> None:
    gas, started = 3_000_000, time.process_time()
    with pytest.raises(OutOfGas):
        call(HUNGRY[name], gas=gas, xs=[1] * LIST_ITEMS_MAX, data=b"x" * 65_536)
    spent_ns = (time.process_time() - started) * 1e9
    assert spent_ns / gas < 60  # about 10 on a quiet server core


def test_gas_stays_gone_once_it_has_run_out() -> None:
    source = f"{HEAD}    def run(self) -> None:\n        self.total = 1\n"
    host = StubHost()
    bound = compile_contract(source.encode()).bind(host, ENV, 3, run_out)
    for _ in range(3):
        with pytest.raises(OutOfGas):
            bound.method("run")()
    assert host.total == 0 and bound.gas.cell_contents < 0


def test_a_list_changed_through_another_name_ends_the_loop_all_the_same() -> None:
    body = "ys = xs\nfor x in xs:\n    ys.append(x)\nreturn len(ys)"
    assert call(body, xs=[1, 2, 3]) == 6
    assert call("for x in xs:\n    self._grow(xs)\nreturn len(xs)", xs=[1, 2, 3]) == 6


def test_nothing_but_the_language_is_in_reach_of_a_method() -> None:
    source = f"{HEAD}    def run(self) -> uint256:\n        return len(self.queue)\n"
    function = compile_contract(source.encode()).bind(StubHost(), ENV, 9, run_out).method("run")
    assert set(function.__globals__) == {"__builtins__"}
    assert set(function.__globals__["__builtins__"]) == {"len", "min", "max", "abs"}


def test_calls_share_no_object() -> None:
    source = f"{HEAD}    def run(self) -> list[uint64]:\n        ys: list[uint64] = [1]\n"
    compiled = compile_contract(f"{source}        return ys\n".encode())
    results = [compiled.bind(StubHost(), ENV, 99, run_out).method("run")() for _ in range(2)]
    assert results[0] == results[1] and results[0] is not results[1]


def test_a_call_leaves_nothing_to_the_next_and_two_at_once_have_their_own() -> None:
    body = "        self.total += a\n        return self.total\n"
    signature = "self, a: uint256"
    source = f"{HEAD}    def run({signature}) -> uint256:\n{body}"
    program = compile_contract(source.encode())
    hosts = [StubHost() for _ in range(3)]
    for host in hosts:
        host.total = 0
    first = program.bind(hosts[0], ENV, 1_000, run_out)
    second = program.bind(hosts[1], ENV, 2_000, run_out)
    assert (first.method("run")(1), second.method("run")(20)) == (1, 20)
    assert second.gas.cell_contents - first.gas.cell_contents == 1_000
    run = first.method("run")
    program.release(first)
    with pytest.raises(NameError):
        run(1)
    third = program.bind(hosts[2], ENV, 1_000, run_out)
    assert third is first and third.gas.cell_contents == 1_000
    assert third.method("run")(300) == 300
    assert (hosts[0].total, hosts[1].total, hosts[2].total) == (1, 20, 300)


def test_a_revert_carries_its_values_and_leaves_the_gas() -> None:
    source = f"{HEAD}    def run(self) -> None:\n        raise Refused(5)\n"
    bound = compile_contract(source.encode()).bind(StubHost(), ENV, 1_000, run_out)
    with pytest.raises(Refused) as caught:
        bound.method("run")()
    assert caught.value.args == (5,) and 900 < bound.gas.cell_contents < 1_000


METERING_LOOP = """\
        used = 0
        late = 0
        for energy in xs:
            used += energy
            if energy > 9_000:
                late += 1
            used -= late
        return used
"""


def test_charges_cost_a_metering_loop_about_a_third() -> None:
    source = HEAD + "    def run(self, xs: list[uint64]) -> uint256:\n" + METERING_LOOP
    charged = compile_contract(source.encode()).bind(StubHost(), ENV, 1 << 40, run_out)
    plain_source = "def run(xs):\n" + METERING_LOOP.replace("\n        ", "\n    ")[4:]
    namespace: dict[str, Any] = {}
    exec(plain_source, namespace)
    xs = [index * 7 % 10_000 for index in range(4_000)]
    assert charged.method("run")(xs) == namespace["run"](xs)
    factor = min(
        measure(charged.method("run"), xs) / measure(namespace["run"], xs) for _ in range(7)
    )
    assert factor < 1.8


def measure(function: Any, xs: list[int]) -> float:
    started = time.process_time()
    for _ in range(5):
        function(xs)
    return time.process_time() - started
