"""A microgrid's market by advert: producers offer what they store, consumers buy, regulators watch.

After the published microgrid trading contracts (owner, regulators, producers, consumers; energy
advertised for three hours at a price that rises each hour; part of each payment is tax). An account
has one part at a time: the owner appoints regulators, regulators admit producers and consumers.

**Life of a watt-hour.** A producer puts it in store, up to its capacity (1 to 1,000 kWh, set by a
regulator), advertises it, and a consumer buys all or some of it. What an advert still holds after
three hours is the producer's again by itself, and can be advertised anew. What is bought is paid to
the contract at once and held until it is delivered: a regulator confirms it, or the producer's
meter has recorded as much export since. What is not confirmed in `delivery_seconds` goes back, the
money to the consumer and the energy to the producer.

Where the published rules were open or unsafe, what was chosen:

- Prices are per kWh, in the smallest unit of the coin or token; a total is rounded up.
- A price rises by a tenth of the proposed one with each full hour, rounded down: 1.0, 1.1, 1.2.
- The consumer's `proposedPrice` is the most it accepts: the price may rise between signing and the
  block, and nobody should pay for that unasked. It pays the price that holds, and gets change.
- Paying the producer before delivery lets it walk away with the money; here it waits.
- Two adverts of one producer in one second would be one; the second is refused.
- A watt-hour that a meter recorded confirms one purchase, not two.
- A consumer to whom its money cannot be given back (a contract that refuses coin, an account that
  the token's contract refuses) cannot keep the producer's energy locked: the energy returns, the
  money waits for `claim`.
- An advert that is sold out takes none of the producer's eight places.
- Arguments are uint256, as published; what no advert can have is refused, not cut off.
- Who is removed keeps what is due: open purchases are still confirmed or given back.
- Percentages are permille of the total: the producer's share is rounded down, the rest is tax.
"""

from ledger.contract import (
    ROUND_CEILING,
    ROUND_FLOOR,
    ZERO_ADDRESS,
    Array,
    CallFailed,
    Contract,
    Enum,
    Event,
    Interface,
    Map,
    Revert,
    Struct,
    address,
    indexed,
    mul_div,
    payable,
    string,
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
CAPACITY_MIN_WH = 1_000
CAPACITY_MAX_WH = 1_000_000
HOUR_S = 3_600
LIFE_S = 10_800
LIVE_ADVERTS_MAX = 8  # of one producer: they are looked through at each new one
PRICE_MAX = 2**128 - 1  # an advert is one word
TIME_MAX = 2**64 - 1
PERMILLE = 1_000
DELIVERY_MAX_S = 2_592_000


class Token(Interface):
    """ERC-20, as far as it is needed."""

    @write
    def transfer(self, to: address, amount: uint256) -> bool: ...

    @write
    def transfer_from(self, sender: address, to: address, amount: uint256) -> bool: ...


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


class Part(Enum):
    NONE = 0
    REGULATOR = 1
    PRODUCER = 2
    CONSUMER = 3


class Stage(Enum):
    NONE = 0
    PAID = 1
    DELIVERED = 2
    REFUNDED = 3


class RegulatorAdded(Event):
    regulator: indexed[address]


class RegulatorRemoved(Event):
    regulator: indexed[address]


class ProducerAdded(Event):
    producer: indexed[address]
    site: string


class ProducerRemoved(Event):
    producer: indexed[address]


class ConsumerAdded(Event):
    consumer: indexed[address]
    site: string


class ConsumerRemoved(Event):
    consumer: indexed[address]


class CapacitySet(Event):
    producer: indexed[address]
    capacity_wh: uint64


class EnergyStored(Event):
    producer: indexed[address]
    energy_wh: uint256
    stored_wh: uint64


class EnergyAdvertised(Event):
    producer: indexed[address]
    advert_time: uint64
    energy_wh: uint256
    price: uint256


class AdvertExpired(Event):
    """What nobody bought is the producer's again."""

    producer: indexed[address]
    advert_time: uint64
    energy_wh: uint64


class EnergyRequested(Event):
    purchase_id: indexed[uint256]
    consumer: indexed[address]
    producer: indexed[address]
    energy_wh: uint256
    price: uint256
    total: uint256


class EnergyDelivered(Event):
    purchase_id: indexed[uint256]
    confirmed_by: indexed[address]
    producer_share: uint256
    tax: uint256


class Refunded(Event):
    purchase_id: indexed[uint256]
    total: uint256


class Claimed(Event):
    """What could not be given back when it was due."""

    account: indexed[address]
    to: indexed[address]
    amount: uint256


class TaxWithdrawn(Event):
    to: indexed[address]
    amount: uint256


class InvalidSetting(Revert):
    """A share above 1,000 permille, or no or more than 30 days for the delivery."""


class NotAllowed(Revert):
    """The caller's part is not the one that does this."""

    caller: address
    part: Part


class AlreadyMember(Revert):
    """The account has a part already; one at a time."""

    account: address
    part: Part


class NotMember(Revert):
    """The account does not have that part."""

    account: address


class CapacityExceeded(Revert):
    """A store holds from 1 to 1,000 kWh, and no more than its capacity."""

    energy_wh: uint256
    capacity_wh: uint256


class NotEnoughEnergy(Revert):
    energy_wh: uint256
    available_wh: uint256


class InvalidEnergy(Revert):
    """Nothing, or a price of nothing or past 128 bits, is neither advertised nor bought."""


class TooManyAdverts(Revert):
    """Eight adverts of a producer live at a time, and one begins in a second."""


class NoSuchAdvert(Revert):
    """There is none of that time, it has run out, or it is over."""

    producer: address
    advert_time: uint256


class PriceAbove(Revert):
    """The price that holds now is above the one proposed."""

    price: uint256
    proposed: uint256


class NotEnoughPaid(Revert):
    total: uint256
    paid: uint256


class CoinNotTaken(Revert):
    """This market is paid in its token."""


class TokenRefused(Revert):
    """The token's contract did not move the amount."""

    token: address


class NotOpen(Revert):
    """The purchase is not there, or it is delivered or given back already."""

    purchase_id: uint256


class NotDue(Revert):
    """The time to deliver is not over."""

    until: uint64


class NotDelivered(Revert):
    """The producer's meter has not exported as much in a period since the purchase."""

    purchase_id: uint256


class Store(Struct):
    """One word of a producer, in watt-hours."""

    capacity_wh: uint64
    stored_wh: uint64


class Advert(Struct):
    """One word: what is left, and the proposed price per kWh. The time is its key."""

    energy_wh: uint64
    price: uint128


class Purchase(Struct):
    """What waits for its delivery."""

    consumer: address
    stage: Stage
    energy_wh: uint64
    producer: address
    bought_at: uint64
    total: uint256


class Microgrid(Contract):
    """Adverts, purchases held until delivery, tax."""

    _owner: address
    _token: address
    _meters: address
    _producer_share: uint16
    _delivery_seconds: uint32
    _tax: uint256
    _parts: Map[address, Part]
    _sites: Map[address, string]
    _stores: Map[address, Store]
    _live: Map[address, Array[uint64]]
    _adverts: Map[tuple[address, uint64], Advert]
    _purchases: Array[Purchase]
    _proved_wh: Map[tuple[address, uint32], uint64]
    _unclaimed: Map[address, uint256]

    def __init__(
        self,
        producer_share: uint16,
        delivery_seconds: uint32,
        token: address,
        meters: address,
    ) -> None:
        """The share in permille; without `token` the coin is paid in, `meters` may be zero."""
        if producer_share > PERMILLE or not 0 < delivery_seconds <= DELIVERY_MAX_S:
            raise InvalidSetting()
        self._owner = self.msg.sender
        self._producer_share = producer_share
        self._delivery_seconds = delivery_seconds
        self._token = token
        self._meters = meters

    # Parts.

    @write
    def add_regulator(self, regulator: address) -> None:
        self._only_owner()
        self._admit(regulator, Part.REGULATOR)
        self.emit(RegulatorAdded(regulator))

    @write
    def remove_regulator(self, regulator: address) -> None:
        self._only_owner()
        self._dismiss(regulator, Part.REGULATOR)
        self.emit(RegulatorRemoved(regulator))

    @write
    def add_producer(self, producer: address, site: string) -> None:
        """With a capacity of 1,000 kWh until a regulator sets another."""
        self._only(Part.REGULATOR)
        self._admit(producer, Part.PRODUCER)
        self._sites[producer] = site
        if self._stores[producer].capacity_wh == 0:
            self._stores[producer].capacity_wh = CAPACITY_MAX_WH
        self.emit(ProducerAdded(producer, site))

    @write
    def remove_producer(self, producer: address) -> None:
        self._only(Part.REGULATOR)
        self._dismiss(producer, Part.PRODUCER)
        self.emit(ProducerRemoved(producer))

    @write
    def add_consumer(self, consumer: address, site: string) -> None:
        self._only(Part.REGULATOR)
        self._admit(consumer, Part.CONSUMER)
        self._sites[consumer] = site
        self.emit(ConsumerAdded(consumer, site))

    @write
    def remove_consumer(self, consumer: address) -> None:
        self._only(Part.REGULATOR)
        self._dismiss(consumer, Part.CONSUMER)
        self.emit(ConsumerRemoved(consumer))

    @write
    def set_capacity(self, producer: address, capacity_wh: uint64) -> None:
        """How much a producer's store holds; what is in it already stays."""
        self._only(Part.REGULATOR)
        if self._parts[producer] != Part.PRODUCER:
            raise NotMember(producer)
        if not CAPACITY_MIN_WH <= capacity_wh <= CAPACITY_MAX_WH:
            raise CapacityExceeded(capacity_wh, CAPACITY_MAX_WH)
        self._stores[producer].capacity_wh = capacity_wh
        self.emit(CapacitySet(producer, capacity_wh))

    # Adverts.

    @write
    def store_energy(self, energy_wh: uint256) -> None:
        """Put energy into the caller's store. What is advertised takes room in it, too."""
        producer = self.msg.sender
        self._only(Part.PRODUCER)
        self._expire(producer)
        held = self._stores[producer]
        advertised = self._advertised(producer)
        if energy_wh > CAPACITY_MAX_WH:
            raise CapacityExceeded(energy_wh, held.capacity_wh)
        if held.stored_wh + advertised + energy_wh > held.capacity_wh:
            raise CapacityExceeded(held.stored_wh + advertised + energy_wh, held.capacity_wh)
        stored: uint64 = held.stored_wh + energy_wh
        self._stores[producer].stored_wh = stored
        self.emit(EnergyStored(producer, energy_wh, stored))

    @write
    def available_energy_advert(self, energy_wh: uint256, proposed_price: uint256) -> None:
        """Offer energy in store for three hours, at a price per kWh that rises each hour."""
        producer = self.msg.sender
        self._only(Part.PRODUCER)
        self._expire(producer)
        if energy_wh == 0 or not 0 < proposed_price <= PRICE_MAX:
            raise InvalidEnergy()
        stored = self._stores[producer].stored_wh
        if energy_wh > stored:
            raise NotEnoughEnergy(energy_wh, stored)
        now: uint64 = self.block.timestamp
        live = len(self._live[producer])
        if live == LIVE_ADVERTS_MAX or (live > 0 and self._live[producer][live - 1] == now):
            raise TooManyAdverts()
        self._live[producer].append(now)
        self._stores[producer].stored_wh = stored - energy_wh
        self._adverts[producer, now] = Advert(energy_wh, proposed_price)
        self.emit(EnergyAdvertised(producer, now, energy_wh, proposed_price))

    @payable
    def request_for_energy(
        self, energy_wh: uint256, advert_time: uint256, proposed_price: uint256, producer: address
    ) -> uint256:
        """Buy of an advert for at most the proposed price per kWh; the number of the purchase.

        With a token, the contract must be allowed to take the total; with coin, what was sent above
        the total comes back.
        """
        consumer = self.msg.sender
        self._only(Part.CONSUMER)
        if advert_time > TIME_MAX:
            raise NoSuchAdvert(producer, advert_time)
        price = self._price(producer, advert_time)
        left = self._adverts[producer, advert_time].energy_wh
        if energy_wh == 0:
            raise InvalidEnergy()
        if energy_wh > left:
            raise NotEnoughEnergy(energy_wh, left)
        if price > proposed_price:
            raise PriceAbove(price, proposed_price)
        total: uint256 = mul_div(energy_wh, price, WH_PER_KWH, ROUND_CEILING)
        self._adverts[producer, advert_time].energy_wh = left - energy_wh
        number: uint256 = len(self._purchases)
        now: uint64 = self.block.timestamp
        self._purchases.append(Purchase(consumer, Stage.PAID, energy_wh, producer, now, total))
        self.emit(EnergyRequested(number, consumer, producer, energy_wh, price, total))
        self._collect(consumer, total)
        return number

    # Delivery.

    @write
    def confirm_delivery(self, purchase_id: uint256) -> None:
        """A regulator saw that the energy was delivered: the producer and the tax are paid."""
        self._only(Part.REGULATOR)
        self._deliver(purchase_id, self.msg.sender)

    @write
    def confirm_by_meter(self, purchase_id: uint256, meter: address, period: uint32) -> None:
        """Anybody may show that the producer's meter exported as much in a period since."""
        purchase = self._open(purchase_id)
        if self._meters == ZERO_ADDRESS:
            raise NotDelivered(purchase_id)
        start = period * Meters(self._meters).period_seconds()
        _, export_wh, _, recorded, _ = Meters(self._meters).reading(meter, period)
        proved = self._proved_wh[meter, period]
        if (
            not recorded
            or Meters(self._meters).account_of(meter) != purchase.producer
            or not purchase.bought_at <= start < purchase.bought_at + self._delivery_seconds
            or export_wh < proved + purchase.energy_wh
        ):
            raise NotDelivered(purchase_id)
        self._proved_wh[meter, period] = proved + purchase.energy_wh
        self._deliver(purchase_id, meter)

    @write
    def refund(self, purchase_id: uint256) -> None:
        """What was not delivered in time goes back; anybody may say so."""
        purchase = self._open(purchase_id)
        until: uint64 = purchase.bought_at + self._delivery_seconds
        if self.block.timestamp < until:
            raise NotDue(until)
        self._purchases[purchase_id].stage = Stage.REFUNDED
        held = self._stores[purchase.producer]
        self._stores[purchase.producer].stored_wh = min(
            held.stored_wh + purchase.energy_wh, max(held.capacity_wh, held.stored_wh)
        )
        self.emit(Refunded(purchase_id, purchase.total))
        self._give_back(purchase.consumer, purchase.total)

    @write
    def claim(self, to: address) -> None:
        """Money of the caller that could not be given back to it when it was due."""
        self._claim(self.msg.sender, to)

    @write
    def give_again(self, account: address) -> None:
        """The same to the account itself, which need not know of it; anybody may."""
        self._claim(account, account)

    @write
    def withdraw_tax(self) -> None:
        self._only_owner()
        amount = self._tax
        self._tax = 0
        self.emit(TaxWithdrawn(self._owner, amount))
        self._pay(self._owner, amount)

    # What anybody may read.

    @view
    def owner(self) -> address:
        return self._owner

    @view
    def producer_share(self) -> uint16:
        """Permille of a total that are the producer's; the rest is tax."""
        return self._producer_share

    @view
    def delivery_seconds(self) -> uint32:
        return self._delivery_seconds

    @view
    def token(self) -> address:
        """What is paid in; the zero address stands for the coin."""
        return self._token

    @view
    def meters(self) -> address:
        """The metering contract that confirms deliveries; the zero address if none does."""
        return self._meters

    @view
    def unclaimed(self, account: address) -> uint256:
        """What waits for its `claim`."""
        return self._unclaimed[account]

    @view
    def part_of(self, account: address) -> Part:
        return self._parts[account]

    @view
    def site_of(self, account: address) -> string:
        return self._sites[account]

    @view
    def store_of(self, producer: address) -> Store:
        """Capacity and what is in store, with what adverts that have run out gave back."""
        held = self._stores[producer]
        stored: uint64 = held.stored_wh
        for index in range(len(self._live[producer])):
            time = self._live[producer][index]
            if self.block.timestamp >= time + LIFE_S:
                stored += self._adverts[producer, time].energy_wh
        return Store(held.capacity_wh, stored)

    @view
    def adverts_of(self, producer: address) -> list[uint64]:
        """The times of a producer's adverts that still run."""
        times: list[uint64] = []
        for index in range(len(self._live[producer])):
            time = self._live[producer][index]
            if self.block.timestamp < time + LIFE_S:
                times.append(time)
        return times

    @view
    def advert(self, producer: address, advert_time: uint64) -> tuple[uint64, uint256]:
        """What is left of a running advert, and its price per kWh now."""
        price = self._price(producer, advert_time)
        return self._adverts[producer, advert_time].energy_wh, price

    @view
    def purchase(self, purchase_id: uint256) -> Purchase:
        return self._purchases[purchase_id]

    @view
    def purchase_count(self) -> uint256:
        return len(self._purchases)

    @view
    def tax(self) -> uint256:
        """What the owner may withdraw."""
        return self._tax

    # Inside.

    def _only_owner(self) -> None:
        if self.msg.sender != self._owner:
            raise NotAllowed(self.msg.sender, self._parts[self.msg.sender])

    def _only(self, part: Part) -> None:
        if self._parts[self.msg.sender] != part:
            raise NotAllowed(self.msg.sender, self._parts[self.msg.sender])

    def _admit(self, account: address, part: Part) -> None:
        if account == self._owner or self._parts[account] != Part.NONE:
            raise AlreadyMember(account, self._parts[account])
        self._parts[account] = part

    def _dismiss(self, account: address, part: Part) -> None:
        if self._parts[account] != part:
            raise NotMember(account)
        self._parts[account] = Part.NONE

    def _price(self, producer: address, advert_time: uint64) -> uint256:
        """The price per kWh that holds now. Refuses an advert that is not running."""
        now = self.block.timestamp
        proposed = self._adverts[producer, advert_time].price
        if proposed == 0 or now >= advert_time + LIFE_S or self._parts[producer] != Part.PRODUCER:
            raise NoSuchAdvert(producer, advert_time)
        return proposed + proposed * ((now - advert_time) // HOUR_S) // 10

    def _advertised(self, producer: address) -> uint64:
        total: uint64 = 0
        for index in range(len(self._live[producer])):
            total += self._adverts[producer, self._live[producer][index]].energy_wh
        return total

    def _expire(self, producer: address) -> None:
        """Give back what adverts that have run out still hold, and forget those sold out.

        But for one of this very second: its time is taken.
        """
        now = self.block.timestamp
        kept: list[uint64] = []
        stored: uint64 = self._stores[producer].stored_wh
        count = len(self._live[producer])
        for index in range(count):
            time = self._live[producer][index]
            left = self._adverts[producer, time].energy_wh
            if now < time + LIFE_S and (left > 0 or time == now):
                kept.append(time)
            else:
                stored += left
                self._adverts.remove((producer, time))
                if left > 0:
                    self.emit(AdvertExpired(producer, time, left))
        if len(kept) < count:
            self._stores[producer].stored_wh = stored
            for index in range(count):
                if index < len(kept):
                    self._live[producer][index] = kept[index]
                else:
                    self._live[producer].pop()

    def _open(self, purchase_id: uint256) -> Purchase:
        if purchase_id >= len(self._purchases):
            raise NotOpen(purchase_id)
        purchase = self._purchases[purchase_id]
        if purchase.stage != Stage.PAID:
            raise NotOpen(purchase_id)
        return purchase

    def _deliver(self, purchase_id: uint256, confirmed_by: address) -> None:
        purchase = self._open(purchase_id)
        self._purchases[purchase_id].stage = Stage.DELIVERED
        share: uint256 = mul_div(purchase.total, self._producer_share, PERMILLE, ROUND_FLOOR)
        tax: uint256 = purchase.total - share
        self._tax += tax
        self.emit(EnergyDelivered(purchase_id, confirmed_by, share, tax))
        self._pay(purchase.producer, share)

    def _collect(self, consumer: address, total: uint256) -> None:
        if self._token != ZERO_ADDRESS:
            if self.msg.value != 0:
                raise CoinNotTaken()
            if not Token(self._token).transfer_from(consumer, self.address, total):
                raise TokenRefused(self._token)
            return
        if self.msg.value < total:
            raise NotEnoughPaid(total, self.msg.value)
        change: uint256 = self.msg.value - total
        if change > 0:
            self.send(consumer, change)

    def _claim(self, account: address, to: address) -> None:
        amount = self._unclaimed[account]
        self._unclaimed[account] = 0
        self.emit(Claimed(account, to, amount))
        self._pay(to, amount)

    def _give_back(self, to: address, amount: uint256) -> None:
        """Pay, or keep for who cannot be paid now."""
        paid = True
        if self._token == ZERO_ADDRESS:
            try:
                self.send(to, amount)
            except CallFailed:
                paid = False
        else:
            moved = True
            try:
                moved = Token(self._token).transfer(to, amount)
            except CallFailed:
                paid = False
            if not moved:
                raise TokenRefused(self._token)
        if not paid:
            self._unclaimed[to] += amount

    def _pay(self, to: address, amount: uint256) -> None:
        if amount == 0:
            return
        if self._token == ZERO_ADDRESS:
            self.send(to, amount)
        elif not Token(self._token).transfer(to, amount):
            raise TokenRefused(self._token)
