"""A gateway submits what a meter shows; a wrong reading is kept with its reason, a right one paid.

In one terminal `wattledger devnet`, in another `python examples/billing.py`.
"""

import sys

from grid import deploy, refusal, send
from web3 import Web3

node = Web3(Web3.HTTPProvider(sys.argv[1] if sys.argv[1:] else "http://127.0.0.1:8545"))
operator, gateway, home, meter, *_ = node.eth.accounts
rules = (10_000_000, 20_000, 7 * 86_400, 3_600)  # register, watts, seconds back and ahead
billing = deploy(node, "billing", rules, 2_960_000, 10_000, 19_800, sender=operator)
calls = billing.functions

send(billing, calls.setGateway(gateway, True), operator)
send(billing, calls.enrol(meter, home, 4_000, 0), operator)
print(send(billing, calls.deposit(home), home, value=5_000))
now = node.eth.get_block("latest")["timestamp"]
print(refusal(billing, calls.submit(meter, 4_001, now + 600), home))  # no gateway
print(send(billing, calls.submit(meter, 4_001, now + 600), gateway))
print(send(billing, calls.submit(meter, 3_999, now + 700), gateway))  # the register fell
print(send(billing, calls.submit(meter, 4_006, now + 1_200), gateway))  # more than is paid for
print(send(billing, calls.deposit(home), home, value=20_000))
month = calls.monthOf(now).call()
print("bill", calls.bill(home, month).call()[:3], "rejected", calls.rejectedCount(meter).call())
