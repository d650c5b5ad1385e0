"""The contracts that a source may import and build on: Ownable, Pausable, Roles, Token.

What belongs here: which module of `standard` declares which name, its text, and what compiling it
costs. The text is part of the rules: a chain that runs another text runs other contracts, so a
change of it is another rules version.
"""

import re
from functools import cache
from importlib.util import find_spec

from ledger.contract.gas import GAS_SOURCE_TOKEN

LIBRARY: dict[str, str] = {
    **dict.fromkeys(
        ("Ownable", "OwnershipTransferred", "OwnableUnauthorizedAccount", "OwnableInvalidOwner"),
        "ownable",
    ),
    **dict.fromkeys(
        ("Pausable", "Paused", "Unpaused", "EnforcedPause", "ExpectedPause"), "pausable"
    ),
    **dict.fromkeys(
        (
            "Roles",
            "RoleAdminChanged",
            "RoleGranted",
            "RoleRevoked",
            "AccessControlBadConfirmation",
            "AccessControlUnauthorizedAccount",
            "DEFAULT_ADMIN_ROLE",
        ),
        "roles",
    ),
    **dict.fromkeys(
        (
            "Token",
            "Transfer",
            "Approval",
            "ERC20InsufficientAllowance",
            "ERC20InsufficientBalance",
            "ERC20InvalidApprover",
            "ERC20InvalidReceiver",
            "ERC20InvalidSender",
            "ERC20InvalidSpender",
        ),
        "token",
    ),
}
"""Each name with the module of `ledger.contract.standard` that declares it."""
_TOKEN = re.compile(rb"\w+|[^\w\s]", re.ASCII)


@cache
def read_library(module: str) -> tuple[bytes, str]:
    """The text of a module and the path it is shown under."""
    spec = find_spec(f"ledger.contract.standard.{module}")
    loader = spec.loader if spec else None
    text = getattr(loader, "get_source", lambda name: None)(spec.name if spec else "")
    if spec is None or text is None:
        raise FileNotFoundError(f"this installation lacks the text of {module}.py")
    return text.encode("ascii"), spec.origin or f"<{module}>"


def price_libraries(source: bytes) -> int:
    """Gas for compiling what a source builds on, told by its words alone, before it is read."""
    modules = {LIBRARY[name] for name in LIBRARY if re.search(rb"\b%s\b" % name.encode(), source)}
    return sum([_price_library(module) for module in modules])


@cache
def _price_library(module: str) -> int:
    return GAS_SOURCE_TOKEN * len(_TOKEN.findall(read_library(module)[0]))
