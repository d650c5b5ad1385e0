"""The settings of a network as the JSON object that network.json holds, and back.

It has exactly the keys of `ledger.genesis.Genesis`; addresses are 0x and 40 digits, amounts of wei
decimal text (a JSON number above 2**53 is not safe in every program). Every error names the key and
what was expected there. Not here: "peers" and files (`network_files`), what a value may be
(`ledger.genesis`, which checks it).
"""

from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any

from ledger.crypto.address import parse_address, to_checksum
from ledger.encoding.hexadecimal import decode_data, encode_data
from ledger.errors import EncodingError, GenesisError, InvalidKey
from ledger.genesis import SOURCE_BYTES_MAX, Genesis, GenesisContract, Override, expected
from ledger.types import Address

WEI_DIGITS_MAX = 78
"""Of 2**256 - 1: longer text is refused before it is made a number, which takes its square."""
_REQUIRED = {
    item.name
    for item in fields(Genesis)
    if item.default is MISSING and item.default_factory is MISSING
}


def dump_genesis(genesis: Genesis) -> dict[str, Any]:
    """The object that `read_genesis` reads, ready for JSON."""
    values = {
        **genesis.settings(),
        "validators": [to_checksum(member) for member in genesis.validators],
        "alloc": {to_checksum(key): str(wei) for key, wei in genesis.alloc.items()},
        "contracts": [
            {
                "address": to_checksum(contract.address),
                "source": contract.source.decode("ascii"),
                "arguments": encode_data(contract.arguments),
            }
            for contract in genesis.contracts
        ],
        "overrides": [
            {"height": one.height, "validators": [to_checksum(who) for who in one.validators]}
            for one in genesis.overrides
        ],
    }
    return {item.name: values[item.name] for item in fields(Genesis) if item.name in values}


def read_genesis(values: object) -> Genesis:
    """The network that a decoded JSON object describes; keys with a default may be left out.

    Raises GenesisError naming the key and what was expected there.
    """
    known = {item.name for item in fields(Genesis)}
    read = _read_object("network file", values, known, _REQUIRED)
    readers: dict[str, Callable[[str, Any], Any]] = {
        "validators": _read_addresses,
        "alloc": _read_alloc,
        "contracts": _read_contracts,
        "overrides": _read_overrides,
    }
    return Genesis(**{k: readers[k](k, v) if k in readers else v for k, v in read.items()})


def _read_object(key: str, value: object, known: set[str], required: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise expected(key, "a JSON object", value)
    for missing in sorted(required - value.keys()):
        raise GenesisError(f"network file: {missing}: missing in {key}")
    for unknown in sorted(value.keys() - known):
        raise expected(key, f"only the keys {', '.join(sorted(known))}", unknown)
    return value


def _read_list(key: str, value: object) -> list[Any]:
    if not isinstance(value, list):
        raise expected(key, "a list", value)
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
        raise expected(key, "an object from address to wei", value)
    alloc: dict[Address, int] = {}
    for account, wei in value.items():
        where = f"{key}.{account}"
        address = _read_address(where, account)
        if address in alloc:
            raise expected(where, "each address once", account)
        if (
            not isinstance(wei, str)
            or not wei.isdecimal()
            or not wei.isascii()
            or len(wei) > WEI_DIGITS_MAX
        ):
            raise expected(where, 'wei as decimal text, as "1000000000000000000"', wei)
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
            raise expected(f"{where}.source", wanted, source)
        try:
            data = decode_data(arguments)
        except EncodingError as error:
            raise GenesisError(f"network file: {where}.arguments: {error}") from error
        address = _read_address(f"{where}.address", read["address"])
        contracts.append(GenesisContract(address, source.encode("ascii"), data))
    return tuple(contracts)


def _read_overrides(key: str, value: object) -> tuple[Override, ...]:
    overrides: list[Override] = []
    for index, item in enumerate(_read_list(key, value)):
        where = f"{key}[{index}]"
        keys = {"height", "validators"}
        read = _read_object(where, item, keys, keys)
        members = _read_addresses(f"{where}.validators", read["validators"])
        overrides.append(Override(read["height"], tuple(sorted(members))))
    return tuple(overrides)
