"""Whether a node's JSON-RPC answers as MetaMask, web3.py, ethers and Web3E (ESP32) expect.

Each check is one request and what that client does with the answer, traps of others included: a
proxy in front of a node that rewrites answers is found here. Sources: MetaMask core, web3.py 8,
ethers 6, Web3E (Web3.cpp, which looks for `"result":"` and reads no chunks).
"""

import http.client
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from ledger.crypto.address import to_checksum
from ledger.encoding import abi
from ledger.encoding.hexadecimal import decode_quantity, encode_data
from ledger.errors import LedgerError
from ledger.genesis import NETWORK_CONTRACT
from node.client import Client, ClientError, RpcError
from node.findings import Finding

TIMEOUT_S = 5.0
CHAIN_ID_MAX = 4_503_599_627_370_476
"""MetaMask refuses a chain id above it."""
EXTRA_DATA_BYTES_MAX = 32
NOBODY = "0x" + "11" * 20
NO_TRANSACTION = "0x" + "22" * 32
ADVICE = "look for a proxy between here and the node that changes requests or answers"


class Unexpected(Exception):
    """What a client would stumble over."""


def check_clients(client: Client) -> list[Finding]:
    """One finding for each client, naming the first thing that it would stumble over."""
    findings = []
    for name, check in (
        ("MetaMask", check_metamask),
        ("web3.py", check_web3py),
        ("ethers", check_ethers),
        ("ESP32 (Web3E)", check_web3e),
    ):
        findings.append(_run(name, check, client))
    return findings


def _run(name: str, check: Callable[[Client], None], client: Client) -> Finding:
    try:
        check(client)
    except Unexpected as error:
        return Finding("fail", name, str(error), ADVICE)
    except (ClientError, LedgerError, OSError, http.client.HTTPException) as error:
        return Finding("fail", name, str(error), ADVICE)
    except (KeyError, TypeError, ValueError) as error:
        return Finding("fail", name, f"an answer is not of the shape it reads: {error!r}", ADVICE)
    return Finding("ok", name, "is answered as it expects")


def check_metamask(client: Client) -> None:
    """Adding a network, the fee market, balances at a number, and a page's preflight."""
    chain_id = decode_quantity(client.call("eth_chainId"))
    _expect(chain_id <= CHAIN_ID_MAX, f"chain id {chain_id} is above {CHAIN_ID_MAX}")
    _expect(client.call("net_version") == str(chain_id), "net_version is not the chain id")
    block = client.call("eth_getBlockByNumber", "latest", False)
    _expect("baseFeePerGas" in block, "a block has no baseFeePerGas: sent as before London")
    for method in ("eth_getBalance", "eth_getTransactionCount"):
        decode_quantity(client.call(method, NOBODY, block["number"]))
    _expect(client.call("eth_getCode", NOBODY, "latest") == "0x", "eth_getCode of nobody")
    headers = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}
    answer, _ = _request(client.url, "OPTIONS", headers)
    allowed = answer.getheader("Access-Control-Allow-Origin")
    _expect(allowed is not None, "no CORS for web pages: rpc.origins leaves them out")


def check_web3py(client: Client) -> None:
    """Blocks within its limits, null for a receipt to come, fees, and reverts with their data."""
    block = client.call("eth_getBlockByNumber", "latest", False)
    size = len(block["extraData"]) // 2 - 1
    _expect(size <= EXTRA_DATA_BYTES_MAX, f"extraData has {size} bytes: it raises ExtraDataLength")
    receipt = client.call("eth_getTransactionReceipt", NO_TRANSACTION)
    _expect(receipt is None, "a receipt that is not there yet is not null: it stops waiting")
    decode_quantity(client.call("eth_maxPriorityFeePerGas"))
    history = client.call("eth_feeHistory", "0x1", "latest", [])
    _expect(len(history["baseFeePerGas"]) == 2, "eth_feeHistory is not of its shape")
    error = _revert(client)
    _expect(error.code == 3 and bool(error.data), "a revert is not error 3 with its data")


def check_ethers(client: Client) -> None:
    """Batches told apart by id, unknown methods, and the word it looks for in a revert."""
    calls = [("eth_blockNumber", ()), ("eth_chainId", ()), ("eth_gasPrice", ())] * 3
    _expect(len(client.batch(calls)) == len(calls), "a batch is not answered whole")
    try:
        client.call("eth_noSuchMethod")
        raise Unexpected("a method that does not exist is answered")
    except RpcError as error:
        _expect(error.code == -32601, f"an unknown method is error {error.code}, not -32601")
    _expect("reverted" in str(_revert(client)), "a revert's message lacks the word reverted")


def check_web3e(client: Client) -> None:
    """What its parser of strings needs: no blank after a colon, no chunks, a length."""
    body = b'{"jsonrpc":"2.0","method":"eth_chainId","params":[],"id":0}'
    answer, text = _request(client.url, "POST", {"Content-Type": "application/json"}, body)
    _expect(answer.getheader("Transfer-Encoding") is None, "the reply comes in chunks")
    length = answer.getheader("Content-Length")
    _expect(length == str(len(text)), "the reply has no Content-Length")
    _expect(b'"result":"0x' in text, f"a blank stands after a colon: {text[:60]!r}")
    _expect(json.loads(text)["id"] == 0, "the id does not come back")
    _expect(client.call("net_listening") is True, "net_listening")


def _revert(client: Client) -> RpcError:
    """The error of a call that the network contract refuses to whoever has no vote."""
    data = abi.encode_call("setNode(address,bool)", [bytes(20), True])
    call = {"from": NOBODY, "to": to_checksum(NETWORK_CONTRACT), "data": encode_data(data)}
    try:
        client.call("eth_call", call, "latest")
    except RpcError as error:
        return error
    raise Unexpected("a call that a contract refuses succeeds")


def _request(
    url: str, method: str, headers: dict[str, str], body: bytes = b""
) -> tuple[http.client.HTTPResponse, bytes]:
    """One HTTP request as it stands, without the comforts of a library."""
    parts = urlsplit(url)
    kind: Any = http.client.HTTPSConnection if parts.scheme == "https" else None
    kind = kind or http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=TIMEOUT_S)
    try:
        connection.request(method, parts.path or "/", body, headers)
        answer: http.client.HTTPResponse = connection.getresponse()
        return answer, answer.read(1_000_000)
    finally:
        connection.close()


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise Unexpected(what)
