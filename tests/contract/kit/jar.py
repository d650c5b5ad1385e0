"""A jar with mistakes that its author should find: what the kit shows of them is tested."""

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
    uint64,
    uint256,
    view,
    write,
)


class Put(Event):
    account: indexed[address]
    amount: uint256


class TooMuch(Revert):
    amount: uint256
    most: uint256


class Note(Struct):
    amount: uint64
    author: address


class Jar(Contract):
    keepers = Role()
    _owner: address
    total: uint256
    given: Map[address, uint256]
    seen: Map[address, Map[uint8, Optional[uint64]]]
    notes: Array[Note]
    names: Map[address, string]
    last: Note

    def __init__(self, name: string) -> None:
        self._owner = self.msg.sender
        self.keepers.grant(self.msg.sender)
        self.names[self.msg.sender] = name

    @view
    def owner(self) -> address:
        return self._owner

    @write
    def put(self, amount: uint256) -> uint256:
        self._check(amount)
        self.given[self.msg.sender] += amount
        self.total += amount
        self.emit(Put(self.msg.sender, amount))
        return self.total

    def _check(self, amount: uint256) -> None:
        most = 100
        if amount > most:
            raise TooMuch(amount, most)

    @payable
    def pay(self) -> None:
        self.total += self.msg.value

    @write
    def note(self, number: uint8, amount: uint64) -> None:
        self.seen[self.msg.sender][number] = amount
        self.notes.append(Note(amount, self.msg.sender))
        self.last = Note(amount, self.msg.sender)

    @view
    def share(self, parts: uint256) -> uint256:
        return self.total // parts

    @view
    def nth(self, index: uint256) -> uint64:
        return self.notes[index].amount

    @write
    def spin(self) -> None:
        turns = 0
        while turns < 1_000_000_000:
            turns += 1

    @write(by=keepers)
    def leak(self, amount: uint256) -> None:
        """A mistake: the total follows, the account does not."""
        self.total += amount
