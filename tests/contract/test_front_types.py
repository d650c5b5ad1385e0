"""Enums, fixed lists, nested structs and lists, and their places in storage."""

from pathlib import Path
from typing import Any

import pytest

from ledger.contract.compile import compile_contract
from ledger.contract.testing import Chain, ContractPanic
from ledger.errors import ContractRejected

SOURCE = '''
"""Everything a type may be made of."""

from ledger.contract import (Array, Contract, Enum, Fixed, Map, Optional, Struct, address, string,
    uint8, uint32, uint64, uint256, view, write)

HOURS = 4


class State(Enum):
    """What becomes of an order."""

    OPEN = 0
    FILLED = 1
    GONE = 2


class Price(Struct):
    rate: uint64
    note: string


class Order(Struct):
    owner: address
    state: State
    prices: list[Price]
    hours: Fixed[list[uint32], HOURS]
    best: Price


class Types(Contract):
    _state: State
    _hours: Fixed[list[uint32], HOURS]
    _best: Price
    _orders: Array[Order]
    _deep: Map[address, Map[State, Map[tuple[uint8, bool], Array[uint64]]]]
    _grid: Array[Array[uint32]]
    _maybe: Map[uint8, Optional[Price]]
    _last: Order

    @write
    def advance(self, state: State) -> State:
        if state == State.GONE:
            self._state = State.OPEN
        else:
            self._state = State(uint256(state) + 1)
        return self._state

    @view
    def last_number(self) -> uint8:
        return uint8(State.GONE) - uint8(State(0))

    @view
    def is_open(self) -> bool:
        return self._state == State.OPEN and self._state != State.GONE

    @write
    def add(self, prices: list[Price], hours: Fixed[list[uint32], HOURS]) -> uint256:
        best = prices[0]
        for price in prices:
            if price.rate < best.rate:
                best = price
        order = Order(self.msg.sender, State.OPEN, prices, hours, best)
        self._orders.append(order)
        self._last = order
        return len(self._orders)

    @view
    def order(self, index: uint256) -> Order:
        return self._orders[index]

    @write
    def touch(self, index: uint256) -> uint256:
        self._orders[index].state = State.FILLED
        self._orders[index].best.rate += 5
        self._orders[index].hours[1] += 7
        self._orders[index].prices[0].note = "touched"
        self._orders[index].prices.append(Price(9, "new"))
        self._last.hours = [1, 2, 3, 4]
        self._last.hours[0] = 9
        self._best.rate = 3
        self._best.note += "!"
        return self._orders[index].best.rate + len(self._orders[index].prices)

    @view
    def last_hours(self) -> Fixed[list[uint32], HOURS]:
        return list(self._last.hours)

    @write
    def deepen(self, state: State) -> uint256:
        self._deep[self.msg.sender][state][3, True].append(11)
        self._deep[self.msg.sender][state][3, True][0] += 1
        self._grid.append()
        self._grid[0].append(5)
        self._hours[2] = 8
        self._hours[2] += 1
        total = 0
        for hour in list(self._hours):
            total += hour
        return self._deep[self.msg.sender][state][3, True][0] * 100 + self._grid[0][0] * 10 + total

    @view
    def local(self, rows: list[list[uint64]]) -> list[list[uint64]]:
        first = rows[0]
        first.append(1)
        rows[1][0] += 40
        rows[1][0] = rows[1][0] + 2
        pair: Fixed[list[list[uint64]], 2] = [[1, 2], [3]]
        pair[1].append(4)
        rows.append(pair[1])
        copied = list(rows[0])
        copied.append(99)
        return rows

    @write
    def maybe(self, note: string) -> string:
        self._maybe[1] = Price(1, note)
        self._maybe[1].rate += 1
        if 2 in self._maybe:
            return ""
        return self._maybe[1].note
'''


@pytest.fixture
def contract(tmp_path: Path) -> Any:
    path = tmp_path / "types_contract.py"
    path.write_text(SOURCE)
    return Chain().deploy(path, sender="alice")


def test_an_enum_is_counted_and_compared(contract: Any) -> None:
    assert contract.last_number() == 2
    assert contract.is_open() is True
    assert contract.advance(0, sender="alice").returned == 1
    assert contract.is_open() is False
    assert contract.advance(2, sender="alice").returned == 0


def test_structs_hold_lists_enums_and_structs(contract: Any) -> None:
    prices = [(7, "dear"), (5, "cheap"), (6, "x" * 40)]
    assert contract.add(prices, [1, 2, 3, 4], sender="alice").returned == 1
    order = contract.order(0)
    assert [(price.rate, price.note) for price in order.prices] == prices
    assert order.state == 0 and list(order.hours) == [1, 2, 3, 4]
    assert (order.best.rate, order.best.note) == (5, "cheap")


def test_one_member_of_a_stored_struct_is_written(contract: Any) -> None:
    contract.add([(7, "dear")], [1, 2, 3, 4], sender="alice")
    assert contract.touch(0, sender="alice").returned == 12 + 2
    order = contract.order(0)
    assert order.state == 1 and order.best.rate == 12 and list(order.hours) == [1, 9, 3, 4]
    assert [(price.rate, price.note) for price in order.prices] == [(7, "touched"), (9, "new")]
    assert list(contract.last_hours()) == [9, 2, 3, 4]


def test_maps_and_arrays_nest(contract: Any) -> None:
    assert contract.deepen(2, sender="alice").returned == 1200 + 50 + 9
    assert contract.maybe("long" * 20, sender="alice").returned == "long" * 20


def test_lists_of_lists_are_python_lists(contract: Any) -> None:
    assert contract.local([[5], [1, 7]]) == [[5, 1], [43, 7], [3, 4]]


REFUSED = """
type       | return State.OPEN + 1
type       | return uint256(State.OPEN == 0)
type       | return 1 if State.OPEN < State.GONE else 2
attribute  | return uint256(State.NONE)
attribute  | State.OPEN = 1\\nreturn 1
name       | return uint256(State)
binding    | State = 1\\nreturn 1
attribute  | return State.OPEN.value
type       | return State("x")
type       | self._state = 1\\nreturn 1
handle     | x = self._hours\\nreturn 1
handle     | x = self._last.prices\\nreturn 1
handle     | x = self._orders[0].hours\\nreturn 1
handle     | return sum(self._hours)
handle     | for x in self._hours:\\n    pass\\nreturn 1
handle     | for x in self._last.prices:\\n    pass\\nreturn 1
handle     | return 1 if 3 in self._hours else 2
handle     | x: Fixed[list[uint32], HOURS] = self._hours\\nreturn 1
handle     | self._hours = self._last.hours\\nreturn 1
handle     | x = self._grid[0]\\nreturn 1
handle     | return self._grid[0].rate
attribute  | x = self._best\\nx.rate = 1\\nreturn 1
attribute  | self._two()[0] = 1\\nreturn 1
attribute  | self._grid[0] = [1]\\nreturn 1
attribute  | self._grid = 1\\nreturn 1
attribute  | self._grid.pop()\\nreturn 1
attribute  | self._grid.append([1])\\nreturn 1
attribute  | self._hours.append(1)\\nreturn 1
attribute  | self._best.rate.x = 1\\nreturn 1
attribute  | self._best.missing = 1\\nreturn 1
type       | self._hours = [1, 2, 3]\\nreturn 1
type       | x: Fixed[list[uint8], 2] = [1]\\nreturn 1
type       | x: list[list[uint8]] = [1]\\nreturn 1
type       | x: list[list[uint8]] = []\\ny: list[list[uint64]] = x\\nreturn 1
type       | return list(5)
type       | return list(self._deep)
type       | return list(self._grid)
type       | x = self._two()\\nreturn 1 if x == x else 2
type       | x: list[list[uint8]] = []\\nreturn 1 if x in x else 2
annotation | x: Fixed[list[uint8], missing] = [1]\\nreturn 1
"""


@pytest.mark.parametrize(
    ("rule", "body"), [line.split("|", 1) for line in REFUSED.strip().splitlines()]
)
def test_a_wrong_use_is_refused_by_its_name(rule: str, body: str) -> None:
    lines = body.strip().replace("\\n", "\n        ")
    tail = "    def _two(self) -> list[uint8]:\n        return [1, 2]\n"
    tail += f"    @write\n    def run(self) -> uint256:\n        {lines}\n"
    with pytest.raises(ContractRejected) as caught:
        compile_contract((SOURCE + tail).encode())
    assert caught.value.rule == rule.strip(), caught.value


def test_what_reads_only_may_not_write_a_member() -> None:
    for line in (
        "self._best.rate = 1",
        "self._hours[0] = 1",
        "self._last.prices.append(Price(1, ''))",
    ):
        tail = f"    @view\n    def run(self) -> None:\n        {line}\n"
        with pytest.raises(ContractRejected) as caught:
            compile_contract((SOURCE + tail).encode())
        assert caught.value.rule == "view-writes"


def test_a_number_that_is_no_member_panics(contract: Any, tmp_path: Path) -> None:
    path = tmp_path / "odd.py"
    path.write_text(
        SOURCE + "    @view\n    def odd(self, x: uint256) -> State:\n        return State(x)\n"
    )
    odd = Chain().deploy(path, sender="alice")
    assert odd.odd(2) == 2
    with pytest.raises(Exception, match="0x21"):
        odd.odd(3)


def test_a_member_that_an_integer_cannot_hold_panics(tmp_path: Path) -> None:
    members = "".join(f"    M{number} = {number}\n" for number in range(200))
    source = tmp_path / "wide.py"
    source.write_text(
        "from ledger.contract import Contract, Enum, int8, int64, uint64, view\n"
        f"class Wide(Enum):\n{members}"
        "class C(Contract):\n"
        "    @view\n"
        "    def twice(self, n: uint64) -> int64:\n"
        "        return int8(Wide(n)) * 2\n"
    )
    wide = Chain().deploy(source, sender="alice")
    assert wide.twice(127) == 254
    with pytest.raises(ContractPanic, match="0x11"):
        wide.twice(128)
    with pytest.raises(ContractPanic, match="0x21"):
        wide.twice(200)
