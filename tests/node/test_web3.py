"""web3.py as it comes, without middleware: deploy, send, wait, read events in its three ways."""

import asyncio
from typing import Any

import pytest
from eth_account import Account
from web3 import AsyncWeb3, Web3, WebSocketProvider
from web3.exceptions import ContractCustomError, TransactionNotFound, Web3RPCError

from ledger.contract.artifact import build_artifact

SOURCE = b'''"""Says who called."""

from ledger.contract import Contract, Event, Revert, address, indexed, uint256, view, write


class Called(Event):
    who: indexed[address]
    amount: uint256


class TooMuch(Revert):
    amount: uint256
    limit: uint256


class Caller(Contract):
    """Counts calls up to a limit."""

    limit_: uint256
    total: uint256

    def __init__(self, limit: uint256) -> None:
        self.limit_ = limit

    @write
    def call_with(self, amount: uint256) -> None:
        if amount > self.limit_:
            raise TooMuch(amount, self.limit_)
        self.total = amount
        self.emit(Called(self.msg.sender, amount))

    @view
    def get_total(self) -> uint256:
        return self.total
'''


@pytest.fixture(scope="module")
def web3(one_node: Any) -> Web3:
    return Web3(Web3.HTTPProvider(one_node.url()))


@pytest.fixture(scope="module")
def deployed(web3: Web3) -> Any:
    artifact = build_artifact(SOURCE)
    contract = web3.eth.contract(abi=artifact["abi"], bytecode=artifact["bytecode"])
    sent = contract.constructor(100).transact({"from": web3.eth.accounts[0]})
    receipt = web3.eth.wait_for_transaction_receipt(sent)
    return web3.eth.contract(address=receipt["contractAddress"], abi=artifact["abi"])


def test_blocks_and_state_read_without_middleware(web3: Web3, deployed: Any) -> None:
    block = web3.eth.get_block("latest", full_transactions=True)
    assert block["baseFeePerGas"] == 0
    assert web3.eth.chain_id == 1947
    assert web3.is_connected()
    assert web3.eth.get_balance(web3.eth.accounts[1]) == 10**22
    assert web3.eth.get_code(deployed.address) == SOURCE
    assert web3.eth.syncing is False
    assert web3.eth.max_priority_fee == 0
    proof = web3.eth.get_proof(deployed.address, [0], "latest")
    assert int.from_bytes(proof["storageProof"][0]["value"], "big") == 100
    with pytest.raises(TransactionNotFound):
        web3.eth.get_transaction_receipt("0x" + "11" * 32)  # null, which is what it waits on


def test_signed_transactions_of_types_0_and_2(web3: Web3, deployed: Any) -> None:
    account = Account.from_key("0x" + "42" * 32)
    for fees in ({"gasPrice": 0}, {}):
        fields = {"from": account.address, "nonce": web3.eth.get_transaction_count(account.address)}
        built = deployed.functions.callWith(7).build_transaction(fields | fees)
        signed = account.sign_transaction(built)
        receipt = web3.eth.wait_for_transaction_receipt(
            web3.eth.send_raw_transaction(signed.raw_transaction)
        )
        assert receipt["status"] == 1
        assert receipt["type"] == (0 if fees else 2)
        (event,) = deployed.events.Called().process_receipt(receipt)
        assert dict(event["args"]) == {"who": account.address, "amount": 7}
    assert deployed.functions.getTotal().call() == 7


def test_events_by_query_and_by_filter(web3: Web3, deployed: Any) -> None:
    sender = web3.eth.accounts[2]
    start = web3.eth.block_number + 1
    polled = deployed.events.Called.create_filter(from_block="latest")
    blocks = web3.eth.filter("latest")
    for amount in (1, 2):
        sent = deployed.functions.callWith(amount).transact({"from": sender})
        web3.eth.wait_for_transaction_receipt(sent)
    found = deployed.events.Called.get_logs(from_block=start, argument_filters={"who": sender})
    assert [event["args"]["amount"] for event in found] == [1, 2]
    assert [event["args"]["amount"] for event in polled.get_new_entries()] == [1, 2]
    assert polled.get_new_entries() == []
    assert len(blocks.get_new_entries()) == 2
    every = deployed.events.Called.create_filter(from_block=start)
    assert len(every.get_all_entries()) == 2
    assert web3.eth.uninstall_filter(polled.filter_id)


def test_a_custom_error_is_decoded(web3: Web3, deployed: Any) -> None:
    with pytest.raises(ContractCustomError) as caught:
        deployed.functions.callWith(101).call()
    data = bytes.fromhex(caught.value.data[2:])
    assert data[:4] == Web3.keccak(text="TooMuch(uint256,uint256)")[:4]
    assert web3.codec.decode(["uint256", "uint256"], data[4:]) == (101, 100)
    with pytest.raises(ContractCustomError):
        deployed.functions.callWith(101).estimate_gas({"from": web3.eth.accounts[0]})


def test_errors_keep_their_text(web3: Web3) -> None:
    account = Account.from_key("0x" + "43" * 32)
    fields = {"to": account.address, "gas": 21_000, "gasPrice": 0, "chainId": 1947, "value": 1}
    signed = account.sign_transaction(fields | {"nonce": 0})
    with pytest.raises(Web3RPCError, match="insufficient funds"):
        web3.eth.send_raw_transaction(signed.raw_transaction)


def test_subscriptions_over_websocket(one_node: Any, web3: Web3, deployed: Any) -> None:
    async def story() -> None:
        url = one_node.url().replace("http", "ws")
        async with AsyncWeb3(WebSocketProvider(url)) as socket:
            heads = await socket.eth.subscribe("newHeads")
            logs = await socket.eth.subscribe("logs", {"address": deployed.address})
            pending = await socket.eth.subscribe("newPendingTransactions")
            sent = deployed.functions.callWith(9).transact({"from": web3.eth.accounts[3]})
            seen: dict[str, Any] = {}
            async for message in socket.socket.process_subscriptions():
                seen[message["subscription"]] = message["result"]
                if len(seen) == 3:
                    break
            receipt = web3.eth.wait_for_transaction_receipt(sent)
            assert seen[pending] == sent
            assert seen[heads]["hash"] == receipt["blockHash"]
            assert seen[logs]["transactionHash"] == sent
            assert (await socket.eth.get_block("latest"))["number"] == seen[heads]["number"]
            assert await socket.eth.unsubscribe(heads)

    asyncio.run(asyncio.wait_for(story(), 30))
