"""A meter records hours, an operator corrects one with its reason, and a month's statement is read.

In one terminal `wattledger devnet`, in another `python examples/metering.py`.
"""

import sys
import time

from grid import deploy, refusal, send
from web3 import Web3

node = Web3(Web3.HTTPProvider(sys.argv[1] if sys.argv[1:] else "http://127.0.0.1:8545"))
operator, home, meter, new_meter, *_ = node.eth.accounts
metering = deploy(node, "metering", 3_600, 19_800, sender=operator)  # hours, Indian time
calls = metering.functions

send(metering, calls.enrol(meter, home), operator)
print(send(metering, calls.setTariff(0, True, [100, 300], [296, 556, 916]), operator))
# A standing charge of 150 a day, 18 % tax, 333 back for each kWh of export, one rate all day.
print(send(metering, calls.setTerms(0, (150, 1_800, 333, 0, 0, 0)), operator))

hour = int(time.time()) // 3_600 - 3
print(send(metering, calls.recordMany(hour, [1_250, 0, 980], [0, 400, 0], [1, 1, 1]), meter))
print(refusal(metering, calls.record(hour, 1_251, 0, 1), meter))  # each hour once
print(refusal(metering, calls.record(hour + 3, 5, 0, 1), home))  # it is no meter
print(refusal(metering, calls.correct(meter, hour, 1_200, 0, 2, "mine"), home))
print(send(metering, calls.correct(meter, hour, 1_200, 0, 2, "the display says so"), operator))

# The meter breaks: another goes on, with both registers as they were then.
replaced = calls.replaceMeter(meter, new_meter, hour + 2, 104_270, 7, "no display")
print(send(metering, replaced, operator))
print(send(metering, calls.noteRegister(0, hour + 3, 7, 0), new_meter))  # its register was reset
month = calls.monthOf(calls.dayOf(hour).call()).call()
print("import, export", calls.usageOfMonth(home, month).call()[:2])
print(refusal(metering, calls.freeze(home, month), home))  # the month is not over
