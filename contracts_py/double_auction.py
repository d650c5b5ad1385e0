"""A neighbourhood's market: bids and asks per delivery period, one price for all, settled by meter.

Accounts deposit coins, then place one order for a delivery period: a signed quantity (above zero
buys, below zero sells) and a price limit. When the period's gate closes, anybody clears it; when
the meters have recorded the period, anybody settles it, order by order.

**Price.** All who trade pay and get the same price. The volume is the greatest that supply at or
below a price and demand at or above it both reach; where several prices reach it, the price is the
middle of the lowest and the highest of them, rounded down to a step. **Who trades.** Better limits
first. At the last limit that trades, every order gets the same share of what is left: sellers
rounded down, buyers rounded up, to a watt-hour; those few watt-hours are the operator's.

**The order of arrival cannot matter**: orders are added up by price step when they are placed, and
neither the price nor a share depends on anything but those sums. Nobody gains by being early, nor
by being the one who calls `clear`; who is late has seen the orders before, which are public.
Clearing reads at most as many price steps as the caller allows and goes on where it stopped, so
that no number of orders makes it too dear for a block.

**Settlement.** A trade is firm. The buyer pays what it bought. The seller gets paid for what its
meter exported, up to what it sold; for each watt-hour it did not deliver, and for each that a buyer
bought and did not use, the penalty is due. Penalties, and what was paid for energy that the grid
had to deliver instead, go to the operator, who pays the grid. Both sides' means are set aside when
the order is placed, so that a debt that nobody pays cannot arise. A period that was not recorded
`grace_seconds` after its end counts as nothing delivered, and as all used. A correction of a
reading after it was settled changes nothing here.

**One meter, one order.** What a meter records in a period settles the order of one account, else
the export of a meter that was handed over would be paid twice. While the gate is open that is the
account whose the meter is: when it orders, the order of who had the meter before is withdrawn, and
what was set aside for it is in that account's balance again, to be withdrawn as any other coin. It
need not order: anybody may `release` the order of an account by a meter that is its no more, so
that nobody sells what another's meter will export. With the gate an order is firm: a meter that
is handed over, or replaced, afterwards settles the order it stood for, as silent if it is so.

The published market leaves open what happens at a tie of prices, with the watt-hours that pro rata
leaves over, and when a meter is silent; the above is what was chosen. Money is in wei, prices in
steps of `price_step` wei a kWh; what a buyer pays is rounded up, what a seller gets down.
"""

from ledger.contract import (
    ROUND_CEILING,
    ROUND_FLOOR,
    ZERO_ADDRESS,
    Contract,
    Enum,
    Event,
    Interface,
    Map,
    Revert,
    Struct,
    address,
    indexed,
    int8,
    int64,
    int128,
    int256,
    mul_div,
    payable,
    uint8,
    uint16,
    uint32,
    uint64,
    uint128,
    uint256,
    view,
    write,
)

WH_PER_KWH = 1_000
STEPS = 4_096  # prices are 0 to 4,095 steps
STEPS_PER_WORD = 256
QUANTITY_MAX_WH = 1_000_000_000  # a gigawatt-hour in one order is a mistake
GATE_MAX_SECONDS = 604_800


class Meters(Interface):
    """What is asked of the metering contract."""

    @view
    def period_seconds(self) -> uint32: ...

    @view
    def account_of(self, meter: address) -> address: ...

    @view
    def reading(
        self, meter: address, period: uint32
    ) -> tuple[uint64, uint64, uint8, bool, uint32]: ...


class Stage(Enum):
    OPEN = 0
    CLEARING = 1
    CLEARED = 2


class Deposited(Event):
    account: indexed[address]
    amount: uint256


class Withdrawn(Event):
    account: indexed[address]
    amount: uint256


class Placed(Event):
    """Replaces what the account had ordered for the period; quantity 0 is a cancellation."""

    account: indexed[address]
    period: indexed[uint32]
    quantity_wh: int64
    step: uint16


class Cleared(Event):
    period: indexed[uint32]
    step: uint16
    volume_wh: uint128


class Settled(Event):
    """Of `traded_wh` (below zero: sold) so much was delivered, or used, as metered."""

    account: indexed[address]
    period: indexed[uint32]
    traded_wh: int64
    metered_wh: uint64
    paid: uint256
    received: uint256
    penalty: uint256


class InvalidSetting(Revert):
    """A price step of 0, or a gate that closes more than a week ahead."""


class GateClosed(Revert):
    """Orders for this period are no longer taken."""

    period: uint32


class GateOpen(Revert):
    """Orders for this period are still taken: clear it later."""

    period: uint32


class NotCleared(Revert):
    period: uint32


class NotMetered(Revert):
    """The meter has not recorded this period, and the time to do so is not over."""

    meter: address
    period: uint32


class NothingToSettle(Revert):
    """The account has no order for this period, or it is settled."""

    account: address
    period: uint32


class InvalidOrder(Revert):
    """A quantity beyond a gigawatt-hour, or a price beyond the last step."""


class NotYourMeter(Revert):
    """The meter is not enrolled for the account that orders."""

    meter: address
    account: address


class NothingToRelease(Revert):
    """There is no order by the meter for this period, or it is of the account whose it is."""

    meter: address
    period: uint32


class TooLittle(Revert):
    """The account's free balance does not cover it; deposit the difference."""

    account: address
    balance: uint256
    needed: uint256


class NotOperator(Revert):
    caller: address


class Order(Struct):
    """Two words: what was ordered and by which meter it is settled; what is set aside for it."""

    meter: address
    quantity_wh: int64
    step: uint16
    locked: uint256


class Level(Struct):
    """One word: what is bid and asked at one price step."""

    bid_wh: uint128
    ask_wh: uint128


class Book(Struct):
    """Five words for a period: what is ordered, how far clearing is, and what it found.

    Asks below `ask_step` trade wholly, those at it share `ask_left_wh` of their `ask_level_wh`; of
    the bids, those above `bid_step`, at which and above `demand_wh` is bid. While clearing,
    `supply_wh` is asked and `passed_wh` bid below `next_step`.
    """

    stage: Stage
    next_step: uint16
    step: uint16
    ask_step: uint16
    bid_step: uint16
    orders: uint32
    volume_wh: uint128
    bids_wh: uint128
    supply_wh: uint128
    passed_wh: uint128
    demand_wh: uint128
    bid_level_wh: uint128
    ask_level_wh: uint128
    ask_left_wh: uint128
    pot: int128


class DoubleAuction(Contract):
    """Orders, clearing and settlement of a local energy market."""

    _meters: address
    _operator: address
    _period_seconds: uint32
    _gate_seconds: uint32
    _grace_seconds: uint32
    _price_step: uint64
    _penalty: uint64
    _surplus: uint256
    _balances: Map[address, uint256]
    _orders: Map[tuple[uint32, address], Order]
    _levels: Map[tuple[uint32, uint16], Level]
    _used: Map[tuple[uint32, uint8], uint256]
    _books: Map[uint32, Book]
    _holders: Map[tuple[uint32, address], address]

    def __init__(
        self,
        meters: address,
        gate_seconds: uint32,
        grace_seconds: uint32,
        price_step: uint64,
        penalty_per_kwh: uint64,
    ) -> None:
        """`meters` is a Metering contract; the gate closes so long before delivery begins.

        `price_step` and `penalty_per_kwh` are wei a kWh.
        """
        if price_step == 0 or gate_seconds > GATE_MAX_SECONDS:
            raise InvalidSetting()
        self._period_seconds = Meters(meters).period_seconds()
        self._meters = meters
        self._operator = self.msg.sender
        self._gate_seconds = gate_seconds
        self._grace_seconds = grace_seconds
        self._price_step = price_step
        self._penalty = penalty_per_kwh

    # Coins.

    @payable
    def deposit(self) -> None:
        self._balances[self.msg.sender] += self.msg.value
        self.emit(Deposited(self.msg.sender, self.msg.value))

    @write
    def withdraw(self, amount: uint256) -> None:
        """Take coins back that no open order holds."""
        sender = self.msg.sender
        balance = self._balances[sender]
        if amount > balance:
            raise TooLittle(sender, balance, amount)
        self._balances[sender] = balance - amount
        self.emit(Withdrawn(sender, amount))
        self.send(sender, amount)

    @write
    def withdraw_surplus(self) -> None:
        """Penalties and the price of what the grid delivered instead, for the operator."""
        if self.msg.sender != self._operator:
            raise NotOperator(self.msg.sender)
        amount = self._surplus
        self._surplus = 0
        self.emit(Withdrawn(self.msg.sender, amount))
        self.send(self.msg.sender, amount)

    # Orders.

    @write
    def place(self, period: uint32, meter: address, quantity_wh: int64, step: uint16) -> None:
        """Buy (above zero) or sell (below) up to so much, at that price or a better one.

        It replaces the account's order for the period; a quantity of 0, with any meter, withdraws
        it. What it could cost at most is set aside from the account's balance.
        """
        sender = self.msg.sender
        if step >= STEPS or abs(quantity_wh) > QUANTITY_MAX_WH:
            raise InvalidOrder()
        self._only_open(period)
        if self._orders[period, sender].quantity_wh != 0:
            self._take_out(period, sender)
        if quantity_wh != 0:
            self._hold(period, meter, sender)
        self._change(period, step, quantity_wh, 1)
        needed = self._cost_at_most(quantity_wh, step)
        balance = self._balances[sender]
        if needed > balance:
            raise TooLittle(sender, balance, needed)
        self._balances[sender] = balance - needed
        self._orders[period, sender] = Order(meter, quantity_wh, step, needed)
        self.emit(Placed(sender, period, quantity_wh, step))

    @write
    def release(self, period: uint32, meter: address) -> None:
        """Withdraw the order of an account by a meter that is its no more; anybody may."""
        self._only_open(period)
        holder = self._holders[period, meter]
        if holder == ZERO_ADDRESS or Meters(self._meters).account_of(meter) == holder:
            raise NothingToRelease(meter, period)
        self._displace(period, holder)

    # Clearing.

    @write
    def clear(self, period: uint32, levels: uint32) -> bool:
        """Go on clearing a period over at most so many price steps with orders; true when done."""
        if self.block.timestamp < self._gate(period):
            raise GateOpen(period)
        if self._books[period].stage == Stage.CLEARED:
            return True
        step: uint16 = self._next_used(period, self._books[period].next_step)
        left: uint32 = levels
        while left > 0 and step < STEPS:
            self._weigh(period, step)
            step = self._next_used(period, step + 1)
            left -= 1
        self._books[period].next_step = step
        if step < STEPS:
            self._books[period].stage = Stage.CLEARING
            return False
        book = self._books[period]
        price: uint16 = (book.ask_step + book.bid_step) // 2
        self._books[period].step = price
        self._books[period].stage = Stage.CLEARED
        self.emit(Cleared(period, price, book.volume_wh))
        return True

    # Settlement.

    @write
    def settle(self, period: uint32, account: address) -> None:
        """Settle one order by what the account's meter recorded; anybody may."""
        book = self._books[period]
        if book.stage != Stage.CLEARED:
            raise NotCleared(period)
        order = self._orders[period, account]
        if order.quantity_wh == 0:
            raise NothingToSettle(account, period)
        traded = self._traded(book, order)
        metered: uint64 = 0
        paid: uint256 = 0
        received: uint256 = 0
        missing: uint64 = 0
        if traded != 0:
            metered = self._metered(period, order.meter, traded)
            price: uint256 = book.step * self._price_step
            missing = abs(traded) - min(abs(traded), metered)
            if traded > 0:
                paid = mul_div(traded, price, WH_PER_KWH, ROUND_CEILING)
            else:
                received = mul_div(abs(traded) - missing, price, WH_PER_KWH, ROUND_FLOOR)
        penalty: uint256 = mul_div(missing, self._penalty, WH_PER_KWH, ROUND_CEILING)
        self._orders[period, account] = Order(order.meter, 0, 0, 0)
        self._balances[account] += order.locked - paid - penalty + received
        self._close(period, paid + penalty - received)
        self.emit(Settled(account, period, traded, metered, paid, received, penalty))

    # What anybody may read.

    @view
    def balance_of(self, account: address) -> uint256:
        """Wei that no open order holds."""
        return self._balances[account]

    @view
    def order_of(self, account: address, period: uint32) -> Order:
        """The account's order; a quantity of 0 where it has none, or it is settled."""
        return self._orders[period, account]

    @view
    def level(self, period: uint32, step: uint16) -> Level:
        return self._levels[period, step]

    @view
    def result(self, period: uint32) -> tuple[Stage, uint256, uint128]:
        """The stage; once it is cleared the price in wei a kWh and the volume in Wh."""
        book = self._books[period]
        return book.stage, book.step * self._price_step, book.volume_wh

    @view
    def traded_by(self, account: address, period: uint32) -> int64:
        """What an order got, below zero for what it sold; until it is settled."""
        book = self._books[period]
        if book.stage != Stage.CLEARED:
            raise NotCleared(period)
        return self._traded(book, self._orders[period, account])

    @view
    def gate_of(self, period: uint32) -> uint64:
        """When orders for a period stop being taken, in Unix seconds."""
        return self._gate(period)

    @view
    def surplus(self) -> uint256:
        return self._surplus

    # Inside.

    def _gate(self, period: uint32) -> uint64:
        start = period * self._period_seconds
        return max(start, self._gate_seconds) - self._gate_seconds

    def _only_open(self, period: uint32) -> None:
        if self.block.timestamp >= self._gate(period):
            raise GateClosed(period)

    def _hold(self, period: uint32, meter: address, account: address) -> None:
        """Bind what the meter will record to the account whose it is now, and to no other."""
        if Meters(self._meters).account_of(meter) != account:
            raise NotYourMeter(meter, account)
        holder = self._holders[period, meter]
        if holder != ZERO_ADDRESS:
            self._displace(period, holder)
        self._holders[period, meter] = account

    def _displace(self, period: uint32, account: address) -> None:
        """Withdraw the order of who gave its meter away, and tell it."""
        self._take_out(period, account)
        self.emit(Placed(account, period, 0, 0))

    def _take_out(self, period: uint32, account: address) -> None:
        """Out of the book with an account's order; what was set aside for it is free again."""
        order = self._orders[period, account]
        self._change(period, order.step, order.quantity_wh, -1)
        self._holders[period, order.meter] = ZERO_ADDRESS
        self._balances[account] += order.locked
        self._orders[period, account] = Order(order.meter, 0, 0, 0)

    def _cost_at_most(self, quantity_wh: int64, step: uint16) -> uint256:
        """What an order can cost at worst: the whole at its limit, and all of the penalty."""
        units: uint64 = abs(quantity_wh)
        cost: uint256 = mul_div(units, self._penalty, WH_PER_KWH, ROUND_CEILING)
        if quantity_wh > 0:
            cost += mul_div(units, step * self._price_step, WH_PER_KWH, ROUND_CEILING)
        return cost

    def _change(self, period: uint32, step: uint16, quantity_wh: int64, sign: int8) -> None:
        """Enter an order (1) into the sums that clearing reads, or take it out of them (-1)."""
        if quantity_wh == 0:
            return
        level = self._levels[period, step]
        if quantity_wh > 0:
            level = Level(level.bid_wh + sign * quantity_wh, level.ask_wh)
            self._books[period].bids_wh += sign * quantity_wh
        else:
            level = Level(level.bid_wh, level.ask_wh - sign * quantity_wh)
        self._levels[period, step] = level
        self._books[period].orders += sign
        self._used[period, step // STEPS_PER_WORD] |= 1 << (step % STEPS_PER_WORD)

    def _next_used(self, period: uint32, step: uint16) -> uint16:
        """The first step from here on at which there was ever an order; STEPS if there is none."""
        at: uint16 = step
        while at < STEPS:
            word: uint256 = self._used[period, at // STEPS_PER_WORD] >> (at % STEPS_PER_WORD)
            if word != 0:
                for exponent in range(8):
                    width = 128 >> exponent
                    if word % (1 << width) == 0:
                        word = word >> width
                        at += width
                return at
            at = (at // STEPS_PER_WORD + 1) * STEPS_PER_WORD
        return STEPS

    def _weigh(self, period: uint32, step: uint16) -> None:
        """Look whether more can be traded at this step than at any lower one, or as much."""
        book = self._books[period]
        level = self._levels[period, step]
        supply = book.supply_wh + level.ask_wh
        demand = book.bids_wh - book.passed_wh
        volume = min(supply, demand)
        if volume > book.volume_wh:
            self._books[period].volume_wh = volume
            self._books[period].ask_step = step
            self._books[period].ask_level_wh = level.ask_wh
            self._books[period].ask_left_wh = volume - book.supply_wh
        best = max(volume, book.volume_wh)
        if best > 0 and demand >= best:
            self._books[period].bid_step = step
            self._books[period].bid_level_wh = level.bid_wh
            self._books[period].demand_wh = demand
        self._books[period].supply_wh = supply
        self._books[period].passed_wh = book.passed_wh + level.bid_wh

    def _traded(self, book: Book, order: Order) -> int64:
        """What the order gets of the cleared volume: above zero bought, below zero sold."""
        units: uint64 = abs(order.quantity_wh)
        if book.volume_wh == 0 or units == 0:
            return 0
        if order.quantity_wh > 0:
            if order.step > book.bid_step:
                return units
            if order.step < book.bid_step:
                return 0
            left = book.volume_wh + book.bid_level_wh - book.demand_wh
            return mul_div(units, left, book.bid_level_wh, ROUND_CEILING)
        if order.step < book.ask_step:
            return -units
        if order.step > book.ask_step:
            return 0
        return -mul_div(units, book.ask_left_wh, book.ask_level_wh, ROUND_FLOOR)

    def _metered(self, period: uint32, meter: address, traded_wh: int64) -> uint64:
        """What the meter recorded: import of who bought, export of who sold."""
        import_wh, export_wh, _, recorded, _ = Meters(self._meters).reading(meter, period)
        if not recorded:
            end = (period + 1) * self._period_seconds
            if self.block.timestamp < end + self._grace_seconds:
                raise NotMetered(meter, period)
            return max(traded_wh, 0)
        return import_wh if traded_wh > 0 else export_wh

    def _close(self, period: uint32, gain: int256) -> None:
        """Book what a settlement left over; the operator's when the period's last one is done.

        Before that it may be below zero: a seller can be paid before the buyer was charged.
        """
        pot: int128 = self._books[period].pot + gain
        orders: uint32 = self._books[period].orders - 1
        self._books[period].orders = orders
        if orders == 0:
            self._surplus += pot
            pot = 0
        self._books[period].pot = pot
