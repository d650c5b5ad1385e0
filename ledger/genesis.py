"""What every node of a network must agree on before the first block.

The genesis *block* is made of it in `genesis_block`, which has state and contracts; its extraData
is `settings_hash`, so that two networks that differ in a rule have no block in common. Overrides
may be added later and are in no hash: the operators agree on them, in everybody's file, where too
many validators are lost for ever. Not here: how it is written in network.json (the node reads it).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ledger.block import VALIDATORS_MAX
from ledger.crypto.address import ZERO_ADDRESS
from ledger.crypto.keccak import keccak256
from ledger.errors import GenesisError
from ledger.types import Address, Hash32, Height

GAS_LIMIT = 24_000_000
"""Of a block by default. The worst operation takes 13 ns per gas of a server core: 0.31 s a block,
below a quarter of the 2 s that a round there begins with; 2.5 s on a Raspberry Pi, eight times
slower, a quarter of the 10 s to set there. The largest contract of ours is deployed with 15 M."""
NETWORK_CONTRACT: Address = (0x1001).to_bytes(20, "big")
"""Where genesis puts `contracts_py/network.py`: validators, nodes, deployers."""

CREATION_PREFIX = bytes.fromhex("ef574c01")
ENGINES = ("qbft", "pow")
DIFFICULTY_MAX = 2**53
NAME_CHARACTERS_MAX = 64
SOURCE_BYTES_MAX = 65_536  # of a contract; what calls accept is decided in `contract`
WEI_MAX = 2**256 - 1
HEIGHT_MAX = 2**53  # what JSON holds exactly

# Key -> least, most, unit. Chain ids above this are refused by MetaMask.
_INTEGERS = {
    "chain_id": (1, 4_503_599_627_370_476, ""),
    "timestamp": (0, 2**53, " (Unix seconds)"),
    "gas_limit": (21_000, 2**53, " (gas)"),
    "base_fee": (0, 2**53, " (wei)"),
    "block_period_ms": (0, 3_600_000, " (ms)"),
    "empty_block_period_s": (0, 31_536_000, " (s)"),
    "round_timeout_ms": (10, 600_000, " (ms)"),
    "round_timeout_ms_max": (10, 3_600_000, " (ms)"),
    "drift_s": (0, 86_400, " (s)"),
    "difficulty": (1, DIFFICULTY_MAX, " (hashes a block takes on average)"),
}


@dataclass(frozen=True, slots=True)
class GenesisContract:
    """A contract that stands from the first block: source and ABI-encoded constructor arguments."""

    address: Address
    source: bytes
    arguments: bytes = b""

    def payload(self) -> bytes:
        """The data of the creation that makes it (DESIGN.md section 3)."""
        return CREATION_PREFIX + len(self.source).to_bytes(4, "big") + self.source + self.arguments


@dataclass(frozen=True, slots=True)
class Override:
    """From `height` on these validators decide, whatever the chain says."""

    height: Height
    validators: tuple[Address, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Genesis:
    """Units stand in the names; `alloc` is wei. Raises GenesisError if it cannot be a network.

    `simulated` allows meters to run on simulated time. `difficulty` is proof of work's alone, where
    the timings of rounds and the block period mean nothing.
    """

    name: str
    chain_id: int
    timestamp: int
    validators: tuple[Address, ...]
    consensus: str = "qbft"
    gas_limit: int = GAS_LIMIT
    base_fee: int = 0
    block_period_ms: int = 1_000
    empty_block_period_s: int = 0
    round_timeout_ms: int = 2_000
    round_timeout_ms_max: int = 60_000
    drift_s: int = 10
    difficulty: int = 1
    simulated: bool = False
    alloc: Mapping[Address, int] = field(default_factory=dict)
    contracts: tuple[GenesisContract, ...] = ()
    overrides: tuple[Override, ...] = ()

    def __post_init__(self) -> None:
        for key, (least, most, unit) in _INTEGERS.items():
            value = getattr(self, key)
            if type(value) is not int or not least <= value <= most:
                raise expected(key, f"an integer from {least} to {most}{unit}", value)
        if type(self.name) is not str or not 0 < len(self.name) <= NAME_CHARACTERS_MAX:
            raise expected("name", f"a text of 1 to {NAME_CHARACTERS_MAX} characters", self.name)
        if self.consensus not in ENGINES:
            raise expected("consensus", " or ".join(ENGINES), self.consensus)
        if self.consensus != "pow" and self.difficulty != 1:
            raise expected("difficulty", 'only with consensus "pow"', self.difficulty)
        if type(self.simulated) is not bool:
            raise expected("simulated", "true or false", self.simulated)
        if self.round_timeout_ms_max < self.round_timeout_ms:
            wanted = f"at least round_timeout_ms, {self.round_timeout_ms}"
            raise expected("round_timeout_ms_max", wanted, self.round_timeout_ms_max)
        _check_validators("validators", self.validators)
        if sum(self.alloc.values()) > WEI_MAX:
            raise expected("alloc", "less than 2**256 wei in all", sum(self.alloc.values()))
        addresses = [contract.address for contract in self.contracts]
        if len(set(addresses)) != len(addresses):
            raise expected("contracts", "each address once", len(addresses))
        if self.overrides and self.consensus != "qbft":
            raise expected("overrides", "none: who mines needs nobody's vote", len(self.overrides))
        last = 0
        for override in self.overrides:
            if type(override.height) is not int or not last < override.height <= HEIGHT_MAX:
                raise expected("overrides", "heights from 1 on, each above the one before", last)
            _check_validators("overrides", override.validators)
            last = override.height

    def settings(self) -> dict[str, Any]:
        """The rules: all but what stands in the state, and overrides, which come later."""
        elsewhere = ["validators", "alloc", "contracts", "overrides"]
        if self.consensus != "pow":
            elsewhere.append("difficulty")
        names = [item.name for item in fields(self) if item.name not in elsewhere]
        return {name: getattr(self, name) for name in names}

    def settings_hash(self) -> Hash32:
        """keccak of the rules in canonical JSON."""
        text = json.dumps(self.settings(), sort_keys=True, separators=(",", ":"))
        return keccak256(text.encode())


def expected(key: str, what: str, got: object) -> GenesisError:
    """The error that names a key of the network file, what was expected there, and what is."""
    return GenesisError(f"network file: {key}: expected {what}, got {got!r:.80}")


def _check_validators(key: str, validators: tuple[Address, ...]) -> None:
    if not 0 < len(validators) <= VALIDATORS_MAX:
        raise expected(key, f"1 to {VALIDATORS_MAX} addresses", len(validators))
    if len(set(validators)) != len(validators) or ZERO_ADDRESS in validators:
        raise expected(key, "addresses that are not zero, each once", "others")
