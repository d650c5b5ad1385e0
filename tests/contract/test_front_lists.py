"""Comprehensions, slices and sums of lists, conversions of bytes, defaults of helpers."""

from typing import Any

import pytest

from ledger.contract.compile import compile_contract
from ledger.contract.gas import price_items, price_sort
from ledger.contract.signals import OutOfGas
from ledger.errors import ContractRejected
from tests.contract.programs import ENV, StubHost, run_out
from tests.contract.test_front_run import HEAD, call, code

VALUES: list[tuple[str, str, Any]] = [
    ("ys: list[uint64] = [x * 2 for x in xs if x > 1]\nreturn ys", "list[uint64]", [8, 6]),
    ("return [x for x in range(a) if x % 2 == 0 if x != 2]", "list[uint256]", [0, 4]),
    ("return [x for x in range(a) if x % 2 == 0 or x == 3]", "list[uint256]", [0, 2, 3, 4]),
    ("return [x * y for x, y in zip(xs, xs)]", "list[uint256]", [16, 1, 9]),
    ("ys: list[Pair] = [Pair(x, x > 2) for x in xs]\nreturn ys[1].good", "bool", False),
    ("rows: list[list[uint64]] = [[x, 0] for x in xs]\nreturn rows[2][0]", "uint64", 3),
    ("return sum(x * i for i, x in enumerate(xs))", "uint256", 7),
    ("return sum(sum(y * x for y in xs) for x in xs)", "uint256", 64),
    ("return sum(self.values[x] + 1 for x in xs)", "uint256", 3),
    ("return max(x for x in xs) * 10 + min(x for x in xs)", "uint256", 41),
    ("return any(x == 3 for x in xs) and all(x < 9 for x in xs)", "bool", True),
    ("flags = [x > 2 for x in xs]\nreturn any(flags) and not all(flags)", "bool", True),
    ("return any(x > 9 for x in xs) or all(x > 9 for x in range(0))", "bool", True),
    ("return sum(xs[i] // (i + 1) for i in range(len(xs)) if i > 0)", "uint256", 1),
    ("return sum(x if x > 2 and a > 1 else 1 for x in xs)", "uint256", 8),
    ("ys = sorted(xs)\nreturn ys[0] * 100 + ys[1] * 10 + ys[2] + xs[0]", "uint256", 138),
    ("ys: list[uint64] = [9]\nreturn xs + ys + xs[1:]", "list[uint64]", [4, 1, 3, 9, 1, 3]),
    ("ys: list[uint64] = [0, 1] * 2\nreturn ys + xs[:0]", "list[uint64]", [0, 1, 0, 1]),
    ("ys: Fixed[list[uint8], 4] = [a] * 4\nys[2] += 1\nreturn sum(ys)", "uint256", 21),
    ("ys = [1, 2]\nys.append(3)\nreturn sum(ys)", "uint256", 6),
    ("ys = [a, -1]\nreturn ys", "list[int256]", [5, -1]),
    ("return text.encode() + data", "bytes", b"hiabcdef"),
    ("return data.decode() + text", "string", "abcdefhi"),
    ("return data.hex()", "string", "616263646566"),
    ("return data.startswith(b'abc') and not data.startswith(b'b')", "bool", True),
    ("return bytes4(data[0:4])", "bytes4", b"abcd"),
    ("return bytes(bytes4(16909060))", "bytes", b"\1\2\3\4"),
    ("return uint32(bytes4(data[0:4]))", "uint256", 0x61626364),
    ("return address(data + data + data + data[:2])", "address", b"abcdefabcdefabcdefab"),
    ("return self._scaled(a) + self._scaled(a, 3)", "uint256", 5 * 2 + 1 + 5 * 3 + 1),
]
EXTRA = HEAD.replace("int256, payable", "int256, Fixed, uint32, payable").replace(
    "    @write\n",
    "    def _scaled(self, x: uint256, by: uint8 = 2, up: bool = True) -> uint256:\n"
    "        return x * by + 1 if up else x\n    @write\n",
)


@pytest.fixture(autouse=True)
def wider_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.contract.test_front_run.HEAD", EXTRA)


@pytest.mark.parametrize(("body", "returns", "value"), VALUES)
def test_lists_and_bytes_give(body: str, returns: str, value: Any) -> None:
    assert call(body, returns, xs=[4, 1, 3]) == value


RANGE, ZERO, INDEX, SIZE = 0x11, 0x12, 0x32, 0x41


@pytest.mark.parametrize(
    ("panic", "body"),
    [
        (SIZE, "return sum(1 for i in range(16_385))"),
        (SIZE, "ys = [i for i in range(16_385)]\nreturn 1"),
        (SIZE, "ys: list[uint64] = [0] * 16_385\nreturn 1"),
        (SIZE, "ys: list[uint64] = [0] * (1 << 200)\nreturn 1"),
        (SIZE, "ys: list[uint64] = [0] * 16_384\nreturn len(ys + ys)"),
        (INDEX, "return len(xs[2:1])"),
        (INDEX, "return len(xs[0:4])"),
        (INDEX, "return len(xs[-1:])"),
        (INDEX, "return max(x for x in xs if x > 9)"),
        (INDEX, "return sum(xs[x] for x in xs)"),
        (ZERO, "return sum(1 // (x - 3) for x in xs)"),
        (RANGE, "ys: list[uint64] = [x - 2 for x in xs]\nreturn 1"),
        (RANGE, "return uint32(bytes4(data))"),
        (RANGE, "return 1 if bytes4(a << 40) == b'abcd' else 2"),
        (RANGE, "return 1 if address(data) == ZERO_ADDRESS else 2"),
        (RANGE, "return len((data + b'\\xff').decode().encode())"),
    ],
)
def test_what_does_not_fit_panics(panic: int, body: str) -> None:
    assert code(body, xs=[4, 1, 3]) == panic


def measure(body: str, **given: Any) -> int:
    signature = "a: uint256, b: int64, xs: list[uint64], data: bytes, text: string"
    source = f"{EXTRA}    def run(self, {signature}) -> uint256:\n        {body}\n"
    bound = compile_contract(source.encode()).bind(StubHost(), ENV, 10**7, run_out)
    bound.method("run")(*{"a": 5, "b": 1, "xs": [], "data": b"", "text": "", **given}.values())
    return 10**7 - bound.gas.cell_contents


def test_each_turn_of_a_comprehension_is_paid() -> None:
    base, two, many = (measure("return sum(x * x for x in xs)", xs=[1] * n) for n in (0, 2, 1_000))
    assert (many - base) == 500 * (two - base) > 1_000
    kept = measure("return sum(x * x for x in xs if x > 0)", xs=[1] * 1_000)
    left = measure("return sum(x * x for x in xs if x > 0)", xs=[0] * 1_000)
    assert kept - left > 1_000  # what an `if` lets through pays for itself


def test_a_comprehension_is_paid_before_its_first_turn() -> None:
    with pytest.raises(OutOfGas):
        call("return sum(x for x in range(16_000))", gas=10_000)


def test_work_on_lists_is_paid_by_size() -> None:
    assert measure("return len(sorted(xs))", xs=[1] * 1_000) - measure(
        "return len(sorted(xs))"
    ) == price_sort(1_000) - price_sort(0)
    assert measure("return len(xs + xs)", xs=[1] * 500) - measure(
        "return len(xs + xs)"
    ) == price_items(1_000) - price_items(0)


def test_memory_of_lists_is_counted() -> None:
    """A list of 16,384 items is 1 MiB of the 8 that a transaction has; freeing gives none back."""
    for make in ("[0] * 16_384", "[j for j in range(16_384)]", "sorted(zeros)", "zeros[0:]"):
        body = "zeros: list[uint64] = [0] * 16_384\nys: list[uint64] = []\n"
        body += f"for i in range({{}}):\n    ys = {make}\nreturn len(ys)"
        assert call(body.format(6)) == 16_384
        assert code(body.format(8)) == SIZE


REFUSED = r"""
form       | return [x for x in xs for y in xs]
form       | return sum([*xs])
form       | return {x for x in xs}
form       | return {x: x for x in xs}
form       | return sum((y := x) for x in xs)
form       | return sum(x async for x in xs)
form       | return (x for x in xs)
form       | ys = (x for x in xs)\nreturn a
form       | return len(x for x in xs)
form       | return sorted(x for x in xs)
binding    | return [len for len in xs]
binding    | return [self for self in xs]
binding    | return [a for a in xs]
binding    | y = 1\nreturn [y for y in xs]
binding    | return [total for total in xs]
binding    | return [__x for __x in xs]
binding    | return [x for x, x in zip(xs, xs)]
binding    | return [1 for xs[0] in xs]
binding    | return [1 for self.total in xs]
name       | ys = [x for x in xs]\nreturn x
name       | return [y for x in xs if y > 1]
type       | return [x for x in xs if x]
type       | return [x for x in a]
type       | return [x for x in data]
type       | return [x for x, y in xs]
type       | return [x for x in zip(xs, xs)]
type       | ys: list[uint64] = [True for x in xs]\nreturn a
type       | ys: Fixed[list[uint64], 3] = [x for x in xs]\nreturn a
type       | ys = [divmod(x, 2) for x in xs]\nreturn a
type       | return any(xs)
type       | return all(x for x in xs)
type       | return any(a)
type       | return sum(x > 1 for x in xs)
handle     | return sum(x for x in self.queue)
handle     | ys = [self.values for x in xs]\nreturn a
call-depth | return sum(self._scaled(x) for x in xs)
call-depth | ys = [x for x in range(self._scaled(a)) if self._scaled(x) > 1]\nreturn a
call-depth | return sum(sum(self._scaled(y) for y in xs) for x in xs)
iteration  | return sum(xs.pop() for x in xs)
type       | ys = []\nreturn a
type       | ys = [1, True]\nreturn a
type       | return xs + data
type       | return xs + [True]
type       | return xs * 2
type       | ys = [0] * a\nreturn a
type       | ys: Fixed[list[uint8], 4] = [0] * a\nreturn a
type       | ys: Fixed[list[uint8], 4] = [0] * 3\nreturn a
type       | return sorted(a)
type       | ys: list[list[uint64]] = [xs]\nreturn sorted(ys)
form       | return sorted(xs, reverse=True)
form       | return sorted(xs, key=len)
form       | return xs[0:2:1]
type       | return self.queue[0:1]
type       | return bytes(a)
type       | return bytes4("text")
type       | return bytes4(b)
type       | return uint64(bytes4(data))
type       | return address(a)
name       | return bytes(4, 5)
attribute  | return text.decode()
attribute  | return data.encode()
attribute  | return data.hex(":")
attribute  | return data.decode("utf-7")
attribute  | return data.find(b"a")
attribute  | return data.startswith()
type       | return data.startswith(text)
type       | return self._scaled()
type       | return self._scaled(a, 1, True, 4)
form       | return self._scaled(a, by=3)
"""


@pytest.mark.parametrize(
    ("rule", "body"), [line.split("|", 1) for line in REFUSED.strip().splitlines()]
)
def test_a_wrong_use_is_refused_by_its_name(rule: str, body: str) -> None:
    lines = body.strip().replace("\\n", "\n        ")
    signature = "a: uint256, b: int64, xs: list[uint64], data: bytes, text: string"
    source = f"{EXTRA}    def run(self, {signature}) -> uint256:\n        {lines}\n"
    with pytest.raises(ContractRejected) as caught:
        compile_contract(source.encode())
    assert caught.value.rule == rule.strip(), caught.value


@pytest.mark.parametrize("default", ["None", "[]", "-1", "RATE", "(x := 1)", "len(x)", "..."])
def test_a_default_is_a_literal(default: str) -> None:
    source = HEAD.replace("    @write\n", f"    def _d(self, x: uint8 = {default}) -> None:\n")
    with pytest.raises(ContractRejected) as caught:
        compile_contract((source + "        pass\n").encode())
    assert caught.value.rule in ("form", "type")


def test_a_default_is_of_its_type() -> None:
    for default in ("256", "True", "'x'"):
        source = HEAD.replace("    @write\n", f"    def _d(self, x: uint8 = {default}) -> None:\n")
        source += "        pass\n    def _e(self) -> None:\n        self._d()\n"
        with pytest.raises(ContractRejected) as caught:
            compile_contract(source.encode())
        assert caught.value.rule == "type"
