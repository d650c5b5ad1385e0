"""What the network contract says: who validates, connects, transacts, deploys; coming rules.

The contract stands at a fixed address with fixed slots (`contracts_py/network.py` declares them in
this order), so that engine, transition and a light client read it without running it. A chain
whose genesis has no network contract keeps its first validators and lets everybody deploy: that is
a chain in memory, never a network made by the command line.

Overrides, in everybody's network file, are the way out of one that has lost too many validators for
ever: from its height on an override's validators decide. The list in the contract is rewritten
before that block runs, so that votes and later changes go on from there; mixHash of the block
before stays what it was. How a light client follows one is in `light`. Source: DESIGN.md section 4.
"""

from collections.abc import Callable
from typing import Protocol

from ledger.block import VALIDATORS_MAX, Header, validators_hash
from ledger.crypto.keccak import keccak256
from ledger.errors import GenesisError
from ledger.genesis import NETWORK_CONTRACT, Genesis
from ledger.state.state import State
from ledger.types import Address, Hash32, Height, Slot, Word

VALIDATORS_SLOT = 0
NODES_SLOT = 1
DEPLOYERS_SLOT = 2
FLAGS_SLOT = 3  # from the right: administrator, anyone_deploys @20, accounts_only, owners_upgrade
ACCOUNTS_SLOT = 4
ADMINISTRATORS_SLOT = 5
CANDIDATES_SLOT = 6
RULES_SLOT = 7  # from the right: height in bytes 0 to 7, version in 8 to 11
UPGRADES_SLOT = 8
ADMINISTRATORS_MAX = 32
CANDIDATES_MAX = 200
RULES_MAX = 1_000  # more changes of the rules than a chain will ever see
FIRST_RULES = 1


class StorageReader(Protocol):
    """The part of a state that permissions are read from."""

    def get_storage(self, address: Address, slot: Slot) -> Word: ...


class Storage(StorageReader, Protocol):
    """What an override writes into."""

    def set_storage(self, address: Address, slot: Slot, value: Word) -> None: ...


def read_validators(state: StorageReader) -> tuple[Address, ...] | None:
    """The validators for the next height, sorted; None where the list is empty or ill-formed.

    Ill-formed is a list longer than VALIDATORS_MAX, or with a zero or repeated address. The caller
    then keeps the old set, so that no transaction can leave a network without validators.
    """
    count = state.get_storage(NETWORK_CONTRACT, _slot(VALIDATORS_SLOT))
    if not 0 < count <= VALIDATORS_MAX:
        return None
    members = set(_read_array(state, VALIDATORS_SLOT, VALIDATORS_MAX))
    if len(members) != count or 0 in members or max(members) >= 2**160:
        return None
    return tuple(member.to_bytes(20, "big") for member in sorted(members))


def may_connect(state: StorageReader, node: Address) -> bool:
    """Whether a node is on the list of allowed nodes; validators always are."""
    if _in_mapping(state, NODES_SLOT, node):
        return True
    validators = read_validators(state)
    return validators is not None and node in validators


def read_candidates(state: StorageReader) -> tuple[Address, ...]:
    """Who was voted in as a validator and is not ready yet; these may connect as nodes."""
    return _read_addresses(state, CANDIDATES_SLOT, CANDIDATES_MAX)


def may_transact(state: StorageReader, account: Address) -> bool:
    """Whether an account may send transactions; who has a vote, or waits for one, always may."""
    flags = state.get_storage(NETWORK_CONTRACT, _slot(FLAGS_SLOT))
    if not flags >> 168 & 0xFF or _in_mapping(state, ACCOUNTS_SLOT, account):
        return True
    return (
        account in _read_addresses(state, ADMINISTRATORS_SLOT, ADMINISTRATORS_MAX)
        or account in (read_validators(state) or ())
        or account in read_candidates(state)
    )


def may_deploy(state: StorageReader, account: Address) -> bool:
    """Whether an account may create contracts."""
    if not is_permissioned(state):
        return True
    flags = state.get_storage(NETWORK_CONTRACT, _slot(FLAGS_SLOT))
    return bool(flags >> 160 & 0xFF) or _in_mapping(state, DEPLOYERS_SLOT, account)


def read_rules(state: StorageReader) -> tuple[tuple[Height, int], ...]:
    """From which height on which version of the rules holds, as scheduled, heights rising."""
    words = _read_array(state, RULES_SLOT, RULES_MAX)
    return tuple((word & 2**64 - 1, word >> 64 & 2**32 - 1) for word in words)


def find_rules_version(rules: tuple[tuple[Height, int], ...], height: Height) -> int:
    """The version of the rules for a block by what its parent's state schedules."""
    version = FIRST_RULES
    for start, scheduled in rules:
        if start <= height:
            version = scheduled
    return version


def upgrade_slot(contract: Address) -> Slot:
    """Where the code hash stands that the voters approved for a contract."""
    return _mapping_slot(UPGRADES_SLOT, contract)


def read_upgrade(state: StorageReader, contract: Address) -> Hash32 | None:
    """keccak of the source that may replace that of a contract; None where there is none."""
    digest = state.get_storage(NETWORK_CONTRACT, upgrade_slot(contract))
    return digest.to_bytes(32, "big") if digest else None


def write_validators(state: Storage, validators: tuple[Address, ...]) -> None:
    """Put other validators in the place of those in the contract: what an override does."""
    first = int.from_bytes(keccak256(_slot(VALIDATORS_SLOT)), "big")
    count = state.get_storage(NETWORK_CONTRACT, _slot(VALIDATORS_SLOT))
    state.set_storage(NETWORK_CONTRACT, _slot(VALIDATORS_SLOT), len(validators))
    for index in range(max(min(count, VALIDATORS_MAX), len(validators))):
        member = validators[index] if index < len(validators) else b""
        value = int.from_bytes(member, "big")
        state.set_storage(NETWORK_CONTRACT, _slot((first + index) % 2**256), value)


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


def owners_upgrade(state: StorageReader) -> bool:
    """Whether the owner of a contract may replace its source without the voters."""
    if not is_permissioned(state):
        return True
    return bool(state.get_storage(NETWORK_CONTRACT, _slot(FLAGS_SLOT)) >> 176 & 0xFF)


def is_permissioned(state: StorageReader) -> bool:
    """Whether this chain has a network contract."""
    return state.get_storage(NETWORK_CONTRACT, _slot(VALIDATORS_SLOT)) != 0


def _slot(number: int) -> Slot:
    return number.to_bytes(32, "big")


def _mapping_slot(base: int, key: Address) -> Slot:
    """A Solidity mapping(address => value): the value stands at keccak(key . base)."""
    return keccak256(key.rjust(32, b"\0") + _slot(base))


def _in_mapping(state: StorageReader, base: int, key: Address) -> bool:
    return state.get_storage(NETWORK_CONTRACT, _mapping_slot(base, key)) != 0


def _read_array(state: StorageReader, base: int, most: int) -> list[Word]:
    """A Solidity array of words, at most so many: its length at `base`, then from keccak(base)."""
    count = min(state.get_storage(NETWORK_CONTRACT, _slot(base)), most)
    first = int.from_bytes(keccak256(_slot(base)), "big") if count else 0
    return [
        state.get_storage(NETWORK_CONTRACT, _slot((first + index) % 2**256))
        for index in range(count)
    ]


def _read_addresses(state: StorageReader, base: int, most: int) -> tuple[Address, ...]:
    return tuple((word % 2**160).to_bytes(20, "big") for word in _read_array(state, base, most))
