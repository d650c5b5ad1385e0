"""Fields of every shape, to be read by name and compared with a model."""

from ledger.contract import (
    Array,
    Contract,
    Enum,
    Fixed,
    Map,
    Optional,
    Struct,
    address,
    string,
    uint8,
    uint32,
    uint64,
    uint256,
    write,
)


class State(Enum):
    OPEN = 0
    FILLED = 1


class Price(Struct):
    rate: uint64
    note: string


class Order(Struct):
    owner: address
    state: State
    prices: list[Price]
    hours: Fixed[list[uint32], 3]
    best: Price


class OrderBook(Contract):
    _state: State
    _hours: Fixed[list[uint32], 3]
    _orders: Array[Order]
    _deep: Map[address, Map[State, Map[tuple[uint8, bool], Array[uint64]]]]
    _grid: Array[Array[uint32]]
    _maybe: Map[uint8, Optional[Price]]
    _last: Order

    @write
    def add(self, prices: list[Price], hours: Fixed[list[uint32], 3], state: State) -> uint256:
        order = Order(self.msg.sender, state, prices, hours, prices[0])
        self._orders.append(order)
        self._last = order
        self._hours[1] = hours[1]
        self._state = state
        self._deep[self.msg.sender][state][3, True].append(11)
        self._grid.append()
        self._grid[0].append(5)
        self._maybe[7] = prices[0]
        return len(self._orders)
