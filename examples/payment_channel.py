"""A household pays its supplier off the chain: two transactions, any number of payments.

In one terminal `wattledger devnet`, in another `python examples/payment_channel.py`.
"""

import sys
from typing import Any

from eth_account import Account
from eth_account.messages import encode_typed_data
from grid import deploy, read_events, refusal, send
from web3 import Web3

node = Web3(Web3.HTTPProvider(sys.argv[1] if sys.argv[1:] else "http://127.0.0.1:8545"))
operator, supplier, *_ = node.eth.accounts
channels = deploy(node, "payment_channel", sender=operator)
home = Account.create()  # the household's key: it signs payments, and sends two transactions
node.eth.wait_for_transaction_receipt(
    node.eth.send_transaction({"from": operator, "to": home.address, "value": 10**18})
)


def transact(call: Any, **fields: Any) -> Any:
    """Send a call with the household's key, wait until it is final; its events."""
    nonce = node.eth.get_transaction_count(home.address)
    built = call.build_transaction({"from": home.address, "nonce": nonce, **fields})
    sent = node.eth.send_raw_transaction(home.sign_transaction(built).raw_transaction)
    return read_events(channels, node.eth.wait_for_transaction_receipt(sent))


def pay(amount: int) -> bytes:
    """What the household hands over: the supplier may take so much in all."""
    domain = {"name": "PaymentChannel", "version": "1", "chainId": node.eth.chain_id,
              "verifyingContract": channels.address}  # fmt: skip
    kinds = {"Payment": [{"name": "channelId", "type": "uint256"},
                         {"name": "amount", "type": "uint256"}]}  # fmt: skip
    typed = encode_typed_data(domain, kinds, {"channelId": number, "amount": amount})
    return bytes(home.sign_message(typed).signature)


until = node.eth.get_block("latest")["timestamp"] + 86_400
opened = transact(channels.functions.open(supplier, until), value=100_000)
print(opened)
number = opened[0][1]["channelId"]
payments = [(total, pay(total)) for total in range(2_960, 26 * 2_960, 2_960)]  # one an hour
total, signature = payments[-1]
more = channels.functions.close(number, total + 1, signature)
print(refusal(channels, more, supplier))
print(send(channels, channels.functions.close(number, total, signature), supplier))
print(f"{len(payments)} payments, 2 transactions")
