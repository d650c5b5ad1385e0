"""The way out of a network that has lost too many validators for ever: what an override does.

An override stands in everybody's network file: from its height on its validators decide, whatever
the chain says. The list in the network contract is rewritten before that block runs, so that votes
and later changes go on from there; mixHash of the block before stays what it was. Not here: where
overrides are read (`genesis`), how a light client follows one
(`light`). Source: DESIGN.md section 4.
"""

from collections.abc import Callable

from ledger.block import Header, validators_hash
from ledger.errors import GenesisError
from ledger.genesis import Genesis
from ledger.permissions import is_permissioned, write_validators
from ledger.state.state import State
from ledger.types import Address, Height


def find_validators(genesis: Genesis, height: Height) -> tuple[Address, ...] | None:
    """Who decides a block by the network file; None where the chain says it."""
    return next((one.validators for one in genesis.overrides if one.height == height), None)


def apply_override(genesis: Genesis, state: State, height: Height) -> State:
    """Give the state that block `height` runs on the validators of its override, if it has one."""
    validators = find_validators(genesis, height)
    if validators is not None and is_permissioned(state):
        write_validators(state, validators)
    return state


def check_overrides(genesis: Genesis, head: Height, get_header: Callable[[Height], Header]) -> None:
    """Refuse an override of a block that is here and was decided by others. Raises GenesisError."""
    for override in genesis.overrides:
        if override.height <= head:
            header = get_header(override.height)
            if header.extra_data != validators_hash(override.validators):
                raise GenesisError(
                    f"network file: overrides: block {override.height} is here already and was "
                    f"decided by others; an override can be of block {head + 1} at the earliest"
                )
