"""What people's clients call: names, arguments and their types as the published systems have them.

A selector is the hash of a name and its argument types: with uint64 in the place of uint256 a
client written for the published contract reaches nothing. So they are spelled out here once more.
"""

import re

import pytest

from ledger.contract.artifact import build_artifact
from tests.contracts_py.sources import read_contract

# As in Solidity; what has no name there has none here. "event" and "view" as the ABI says it.
PUBLISHED = {
    "wattcoin": (
        "buy(uint256) payable",
        "offer(uint256 amount, uint256 pricePerToken)",
        "accept(uint256 offerId, uint256 amount) payable",
        "cancel(uint256)",
        "meterUpdate(uint256 value, bytes signature)",
        "exhaust(uint256 usageWh)",
        "supplyAllowed(address meter) view returns (bool)",
        "setPolicy(bool on, uint256 powerSavingW)",
        "powerSaving(address meter) view returns (bool)",
        "event PolicyChanged(address account, bool on, uint256 powerSavingW)",
        "event Exhausted(address meter, address account, uint256 debt)",
        # ERC-20 and EIP-2612
        "name() view returns (string)",
        "symbol() view returns (string)",
        "decimals() view returns (uint8)",
        "totalSupply() view returns (uint256)",
        "balanceOf(address) view returns (uint256)",
        "allowance(address, address) view returns (uint256)",
        "transfer(address, uint256) returns (bool)",
        "approve(address, uint256) returns (bool)",
        "transferFrom(address, address, uint256) returns (bool)",
        "event Transfer(address, address, uint256)",
        "event Approval(address, address, uint256)",
        "permit(address owner, address spender, uint256 value, uint256 deadline, uint8 v,"
        " bytes32 r, bytes32 s)",
        "nonces(address owner) view returns (uint256)",
        "DOMAIN_SEPARATOR() view returns (bytes32)",
        "supportsInterface(bytes4) view returns (bool)",
    ),
    "microgrid": (
        "owner() view returns (address)",
        "addRegulator(address)",
        "removeRegulator(address)",
        "addProducer(address, string site)",
        "removeProducer(address)",
        "addConsumer(address, string site)",
        "removeConsumer(address)",
        "availableEnergyAdvert(uint256 energyWh, uint256 proposedPrice)",
        "requestForEnergy(uint256 energyWh, uint256 advertTime, uint256 proposedPrice,"
        " address producer) payable",
    ),
    "payment_channel": (
        "open(address recipient, uint256 validUntil) payable",
        "topUp(uint256 id) payable",
        "close(uint256 id, uint256 amount, bytes signature)",
        "reclaim(uint256 id)",
    ),
    "el_dapp": (
        "setUsage(uint256)",
        "setBill(uint256)",
        "setDebt(uint256, uint256, address)",
        "getUsage(address) view returns (uint256)",
        "getBill(address) view returns (uint256)",
        "addUser(address)",
        "removeUser(address)",
    ),
}
LINE = re.compile(r"(event )?(\w+)\((.*?)\)( payable| view)?(?: returns \((\w+)\))?")


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_calls_are_there_by_their_exact_selectors(name: str) -> None:
    entries = build_artifact(read_contract(name))["abi"]
    for line in PUBLISHED[name]:
        match = LINE.fullmatch(line)
        assert match, line
        event, called, arguments, mutability, returned = match.groups()
        wanted = [argument.split() for argument in arguments.split(", ") if argument]
        (entry,) = [
            entry
            for entry in entries
            if entry.get("name") == called
            and entry["type"] == ("event" if event else "function")
            and [each["type"] for each in entry["inputs"]] == [each[0] for each in wanted]
        ]
        for given, (_, *named) in zip(entry["inputs"], wanted, strict=True):
            assert not named or given["name"] == named[0], line
        if event:
            continue
        assert entry["stateMutability"] == (mutability or " nonpayable").strip(), line
        if returned:
            assert [each["type"] for each in entry["outputs"]] == [returned], line
