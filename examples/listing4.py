"""Listing 4 of the published system: a Raspberry Pi tells the contract what its user owes.

    wattledger contract build el_dapp -o Provider.json
    python examples/listing4.py http://127.0.0.1:8545 0x5FbD...0aa3 pi.key 1250

The arguments are the local node, the contract, a file with the Pi's private key, and the measured
usage in watt-hours. The key signs here, with web3.py alone: nothing of Wattledger is imported.
"""

import json
import sys
from pathlib import Path

from web3 import Web3

url, address, key_file, usage_wh = sys.argv[1:]
node = Web3(Web3.HTTPProvider(url))
user = node.eth.account.from_key(Path(key_file).read_text().strip())
abi = json.loads(Path("Provider.json").read_text())["abi"]
provider = node.eth.contract(address=node.to_checksum_address(address), abi=abi)

bill = int(usage_wh) * 296 // 1_000  # 2.96 a kWh, in hundredths
call = provider.functions.setDebt(int(usage_wh), bill, user.address)
nonce = node.eth.get_transaction_count(user.address, "pending")
signed = user.sign_transaction(call.build_transaction({"from": user.address, "nonce": nonce}))
sent = node.eth.send_raw_transaction(signed.raw_transaction)
print("final in block", node.eth.wait_for_transaction_receipt(sent)["blockNumber"])
