"""An upgrade through web3.py: an ordinary transaction to the system address, by its JSON ABI."""

import pytest
from web3 import Web3
from web3.exceptions import ContractCustomError

from ledger.contract.artifact import build_artifact
from ledger.contract.upgrade import ABI, UPGRADES
from ledger.crypto.address import to_checksum
from ledger.crypto.keccak import keccak256
from ledger.genesis import NETWORK_CONTRACT
from tests.clients.test_web3py import account, send
from tests.contracts_py.sources import read_contract
from tests.devnets import Devnet

FIRST = b"""
from ledger.contract import Contract, uint256, write, view


class Counter(Contract):
    _count: uint256

    @write
    def add(self) -> None:
        self._count = self._count + 1

    @view
    def count(self) -> uint256:
        return self._count
"""
SECOND = FIRST.replace(b"+ 1", b"+ 10").replace(
    b"count: uint256\n", b"count: uint256\n    by: uint256\n"
)


def test_a_contract_is_upgraded_from_web3(devnet: Devnet) -> None:
    w3 = Web3(Web3.HTTPProvider(devnet.url))
    owner = account(0)
    artifact = build_artifact(FIRST)
    made = send(
        w3, owner, w3.eth.contract(abi=artifact["abi"], bytecode=artifact["bytecode"]).constructor()
    )
    counter = w3.eth.contract(address=made["contractAddress"], abi=artifact["abi"])
    upgrades = w3.eth.contract(address=to_checksum(UPGRADES), abi=ABI)
    network = w3.eth.contract(
        address=to_checksum(NETWORK_CONTRACT), abi=build_artifact(read_contract("network"))["abi"]
    )
    send(w3, owner, counter.functions.add())
    assert upgrades.functions.ownerOf(counter.address).call() == owner.address

    with pytest.raises(ContractCustomError) as refused:
        upgrades.functions.upgrade(counter.address, SECOND).estimate_gas({"from": owner.address})
    assert refused.value.data.startswith("0x" + keccak256(b"NotAllowed(address,address)")[:4].hex())

    send(w3, owner, network.functions.upgrade(counter.address, keccak256(SECOND)))
    receipt = send(w3, account(1), upgrades.functions.upgrade(counter.address, SECOND))
    assert receipt["status"] == 1
    (event,) = upgrades.events.Upgraded().process_receipt(receipt)
    assert event["args"]["newCodeHash"] == keccak256(SECOND)

    send(w3, owner, counter.functions.add())
    assert counter.functions.count().call() == 11
    heights, hashes = upgrades.functions.sources(counter.address).call()
    assert heights == [made["blockNumber"], receipt["blockNumber"]]
    assert hashes == [keccak256(FIRST), keccak256(SECOND)]
    listed = w3.provider.make_request("wattledger_getSources", [counter.address])["result"]
    assert [each["source"] for each in listed] == [FIRST.decode(), SECOND.decode()]

    wrong = FIRST.replace(b"_count", b"_tally")
    send(w3, owner, network.functions.upgrade(counter.address, keccak256(wrong)))
    with pytest.raises(ContractCustomError) as refused:
        upgrades.functions.upgrade(counter.address, wrong).estimate_gas({"from": owner.address})
    reason = bytes.fromhex(refused.value.data[10:])
    assert b"count (uint256, slot 0 byte 0) is gone: keep it" in reason
