"""The third and fourth parameter of eth_call: accounts and a block that one call finds instead."""

from typing import Any

import pytest

from ledger.encoding import abi
from node.client import Client, RpcError

SOURCE = b'''"""Tells what it sees."""

from ledger.contract import Contract, uint64, uint256, view


class Clock(Contract):
    """Sees."""

    first: uint64

    @view
    def seen(self) -> tuple[uint64, uint64, uint256, uint64]:
        return self.block.timestamp, self.block.number, self.balance, self.first
'''
PAYLOAD = "0x" + (bytes.fromhex("ef574c01") + len(SOURCE).to_bytes(4, "big") + SOURCE).hex()
SEEN = "0x" + abi.selector("seen()").hex()
SOMEBODY = "0x" + "ab" * 20


@pytest.fixture(scope="module")
def clock(client: Client) -> str:
    request = {"from": client.call("eth_accounts")[0], "data": PAYLOAD}
    receipt = client.wait_for_receipt(client.call("eth_sendTransaction", request))
    assert receipt["status"] == "0x1", receipt
    return str(receipt["contractAddress"])


def see(client: Client, clock: str, *overrides: Any) -> tuple[int, ...]:
    raw = client.call("eth_call", {"to": clock, "data": SEEN}, "latest", *overrides)
    return abi.decode(["uint64", "uint64", "uint256", "uint64"], bytes.fromhex(raw[2:]))


def test_one_call_finds_another_block(client: Client, clock: str) -> None:
    time, number, *rest = see(client, clock)
    changed = {"time": hex(time + 3_600), "number": hex(number + 9), "feeRecipient": SOMEBODY}
    assert see(client, clock, {}, changed) == (time + 3_600, number + 9, *rest)
    assert see(client, clock, None, {"time": "0x1"})[0] == 1
    assert see(client, clock) == (time, number, *rest)  # nothing is left of it


def test_one_call_finds_other_accounts(client: Client, clock: str) -> None:
    before = see(client, clock)
    slot, word = "0x" + "00" * 32, "0x" + (77).to_bytes(32, "big").hex()
    changed = {clock: {"balance": "0x5", "stateDiff": {slot: word}}, SOMEBODY: {"nonce": "0x3"}}
    assert see(client, clock, changed)[2:] == (5, 77)
    assert see(client, clock) == before == (*before[:2], 0, 0)


def test_who_has_no_coins_can_be_lent_some(client: Client, clock: str) -> None:
    call = {"from": SOMEBODY, "to": "0x" + "cd" * 20, "value": "0x7"}
    with pytest.raises(RpcError, match="insufficient funds"):
        client.call("eth_call", call, "latest")
    assert client.call("eth_call", call, "latest", {SOMEBODY: {"balance": "0x7"}}) == "0x"
    assert client.call("eth_getBalance", SOMEBODY, "latest") == "0x0"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (({SOMEBODY: {"code": "0x00"}},), "'code' cannot be overridden here; balance, nonce"),
        (({SOMEBODY: {"state": {}}},), "'state' cannot be overridden here"),
        (({SOMEBODY[:-1]: {}},), "accounts"),
        (({SOMEBODY: {"stateDiff": {"0x0": "0x01"}}},), "want 64"),
        (({}, {"coinbase": SOMEBODY}), "'coinbase' cannot be overridden here"),
        (({}, {"time": hex(2**64)}), "number and time are at most"),
        (({f"0x{index:040x}": {} for index in range(1, 102)},), "101 accounts, at most 100"),
    ],
)
def test_what_cannot_be_overridden_is_said(
    client: Client, clock: str, overrides: tuple[Any, ...], words: str
) -> None:
    with pytest.raises(RpcError, match=words) as caught:
        see(client, clock, *overrides)
    assert caught.value.code == -32602


@pytest.mark.parametrize("field, value", [("balance", 2**240 + 1), ("nonce", 2**64 - 1)])
def test_no_account_has_so_much_that_running_the_call_is_a_fault(
    client: Client, clock: str, field: str, value: int
) -> None:
    """A sum above 2**256, and a nonce that no frame to the worker holds, stopped the node."""
    with pytest.raises(RpcError, match=f"{field} is at most"):
        see(client, clock, {clock: {field: hex(value)}})
    see(client, clock, {clock: {field: hex(value - 1)}})
