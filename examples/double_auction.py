"""Neighbours bid and ask for an hour, get one price, and are settled by what their meters recorded.

In one terminal `wattledger devnet`, in another `python examples/double_auction.py`.
"""

import sys
import time

from grid import deploy, refusal, send
from web3 import Web3

node = Web3(Web3.HTTPProvider(sys.argv[1] if sys.argv[1:] else "http://127.0.0.1:8545"))
operator, *homes = node.eth.accounts[:4]
meters = node.eth.accounts[4:7]
metering = deploy(node, "metering", 3_600, 0, sender=operator)
# A market of its own for this example: the gate of the hour after next closes in ten seconds.
now = int(time.time())
period = now // 3_600 + 2
gate_s = period * 3_600 - now - 10
auction = deploy(
    node, "double_auction", metering.address, gate_s, 7_200, 1_000, 500_000, sender=operator
)
calls = auction.functions
for home, meter in zip(homes, meters, strict=True):
    send(metering, metering.functions.enrol(meter, home), operator)
    send(auction, calls.deposit(), home, value=10**9)

closed = now // 3_600  # this hour's gate has closed long ago
print(refusal(auction, calls.place(closed, meters[0], 100, 5), homes[0]))
print(refusal(auction, calls.place(period, meters[1], 100, 5), homes[0]))  # a neighbour's meter
for home, meter, quantity_wh, step in zip(
    homes, meters, (2_000, -1_500, 1_000), (300, 100, 250), strict=True
):
    print(send(auction, calls.place(period, meter, quantity_wh, step), home))
print(refusal(auction, calls.clear(period, 100), operator))  # not while orders are taken
while time.time() < period * 3_600 - gate_s:
    time.sleep(0.2)
print(send(auction, calls.clear(period, 100), operator))
for home in homes:
    print(home, "got", calls.tradedBy(home, period).call(), "Wh")
print(refusal(auction, calls.settle(period, homes[0]), operator))  # the hour is still to come
