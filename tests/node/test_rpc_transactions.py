"""Transactions through JSON-RPC: from raw bytes to a receipt, or refused in the words of geth."""

from typing import Any

import pytest

from ledger.crypto.address import to_checksum
from ledger.transaction import sign_transaction
from node.client import Client, RpcError
from node.rpc import dispatch
from tests.node.counter import CHAIN_ID, STRANGER_KEY, error_of

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
