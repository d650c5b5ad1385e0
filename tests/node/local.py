"""What tests do to a local network: wait, pay, administrate, add a member."""

import threading
import time
from collections.abc import Callable
from typing import Any

from ledger.crypto.address import to_checksum
from ledger.encoding import abi
from ledger.genesis import NETWORK_CONTRACT
from ledger.transaction import sign_transaction
from node.new_node import create_node
from node.ports import free_ports


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait for what takes a second on an idle machine."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def administrate(network: Any, signature: str, *values: Any, index: int = 0) -> dict[str, Any]:
    """A transaction of the administrator to the network contract, final."""
    client = network.client(index)
    data = abi.encode_call(signature, values)
    request = {"from": to_checksum(network.accounts[0]), "to": to_checksum(NETWORK_CONTRACT)}
    sent = client.call("eth_sendTransaction", request | {"data": "0x" + data.hex()})
    receipt = client.wait_for_receipt(sent)
    client.close()
    assert receipt["status"] == "0x1", receipt
    return dict(receipt)


def offer(network: Any, nonce: int, index: int = 0) -> str:
    """A transaction of another account, sent; its hash."""
    client = network.client(index)
    transaction = sign_transaction(
        network.keys[network.accounts[1]], chain_id=1947, nonce=nonce, gas=21_000, gas_price=0,
        to=network.accounts[9],
    )  # fmt: skip
    sent = client.call("eth_sendRawTransaction", "0x" + transaction.raw.hex())
    client.close()
    return str(sent)


def pay(network: Any, nonce: int, index: int = 0) -> None:
    """A transaction of another account, final."""
    sent = offer(network, nonce, index)
    client = network.client(index)
    assert client.wait_for_receipt(sent)["status"] == "0x1"
    client.close()


def status_of(network: Any, index: int) -> dict[str, Any]:
    client = network.client(index)
    told = client.call("wattledger_status")
    client.close()
    return dict(told)


def add_member(network: Any, name: str) -> int:
    """Files of one more node beside the others; its index."""
    port, rpc_port = free_ports(2)
    made = create_node(
        network.made.network_file, network.folder / name,
        name=name, host="127.0.0.1", port=port, rpc_port=rpc_port,
    )  # fmt: skip
    network.members = (*network.members, made.member)
    network.logs.append(type(network.logs[0])())
    return len(network.members) - 1


class Load:
    """Transactions one after another until it is left; each is final before the next."""

    def __init__(self, network: Any, index: int = 0) -> None:
        self._network, self._stop, self.sent = network, threading.Event(), 0
        self._index = index
        self._failed: list[BaseException] = []
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                pay(self._network, self.sent, self._index)
                self.sent += 1
        except BaseException as error:
            self._failed.append(error)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        assert not self._failed, self._failed
