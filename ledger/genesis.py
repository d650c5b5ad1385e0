"""The network file: what every node of a network must agree on before the first block.

It is a JSON object with exactly the keys of `Genesis`; addresses are 0x and 40 digits, amounts of
wei decimal text (a JSON number above 2**53 is not safe in every program). The genesis *block* is
made of it in `chain`, which has state and contracts; its extraData is `settings_hash`, so that two
files that differ in a rule are two networks. Overrides may be added later and are in no hash: the
operators agree on them, in everybody's file, where too many validators are lost for ever.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from ledger.block import VALIDATORS_MAX
from ledger.crypto.address import ZERO_ADDRESS, parse_address, to_checksum
from ledger.crypto.keccak import keccak256
from ledger.encoding.hexadecimal import decode_data, encode_data
from ledger.errors import EncodingError, GenesisError, InvalidKey
from ledger.types import Address, Hash32, Height

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
    gas_limit: int = 15_000_000
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
                raise _expected(key, f"an integer from {least} to {most}{unit}", value)
        if type(self.name) is not str or not 0 < len(self.name) <= NAME_CHARACTERS_MAX:
            raise _expected("name", f"a text of 1 to {NAME_CHARACTERS_MAX} characters", self.name)
        if self.consensus not in ENGINES:
            raise _expected("consensus", " or ".join(ENGINES), self.consensus)
        if self.consensus != "pow" and self.difficulty != 1:
            raise _expected("difficulty", 'only with consensus "pow"', self.difficulty)
        if type(self.simulated) is not bool:
            raise _expected("simulated", "true or false", self.simulated)
        if self.round_timeout_ms_max < self.round_timeout_ms:
            wanted = f"at least round_timeout_ms, {self.round_timeout_ms}"
            raise _expected("round_timeout_ms_max", wanted, self.round_timeout_ms_max)
        _check_validators("validators", self.validators)
        if sum(self.alloc.values()) > WEI_MAX:
            raise _expected("alloc", "less than 2**256 wei in all", sum(self.alloc.values()))
        addresses = [contract.address for contract in self.contracts]
        if len(set(addresses)) != len(addresses):
            raise _expected("contracts", "each address once", len(addresses))
        if self.overrides and self.consensus != "qbft":
            raise _expected("overrides", "none: who mines needs nobody's vote", len(self.overrides))
        last = 0
        for override in self.overrides:
            if type(override.height) is not int or not last < override.height <= HEIGHT_MAX:
                raise _expected("overrides", "heights from 1 on, each above the one before", last)
            _check_validators("overrides", override.validators)
            last = override.height

    def settings_hash(self) -> Hash32:
        """keccak of the rules in canonical JSON: what else there is stands in the state, but for
        overrides, which come later."""
        rules = self.to_json()
        for key in ("validators", "alloc", "contracts", "overrides"):
            del rules[key]
        return keccak256(json.dumps(rules, sort_keys=True, separators=(",", ":")).encode())

    def to_json(self) -> dict[str, Any]:
        """The object that `from_json` reads."""
        values: dict[str, Any] = {item.name: getattr(self, item.name) for item in fields(self)}
        if self.consensus != "pow":
            del values["difficulty"]
        values["validators"] = [to_checksum(member) for member in self.validators]
        values["alloc"] = {to_checksum(key): str(wei) for key, wei in self.alloc.items()}
        values["contracts"] = [
            {
                "address": to_checksum(contract.address),
                "source": contract.source.decode("ascii"),
                "arguments": encode_data(contract.arguments),
            }
            for contract in self.contracts
        ]
        values["overrides"] = [
            {"height": one.height, "validators": [to_checksum(who) for who in one.validators]}
            for one in self.overrides
        ]
        return values

    @classmethod
    def from_json(cls, values: object) -> "Genesis":
        """The network that a decoded JSON object describes; keys with a default may be left out.

        Raises GenesisError naming the key and what was expected there.
        """
        required = {
            item.name
            for item in fields(cls)
            if item.default is MISSING and item.default_factory is MISSING
        }
        read = _read_object("network file", values, {item.name for item in fields(cls)}, required)
        readers: dict[str, Callable[[str, Any], Any]] = {
            "validators": _read_addresses,
            "alloc": _read_alloc,
            "contracts": _read_contracts,
            "overrides": _read_overrides,
        }
        return cls(**{k: readers[k](k, v) if k in readers else v for k, v in read.items()})


def _read_overrides(key: str, value: object) -> tuple[Override, ...]:
    overrides: list[Override] = []
    for index, item in enumerate(_read_list(key, value)):
        where = f"{key}[{index}]"
        keys = {"height", "validators"}
        read = _read_object(where, item, keys, keys)
        members = _read_addresses(f"{where}.validators", read["validators"])
        overrides.append(Override(read["height"], tuple(sorted(members))))
    return tuple(overrides)


def _expected(key: str, what: str, got: object) -> GenesisError:
    return GenesisError(f"network file: {key}: expected {what}, got {got!r:.80}")


def _check_validators(key: str, validators: tuple[Address, ...]) -> None:
    if not 0 < len(validators) <= VALIDATORS_MAX:
        raise _expected(key, f"1 to {VALIDATORS_MAX} addresses", len(validators))
    if len(set(validators)) != len(validators) or ZERO_ADDRESS in validators:
        raise _expected(key, "addresses that are not zero, each once", "others")


def _read_object(key: str, value: object, known: set[str], required: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _expected(key, "a JSON object", value)
    for missing in sorted(required - value.keys()):
        raise GenesisError(f"network file: {missing}: missing in {key}")
    for unknown in sorted(value.keys() - known):
        raise _expected(key, f"only the keys {', '.join(sorted(known))}", unknown)
    return value


def _read_list(key: str, value: object) -> list[Any]:
    if not isinstance(value, list):
        raise _expected(key, "a list", value)
    return value


def _read_address(key: str, value: object) -> Address:
    try:
        return parse_address(value)  # type: ignore[arg-type]  # it says what is wrong with others
    except InvalidKey as error:
        raise GenesisError(f"network file: {key}: {error}") from error


def _read_addresses(key: str, value: object) -> tuple[Address, ...]:
    return tuple(
        _read_address(f"{key}[{index}]", item) for index, item in enumerate(_read_list(key, value))
    )


def _read_alloc(key: str, value: object) -> dict[Address, int]:
    if not isinstance(value, dict):
        raise _expected(key, "an object from address to wei", value)
    alloc: dict[Address, int] = {}
    for account, wei in value.items():
        where = f"{key}.{account}"
        address = _read_address(where, account)
        if address in alloc:
            raise _expected(where, "each address once", account)
        if not isinstance(wei, str) or not wei.isdecimal() or not wei.isascii() or len(wei) > 78:
            raise _expected(where, 'wei as decimal text, as "1000000000000000000"', wei)
        alloc[address] = int(wei)
    return alloc


def _read_contracts(key: str, value: object) -> tuple[GenesisContract, ...]:
    contracts: list[GenesisContract] = []
    for index, item in enumerate(_read_list(key, value)):
        where = f"{key}[{index}]"
        keys = {"address", "source", "arguments"}
        read = _read_object(where, item, keys, {"address", "source"})
        source, arguments = read["source"], read.get("arguments", "0x")
        if not isinstance(source, str) or not source.isascii() or len(source) > SOURCE_BYTES_MAX:
            wanted = f"a Python source in ASCII, at most {SOURCE_BYTES_MAX} bytes"
            raise _expected(f"{where}.source", wanted, source)
        try:
            data = decode_data(arguments)
        except EncodingError as error:
            raise GenesisError(f"network file: {where}.arguments: {error}") from error
        address = _read_address(f"{where}.address", read["address"])
        contracts.append(GenesisContract(address, source.encode("ascii"), data))
    return tuple(contracts)
