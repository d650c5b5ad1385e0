"""What contracts do, seen through JSON-RPC: calls, estimates, logs, filters."""

import pytest

from ledger.crypto.address import contract_address, to_checksum
from ledger.encoding import abi
from node.client import Client
from node.rpc import logs
from tests.node.counter import GAS, PAYLOAD, SOURCE, data_of, error_of, send

# Calls and estimates.


def test_a_revert_is_code_3_with_its_data(client: Client, counter: str) -> None:
    call = {"to": counter, "data": data_of("add(uint64)", 5_000)}
    for method in ("eth_call", "eth_estimateGas"):
        error = error_of(client, method, call)
        assert error.code == 3
        assert "execution reverted" in str(error)
        assert error.data == abi.selector("TooMuch(uint64)") + abi.encode(["uint64"], [5_000])
    unknown = error_of(client, "eth_call", {"to": counter, "data": "0x12345678"})
    assert unknown.code == 3
    assert unknown.data == b""


def test_a_panic_is_named(client: Client, counter: str) -> None:
    error = error_of(client, "eth_call", {"to": counter, "data": data_of("divide(uint64)", 0)})
    assert error.code == 3
    assert "execution reverted: division or modulo by zero (0x12)" in str(error)
    assert error.data == abi.selector("Panic(uint256)") + abi.encode(["uint256"], [0x12])


def test_a_failed_transaction_keeps_its_reason(
    client: Client, accounts: list[str], counter: str
) -> None:
    receipt = send(client, accounts[0], counter, data_of("add(uint64)", 2_000), gas=hex(GAS))
    assert receipt["status"] == "0x0"
    assert receipt["logs"] == []
    assert receipt["revertReason"].startswith("0x" + abi.selector("TooMuch(uint64)").hex())


def test_an_estimate_is_exact(client: Client, accounts: list[str], counter: str) -> None:
    request = {"from": accounts[0], "to": counter, "data": data_of("add(uint64)", 1)}
    gas = int(client.call("eth_estimateGas", request), 16)
    receipt = send(client, accounts[0], counter, request["data"], gas=hex(gas))
    assert receipt["status"] == "0x1"
    assert int(receipt["gasUsed"], 16) == gas
    gas = int(client.call("eth_estimateGas", request), 16)
    receipt = send(client, accounts[0], counter, request["data"], gas=hex(gas - 1))
    assert receipt["status"] == "0x0"
    assert client.call("eth_estimateGas", {"to": accounts[0], "from": accounts[1]}) == "0x5208"


def test_an_estimate_that_cannot_be(client: Client, accounts: list[str], counter: str) -> None:
    call = {"from": accounts[0], "to": counter, "data": data_of("add(uint64)", 1)}
    too_little = error_of(client, "eth_estimateGas", call | {"gas": hex(22_000)})
    assert "gas required exceeds allowance (22000)" in str(too_little)
    poor = error_of(client, "eth_estimateGas", call | {"value": hex(10**30)})
    assert "insufficient funds" in str(poor)
    out = error_of(client, "eth_call", call | {"gas": hex(22_000)})
    assert "out of gas" in str(out)
    low = error_of(client, "eth_call", call | {"gas": hex(20_000)})
    assert "intrinsic gas too low" in str(low)


def test_a_rejected_contract_is_told_by_rule_line_and_hint(
    client: Client, accounts: list[str]
) -> None:
    source = SOURCE.replace(b"self.total += amount", b"self.total += float(amount)")
    payload = PAYLOAD[:4] + len(source).to_bytes(4, "big") + source
    request = {"from": accounts[0], "data": "0x" + payload.hex()}
    error = error_of(client, "eth_estimateGas", request)
    assert "contract rejected: line " in str(error)
    line = SOURCE[: SOURCE.index(b"self.total +=")].count(b"\n") + 1
    assert f"line {line}," in str(error)
    sent = client.call("eth_sendTransaction", request | {"gas": hex(GAS * 4)})
    receipt = client.wait_for_receipt(sent)
    assert receipt["status"] == "0x0"
    assert "revertReason" not in receipt  # which rule it was is no consensus, so no receipt says it
    assert client.call("eth_getCode", receipt["contractAddress"]) == "0x"
    garbage = {"from": accounts[0], "data": "0x6080604052"}
    assert "contract rejected" in str(error_of(client, "eth_estimateGas", garbage))


def test_a_contract_stands_where_ethereum_would_put_it(client: Client, accounts: list[str]) -> None:
    nonce = int(client.call("eth_getTransactionCount", accounts[8], "latest"), 16)
    request = {"from": accounts[8], "data": "0x" + PAYLOAD.hex()}
    receipt = client.wait_for_receipt(client.call("eth_sendTransaction", request))
    expected = contract_address(bytes.fromhex(accounts[8][2:]), nonce)
    assert receipt["contractAddress"] == to_checksum(expected)
    assert receipt["to"] is None


# Logs and filters.


def test_logs_by_range_address_topic_and_block(
    client: Client, accounts: list[str], counter: str
) -> None:
    start = client.height() + 1
    receipts = [send(client, accounts[n], counter, data_of("add(uint64)", n + 1)) for n in range(3)]
    topic = "0x" + abi.topic("Added(address,uint64)").hex()
    who = "0x" + accounts[1][2:].lower().rjust(64, "0")
    base = {"fromBlock": hex(start), "address": counter}
    every = client.call("eth_getLogs", base)
    assert every == [log for receipt in receipts for log in receipt["logs"]]
    assert [int(log["data"], 16) for log in every] == [1, 2, 3]
    assert client.call("eth_getLogs", base | {"topics": [topic]}) == every
    assert client.call("eth_getLogs", base | {"topics": [None, who]}) == every[1:2]
    assert client.call("eth_getLogs", base | {"topics": [[topic, who], [who]]}) == every[1:2]
    assert client.call("eth_getLogs", base | {"topics": [who]}) == []
    assert client.call("eth_getLogs", base | {"topics": [topic, None, None]}) == []
    assert client.call("eth_getLogs", base | {"address": [accounts[0], counter]}) == every
    assert client.call("eth_getLogs", base | {"address": accounts[0]}) == []
    by_hash = {"blockHash": receipts[2]["blockHash"]}
    assert client.call("eth_getLogs", by_hash) == every[2:]
    assert client.call("eth_getLogs", base | {"toBlock": receipts[0]["blockNumber"]}) == every[:1]


def test_log_queries_are_bounded(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    above = {"fromBlock": hex(1 << 40), "toBlock": hex(1 << 41)}
    assert client.call("eth_getLogs", above) == []  # as far as there are blocks
    topic = "0x" + "11" * 32
    many = error_of(client, "eth_getLogs", {"topics": [[topic] * 1_001]})
    assert many.code == -32602
    assert "1001 choices of a topic, at most 1000" in str(many)
    five = error_of(client, "eth_getLogs", {"topics": [topic] * 5})
    assert "5 topics, at most 4" in str(five)
    both = error_of(client, "eth_getLogs", {"blockHash": topic, "fromBlock": "0x0"})
    assert both.code == -32602
    assert "unknown block" in str(error_of(client, "eth_getLogs", {"blockHash": topic}))
    upside_down = {"fromBlock": "0x5", "toBlock": "0x1"}
    assert error_of(client, "eth_getLogs", upside_down).code == -32602
    monkeypatch.setattr(logs, "RANGE_BLOCKS_MAX", 3)
    capped = error_of(client, "eth_getLogs", {"fromBlock": "0x0", "toBlock": "0x3"})
    assert capped.code == -32005
    assert "4 blocks, at most 3" in str(capped)
    monkeypatch.setattr(logs, "LOGS_MAX", 0)
    full = error_of(client, "eth_getLogs", {"fromBlock": hex(client.height()), "toBlock": "latest"})
    assert "more than 0 results" in str(full)


def test_filters_report_what_is_new_once(client: Client, accounts: list[str], counter: str) -> None:
    send(client, accounts[0], counter, data_of("add(uint64)", 1))
    log_filter = client.call("eth_newFilter", {"address": counter})
    block_filter = client.call("eth_newBlockFilter")
    pending_filter = client.call("eth_newPendingTransactionFilter")
    assert client.call("eth_getFilterChanges", log_filter) == []
    receipt = send(client, accounts[0], counter, data_of("add(uint64)", 2))
    assert client.call("eth_getFilterChanges", log_filter) == receipt["logs"]
    assert client.call("eth_getFilterChanges", log_filter) == []
    assert client.call("eth_getFilterChanges", block_filter) == [receipt["blockHash"]]
    assert client.call("eth_getFilterChanges", block_filter) == []
    assert client.call("eth_getFilterChanges", pending_filter) == [receipt["transactionHash"]]
    assert client.call("eth_getFilterLogs", log_filter) == receipt["logs"]
    assert client.call("eth_uninstallFilter", log_filter) is True
    assert client.call("eth_uninstallFilter", log_filter) is False
    assert "filter not found" in str(error_of(client, "eth_getFilterChanges", log_filter))
    assert "filter not found" in str(error_of(client, "eth_getFilterLogs", block_filter))
