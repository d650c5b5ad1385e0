"""The same contract as twin.sol; the test runs both on the same call data."""

from ledger.contract import (
    Array,
    Contract,
    Event,
    Map,
    Optional,
    Revert,
    Struct,
    address,
    bytes4,
    bytes32,
    indexed,
    int16,
    payable,
    string,
    uint8,
    uint24,
    uint32,
    uint64,
    uint256,
    view,
    write,
)


class Reading(Struct):
    energy_wh: uint64
    delta: int16
    quality: uint8
    valid: bool
    by: address


class Stored(Event):
    meter: indexed[address]
    period: indexed[uint32]
    reading: Reading
    note: string


class Named(Event):
    name: indexed[string]
    tag: indexed[bytes4]
    amounts: list[uint64]


class Refused(Revert):
    meter: address
    period: uint32
    reason: string


class Nothing(Revert):
    pass


class Twin(Contract):
    count: uint24
    owner_: address
    open_: bool
    debt: int16
    total: uint256
    name_: string
    kept: bytes
    last: Reading
    readings: Map[tuple[address, uint32], Reading]
    seen: Map[address, Map[uint32, Optional[uint64]]]
    by_tag: Map[bytes4, uint256]
    by_name: Map[string, uint64]
    by_sign: Map[int16, bool]
    deep: Map[bool, Map[bytes32, Array[uint24]]]
    small: Array[uint24]
    flags: Array[bool]
    history: Array[Reading]
    notes: Map[uint24, string]

    def __init__(self, name: string, tags: list[bytes4]) -> None:
        self.owner_ = self.msg.sender
        self.open_ = True
        self.debt = -2
        self.name_ = name
        for tag in tags:
            self.by_tag[tag] = 7

    @write
    def store(self, period: uint32, reading: Reading, note: string) -> uint24:
        meter = self.msg.sender
        if self.readings[meter, period].valid:
            raise Refused(meter, period, note)
        self.readings[meter, period] = reading
        self.seen[meter][period] = reading.energy_wh
        self.last = reading
        self.history.append(reading)
        self.count += 1
        self.notes[self.count] = note
        self.total += reading.energy_wh
        self.debt -= reading.delta
        self.emit(Stored(meter, period, reading, note))
        return self.count

    @write
    def rename(self, name: string, blob: bytes, tag: bytes4, amounts: list[uint64]) -> None:
        self.name_ = name
        self.kept = blob
        self.by_name[name] = 9
        self.by_tag[tag] = self.by_tag[tag] + 1
        for amount in amounts:
            self.small.append(amount)
            self.flags.append(amount > 100)
            self.by_sign[0 - amount] = True
            self.deep[amount > 100][b"0123456789abcdef0123456789abcdef"].append(amount)
        self.emit(Named(name, tag, amounts))

    @write
    def shrink(self, index: uint256) -> tuple[uint24, string]:
        self.small[index] = 1_000
        note = self.notes[self.count]
        self.notes.remove(self.count)
        self.history.pop()
        self.flags.pop()
        self.seen[self.msg.sender].remove(1)
        return self.small.pop(), note

    @payable
    def close(self) -> None:
        if not self.open_:
            raise Nothing()
        self.open_ = False

    @view
    def get_all(self, period: uint32) -> tuple[Reading, list[uint24], string, bytes, bytes4, int16]:
        amounts: list[uint24] = []
        for index in range(len(self.small)):
            amounts.append(self.small[index])
        reading = self.readings[self.msg.sender, period]
        return reading, amounts, self.name_, self.kept, b"abcd", self.debt

    @view
    def get_history(self) -> list[Reading]:
        listed: list[Reading] = []
        for index in range(len(self.history)):
            listed.append(self.history[index])
        return listed

    @view
    def has(self, period: uint32) -> bool:
        return period in self.seen[self.msg.sender]
