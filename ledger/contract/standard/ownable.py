"""An owner, as OpenZeppelin's Ownable: `self._check_owner()` in what only the owner may do."""

from ledger.contract import ZERO_ADDRESS, Contract, Event, Revert, address, indexed, view, write


class OwnershipTransferred(Event):
    previous_owner: indexed[address]
    new_owner: indexed[address]


class OwnableUnauthorizedAccount(Revert):
    account: address


class OwnableInvalidOwner(Revert):
    owner: address


class Ownable(Contract):
    """One account that may do what others may not; its constructor takes it."""

    _owner: address

    def __init__(self, initial_owner: address) -> None:
        if initial_owner == ZERO_ADDRESS:
            raise OwnableInvalidOwner(initial_owner)
        self._set_owner(initial_owner)

    @view
    def owner(self) -> address:
        return self._owner

    @write
    def transfer_ownership(self, new_owner: address) -> None:
        self._check_owner()
        if new_owner == ZERO_ADDRESS:
            raise OwnableInvalidOwner(new_owner)
        self._set_owner(new_owner)

    @write
    def renounce_ownership(self) -> None:
        """Leave the contract without an owner, for ever."""
        self._check_owner()
        self._set_owner(ZERO_ADDRESS)

    def _check_owner(self) -> None:
        if self.msg.sender != self._owner:
            raise OwnableUnauthorizedAccount(self.msg.sender)

    def _set_owner(self, new_owner: address) -> None:
        previous = self._owner
        self._owner = new_owner
        self.emit(OwnershipTransferred(previous, new_owner))
