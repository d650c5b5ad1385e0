"""web3.py, the current release and without special middleware, against a devnet."""

import asyncio
import json
from pathlib import Path

import pytest
import rlp
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils import keccak
from trie import HexaryTrie
from web3 import AsyncWeb3, Web3, WebSocketProvider
from web3.contract import Contract
from web3.exceptions import ContractCustomError, Web3RPCError

from tests.devnets import Devnet

Account.enable_unaudited_hdwallet_features()
MNEMONIC = "test test test test test test test test test test test junk"


def account(index: int) -> LocalAccount:
    return Account.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}")


@pytest.fixture(scope="module")
def w3(devnet: Devnet) -> Web3:
    return Web3(Web3.HTTPProvider(devnet.url))


@pytest.fixture(scope="module")
def provider(w3: Web3, provider_artifact: Path) -> Contract:
    """Provider, deployed by account 0 with a signed transaction of type 2."""
    artifact = json.loads(provider_artifact.read_text())
    factory = w3.eth.contract(abi=artifact["abi"], bytecode=artifact["bytecode"])
    owner = account(0)
    receipt = send(w3, owner, factory.constructor("Grid co-operative", "Our street"))
    assert receipt["status"] == 1
    return w3.eth.contract(address=receipt["contractAddress"], abi=artifact["abi"])


def send(w3, sender, call, **fields):
    """Build with web3.py's own defaults, sign locally, send raw, wait for the receipt."""
    nonce = w3.eth.get_transaction_count(sender.address, "pending")
    built = call.build_transaction({"from": sender.address, "nonce": nonce, **fields})
    signed = sender.sign_transaction(built)
    sent = w3.eth.send_raw_transaction(signed.raw_transaction)
    return w3.eth.wait_for_transaction_receipt(sent, timeout=90)


def test_the_chain_is_the_devnet(w3: Web3) -> None:
    assert w3.eth.chain_id == 1947
    assert w3.is_connected()
    assert "wattledger" in w3.client_version.lower()
    assert len(w3.eth.accounts) == 10
    assert w3.eth.get_balance(account(3).address) > 0


def test_views_answer(provider: Contract) -> None:
    assert provider.functions.providerName().call() == "Grid co-operative"
    assert provider.functions.owner().call() == account(0).address


def test_types_0_and_2_are_taken(w3: Web3, provider: Contract) -> None:
    owner, user = account(0), account(1)
    added = send(w3, owner, provider.functions.addUser(user.address))
    assert added["status"] == 1
    assert w3.eth.get_transaction(added["transactionHash"])["type"] == 2

    legacy = send(w3, user, provider.functions.setUsage(4_200), gasPrice=w3.eth.gas_price)
    assert legacy["status"] == 1
    assert w3.eth.get_transaction(legacy["transactionHash"])["type"] == 0
    assert provider.functions.getUsage(user.address).call() == 4_200


def test_an_unlocked_account_of_the_devnet_sends(w3: Web3, provider: Contract) -> None:
    sent = provider.functions.addUser(account(5).address).transact({"from": account(0).address})
    assert w3.eth.wait_for_transaction_receipt(sent, timeout=90)["status"] == 1
    assert provider.functions.isActive(account(5).address).call() is True


def test_events_by_receipt_log_query_and_filter(w3: Web3, provider: Contract) -> None:
    owner, user = account(0), account(2)
    watching = provider.events.DebtSet.create_filter(from_block="latest")
    receipt = send(w3, owner, provider.functions.setDebt(10, 29, user.address))

    of_receipt = provider.events.DebtSet().process_receipt(receipt)
    assert [dict(one["args"]) for one in of_receipt] == [
        {"usage": 10, "bill": 29, "user": user.address}
    ]
    logs = provider.events.DebtSet().get_logs(
        from_block=receipt["blockNumber"], argument_filters={"user": user.address}
    )
    assert [one["transactionHash"] for one in logs] == [receipt["transactionHash"]]
    changes = [one for one in watching.get_new_entries() if one["args"]["user"] == user.address]
    assert len(changes) == 1
    assert watching.get_new_entries() == []
    blocks = w3.eth.filter("latest")
    send(w3, owner, provider.functions.setDebt(11, 30, user.address))
    assert len(blocks.get_new_entries()) == 1


def test_a_custom_error_is_decoded(provider: Contract) -> None:
    stranger = account(9).address
    with pytest.raises(ContractCustomError) as caught:
        provider.functions.addUser(stranger).call({"from": stranger})
    selector = Web3.keccak(text="NotProvider(address)")[:4].hex()
    assert selector in str(caught.value.data)
    assert stranger[2:].lower() in str(caught.value.data)


def test_errors_have_the_texts_that_a_geth_user_knows(w3: Web3) -> None:
    poor = Account.create()
    transaction = {"to": account(0).address, "value": 1, "gas": 21_000, "gasPrice": 0, "nonce": 0,
                   "chainId": 1947}  # fmt: skip
    with pytest.raises(Web3RPCError, match="insufficient funds"):
        w3.eth.send_raw_transaction(poor.sign_transaction(transaction).raw_transaction)
    used = {**transaction, "nonce": 0}
    send(w3, account(7), _Transfer(account(0).address))
    with pytest.raises(Web3RPCError, match="nonce too low"):
        w3.eth.send_raw_transaction(account(7).sign_transaction(used).raw_transaction)
    with pytest.raises(Web3RPCError, match="invalid chain id"):
        wrong = poor.sign_transaction({**transaction, "chainId": 1})
        w3.eth.send_raw_transaction(wrong.raw_transaction)


class _Transfer:
    """A plain transfer with the shape of a contract call."""

    def __init__(self, to: str) -> None:
        self.to = to

    def build_transaction(self, fields: dict) -> dict:
        return {**fields, "to": self.to, "value": 1, "gas": 21_000, "gasPrice": 0, "chainId": 1947}


def test_block_hash_and_roots_recompute_from_the_json(w3: Web3, provider: Contract) -> None:
    receipt = send(w3, account(0), provider.functions.setDebt(77, 88, account(3).address))
    block = w3.eth.get_block(receipt["blockNumber"], full_transactions=True)
    header = [
        block["parentHash"], block["sha3Uncles"], bytes.fromhex(block["miner"][2:]),
        block["stateRoot"], block["transactionsRoot"], block["receiptsRoot"], block["logsBloom"],
        block["difficulty"], block["number"], block["gasLimit"], block["gasUsed"],
        block["timestamp"], block["extraData"], block["mixHash"], block["nonce"],
        block["baseFeePerGas"],
    ]  # fmt: skip
    assert keccak(rlp.encode(header)) == block["hash"]

    transactions = HexaryTrie({})
    for index in range(len(block["transactions"])):
        raw = w3.eth.get_raw_transaction_by_block(block["number"], index)
        transactions[rlp.encode(index)] = bytes(raw)
    assert transactions.root_hash == block["transactionsRoot"]

    receipts = HexaryTrie({})
    for one in w3.eth.get_block_receipts(block["number"]):
        logs = [
            [bytes.fromhex(log["address"][2:]), list(log["topics"]), log["data"]]
            for log in one["logs"]
        ]
        body = rlp.encode([one["status"], one["cumulativeGasUsed"], one["logsBloom"], logs])
        kind = bytes([one["type"]]) if one["type"] else b""
        receipts[rlp.encode(one["transactionIndex"])] = kind + body
    assert receipts.root_hash == block["receiptsRoot"]


def test_state_proofs_hold_with_ethereums_own_trie(w3: Web3, provider: Contract) -> None:
    receipt = send(w3, account(0), provider.functions.setDebt(123, 456, account(4).address))
    block = w3.eth.get_block(receipt["blockNumber"])
    user = bytes.fromhex(account(4).address[2:])
    # An account's struct begins at keccak(user . slot of the mapping): usage, then bill.
    slots = [
        int.from_bytes(keccak(user.rjust(32, b"\0") + base.to_bytes(32, "big")), "big") + member
        for base in range(6)
        for member in range(2)
    ]
    proof = w3.eth.get_proof(provider.address, slots, block["number"])
    nodes = [rlp.decode(bytes(one)) for one in proof["accountProof"]]
    key = keccak(bytes.fromhex(provider.address[2:]))
    leaf = HexaryTrie.get_from_proof(block["stateRoot"], key, nodes)
    assert rlp.decode(leaf) == [
        rlp.encode(proof["nonce"])[-1:] if proof["nonce"] else b"",
        b"",
        bytes(proof["storageHash"]),
        bytes(proof["codeHash"]),
    ]
    values = set()
    for one in proof["storageProof"]:
        storage_nodes = [rlp.decode(bytes(node)) for node in one["proof"]]
        storage_key = keccak(int.from_bytes(bytes(one["key"]), "big").to_bytes(32, "big"))
        found = HexaryTrie.get_from_proof(proof["storageHash"], storage_key, storage_nodes)
        stored = int.from_bytes(rlp.decode(found), "big") if found else 0
        assert stored == int.from_bytes(bytes(one["value"]), "big")
        values.add(stored)
    assert {123, 456} <= values


def test_a_subscription_sees_heads_and_logs(devnet: Devnet, w3: Web3, provider: Contract) -> None:
    async def watch() -> tuple[list, list]:
        url = devnet.url.replace("http", "ws")
        async with AsyncWeb3(WebSocketProvider(url)) as ws:
            heads = await ws.eth.subscribe("newHeads")
            logs = await ws.eth.subscribe("logs", {"address": provider.address})
            await asyncio.to_thread(
                send, w3, account(0), provider.functions.setDebt(5, 6, account(6).address)
            )
            got_heads: list = []
            got_logs: list = []
            async for message in ws.socket.process_subscriptions():
                target = got_heads if message["subscription"] == heads else got_logs
                assert message["subscription"] in (heads, logs)
                target.append(message["result"])
                if got_heads and got_logs:
                    return got_heads, got_logs
        raise AssertionError("the subscription ended")

    heads, logs = asyncio.run(asyncio.wait_for(watch(), 90))
    assert logs[0]["address"] == provider.address
    assert heads[-1]["number"] >= logs[0]["blockNumber"]
