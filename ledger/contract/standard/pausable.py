"""A stop, as OpenZeppelin's Pausable: who may pull it is said by the contract that builds on it."""

from ledger.contract import Contract, Event, Revert, address, view


class Paused(Event):
    account: address


class Unpaused(Event):
    account: address


class EnforcedPause(Revert):
    """The contract is paused."""


class ExpectedPause(Revert):
    """The contract is not paused."""


class Pausable(Contract):
    """`self._check_not_paused()` first in what a pause stops."""

    _paused: bool

    @view
    def paused(self) -> bool:
        return self._paused

    def _check_not_paused(self) -> None:
        if self._paused:
            raise EnforcedPause()

    def _pause(self) -> None:
        self._check_not_paused()
        self._paused = True
        self.emit(Paused(self.msg.sender))

    def _unpause(self) -> None:
        if not self._paused:
            raise ExpectedPause()
        self._paused = False
        self.emit(Unpaused(self.msg.sender))
