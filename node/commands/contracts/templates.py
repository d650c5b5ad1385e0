"""What `wattledger contract new` writes: a contract that works, and its test.

The names in it are replaced by the author's; both files work as they stand.
"""

CONTRACT = '''\
"""NAME: everybody may add to a sum; its owner may start it anew."""

from ledger.contract import Contract, Event, Map, Revert, address, indexed, uint256, view, write


class Added(Event):
    account: indexed[address]
    amount: uint256


class NotOwner(Revert):
    caller: address


class NAME(Contract):
    """A sum, and what each account added to it."""

    _owner: address
    _total: uint256
    _added: Map[address, uint256]

    def __init__(self) -> None:
        self._owner = self.msg.sender

    @view
    def total(self) -> uint256:
        """The sum since it was last started anew."""
        return self._total

    @view
    def added_by(self, account: address) -> uint256:
        """What an account has added, ever."""
        return self._added[account]

    @write
    def add(self, amount: uint256) -> uint256:
        """Add to the sum; returns it."""
        self._total += amount
        self._added[self.msg.sender] += amount
        self.emit(Added(self.msg.sender, amount))
        return self._total

    @write
    def start_anew(self) -> None:
        """Back to zero. For the owner alone."""
        if self.msg.sender != self._owner:
            raise NotOwner(self.msg.sender)
        self._total = 0
'''

TEST = '''\
"""Tests of NAME. Run them: wattledger contract test"""

import pytest
from MODULE import Added, NAME, NotOwner

from ledger.contract.testing import Chain, ContractPanic, make_account

OWNER, ALICE = make_account("owner"), make_account("alice")


@pytest.fixture
def VARIABLE():
    return Chain().deploy(NAME, sender=OWNER)


def test_everybody_adds(VARIABLE):
    receipt = VARIABLE.add(5, sender=ALICE)

    assert receipt.returned == 5
    assert receipt.events == [Added(ALICE, 5)]
    assert VARIABLE.add(2, sender=OWNER).returned == 7
    assert (VARIABLE.total(), VARIABLE.added_by(ALICE)) == (7, 5)


def test_only_the_owner_starts_anew(VARIABLE):
    VARIABLE.add(5, sender=ALICE)
    with pytest.raises(NotOwner):
        VARIABLE.start_anew(sender=ALICE)
    assert VARIABLE.total() == 5

    VARIABLE.start_anew(sender=OWNER)
    assert VARIABLE.total() == 0
    assert VARIABLE.added_by(ALICE) == 5


def test_the_sum_never_wraps_around(VARIABLE):
    VARIABLE.add(2**256 - 1, sender=ALICE)
    with pytest.raises(ContractPanic, match="0x11"):
        VARIABLE.add(1, sender=ALICE)
    assert VARIABLE.total() == 2**256 - 1
'''
