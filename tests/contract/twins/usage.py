"""A contract as its author writes it: what the kit, mypy and the artifact are tested on."""

from ledger.contract import (
    Array,
    Contract,
    Event,
    Map,
    Optional,
    Revert,
    Role,
    Struct,
    address,
    indexed,
    payable,
    string,
    uint8,
    uint32,
    uint64,
    uint256,
    view,
    write,
)


class UsageSet(Event):
    meter: indexed[address]
    period: uint32
    energy_wh: uint64


class Entry(Struct):
    period: uint32
    energy_wh: uint64


class Listed(Event):
    entries: list[Entry]


class AlreadySet(Revert):
    meter: address
    period: uint32


class Metering(Contract):
    """What each meter used, and what is owed for it."""

    operators = Role()
    meters = Role()

    usage_wh: Map[tuple[address, uint32], Optional[uint64]]
    names: Map[address, string]
    paid: Map[address, uint256]
    counts: Array[uint8]

    def __init__(self) -> None:
        self.operators.grant(self.msg.sender)

    @write(by=operators)
    def enrol(self, meter: address, name: string) -> None:
        self.meters.grant(meter)
        self.names[meter] = name

    @write(by=operators)
    def dismiss(self, meter: address) -> None:
        self.meters.revoke(meter)

    @write(by=meters)
    def set_usage(self, period: uint32, energy_wh: uint64) -> uint32:
        """Record, once, what the calling meter measured."""
        meter = self.msg.sender
        if (meter, period) in self.usage_wh:
            raise AlreadySet(meter, period)
        self.usage_wh[meter, period] = energy_wh
        self.emit(UsageSet(meter, period, energy_wh))
        return period + 1

    @write(by=meters)
    def set_many(self, entries: list[Entry]) -> None:
        for entry in entries:
            self.usage_wh[self.msg.sender, entry.period] = entry.energy_wh
        self.emit(Listed(entries))

    @view
    def get_usage(self, meter: address, period: uint32) -> uint64:
        return self.usage_wh[meter, period]

    @view
    def get_entry(self, meter: address, period: uint32) -> Entry:
        return Entry(period, self.usage_wh[meter, period])

    @view
    def get_name(self, meter: address) -> tuple[string, bool]:
        return self.names[meter], meter in self.meters

    @payable
    def pay(self) -> uint256:
        self.paid[self.msg.sender] += self.msg.value
        return self.balance

    @view
    def get_day(self) -> uint32:
        return self.block.timestamp // 86_400

    @view
    def get_count(self) -> uint32:
        return len(self.counts)

    @write
    def fill(self) -> None:
        while True:
            self.counts.append(1)
