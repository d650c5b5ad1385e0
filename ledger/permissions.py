"""What the network contract says: who validates, who may connect, who may deploy.

The contract stands at a fixed address with fixed slots (`contracts_py/network.py` declares them in
this order), so that engine, transition and a light client read it without running it. A chain
whose genesis has no network contract keeps its first validators and lets everybody deploy: that is
a chain in memory, never a network made by the command line.
"""

from typing import Protocol

from ledger.block import VALIDATORS_MAX
from ledger.crypto.keccak import keccak256
from ledger.genesis import NETWORK_CONTRACT
from ledger.types import Address, Slot, Word

VALIDATORS_SLOT = 0
NODES_SLOT = 1
DEPLOYERS_SLOT = 2
FLAGS_SLOT = 3  # administrator in bytes 0 to 19, anyone_deploys in byte 20, from the right


class StorageReader(Protocol):
    """The part of a state that permissions are read from."""

    def get_storage(self, address: Address, slot: Slot) -> Word: ...


def read_validators(state: StorageReader) -> tuple[Address, ...] | None:
    """The validators for the next height, sorted; None where the list is empty or ill-formed.

    Ill-formed is a list longer than VALIDATORS_MAX, or with a zero or repeated address. The caller
    then keeps the old set, so that no transaction can leave a network without validators.
    """
    count = state.get_storage(NETWORK_CONTRACT, _slot(VALIDATORS_SLOT))
    if not 0 < count <= VALIDATORS_MAX:
        return None
    first = int.from_bytes(keccak256(_slot(VALIDATORS_SLOT)), "big")
    members = {
        state.get_storage(NETWORK_CONTRACT, _slot((first + index) % 2**256))
        for index in range(count)
    }
    if len(members) != count or 0 in members or max(members) >= 2**160:
        return None
    return tuple(member.to_bytes(20, "big") for member in sorted(members))


def may_connect(state: StorageReader, node: Address) -> bool:
    """Whether a node is on the list of allowed nodes; validators always are."""
    if _in_mapping(state, NODES_SLOT, node):
        return True
    validators = read_validators(state)
    return validators is not None and node in validators


def may_deploy(state: StorageReader, account: Address) -> bool:
    """Whether an account may create contracts."""
    if not is_permissioned(state):
        return True
    flags = state.get_storage(NETWORK_CONTRACT, _slot(FLAGS_SLOT))
    return bool(flags >> 160 & 0xFF) or _in_mapping(state, DEPLOYERS_SLOT, account)


def is_permissioned(state: StorageReader) -> bool:
    """Whether this chain has a network contract."""
    return state.get_storage(NETWORK_CONTRACT, _slot(VALIDATORS_SLOT)) != 0


def _slot(number: int) -> Slot:
    return number.to_bytes(32, "big")


def _in_mapping(state: StorageReader, base: int, key: Address) -> bool:
    """A Solidity mapping(address => bool): the flag stands at keccak(key . base)."""
    return state.get_storage(NETWORK_CONTRACT, keccak256(key.rjust(32, b"\0") + _slot(base))) != 0
