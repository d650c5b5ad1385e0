"""A contract on the story's network, by its ABI: sent to, read, asked what it would refuse.

All goes through JSON-RPC and keys that sign here, as any wallet would do it. Not here: what the
contracts are for (the stories).
"""

import time
from dataclasses import dataclass
from importlib import resources
from typing import Any

from ledger.contract.artifact import build_artifact
from ledger.crypto.address import address_of
from ledger.encoding import abi
from ledger.encoding.hexadecimal import decode_data, decode_quantity, encode_data, encode_quantity
from ledger.transaction import sign_transaction
from node.abi_text import Entry, abi_type, decode_error, find_entry, signature
from node.client import Client, RpcError
from node.errors import NodeError

FINAL_S_MAX = 60.0  # a block takes some 20 ms here, with a dead proposer half a second
POLL_S = 0.002


@dataclass(frozen=True)
class Person:
    """Somebody with a key: a household, a provider, a meter."""

    name: str
    key: bytes

    @property
    def address(self) -> bytes:
        return address_of(self.key)


@dataclass(frozen=True)
class Event:
    """An event of a contract, decoded by its ABI."""

    name: str
    fields: dict[str, Any]


@dataclass(frozen=True)
class Done:
    """A final transaction; `seconds` from sending it to reading its receipt."""

    block: int
    gas_used: int
    seconds: float
    contract: bytes
    events: tuple[Event, ...]

    def event(self, name: str) -> dict[str, Any]:
        """The fields of the one event of this name. Raises NodeError where there is none."""
        for one in self.events:
            if one.name == name:
                return one.fields
        raise NodeError(f"the transaction in block {self.block} has no event {name}")


class Deployed:
    """A contract of `contracts_py` at an address, through one node's connection."""

    def __init__(self, client: Client, chain_id: int, name: str) -> None:
        source = resources.files("contracts_py").joinpath(f"{name}.py").read_bytes()
        artifact = build_artifact(source)
        self.name = str(artifact["contractName"])
        self.entries: list[Entry] = artifact["abi"]
        self.address = b""
        self.client = client
        self._chain_id = chain_id
        self._bytecode = decode_data(artifact["bytecode"])

    def deploy(self, sender: Person, *values: Any) -> Done:
        """Create it; the sender is its owner."""
        inputs = [
            one
            for entry in self.entries
            if entry["type"] == "constructor"
            for one in entry["inputs"]
        ]
        data = self._bytecode + abi.encode([abi_type(one) for one in inputs], values)
        done = self._send(sender, data, 0, to=None)
        self.address = done.contract
        return done

    def send(self, sender: Person, method: str, *values: Any, value: int = 0) -> Done:
        """Sign, send, wait until it is final. Raises NodeError with the contract's own error."""
        return self._send(sender, self.encode(method, *values), value, to=self.address)

    def read(
        self,
        method: str,
        *values: Any,
        sender: Person | None = None,
        value: int = 0,
        at_s: int | None = None,
    ) -> Any:
        """What a method returns; `at_s` is the block's time for this one question, else the head's.

        Raises NodeError with the contract's own error.
        """
        return self._ask(method, self._request(sender, method, values, value), at_s)

    def refusal(
        self, sender: Person, method: str, *values: Any, value: int = 0, at_s: int | None = None
    ) -> str:
        """The typed error with which a node refuses a call. Raises NodeError where it does not."""
        try:
            self.read(method, *values, sender=sender, value=value, at_s=at_s)
        except Refusal as error:
            return error.words
        raise NodeError(f"{self.name}.{method} was not refused")

    def encode(self, method: str, *values: Any) -> bytes:
        entry = find_entry(self.entries, method)
        types = [abi_type(one) for one in entry["inputs"]]
        return abi.selector(signature(entry)) + abi.encode(types, values)

    # Inside.

    def _request(
        self, sender: Person | None, method: str, values: tuple[Any, ...], value: int
    ) -> dict[str, str]:
        request = {
            "to": encode_data(self.address),
            "data": encode_data(self.encode(method, *values)),
        }
        if sender is not None:
            request |= {"from": encode_data(sender.address), "value": encode_quantity(value)}
        return request

    def _ask(self, method: str, request: dict[str, str], at_s: int | None) -> Any:
        others = () if at_s is None else ({}, {"time": encode_quantity(at_s)})
        try:
            raw = self.client.call("eth_call", request, "latest", *others)
        except RpcError as error:
            raise self._explain(method, error) from error
        outputs = find_entry(self.entries, method)["outputs"]
        values = abi.decode([abi_type(one) for one in outputs], decode_data(raw))
        return values[0] if len(outputs) == 1 else values

    def _send(self, sender: Person, data: bytes, value: int, to: bytes | None) -> Done:
        client = self.client
        request = {
            "from": encode_data(sender.address),
            "data": encode_data(data),
            "value": encode_quantity(value),
        }
        if to is not None:
            request["to"] = encode_data(to)
        try:
            gas = decode_quantity(client.call("eth_estimateGas", request))
        except RpcError as error:
            raise self._explain("a transaction", error) from error
        transaction = sign_transaction(
            sender.key,
            chain_id=self._chain_id,
            nonce=client.next_nonce(sender.address),
            to=to,
            data=data,
            value=value,
            gas=gas,
            gas_price=0,
        )
        began = time.perf_counter()
        sent = client.call("eth_sendRawTransaction", encode_data(transaction.raw))
        receipt = self._await(sent)
        seconds = time.perf_counter() - began
        if decode_quantity(receipt["status"]) != 1:
            raise NodeError(f"{self.name}: a transaction of {sender.name} reverted ({sent})")
        return Done(
            decode_quantity(receipt["blockNumber"]),
            decode_quantity(receipt["gasUsed"]),
            seconds,
            decode_data(receipt["contractAddress"] or "0x"),
            tuple(self._events(receipt["logs"])),
        )

    def _await(self, sent: str) -> dict[str, Any]:
        """The receipt, asked for more often than a person's command would."""
        deadline = time.monotonic() + FINAL_S_MAX
        while time.monotonic() < deadline:
            receipt = self.client.call("eth_getTransactionReceipt", sent)
            if receipt is not None:
                return dict(receipt)
            time.sleep(POLL_S)
        raise NodeError(f"{sent} is in no block after {FINAL_S_MAX:.0f} s")

    def _events(self, logs: list[dict[str, Any]]) -> list[Event]:
        found = []
        for log in logs:
            if decode_data(log["address"]) != self.address:
                continue
            for entry in self.entries:
                if entry["type"] == "event" and decode_data(log["topics"][0]) == abi.topic(
                    signature(entry)
                ):
                    found.append(Event(entry["name"], _event_fields(entry, log)))
        return found

    def _explain(self, method: str, error: RpcError) -> "Refusal | NodeError":
        words = decode_error(self.entries, error.data) if error.data else None
        if words is None:
            return NodeError(f"{self.name}.{method}: {error}")
        return Refusal(self.name, method, words)


class Refusal(NodeError):
    """A contract refused a call with a typed error."""

    def __init__(self, contract: str, method: str, words: str) -> None:
        super().__init__(f"{contract}.{method} is refused: {words}")
        self.words = words


def _event_fields(entry: Entry, log: dict[str, Any]) -> dict[str, Any]:
    """Names and values of an event; addresses as bytes."""
    topics = [decode_data(one) for one in log["topics"][1:]]
    plain = [one for one in entry["inputs"] if not one["indexed"]]
    values = list(abi.decode([abi_type(one) for one in plain], decode_data(log["data"])))
    fields = {}
    for one in entry["inputs"]:
        if one["indexed"]:
            (fields[one["name"]],) = abi.decode([abi_type(one)], topics.pop(0))
        else:
            fields[one["name"]] = values.pop(0)
    return fields
