"""A household buys energy coins, its meter reports with a key of its own, and uses them up.

In one terminal `wattledger devnet`, in another `python examples/wattcoin.py`.
"""

import sys

from eth_abi import encode
from eth_account import Account
from eth_account.messages import encode_typed_data
from grid import deploy, read_events, refusal, send
from web3 import Web3

node = Web3(Web3.HTTPProvider(sys.argv[1] if sys.argv[1:] else "http://127.0.0.1:8545"))
owner, supplier, home, neighbour, *_ = node.eth.accounts
coin = deploy(node, "wattcoin", "Wattcoin", "WATT", sender=owner)
calls, token = coin.functions, 10**18
meter = Account.create()  # the key inside the meter

send(coin, calls.setSupplier(supplier, 3_000, 2 * token, True), owner)  # 2 tokens a kWh
send(coin, calls.issue(1_000 * token), supplier)
send(coin, calls.enrol(meter.address, home), owner)
for account in (home, neighbour):
    send(coin, calls.chooseSupplier(supplier), account)
print(send(coin, calls.buy(10 * token), home, value=50_000))
print(refusal(coin, calls.buy(10 * token), neighbour, 29_999))
offer = send(coin, calls.offer(4 * token, 2_500), home)[-1][1]["offerId"]
print(send(coin, calls.accept(offer, 3 * token), neighbour, value=10_000))

# What the meter signs, brought by whoever is on the network.
domain = {"name": "Wattcoin", "version": "1", "chainId": node.eth.chain_id,
          "verifyingContract": coin.address}  # fmt: skip
kinds = {"MeterUpdate": [{"name": "value", "type": "uint256"},
                         {"name": "counter", "type": "uint64"},
                         {"name": "powerW", "type": "uint32"}]}  # fmt: skip
report = encode_typed_data(domain, kinds, {"value": 1_500, "counter": 1, "powerW": 620})
signed = meter.sign_message(report)
words = [signed.r.to_bytes(32, "big"), signed.s.to_bytes(32, "big"), signed.v, 1, 620]
signature = encode(["bytes32", "bytes32", "uint8", "uint64", "uint32"], words)
print(send(coin, calls.meterUpdate(1_500, signature), neighbour))
print(refusal(coin, calls.meterUpdate(1_500, signature), neighbour))  # never twice

# The meter uses energy up: its own transaction, at no gas price.
for usage_wh in (1_500, 2_500):
    nonce = node.eth.get_transaction_count(meter.address)
    built = calls.exhaust(usage_wh).build_transaction({"from": meter.address, "nonce": nonce})
    sent = node.eth.send_raw_transaction(meter.sign_transaction(built).raw_transaction)
    print(read_events(coin, node.eth.wait_for_transaction_receipt(sent))[-1])
print("supply allowed:", calls.supplyAllowed(meter.address).call())
