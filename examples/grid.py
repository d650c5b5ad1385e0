"""What the examples share: a standard contract on a devnet, through web3.py alone.

Not needed for your own programs: `wattledger contract build NAME -o FILE` gives abi and bytecode.
"""

from importlib.resources import files
from typing import Any

from eth_abi import decode
from web3 import Web3
from web3.exceptions import ContractCustomError

from ledger.contract.artifact import build_artifact


def deploy(node: Web3, name: str, *arguments: Any, sender: str) -> Any:
    """A contract of `contracts_py`, deployed by one of the devnet's unlocked accounts."""
    artifact = build_artifact(files("contracts_py").joinpath(f"{name}.py").read_bytes())
    factory = node.eth.contract(abi=artifact["abi"], bytecode=artifact["bytecode"])
    sent = factory.constructor(*arguments).transact({"from": sender})
    receipt = node.eth.wait_for_transaction_receipt(sent)
    return node.eth.contract(address=receipt["contractAddress"], abi=artifact["abi"])


def send(contract: Any, call: Any, sender: str, value: int = 0) -> list[tuple[str, dict[str, Any]]]:
    """Send a call, wait until it is final; its events as (name, arguments), in order."""
    sent = call.transact({"from": sender, "value": value})
    return read_events(contract, contract.w3.eth.wait_for_transaction_receipt(sent))


def read_events(contract: Any, receipt: Any) -> list[tuple[str, dict[str, Any]]]:
    """The contract's events in a receipt as (name, arguments), in order."""
    found = []
    for log in receipt["logs"]:
        if log["address"] == contract.address:
            for entry in contract.events:
                if log["topics"][0] == Web3.keccak(text=entry.signature):
                    read = entry.process_log(log)
                    found.append((read["event"], dict(read["args"])))
    return found


def refusal(contract: Any, call: Any, sender: str, value: int = 0) -> str:
    """The typed error with which a call would be refused, as `Name(arguments)`."""
    try:
        call.call({"from": sender, "value": value})
    except ContractCustomError as error:
        data = bytes.fromhex(str(error.data).removeprefix("0x"))
        for entry in contract.abi:
            if entry["type"] == "error":
                types = [one["type"] for one in entry["inputs"]]
                if data[:4] == Web3.keccak(text=f"{entry['name']}({','.join(types)})")[:4]:
                    values = ", ".join(map(str, decode(types, data[4:])))
                    return f"{entry['name']}({values})"
        raise
    raise RuntimeError("it was not refused")
