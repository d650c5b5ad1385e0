"""A producer advertises stored energy, a consumer buys some, a regulator confirms the delivery.

In one terminal `wattledger devnet`, in another `python examples/microgrid.py`.
"""

import sys

from grid import deploy, refusal, send
from web3 import Web3

node = Web3(Web3.HTTPProvider(sys.argv[1] if sys.argv[1:] else "http://127.0.0.1:8545"))
owner, regulator, producer, consumer, *_ = node.eth.accounts
nobody = "0x" + "00" * 20
grid = deploy(node, "microgrid", 900, 86_400, nobody, nobody, sender=owner)  # 10 % is tax
calls = grid.functions

send(grid, calls.addRegulator(regulator), owner)
send(grid, calls.addProducer(producer, "roof of house 7"), regulator)
send(grid, calls.addConsumer(consumer, "flat 3"), regulator)
print(refusal(grid, calls.addConsumer(producer, ""), regulator))  # one part at a time

send(grid, calls.storeEnergy(10_000), producer)
advert = send(grid, calls.availableEnergyAdvert(8_000, 1_000_000), producer)[0][1]
print(advert)
time = advert["advertTime"]
print(refusal(grid, calls.requestForEnergy(9_000, time, 1_000_000, producer), consumer, 10**9))
bought = calls.requestForEnergy(2_500, time, 1_000_000, producer)
name, request = send(grid, bought, consumer, value=10**9)[0]  # the change comes back
print(name, request)
print(send(grid, calls.confirmDelivery(request["purchaseId"]), regulator))
print("left of the advert", calls.advert(producer, time).call(), "tax", calls.tax().call())
