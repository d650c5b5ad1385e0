"""Python contracts; what an author imports (`from ledger.contract import ...`) is defined in `api`.

The front (parse, check, gas, instrument, compile) turns a source into typed, charged code; the back
(layout, storage, interface, execution) gives that code its storage and its doors.
"""

from ledger.contract.api import *  # noqa: F403 - api's __all__ is the list
from ledger.contract.api import __all__ as _api

# isort: split
from ledger.contract.standard.ownable import (
    Ownable,
    OwnableInvalidOwner,
    OwnableUnauthorizedAccount,
    OwnershipTransferred,
)
from ledger.contract.standard.pausable import (
    EnforcedPause,
    ExpectedPause,
    Pausable,
    Paused,
    Unpaused,
)
from ledger.contract.standard.roles import (
    DEFAULT_ADMIN_ROLE,
    AccessControlBadConfirmation,
    AccessControlUnauthorizedAccount,
    RoleAdminChanged,
    RoleGranted,
    RoleRevoked,
    Roles,
)
from ledger.contract.standard.token import (
    Approval,
    ERC20InsufficientAllowance,
    ERC20InsufficientBalance,
    ERC20InvalidApprover,
    ERC20InvalidReceiver,
    ERC20InvalidSender,
    ERC20InvalidSpender,
    Token,
    Transfer,
)

__all__ = [
    *_api,
    "DEFAULT_ADMIN_ROLE",
    "AccessControlBadConfirmation",
    "AccessControlUnauthorizedAccount",
    "Approval",
    "ERC20InsufficientAllowance",
    "ERC20InsufficientBalance",
    "ERC20InvalidApprover",
    "ERC20InvalidReceiver",
    "ERC20InvalidSender",
    "ERC20InvalidSpender",
    "EnforcedPause",
    "ExpectedPause",
    "Ownable",
    "OwnableInvalidOwner",
    "OwnableUnauthorizedAccount",
    "OwnershipTransferred",
    "Pausable",
    "Paused",
    "RoleAdminChanged",
    "RoleGranted",
    "RoleRevoked",
    "Roles",
    "Token",
    "Transfer",
    "Unpaused",
]
