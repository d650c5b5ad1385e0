"""Every method over HTTP against one running validator: what clients send, what they get."""

from collections.abc import Iterator
from typing import Any

import pytest

from ledger.crypto.address import address_of, contract_address, to_checksum
from ledger.encoding import abi
from ledger.transaction import sign_transaction
from node.client import Client, RpcError
from node.rpc import dispatch, logs
from node.rpc.context import Context
from node.rpc.parameters import BlockTag
from node.rpc.table import METHODS

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


@pytest.fixture(scope="module")
def client(one_node: Any) -> Iterator[Client]:
    made: Client = one_node.client()
    yield made
    made.close()


@pytest.fixture(scope="module")
def accounts(client: Client) -> list[str]:
    return list(client.call("eth_accounts"))


@pytest.fixture(scope="module")
def counter(client: Client, accounts: list[str]) -> str:
    """The address of a deployed Counter."""
    request = {"from": accounts[0], "data": "0x" + PAYLOAD.hex()}
    receipt = client.wait_for_receipt(client.call("eth_sendTransaction", request))
    assert receipt["status"] == "0x1", receipt
    return str(receipt["contractAddress"])


def send(client: Client, sender: str, to: str, data: str, **fields: Any) -> dict[str, Any]:
    request = {"from": sender, "to": to, "data": data} | fields
    return client.wait_for_receipt(client.call("eth_sendTransaction", request))


def error_of(client: Client, method: str, *params: Any) -> RpcError:
    with pytest.raises(RpcError) as caught:
        client.call(method, *params)
    return caught.value


# What every wallet asks first.


def test_what_wallets_detect_a_network_by(client: Client) -> None:
    assert client.call("eth_chainId") == "0x79b"
    assert client.call("net_version") == "1947"
    assert client.call("eth_gasPrice") == "0x0"
    assert client.call("eth_maxPriorityFeePerGas") == "0x0"
    block = client.call("eth_getBlockByNumber", "latest", False)
    assert block["baseFeePerGas"] == "0x0"
    assert len(block["extraData"]) == 66
    assert block["totalDifficulty"] == hex(int(block["number"], 16) + 1)
    history = client.call("eth_feeHistory", "0x5", "latest", [10, 90])
    assert set(history["baseFeePerGas"]) == {"0x0"}
    assert len(history["reward"]) == len(history["gasUsedRatio"])
    assert client.call("eth_feeHistory", 2, "latest")["oldestBlock"]
    assert client.call("eth_syncing") is False


def test_what_an_esp32_asks(client: Client) -> None:
    assert client.call("web3_clientVersion").startswith("Wattledger/v")
    empty = "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    assert client.call("web3_sha3", "0x") == empty
    assert client.call("net_listening") is True
    assert client.call("net_peerCount") == "0x0"
    assert client.call("eth_protocolVersion") == "0x41"
    assert client.call("eth_mining") is True
    assert client.call("eth_hashrate") == "0x0"
    assert len(client.call("eth_coinbase")) == 42


def test_every_method_of_the_table_answers_something(client: Client) -> None:
    """With no parameters at all: a result or -32602, never an internal error."""
    for name in METHODS:
        try:
            client.call(name)
        except RpcError as error:
            assert error.code in (-32602, -32601), f"{name}: {error}"


# Blocks, transactions, receipts.


def test_a_transaction_from_raw_bytes_to_receipt(one_node: Any, client: Client) -> None:
    key = one_node.keys[one_node.accounts[3]]
    sender, to = one_node.accounts[3], one_node.accounts[4]
    for kind in (0, 1, 2):
        nonce = client.next_nonce(sender)
        price = {"gas_price": 0} if kind < 2 else {"max_fee": 0}
        transaction = sign_transaction(
            key, chain_id=CHAIN_ID, nonce=nonce, to=to, gas=30_000, value=5, type=kind, **price
        )
        sent = client.call("eth_sendRawTransaction", "0x" + transaction.raw.hex())
        assert sent == "0x" + transaction.hash.hex()
        receipt = client.wait_for_receipt(sent)
        assert receipt["status"] == "0x1"
        assert receipt["type"] == hex(kind)
        assert receipt["gasUsed"] == receipt["cumulativeGasUsed"] == "0x5208"
        assert receipt["effectiveGasPrice"] == "0x0"
        assert receipt["from"] == to_checksum(sender)
        found = client.call("eth_getTransactionByHash", sent)
        assert found["blockHash"] == receipt["blockHash"]
        assert found["nonce"] == hex(nonce)
        assert found["v"] == (
            hex(35 + 2 * CHAIN_ID + transaction.y_parity) if kind == 0 else found["yParity"]
        )
        raw = client.call("eth_getRawTransactionByHash", sent)
        assert raw == "0x" + transaction.raw.hex()
        block = client.call("eth_getBlockByHash", receipt["blockHash"], True)
        assert block["transactions"] == [found]
        hashes = client.call("eth_getBlockByNumber", receipt["blockNumber"], False)
        assert hashes["transactions"] == [sent]
        assert client.call("eth_getBlockReceipts", receipt["blockNumber"]) == [receipt]
        assert client.call("eth_getBlockReceipts", {"blockHash": receipt["blockHash"]}) == [receipt]
        for method, where in (("Number", receipt["blockNumber"]), ("Hash", receipt["blockHash"])):
            indexed = client.call(f"eth_getTransactionByBlock{method}AndIndex", where, "0x0")
            assert indexed == found
            assert client.call(f"eth_getTransactionByBlock{method}AndIndex", where, "0x1") is None
            assert client.call(f"eth_getBlockTransactionCountBy{method}", where) == "0x1"
            indexed = client.call(f"eth_getRawTransactionByBlock{method}AndIndex", where, "0x0")
            assert indexed == raw
            assert (
                client.call(f"eth_getRawTransactionByBlock{method}AndIndex", where, "0x1") is None
            )
            assert client.call(f"eth_getUncleCountByBlock{method}", where) == "0x0"


def test_what_is_not_there_is_null(client: Client) -> None:
    nothing = "0x" + "12" * 32
    assert client.call("eth_getTransactionReceipt", nothing) is None
    assert client.call("eth_getTransactionByHash", nothing) is None
    assert client.call("eth_getRawTransactionByHash", nothing) is None
    assert client.call("eth_getBlockByHash", nothing, False) is None
    assert client.call("eth_getBlockByNumber", "0xffffff", False) is None
    assert client.call("eth_getBlockReceipts", "0xffffff") is None
    assert error_of(client, "eth_getBalance", "0x" + "11" * 20, "0xffffff").code == -32000


def test_a_client_that_waits_for_a_receipt_of_a_busy_node_is_told_to_ask_again(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """web3.py and ethers ask again after null and give up after an error."""
    monkeypatch.setattr(dispatch, "OLD_WAITING_MAX", 0)
    unknown = "0x" + "12" * 32
    assert client.call("eth_getTransactionReceipt", unknown) is None
    assert error_of(client, "eth_getTransactionByHash", unknown).code == -32005


def test_a_transaction_behind_a_gap_waits_and_then_flows(one_node: Any, client: Client) -> None:
    sender = one_node.accounts[5]
    key = one_node.keys[sender]

    def raw(nonce: int) -> str:
        made = sign_transaction(
            key, chain_id=CHAIN_ID, nonce=nonce, to=sender, gas=21_000, gas_price=0
        )
        return "0x" + made.raw.hex()

    first = client.next_nonce(sender)
    later = client.call("eth_sendRawTransaction", raw(first + 1))
    assert client.call("eth_getTransactionReceipt", later) is None
    waiting = client.call("eth_getTransactionByHash", later)
    assert waiting["blockHash"] is None
    assert waiting["nonce"] == hex(first + 1)
    assert client.call("eth_getTransactionCount", to_checksum(sender), "pending") == hex(first)
    assert client.call("txpool_status") == {"pending": "0x0", "queued": "0x1"}
    queued = client.call("txpool_content")["queued"]
    assert list(queued[to_checksum(sender)]) == [str(first + 1)]
    client.call("eth_sendRawTransaction", raw(first))
    assert client.wait_for_receipt(later)["status"] == "0x1"
    assert client.call("txpool_status") == {"pending": "0x0", "queued": "0x0"}


def test_what_a_sender_did_wrong_is_said_in_geths_words(one_node: Any, client: Client) -> None:
    sender = one_node.accounts[6]
    key = one_node.keys[sender]
    nonce = client.next_nonce(sender)

    def refused(**changes: Any) -> RpcError:
        fields: dict[str, Any] = {
            "chain_id": CHAIN_ID, "nonce": nonce, "to": sender, "gas": 21_000, "gas_price": 0,
        }  # fmt: skip
        made = sign_transaction(changes.pop("key", key), **(fields | changes))
        return error_of(client, "eth_sendRawTransaction", "0x" + made.raw.hex())

    assert str(refused(chain_id=1)).startswith("eth_sendRawTransaction: invalid chain id")
    assert "insufficient funds for gas * price + value" in str(refused(value=10**30))
    assert "intrinsic gas too low: have 20000, want 21000" in str(refused(gas=20_000))
    assert "exceeds block gas limit" in str(refused(gas=10**9))
    assert "nonce too high" in str(refused(nonce=nonce + 10_000))
    later = sign_transaction(
        key, chain_id=CHAIN_ID, nonce=nonce + 1, to=sender, gas=21_000, gas_price=100
    )
    client.call("eth_sendRawTransaction", "0x" + later.raw.hex())
    assert "already known" in str(
        error_of(client, "eth_sendRawTransaction", "0x" + later.raw.hex())
    )
    underpriced = refused(nonce=nonce + 1, gas_price=105)
    assert "replacement transaction underpriced" in str(underpriced)
    replacing = sign_transaction(
        key, chain_id=CHAIN_ID, nonce=nonce + 1, to=sender, gas=21_000, gas_price=110
    )
    client.call("eth_sendRawTransaction", "0x" + replacing.raw.hex())
    first = sign_transaction(
        key, chain_id=CHAIN_ID, nonce=nonce, to=sender, gas=21_000, gas_price=0
    )
    client.call("eth_sendRawTransaction", "0x" + first.raw.hex())
    client.wait_for_receipt("0x" + replacing.hash.hex())
    low = refused()
    assert low.code == -32000
    assert "nonce too low: address " + to_checksum(sender) in str(low)
    assert "tx: " in str(low)


MALFORMED_RAW = [
    ("0x", -32000, "transaction"),
    ("0xzz", -32602, "invalid argument 0 (transaction)"),
    ("0x123", -32602, "odd length"),
    ("abcd", -32602, "without 0x prefix"),
    ("0x" + "00" * 140_000, -32000, "oversized data: transaction size 140000, limit 131072"),
    ("0xc0", -32000, "rlp: "),
    ("0x03c0", -32000, "transaction type not supported"),
    ("0x" + "f8" * 500, -32000, "rlp: "),
    (7, -32602, "expected a string, got a number"),
]


@pytest.mark.parametrize(("raw", "code", "words"), MALFORMED_RAW, ids=range(len(MALFORMED_RAW)))
def test_raw_bytes_that_are_no_transaction(client: Client, raw: Any, code: int, words: str) -> None:
    error = error_of(client, "eth_sendRawTransaction", raw)
    assert error.code == code
    assert words in str(error)


def test_a_bad_signature_is_an_invalid_sender(one_node: Any, client: Client) -> None:
    made = sign_transaction(
        STRANGER_KEY, chain_id=CHAIN_ID, nonce=0, to=None, gas=21_000, gas_price=0
    )
    s = made.s.to_bytes(32, "big")
    high = (2**256 - 432420386565659656852420866394968145599 - made.s).to_bytes(32, "big")
    error = error_of(client, "eth_sendRawTransaction", "0x" + made.raw.replace(s, high).hex())
    assert "invalid sender" in str(error)


def test_a_batch_of_raw_transactions_is_taken_at_once(one_node: Any, client: Client) -> None:
    sender = one_node.accounts[7]
    key = one_node.keys[sender]
    first = client.next_nonce(sender)
    made = [
        sign_transaction(
            key, chain_id=CHAIN_ID, nonce=first + n, to=sender, gas=21_000, gas_price=0
        )
        for n in range(100)
    ]
    calls = [("eth_sendRawTransaction", ["0x" + one.raw.hex()]) for one in made]
    assert client.batch(calls) == ["0x" + one.hash.hex() for one in made]
    receipt = client.wait_for_receipt("0x" + made[-1].hash.hex())
    assert receipt["status"] == "0x1"
    with pytest.raises(RpcError, match="nonce too low"):
        client.batch(calls[:3])


# The state.


def test_state_now_and_at_a_block(client: Client, accounts: list[str], counter: str) -> None:
    before = client.height()
    send(client, accounts[0], counter, data_of("add(uint64)", 7))
    slot = "0x0"
    total = int(client.call("eth_getStorageAt", counter, slot, "latest"), 16)
    earlier = int(client.call("eth_getStorageAt", counter, slot, hex(before)), 16)
    assert total == earlier + 7
    call = {"to": counter, "data": data_of("getTotal()")}
    assert int(client.call("eth_call", call), 16) == total
    assert int(client.call("eth_call", call, hex(before)), 16) == earlier
    block = client.call("eth_getBlockByNumber", hex(before), False)
    assert int(client.call("eth_call", call, {"blockHash": block["hash"]}), 16) == earlier
    for tag in ("latest", "pending", "safe", "finalized"):
        assert int(client.call("eth_call", call, tag), 16) == total
    assert bytes.fromhex(client.call("eth_getCode", counter)[2:]) == SOURCE
    assert client.call("eth_getCode", counter, "earliest") == "0x"
    assert client.call("eth_getCode", accounts[0], "latest") == "0x"
    assert int(client.call("eth_getBalance", accounts[0], "earliest"), 16) == 10**22


def test_proofs_hold_under_the_state_root(
    client: Client, accounts: list[str], counter: str
) -> None:
    """Checked by the `trie` and `rlp` packages, which know nothing of ours."""
    import rlp
    from eth_utils import keccak
    from trie import HexaryTrie

    send(client, accounts[1], counter, data_of("add(uint64)", 3))
    absent = "0x" + "99" * 32
    proof = client.call("eth_getProof", counter, ["0x0", absent], "latest")
    block = client.call("eth_getBlockByNumber", "latest", False)

    def unhex(text: str) -> bytes:
        return bytes.fromhex(text[2:])

    def prove(root: bytes, key: bytes, nodes: list[str]) -> bytes:
        decoded = [rlp.decode(unhex(node)) for node in nodes]
        value: bytes = HexaryTrie.get_from_proof(root, keccak(key), decoded)
        return value

    leaf = prove(unhex(block["stateRoot"]), unhex(counter), proof["accountProof"])
    nonce, balance, storage_root, code_hash = rlp.decode(leaf)
    assert storage_root == unhex(proof["storageHash"])
    assert code_hash == unhex(proof["codeHash"]) == keccak(SOURCE)
    assert int.from_bytes(nonce, "big") == int(proof["nonce"], 16) == 1
    assert int.from_bytes(balance, "big") == int(proof["balance"], 16)
    total, missing = proof["storageProof"]
    word = rlp.decode(prove(storage_root, bytes(32), total["proof"]))
    assert int.from_bytes(word, "big") == int(total["value"], 16) > 0
    assert missing["value"] == "0x0"
    assert prove(storage_root, unhex(absent), missing["proof"]) == b""


def test_header_roots_and_hash_from_the_json_alone(
    client: Client, accounts: list[str], counter: str
) -> None:
    import rlp
    from eth_utils import keccak
    from trie import HexaryTrie

    receipt = send(client, accounts[2], counter, data_of("add(uint64)", 1))
    block = client.call("eth_getBlockByHash", receipt["blockHash"], True)

    def unhex(text: str) -> bytes:
        digits = text[2:]
        return bytes.fromhex(digits.zfill(len(digits) + len(digits) % 2))

    def quantity(text: str) -> bytes:
        number = int(text, 16)
        return number.to_bytes((number.bit_length() + 7) // 8, "big")

    names = ("parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot")
    items = [unhex(block[name]) for name in (*names, "logsBloom")]
    items += [quantity(block[name]) for name in ("difficulty", "number", "gasLimit", "gasUsed")]
    items += [quantity(block["timestamp"]), unhex(block["extraData"]), unhex(block["mixHash"])]
    items += [unhex(block["nonce"]), quantity(block["baseFeePerGas"])]
    assert keccak(rlp.encode(items)) == unhex(block["hash"])

    raws, encoded = HexaryTrie({}), HexaryTrie({})
    for index, transaction in enumerate(block["transactions"]):
        raw = client.call("eth_getRawTransactionByHash", transaction["hash"])
        raws[rlp.encode(index)] = unhex(raw)
    for index, one in enumerate(client.call("eth_getBlockReceipts", block["number"])):
        entries = [
            [unhex(log["address"]), [unhex(t) for t in log["topics"]], unhex(log["data"])]
            for log in one["logs"]
        ]
        body = rlp.encode(
            [
                quantity(one["status"]),
                quantity(one["cumulativeGasUsed"]),
                unhex(one["logsBloom"]),
                entries,
            ]
        )
        kind = int(one["type"], 16)
        encoded[rlp.encode(index)] = (bytes([kind]) if kind else b"") + body
    assert raws.root_hash == unhex(block["transactionsRoot"])
    assert encoded.root_hash == unhex(block["receiptsRoot"])
    assert int(block["logsBloom"], 16) == int(receipt["logsBloom"], 16) != 0


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


# Unlocked accounts.


def test_only_unlocked_accounts_are_signed_for(client: Client, accounts: list[str]) -> None:
    stranger = to_checksum(address_of(STRANGER_KEY))
    error = error_of(client, "eth_sendTransaction", {"from": stranger, "to": accounts[0]})
    assert "unknown account" in str(error)
    wrong = {"from": accounts[0], "to": accounts[1], "chainId": "0x1"}
    assert "invalid chain id" in str(error_of(client, "eth_sendTransaction", wrong))
    signed = client.call("eth_signTransaction", {"from": accounts[9], "to": accounts[0]})
    assert client.wait_for_receipt(client.call("eth_sendRawTransaction", signed["raw"]))


def test_messages_are_signed_as_wallets_do(client: Client, accounts: list[str]) -> None:
    from eth_account import Account
    from eth_account.messages import encode_defunct

    for method, params in (
        ("eth_sign", (accounts[0], "0x68690a")),
        ("personal_sign", ("0x68690a", accounts[0], "")),
    ):
        signature = client.call(method, *params)
        message = encode_defunct(b"hi\n")
        assert Account.recover_message(message, signature=signature) == accounts[0]


# Our own.


def test_header_proofs_are_what_a_light_client_needs(one_node: Any, client: Client) -> None:
    from ledger.block import decode_certificate, decode_header
    from ledger.light import LightClient

    info = client.call("wattledger_networkInfo")
    assert info["chainId"] == CHAIN_ID
    genesis_hash = bytes.fromhex(info["genesisHash"][2:])
    light = LightClient(CHAIN_ID, genesis_hash, one_node.made.genesis.validators)
    assert client.call("wattledger_getValidatorChanges") == []
    for height in (1, client.height()):
        proof = client.call("wattledger_getHeaderProof", hex(height))
        header = decode_header(bytes.fromhex(proof["header"][2:]))
        certificate = decode_certificate(bytes.fromhex(proof["certificate"][2:]))
        light.follow(header, certificate, one_node.made.genesis.validators)
        assert proof["hash"] == "0x" + header.hash.hex()
        assert proof["validators"] == info["validators"]
    shown = client.call("wattledger_getCertificate", hex(1))
    assert shown["blockHash"] == client.call("eth_getBlockByNumber", "0x1", False)["hash"]
    assert client.call("wattledger_getCertificate", "0x0") is None
    assert client.call("wattledger_getHeaderProof", "0x0")["certificate"] is None


def test_the_status_says_that_all_is_well(client: Client) -> None:
    status = client.call("wattledger_status")
    assert status["head"] == client.height()
    assert status["trouble"] is None
    assert status["explanation"].startswith("All is well")
    info = client.call("admin_nodeInfo")
    assert info["name"] == "node1"
    assert info["isValidator"] is True


def test_a_receipt_that_is_waited_for_is_null(client: Client) -> None:
    calls = [("eth_getTransactionReceipt", ["0x" + f"{n:064x}"]) for n in range(200)]
    assert client.batch(calls) == [None] * 200


def test_raw_bytes_with_spaces_are_refused(client: Client) -> None:
    """Python's own hex reader would skip them."""
    assert "invalid" in str(error_of(client, "eth_sendRawTransaction", "0xc0 c0"))


def test_what_reads_a_whole_old_block_takes_turns(
    one_node: Any, client: Client, accounts: list[str]
) -> None:
    """A client that asks for old blocks all the time must not keep votes waiting."""
    paid = client.call("eth_sendTransaction", {"from": accounts[0], "to": accounts[1]})
    block = client.wait_for_receipt(paid)
    node, number = one_node.nodes[0], int(block["blockNumber"], 16)
    block_hash, tx_hash = bytes.fromhex(block["blockHash"][2:]), bytes.fromhex(paid[2:])
    asked: dict[str, tuple[Any, ...]] = {
        name: (BlockTag(height=number),) if "Number" in name or "Receipts" in name
        else (tx_hash,) if name.endswith(("TransactionByHash", "Receipt")) else (block_hash,)
        for name, method in METHODS.items() if method.is_old is not None
    }  # fmt: skip
    assert {"eth_getBlockReceipts", "eth_getBlockByHash", "eth_getTransactionReceipt"} <= set(asked)
    context = Context(node, None)
    for at_hand in (True, False):
        for name, arguments in asked.items():
            if not at_hand:
                node.recent.forget(0)
            assert METHODS[name].is_old(context, *arguments) is not at_hand, name  # type: ignore[misc]
    assert client.call("eth_getTransactionReceipt", paid) == block
    assert node.recent.has(number) and node.recent.has_transaction(tx_hash)
