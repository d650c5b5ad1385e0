"""The smallest contract that says who validates: slot 0 of the network contract's address."""

from ledger.encoding import abi
from ledger.genesis import NETWORK_CONTRACT, GenesisContract
from ledger.transaction import Transaction, sign_transaction
from tests.simulator.stand_ins import CHAIN_ID, KEYS

SOURCE = b'''
from ledger.contract import Array, Contract, address, write


class Roster(Contract):
    """Anybody may set the members here; who really may is the affair of contracts_py/network.py."""

    _members: Array[address]

    def __init__(self, members: list[address]) -> None:
        for member in members:
            self._members.append(member)

    @write
    def set_members(self, members: list[address]) -> None:
        while len(self._members) > 0:
            self._members.pop()
        for member in members:
            self._members.append(member)
'''


def make_roster(members: list[bytes]) -> GenesisContract:
    return GenesisContract(NETWORK_CONTRACT, SOURCE, abi.encode(["address[]"], [members]))


def set_members(sender: bytes, nonce: int, members: list[bytes]) -> Transaction:
    data = abi.selector("setMembers(address[])") + abi.encode(["address[]"], [members])
    return sign_transaction(
        KEYS[sender],
        chain_id=CHAIN_ID,
        nonce=nonce,
        to=NETWORK_CONTRACT,
        data=data,
        gas=5_000_000,
        gas_price=0,
    )
