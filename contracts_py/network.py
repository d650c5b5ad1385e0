"""Who keeps the ledger: its validators, the nodes that may connect, the accounts that may deploy.

Genesis puts this contract at its fixed address, 0x0000000000000000000000000000000000001001. Every
node, and whoever verifies without one, reads its storage by slot without running it, so the order
of the fields is part of the protocol: validators in slot 0, nodes in 1, deployers in 2,
administrator and anyoneDeploys packed into 3. A change holds from the block after the one in which
it is final. One administrator decides here; majorities and delays are for a contract at that
account.
"""

from ledger.contract import (
    ZERO_ADDRESS,
    Array,
    Contract,
    Event,
    Map,
    Revert,
    address,
    indexed,
    uint256,
    view,
    write,
)

VALIDATORS_MAX = 100  # what nodes accept: votes of more do not fit a Pi's round timeout


class ValidatorAdded(Event):
    validator: indexed[address]


class ValidatorRemoved(Event):
    validator: indexed[address]


class NodeSet(Event):
    node: indexed[address]
    allowed: bool


class DeployerSet(Event):
    deployer: indexed[address]
    allowed: bool


class AnyoneDeploysSet(Event):
    allowed: bool


class AdministratorSet(Event):
    administrator: indexed[address]


class NotAdministrator(Revert):
    caller: address


class ZeroAddress(Revert):
    """No key has the zero address."""


class AlreadyValidator(Revert):
    validator: address


class NotValidator(Revert):
    account: address


class TooManyValidators(Revert):
    limit: uint256


class LastValidator(Revert):
    """Without a validator the ledger could never take the transaction that adds one."""

    validator: address


class Network(Contract):
    """The members of the network, set by its administrator."""

    _validators: Array[address]
    _nodes: Map[address, bool]
    _deployers: Map[address, bool]
    _administrator: address
    _anyone_deploys: bool

    def __init__(
        self,
        validators: list[address],
        nodes: list[address],
        deployers: list[address],
        administrator: address,
        anyone_deploys: bool,
    ) -> None:
        for validator in validators:
            self._add_validator(validator)
        for node in nodes:
            self._nodes[node] = True
        for deployer in deployers:
            self._deployers[deployer] = True
        self._administrator = administrator
        self._anyone_deploys = anyone_deploys

    @view
    def validators(self) -> list[address]:
        """In no particular order: consensus sorts them."""
        members: list[address] = []
        for index in range(len(self._validators)):
            members.append(self._validators[index])
        return members

    @view
    def is_validator(self, account: address) -> bool:
        return self._find_validator(account) < len(self._validators)

    @view
    def is_node(self, account: address) -> bool:
        """Whether a node with this key may connect; validators always may."""
        return self._nodes[account] or self._find_validator(account) < len(self._validators)

    @view
    def is_deployer(self, account: address) -> bool:
        """Whether this account may create contracts."""
        return self._anyone_deploys or self._deployers[account]

    @view
    def administrator(self) -> address:
        return self._administrator

    @view
    def anyone_deploys(self) -> bool:
        return self._anyone_deploys

    @write
    def add_validator(self, validator: address) -> None:
        self._check_administrator()
        self._add_validator(validator)
        self.emit(ValidatorAdded(validator))

    @write
    def remove_validator(self, validator: address) -> None:
        """Take a validator off the list; it may still connect if it is on that of nodes."""
        self._check_administrator()
        index = self._find_validator(validator)
        last = len(self._validators) - 1
        if index > last:
            raise NotValidator(validator)
        if last == 0:
            raise LastValidator(validator)
        self._validators[index] = self._validators[last]
        self._validators.pop()
        self.emit(ValidatorRemoved(validator))

    @write
    def set_node(self, node: address, allowed: bool) -> None:
        """Let a node connect, or turn it away."""
        self._check_administrator()
        self._nodes[node] = allowed
        self.emit(NodeSet(node, allowed))

    @write
    def set_deployer(self, deployer: address, allowed: bool) -> None:
        """Let an account create contracts, or no longer."""
        self._check_administrator()
        self._deployers[deployer] = allowed
        self.emit(DeployerSet(deployer, allowed))

    @write
    def set_anyone_deploys(self, allowed: bool) -> None:
        """Let every account create contracts, or only those on the list."""
        self._check_administrator()
        self._anyone_deploys = allowed
        self.emit(AnyoneDeploysSet(allowed))

    @write
    def set_administrator(self, administrator: address) -> None:
        """Hand over. To the zero address it would be for ever, so that is refused."""
        self._check_administrator()
        if administrator == ZERO_ADDRESS:
            raise ZeroAddress()
        self._administrator = administrator
        self.emit(AdministratorSet(administrator))

    def _check_administrator(self) -> None:
        if self.msg.sender != self._administrator:
            raise NotAdministrator(self.msg.sender)

    def _add_validator(self, validator: address) -> None:
        count = len(self._validators)
        if validator == ZERO_ADDRESS:
            raise ZeroAddress()
        if count >= VALIDATORS_MAX:
            raise TooManyValidators(VALIDATORS_MAX)
        if self._find_validator(validator) < count:
            raise AlreadyValidator(validator)
        self._validators.append(validator)

    def _find_validator(self, account: address) -> uint256:
        """Its index, or the length of the list."""
        count = len(self._validators)
        for index in range(count):
            if self._validators[index] == account:
                return index
        return count
