"""Roles by number, each with a role that administers it, as OpenZeppelin's AccessControl."""

from ledger.contract import (
    Contract,
    Event,
    Map,
    Revert,
    address,
    bytes4,
    bytes32,
    indexed,
    view,
    write,
)

DEFAULT_ADMIN_ROLE: bytes32 = b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
ACCESS_CONTROL_ID: bytes4 = b"\x79\x65\xdb\x0b"
ERC165_ID: bytes4 = b"\x01\xff\xc9\xa7"


class RoleAdminChanged(Event):
    role: indexed[bytes32]
    previous_admin_role: indexed[bytes32]
    new_admin_role: indexed[bytes32]


class RoleGranted(Event):
    role: indexed[bytes32]
    account: indexed[address]
    sender: indexed[address]


class RoleRevoked(Event):
    role: indexed[bytes32]
    account: indexed[address]
    sender: indexed[address]


class AccessControlUnauthorizedAccount(Revert):
    account: address
    needed_role: bytes32


class AccessControlBadConfirmation(Revert):
    """An account renounces its own roles only."""


class Roles(Contract):
    """`self._check_role(ROLE)` in what only its holders may do; a role is `keccak256(b"...")`.

    Nobody holds a role at first: the constructor grants DEFAULT_ADMIN_ROLE by `_grant_role`.
    """

    _members: Map[tuple[bytes32, address], bool]
    _admins: Map[bytes32, bytes32]

    @view
    def has_role(self, role: bytes32, account: address) -> bool:
        return self._members[role, account]

    @view
    def get_role_admin(self, role: bytes32) -> bytes32:
        """The role whose holders grant and revoke this one."""
        return self._admins[role]

    @write
    def grant_role(self, role: bytes32, account: address) -> None:
        self._check_role(self._admins[role])
        self._grant_role(role, account)

    @write
    def revoke_role(self, role: bytes32, account: address) -> None:
        self._check_role(self._admins[role])
        self._revoke_role(role, account)

    @write
    def renounce_role(self, role: bytes32, caller_confirmation: address) -> None:
        if caller_confirmation != self.msg.sender:
            raise AccessControlBadConfirmation()
        self._revoke_role(role, caller_confirmation)

    @view
    def supports_interface(self, interface_id_: bytes4) -> bool:
        return interface_id_ == ACCESS_CONTROL_ID or interface_id_ == ERC165_ID

    def _check_role(self, role: bytes32) -> None:
        if not self._members[role, self.msg.sender]:
            raise AccessControlUnauthorizedAccount(self.msg.sender, role)

    def _grant_role(self, role: bytes32, account: address) -> None:
        if not self._members[role, account]:
            self._members[role, account] = True
            self.emit(RoleGranted(role, account, self.msg.sender))

    def _revoke_role(self, role: bytes32, account: address) -> None:
        if self._members[role, account]:
            self._members[role, account] = False
            self.emit(RoleRevoked(role, account, self.msg.sender))

    def _set_role_admin(self, role: bytes32, admin_role: bytes32) -> None:
        previous = self._admins[role]
        self._admins[role] = admin_role
        self.emit(RoleAdminChanged(role, previous, admin_role))
