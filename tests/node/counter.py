"""A contract that counts, for tests of JSON-RPC, and how they call it."""

from typing import Any

import pytest

from ledger.encoding import abi
from node.client import Client, RpcError

CHAIN_ID = 1947
GAS = 2_000_000
SOURCE = b'''"""A counter that says what it did."""

from ledger.contract import Contract, Event, Map, Revert, address, indexed, uint64, view, write


class Added(Event):
    who: indexed[address]
    amount: uint64


class TooMuch(Revert):
    amount: uint64


class Counter(Contract):
    """Counts."""

    total: uint64
    parts: Map[address, uint64]

    @write
    def add(self, amount: uint64) -> None:
        if amount > 1000:
            raise TooMuch(amount)
        self.total += amount
        self.parts[self.msg.sender] += amount
        self.emit(Added(self.msg.sender, amount))

    @view
    def divide(self, by: uint64) -> uint64:
        return 100 // by

    @view
    def get_total(self) -> uint64:
        return self.total
'''
PAYLOAD = bytes.fromhex("ef574c01") + len(SOURCE).to_bytes(4, "big") + SOURCE
STRANGER_KEY = b"\x77" * 32


def data_of(text: str, *values: Any) -> str:
    types = text[text.index("(") + 1 : -1]
    encoded = abi.encode(types.split(",") if types else [], list(values))
    return "0x" + (abi.selector(text) + encoded).hex()


def send(client: Client, sender: str, to: str, data: str, **fields: Any) -> dict[str, Any]:
    request = {"from": sender, "to": to, "data": data} | fields
    return client.wait_for_receipt(client.call("eth_sendTransaction", request))


def error_of(client: Client, method: str, *params: Any) -> RpcError:
    with pytest.raises(RpcError) as caught:
        client.call(method, *params)
    return caught.value
